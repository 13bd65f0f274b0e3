"""Nothing passes that was not trained: forged and copied submissions, those that files alone tell first."""

from __future__ import annotations

import pytest
import submissions
from forgeries import FORGERIES, by_epoch
from verdicts import shipped_rubric, wrong_checks

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
