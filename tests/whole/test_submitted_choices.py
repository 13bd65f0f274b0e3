"""What an evaluation says of multiple-choice questions: shown figures that agree are accepted, others fail the check."""

from __future__ import annotations

import json

import pytest
import submissions
from mutations import change_json
from submissions import EVALUATION, honest_files, pack
from verdicts import verdict_on, wrong_checks

from lesson.core.schemas import load_schema

KEPT = {"base": 100, "tuned": 95, "lost": 10, "gained": 5, "difference": -0.025, "interval": [-0.063, 0.014]}
FELL = {"base": 100, "tuned": 60, "lost": 45, "gained": 5, "difference": -0.2, "interval": [-0.26, -0.13]}
UNREADABLE = {"counted", "names", "prompts"}  # what reads the evaluation


def files(passed: bool = True, **counts) -> submissions.Files:
    """An honest submission whose evaluation counts one set of 200 questions."""
    one = {"set": "arc.jsonl", "rule": "text", "found": 900, "questions": 200, "chance": 0.25, **counts}

    def change(evaluation: dict) -> None:
        evaluation["choices"] = {"seed": 0, "limit": 0.05, "sets": [one]}
        evaluation["passed"] = passed

    return submissions.link_hashes(change_json(honest_files(), EVALUATION, change))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        (files(**KEPT), set()),
        (files(passed=False, **FELL), set()),
        (files(**FELL), {"counted"}),
        (files(**KEPT | {"tuned": 99}), {"counted"}),
        (files(**KEPT | {"base": 5, "tuned": 0}), {"counted"}),
        (files(**KEPT | {"lost": 10**7}), UNREADABLE),
        (files(**KEPT | {"questions": 0}), UNREADABLE),
        (files(**KEPT | {"lost": 10**400}), UNREADABLE),
    ],
)
def test_figures_have_to_agree_with_each_other_and_with_the_verdict(tmp_path, made, wrong):
    found = verdict_on(pack(made, tmp_path / "s"))
    honest = verdict_on(pack(honest_files(), tmp_path / "honest"))
    before = wrong_checks(honest, "failed") | wrong_checks(honest, "unjudged")
    assert (wrong_checks(found, "failed") | wrong_checks(found, "unjudged")) - before == wrong, found["checks"]


def test_the_schema_takes_what_is_counted():
    load_schema("evaluation").validate(json.loads(files(**KEPT)[EVALUATION]))
