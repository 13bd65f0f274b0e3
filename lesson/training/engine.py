"""XTuner's own tools, in a process of their own with what they lack: `python -m lesson.training.engine train CONFIG …`.

The parent (session.py, convert.py, merge.py) believes only this process's exit status and the files that it leaves. What
is patched, and why, is in patches.py. The hooks (hooks.py) write one line per step to `curve.jsonl`, in full precision:
the progress bar, the run record, the goldens and the comparison of two runs all read that one file.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from lesson.core.messages import UserError
from lesson.core.processes import die_with_parent
from lesson.runs.divergence import DIVERGED, Diverged

TOOLS = {
    "train": "xtuner.tools.train",
    "convert": "xtuner.tools.model_converters.pth_to_hf",
    "merge": "xtuner.tools.model_converters.merge",
}


@contextlib.contextmanager
def pause_collector() -> Iterator[None]:
    """No garbage collection in the block: it takes a fifth of the time in which 6000 modules are imported."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was imported stays for good: never looked at again
        gc.enable()


def hide_deepspeed() -> None:
    """Mark the module as one that is not there: mmengine imports it wherever it is installed, which takes as long as
    importing torch."""
    sys.modules["deepspeed"] = None


def main(arguments: list[str]) -> int:
    die_with_parent()
    tool, *rest = arguments
    with pause_collector():
        if tool == "train" and "--deepspeed" not in rest:
            config = Path(rest[0]).read_text(encoding="utf-8")
            if "deepspeed" not in config.lower():
                hide_deepspeed()
        from lesson.training import patches

        if tool == "train":
            patches.patch_training()
        patches.patch_all_tools()
        module = importlib.import_module(TOOLS[tool])
    sys.argv = [TOOLS[tool], *rest]
    status = 0
    try:
        module.main()
    except Diverged as error:
        print(f"recipe: diverged at {error}", file=sys.stderr)
        status = DIVERGED
    except UserError as error:
        print(f"recipe: {error}", file=sys.stderr)
        return 2
    leave_group()
    return status


def leave_group() -> None:
    """End the process group in which several ranks trained: torch warns about one that is left to the end of the process,
    and NCCL's threads may still use what the process frees. All ranks come here, for they diverge together; after any
    other error the others may be waiting, and this would wait for them."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
