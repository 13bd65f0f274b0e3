"""The checkpoints in a run's work_dir: which is the last that was written to its end."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path


def find_checkpoint(work_dir: Path, processes: int = 1) -> Path | None:
    """The last whole checkpoint: what `last_checkpoint` names, else the newest `iter_N.pth`; None without any.

    Not `ls -t *.pth | head -1`: that lists the inside of a DeepSpeed checkpoint, which is a folder. The file may name
    its target by another machine's path, so only the last component counts, and only inside `work_dir`. `processes`
    is how many wrote it.
    """
    candidates = []
    with contextlib.suppress(OSError):
        candidates.append(work_dir / Path((work_dir / "last_checkpoint").read_text(encoding="utf-8").strip()).name)
    with contextlib.suppress(OSError):
        candidates += sorted(work_dir.glob("iter_*.pth"), key=step_of, reverse=True)
    return next((path for path in candidates if path.name.startswith("iter_") and is_whole(path, processes)), None)


def step_of(path: Path) -> int:
    """The step in a checkpoint's name, `iter_120.pth` → 120; -1 for another name."""
    digits = path.stem.removeprefix("iter_")
    return int(digits) if digits.isdigit() else -1


def is_whole(path: Path, processes: int = 1) -> bool:
    """True for a checkpoint that was written to its end: a zip file with its directory, or DeepSpeed's folder of them,
    in which each of `processes` has a part of the optimizer."""
    if path.is_dir():
        parts = list(path.glob("*.pt"))
        models, optimizers = (sum(p.name.endswith(f"{kind}_states.pt") for p in parts) for kind in ("model", "optim"))
        return models > 0 and optimizers >= processes and all(zipfile.is_zipfile(p) for p in parts)
    return path.is_file() and zipfile.is_zipfile(path)
