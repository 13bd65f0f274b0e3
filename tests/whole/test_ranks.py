"""Two processes that train together: over gloo on a CPU, over NCCL on two GPUs (`pytest -m gpu`), with the tiny base; and two
machines (tests/hosts.py) with a process each, started by the commands of docs/gpus.md.

Each engine trains once in two processes. At some step one of them is killed, and the same command goes on to the end; what
it leaves is held against one process with the same global batch.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import equal_packs
import pytest
from hosts import Host, NotPermitted, are_permitted, two_hosts
from servers import environment, stage, valid
from sessions import points, ranks_of

from lesson.core.layout import cache_folder
from lesson.core.machine import count_gpus
from lesson.core.settings import ROOT
from lesson.model.tiny_base import install_base
from lesson.runs.checkpoint import find_checkpoint, step_of
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import Run
from lesson.runs.golden_loss import golden_path
from lesson.runs.loss_band import IDENTICAL, LARGEST, MEAN, WITHIN, compare_curves

pytestmark = [pytest.mark.torch, pytest.mark.slow]

SHORT = {"MAX_LENGTH": str(equal_packs.LENGTH), "EPOCHS": "3", "SAVE_STEPS": "4"}
SHORT |= {"WARMUP": "0.1", "LR": "2e-3", "ACCUM": "1"}
# The same way to compute in one process and in two. Dropout is off: its masks depend on the batch's shape.
# The packs weigh the same, so what is left between one process and two is rounding: sums in another order.
PLAIN, FAST = {"SPEED": "stock", "DEEPSPEED": "none"}, {"SPEED": "fast"}
ENGINES = {
    "plain": PLAIN,
    "hosts": FAST,
    "fast": FAST,
    "zero2": {"SPEED": "stock", "DEEPSPEED": "deepspeed_zero2"},
    "zero3": {"SPEED": "stock", "DEEPSPEED": "deepspeed_zero3"},
}
# On a CPU two processes train once: on two hosts where this machine may imitate them, else on one. DeepSpeed takes minutes
# there, ZeRO-3 six; one process with ZeRO-2 is in test_training.py.
ON = {"cpu": ("hosts", "fast"), "gpu": ("plain", "fast", "zero2", "zero3")}
CPU_BATCH, GPU_BATCH = 2, 1  # samples of a process in a step; one process takes twice as many
# How far the first loss, with the weights still equal, may be off as a share. A sum of n float32 is off by some √n steps
# of 2⁻²⁴, and the model's have some 256 terms; bfloat16 keeps 8 bits of what comes out of each.
FIRST = {"cpu": 16 * 2**-24, "gpu": 2**-8}
# compare_curves' limits. On a CPU each sum is one of float32; bench-loss saw 1e-6 nats after 161 steps when sums are made
# in another order, and this leaves a hundred times as much. In half precision the band for other machines is what such
# sums may differ by.
BANDS = {"cpu": (1e-4, 1e-4), "gpu": (LARGEST["tiny"], MEAN)}


@dataclass
class Outcome:
    """What a training in two processes left that was killed and went on. `said` and `screens` are those of each command:
    there are two of them on two hosts, else one."""

    run: Run
    statuses: list[int]  # of the killed commands
    said: list[str]  # by them
    killed: int  # whose rank was killed
    rank: str
    process: int
    left_alive: list[int]  # of the ranks
    before: list[dict]  # the curve as the killed session left it
    checkpoint: int  # the step from which the next one went on
    screens: list[str]  # of that one


class Trainings:
    """Trainings on one kind of device, in folders below `root`. On GPUs all run at once: there are processors enough."""

    def __init__(self, root: Path, device: str) -> None:
        self.root, self.gpu = root, device == "gpu"
        self.batch = GPU_BATCH if self.gpu else CPU_BATCH
        self.base = root / "base"
        install_base(self.base)
        self.rows = root / "rows.jsonl"
        equal_packs.write_rows(self.rows)
        self.pool = ThreadPoolExecutor(8 if self.gpu else 1)
        self.started: dict[str, Future] = {}

    def variables(self, engine: str) -> dict[str, str]:
        """What every stage of it is given. On GPUs the tiny base is trained as the lesson's is: NF4, float16, CUDA graphs."""
        device = {"PROFILE": "7b", "MODEL": str(self.base), "ANSWER_TOKENS": "4"} if self.gpu else {"PROFILE": "tiny"}
        exact = {"DETERMINISTIC": "1"} if self.gpu else {}
        return SHORT | {"LORA_DROPOUT": "0"} | device | exact | ENGINES[engine]

    def prepare(self, name: str, engine: str, batch: int) -> tuple[Path, dict[str, str]]:
        """(BUILD with data, base and config, the variables of its stages)."""
        build = self.root / name
        build.mkdir()
        shared = cache_folder(self.root)
        shared.mkdir(exist_ok=True)
        cache_folder(build).symlink_to(shared)
        variables = self.variables(engine) | {"BATCH": str(batch), "SRC": str(self.rows)}
        for module in ("data", "model", "config"):
            stage(build, module, **variables)
        return build, variables

    def train_alone(self, engine: str) -> Run:
        build, variables = self.prepare(f"one-{engine}", engine, 2 * self.batch)
        stage(build, "train", **variables)
        return Run((build / "run").resolve())

    def kill_and_go_on(self, engine: str) -> Outcome:
        build, variables = self.prepare(f"two-{engine}", engine, self.batch)
        with two_hosts() if engine == "hosts" else contextlib.nullcontext() as hosts:
            commands = start_all(build, variables, hosts)
            wanted, deadline = random.SystemRandom().randrange(5, 14), time.monotonic() + 300
            while not (works := list(build.glob("runs/*/work_dir"))) or len(read_curve(works[0] / CURVE)) <= wanted:
                assert all(p.poll() is None for p in commands) and time.monotonic() < deadline, end_all(commands)
                time.sleep(0.02)
            trainers = {rank: (n, pid) for n, p in enumerate(commands) for rank, pid in ranks_of(p.pid).items()}
            assert sorted(trainers) == ["0", "1"]
            rank = random.SystemRandom().choice(sorted(trainers))
            killed, process = trainers[rank]
            os.kill(process, signal.SIGKILL)
            said = [p.communicate(timeout=120)[0] for p in commands]
            alive = [pid for _, pid in trainers.values() if Path(f"/proc/{pid}").exists()]
            before, last = read_curve(works[0] / CURVE)[1:], find_checkpoint(works[0], 2)
            again = start_all(build, variables, hosts)
            screens = [p.communicate(timeout=300)[0] for p in again]
        assert [p.returncode for p in again] == [0] * len(again), screens
        run, statuses = Run((build / "run").resolve()), [p.returncode for p in commands]
        return Outcome(run, statuses, said, killed, rank, process, alive, before, step_of(last), screens)

    def start(self, what: str) -> Future:
        """`one-ENGINE` or `two-ENGINE`, once."""
        if what not in self.started:
            way, engine = what.split("-")
            self.started[what] = self.pool.submit({"one": self.train_alone, "two": self.kill_and_go_on}[way], engine)
        return self.started[what]


def start_all(build: Path, variables: dict[str, str], hosts: list[Host] | None) -> list[subprocess.Popen]:
    """make train in two processes: one command that starts both, or one on each of two hosts."""
    starts = [((), {"NPROC_PER_NODE": "2"})]
    if hosts:
        nodes = {"NNODES": "2", "MASTER_ADDR": hosts[0].address}
        starts = [(host.command, nodes | {"NODE_RANK": str(number)}) for number, host in enumerate(hosts)]
    return [
        subprocess.Popen(
            [*where, sys.executable, "-m", "recipe.train"],
            cwd=ROOT,
            env=environment(build, **variables, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for where, more in starts
    ]


def end_all(commands: list[subprocess.Popen]) -> list[str]:
    """What commands said that were to train on."""
    for command in commands:
        command.terminate()
    return [command.communicate(timeout=60)[0] for command in commands]


@pytest.fixture(scope="module")
def trainings(request, tmp_path_factory) -> dict[str, Trainings]:
    """Those on each kind of device that the chosen tests ask for."""
    asked = [item.callspec.params["outcome"] for item in request.session.items if "outcome" in item.fixturenames]
    kept = os.environ.get("RANKS_BUILD")  # where golden/loss is made from
    root = Path(kept) if kept else tmp_path_factory.mktemp("ranks")
    found = {}
    for device in {device for device, _ in asked}:
        (root / device).mkdir(parents=True)
        found[device] = Trainings(root / device, device)
    if "gpu" in found and (count_gpus() or 0) >= 2:
        for what in dict.fromkeys(f"two-{engine}" for device, engine in asked if device == "gpu"):
            found["gpu"].start(what)
            found["gpu"].start(what.replace("two", "one"))
    return found


def require_gpus() -> None:
    gpus = count_gpus() or 0
    if gpus < 2:
        pytest.skip(f"needs two GPUs, and this machine has {gpus}")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((device, engine), id=f"{engine}-{device}", marks=[pytest.mark.gpu] if device == "gpu" else [])
        for device, engines in ON.items()
        for engine in engines
    ],
)
def outcome(request, trainings) -> Outcome:
    device, engine = request.param
    if device == "gpu":
        require_gpus()
    elif engine == "fast" and are_permitted():
        pytest.skip("the two hosts train it")
    try:
        return trainings[device].start(f"two-{engine}").result()
    except NotPermitted as reason:
        pytest.skip(str(reason))


@pytest.fixture
def device(request) -> str:
    return request.node.callspec.params["outcome"][0]


@pytest.fixture
def alone(request, trainings, outcome, device) -> Run:
    """One process with the same global batch and the same engine. On a CPU fast and plain compute the same numbers."""
    engine = request.node.callspec.params["outcome"][1] if device == "gpu" else "plain"
    return trainings[device].start(f"one-{engine}").result()


def test_a_killed_rank_stops_all_and_is_named(outcome):
    """kill -9 of any rank at any step: all commands end, and the last line says which one it was. Another host's says that
    its own rank lost the others."""
    assert outcome.statuses == [2] * len(outcome.statuses), outcome.said
    last = [said.splitlines()[-1] for said in outcome.said]
    assert f"rank {outcome.rank} (process {outcome.process}) was killed by SIGKILL" in last[outcome.killed]
    assert all(f"rank {number} " in line for number, line in enumerate(last) if number != outcome.killed), last
    assert outcome.left_alive == []


def test_the_same_command_goes_on_to_the_same_curve(outcome):
    """The steps that were computed before the kill and again after it have the same losses, bit for bit. The first host
    keeps the record."""
    assert f"resuming at step {outcome.checkpoint}" in outcome.screens[0]
    assert all("node 1: done; node 0 keeps the record" in screen for screen in outcome.screens[1:])
    assert outcome.run.read_record()["resumed_at"] == outcome.checkpoint > 0
    killed, whole = {line["step"]: line["loss"] for line in outcome.before}, dict(points(outcome.run))
    assert len(killed) >= 5 and {step: whole[step] for step in killed} == killed


def test_two_processes_train_as_one(outcome, alone, device):
    """The same global batch: the same steps, samples and tokens, and losses that differ by rounding alone."""
    record, one = valid(outcome.run.record, "run"), valid(alone.record, "run")
    assert (record["processes"], one["processes"]) == (2, 1)
    assert all(record[key] == one[key] for key in ("steps", "samples", "tokens"))
    two, single = points(outcome.run), points(alone)
    assert two[0][1] == pytest.approx(single[0][1], rel=FIRST[device])  # before any weight has changed
    largest, mean = BANDS[device]
    found = compare_curves(two, single, largest, mean)
    assert found.verdict in (IDENTICAL, WITHIN), found


def test_the_log_has_the_mean_over_both_ranks_as_the_curve_has(outcome):
    """So a submission's log and record agree. A line has the mean of the last ten steps, also of those before the kill."""
    scalars = max(outcome.run.work_dir.glob("*/vis_data/scalars.json"))
    lines = [json.loads(line) for line in scalars.read_text().splitlines() if '"loss"' in line]
    curve, step = dict(points(outcome.run)), lines[0]["step"]
    last = [curve[n] for n in range(max(step - 9, 1), step + 1)]
    assert lines[0]["loss"] == pytest.approx(sum(last) / len(last), rel=1e-4)


def test_nothing_is_left_at_the_end_that_torch_warns_about(outcome):
    """The process group is destroyed. (NCCL's destructor warns; gloo's does not: tests/training/test_data_parallel.py.)"""
    assert "destroy_process_group" not in outcome.run.console.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize(
    "outcome", [pytest.param(("gpu", "fast"), id="fast-gpu", marks=pytest.mark.gpu)], indirect=True
)
def test_two_gpus_give_the_losses_of_their_golden(outcome):
    """golden/loss of this machine for SPEED=fast in two processes: bit for bit with the same packages, else the band."""
    record = outcome.run.read_record()
    path = golden_path(record)
    if not path.exists():
        pytest.skip(
            f"no golden for two GPUs of this machine yet: {path.name}; RANKS_BUILD= and make golden-loss make it"
        )
    golden = json.loads(path.read_text(encoding="utf-8"))
    found = compare_curves(points(outcome.run), [(p["step"], p["loss"]) for p in golden["curve"]])
    exact = golden["versions"] == record["versions"]
    assert found.verdict in ((IDENTICAL,) if exact else (IDENTICAL, WITHIN)), found
