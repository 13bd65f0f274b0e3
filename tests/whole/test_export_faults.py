"""A kill at any moment of make export leaves a whole export or none, and the same command then ends in the same bytes."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import each_moment, run_forked, snapshot

from lesson.core.records import announced_path, find_record
from lesson.export import make as making
from lesson.runs.folder import Run
from recipe import export

pytestmark = [pytest.mark.torch, pytest.mark.slow]
FORMS = ("adapter", "hf", "gguf", "ollama")


@pytest.fixture(scope="module")
def build(evaluated, lesson, tmp_path_factory) -> Path:
    """A copy of the lesson's BUILD without what no export reads, and with no export."""
    made = tmp_path_factory.mktemp("export") / "build"
    left_out = shutil.ignore_patterns("cache", "work_dir", "export")
    shutil.copytree(lesson, made, symlinks=True, ignore=left_out)
    # Hundreds of processes are forked from this one: what they import is imported once.
    making.write_model(Run((made / "run").resolve()).merged, tmp_path_factory.mktemp("once"))
    return made


@pytest.fixture(autouse=True)
def no_engine(monkeypatch):
    """llama.cpp writes its file in two steps and knows every tokenizer; what it needs hours for is not the point here."""

    def write(
        source: Path, target: Path, quant: str, tools: str, types: list[str], converted: Callable[[], object]
    ) -> None:
        whole = target.with_name("between.gguf")
        with open(whole, "wb") as file:
            file.write(b"GGUF" * 1000)
        weights = (source / "model.safetensors").read_bytes()[:5000]
        converted()
        with open(target, "wb") as file:
            file.write(weights + quant.encode())
        os.remove(whole)

    monkeypatch.setattr(making, "find_python", lambda: Path("python"))
    monkeypatch.setattr(making, "write_gguf", write)
    monkeypatch.setattr(making, "check_prompts", lambda *_: None)


def act(build: Path, form: str, *more: str) -> int:
    import torch

    torch.set_num_threads(1)  # the threads of the process that was forked are not here
    return export.main(["--profile", "tiny", "--build", str(build), "--lang", "en", "--format", form, *more])


def made_by(build: Path, form: str) -> tuple[Path, Path]:
    """(the folder of all exports, that of this form) of the lesson's run."""
    exports = Run((build / "run").resolve()).exports
    return exports, exports / (form if form in ("adapter", "hf") else f"{form}-q8_0")


@pytest.mark.parametrize(
    ("form", "before"),
    [("adapter", "nothing"), ("hf", "another"), ("ollama", "nothing")],  # the last makes gguf's too
)
def test_a_kill_before_any_operation_leaves_all_or_nothing(build, tmp_path, form, before):
    exports, target = made_by(build, form)
    shutil.rmtree(exports, ignore_errors=True)
    exports.mkdir()
    card = Run((build / "run").resolve()).evaluation / "evaluation.json"
    text = card.read_text(encoding="utf-8")
    try:
        if before == "another":  # an export of the same model before it was evaluated again
            card.write_text(text.replace("{", "{ ", 1), encoding="utf-8")
            assert run_forked(lambda: act(build, form), exports, None, 0).status == 0
    finally:
        card.write_text(text, encoding="utf-8")
    begin = tmp_path / "begin"
    shutil.copytree(exports, begin)
    allowed = [snapshot(target)]
    whole = run_forked(lambda: act(build, form), exports, None, 0)
    assert whole.status == 0, whole.screen
    wanted = snapshot(exports)
    allowed.append(snapshot(target))
    moments, between = 0, 0
    for moment, _ in each_moment(lambda: act(build, form), exports, "kill", begin, stride=2):
        assert snapshot(target) in allowed, moment
        between += announced_path(target).exists() and snapshot(target) == allowed[1]
        again = run_forked(lambda: act(build, form), exports, None, 0)
        assert again.status == 0 and "Traceback" not in again.screen, (moment, again.screen)
        assert snapshot(exports) == wanted, moment
        moments = moment
    assert moments >= 10 and between, "the moment between output and record is among them"
    assert not [name for name in wanted if name.endswith((".tmp", ".lock"))]


def test_a_full_disk_is_one_line_and_leaves_nothing_half_made(build, tmp_path):
    exports, target = made_by(build, "gguf")
    shutil.rmtree(exports, ignore_errors=True)
    assert run_forked(lambda: act(build, "gguf"), exports, None, 0).status == 0
    wanted, whole = snapshot(exports), snapshot(target)
    (begin := tmp_path / "begin").mkdir()
    for moment, ended in each_moment(lambda: act(build, "gguf"), exports, "full", begin, stride=2):
        assert ended.status == 2 and ended.screen.count("error: ") == 1, (moment, ended.screen)
        assert snapshot(target) in ({}, whole) and "Traceback" not in ended.screen, moment
        if moment % 8 == 1:
            assert run_forked(lambda: act(build, "gguf"), exports, None, 0).status == 0
            assert snapshot(exports) == wanted, moment


def test_what_a_killed_export_left_goes_with_the_next_of_any_form(build):
    exports, _ = made_by(build, "gguf")
    left = exports / ".gguf-q8_0.x1y2z3ab.tmp"
    (left / "hf").mkdir(parents=True)
    (left / "hf" / "model.safetensors").write_bytes(b"0" * 1000)
    assert run_forked(lambda: act(build, "adapter"), exports, None, 0).status == 0
    assert not left.exists()


@pytest.mark.parametrize("form", FORMS)
def test_one_that_is_up_to_date_says_the_same_next_command(build, form):
    exports, target = made_by(build, form)
    shutil.rmtree(exports, ignore_errors=True)
    first, again = (run_forked(lambda: act(build, form), exports, None, 0).screen for _ in range(2))
    following = first.splitlines()[-2].split("next: ")[1]
    assert "up to date" in again and again.splitlines()[-2].split("next: ")[1] == following
    assert following.startswith("make web" if form == "adapter" else f"make eval USE=export FORMAT={form}")
    assert find_record(target)["parameters"]["quant"] == "q8_0"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_weights_are_written_with_progress(build, tmp_path):
    merged = Run((build / "run").resolve()).merged
    lines: list[str] = []
    (tmp_path / "a").mkdir()
    making.write_with_progress(merged, tmp_path / "a", lines.append, io.StringIO())
    assert lines[-1].startswith("weights: 100% of ") and len(lines) <= 5
    (tmp_path / "b").mkdir()
    screen = Terminal()
    making.write_with_progress(merged, tmp_path / "b", lambda line: None, screen)
    assert "100%" in screen.getvalue()
