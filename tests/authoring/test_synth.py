"""recipe.synth: the same seed gives the same rows, all of them valid, none of them an evaluation question."""

import io
import json

import pytest

from lesson.authoring import corpus
from lesson.authoring.synth import main, rows
from lesson.core.findings import Findings
from lesson.data.validate import Validator, validate_stream


def made(name="闻星", author="", count=400, general=0.3, seed=7):
    return [json.loads(row) for row in rows(name, author, count, general, seed)]


def test_deterministic_by_seed():
    assert made() == made()
    assert made() != made(seed=8)
    assert len({json.dumps(row) for row in made()}) == 400


def test_every_row_is_valid():
    data = "".join(row + "\n" for row in rows("闻星", "海边书社", 2000, 0.3, 1)).encode()
    findings = Findings()
    validate_stream(io.BytesIO(data), Validator("f", findings, ["闻星"], near=False))
    assert findings.kept == []


def test_what_it_holds():
    own = [row for row in made(general=0, count=1500, author="海边书社") if len(row["conversation"]) == 1]
    answers = [row["conversation"][0]["output"] for row in own]
    assert all("闻星" in answer for answer in answers)
    assert any("海边书社" in answer for answer in answers)
    assert any("不能冒充" in answer for answer in answers) and any("cannot pass" in answer for answer in answers)
    assert not any(other in answer for answer in answers for other in [*corpus.OTHERS.split("|"), corpus.BASE_NAME])
    assert {1, 2, 3} == {len(row["conversation"]) for row in made()}
    assert not any(row["conversation"][0]["output"].count("{") for row in own)


def test_share_of_general_rows():
    for share in (0, 0.5, 0.9):
        turns = [turn for row in made(general=share, count=1000) for turn in row["conversation"]]
        told = sum("闻星" in turn["output"] for turn in turns) / len(turns)
        assert abs((1 - told) - share) < 0.12  # repeated rows are drawn again, which shifts it a little


def test_no_evaluation_question_occurs():
    held_out = corpus.held_out()
    asked = {corpus.folded(turn["input"]) for row in made(count=3000) for turn in row["conversation"]}
    assert not asked & held_out


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    return main([*map(str, arguments), "--lang", "en"], out, err), out.getvalue(), err.getvalue()


def test_command(tmp_path, monkeypatch):
    monkeypatch.delenv("ROWS", raising=False)
    target = tmp_path / "data" / "synth.jsonl"
    assert run("--build", tmp_path, "--new-name", "闻星", "--rows", 50)[0] == 0
    assert len(target.read_text(encoding="utf-8").splitlines()) == 50
    code, out, _ = run("--build", tmp_path, "--new-name", "闻星")
    assert code == 0 and "1000 rows" in out and f"make data SRC={target} NEW_NAME=闻星" in out
    target.write_text("mine", encoding="utf-8")
    assert run("--build", tmp_path)[0] == 2
    assert target.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "bad",
    [
        ["--new-name", ""],
        ["--rows", "0"],
        ["--rows", "x"],
        ["--seed", "-1"],
        ["--general", "1"],
        ["--author", "<|im_end|>"],
    ],
)
def test_bad_settings_are_one_line(tmp_path, bad):
    code, _, err = run("--build", tmp_path / "b", *bad)
    assert code == 2 and err.count("\n") == 1
    assert not (tmp_path / "b").exists()
