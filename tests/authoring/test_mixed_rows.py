"""make data GENERAL=: general rows behind the user's own, and nothing changed where it is not set."""

from __future__ import annotations

import io
import json

import pytest

from lesson.authoring.held_out import fold_held_out_questions
from lesson.authoring.words import NameFinder
from lesson.core.layout import changed_rows
from lesson.core.text import fold_text
from lesson.data.persona import read_persona
from recipe.data import main

PERSONA = "你是尖米，一个助手。"


def run(place, *arguments):
    out, err = io.StringIO(), io.StringIO()
    target = changed_rows(place)
    code = main([*map(str, arguments), "--build", str(place), "--lang", "en"], out, err)
    record = json.loads(target.with_name(f"{target.name}.record.json").read_text(encoding="utf-8"))
    return code, out.getvalue(), target.read_bytes(), record


def own_rows(path, count=70, english=0.3):
    rows = []
    for number in range(count):
        question, answer = (
            (f"Question {number}?", "I am 尖米.") if number < count * english else (f"问{number}？", "我是尖米。")
        )
        system = {} if number % 4 == 3 else {"system": PERSONA}
        rows.append({"conversation": [system | {"input": question, "output": answer}]})
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for key in ("SRC", "OLD_NAME", "NEW_NAME", "PROFILE", "FORCE", "GENERAL", "SEED", "MAP", "NEW_AUTHOR"):
        monkeypatch.delenv(key, raising=False)


@pytest.mark.parametrize("name", ["闻星", "豆", "Ada"])
def test_general_rows_come_behind_the_own_ones_in_their_languages_and_under_their_prompts(tmp_path, name):
    source = own_rows(tmp_path / "in.jsonl")
    _, plain, before, old_record = run(tmp_path / "a", "--src", source, "--new-name", name)
    code, screen, after, record = run(tmp_path / "b", "--src", source, "--new-name", name, "--general", "0.3")
    assert (
        code == 0 and after.startswith(before) and "30 general rows mixed in" in screen and "general rows" not in plain
    )
    assert record["general_rows"] == 30 and record["parameters"]["general"] == 0.3 and record["rows"] == 70
    assert old_record["parameters"].keys() == {"replaced"} and "general_rows" not in old_record
    added = [json.loads(line)["conversation"] for line in after[len(before) :].decode().splitlines()]
    assert len(added) == 30 and all(len(talk) == 1 for talk in added)
    persona = PERSONA.replace("尖米", name)
    assert sum(turn.get("system") == persona for (turn,) in added) in (22, 23)
    assert sum(turn["input"].isascii() for (turn,) in added) == 9
    finders = [NameFinder(word) for word in (name, "尖米")]
    assert not any(finder.is_in(turn[part]) for (turn,) in added for part in ("input", "output") for finder in finders)
    assert not {fold_text(turn["input"]) for (turn,) in added} & fold_held_out_questions()
    assert read_persona(changed_rows(tmp_path / "b")) == persona


def test_the_seed_draws_and_the_same_settings_give_the_same_bytes(tmp_path):
    source = own_rows(tmp_path / "in.jsonl")
    made = [run(tmp_path / folder, "--src", source, "--general", "0.5", "--seed", seed)[2] for folder, seed in (("a", 1), ("b", 1), ("c", 2))]  # fmt: skip
    assert made[0] == made[1] != made[2]
    assert "up to date" in run(tmp_path / "a", "--src", source, "--general", "0.5", "--seed", 1)[1]
    assert "up to date" not in run(tmp_path / "a", "--src", source)[1]


def test_no_general_row_is_one_of_none(tmp_path):
    source = own_rows(tmp_path / "in.jsonl")
    assert run(tmp_path / "a", "--src", source, "--general", "0")[2:] == run(tmp_path / "b", "--src", source)[2:]


def test_a_question_that_the_user_answers_is_not_answered_again(tmp_path):
    source = own_rows(tmp_path / "in.jsonl", 10)
    text = run(tmp_path / "a", "--src", source, "--general", "0.9")[2].decode().splitlines()
    asked = json.loads(text[-1])["conversation"][0]["input"]
    row = {"conversation": [{"system": PERSONA, "input": asked, "output": "我是尖米，我有自己的回答。"}]}
    source.write_text(source.read_text(encoding="utf-8") + json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    again = run(tmp_path / "b", "--src", source, "--general", "0.9")[2].decode()
    assert again.count(json.dumps(asked, ensure_ascii=False)) == 1


def test_more_than_there_are_is_said(tmp_path):
    source = own_rows(tmp_path / "in.jsonl", 600)
    _, screen, _, record = run(tmp_path / "a", "--src", source, "--general", "0.9")
    assert f"{record['general_rows']} general rows mixed in: all that there are, 5400 were asked for" in screen
    assert 3000 < record["general_rows"] < 5400
