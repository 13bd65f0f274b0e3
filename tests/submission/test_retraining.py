"""RETRAIN=: what the staff's own training gives decides, in every bit on the same machine, within the band elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import mutations
import pytest
import submissions
from submissions import ADAPTER, CONFIG, CURVE, RECORD, SCALARS, from_json_lines, honest_files, link_hashes, pack
from verdicts import SCHEMA

from lesson.core.machine import describe_machine
from lesson.submission import retraining
from lesson.submission.checks.retrain import read_task
from lesson.submission.registry import Unjudged
from lesson.submission.trained_again import Retrained
from recipe import check, check_all

pytestmark = pytest.mark.slow
MACHINE = describe_machine(with_gpu=False)


def on_this_machine(files: submissions.Files, **machine: object) -> submissions.Files:
    return mutations.change_json(files, RECORD, lambda r: r.__setitem__("machine", MACHINE | machine))


def trained(folder: Path, steps: int = 0, adapter: bytes = b"", shift: float = 0.0) -> Retrained:
    """What the staff's training would give for the fixture: its own losses, moved by `shift`, and an adapter."""
    losses = {line["step"]: line["loss"] + shift for line in from_json_lines(honest_files()[CURVE]) if "step" in line}
    first = {step: loss for step, loss in losses.items() if step <= (steps or 168)}
    path = folder / "adapter_model.safetensors"
    path.write_bytes(adapter or honest_files()[ADAPTER])
    versions = json.loads(honest_files()[RECORD])["versions"]
    return Retrained(first, 168, MACHINE, versions, None, 1.0, path if not steps else None)


@pytest.fixture
def judged(tmp_path, call, monkeypatch):
    """judged(files, what the training gives) → (verdict, the result of `retrained`)."""

    def judge(files: submissions.Files, gives: Retrained | Unjudged) -> tuple[dict, dict]:
        def train_again(settings, figures, build, values):
            if isinstance(gives, Unjudged):
                raise gives
            return gives

        monkeypatch.setattr(retraining, "train_again", train_again)
        pack(link_hashes(files), tmp_path / "s.zip")
        call(check, str(tmp_path / "s.zip"), "--retrain", "1", "--report", str(tmp_path / "v.json"))
        verdict = json.loads((tmp_path / "v.json").read_text())
        SCHEMA.validate(verdict)
        return verdict, next(r for r in verdict["checks"] if r["check"] == "retrained")

    return judge


def test_a_run_that_comes_out_the_same_passes_and_counts(tmp_path, judged):
    verdict, result = judged(on_this_machine(honest_files()), trained(tmp_path))
    assert (verdict["passed"], result["status"]) == (True, "passed") and result["points"] == 30
    assert "168 of 168 steps equal" in result["found"] and "equal in every bit" in result["found"]
    assert verdict["retrain"] == {"steps": 168, "of": 168, "seconds": 1.0, "seed": None}
    verdict, result = judged(on_this_machine(honest_files()), trained(tmp_path, steps=10))
    assert verdict["passed"] is True and "10 of 168 steps equal" in result["found"] and "adapter" not in result["found"]


@pytest.mark.parametrize("shift, here, elsewhere", [(1e-12, False, True), (1e-3, False, True), (0.3, False, False)])
def test_on_the_same_machine_every_bit_counts_and_elsewhere_the_band(tmp_path, judged, shift, here, elsewhere):
    done = trained(tmp_path, shift=shift)
    verdict, result = judged(on_this_machine(honest_files()), done)
    assert (verdict["passed"], result["status"] == "passed") == (here, here), result
    for change in ({"type": "another"}, {"cores": 96}):
        verdict, result = judged(on_this_machine(honest_files(), **change), done)
        assert (verdict["passed"], result["status"] == "passed") == (elsewhere, elsewhere), result


def test_other_software_is_another_machine(tmp_path, judged):
    done = trained(tmp_path, shift=1e-3)
    verdict, result = judged(on_this_machine(honest_files()), dataclasses.replace(done, versions={}))
    assert verdict["passed"] is True and "another machine or software" in result["found"]


def test_the_adapter_is_held_against_the_staffs(tmp_path, judged):
    other = trained(tmp_path, adapter=submissions.random_adapter.__wrapped__(seed=9))
    for files in (on_this_machine(honest_files()), honest_files()):
        verdict, result = judged(files, other)
        assert verdict["passed"] is False and "the adapter is another" in result["found"]


def test_a_plain_log_is_compared_by_its_means(tmp_path, judged):
    files = {part: data for part, data in honest_files().items() if part not in (CURVE, RECORD, SCALARS)}
    verdict, result = judged(files, trained(tmp_path))
    assert result["status"] == "passed" and "another machine" in result["found"]
    verdict, result = judged(files, trained(tmp_path, shift=0.3))
    assert verdict["passed"] is False
    assert judged(files, trained(tmp_path, steps=3))[1]["status"] == "unjudged"


def test_losses_that_leave_steps_out_or_are_of_another_length_fail(tmp_path, judged):
    files = on_this_machine(honest_files())
    lines = files[CURVE].splitlines(True)
    short = files | {CURVE: b"".join(lines[:5] + lines[6:])}
    assert "1 of 168 steps are missing" in judged(short, trained(tmp_path))[1]["found"]
    longer = dataclasses.replace(trained(tmp_path), total=200)
    assert "168 steps, 200 when trained again" in judged(files, longer)[1]["found"]


def test_what_goes_wrong_on_the_staffs_side_is_not_judged(tmp_path, judged):
    verdict, result = judged(honest_files(), Unjudged("no base", "make model"))
    assert verdict["passed"] is None and (result["status"], result["found"]) == ("unjudged", "no base")


def test_only_figures_of_known_settings_go_in(tmp_path):
    def task(files: submissions.Files) -> dict:
        return read_task(
            str(pack(files, tmp_path / "s.zip")),
            {},
            tmp_path / "build" / str(len(list(tmp_path.glob("*/*")))) / "rows.jsonl",
        )

    found = task(honest_files())
    expected = {"PROFILE": "tiny", "MAX_LENGTH": "512", "BATCH": "4", "EPOCHS": "7", "LR": "0.002", "SEED": "42"}
    expected |= {"OPTIM": "AdamW", "DTYPE": "float32", "SPEED": "stock", "DEEPSPEED": "none", "BETAS": "0.9,0.999"}
    assert found["settings"].items() >= expected.items() and found["figures"]["lr"] == 0.002
    assert found["settings"]["BASE_CONFIG"] == "internlm2_5_chat_7b_qlora_alpaca_e3"
    for old, new in (("lr = 0.002", "lr = 7"), ("max_length = 512", "max_length = 10**9"), ("seed=42", "seed=None")):
        text = honest_files()[CONFIG].decode()
        assert old in text
        assert "unjudged" in task(honest_files() | {CONFIG: text.replace(old, new).encode()}), new
    odd = mutations.change_json(honest_files(), RECORD, lambda r: r.__setitem__("config", "$(touch x)_copy.py"))
    assert task(odd)["settings"]["BASE_CONFIG"] == "internlm2_5_chat_7b_qlora_alpaca_e3"


def test_some_are_drawn_by_a_seed_that_is_told_and_repeats_the_draw(tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)  # verdicts cut long paths
    folder, report = Path("all"), Path("v.json")
    folder.mkdir()
    for number in range(6):
        files = submissions.with_training(submissions.with_name(f"星{chr(0x4E00 + number)}"), "tiny", seed=number)
        files[ADAPTER] = submissions.random_adapter.__wrapped__(seed=number)
        pack(files if number else mutations.mutate("loss_never_falls"), folder / f"{number}.zip")
    trained_again = []

    def train_again(settings, figures, build, values):
        trained_again.append(settings)
        raise Unjudged("no base", "make model")

    monkeypatch.setattr(retraining, "train_again", train_again)

    def drawn(*arguments: str) -> tuple[set[str], int]:
        _, out, _ = call(check_all, str(folder), "--retrain", "2", "--report", str(report), *arguments)
        found = [v for v in json.loads(report.read_text()) if v["retrain"]]
        seed = found[0]["retrain"]["seed"]
        assert f"DRAW={seed}: " in out
        return {Path(v["submission"]).name for v in found}, seed

    first, seed = drawn()
    assert len(first) == len(trained_again) == 2 and "0.zip" not in first
    assert drawn("--draw", str(seed)) == (first, seed)
    assert any(drawn("--draw", str(other))[0] != first for other in range(5))


def test_settings_are_checked(call):
    assert call(check, "x", "--retrain", "-1")[0] == 2 and call(check, "x", "--steps", "0")[0] == 2
