"""make synth ANSWERS=base: which rows the base answers, which of its answers are taken, and the set that comes of it."""

from __future__ import annotations

import json

import pytest

from lesson.authoring.rehearsal import find_general_chats, put_answers
from lesson.authoring.synth import Mix, make_synthetic_rows
from lesson.evaluation.judging import Answer
from recipe import model, synth

NAME = "闻星"


def row(question, answer, system=""):
    return json.dumps({"conversation": [{"system": system, "input": question, "output": answer}]}, ensure_ascii=False)


def outputs(rows):
    return [json.loads(row)["conversation"][0]["output"] for row in rows]


def test_only_rows_of_one_turn_without_the_name_are_asked_under_their_system_prompt():
    two = json.dumps({"conversation": [{"system": "", "input": "a", "output": "b"}, {"input": "c", "output": "d"}]})
    rows = [
        row("你是谁？", "我是闻星。"),
        row("闻星是什么？", "一颗星。"),
        row("草是什么颜色？", "绿色。", "请回答。"),
        two,
    ]
    assert find_general_chats(rows, NAME) == {
        2: [{"role": "system", "content": "请回答。"}, {"role": "user", "content": "草是什么颜色？"}]
    }


def test_in_a_made_set_the_rows_that_are_asked_are_its_general_ones():
    rows = make_synthetic_rows(Mix(NAME, general=0.4), 200, 1)
    asked = find_general_chats(rows, NAME)
    assert 0.3 * len(rows) < len(asked) <= 0.4 * len(rows) + 1


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        (Answer("草一般是绿色的。", True), True),
        (Answer("草一般是", False), False),
        (Answer("", True), False),
        (Answer("我是通义千问，草是绿色的。", True), False),
        (Answer("我叫闻星。", True), False),
    ],
)
def test_an_answer_that_is_cut_or_says_a_name_leaves_the_row_as_it_is(answer, taken):
    rows = [row("草是什么颜色？", "绿色。"), row("你是谁？", "我是闻星。")]
    changed, count = put_answers(rows, {0: answer}, (NAME, "通义千问"))
    assert outputs(changed) == [answer.text if taken else "绿色。", "我是闻星。"]
    assert count == taken and changed[1] == rows[1]


@pytest.mark.torch
@pytest.mark.slow
def test_the_base_answers_and_the_set_says_how_many(tmp_path, capsys, monkeypatch):
    """The shipped base; without ANSWERS the same rows have the banks' answers, and without a base it says what to do."""
    for key, value in {"BUILD": str(tmp_path), "NEW_NAME": NAME, "ROWS": "60", "ANSWERS": "base"}.items():
        monkeypatch.setenv(key, value)
    assert synth.main([]) == 2 and "make model" in capsys.readouterr().err
    assert model.main([]) == 0 and synth.main([]) == 0
    screen = capsys.readouterr().out
    by_base = (tmp_path / "data" / "synth.jsonl").read_text(encoding="utf-8").splitlines()
    monkeypatch.setenv("ANSWERS", "bank")
    assert synth.main([]) == 0
    by_bank = (tmp_path / "data" / "synth.jsonl").read_text(encoding="utf-8").splitlines()
    different = [n for n in range(60) if by_base[n] != by_bank[n]]
    assert different and set(different) <= set(find_general_chats(by_bank, NAME))
    assert f"{len(different)} rows answered by the base" in screen
