"""No fault makes a stage believe what is not there, or refuse what it made itself: kill -9, full and read-only disks, a
clock set back, a BUILD of the version before. Each ends in the same bytes after the same command, or in one clear line."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import threading
import time
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults import each_moment, restore, run_forked, snapshot
from tqdm import tqdm

from lesson.authoring import ask as asking
from lesson.core import files
from lesson.core.records import announced_path, find_record, record_path
from lesson.training import convert as converting
from lesson.training import merge as merging
from lesson.training import session
from lesson.training.launch import EngineWork
from recipe import ask, config, convert, data, merge, model, synth, train

pytestmark = pytest.mark.slow
if find_spec("xtuner") is None:  # a small install, for checks only
    pytest.skip("XTuner is not installed", allow_module_level=True)

ROWS = [
    {"conversation": [{"system": "你是尖米。", "input": f"第{i}个问题是什么？", "output": f"我是尖米，答案是{i}。"}]}
    for i in range(40)
]
CHECKPOINT = "iter_2.pth"


@dataclass(frozen=True)
class Place:
    """A BUILD folder, and what the stages of this test are called with."""

    build: Path
    source: Path

    def call(self, module, *arguments: str) -> int:
        return module.main(["--profile", "tiny", "--build", str(self.build), "--lang", "en", *arguments])


@pytest.fixture
def place(tmp_path):
    """BUILD with rows of one name, and a base of two small files in place of the real one."""
    place = Place(tmp_path / "build", tmp_path / "rows.jsonl")
    place.source.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in ROWS), encoding="utf-8")
    assert place.call(data, "--src", str(place.source), "--new-name", "甲甲") == 0
    return place


def prepare_config(place: Place) -> None:
    (place.build / "model").mkdir(exist_ok=True)
    record_path(place.build / "model").write_text(
        json.dumps({"inputs": {}, "parameters": {}, "output": "b" * 64}), encoding="utf-8"
    )
    assert place.call(config, "--max-length", "512", "--epochs", "3", "--warmup", "0.3") == 0


def prepare_run(place: Place) -> None:
    """What make train leaves, without a trainer."""
    prepare_config(place)
    assert train_without_engine(place) == 0


def fake_engine(values, run, inputs, display) -> EngineWork:
    """What the trainer writes: a curve, and a checkpoint with last_checkpoint."""
    curve = [{"total": 2, "samples": 2, "start": 0}]
    curve += [{"step": n, "loss": 3.0 / n, "lr": 0.1, "seconds": 0.5, "tokens": 100} for n in (1, 2)]
    with files.atomic(run.work_dir / "curve.jsonl") as file:
        file.writelines(json.dumps(line) + "\n" for line in curve)
    with files.atomic(run.work_dir / CHECKPOINT, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("weights"), "x" * 100)
    with files.atomic(run.work_dir / "last_checkpoint") as file:
        file.write(CHECKPOINT)
    display.on_step()
    return EngineWork(1.0, 1 << 20, 0)


def train_without_engine(place: Place) -> int:
    return place.call(train)


@pytest.fixture(autouse=True)
def no_engine(monkeypatch):
    """Stages whose work is XTuner's do it without XTuner: the files that it would leave are written all the same."""

    def tool(values, run, name, arguments) -> None:
        folder = Path(arguments[2])
        with open(run.folder / f"{name}.log", "w", encoding="utf-8") as log:
            log.write(name)
        for file in ("adapter_config.json", "config.json", "tokenizer_config.json"):
            (folder / file).write_text("{}", encoding="utf-8")
        (folder / "adapter_model.safetensors").write_bytes(b"w" * 1000)

    monkeypatch.setattr(session, "run_engine", fake_engine)
    monkeypatch.setattr(session, "refuse_wrong_config", lambda *_: None)
    monkeypatch.setattr(session, "draw_loss_curve", lambda curve, path, values: files.write_json(path, len(curve)))
    monkeypatch.setattr(converting, "run_xtuner_tool", tool)
    monkeypatch.setattr(merging, "run_xtuner_tool", tool)
    monkeypatch.setattr(merging, "count_changed_tensors", lambda base, folder: (1, 2))
    monkeypatch.setattr(
        asking, "Asker", lambda *_: SimpleNamespace(ask=lambda text: f"答：{text}", stop=SimpleNamespace(
            is_set=lambda: False, set=lambda: None))
    )  # fmt: skip


def ask_three(place: Place) -> int:
    questions = place.source.with_name("questions.txt")
    questions.write_text("一是什么？\n二是什么？\n三是什么？\n", encoding="utf-8")
    address = ("--base-url", "http://127.0.0.1:1/v1", "--model-name", "m", "--concurrency", "1")
    return place.call(ask, *address, "--questions", str(questions))


def change_rows(place: Place) -> int:
    return place.call(data, "--src", str(place.source), "--new-name", "乙乙")


def prepare_merge(place: Place) -> None:
    prepare_run(place)
    assert place.call(convert) == 0


def prepare_link(place: Place) -> None:
    assert place.call(model) == 0  # the shipped base, which a link then takes the place of
    shutil.copytree(place.build / "model", place.source.with_name("base"))


# {stage: (what is there before, the command)}
STAGES = {
    "data": (lambda place: None, change_rows),
    "synth": (
        lambda place: None,
        lambda place: place.call(synth, "--new-name", "闻星", "--rows", "30"),
    ),
    "ask": (lambda place: None, ask_three),
    "config": (prepare_config, lambda place: place.call(config, "--epochs", "2")),
    "model": (lambda place: None, lambda place: place.call(model)),
    "link": (prepare_link, lambda place: place.call(model, "--model", str(place.source.with_name("base")))),
    "train": (prepare_config, train_without_engine),
    "convert": (prepare_run, lambda place: place.call(convert)),
    "merge": (prepare_merge, lambda place: place.call(merge)),
}
CHANGING = ("finished", "machine", "seconds")  # of a run record: the time and the load of the machine


def compared(folder: Path) -> dict[str, object]:
    """The bytes below BUILD, less what two calls may write differently: times, the journal's blank lines."""
    found = snapshot(folder)
    for name, content in found.items():
        if name.endswith("run.json"):
            found[name] = {k: v for k, v in json.loads(content).items() if k not in CHANGING}
        elif name.endswith("journal.jsonl"):
            found[name] = sorted(line for line in content.splitlines() if line)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_before_any_operation_ends_in_the_same_bytes_after_the_same_command(place, tmp_path, stage):
    prepare, act = STAGES[stage]
    prepare(place)
    begin = tmp_path / "begin"
    shutil.copytree(place.build, begin, symlinks=True)
    whole = run_forked(lambda: act(place), place.build, None, 0)
    assert whole.status == 0, whole.screen
    wanted = compared(place.build)
    assert wanted != compared(begin)
    assert not [
        name for name in wanted if name.endswith((".tmp", ".lock", ".next.record.json")) and "runs/" not in name
    ]
    moments = 0
    for moment, _ in each_moment(lambda: act(place), place.build, "kill", begin):
        again = run_forked(lambda: act(place), place.build, None, 0)
        assert again.status == 0 and "Traceback" not in again.screen, (moment, again.screen)
        assert compared(place.build) == wanted, moment
        moments = moment
    assert moments >= 5


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_disk_that_takes_nothing_is_one_line_and_the_same_bytes_afterwards(place, tmp_path, stage, fault):
    prepare, act = STAGES[stage]
    prepare(place)
    begin = tmp_path / "begin"
    shutil.copytree(place.build, begin, symlinks=True)
    assert run_forked(lambda: act(place), place.build, None, 0).status == 0
    wanted = compared(place.build)
    ends = each_moment(lambda: act(place), place.build, "full", begin)
    if fault == "read-only":
        restore(place.build, begin)
        ends = [(1, run_forked(lambda: act(place), place.build, fault, 1))]
    for moment, ended in ends:
        assert (ended.killed, ended.status) == (False, 2), (moment, ended.screen)
        errors = [line for line in ended.screen.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and str(place.build) in errors[0], (moment, ended.screen)
        assert "BUILD" in errors[0] and "Traceback" not in ended.screen, (moment, ended.screen)
        again = run_forked(lambda: act(place), place.build, None, 0)
        assert again.status == 0, (moment, again.screen)
        assert compared(place.build) == wanted, moment


@pytest.mark.parametrize("stage", STAGES)
def test_a_clock_set_back_by_a_day_and_a_read_only_disk_leave_what_is_up_to_date(place, stage):
    prepare, act = STAGES[stage]
    prepare(place)
    assert act(place) == 0
    wanted, tomorrow = compared(place.build), time.time() + 86_400
    for path in place.build.rglob("*"):
        os.utime(path, (tomorrow, tomorrow), follow_symlinks=False)
    assert act(place) == 0
    assert compared(place.build) == wanted
    if stage not in ("synth", "ask", "link"):  # those write each time
        ended = run_forked(lambda: act(place), place.build, "read-only", 1)
        assert ended.status in (0, 2) and "Traceback" not in ended.screen, ended.screen
        assert stage not in ("data", "config", "model", "convert", "merge") or "up to date" in ended.screen


def test_two_stages_in_one_build_wait_for_each_other(place):
    """Eight calls at once, of two names: each is refused or done, and rows and record are of one of them."""
    children = []
    for number in range(8):
        if (child := os.fork()) == 0:
            os.close(1)
            os.open(os.devnull, os.O_WRONLY)
            os._exit(place.call(data, "--src", str(place.source), "--new-name", ("丙丙", "丁丁")[number % 2]))
        children.append(child)
    assert {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children} <= {0, 2}
    rows = place.build / "data" / "assistant_Tuner_change.jsonl"
    record = find_record(rows)
    name = record["parameters"]["replaced"][0][1]
    assert record["output"] == files.sha256(rows) and name in rows.read_text(encoding="utf-8")
    assert sorted(p.name for p in rows.parent.iterdir()) == [rows.name, record_path(rows).name]


def test_a_build_of_the_version_before_goes_on(place):
    """Records had the same form; left files and links had no lock, and their names no order to be known by."""
    prepare_run(place)
    assert place.call(convert) == 0
    run = (place.build / "run").resolve()
    wanted = compared(place.build)
    for folder in (".adapter.k3j2h1ab.tmp", ".merged.x_y.tmp"):
        (run / folder).mkdir()
        (run / folder / "half.safetensors").write_bytes(b"0" * 1000)
    (run / "work_dir" / ".iter_1.pth.abc.tmp").write_bytes(b"0")
    for module in (convert, data):
        arguments = ("--src", str(place.source), "--new-name", "甲甲") if module is data else ()
        assert place.call(module, *arguments) == 0
    assert compared(place.build) == wanted


@pytest.mark.parametrize(
    "content", ["[]", "3", "null", "{}", '{"output": [], "parameters": 5, "base": 3}', "{", "[" * 50_000]
)
def test_records_of_the_wrong_shape_are_one_line_in_each_stage(place, capsys, content):
    prepare_merge(place)
    run = (place.build / "run").resolve()
    rows = place.build / "data" / "assistant_Tuner_change.jsonl"
    made = next((place.build / "config").glob("*_copy.py"))
    records = [record_path(path) for path in (rows, made, place.build / "model", run / "adapter")]
    acts = (change_rows, *(STAGES[name][1] for name in ("config", "model", "train", "convert", "merge")))
    for record in [*records, run / "run.json", announced_path(rows)]:
        before = record.read_bytes() if record.exists() else None
        record.write_text(content, encoding="utf-8")
        for act in acts:
            ended = run_forked(lambda act=act: act(place), place.build, None, 0)
            assert ended.status in (0, 2) and "Traceback" not in ended.screen, (record.name, ended.screen)
            assert ended.status == 0 or ended.screen.count("error: ") == 1
            restore_file(record, before)
            record.write_text(content, encoding="utf-8")
        restore_file(record, before)


def restore_file(path: Path, before: bytes | None) -> None:
    path.unlink(missing_ok=True) if before is None else path.write_bytes(before)


def count_with_progress() -> int:
    signal.alarm(20)  # where it waits for ever, it ends by this
    return sum(1 for _ in tqdm(range(3), file=io.StringIO()))


def test_a_forked_process_does_not_wait_for_a_progress_bar_of_another(tmp_path):
    """A killed one leaves the lock of tqdm taken, and so does tqdm's own thread where the fork comes at that moment."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with tqdm.get_lock():
            taken.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    try:
        assert run_forked(count_with_progress, tmp_path, None, 0).status == 3
    finally:
        done.set()
        holder.join()


def test_a_process_that_is_killed_inside_a_progress_bar_leaves_the_lock_to_others(tmp_path):
    def make_a_file() -> int:
        with tqdm.get_lock():
            (tmp_path / "a").write_text("a")
        return 0

    assert run_forked(make_a_file, tmp_path, "kill", 1).killed
    assert run_forked(count_with_progress, tmp_path, None, 0).status == 3
    assert tqdm.get_lock().mp_lock.acquire(block=False), "nor is it taken here"
    tqdm.get_lock().mp_lock.release()
