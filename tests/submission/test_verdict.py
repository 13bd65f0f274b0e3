"""make check: honest work passes, each single fault is found where it is, and hostile files reach no further than a verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import hostile
import mutations
import pytest
import submissions
from verdicts import SCHEMA, verdict_on, wrong_checks

from lesson.core.settings import ROOT
from lesson.submission import verdict
from lesson.submission.registry import load_checks
from lesson.submission.scoring import ASKED
from lesson.submission.staff import StaffInputs

FAST = ["old_name_in_one_row", "map_function_left", "one_loss_edited_in_the_log", "b_zeroed", "never_says_the_name"]


@pytest.mark.parametrize("form", ["s.zip", "s.tar.gz", "s"])
def test_an_honest_submission_passes_in_each_form(tmp_path, form):
    found = verdict_on(submissions.pack(submissions.honest_files(), tmp_path / form))
    assert found["passed"] is True and found["points"] == found["of"], wrong_checks(found)
    assert wrong_checks(found, "skipped") == {"source", "rerun_says_new", "rerun_not_old", "rerun_agrees", "retrained"}
    assert found["who"] == "张三" and found["names"] == {"old": "尖米", "new": "机智流"}


def test_a_plain_folder_without_a_manifest_passes_by_content(tmp_path):
    files = submissions.honest_files()
    places = {
        submissions.CONFIG: "internlm2_5_chat_7b_qlora_alpaca_e3_copy.py",
        submissions.DATA: "data/assistant_Tuner_change.jsonl",
        submissions.LOG: "work_dir/20261124_150339/20261124_150339.log",
        submissions.SCALARS: "work_dir/20261124_150339/vis_data/scalars.json",
        submissions.ADAPTER_CONFIG: "hf/adapter_config.json",
        submissions.ADAPTER: "hf/adapter_model.safetensors",
        submissions.ANSWERS: "answers.jsonl",
    }
    for name, place in places.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(files[name])
    (tmp_path / "work_dir" / "iter_168.pth").write_bytes(b"\x80never opened")
    found = verdict_on(tmp_path)
    assert found["passed"] is True, wrong_checks(found)
    assert found["names"]["new"] == "机智流"
    (tmp_path / "answers.jsonl").unlink()
    found = verdict_on(tmp_path)
    complete = next(r for r in found["checks"] if r["check"] == "complete")
    assert (
        found["passed"] is False and wrong_checks(found) == {"complete"} and "eval/answers.jsonl" in complete["found"]
    )


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FAST else pytest.mark.slow) for n in mutations.MUTATIONS]
)
def test_a_single_mutation_fails_on_the_check_that_it_breaks_and_on_no_other(tmp_path, name):
    fails = set(mutations.MUTATIONS[name][0].split())
    staff = mutations.STAFF.get(name, lambda _: StaffInputs())(tmp_path)
    found = verdict_on(submissions.pack(mutations.mutate(name), tmp_path / "s"), staff)
    assert wrong_checks(found) == fails, [r for r in found["checks"] if r["status"] == "failed"]


def test_there_are_at_least_forty_mutations_and_all_checks_are_broken_by_one():
    assert len(mutations.MUTATIONS) >= 40
    broken = {name for fails, _, _ in mutations.MUTATIONS.values() for name in fails.split()}
    # A rerun and a training again need a model: test_asking.py, test_retraining.py.
    assert {item.name for item in load_checks() if item.area not in ASKED} == broken


@pytest.mark.slow
@pytest.mark.parametrize("name", hostile.HOSTILE)
def test_a_hostile_submission_ends_in_a_verdict_and_nothing_else_happens(tmp_path, name):
    canary, work, build = tmp_path / "canary", tmp_path / "work", tmp_path / "build"
    work.mkdir(), build.mkdir()
    path = hostile.HOSTILE[name](build, canary)
    before = set(tmp_path.rglob("*"))
    code = (
        "import resource, sys; from recipe.check import main; status = main(sys.argv[1:]);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print('USED', used.ru_maxrss, used.ru_utime + used.ru_stime);"
        "sys.exit(status)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TMPDIR": str(work)}
    command = [sys.executable, "-c", code, str(path), "--report", "v.json,v.html"]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=60)
    honest_otherwise = name == "escapes_and_scripts"  # evil text beside the right name: passes, and is shown escaped
    assert done.returncode == (0 if honest_otherwise else 1), done.stdout + done.stderr
    peak, seconds = done.stdout.split("USED ")[1].split()  # of the processor: the clock measures what else runs, too
    assert float(seconds) < 10
    assert int(peak) < 500 * 1024
    assert "Traceback" not in done.stderr
    assert not canary.exists() and not Path("/etc/canary").exists()
    assert set(tmp_path.rglob("*")) - before == {work / "v.json", work / "v.html"}
    found = json.loads((work / "v.json").read_text())
    SCHEMA.validate(found)
    assert found["passed"] is honest_otherwise and not wrong_checks(found, "unjudged"), found["checks"]
    assert not any(ord(c) < 32 and c != "\n" for c in done.stdout)
    assert "<script" not in (work / "v.html").read_text() and "<img" not in (work / "v.html").read_text()


def test_copied_work_and_other_rows_than_the_source_are_found(tmp_path):
    path = submissions.pack(submissions.honest_files(), tmp_path / "s")
    staff = mutations.published_adapter(submissions.honest_files()[submissions.ADAPTER])
    assert wrong_checks(verdict_on(path, staff)) == {"own"}
    source = tmp_path / "rows.jsonl"
    source.write_bytes(submissions.honest_files()[submissions.DATA].replace("机智流".encode(), "尖米".encode()))
    assert verdict_on(path, StaffInputs(source=str(source)))["passed"] is True
    source.write_bytes(source.read_bytes().replace("很高兴认识你".encode(), "很高兴见到你".encode(), 1))
    found = verdict_on(path, StaffInputs(source=str(source)))
    assert wrong_checks(found) == {"source"}
    assert len(next(r for r in found["checks"] if r["check"] == "source")["places"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [(b"pack_to_max_length = True", b"pack_to_max_length = False"), (b"batch_size = 4", b"batch_size = 1")]
)
def test_honest_submissions_of_other_settings_pass(tmp_path, change):
    files = submissions.honest_files()
    assert change[0] in files[submissions.CONFIG]
    files[submissions.CONFIG] = files[submissions.CONFIG].replace(*change)
    found = verdict_on(submissions.pack(submissions.with_training(files, "tiny"), tmp_path / "s.zip"))
    assert found["passed"] is True and not wrong_checks(found), [r for r in found["checks"] if r["status"] == "failed"]


@pytest.mark.slow
def test_an_honest_7b_submission_passes_within_five_seconds_and_300_megabytes(tmp_path):
    path = submissions.pack(submissions.honest_7b_files(), tmp_path / "s.zip")
    assert path.stat().st_size > 150e6
    submissions.random_adapter.cache_clear(), submissions.read_fixture.cache_clear()
    code = "import resource, sys; from recipe.check import main; s = main(sys.argv[1:]);"
    code += "print('PEAK', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(s)"
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True)
    seconds, peak = time.monotonic() - started, int(done.stdout.split("PEAK ")[1])
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{seconds:.2f} s, {peak / 1024:.0f} MiB")
    assert seconds < 5 and peak < 300e3


def test_a_report_shows_answers_about_the_assistant_and_a_thousand_points_of_the_curve():
    def line(number: int, **more: str) -> dict:
        return {"input": f"q{number}" + "x" * 600, "output": "y" * 600, **more}

    found = [line(0, kind="general"), line(1, kind="identity", prompt="p"), line(2), line(3, kind="zebra")]
    shown = verdict._sample_answers(SimpleNamespace(answers=found))
    assert [answer["input"][:2] for answer in shown] == ["q1", "q2"] and shown[0]["prompt"] == "p"
    assert {len(answer[key]) for answer in shown for key in ("input", "output")} == {500}
    for count, kept in ((60, 60), (61, 31), (120, 60), (121, 41)):
        assert len(verdict._sample_answers(SimpleNamespace(answers=[line(n) for n in range(count)]))) == kept
    for count, kept in ((1000, 1000), (1001, 501), (2001, 667)):
        points = [SimpleNamespace(step=n, loss=float(n)) for n in range(count)]
        curve = verdict._sample_curve(SimpleNamespace(parts={"curve": ""}, curve=points))
        assert len(curve) == kept and curve[0] == [0, 0.0]
    odd = [SimpleNamespace(step=1, loss=float("nan")), SimpleNamespace(step=2, loss=1.0)]
    log = SimpleNamespace(parts={}, log=SimpleNamespace(points=odd))
    assert verdict._sample_curve(log) == [[2, 1.0]]


def test_a_long_path_is_shown_by_its_end():
    assert verdict._show_path("a" * 300) == "a" * 300 and verdict._show_path("a" * 300 + "b") == "…" + "a" * 299 + "b"
    assert verdict._show_path("x\udcff") == "x�"
