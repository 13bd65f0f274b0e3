"""What keeps the pinned versions of transformers and bitsandbytes from working together, mended at run time."""

from __future__ import annotations


def patch_bitsandbytes() -> None:
    """The part of `patch_all` that lets transformers and bitsandbytes quantise; lesson/bench/rivals.py needs it alone."""
    # transformers 4.48 calls .discard() on bitsandbytes' devices, a frozenset since 0.46, and knows the CPU only
    # through Intel's extension. bitsandbytes has CPU kernels of its own now, so there is nothing to refuse.
    from transformers.integrations import bitsandbytes as integration

    integration._validate_bnb_multi_backend_availability = lambda raise_exception: True

    # On processors with AVX512-BF16, bitsandbytes packs a 4-bit layer anew when it first answers in eval mode, and
    # training afterwards computes with the packed, differently rounded, scales: the loss would depend on when a hook
    # last generated (seen: 7e-4), and a resumed run could not equal an uninterrupted one.
    from bitsandbytes.nn import modules

    modules.has_avx512bf16 = lambda: False
