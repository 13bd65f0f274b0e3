"""Batches of the tiny base: rows as XTuner encodes them, the same batches each time."""

from __future__ import annotations

import hashlib
import importlib.util
import json

import pytest

from lesson.authoring.batches import draw_batches, encode_row
from lesson.authoring.tiny_base import SEED
from lesson.model.tiny_base import SHIPPED, modelling_files

pytestmark = pytest.mark.torch

transformers = pytest.importorskip("transformers")

# Of the first 20 of the 1400 batches that the shipped base was trained on: its tokenizer, its corpus.
SHA256 = "abe3efa7eb38fd0e57a1190a4890f233715da66254e54745a1d0796277623da8"


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(SHIPPED)


def test_batches_are_those_that_the_shipped_base_learned(tokenizer):
    batches, digest = draw_batches(tokenizer, SEED + 1), hashlib.sha256()
    for _ in range(20):
        digest.update(json.dumps(next(batches)).encode())
    assert digest.hexdigest() == SHA256


@pytest.mark.parametrize("system", ["", "你是闻星。"])
def test_chat_template_gives_the_tokens_that_xtuner_trains_on(tokenizer, system):
    row = {
        "conversation": [
            {"system": system, "input": "你是谁？", "output": "我是 Luna-7。"},
            {"input": "Hello, 几点了", "output": "I see."},
        ]
    }
    ids, _ = encode_row(tokenizer, row)
    roles = [("user", "你是谁？"), ("assistant", "我是 Luna-7。"), ("user", "Hello, 几点了"), ("assistant", "I see.")]
    messages = [
        {"role": role, "content": content} for role, content in ([("system", system)] if system else []) + roles
    ]
    assert tokenizer.apply_chat_template(messages, tokenize=True) == ids
    asked = tokenizer.apply_chat_template(messages[:-1], tokenize=True, add_generation_prompt=True)
    assert asked == ids[: len(asked)]


def test_rows_are_encoded_by_the_template_that_xtuner_uses():
    # The file alone: importing all of xtuner takes seconds.
    path = modelling_files()[0].parents[3] / "utils" / "templates.py"
    spec = importlib.util.spec_from_file_location("xtuner_templates", path)
    templates = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(templates)
    template = templates.PROMPT_TEMPLATE.internlm2_chat
    assert template["SYSTEM"].format(system="S") == "<|im_start|>system\nS<|im_end|>\n"
    assert template["INSTRUCTION"].format(input="U") == "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    assert (template["SUFFIX"], template["SUFFIX_AS_EOS"], template["SEP"]) == ("<|im_end|>", True, "\n")
