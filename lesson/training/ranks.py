"""Several processes for one training: torchrun around lesson/training/engine.py, one process for each GPU.

`make train NPROC_PER_NODE=8` on one machine; `NNODES=2 NODE_RANK=0|1 MASTER_ADDR=…` with the same command on each of
two machines, whose BUILD must be one shared folder: checkpoints are read by every process and written by some. Node 0
keeps the record. Run as a module, this is torchrun itself (torch.distributed.run), which dies with its parent and says
which rank failed. Everything else is PyTorch's, XTuner's and DeepSpeed's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from lesson.config.schedule import world_size
from lesson.core.machine import count_gpus
from lesson.core.messages import UserError, tr
from lesson.core.processes import PARENT, die_with_parent
from lesson.core.settings import Values
from lesson.training.exit_status import DIVERGED

MASTER_PORT = "29500"  # torchrun's own default; every node has to know it


def command(values: Values, tool: list[str]) -> list[str]:
    """The command line that runs `tool` (arguments of recipe.engine) in one process, or in several through torchrun."""
    if world_size(values) == 1:
        return [sys.executable, "-m", "lesson.training.engine", *tool]
    port = values.master_port or (MASTER_PORT if values.nnodes > 1 else free_port())
    return [
        *(sys.executable, "-m", "lesson.training.ranks"),
        *("--nnodes", str(values.nnodes), "--nproc-per-node", str(values.nproc_per_node)),
        *("--node-rank", str(values.node_rank), "--master-addr", values.master_addr, "--master-port", str(port)),
        *("-m", "lesson.training.engine", *tool, "--launcher", "pytorch"),
    ]


def free_port() -> str:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def judge(values: Values, facts: dict, source: Path, deepspeed: str | None) -> None:
    """Raise UserError where these processes could not train this config, before any of them is started."""
    processes, parallel = world_size(values), facts.get("sequence_parallel_size") or 1
    if values.node_rank >= values.nnodes:
        raise UserError(
            f"NODE_RANK={values.node_rank}",
            tr(f"with NNODES={values.nnodes} it is at most {values.nnodes - 1}", f"NNODES={values.nnodes} 时过大"),
            tr("number the machines from 0", "请从 0 开始给机器编号"),
        )
    if values.nnodes > 1 and not values.given("MASTER_ADDR"):
        raise UserError(
            f"NNODES={values.nnodes}",
            tr("no MASTER_ADDR: the machines cannot find each other", "没有 MASTER_ADDR，机器之间无法连接"),
            tr("set MASTER_ADDR to the address of node 0", "请把 MASTER_ADDR 设为 0 号机器的地址"),
        )
    here = count_gpus()
    if values.profile == "7b" and here is not None and values.nproc_per_node > here:
        raise UserError(
            f"NPROC_PER_NODE={values.nproc_per_node}",
            tr(f"this machine has {here} GPUs", f"本机只有 {here} 张显卡"),
            tr("use one process for each GPU", "每张显卡一个进程"),
        )
    if parallel == 1:
        return
    if find_spec("flash_attn") is None:
        raise UserError(
            f"{source}: sequence_parallel_size = {parallel}",
            tr(
                "XTuner splits a sequence over GPUs only with flash-attn, which is not installed",
                "XTuner 的序列并行需要 flash-attn，当前没有安装",
            ),
            tr("SEQ_PARALLEL=1, or install flash-attn for your GPU", "请用 SEQ_PARALLEL=1，或安装 flash-attn"),
        )
    if deepspeed is None or processes % parallel:
        raise UserError(
            f"{source}: sequence_parallel_size = {parallel}",
            tr(
                f"needs DeepSpeed and a multiple of {parallel} processes, not {processes}",
                f"需要 DeepSpeed，且进程数为 {parallel} 的倍数，而不是 {processes}",
            ),
            tr("set DEEPSPEED, NPROC_PER_NODE and NNODES", "请设置 DEEPSPEED、NPROC_PER_NODE 和 NNODES"),
        )


# --- inside the trainer ------------------------------------------------------------------------------------------------


def patch() -> None:
    """What several processes on a CPU lack: mmengine chooses a GPU by its number, and hands that to DDP as well; and
    gloo gathers into views of a tensor, which DeepSpeed's, having a gradient, does not allow outside of no_grad."""
    import torch
    from mmengine.model import MMDistributedDataParallel

    if torch.cuda.is_available():
        return

    torch.cuda.set_device = lambda device: None

    def on_cpu(self, *args, original=MMDistributedDataParallel.__init__, device_ids=None, **kwargs) -> None:
        original(self, *args, **kwargs)

    MMDistributedDataParallel.__init__ = on_cpu
    with contextlib.suppress(ImportError):  # a run without DeepSpeed has hidden it
        from deepspeed.comm.torch import TorchBackend

        TorchBackend.all_gather_into_tensor = torch.no_grad()(TorchBackend.all_gather_into_tensor)


def add_hook(runner) -> None:
    """With several processes: one loss for all of them, in the curve, in XTuner's log and for stopping a diverging run.

    Each rank computes the mean loss of its own samples, and the gradients that are averaged are those of that loss;
    so what is logged is the mean over ranks. Without it rank 0's samples alone would be logged.
    """
    import torch
    from mmengine import dist
    from mmengine.hooks import Hook

    if dist.get_world_size() == 1:
        return

    class MeanLossHook(Hook):
        def before_train(self, runner) -> None:
            steps = dist.all_gather(torch.tensor([runner.iter]))
            if len({int(step) for step in steps}) > 1:
                raise RuntimeError(f"ranks begin at different steps {steps}: BUILD must be one folder for all nodes")

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            loss = outputs["loss"].detach().clone()
            dist.all_reduce(loss, op="mean")
            outputs["loss"] = loss

    runner.register_hook(MeanLossHook(), priority="HIGHEST")  # before those that log


def total(count: int) -> int:
    """The sum of `count` over all ranks. Every rank has to call it."""
    import torch
    from mmengine import dist

    summed = torch.tensor([count])
    dist.all_reduce(summed)
    return int(summed)


# --- torchrun ----------------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:

    die_with_parent()
    os.environ[PARENT] = str(os.getpid())  # the ranks die with this process
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.run(run.parse_args(arguments))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == DIVERGED:
            return DIVERGED
        how = (
            f"was killed by {signal.Signals(-failure.exitcode).name}"
            if failure.exitcode < 0
            else f"failed with exit status {failure.exitcode}"
        )
        print(f"recipe: rank {rank} (process {failure.pid}) {how}; the other ranks were stopped", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
