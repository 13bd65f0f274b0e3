"""The corpus of the tiny base: the same rows each time, and none of the evaluation's questions."""

from __future__ import annotations

import hashlib
import json

import pytest

from lesson.authoring.banks import list_cores, read_bank, read_kind_numbers
from lesson.authoring.corpus import Corpus
from lesson.authoring.held_out import EVALUATION, fold_evaluation_questions
from lesson.core.text import fold_text

# Other rows make another base: take new hashes only together with a new base (make base).
# {(seed, rows): SHA-256}. The tokenizer is trained on the first 30,000 rows of 20241, the model on 87,011 of 20242.
FIRST_ROWS = {
    (20241, 2000): "6ff4dbe75ca8751fbc9bfd166a8a6c3556bd4cc27c4d4cc0b82d8001e9b16b18",
    (20242, 2000): "bf874452e62247665d6f3658c7217588f23e8a85923cb6e73f8b01b9fea78b74",
}
ALL_ROWS = {
    (20241, 30000): "5e4261ffee5e2bc26142b3ba8bf0f708aa52fd9ef2415fd37dbfd581d578c3eb",
    (20242, 87011): "c9552e97b5f3059d8077f95382c10dbe8bdd41f4e2fbb9e2f448d626ca2a6836",
}


def hash_rows(seed: int, count: int) -> str:
    corpus, digest = Corpus(seed), hashlib.sha256()
    for _ in range(count):
        digest.update((json.dumps(corpus.draw_row(), ensure_ascii=False) + "\n").encode())
    return digest.hexdigest()


@pytest.mark.parametrize(("seed", "count"), FIRST_ROWS)
def test_the_first_rows_are_those_that_the_shipped_base_learned(seed, count):
    assert hash_rows(seed, count) == FIRST_ROWS[seed, count]


@pytest.mark.torch  # needs no torch; three seconds, in which make test-fast does without it
@pytest.mark.parametrize(("seed", "count"), ALL_ROWS)
def test_all_rows_are_those_that_the_shipped_base_learned(seed, count):
    assert hash_rows(seed, count) == ALL_ROWS[seed, count]


def test_the_corpus_is_the_same_each_time():
    one, two = Corpus(9), Corpus(9)
    assert [one.draw_row() for _ in range(200)] == [two.draw_row() for _ in range(200)]
    assert Corpus(9).draw_row() != Corpus(10).draw_row()


def test_no_evaluation_question_is_in_the_corpus_of_the_base():
    asked = fold_evaluation_questions()
    corpus = Corpus(5)
    for _ in range(4000):
        assert all(fold_text(turn["input"]) not in asked for turn in corpus.draw_row()["conversation"])


def test_no_identity_question_is_a_core_of_the_corpus_with_an_ending():
    questions = json.loads((EVALUATION / "identity.json").read_text(encoding="utf-8"))["questions"]
    cores = {fold_text(core) for kind in read_kind_numbers("identity", "weights") for core in list_cores(kind)}
    assert cores.isdisjoint(fold_text(question["input"]) for question in questions)


def test_the_neutral_prompt_of_the_evaluation_is_not_in_the_corpus():
    prompts = json.loads((EVALUATION / "prompts.json").read_text(encoding="utf-8"))
    assert prompts["persona"] is None and prompts["none"] == ""
    assert prompts["neutral"] not in read_bank("base")["neutral_prompts"]
