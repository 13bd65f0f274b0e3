"""The whole lesson for real, once, at the tiny profile: from source rows to an assistant that says a name of one's own.

Every stage runs in a process of its own, as make runs it. The figures asked for are those of the README's table.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, FormatChecker
from safetensors import safe_open
from servers import NAME, stage

from lesson.core.files import sha256
from lesson.core.settings import ROOT
from lesson.runs import folder as runs
from lesson.runs import loss_band as loss
from lesson.runs.curve import CURVE, curve_lines

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def valid(path: Path, schema: str) -> dict:
    """The document in `path`, proven valid against schemas/SCHEMA.schema.json."""
    document = json.loads(path.read_text(encoding="utf-8"))
    rules = json.loads((ROOT / "schemas" / f"{schema}.schema.json").read_text(encoding="utf-8"))
    Draft7Validator(rules, format_checker=FormatChecker()).validate(document)
    return document


@pytest.fixture(scope="module")
def build(lesson) -> Path:
    """A BUILD folder in which the lesson has been done, up to the evaluation."""
    return lesson


@pytest.fixture(scope="module")
def run(build) -> runs.Run:
    return runs.Run((build / "run").resolve())


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
    same = loss.golden_path(record)
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


def test_what_was_trained_passes_as_a_submission_and_again_when_the_staff_ask_it_themselves(build, run):
    """The adapter on the staff's base, by our own reader and hooks, answers to the letter what the merged model said."""
    if not (run.evaluation / "answers.jsonl").exists():
        stage(build, "evaluate")
    packed = build / "submission.zip"
    assert f"written: {packed}" in stage(build, "submission", NAME="张三")
    screen = stage(build, "check", str(packed), RERUN="1")
    assert "passed, 187/187 points" in screen and "165 of 165 equal to the letter" in screen


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


# --- stopped and resumed ---------------------------------------------------------------------------------------------

SHORT = {"MAX_LENGTH": "256", "EPOCHS": "3", "SAVE_STEPS": "4", "WARMUP": "0.1"}
ROWS = 165  # of the shipped rows: 28 packs, seven steps an epoch


def prepare(build: Path, name: str = NAME, **parameters: str) -> Path:
    """Data (few rows), model and config in `build`: all that training needs."""
    with open(ROOT / "data" / "assistant_Tuner.jsonl", encoding="utf-8") as file:
        (build / "few.jsonl").write_text("".join(itertools.islice(file, ROWS)), encoding="utf-8")
    stage(build, "data", SRC=str(build / "few.jsonl"), NEW_NAME=name)
    stage(build, "model")
    stage(build, "config", **parameters)
    return next((build / "config").glob("*.py"))


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    """A BUILD folder with a short run that was never stopped."""
    build = tmp_path_factory.mktemp("short")
    prepare(build, **SHORT)
    stage(build, "train")
    stage(build, "convert")
    return build


def outcome(build: Path) -> tuple[list, str]:
    run = runs.Run((build / "run").resolve())
    return json.loads(run.record.read_text())["curve"], sha256(run.adapter / "adapter_model.safetensors")


def test_a_run_killed_at_a_random_step_resumes_to_the_same_curve_and_the_same_adapter(short, tmp_path):
    """kill -9 of make's process after a random step: the trainer dies with it, the same command goes on, and the
    result equals the uninterrupted run's in every bit. So two runs of one seed are equal as well."""
    curve, adapter = outcome(short)
    prepare(tmp_path, **SHORT)
    environment = {**os.environ, "BUILD": str(tmp_path), "PROFILE": "tiny", "PYTHONUTF8": "1"}
    moment = random.SystemRandom().randrange(6, len(curve) - 1)
    parent = subprocess.Popen(
        [sys.executable, "-m", "recipe.train"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while (
        not (steps := [len(curve_lines(p)) - 1 for p in tmp_path.glob(f"runs/*/work_dir/{CURVE}")]) or steps[0] < moment
    ):
        assert parent.poll() is None and time.monotonic() < deadline, "the run ended before it was killed"
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    screen = stage(tmp_path, "train")
    assert "resuming at step" in screen, f"killed at step {moment}"
    stage(tmp_path, "convert")
    assert outcome(tmp_path) == (curve, adapter), f"killed at step {moment}"


def test_training_with_deepspeed_zero2_on_the_cpu_gives_nearly_the_same_curve(short, tmp_path):
    """DEEPSPEED=deepspeed_zero2 is another engine and another checkpoint format (a folder): same loss, and it converts.

    Tolerance: the first two losses are equal; then Adam, whose first steps depend on signs more than on sizes, spreads
    the rounding of another order of sums. Measured over 21 steps: at most 0.043.
    """
    import torch

    prepare(tmp_path, **SHORT)
    stage(tmp_path, "train", DEEPSPEED="deepspeed_zero2")
    stage(tmp_path, "convert")
    run = runs.Run((tmp_path / "run").resolve())
    record = valid(run.record, "run")
    assert record["deepspeed"] and record["checkpoint"]["sha256"] is None
    # What an exact resume needs is in this format too (DeepSpeed's strategy drops the hooks' part unless patched).
    states = run.folder / record["checkpoint"]["path"] / "mp_rank_00_model_states.pt"
    assert set(torch.load(states, weights_only=False)["random_state"]) == {"python", "numpy", "torch", "cuda"}
    plain = outcome(short)[0]
    assert [point["step"] for point in record["curve"]] == [point["step"] for point in plain]
    assert [point["loss"] for point in record["curve"][:2]] == pytest.approx([p["loss"] for p in plain[:2]], abs=1e-5)
    assert [point["loss"] for point in record["curve"]] == pytest.approx([p["loss"] for p in plain], abs=0.06)


def test_two_processes_train_as_one_and_when_one_is_killed_the_other_ends_and_the_run_goes_on(short, tmp_path):
    """The same global batch in two processes (gloo): the same curve within the band. kill -9 of one rank ends the
    other, its number is said, and the same command goes on from the last checkpoint."""
    prepare(tmp_path, **SHORT, BATCH="2")
    environment = {**os.environ, "BUILD": str(tmp_path), "PROFILE": "tiny", "NPROC_PER_NODE": "2", "LANG": "C.UTF-8"}
    parent = subprocess.Popen(
        [sys.executable, "-m", "recipe.train"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("runs/*/work_dir/iter_*.pth")):
        assert parent.poll() is None and time.monotonic() < deadline, parent.stderr.read()
        time.sleep(0.05)
    trainers = ranks_of(parent.pid)
    assert trainers.keys() == {"0", "1"}
    os.kill(trainers["1"], signal.SIGKILL)
    said = parent.communicate(timeout=60)[1]
    assert parent.returncode == 2
    assert f"rank 1 (process {trainers['1']}) was killed by SIGKILL" in said.splitlines()[-1]
    assert not Path(f"/proc/{trainers['0']}").exists()
    screen = stage(tmp_path, "train", NPROC_PER_NODE="2")
    assert "resuming at step" in screen
    record = valid((tmp_path / "run" / "run.json").resolve(), "run")
    one = json.loads((short / "run" / "run.json").read_text())
    assert record["processes"] == 2
    assert (record["tokens"], record["steps"], record["samples"]) == (one["tokens"], one["steps"], one["samples"])
    curves = [[(point["step"], point["loss"]) for point in r["curve"]] for r in (record, one)]
    assert loss.compare(*curves).verdict == loss.WITHIN
    # XTuner's log has the mean over both ranks, as the curve has; so a submission's log and record agree.
    scalars = next(iter(sorted(tmp_path.glob("runs/*/work_dir/*/vis_data/scalars.json"))))
    logged = json.loads(scalars.read_text().splitlines()[0])
    first = [value for _, value in curves[0][: logged["step"]]]
    assert logged["loss"] == pytest.approx(sum(first) / len(first), rel=1e-4)


def ranks_of(pid: int) -> dict[str, int]:
    """{RANK: process ID} of the trainers below process `pid`."""
    found, waiting = {}, [pid]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        variables = dict(v.split("=", 1) for v in (folder / "environ").read_text().split("\0") if "=" in v)
        if "RANK" in variables and "GROUP_RANK" in variables:
            found[variables["RANK"]] = int(folder.name)
            continue
        waiting += [
            int(child) for task in (folder / "task").iterdir() for child in (task / "children").read_text().split()
        ]
    return found


def test_another_name_is_another_run_and_the_first_one_stays(short):
    first = (short / "run").resolve()
    prepare(short, "奶龙", MAX_LENGTH="256", EPOCHS="1", WARMUP="0.4")
    stage(short, "train")
    second = (short / "run").resolve()
    assert second != first
    assert (first / "run.json").exists() and (first / "adapter" / "adapter_model.safetensors").exists()


def test_a_learning_rate_that_explodes_stops_early_and_says_where_and_what_to_do(tmp_path):
    config = prepare(tmp_path, **SHORT | {"SAVE_STEPS": "50"})  # the hook answers at each save: garbage, at length
    mine = tmp_path / "mine.py"
    text, changed = re.subn(r"^lr = .*$", "lr = 5000.0", config.read_text(encoding="utf-8"), flags=re.M)
    assert changed == 1
    mine.write_text(text, encoding="utf-8")
    screen = stage(tmp_path, "train", CONFIG=str(mine), status=2)
    assert re.search(r"step \d+: loss", screen) and "LR=" in screen
    assert not list(tmp_path.glob("runs/*/run.json"))
