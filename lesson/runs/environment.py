"""The environment of the processes that load torch and XTuner, and the variables by which they are told something."""

from __future__ import annotations

import os
import sys
from importlib.util import cache_from_source, find_spec

from lesson.core.layout import cache_folder
from lesson.core.machine import count_cores
from lesson.core.processes import PARENT
from lesson.core.settings import ROOT, Values

NO_FIRST_ANSWERS = "RECIPE_NO_FIRST_ANSWERS"  # 1: the base is not asked before training
# 1: make web, which shows a training that is not finished; nothing is converted for it
UNFINISHED = "RECIPE_UNFINISHED"
TRACE = "RECIPE_TRACE"  # 1: three steps are profiled
SPINS = 2000  # turns of libgomp's waiting loop before a thread sleeps, PROFILE=small


def lacks_bytecode() -> bool:
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
        **{PARENT: str(os.getpid())},
    )
    if sys.dont_write_bytecode and lacks_bytecode():
        # Images often forbid bytecode, and every process would compile its 6000 modules anew: half of the time to a first
        # step. It goes into our own cache instead.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(cache / "bytecode")
    if values.speed == "fast":
        # The graph and the rest take memory in pieces of very different sizes; fixed segments would leave holes.
        environment.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
        environment[NO_FIRST_ANSWERS] = "1"
    if values.trace:
        environment[TRACE] = "1"
    if values.deterministic:
        environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # torch refuses deterministic algorithms without it
    if values.profile == "tiny":
        # Two threads everywhere: sums are added in the same order on every machine with at least two cores (one where
        # processes share them). Waiting passively: a thread that spins on a core which something else uses made a step
        # 30 times as slow.
        threads = str(max(2 // values.nproc_per_node, 1))
        environment.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, OMP_WAIT_POLICY="PASSIVE")
        environment.update(CUDA_VISIBLE_DEVICES="", DS_ACCELERATOR="cpu")
    if values.profile == "small":
        # All cores: on one machine the numbers are the same from run to run, and across machines bfloat16 differs anyway.
        threads = str(max(count_cores() // values.nproc_per_node, 1))
        environment.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads, OMP_WAIT_POLICY="PASSIVE")
        # A step has thousands of short parallel loops, and waking a thread took as long as a loop: two threads were no
        # faster than one. So a thread spins for some 0.1 ms before it sleeps: 1.25 s for 1.7 s a step of 135M on two idle
        # cores, no gain where threads must share a core. Ten times as long made steps there three times as slow.
        environment["GOMP_SPINCOUNT"] = str(SPINS)
    return environment
