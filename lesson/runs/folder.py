"""A training run as a folder: BUILD/runs/ID with all that belongs to it, ID being a hash of what went in.

    runs/ID/config.py     the config that was trained with          runs/ID/adapter/   make convert
    runs/ID/data.jsonl    the rows that were trained on             runs/ID/merged/    make merge
    runs/ID/work_dir/     XTuner's: checkpoints, logs, curve.jsonl  runs/ID/eval/      make eval
    runs/ID/run.json      the record (schemas/run.schema.json)      runs/ID/loss.png   the curve

Same config, data and base: same folder, so the same command resumes or is up to date. Anything else: another folder,
so that no run is ever overwritten. `BUILD/run` is a link to the run trained last.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import zipfile
from dataclasses import dataclass
from importlib.util import cache_from_source, find_spec
from pathlib import Path

from lesson.core.files import read_json, readable, record_path, replace_link, sha256
from lesson.core.layout import cache_folder, last_run_link
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values


@dataclass(frozen=True)
class Run:
    """The paths of one run. `folder` is BUILD/runs/ID; `node` is the machine's number, each has a console of its own."""

    folder: Path
    node: int = 0

    config = property(lambda self: self.folder / "config.py")
    data = property(lambda self: self.folder / "data.jsonl")
    work_dir = property(lambda self: self.folder / "work_dir")
    record = property(lambda self: self.folder / "run.json")
    console = property(lambda self: self.folder / (f"console.{self.node}.log" if self.node else "console.log"))
    lock = property(lambda self: self.folder / (f".lock.{self.node}" if self.node else ".lock"))
    picture = property(lambda self: self.folder / "loss.png")
    adapter = property(lambda self: self.folder / "adapter")
    merged = property(lambda self: self.folder / "merged")
    evaluation = property(lambda self: self.folder / "eval")

    def facts(self) -> dict:
        """The run record. Raises UserError when the run is not finished."""
        return read_json(self.record, tr("run make train", "请先运行 make train"))


def run_id(**inputs: str) -> str:
    """12 hex digits of SHA-256 over the named input hashes."""
    text = "".join(f"{key}={value}\n" for key, value in sorted(inputs.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def point_to(build: Path, run: Run) -> None:
    """Make `BUILD/run` a link to `run`, atomically."""
    replace_link(last_run_link(build), run.folder.relative_to(build))


def last_run(values: Values) -> Run:
    """The finished run that BUILD/run points to. Raises UserError when there is none."""
    link = last_run_link(values.build)
    remedy = tr("run make train", "请先运行 make train")
    if not link.is_symlink() or not link.exists():
        raise UserError(link, tr("no training run yet", "还没有训练过"), remedy)
    run = Run(values.build / os.readlink(link))
    if not run.record.exists():
        raise UserError(run.folder, tr("its training is not finished", "训练还没有完成"), remedy)
    return run


def checkpoint(work_dir: Path, processes: int = 1) -> Path | None:
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
    return next((path for path in candidates if path.name.startswith("iter_") and whole(path, processes)), None)


def step_of(path: Path) -> int:
    """The step in a checkpoint's name, `iter_120.pth` → 120; -1 for another name."""
    digits = path.stem.removeprefix("iter_")
    return int(digits) if digits.isdigit() else -1


def whole(path: Path, processes: int = 1) -> bool:
    """True for a checkpoint that was written to its end: a zip file with its directory, or DeepSpeed's folder of them,
    in which each of `processes` has a part of the optimizer."""
    if path.is_dir():
        parts = list(path.glob("*.pt"))
        models, optimizers = (sum(p.name.endswith(f"{kind}_states.pt") for p in parts) for kind in ("model", "optim"))
        return models > 0 and optimizers >= processes and all(zipfile.is_zipfile(p) for p in parts)
    return path.is_file() and zipfile.is_zipfile(path)


def uncompiled() -> bool:
    """Whether the large packages were installed without their bytecode (pip compiles what it installs, uv does not)."""
    sources = [spec.origin for name in ("torch", "transformers") if (spec := find_spec(name)) and spec.origin]
    return not all(os.path.exists(cache_from_source(source)) for source in sources)


def engine_environment(values: Values) -> dict[str, str]:
    """The environment of XTuner's processes: caches under BUILD, no network, fixed threads for equal numbers."""
    environment = dict(os.environ)
    cache = cache_folder(values.build.resolve())
    environment.update(
        XDG_CACHE_HOME=str(cache),  # yapf, which mmengine prints configs with, among others
        HF_HOME=str(cache / "huggingface"),
        TRITON_CACHE_DIR=str(cache / "triton"),
        TORCH_EXTENSIONS_DIR=str(cache / "torch_extensions"),
        MPLCONFIGDIR=str(cache / "matplotlib"),
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        TOKENIZERS_PARALLELISM="false",
        # Our own checkpoints, read back by mmengine, which has no weights_only; never used on a submission.
        TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1",
        PYTHONPATH=os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        PYTHONUTF8="1",
        RECIPE_PARENT=str(os.getpid()),
    )
    if sys.dont_write_bytecode and uncompiled():
        # Images often forbid bytecode, and every process would compile its 6000 modules anew: half of the time to a first
        # step. It goes into our own cache instead.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(cache / "bytecode")
    if values.speed == "fast":
        # The graph and the rest take memory in pieces of very different sizes; fixed segments would leave holes.
        environment.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
        environment["RECIPE_NO_FIRST_ANSWERS"] = "1"
    if values.trace:
        environment["RECIPE_TRACE"] = "1"
    if values.deterministic:
        environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # torch refuses deterministic algorithms without it
    if values.profile == "tiny":
        # Two threads everywhere: sums are added in the same order on every machine with at least two cores (one where
        # processes share them). Waiting passively: a thread that spins on a core which something else uses made a step
        # 30 times as slow.
        threads = str(max(2 // values.nproc_per_node, 1))
        environment.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, OMP_WAIT_POLICY="PASSIVE")
        environment.update(CUDA_VISIBLE_DEVICES="", DS_ACCELERATOR="cpu")
    return environment


def base_hash(model: Path) -> str:
    """The hash of the base model that the model stage recorded. Raises UserError when there is no base."""
    record = record_path(model)
    facts = read_json(record, tr("run make model", "请先运行 make model"))
    return facts["output"]


def file_hash(path: Path, remedy: str) -> str:
    """SHA-256 of a file that must be there. Raises UserError with `remedy`."""
    return sha256(readable(path, remedy))
