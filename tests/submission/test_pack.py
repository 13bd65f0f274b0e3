"""make submission: packs the finished run, equal bytes for equal input, and nothing of the machine's log."""

from __future__ import annotations

import zipfile

import submissions

from recipe import submission


def test_a_finished_run_is_packed_with_its_verdict_and_the_same_bytes_each_time(tmp_path, call, monkeypatch):
    run, files = tmp_path / "build" / "runs" / "x", submissions.honest_files()
    places = {submissions.LOG: "work_dir/1/1.log", submissions.SCALARS: "work_dir/1/vis_data/scalars.json"}
    places[submissions.CURVE] = "work_dir/curve.jsonl"
    for name, data in files.items():
        path = run / places.get(name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (run / "adapter" / "README.md").write_text("card")
    log = run / places[submissions.LOG]
    log.write_bytes(b"PATH=/home/secret\nSystem environment: GCC\n" + log.read_bytes())
    (tmp_path / "build" / "run").symlink_to("runs/x")
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
