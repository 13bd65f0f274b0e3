"""The parts of a submission: what each is called, and under which name make submission packs it."""

from __future__ import annotations

# file in ours, English, Chinese
PARTS = {
    "config": ("config.py", "training config", "训练配置"),
    "data": ("data.jsonl", "training data", "训练数据"),
    "log": ("train.log", "XTuner's log", "XTuner 日志"),
    "scalars": ("scalars.json", "XTuner's vis_data", "XTuner 的 vis_data"),
    "record": ("run.json", "run record", "训练记录"),
    "curve": ("curve.jsonl", "loss of each step", "逐步损失"),
    "adapter_config": ("adapter/adapter_config.json", "adapter's config", "适配器配置"),
    "adapter": ("adapter/adapter_model.safetensors", "adapter's weights", "适配器权重"),
    "card": ("adapter/README.md", "model card", "模型卡"),
    "answers": ("eval/answers.jsonl", "answers", "回答"),
    "evaluation": ("eval/evaluation.json", "evaluation", "评测结果"),
}
NEEDED = ("config", "data", "log", "adapter_config", "adapter", "answers")
MANIFEST = "submission.json"
