"""Nothing passes that was not trained: forged and copied submissions, those that files alone tell first."""

from __future__ import annotations

import copy

import pytest
import submissions
from forgeries import COPIES, FORGERIES, by_epoch, own_run
from verdicts import shipped_rubric, wrong_checks

from lesson.submission.copies import mark_copies
from lesson.submission.staff import StaffInputs
from lesson.submission.verdict import judge_submission


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_fails_by_its_files_alone(tmp_path, name):
    forged = FORGERIES[name]
    files = forged.make()
    if files.get("submission.json") == b"":  # a plain folder
        del files["submission.json"]
        for part, data in files.items():
            (tmp_path / "s" / part).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "s" / part).write_bytes(data)
    else:
        submissions.pack(files, tmp_path / "s")
    found = judge_submission(tmp_path / "s", shipped_rubric(), StaffInputs(), forged.names)
    assert found["passed"] is False, [(r["check"], r["found"]) for r in found["checks"] if r["status"] != "passed"]
    assert set(forged.fails.split()) <= wrong_checks(found, "failed") and not wrong_checks(found, "unjudged")


@pytest.mark.slow
def test_a_whole_log_by_epochs_passes(tmp_path):
    files = by_epoch(submissions.honest_files(), 7)
    found = judge_submission(
        submissions.pack(submissions.link_hashes(files), tmp_path / "s"), shipped_rubric(), StaffInputs()
    )
    assert found["passed"] is True and not wrong_checks(found)


@pytest.fixture(scope="module")
def judge_beside(tmp_path_factory):
    """judge_beside(files) → the verdict on them, handed in by another beside the honest submission."""
    folder = tmp_path_factory.mktemp("beside")

    def judge(files: submissions.Files, name: str, who: str) -> dict:
        path = submissions.pack(files, folder / name, who)
        return judge_submission(path, shipped_rubric(), StaffInputs(), None, with_sketch=True)

    honest = judge(submissions.honest_files(), "honest", "甲")

    def beside(files: submissions.Files) -> dict:
        verdicts = [copy.deepcopy(honest), judge(files, "copy.zip", "乙")]
        mark_copies(verdicts, shipped_rubric())
        return verdicts[1]

    return beside


@pytest.mark.slow
@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_told_by_what_it_keeps(judge_beside, name):
    found = judge_beside(COPIES[name]())
    assert found["passed"] is False and "own" in wrong_checks(found, "failed"), [
        (r["check"], r["found"]) for r in found["checks"] if r["status"] != "passed"
    ]


@pytest.mark.slow
def test_an_honest_run_beside_another_is_no_copy(judge_beside):
    found = judge_beside(submissions.link_hashes(own_run()))
    assert found["passed"] is True and not wrong_checks(found)
    again = judge_beside(submissions.with_times(submissions.honest_files(), seed=6))
    assert again["passed"] is True and not wrong_checks(again)
