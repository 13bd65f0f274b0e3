"""DeepSpeed's config for a training, and what it reads when there is one process."""

from __future__ import annotations

from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.training.ranks import free_port


def find_deepspeed_config(values: Values) -> str | None:
    """What goes behind XTuner's --deepspeed: a name or a file, None for no DeepSpeed.

    On a CPU, fp16 and bf16 off: profiles/NAME_cpu.json. Raises UserError where there is none of that name.
    """
    asked = values.deepspeed_config
    if asked == "none":
        return None
    if values.profile == "7b" or asked.endswith(".json"):
        return asked
    ours = ROOT / "profiles" / f"{asked}_cpu.json"
    if not ours.is_file():
        names = ", ".join(sorted(p.name.removesuffix("_cpu.json") for p in ours.parent.glob("*_cpu.json")))
        raise UserError(
            f"DEEPSPEED={asked}",
            tr("no CPU form of it", "没有对应的 CPU 配置"),
            tr(f"use one of {names}, or none", f"可用：{names} 或 none"),
        )
    return str(ours.relative_to(ROOT))


def single_process_environment() -> dict[str, str]:
    """The variables that tell DeepSpeed that it is alone; without them it looks for MPI."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", **address}
