"""The sizes that values are chosen by: of the base that will be trained, and of no other."""

from __future__ import annotations

import json

import pytest

from lesson.core.files import write_json
from lesson.core.records import record_path
from lesson.core.settings import Values
from lesson.model.sizes import read_base_sizes

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


def make_folder(folder, vocabulary: int):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "vocab_size": vocabulary, **SIZES}))
    return folder


@pytest.fixture
def sizes(tmp_path):
    return lambda **given: read_base_sizes(Values({"PROFILE": "small", "BUILD": str(tmp_path), **given}, {})).parameters


def test_a_base_on_the_hub_has_its_published_sizes_before_any_download(sizes):
    assert 480e6 < sizes(MODEL="Qwen/Qwen2.5-0.5B-Instruct") < 510e6
    assert 130e6 < sizes(MODEL="HuggingFaceTB/SmolLM2-135M-Instruct") < 140e6
    assert sizes(MODEL="somebody/something") is None


def test_a_base_that_was_linked_before_says_nothing_of_another_one(sizes, tmp_path):
    one, other = make_folder(tmp_path / "one", 1000), make_folder(tmp_path / "other", 2000)
    (tmp_path / "model").symlink_to(one)
    write_json(record_path(tmp_path / "model"), {"base": {"named": str(one)}})
    assert sizes() == sizes(MODEL=str(one)) < sizes(MODEL=str(other))
    assert sizes(MODEL="Qwen/Qwen2.5-0.5B-Instruct") > 480e6
    write_json(record_path(tmp_path / "model"), {"base": {"named": "somebody/something"}})  # downloaded by its name
    assert sizes(MODEL="somebody/something") == sizes()
