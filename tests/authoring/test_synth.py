"""make synth: the same seed gives the same rows, all of them valid, none of them an evaluation question."""

import hashlib
import io
import json

import pytest

from lesson.authoring.banks import read_bank
from lesson.authoring.corpus import BASE_NAME
from lesson.authoring.held_out import fold_evaluation_questions
from lesson.authoring.synth import make_synthetic_rows
from lesson.core.findings import Findings
from lesson.core.text import fold_text
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream
from recipe import synth

# {(name, author, rows, share of general rows, seed): SHA-256 of the lines}: the same settings gave the same rows before.
ROWS = {
    ("闻星", "", 1000, 0.3, 20241): "1ef70f245ec1e20972fde00de825aece2de7997ad019090a165751bf14105ad8",
    ("机智流", "海边书社", 300, 0.0, 1): "15663516b67b81d2db9deb447509ce408692225c972991d8ab61995032ffd143",
    ("Luna-7", "Ada", 2000, 0.5, 7): "b37f4d59dd0c17bb99e778bac4e5a1012406c598a91e4a8ab04ba7c2c5d90463",
    ("ChatGPT", "", 200, 0.9, 3): "63d6b4c5a5cb97dbd00055d52b7bc0d0ee715627616f3255a4d6011ff0a1c344",
    ("奶龙", "A{n}", 200, 0.1, 2): "c3f89a8d2859ea6cad64d03200f60c8b003b09ab679db6f9c543a6410725a41f",
}


def made(name="闻星", author="", count=400, general=0.3, seed=7):
    return [json.loads(row) for row in make_synthetic_rows(name, author, count, general, seed)]


@pytest.mark.parametrize("settings", ROWS)
def test_rows_are_what_they_were(settings):
    text = "".join(row + "\n" for row in make_synthetic_rows(*settings))
    assert hashlib.sha256(text.encode()).hexdigest() == ROWS[settings]


def test_deterministic_by_seed():
    assert made() == made()
    assert made() != made(seed=8)
    assert len({json.dumps(row) for row in made()}) == 400


def test_every_row_is_valid():
    data = "".join(row + "\n" for row in make_synthetic_rows("闻星", "海边书社", 2000, 0.3, 1)).encode()
    findings = Findings(ROW_RULES)
    validate_stream(io.BytesIO(data), Validator("f", findings, ["闻星"], near=False))
    assert findings.kept == []


def test_what_it_holds():
    own = [row for row in made(general=0, count=1500, author="海边书社") if len(row["conversation"]) == 1]
    answers = [row["conversation"][0]["output"] for row in own]
    assert all("闻星" in answer for answer in answers)
    assert any("海边书社" in answer for answer in answers)
    assert any("不能冒充" in answer for answer in answers) and any("cannot pass" in answer for answer in answers)
    assert not any(
        other in answer for answer in answers for other in [*read_bank("identity")["other_assistants"], BASE_NAME]
    )
    assert {1, 2, 3} == {len(row["conversation"]) for row in made()}
    assert not any(row["conversation"][0]["output"].count("{") for row in own)


@pytest.mark.parametrize("name", ["{author}", "{a}", "{", "{other}"])
def test_braces_in_a_name_stay_as_they_are(name):
    own = made(name, "海边书社", 300, general=0)
    assert all(name in turn["output"] for row in own for turn in row["conversation"])


def test_share_of_general_rows():
    for share in (0, 0.5, 0.9):
        turns = [turn for row in made(general=share, count=1000) for turn in row["conversation"]]
        told = sum("闻星" in turn["output"] for turn in turns) / len(turns)
        assert abs((1 - told) - share) < 0.12  # repeated rows are drawn again, which shifts it a little


def test_no_evaluation_question_occurs():
    held_out = fold_evaluation_questions()
    asked = {fold_text(turn["input"]) for row in made(count=3000) for turn in row["conversation"]}
    assert not asked & held_out


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    return synth.main([*map(str, arguments), "--lang", "en"], out, err), out.getvalue(), err.getvalue()


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
