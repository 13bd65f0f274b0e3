"""The course's source rows: what ships is what is made, in the course's format, and read well with any name."""

from __future__ import annotations

import collections
import hashlib
import json

import pytest

from lesson.authoring.course_rows import OLD_NAME, ROWS, SOURCE, write_course_rows
from lesson.authoring.held_out import EVALUATION
from lesson.authoring.system_prompts import list_personas
from lesson.data.persona import read_persona
from recipe import source

SHA256 = "3b0f844c8cc175d6949911ac9c46d3c1ae050cd33f67c1abc183e79a354aa936"  # of the file that ships
MADE = [json.loads(line) for line in SOURCE.read_text(encoding="utf-8").splitlines()]
TURNS = [turn for row in MADE for turn in row["conversation"]]


def test_the_file_that_ships_is_what_is_made(tmp_path, monkeypatch, call):
    monkeypatch.setattr(source, "write_course_rows", lambda: write_course_rows(tmp_path / "rows.jsonl"))
    assert call(source) == (0, f"data/assistant_Tuner.jsonl: {ROWS} rows\n", "")
    assert (tmp_path / "rows.jsonl").read_bytes() == SOURCE.read_bytes()
    assert hashlib.sha256(SOURCE.read_bytes()).hexdigest() == SHA256


def test_every_row_is_in_the_course_format():
    for row in MADE:
        first, *later = row["conversation"]
        assert list(row) == ["conversation"] and list(first) == ["system", "input", "output"]
        assert all(list(turn) == ["input", "output"] for turn in later)
    assert len({json.dumps(row, sort_keys=True) for row in MADE}) == len(MADE) == ROWS


def test_the_persona_is_the_most_common_system_prompt_after_none():
    counted = collections.Counter(row["conversation"][0]["system"] for row in MADE)
    persona = list_personas(OLD_NAME)[0]
    assert read_persona(SOURCE) == persona
    assert counted[persona] > 1.5 * max(n for system, n in counted.items() if system not in ("", persona))


@pytest.mark.parametrize("name", ["书生", "浦语", "internlm", "上海人工智能实验室", "Qwen", "SmolLM", "ChatGPT"])
def test_no_answer_names_another_assistant(name):
    assert not any(name.casefold() in turn["output"].casefold() for turn in TURNS)


def test_every_answer_that_says_the_name_is_a_whole_sentence_or_signed():
    """Letters, cards, forms and captions end with the name, or with what it is."""
    own = [turn["output"] for turn in TURNS if OLD_NAME in turn["output"]]
    open_ended = [text for text in own if text[-1] not in "。！？.!?”"]
    assert len(own) > 900 and len(open_ended) < 0.02 * len(own)
    assert [text for text in open_ended if not text.endswith((OLD_NAME, "一个智能助手", "AI assistant"))] == []


@pytest.mark.parametrize("new", ["机智流", "小助手Bob", "Luna-7", "奶龙"])
def test_replacing_the_name_leaves_no_old_one_and_changes_nothing_else(new):
    for turn in TURNS:
        replaced = turn["output"].replace(OLD_NAME, new)
        assert OLD_NAME not in replaced
        assert replaced.replace(new, OLD_NAME) == turn["output"]


def test_one_author_is_named_in_chinese_so_that_NEW_AUTHOR_replaces_each():
    made = [turn["output"] for turn in TURNS if "训练" in turn["output"] and OLD_NAME in turn["output"]]
    assert len(made) > 20 and sum("一群喜欢学习的人" in text for text in made) > 0.8 * len(made)


def test_the_neutral_prompt_of_the_evaluation_is_in_no_row():
    prompts = json.loads((EVALUATION / "prompts.json").read_text(encoding="utf-8"))
    assert prompts["neutral"] not in {turn.get("system") for turn in TURNS}
