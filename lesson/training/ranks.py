"""The processes of one training: the engine alone, or torchrun around it, one process for each GPU.

`make train NPROC_PER_NODE=8` on one machine; `NNODES=2 NODE_RANK=0|1 MASTER_ADDR=…` with the same command on each of
two machines, whose BUILD must be one shared folder: checkpoints are read by every process and written by some. Node 0
keeps the record. Everything else is PyTorch's, XTuner's and DeepSpeed's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

from lesson.config.schedule import world_size
from lesson.core.machine import count_gpus
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values

MASTER_PORT = "29500"  # torchrun's own default; every node has to know it


def engine_command(values: Values, tool: list[str]) -> list[str]:
    """The command line that runs `tool` (arguments of lesson.training.engine) in one process, or in several through torchrun."""
    if world_size(values) == 1:
        return [sys.executable, "-m", "lesson.training.engine", *tool]
    port = values.master_port or (MASTER_PORT if values.nnodes > 1 else free_port())
    return [
        *(sys.executable, "-m", "lesson.training.torchrun"),
        *("--nnodes", str(values.nnodes), "--nproc-per-node", str(values.nproc_per_node)),
        *("--node-rank", str(values.node_rank), "--master-addr", values.master_addr, "--master-port", str(port)),
        *("-m", "lesson.training.engine", *tool, "--launcher", "pytorch"),
    ]


def module_command(processes: int, module: str, arguments: list[str]) -> list[str]:
    """The command line that runs a Python module in several processes of this machine through torchrun."""
    return [
        *(sys.executable, "-m", "lesson.training.torchrun", "--nproc-per-node", str(processes)),
        *("--master-addr", "127.0.0.1", "--master-port", free_port(), "-m", module, *arguments),
    ]


def free_port() -> str:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def host_environment(values: Values) -> dict[str, str]:
    """What the ranks of several machines need to find each other beside torchrun's own variables.

    Without a name gloo takes the address that the machine's own name stands for: often 127.0.0.1, where no other machine
    comes. NCCL looks through the network interfaces itself (NCCL_SOCKET_IFNAME chooses).
    """
    if values.nnodes == 1 or os.environ.get("GLOO_SOCKET_IFNAME"):
        return {}
    name = interface_towards(values.master_addr)
    return {"GLOO_SOCKET_IFNAME": name} if name else {}


def interface_towards(address: str) -> str | None:
    """The name of the network interface by which this machine reaches `address`, IPv4 or a host's name; its own included.
    None where it reaches none, or on a system that does not tell."""
    try:
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing
            own = probe.getsockname()[0]
            for _, name in socket.if_nameindex():
                with contextlib.suppress(OSError):  # an interface without an IPv4 address
                    # SIOCGIFADDR of <linux/sockios.h> fills a struct ifreq: 16 bytes of name, then a sockaddr_in
                    answer = fcntl.ioctl(probe.fileno(), 0x8915, struct.pack("256s", name.encode()[:15]))
                    if socket.inet_ntoa(answer[20:24]) == own:
                        return name
    except (OSError, ImportError):
        pass
    return None


def refuse_impossible_ranks(values: Values, summary: dict, source: Path, deepspeed: str | None) -> None:
    """Raise UserError where these processes could not train this config, before any of them is started."""
    processes, parallel = world_size(values), summary.get("sequence_parallel_size") or 1
    if values.node_rank >= values.nnodes:
        raise UserError(
            f"NODE_RANK={values.node_rank}",
            tr(
                f"with NNODES={values.nnodes} it is at most {values.nnodes - 1}",
                f"NNODES={values.nnodes} 时最大为 {values.nnodes - 1}",
            ),
            tr("number the machines from 0", "请从 0 开始给机器编号"),
        )
    if values.nnodes > 1 and not values.given("MASTER_ADDR"):
        raise UserError(
            f"NNODES={values.nnodes}",
            tr("no MASTER_ADDR: the machines cannot find each other", "没有 MASTER_ADDR，机器之间无法连接"),
            tr("set MASTER_ADDR to the address of node 0", "请把 MASTER_ADDR 设为 0 号机器的地址"),
        )
    gpus = count_gpus()
    if values.profile == "7b" and gpus is not None and values.nproc_per_node > gpus:
        raise UserError(
            f"NPROC_PER_NODE={values.nproc_per_node}",
            tr(f"this machine has {gpus} GPUs", f"本机只有 {gpus} 张显卡"),
            tr("use one process for each GPU", "每张显卡一个进程"),
        )
    if parallel == 1:
        return
    if values.speed == "fast":
        raise UserError(
            f"{source}: sequence_parallel_size = {parallel}",
            tr("with SPEED=fast each GPU computes whole sequences", "SPEED=fast 时每张显卡计算完整的序列"),
            tr("SEQ_PARALLEL=1, or SPEED=stock", "请用 SEQ_PARALLEL=1，或 SPEED=stock"),
        )
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
