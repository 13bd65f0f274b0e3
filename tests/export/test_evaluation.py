"""What make eval USE=export holds against the merged model's evaluation."""

from __future__ import annotations

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.export.evaluation import find_falls, open_exported


def evaluated(*new: int, questions: int = 84, question_set: str = "report") -> dict:
    prompts = [{"prompt": f"p{n}", "new": count, "questions": questions} for n, count in enumerate(new)]
    return {"question_set": question_set, "prompts": prompts}


@pytest.mark.parametrize(
    ("exported", "said"),
    [
        ((82, 83, 80, 81), []),
        ((82, 83, 78, 81), []),  # a trained Qwen2.5-Coder-0.5B in q8_0: two of 84 under one prompt, 0.6 points in all
        ((84, 84, 84, 84), []),
        ((82, 83, 75, 81), ["p2: 75/84"]),
        ((80, 81, 79, 79), ["all prompts: 319/336"]),
        ((70, 83, 80, 81), ["p0: 70/84", "all prompts: 314/336"]),
    ],
)
def test_a_fall_is_told_where_it_is_more_than_one_question_makes(exported, said):
    found = find_falls(evaluated(*exported), evaluated(82, 83, 80, 81))
    assert len(found) == len(said) and all(line.startswith(start) for line, start in zip(found, said, strict=True))


@pytest.mark.parametrize("merged", [evaluated(1, 1, questions=50), evaluated(1), evaluated(1, 1, question_set="tune")])
def test_another_set_of_questions_is_no_comparison(merged):
    with pytest.raises(UserError, match="other questions"):
        find_falls(evaluated(1, 1), merged)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SAMPLES": "1"}, "SAMPLES: an export is asked without"),
        ({"CHOICES": "x"}, r"CHOICES: .*likelihoods.*; make eval CHOICES=x asks"),
    ],
)
def test_what_an_export_is_not_asked_is_refused_at_once(given, said):
    with pytest.raises(UserError, match=said):
        open_exported(Values(given, {}), None, None)
