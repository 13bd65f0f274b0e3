"""Triton's kernels on a CPU, by Triton's own interpreter: what it lacks for those of liger-kernel."""

from __future__ import annotations

import pytest


def needs_interpreter() -> None:
    """Let liger's kernels run in the interpreter; skip where a GPU compiles them, as the tests marked gpu have it.

    TRITON_INTERPRET=1 is in the environment before triton is imported: tests/conftest.py.
    """
    import triton

    if not triton.knobs.runtime.interpret:
        pytest.skip("the GPU's own tests hold this")
    import liger_kernel.ops.rms_norm
    import numpy
    from triton import language
    from triton.runtime import interpreter

    original = interpreter._implicit_cvt

    def convert(argument):
        """Numbers as well, which kernels cast: a compiled kernel gets them as float32."""
        if isinstance(argument, float):
            number = interpreter.TensorHandle(numpy.array([argument], dtype=numpy.float32), language.float32)
            return language.tensor(number, language.float32)
        return original(argument)

    if original.__name__ != "convert":
        interpreter._implicit_cvt = convert
    # It is imported from CUDA's own library, which a CPU does not have.
    liger_kernel.ops.rms_norm.rsqrt = lambda x: language.rsqrt(x)
