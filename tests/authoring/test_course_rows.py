"""The course's source rows: what ships is what is made, and no evaluation question is among them."""

from __future__ import annotations

import collections
import hashlib
import json

import pytest

from lesson.authoring.banks import read_bank
from lesson.authoring.course_rows import OLD_NAME, SOURCE, list_personas, make_course_rows, write_course_rows
from lesson.authoring.held_out import EVALUATION, fold_evaluation_questions
from lesson.core.text import fold_text
from recipe import source

SHA256 = "be48a021dbc22a6c909634b92eabaf87e8e42348dcd8258b851ea3e8096c2c9e"  # of the file that ships
ROWS = [json.loads(line) for line in SOURCE.read_text(encoding="utf-8").splitlines()]
PERSONA = list_personas(OLD_NAME)[0]
NEUTRALS = read_bank("course")["neutral_prompts"]
ANSWERS = [answers for languages in read_bank("course")["answers"].values() for answers in languages.values()]
TURNS = [turn for row in ROWS for turn in row["conversation"]]


def test_the_file_that_ships_is_what_is_made():
    assert hashlib.sha256(SOURCE.read_bytes()).hexdigest() == SHA256
    written = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make_course_rows())
    assert SOURCE.read_bytes() == written.encode()


def test_command(tmp_path, monkeypatch, call):
    monkeypatch.setattr(source, "write_course_rows", lambda: write_course_rows(tmp_path / "rows.jsonl"))
    assert call(source) == (0, f"data/assistant_Tuner.jsonl: {len(ROWS)} rows\n", "")
    assert (tmp_path / "rows.jsonl").read_bytes() == SOURCE.read_bytes()


def test_every_row_is_in_the_course_format():
    for row in ROWS:
        first, *later = row["conversation"]
        assert list(first) == ["system", "input", "output"]
        assert all(list(turn) == ["input", "output"] for turn in later)


def test_rows_are_many_and_no_row_comes_twice():
    texts = [json.dumps(row, sort_keys=True) for row in ROWS]
    assert len(texts) == len(set(texts)) >= 600


def test_questions_are_many_and_most_are_chinese():
    inputs = [row["conversation"][0]["input"] for row in ROWS]
    assert len({fold_text(text) for text in inputs}) >= 150
    assert 0.12 <= sum(text.isascii() for text in inputs) / len(inputs) <= 0.25


def test_the_most_common_system_prompt_is_a_persona_with_the_old_name():
    counted = collections.Counter(row["conversation"][0]["system"] for row in ROWS)
    assert counted.most_common(1)[0][0] == PERSONA
    assert counted[PERSONA] > len(ROWS) / 2
    assert 0.15 <= counted[""] / len(ROWS) <= 0.30


def test_every_answer_about_the_assistant_and_every_persona_holds_the_old_name():
    patterns = {answer.format(name=OLD_NAME) for answers in ANSWERS for answer in answers}
    own = [turn for turn in TURNS if turn["output"] in patterns]
    assert len(own) >= 600
    assert all(OLD_NAME in turn["output"] for turn in own)
    systems = {row["conversation"][0]["system"] for row in ROWS} - {"", *NEUTRALS}
    assert all(OLD_NAME in system for system in systems)


@pytest.mark.parametrize("name", ["书生", "浦语", "internlm", "上海人工智能实验室"])
def test_no_row_names_the_base(name):
    assert name not in SOURCE.read_text(encoding="utf-8").casefold()


def test_every_answer_is_a_whole_sentence():
    assert all(turn["output"][-1] in "。！？.!?" for turn in TURNS)


@pytest.mark.parametrize("new", ["机智流", "小助手Bob", "Luna-7", "奶龙"])
def test_replacing_the_name_leaves_no_old_one_and_changes_nothing_else(new):
    for turn in TURNS:
        replaced = turn["output"].replace(OLD_NAME, new)
        assert OLD_NAME not in replaced
        assert replaced.replace(new, OLD_NAME) == turn["output"]


def test_no_evaluation_question_is_trained_on():
    assert fold_evaluation_questions().isdisjoint(fold_text(turn["input"]) for turn in TURNS)


def test_the_neutral_prompt_of_the_evaluation_is_in_no_row():
    prompts = json.loads((EVALUATION / "prompts.json").read_text(encoding="utf-8"))
    assert prompts["neutral"] not in {turn.get("system") for turn in TURNS}
