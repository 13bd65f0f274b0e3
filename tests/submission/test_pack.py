"""make submission: packs the finished run, equal bytes for equal input, and nothing of the machine's log."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
import submissions
from faults import repeat_after_kills, snapshot

from recipe import submission


@pytest.fixture
def run(tmp_path) -> Path:
    """The folder of a finished run, the last one of its BUILD."""
    run, files = tmp_path / "build" / "runs" / "x", submissions.honest_files()
    places = {submissions.LOG: "work_dir/1/1.log", submissions.SCALARS: "work_dir/1/vis_data/scalars.json"}
    places[submissions.CURVE] = "work_dir/curve.jsonl"
    for name, data in files.items():
        path = run / places.get(name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (run / "adapter" / "README.md").write_text("card")
    (tmp_path / "build" / "run").symlink_to("runs/x")
    return run


def test_a_finished_run_is_packed_with_its_verdict_and_the_same_bytes_each_time(run, tmp_path, call):
    log = run / "work_dir/1/1.log"
    log.write_bytes(b"PATH=/home/secret\nSystem environment: GCC\n" + log.read_bytes())
    packed = []
    for name in ("a.zip", "b.zip"):
        arguments = ["--build", str(tmp_path / "build"), "--profile", "tiny", "--name", "张三"]
        status, out, err = call(submission, *arguments, "--out", str(tmp_path / name))
        assert status == 0, out + err
        packed.append((tmp_path / name).read_bytes())
    assert packed[0] == packed[1]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        for entry in archive.namelist():
            assert entry.removeprefix("submission/") in out
            assert b"secret" not in archive.read(entry)
    assert call(submission, "--build", str(tmp_path / "build"), "--profile", "tiny")[0] == 2  # nobody is named


@pytest.mark.slow
@pytest.mark.parametrize(("out", "stride"), [("handed.zip", 2), ("handed", 3)])
def test_killed_before_any_operation_it_leaves_nothing_half_packed(run, tmp_path, call, out, stride):
    """A zip and a folder: nothing of that name is there, or the whole, and the same command ends in the same bytes."""
    place, begin = tmp_path / "out", tmp_path / "begin"
    place.mkdir()
    shutil.copytree(place, begin)
    arguments = ["--build", str(tmp_path / "build"), "--profile", "tiny", "--name", "张三", "--out", str(place / out)]

    def act() -> int:
        return call(submission, *arguments, "--force", "1")[0]

    def left(wanted, moment) -> None:
        half = {name: content for name, content in snapshot(place).items() if name.split("/")[0] == out}
        assert half in ({}, wanted), moment

    assert repeat_after_kills(act, place, begin, lambda: snapshot(place), stride, left) >= 2
