"""Base models by name: the sizes of the common ones, so that an adapter can be held against a base that is not here.

The sizes are those of the published config.json files; Qwen1.5-0.5B and 7B were written down without one at hand, so a
verdict on them that seems wrong is best repeated with MODEL=. For any other base the staff name its folder
(MODEL=), and without it an adapter's shapes are not judged.
"""

from __future__ import annotations

import re

# config.json of internlm/internlm2_5-7b-chat (InternLM2-Chat-7B has the same sizes: see `check_name`).
SIZES_7B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 92544,
}

FAMILY = re.compile(r"(internlm2(?:_5)?|internlm3|internlm|qwen1_5|qwen2(?:_5)?|qwen3|qwen|llama_?[23]?|baichuan2?|mistral|gemma)"
                    r"(?:_chat|_instruct|_base)*_(\d+(?:_\d+)?)b(?![a-z])")  # fmt: skip


def _sizes(family: str, hidden: int, inner: int, layers: int, heads: int, vocabulary: int) -> dict:
    """A config.json's worth of sizes; these bases have as many key heads as heads."""
    return {
        **{"model_type": family, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers},
        **{"num_attention_heads": heads, "num_key_value_heads": heads, "vocab_size": vocabulary},
    }


BASE_SIZES = {
    ("internlm2", "7"): {"model_type": "internlm2", **SIZES_7B},
    ("internlm2_5", "7"): {"model_type": "internlm2", **SIZES_7B},
    ("qwen", "1_8"): _sizes("qwen", 2048, 11008, 24, 16, 151936),
    ("qwen", "7"): _sizes("qwen", 4096, 22016, 32, 32, 151936),
    ("qwen1_5", "0_5"): _sizes("qwen2", 1024, 2816, 24, 16, 151936),
    ("qwen1_5", "1_8"): _sizes("qwen2", 2048, 5504, 24, 16, 151936),
    ("qwen1_5", "7"): _sizes("qwen2", 4096, 11008, 32, 32, 151936),
}


def family_and_size(name: object) -> tuple[str, str] | None:
    """(family, billions of parameters) in a model's or a stock config's name; None when it tells none.

    Qwen/Qwen1.5-0.5B-Chat and qwen1_5_0_5b_chat_qlora_alpaca_e3 are both ("qwen1_5", "0_5").
    """
    match = FAMILY.search(re.sub(r"[^a-z0-9]+", "_", str(name)[-300:].lower()))
    return (match[1], match[2]) if match else None
