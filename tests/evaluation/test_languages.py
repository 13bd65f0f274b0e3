"""A base is judged in the languages that it speaks: by the table, else by what it answers."""

from __future__ import annotations

import pytest

from lesson.evaluation.languages import LANGUAGES, Languages, find_languages

OWN = {"name": "me/mine", "model_type": "llama"}


def answered(zh: int, en: int) -> list[tuple[str, bool]]:
    return [("zh", i < zh) for i in range(50)] + [("en", i < en) for i in range(30)]


def test_a_base_of_the_table_is_not_asked():
    smollm = {"name": "HuggingFaceTB/SmolLM2-135M-Instruct", "model_type": "llama"}
    assert find_languages(smollm, answered(50, 30)) == Languages(("en",)) and Languages(("en",)).left_out == ("zh",)
    assert find_languages(None, answered(0, 30)) == find_languages({}, []) == Languages(LANGUAGES)


@pytest.mark.parametrize(
    ("zh", "en", "spoken"), [(40, 20, ("zh", "en")), (4, 20, ("en",)), (5, 3, ("zh", "en")), (0, 0, ("zh", "en"))]
)
def test_another_is_told_by_its_answers_and_one_that_knows_nothing_is_judged_in_all(zh, en, spoken):
    assert find_languages(OWN, answered(zh, en)) == Languages(spoken, by_asking=True)
