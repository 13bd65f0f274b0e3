"""make synth: for any name, valid rows in the shares that were asked for, none of them an evaluation question."""

import collections
import functools
import hashlib
import io
import json

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from lesson.authoring.banks import read_bank
from lesson.authoring.general_pairs import HAN
from lesson.authoring.held_out import NEAR, find_nearest_question, fold_held_out_questions, read_identity_turns
from lesson.authoring.synth import Mix, Slot, make_synthetic_rows, plan_rows
from lesson.authoring.system_prompts import SHARES
from lesson.authoring.words import NameFinder
from lesson.core.findings import Findings
from lesson.core.messages import UserError
from lesson.core.text import fold_text
from lesson.data.persona import PersonaCounter
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream
from recipe import synth

NAMES = ["闻星", "机智流", "Luna-7", "小海豚", "Dr.Chen", "龘", "Qwen", "小度", "ChatGPT", "豆", "Ada Lovelace", "3号"]
# {(mix, rows, seed): SHA-256 of the lines}: the same settings gave the same rows before.
ROWS = {
    (Mix("闻星"), 300, 20241): "46fda52c6afc22733c344a7206a07724e358277d7556e68e4f570c0f866718b0",
    (Mix("机智流", "海边书社", 0.0, 0.2), 200, 1): "fe2cf02eca5880fcc37d94912ad0422e41547c6573063ffa3b9eb24a0820a913",
    (Mix("Luna-7", "Ada", 0.5, 1.0), 200, 7): "ad1623bff14e0693803a0def6680322c7fbb5ebc1375572a5b13ad4aba63653a",
}


MIX = Mix("闻星")


@functools.cache
def made(mix=MIX, count=400, seed=7):
    return tuple(json.loads(row)["conversation"] for row in make_synthetic_rows(mix, count, seed))


@pytest.mark.parametrize("asked", ROWS)
def test_rows_are_what_they_were(asked):
    text = "".join(row + "\n" for row in make_synthetic_rows(*asked))
    assert hashlib.sha256(text.encode()).hexdigest() == ROWS[asked]


def test_another_seed_makes_other_rows():
    assert len({json.dumps(talk) for talk in made()}) == 400
    assert made() != made(seed=8)


@drawn(
    st.one_of(
        st.sampled_from(NAMES), st.text(st.characters(categories=("Lu", "Ll", "Lo", "Nd")), min_size=2, max_size=8)
    ),
    st.sampled_from([0.0, 0.3, 0.9]),
    st.sampled_from([0.0, 0.45, 1.0]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_the_name_the_shares_hold_and_the_name_stands_where_it_belongs(name, general, english, seed):
    mix, count = Mix(name, "", general, english), 60
    talks = [json.loads(row)["conversation"] for row in make_synthetic_rows(mix, count, seed)]
    finder = NameFinder(name)
    named = [talk for talk in talks if any(name in turn["output"] for turn in talk)]
    assert abs((count - len(named)) - count * general) <= 2
    for talk in talks:
        if talk not in named:  # general: no turn holds the name
            assert not any(finder.is_in(turn[part]) for turn in talk for part in ("input", "output")), talk
    systems = collections.Counter(bool(talk[0]["system"]) for talk in talks)
    assert abs(systems[False] - SHARES["none"] * count) <= 3


@pytest.mark.parametrize("name", NAMES)
def test_no_question_calls_another_assistant_by_the_name(name):
    """ "Are you 小度?" – "No, I am 小度." would teach nonsense."""
    for talk in made(Mix(name)):
        for turn in talk:
            denies = turn["output"].startswith(("不", "并不", "都不", "也不", "No", "Neither", "That is not", "你认错"))
            assert not (denies and NameFinder(name).is_in(turn["input"])), turn


def test_the_plan_has_the_shares_of_each_language():
    import random

    plan = plan_rows(Mix("闻星"), 1000, random.Random(1))
    assert len(plan) == 1000 and all(isinstance(slot, Slot) for slot in plan)
    assert collections.Counter(slot.language for slot in plan) == {"zh": 500, "en": 500}
    general = read_bank("synth")["weights"]["general"]
    for language, rows in (("zh", 500), ("en", 500)):
        own = [slot for slot in plan if slot.language == language]
        assert sum(slot.kind in general for slot in own) == round(0.35 * rows)
        systems = collections.Counter(slot.system for slot in own)
        assert all(abs(systems[sort] - share * rows) <= 3 for sort, share in SHARES.items())


def test_every_row_is_valid():
    data = "".join(row + "\n" for row in make_synthetic_rows(Mix("闻星", "海边书社"), 1500, 1)).encode()
    findings = Findings(ROW_RULES)
    validate_stream(io.BytesIO(data), Validator("f", findings, ["闻星"], near=False))
    assert findings.kept == []


def test_what_it_holds():
    talks = made(Mix("闻星", "海边书社", general=0), 1500)
    assert all("闻星" in talk[-1]["output"] or len(talk) > 1 for talk in talks)
    answers = [turn["output"] for talk in talks for turn in talk]
    assert any("海边书社" in answer for answer in answers) and not any("喜欢学习的人" in answer for answer in answers)
    words = read_bank("synth")["words"]
    others = {name for kind in ("others", "invented", "companies") for names in words[kind].values() for name in names}
    assert not any(NameFinder(other).is_in(answer) for answer in answers for other in others)
    assert {len(talk) for talk in talks} == {1, 2, 3}
    asked = [turn["input"] for talk in talks for turn in talk]
    english = [text for text in asked if not HAN.search(text.replace("闻星", ""))]
    assert any(text.startswith("Are you ") for text in english)
    mixed = [text for text in asked if HAN.search(text.replace("闻星", "")) and (text[0] + text[-1]).isascii()]
    assert len(mixed) > 10, "Chinese names in English sentences"


@pytest.mark.parametrize("name", ["{author}", "{a}", "{", "{other}"])
def test_braces_in_a_name_stay_as_they_are(name):
    own = made(Mix(name, "海边书社", general=0), 200)
    assert all(name in talk[0]["output"] for talk in own if len(talk) == 1)


def test_the_persona_of_the_rows_is_the_usual_one():
    for seed in range(5):
        counter = PersonaCounter()
        for talk in made(seed=seed):
            counter.count_row(talk)
        assert counter.most_frequent() == "你是闻星，一个热心、可靠的智能助手。"


@pytest.mark.parametrize("seed", range(3))
def test_no_evaluation_question_occurs_nor_one_that_is_nearly_the_same(seed):
    asked = {turn["input"] for talk in made(count=1000, seed=seed) for turn in talk}
    assert not {fold_text(text) for text in asked} & fold_held_out_questions()
    bank = read_bank("synth")
    kinds = [*bank["questions"].values(), *bank["more_questions"].values()]
    cores = {question for texts in kinds for language in texts for question in texts[language]}
    cores |= {
        pair["question"]
        for field in ("own_pairs", "more_own_pairs")
        for pairs in bank[field].values()
        for pair in pairs
    }
    turns = read_identity_turns()
    near = [core for core in cores if find_nearest_question(core.lstrip("!"), turns)[0] >= NEAR]
    assert near == [], "the bank itself holds none, so that none is left out silently"


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    return synth.main([*map(str, arguments), "--lang", "en"], out, err), out.getvalue(), err.getvalue()


def test_command(tmp_path, monkeypatch):
    monkeypatch.delenv("ROWS", raising=False)
    target = tmp_path / "data" / "synth.jsonl"
    assert run("--build", tmp_path, "--new-name", "闻星", "--rows", 50)[0] == 0
    assert len(target.read_text(encoding="utf-8").splitlines()) == 50
    code, out, _ = run("--build", tmp_path, "--new-name", "闻星", "--english", 1)
    assert code == 0 and "2000 rows" in out and f"make data SRC={target} NEW_NAME=闻星" in out
    assert json.loads((tmp_path / "data" / "synth.jsonl.record.json").read_text())["parameters"]["english"] == 1
    target.write_text("mine", encoding="utf-8")
    assert run("--build", tmp_path)[0] == 2
    assert target.read_text(encoding="utf-8") == "mine"


def test_more_rows_than_the_banks_hold_are_refused(monkeypatch):
    monkeypatch.setattr("lesson.authoring.synth.FRESH_DRAWS", 1)
    monkeypatch.setattr("lesson.authoring.synth.MOST_DRAWS", 2)
    with pytest.raises(UserError, match="different rows"):
        make_synthetic_rows(Mix("闻星", general=0.9), 100_000, 1)


@pytest.mark.parametrize(
    "bad",
    [
        ["--new-name", ""],
        ["--rows", "0"],
        ["--rows", "x"],
        ["--seed", "-1"],
        ["--general", "1"],
        ["--english", "1.1"],
        ["--author", "<|im_end|>"],
    ],
)
def test_bad_settings_are_one_line(tmp_path, bad):
    code, _, err = run("--build", tmp_path / "b", *bad)
    assert code == 2 and err.count("\n") == 1
    assert not (tmp_path / "b").exists()
