"""The card says where a model comes from and how to check it; the sums are those of sha256sum."""

from __future__ import annotations

import subprocess

import yaml

from lesson.export.card import SUMS, make_card, write_sums

RECORD = {"id": "0123456789ab", "names": {"new": "小海豚", "old": "尖米"}, "persona": "你是小海豚。", "config": "c.py"}
RECORD |= {"seed": 42, "steps": 161, "loss": {"first": 4.0, "last": 0.1, "window": 10}, "versions": {"torch": "2.14.1"}}
RECORD |= {"inputs": {"config": "1" * 64, "data": "2" * 64, "base": "3" * 64}}
HUB = {"name": "Qwen/Qwen2.5-0.5B-Instruct", "hub": "huggingface", "revision": "abc", "license": "apache-2.0"}
SCORES = {"prompts": [{"prompt": "none", "new": 97, "questions": 100, "general_kept": 44, "general_base_right": 48}]}


def test_a_hub_reads_the_head_and_a_person_the_rest():
    card = make_card(RECORD | {"base": HUB}, HUB["name"], "hf", SCORES)
    _, head, text = card.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": ["zh", "en"],
        "tags": ["qlora", "xtuner", "self-cognition"],
        "base_model": HUB["name"],
        "license": "apache-2.0",
    }
    assert "# 小海豚" in text and "| none | 97/100 | 44/48 |" in text and "@ `abc`" in text and "你是小海豚。" in text


def test_a_base_from_a_folder_is_no_base_model_of_a_hub_and_an_adapter_is_pefts():
    card = make_card(RECORD, "/models/base", "adapter", None)
    head = yaml.safe_load(card.split("---\n", 2)[1])
    assert head["library_name"] == "peft" and "base_model" not in head and "license" not in head
    assert "says its name" not in card


def test_sha256sum_finds_a_changed_file(tmp_path):
    (tmp_path / "a b.bin").write_bytes(b"\0\1")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "名.txt").write_text("x", encoding="utf-8")
    write_sums(tmp_path)
    check = ["sha256sum", "-c", "--strict", SUMS]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / "deep" / "名.txt").write_text("y", encoding="utf-8")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 1
