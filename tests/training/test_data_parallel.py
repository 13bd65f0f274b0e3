"""Gradients averaged over ranks as one tensor, in two processes (gloo): what torch's DistributedDataParallel gives."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from servers import free_port

from lesson.core.settings import ROOT

pytestmark = [pytest.mark.torch, pytest.mark.slow]

# One process of two: the same steps through mmengine's wrapper and through ours. Prints one line of JSON.
RANK = """
import json, os

from lesson.training import engine
engine.hide_deepspeed()  # mmengine imports it, which takes as long as importing torch

import torch
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import distributed, nn

from lesson.training.data_parallel import FlatDataParallel

rank = int(os.environ["RANK"])
distributed.init_process_group("gloo")

class Model(BaseModel):
    def __init__(self, unused):
        super().__init__()
        torch.manual_seed(rank)  # what rank 0 begins with counts
        self.base = nn.Linear(6, 5).requires_grad_(False)
        self.low, self.up = nn.Linear(5, 3, bias=False), nn.Linear(3, 4)
        self.unused = nn.Linear(2, 2) if unused else None
    def forward(self, x, mode):
        return {"loss": (self.up(self.low(self.base(x).relu())) ** 2).mean()}

def train(wrap, accumulate, unused=False):
    model = Model(unused)
    with torch.no_grad():
        for p in model.base.parameters():
            p.fill_(0.1)
    wrapped = wrap(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    steps = OptimWrapper(optimizer, accumulative_counts=accumulate, clip_grad={"max_norm": 1.0})
    steps.initialize_count_status(wrapped, 0, 5)
    torch.manual_seed(10 + rank)
    losses = [float(wrapped.train_step({"x": torch.randn(8, 6)}, steps)["loss"]) for _ in range(5)]
    return losses, [p.tolist() for p in model.parameters() if p.requires_grad]

found = {}
for accumulate in (1, 2):
    found[accumulate] = [train(wrap, accumulate) for wrap in (MMDistributedDataParallel, FlatDataParallel)]
found["unused"] = train(FlatDataParallel, 1, True)
engine.leave_group()
engine.leave_group()
print(json.dumps({"found": found, "left": not distributed.is_initialized()}))
"""


@pytest.fixture(scope="module")
def ranks() -> list[dict]:
    """What each of two processes found."""
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK],
            cwd=ROOT,
            env={
                "PATH": "/usr/bin:/bin",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT),
                "RANK": str(n),
                **rendezvous,
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return [json.loads(output.splitlines()[-1]) for output in outputs]


@pytest.mark.parametrize("accumulate", ["1", "2"])
def test_losses_and_weights_are_those_of_torchs_own_data_parallelism(ranks, accumulate):
    """Bit for bit, with gradients of one pass and of several, the last of them too few."""
    for rank in ranks:
        theirs, ours = rank["found"][accumulate]
        assert ours == theirs
    assert ranks[0]["found"][accumulate][1][1] == ranks[1]["found"][accumulate][1][1]  # the same weights on both
    assert ranks[0]["found"][accumulate][1][0] != ranks[1]["found"][accumulate][1][0]  # of other samples


def test_a_weight_without_a_gradient_stops_nothing_and_changes_nothing_else(ranks):
    losses, weights = ranks[0]["found"]["unused"]
    assert losses == ranks[0]["found"]["1"][1][0]
    assert weights[:3] == ranks[0]["found"]["1"][1][1]


def test_the_process_group_is_left_at_the_end(ranks):
    """Else torch warns on the console. Leaving it twice is no error."""
    assert [rank["left"] for rank in ranks] == [True, True]
