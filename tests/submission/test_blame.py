"""Whose fault it is: what a submission holds fails a check, what befalls the checker leaves it unjudged, and never helps."""

from __future__ import annotations

import dataclasses
import errno
import functools
import io
import json
import random
import resource
import struct

import mutations
import plain_folders
import pytest
import submissions
from submissions import ADAPTER, ADAPTER_CONFIG, ANSWERS, CURVE, EVALUATION, RECORD, SCALARS, honest_files, pack
from verdicts import shipped_rubric, verdict_on, wrong_checks

from lesson.core.messages import UserError
from lesson.core.refusals import Broken
from lesson.core.schemas import load_schema
from lesson.core.settings import ROOT
from lesson.submission import blame
from lesson.submission.archive.view import View
from lesson.submission.blame import is_checkers_trouble
from lesson.submission.checks import answers
from lesson.submission.evidence import Evidence
from lesson.submission.processes import JudgingProcess
from lesson.submission.registry import Failed, load_checks, run_checks
from lesson.submission.scoring import make_verdict
from lesson.submission.staff import StaffInputs
from lesson.submission.verdict import judge_submission

HUGE = 10**400


def edit(part: str, change) -> submissions.Files:
    return submissions.link_hashes(mutations.change_json(honest_files(), part, change))


def edit_line(part: str, change) -> submissions.Files:
    lines = honest_files()[part].splitlines(True)
    value = json.loads(lines[3])
    change(value)
    lines[3] = submissions.to_json(value) + b"\n"
    return submissions.link_hashes(honest_files() | {part: b"".join(lines)})


def many_prompts(count: int) -> submissions.Files:
    lines = [{"kind": "identity", "prompt": f"p{n}", "input": "?", "output": "我是机智流"} for n in range(count)]
    return honest_files() | {ANSWERS: submissions.to_json_lines(lines)}


def rename_tensor(length: int) -> submissions.Files:
    change = mutations.change_header(lambda h: h.__setitem__("a." * (length // 2), h.pop(mutations.LAYER)))
    return change(honest_files())


@pytest.mark.parametrize(
    "files, check",
    [
        (lambda: edit_line(SCALARS, lambda v: v.__setitem__("loss", HUGE)), "agree"),
        (lambda: edit_line(CURVE, lambda v: v.__setitem__("seconds", HUGE)), "agree"),
        (lambda: edit(RECORD, lambda v: v["loss"].__setitem__("first", HUGE)), "record"),
        (lambda: edit(RECORD, lambda v: v.__setitem__("finished", "yesterday")), "record"),
        (lambda: edit(ADAPTER_CONFIG, lambda v: v.__setitem__("r", HUGE)), "adapter_config"),
        (lambda: edit(ADAPTER_CONFIG, lambda v: v.__setitem__("use_dora", True)), "adapter_config"),
        (lambda: edit(ADAPTER_CONFIG, lambda v: v.__setitem__("use_rslora", "yes")), "adapter_config"),
        (lambda: edit_line(ANSWERS, lambda v: v.__setitem__("prompt", ["x"])), "answers"),
        (lambda: edit_line(ANSWERS, lambda v: v.__setitem__("kind", 10**30)), "answers"),
        (lambda: rename_tensor(240_000), "adapter_format"),
        (lambda: many_prompts(70_000), "counted"),
    ],
)
@pytest.mark.slow
def test_what_stops_a_check_fails_it_soon_and_costs_its_points(tmp_path, files, check):
    found = verdict_on(pack(files(), tmp_path / "s"))
    honest = verdict_on(pack(honest_files(), tmp_path / "honest"))
    assert check in wrong_checks(found, "failed") and not wrong_checks(found, "unjudged"), found["checks"]
    assert found["of"] == honest["of"] and found["points"] < honest["points"] and found["seconds"] < 10


VALUES = [HUGE, -HUGE, 2**63, 1e308, -1e308, 1e-320, 0, -1, 5, 0.5, True, None, [], {}, [[]], {"a": []}, ""]
VALUES += ["yesterday", "0001-01-01", "9999-12-31T23:59:59+00:00", "x" * 3000, "\ud800", "机智流", "../x", "NaN"]


def places_of(value: object, path: tuple = ()) -> list[tuple]:
    """The paths of everything inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, item in inner for p in [(*path, key), *places_of(item, (*path, key))]]


def mutate_once(data: bytes, choose: random.Random) -> bytes:
    """JSON with one value replaced by another, of this or another type, or taken out."""
    value = json.loads(data)
    *above, key = choose.choice(places_of(value))
    node = functools.reduce(lambda inner, k: inner[k], above, value)
    if choose.random() < 0.1:
        del node[key]
    else:
        node[key] = choose.choice(VALUES)
    return json.dumps(value, ensure_ascii=True).encode()


def mutate_part(files: submissions.Files, part: str, choose: random.Random) -> bytes:
    data = files[part]
    if part == ADAPTER:
        length = struct.unpack("<Q", data[:8])[0]
        header = mutate_once(data[8 : 8 + length], choose)
        return struct.pack("<Q", len(header)) + header + data[8 + length :]
    if part in (SCALARS, CURVE, ANSWERS):
        lines = data.splitlines(True)
        at = choose.randrange(len(lines))
        lines[at] = mutate_once(lines[at], choose) + b"\n"
        return b"".join(lines)
    return mutate_once(data, choose)


@pytest.mark.slow
def test_no_single_value_of_another_type_or_size_leaves_a_check_unjudged(monkeypatch):
    """All checks but those of the rows, on an honest submission with one value changed, some hundred times."""
    files = honest_files()
    files["submission.json"] = submissions.to_json(submissions.make_manifest(files))
    parts = [RECORD, EVALUATION, ADAPTER_CONFIG, SCALARS, CURVE, ANSWERS, ADAPTER, "submission.json"]

    def evidence_of(files: submissions.Files) -> Evidence:
        view = View()
        for name, data in files.items():
            view.add_file(name, len(data), functools.partial(io.BytesIO, data))
        return Evidence(view)

    def stand_in(check):
        function = functools.wraps(check.function)(lambda evidence, staff: "")
        return dataclasses.replace(check, function=function) if check.area == "data" else check

    checks = [stand_in(check) for check in load_checks()]
    honest = evidence_of(files)
    known = {name: getattr(honest, name) for name in ("data", "trained_questions", "config")}
    choose, seen = random.Random(16), set()
    for number in range(320):
        part = parts[number % len(parts)]
        evidence = evidence_of(files | {part: mutate_part(files, part, choose)})
        evidence.__dict__.update(known)
        results = run_checks(evidence, StaffInputs(), checks)
        wrong = [r for r in results if r["status"] == "unjudged" or "stops this check" in r["found"]]
        assert not wrong, (number, part, wrong)
        make_verdict("x", results, shipped_rubric())
        seen |= {r["check"] for r in results if r["status"] == "failed"}
    assert {"record", "adapter_format", "adapter_config", "answers", "agree", "hashes", "manifest"} <= seen


OURS = [
    OSError(errno.ENOSPC, "No space left on device"),
    PermissionError(errno.EACCES, "Permission denied", "/ours/tokenizer.json"),
    MemoryError(),
    ImportError("numpy"),
    UserError("x", "may not be read", "y"),
]


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", ["fell", "hashes", "adapter_shapes"])
@pytest.mark.slow
def test_the_checkers_own_trouble_is_no_ones_fault_and_helps_no_one(tmp_path, monkeypatch, error, name):
    def in_trouble(evidence, staff):
        raise error

    changed = [
        dataclasses.replace(c, function=functools.wraps(c.function)(in_trouble)) if c.name == name else c
        for c in load_checks()
    ]
    monkeypatch.setattr("lesson.submission.verdict.load_checks", lambda: tuple(changed))
    found = verdict_on(pack(honest_files(), tmp_path / "s"))
    assert wrong_checks(found, "unjudged") == {name} and not wrong_checks(found, "failed")
    assert found["passed"] is (None if name in found["required"] else True)
    assert found["points"] < found["of"]
    found = verdict_on(pack(mutations.mutate("never_says_the_name"), tmp_path / "bad"))
    assert found["passed"] is False, "what failed by itself fails, whatever else could not be judged"


def test_what_cannot_be_unpacked_for_want_of_disk_is_not_judged(tmp_path, monkeypatch):
    path = pack(honest_files(), tmp_path / "s.tar.gz")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    found = verdict_on(path)
    assert found["passed"] is None and wrong_checks(found, "unjudged") == {"opens"}
    assert "No space left" in found["checks"][0]["found"]


def test_memory_is_the_submissions_only_where_its_process_used_it_up(monkeypatch):
    assert is_checkers_trouble(MemoryError())
    monkeypatch.setattr("resource.getrlimit", lambda which: (1 << 20, 1 << 20))  # far below what this process has
    assert not is_checkers_trouble(MemoryError())
    for error in (ValueError("x"), RecursionError(), OverflowError(), KeyError("x"), Broken("x"), Failed("x", "y")):
        assert not is_checkers_trouble(error)


@pytest.mark.slow
def test_a_process_that_computes_without_end_is_stopped_and_fails():
    def busy(path):
        while True:
            pass

    found = JudgingProcess("x", busy, seconds=1).wait(shipped_rubric())
    assert found["passed"] is False and wrong_checks(found, "failed") == {"opens"}


def test_a_file_of_the_folder_that_may_not_be_read_is_the_folders_fault():
    def refuse():
        raise PermissionError(errno.EACCES, "Permission denied", "/x/run.json")

    view = View()
    view.add_file("run.json", 10, refuse)
    with pytest.raises(Exception, match=r"run\.json: Permission denied") as caught:
        view.read("run.json", 100)
    assert not is_checkers_trouble(caught.value)


@pytest.mark.parametrize("name", ["a.lora_A.weight", "a.lora_B.weight"])
def test_an_adapter_of_one_empty_tensor_is_not_trained_and_does_not_pass(tmp_path, name):
    empty = submissions.safetensors([(name, "F32", [64, 0], b"")])
    found = verdict_on(pack(honest_files() | {ADAPTER: empty}, tmp_path / "s"))
    assert found["passed"] is False and {"adapter_trained", "adapter_shapes"} <= wrong_checks(found, "failed")


@pytest.mark.parametrize("name", ["one_answer_repeated", "trained_on_a_question", "a_layer_is_missing"])
def test_what_honest_files_tell_is_required(tmp_path, name):
    assert verdict_on(pack(mutations.mutate(name), tmp_path / "s"))["passed"] is False


def test_the_bases_own_name_is_no_new_name(tmp_path):
    found = verdict_on(pack(submissions.link_hashes(submissions.with_name("浦语")), tmp_path / "s"))
    assert found["passed"] is False and "named" in wrong_checks(found, "failed")


FAULTS = {
    "disk": lambda: OSError(errno.EIO, "Input/output error"),
    "files": lambda: OSError(errno.EMFILE, "Too many open files"),
    "rights": lambda: PermissionError(errno.EACCES, "Permission denied"),
    "memory": MemoryError,
}


def count_down(real, calls: list[int], error, applies=lambda *_: True):
    """`real`, but its N-th call raises; `calls` is [N]."""

    def call(*arguments, **keywords):
        if applies(*arguments):
            calls[0] -= 1
            if calls[0] == 0:
                raise error()
        return real(*arguments, **keywords)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["rights", "memory"])
def test_wherever_a_file_of_ours_cannot_be_read_nothing_fails(tmp_path, monkeypatch, fault):
    """Each of the files of ours that a verdict opens, in turn."""
    path = pack(honest_files(), tmp_path / "s.zip")
    verdict_on(path)  # modules are loaded
    once = (load_schema, answers._course_questions)  # read once for all: here anew for each verdict
    ours = lambda file, *_: str(file).startswith(str(ROOT))  # noqa: E731
    reached = 0
    for number in range(1, 100):
        calls = [number]
        for cached in once:
            cached.cache_clear()
        with monkeypatch.context() as patch:
            opened = count_down(io.open, calls, FAULTS[fault], ours)
            patch.setattr("io.open", opened)
            patch.setattr("builtins.open", opened)
            found = judge_submission(path, shipped_rubric(), StaffInputs())
        if calls[0] > 0:
            break
        reached += 1
        assert not wrong_checks(found, "failed"), (number, found["checks"])
        assert found["passed"] is not False, number
    assert reached >= 6


@pytest.mark.slow
@pytest.mark.parametrize("form, fault", [("s.zip", "disk"), ("s.tar.gz", "files"), ("s", "memory")])
def test_wherever_the_disk_or_the_memory_fails_while_a_submission_is_read_nothing_fails(
    tmp_path, monkeypatch, fault, form
):
    """One in five of the openings of a part, in turn, for a packed one and for a plain folder."""
    files = honest_files() if form != "s" else plain_folders.plain()
    path = pack(files, tmp_path / form) if form != "s" else plain_folders.write(files, tmp_path / form)
    for number in range(1, 400, 5):
        calls, real = [number], View.open
        with monkeypatch.context() as patch:
            patch.setattr(View, "open", count_down(real, calls, FAULTS[fault]))
            found = judge_submission(path, shipped_rubric(), StaffInputs())
        if calls[0] > 0:
            break
        assert not wrong_checks(found, "failed"), (number, [r for r in found["checks"] if r["status"] == "failed"])
        assert found["passed"] is not False, number
    assert number > 20


@pytest.mark.parametrize(
    ("limit", "peak", "ours"),
    [(1 << 30, 3 << 18, True), (1 << 30, (3 << 18) + 1, False), (resource.RLIM_INFINITY, 1 << 40, True)],
)
def test_memory_that_ran_out_is_the_submissions_where_it_used_most_of_what_it_may(monkeypatch, limit, peak, ours):
    monkeypatch.setattr(blame.resource, "getrlimit", lambda which: (limit, limit))
    monkeypatch.setattr(blame.Path, "read_text", lambda path: f"VmPeak:\t{peak:9d} kB\nVmSize:\t1 kB\n")
    assert is_checkers_trouble(MemoryError()) is ours


def test_memory_that_ran_out_is_the_machines_where_nothing_tells_how_much_was_used(monkeypatch):
    monkeypatch.setattr(blame.resource, "getrlimit", lambda which: (1 << 30, 1 << 30))
    monkeypatch.setattr(blame.Path, "read_text", lambda path: "")
    assert is_checkers_trouble(MemoryError())
