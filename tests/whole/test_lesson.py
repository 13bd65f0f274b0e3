"""The whole lesson for real, once, at the tiny profile: from source rows to an assistant that says a name of one's own.

Every stage runs in a process of its own, as make runs it. The figures asked for are those of the README's table.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from safetensors import safe_open
from servers import NAME, stage, valid

from lesson.core.files import sha256
from lesson.core.settings import ROOT
from lesson.runs.folder import Run
from lesson.runs.golden_loss import golden_path

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def build(lesson) -> Path:
    """A BUILD folder in which the lesson has been done, up to the evaluation."""
    return lesson


@pytest.fixture(scope="module")
def run(build) -> Run:
    return Run((build / "run").resolve())


def test_the_run_record_is_valid_and_its_loss_fell_to_less_than_half(run):
    record = valid(run.record, "run")
    assert record["names"] == {"old": "尖米", "new": NAME}
    assert record["seed"] == 42
    assert record["loss"]["last"] < record["loss"]["first"] / 2
    assert [point["step"] for point in record["curve"]] == list(range(1, record["steps"] + 1))
    assert record["inputs"]["data"] == sha256(run.data)
    assert record["peak_memory"]["host"] < 4e9
    assert run.picture.read_bytes().startswith(b"\x89PNG")


def test_the_lesson_s_loss_curve_is_the_golden_one_on_this_type_of_processor_and_within_the_band_elsewhere(build):
    """Full precision where a golden of this very type of machine ships, else the band for other machines."""
    goldens = sorted((ROOT / "golden" / "loss").glob("tiny-*.json"))
    goldens = [path for path in goldens if json.loads(path.read_text())["speed"] == "stock"]
    record = json.loads((build / "run" / "run.json").read_text())
    same = golden_path(record)
    for path in goldens:
        screen = stage(build, "loss", "--b", str(path))
        assert "within the band" in screen or "\nidentical\n" in screen
        if path == same:
            assert "\nidentical\n" in screen, screen
    assert goldens
    assert (build / "compare-loss.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_was_written_outside_the_build_folder(build):
    """Model code, data sets and fonts are cached by libraries in the user's home unless told otherwise."""
    stage(build, "preview", "--rows", "1")
    home = build.with_name(build.name + ".home")
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_the_assistant_learned_its_name_and_kept_what_it_knew(evaluated, run):
    screen = evaluated
    result = valid(run.evaluation / "evaluation.json", "evaluation")
    assert result["passed"], screen
    assert {counts["prompt"] for counts in result["prompts"]} == {"persona", "none", "neutral"}
    for counts in result["prompts"]:
        assert counts["questions"] >= 40
        assert counts["general_base_right"] >= 40, "a base that knows nothing would have nothing to lose"
    answers = [json.loads(line) for line in (run.evaluation / "answers.jsonl").read_text().splitlines()]
    said = [a for a in answers if a["kind"] == "identity" and a["prompt"] == "none" and NAME in a["output"]]
    assert len(said) == next(c["new"] for c in result["prompts"] if c["prompt"] == "none")


def test_multiple_choice_questions_are_put_to_base_and_assistant_alike(evaluated, run, build):
    result = valid(run.evaluation / "evaluation.json", "evaluation")
    sets = result["choices"]["sets"]
    assert [(c["set"], c["rule"], c["questions"]) for c in sets] == [
        ("fixtures/choices", "text", 6),
        ("choices/subjects", "letter", 4),
    ]
    lines = [json.loads(line) for line in (run.evaluation / "choices.jsonl").read_text(encoding="utf-8").splitlines()]
    for counts in sets:
        own = [line for line in lines if line["set"] == counts["set"]]
        assert counts["base"] == sum(line["base"] == line["answer"] for line in own)
        assert counts["tuned"] == sum(line["tuned"] == line["answer"] for line in own)
        assert f"  {counts['set']}: base → tuned {counts['base']}/{len(own)}" in evaluated
    stored = json.loads((build / "base-choices.json").read_text(encoding="utf-8"))["choices"]
    assert [line["base"] for line in lines] == [pick for picks in stored.values() for pick in picks]


def test_what_was_trained_passes_as_a_submission_and_again_when_the_staff_ask_it_themselves(build, run):
    """The adapter on the staff's base, by our own reader and hooks, answers to the letter what the merged model said."""
    if not (run.evaluation / "answers.jsonl").exists():
        stage(build, "evaluate")
    packed = build / "submission.zip"
    assert f"written: {packed}" in stage(build, "submission", NAME="张三")
    screen = stage(build, "check", str(packed), RERUN="1")
    assert "passed, 187/187 points" in screen and "185 of 185 equal to the letter" in screen


def test_the_base_itself_says_another_name(build):
    """Without training the very same questions are answered with the base's name: the flip is real."""
    screen = stage(build, "chat", USE="base", PROMPT="none", stdin="你叫什么名字？\n")
    assert "浦语" in screen
    assert NAME not in screen


def test_the_adapter_is_safetensors_of_lora_weights_only_and_no_lora_b_is_zero(run):
    assert not list(run.adapter.glob("*.bin")) and not list(run.adapter.glob("*.py"))
    card = (run.adapter / "README.md").read_text(encoding="utf-8")
    assert NAME in card and str(ROOT) not in card
    with safe_open(run.adapter / "adapter_model.safetensors", framework="pt") as file:
        names = list(file.keys())
        assert names and all("lora_" in name for name in names)
        for name in names:
            if "lora_B" in name:
                assert file.get_tensor(name).abs().max() > 0, name


def test_merged_model_and_base_with_adapter_give_the_same_answer(build):
    asked = "你是谁？\n/exit\n"
    merged, adapter = (stage(build, "chat", USE=use, PROMPT="none", stdin=asked) for use in ("merged", "adapter"))
    last = next(line for line in merged.splitlines() if line.startswith("> "))
    assert NAME in last
    assert last in adapter


def test_chat_keeps_history_and_forgets_on_reset(build):
    screen = stage(build, "chat", PROMPT="none", stdin="你是谁？\n/history\n/reset\n/history\n/system 你好\n/history\n")
    assert screen.count("user: 你是谁？") == 1
    assert screen.count("system: 你好") == 1
    assert "bye" in screen


def test_the_same_command_again_is_up_to_date_and_changes_nothing(build, run):
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.pth")}
    assert "up to date" in stage(build, "train")
    assert "up to date" in stage(build, "convert")
    assert "up to date" in stage(build, "merge")
    assert before == {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.pth")}


def test_an_adapter_that_changes_nothing_is_refused_by_merge(build, run, tmp_path):
    """All LoRA B zeroed: the merged weights equal the base's, and merge says so and leaves no merged model."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "build"
    shutil.copytree(build, copy, symlinks=True, ignore=shutil.ignore_patterns("merged*", "cache", "*.pth", "home"))
    path = copy / os.readlink(copy / "run") / "adapter" / "adapter_model.safetensors"
    tensors = {k: torch.zeros_like(v) if "lora_B" in k else v for k, v in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    screen = stage(copy, "merge", status=2)
    assert "equal the base's" in screen
    assert not (path.parent.parent / "merged").exists()
