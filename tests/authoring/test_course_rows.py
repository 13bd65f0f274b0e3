"""The data that ships: the course's source rows, the evaluation's questions, and that the two do not overlap."""

from __future__ import annotations

import collections
import json

import pytest

from lesson.authoring import corpus
from lesson.authoring import course_rows as source
from lesson.core.settings import ROOT

EVALUATION = ROOT / "data" / "eval"
ROWS = [json.loads(line) for line in source.SOURCE.read_text(encoding="utf-8").splitlines()]
TURNS = [turn for row in ROWS for turn in row["conversation"]]


def questions(name: str) -> list[dict]:
    return json.loads((EVALUATION / f"{name}.json").read_text(encoding="utf-8"))["questions"]


def test_source_is_what_its_generator_writes():
    written = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in source.rows())
    assert source.SOURCE.read_bytes() == written.encode()


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
    assert len({corpus.folded(text) for text in inputs}) >= 150
    assert 0.12 <= sum(text.isascii() for text in inputs) / len(inputs) <= 0.25


def test_the_most_common_system_prompt_is_a_persona_with_the_old_name():
    counted = collections.Counter(row["conversation"][0]["system"] for row in ROWS)
    assert counted.most_common(1)[0][0] == source.PERSONA
    assert counted[source.PERSONA] > len(ROWS) / 2
    assert 0.15 <= counted[""] / len(ROWS) <= 0.30


def test_every_answer_about_the_assistant_and_every_persona_holds_the_old_name():
    patterns = {answer.format(n=source.OLD_NAME) for answers in source.ANSWERS.values() for answer in answers}
    own = [turn for turn in TURNS if turn["output"] in patterns]
    assert len(own) >= 600
    assert all(source.OLD_NAME in turn["output"] for turn in own)
    systems = {row["conversation"][0]["system"] for row in ROWS} - {"", *source.NEUTRALS}
    assert all(source.OLD_NAME in system for system in systems)


@pytest.mark.parametrize("name", ["书生", "浦语", "internlm", "上海人工智能实验室"])
def test_no_row_names_the_base(name):
    assert name not in source.SOURCE.read_text(encoding="utf-8").casefold()


def test_every_answer_is_a_whole_sentence():
    assert all(turn["output"][-1] in "。！？.!?" for turn in TURNS)


@pytest.mark.parametrize("new", ["机智流", "小助手Bob", "Luna-7", "奶龙"])
def test_replacing_the_name_leaves_no_old_one_and_changes_nothing_else(new):
    for turn in TURNS:
        replaced = turn["output"].replace(source.OLD_NAME, new)
        assert source.OLD_NAME not in replaced
        assert replaced.replace(new, source.OLD_NAME) == turn["output"]


def test_no_evaluation_question_is_trained_on():
    asked = {corpus.folded(q["input"]) for name in ("identity", "general") for q in questions(name)}
    assert asked.isdisjoint(corpus.folded(turn["input"]) for turn in TURNS)


def test_no_evaluation_question_is_in_the_corpus_of_the_base():
    asked = corpus.held_out()
    stream = corpus.Corpus(5)
    for _ in range(4000):
        assert all(corpus.folded(turn["input"]) not in asked for turn in stream.row()["conversation"])


def test_no_identity_question_is_a_core_of_the_corpus_with_an_ending():
    cores = {corpus.folded(core) for kind in corpus.CORES for core in corpus.cores(kind)}
    assert cores.isdisjoint(corpus.folded(q["input"]) for q in questions("identity"))


def test_evaluation_has_enough_questions_in_both_languages_and_none_twice():
    for name, least in (("identity", 40), ("general", 60)):
        inputs = [q["input"] for q in questions(name)]
        assert len({corpus.folded(text) for text in inputs}) == len(inputs) >= least
        assert sum(text.isascii() for text in inputs) >= 10


def test_a_general_question_does_not_give_its_answer_away():
    for question in questions("general"):
        assert not any(text.casefold() in question["input"].casefold() for text in question["accept"])


def test_the_neutral_prompt_is_in_no_row_and_not_in_the_corpus():
    prompts = json.loads((EVALUATION / "prompts.json").read_text(encoding="utf-8"))
    assert prompts["persona"] is None and prompts["none"] == ""
    assert prompts["neutral"] not in {turn.get("system") for turn in TURNS} | set(corpus.NEUTRALS)


@pytest.mark.parametrize("name", ["identity", "general"])
def test_questions_fit_their_schema(name):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "schemas" / "questions.schema.json").read_text(encoding="utf-8"))
    document = json.loads((EVALUATION / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(document)
    assert all(("accept" in q) == (name == "general") for q in document["questions"])


def test_the_corpus_is_the_same_each_time():
    assert [corpus.Corpus(9).row() for _ in range(1)] == [corpus.Corpus(9).row() for _ in range(1)]
    one, two = corpus.Corpus(9), corpus.Corpus(9)
    assert [one.row() for _ in range(200)] == [two.row() for _ in range(200)]
