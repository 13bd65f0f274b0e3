"""make submission: packs the finished run, equal bytes for equal input, and nothing of the machine's log."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import submissions
from faults import repeat_after_kills, snapshot

from lesson.core.messages import UserError
from lesson.runs.folder import Run
from lesson.submission import pack
from lesson.submission.pack import collect_parts
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
    record = json.loads((run / "run.json").read_text("utf-8"))
    record["machine"]["processor"] = "龙芯 3A6000"
    (run / "run.json").write_text(json.dumps(record), "utf-8")
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
    assert f"of your machine it tells: {json.dumps(record['machine'], ensure_ascii=False)}\n" in out
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


@pytest.mark.parametrize(
    ("gone", "remedy"),
    [
        ("config.py", "run make train"),
        ("data.jsonl", "run make train"),
        ("work_dir/curve.jsonl", "run make train"),
        ("adapter/adapter_model.safetensors", "run make convert"),
        ("adapter/README.md", "run make convert"),
        ("eval/answers.jsonl", "run make eval"),
        ("eval/evaluation.json", "run make eval"),
    ],
)
def test_a_part_that_is_missing_is_told_with_what_makes_it(run, tmp_path, gone, remedy):
    (run / gone).unlink()
    with pytest.raises(UserError) as told:
        collect_parts(Run(run), tmp_path / "packed")
    assert str(told.value.where).endswith(gone) and told.value.remedy == remedy


def test_logs_of_all_sessions_are_joined_in_their_order(run, tmp_path):
    (run / "work_dir/0").mkdir()
    (run / "work_dir/0/0.log").write_text("Iter(train) first\nsecret\nGPU number: 2\n")
    (run / "work_dir/0/vis_data").mkdir()
    (run / "work_dir/0/vis_data/scalars.json").write_text('{"first": 1}\n')
    record = collect_parts(Run(run), tmp_path / "packed")
    lines = (tmp_path / "packed" / submissions.LOG).read_text().splitlines()
    assert lines[:2] == ["Iter(train) first", "GPU number: 2"] and len(lines) > 20 and "secret" not in lines
    scalars = (tmp_path / "packed" / submissions.SCALARS).read_text()
    assert scalars.startswith('{"first": 1}\n') and len(scalars.splitlines()) > 20 and record["steps"] > 1


@pytest.mark.parametrize(("more", "fine"), [(0, True), (-1, False)])
def test_what_is_too_large_or_would_lie_over_something_else_is_refused(run, tmp_path, call, monkeypatch, more, fine):
    record = collect_parts(Run(run), tmp_path / "p")
    total = sum(entry["bytes"] for entry in pack.make_manifest("张三", record, Run(run), tmp_path / "p")["files"])
    monkeypatch.setattr(pack, "LARGEST", total + more)
    arguments = ["--build", str(tmp_path / "build"), "--profile", "tiny", "--name", "张三", "--out"]
    status, out, err = call(submission, *arguments, str(tmp_path / "out"))
    assert (status == 0) is fine, out + err
    assert fine or "can be handed in" in err
    (tmp_path / "mine").mkdir()
    assert "is there and is no submission" in call(submission, *arguments, str(tmp_path / "mine"))[2]
    if fine:  # a submission that is there is replaced
        assert call(submission, *arguments, str(tmp_path / "out"))[0] == 0


def test_a_zip_is_sorted_without_times_and_weights_are_stored(tmp_path):
    for name in ("b.txt", "a/x.safetensors", "a/c.json"):
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / name).write_bytes(b"x" * 1000)
    pack.write_package(tmp_path / "f", tmp_path / "f.zip")
    with zipfile.ZipFile(tmp_path / "f.zip") as archive:
        infos = archive.infolist()
    assert [(i.filename, i.compress_type, i.date_time, i.external_attr >> 16) for i in infos] == [
        (f"submission/{name}", kind, (1980, 1, 1, 0, 0, 0), 0o100644)
        for name, kind in (
            ("a/c.json", zipfile.ZIP_DEFLATED),
            ("a/x.safetensors", zipfile.ZIP_STORED),
            ("b.txt", zipfile.ZIP_DEFLATED),
        )
    ]
