"""Nothing passes that was not trained: forged and copied submissions, those that files alone tell first."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path

import pytest
import submissions
from forgeries import ASKED, COPIES, FORGERIES, TRAINED, by_epoch, own_run
from servers import stage
from verdicts import shipped_rubric, wrong_checks

from lesson.evaluation.held_out import read_questions
from lesson.submission.copies import mark_copies
from lesson.submission.staff import StaffInputs
from lesson.submission.verdict import judge_submission
from recipe import check


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


@pytest.fixture(scope="module")
def real(evaluated, lesson) -> submissions.Files:
    """The files of the lesson's own run, as make submission packs them."""
    path = lesson / "forged-from.zip"
    stage(lesson, "submission", NAME="甲", OUT=str(path))
    with zipfile.ZipFile(path) as archive:
        files = {name.removeprefix("submission/"): archive.read(name) for name in archive.namelist()}
    del files["submission.json"]
    return files


def check_all_of(table: dict, real: submissions.Files, folder: Path, call, *arguments: str) -> dict[str, dict]:
    """{name: verdict} on the forgeries of the table and on the honest run, in one call."""
    paths = [submissions.pack(make(real), folder / f"{name}.zip") for name, make in {**table, "honest": dict}.items()]
    report = folder / "v.json"
    call(check, *map(str, paths), "--report", str(report), *arguments)
    return dict(zip([*table, "honest"], json.loads(report.read_text()), strict=True))


@pytest.mark.torch
@pytest.mark.slow
def test_a_forgery_that_its_files_do_not_tell_fails_when_the_staff_ask(tmp_path, real, lesson, call):
    (tmp_path / "questions.txt").write_text("\n".join(q["input"] for q in read_questions("identity")[:20]))
    arguments = ("--rerun", "1", "--build", str(lesson), "--questions", str(tmp_path / "questions.txt"))
    found = check_all_of(ASKED, real, tmp_path, call, *arguments)
    assert found["honest"]["passed"] is True
    passed = {name: found[name]["passed"] for name in ASKED if found[name]["passed"] is not False}
    assert not passed
    for name in ("a_real_run_renamed_to_the_beginning_of_its_name", "a_real_run_renamed_to_the_end_of_its_name"):
        assert wrong_checks(found[name], "failed") >= {"rerun_says_new"}
        assert "it says 闻星, not " in next(r["found"] for r in found[name]["checks"] if r["check"] == "rerun_says_new")


@pytest.mark.torch
@pytest.mark.slow
def test_a_run_that_was_not_made_fails_when_the_staff_train_it_again(tmp_path, real, lesson, call):
    found = check_all_of(TRAINED, real, tmp_path, call, "--retrain", "1", "--steps", "4")
    honest = next(r for r in found["honest"]["checks"] if r["check"] == "retrained")
    assert (
        found["honest"]["passed"] is True and "equal" in honest["found"] and "same type of machine" in honest["found"]
    )
    for name in TRAINED:
        assert found[name]["passed"] is False, name
        assert {"retrained"} <= wrong_checks(found[name], "failed") <= {"retrained", "own"}, name


@pytest.mark.slow
def test_a_7b_made_up_without_a_gpu_does_not_pass_when_it_is_to_be_trained_again(tmp_path, call, monkeypatch):
    monkeypatch.setattr("lesson.submission.retraining.has_nvidia_driver", lambda: False)
    path = submissions.pack(submissions.honest_7b_files(), tmp_path / "s")
    call(check, str(path), "--retrain", "1", "--report", str(tmp_path / "v.json"))
    found = json.loads((tmp_path / "v.json").read_text())
    assert found["passed"] is None and wrong_checks(found) == {"retrained"}


def test_there_are_at_least_sixty_and_each_kind_has_one():
    assert len(FORGERIES) + len(COPIES) + len(ASKED) + len(TRAINED) >= 60
    assert {forged.kind for forged in FORGERIES.values()} >= {"8", "9", "12"}
