"""XTuner's own dump of a config, as it leaves it in a work_dir, without training: `python tests/make_dumps.py CONFIG OUT [DEEPSPEED]`.

What xtuner.tools.train does to a config between reading it and building its runner, which dumps it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def dump_config(source: Path, target: Path, deepspeed: str | None = None) -> None:
    from mmengine.config import Config
    from mmengine.config.lazy import LazyObject
    from xtuner.configs import cfgs_name_path
    from xtuner.tools import train

    config = Config.fromfile(source)
    train.set_model_resource(config)
    train.register_function(config._cfg_dict)
    config.launcher, config.work_dir = "none", "work_dir"
    if deepspeed:
        engine, wrapper = json.loads(Path(cfgs_name_path[deepspeed]).read_text()), config.optim_wrapper
        engine["fp16"]["enabled"], engine["bf16"]["enabled"] = False, True  # "auto" on a GPU that knows bfloat16
        strategy = {
            "type": LazyObject("xtuner.engine", "DeepSpeedStrategy"),
            "config": engine,
            "gradient_accumulation_steps": wrapper.get("accumulative_counts", 1),
            "train_micro_batch_size_per_gpu": config.train_dataloader.batch_size,
            "gradient_clipping": wrapper.clip_grad.max_norm,
            "exclude_frozen_parameters": True,
            "sequence_parallel_size": getattr(config, "sequence_parallel_size", 1),
        }
        config["strategy"] = strategy
        config["optim_wrapper"] = {"type": "DeepSpeedOptimWrapper", "optimizer": wrapper.optimizer}
        config.runner_type = "FlexibleRunner"
    config.dump(target)


if __name__ == "__main__":
    dump_config(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
