"""A training is seen from outside as it is: started, running, stopped, diverged or done, whatever state its files are in."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.runs import watching
from lesson.runs.folder import Run
from lesson.runs.watching import MOST_POINTS, find_unfinished_run, find_watched_run, look_at_training, thin_out


def values(build, **given_: str) -> Values:
    return Values({"PROFILE": "tiny", "BUILD": str(build), **given_}, {})


def write_curve(run: Run, steps: int, total: int = 40, loss: float | None = 2.0, more: str = "") -> None:
    lines = [{"total": total}]
    lines += [{"step": n, "loss": loss, "lr": 0.1, "tokens": 1000, "seconds": 0.5} for n in range(1, steps + 1)]
    run.work_dir.mkdir(parents=True, exist_ok=True)
    (run.work_dir / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + more)


@pytest.fixture
def run(tmp_path):
    result = Run(tmp_path / "runs" / "abcdefabcdef")
    result.folder.mkdir(parents=True)
    return result


@pytest.fixture
def trainer(run):
    """The lock of a run, held as its trainer holds it."""
    with open(run.lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def age(path, seconds: float) -> None:
    time = path.stat().st_mtime - seconds
    os.utime(path, (time, time))


def test_a_training_that_runs_shows_speed_and_time_left(run, trainer):
    write_curve(run, 10, more='{"step": 11, "lo')
    seen = look_at_training(run)
    assert (seen.state, seen.step, seen.total) == (watching.TRAINING, 10, 40)
    assert (seen.loss, seen.mean_loss, seen.tokens_per_second, seen.left) == (2, 2, 2000, 15)
    assert seen.curve == [(n, 2.0) for n in range(1, 11)] and seen.checkpoint is None
    age(run.work_dir / "curve.jsonl", 5)
    age(run.lock, 9)
    assert 5 <= look_at_training(run).age < 300


def test_a_lock_alone_and_a_curve_of_an_earlier_session_are_a_start(run, trainer):
    assert look_at_training(run).state == watching.STARTING
    write_curve(run, 10)
    age(run.work_dir / "curve.jsonl", 100)
    seen = look_at_training(run)
    assert (seen.state, seen.step, seen.left) == (watching.STARTING, 10, None)


def test_without_a_trainer_it_is_stopped_and_goes_on_from_its_checkpoint(run):
    write_curve(run, 10)
    with zipfile.ZipFile(run.work_dir / "iter_8.pth", "w") as file:
        file.writestr("a", "b")
    (run.work_dir / "iter_9.pth").write_bytes(b"half")
    seen = look_at_training(run)
    assert (seen.state, seen.checkpoint, seen.left) == (watching.STOPPED, 8, None)


def test_a_diverged_and_a_finished_training_are_told(run):
    write_curve(run, 10, loss=None)
    seen = look_at_training(run)
    assert seen.state == watching.DIVERGED and math.isnan(seen.loss) and seen.mean_loss is None and seen.curve == []
    run.record.write_text('{"finished": ')
    assert look_at_training(run).state == watching.DIVERGED, "a record that is half written is none"
    run.record.write_text("{}")
    assert look_at_training(run).state == watching.FINISHED


def test_looking_does_not_keep_a_trainer_from_its_lock(run):
    run.lock.touch()
    assert not watching.is_being_trained(run)
    with open(run.lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert watching.is_being_trained(run)


@given(
    st.dictionaries(
        st.sampled_from(["curve", "record", "config", "checkpoint", "log"]),
        st.one_of(
            st.binary(max_size=60),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["total", "step", "loss", "seconds", "tokens", "a"]), inner)
                ),
            ).map(lambda value: (json.dumps(value) + "\n").encode()),
        ),
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_files_hold_nothing_fails(tmp_path_factory, contents):
    run = Run(tmp_path_factory.mktemp("run"))
    (run.work_dir / "20261125_174508").mkdir(parents=True)
    places = {
        "curve": run.work_dir / "curve.jsonl",
        "record": run.record,
        "config": run.config,
        "checkpoint": run.work_dir / "last_checkpoint",
        "log": run.work_dir / "20261125_174508" / "20261125_174508.log",
    }
    for name, content in contents.items():
        places[name].write_bytes(b'{"total": 9}\n' * (name == "curve") + content)
    seen = look_at_training(run)
    assert seen.state in (watching.STOPPED, watching.DIVERGED, watching.FINISHED)
    shutil.rmtree(run.folder)


def test_files_that_are_folders_or_gone_are_unknown(run):
    (run.work_dir / "curve.jsonl").mkdir(parents=True)
    run.record.mkdir()
    run.config.mkdir()
    (run.work_dir / "last_checkpoint").mkdir()
    run.lock.mkdir()
    assert look_at_training(run) == watching.Training(run, watching.STOPPED)
    shutil.rmtree(run.folder)
    assert look_at_training(run).state == watching.STOPPED
    assert look_at_training(None).state == watching.NONE


def test_the_run_that_is_trained_is_watched_else_the_one_written_last(build_of_runs, monkeypatch):
    assert find_watched_run(values(build_of_runs / "none")) is None
    for seconds, run in enumerate(sorted((build_of_runs / "runs").iterdir())):
        for path in (run / "run.json", run / "work_dir" / "curve.jsonl"):
            if path.exists():
                os.utime(path, (seconds, seconds))
    assert find_watched_run(values(build_of_runs)).folder.name == "eeeeeeeeeeee"
    assert find_watched_run(values(build_of_runs, RUN="bb")).folder.name == "bbbbbbbbbbbb"
    with open(build_of_runs / "runs" / "dddddddddddd" / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.utime(file.name, (0, 0))
        assert find_watched_run(values(build_of_runs)).folder.name == "dddddddddddd"
    with pytest.raises(UserError):
        find_watched_run(values(build_of_runs, RUN="zz"))


def test_an_unfinished_run_is_shown_only_where_there_is_none_to_talk_about(build_of_runs):
    assert find_unfinished_run(values(build_of_runs)) is None, "BUILD/run is finished"
    assert find_unfinished_run(values(build_of_runs, RUN="d")).folder.name == "dddddddddddd"
    assert find_unfinished_run(values(build_of_runs, RUN="zz")) is None
    for name in "abce":
        shutil.rmtree(build_of_runs / "runs" / (name * 12))
    assert find_unfinished_run(values(build_of_runs)).folder.name == "dddddddddddd"
    shutil.rmtree(build_of_runs / "runs")
    assert find_unfinished_run(values(build_of_runs)) is None


@pytest.mark.parametrize("count", [0, 1, MOST_POINTS, MOST_POINTS + 1, 9999])
def test_of_a_long_curve_some_points_are_drawn_the_ends_among_them(count):
    points = [(n, 1.0) for n in range(count)]
    drawn = thin_out(points)
    assert len(drawn) == min(count, MOST_POINTS) and drawn == sorted(set(drawn))
    assert not points or (drawn[0], drawn[-1]) == (points[0], points[-1])
