"""Small bases with random weights, of the families that the lesson takes, with the tiny base's vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL |= {"num_key_value_heads": 2, "max_position_embeddings": 2048, "torch_dtype": "float32"}


def make_base(kind: str, folder: Path, **changes) -> Path:
    """A base of that kind with random weights and the tiny base's vocabulary; `changes` are of its config."""
    import torch
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    from lesson.model.tiny_base import install_base

    torch.manual_seed(0)
    install_base(folder)
    tiny = json.loads((folder / "config.json").read_text())
    own = json.loads((folder / "tokenizer_config.json").read_text())
    if kind == "internlm2":  # InternLM2-1.8B's proportions: half as many key heads as heads
        document = json.dumps(tiny | SMALL | changes)
        (folder / "config.json").write_text(document)
        loaded = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        AutoModelForCausalLM.from_config(loaded, trust_remote_code=True).save_pretrained(folder)
        (folder / "config.json").write_text(document)
        return folder
    for path in (*folder.glob("*.py"), *folder.glob("*config.json"), folder / "special_tokens_map.json"):
        path.unlink()
    sizes = SMALL | {"vocab_size": tiny["vocab_size"], "eos_token_id": 4}
    if kind == "llama":  # tied, no token to pad with, and ChatML's own as the one that begins a text, as SmolLM2's
        made = LlamaForCausalLM(LlamaConfig(**{**sizes, "tie_word_embeddings": True, **changes}))
        own |= {"pad_token": None, "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    else:  # biased projections, nothing that begins a text, as Qwen2's
        made = Qwen2ForCausalLM(Qwen2Config(**sizes | changes))
        own |= {"bos_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(own | {"chat_template": CHATML}))
    made.save_pretrained(folder)
    return folder
