"""Variables given to make config hold for the make train after it, until they are given anew or RESET=1 forgets them."""

from __future__ import annotations

import importlib.util

import pytest

from lesson.core.settings import ROOT, Values
from lesson.training.inputs import values_of_config
from recipe import config, data

pytestmark = pytest.mark.skipif(importlib.util.find_spec("xtuner") is None, reason="XTuner is not installed")


@pytest.fixture
def make(call, tmp_path):
    """make(arguments of recipe.config): (text of the config, screen)."""
    build = ("--profile", "tiny", "--build", str(tmp_path))
    source = str(ROOT / "data" / "assistant_Tuner.jsonl")
    assert call(data, *build, "--src", source)[0] == 0

    def run(*arguments: str) -> tuple[str, str]:
        status, out, err = call(config, *build, *arguments)
        assert status == 0, err
        return next((tmp_path / "config").glob("*.py")).read_text(encoding="utf-8"), out + err

    return run


def test_what_was_given_is_not_undone_by_the_next_call(make):
    usual, _ = make()
    given, _ = make("--epochs", "10", "--lr", "5e-4", "--seed", "7")
    again, screen = make()  # what make train calls
    assert again == given != usual and "max_epochs = 10" in again
    assert "kept from before: SEED=7 EPOCHS=10 LR=5e-4" in screen and "RESET=1" in screen
    anew, _ = make("--epochs", "3")
    assert "max_epochs = 3" in anew and "lr = 0.0005" in anew
    assert make("--reset", "1")[0] == usual


def test_the_way_of_computing_holds_for_training_and_the_estimate(make, tmp_path):
    text, _ = make("--speed", "fast")
    again, screen = make()
    assert again == text and "DequantisedFinetune" in text and "SPEED=fast" in screen
    call_of_train = Values({"PROFILE": "tiny", "BUILD": str(tmp_path)}, {})
    assert call_of_train.speed == "stock" and values_of_config(call_of_train).speed == "fast"
    assert "DequantisedFinetune" not in make("--speed", "stock")[0]
    assert values_of_config(call_of_train).speed == "stock"


def test_the_shipped_rows_at_tiny_get_the_profiles_values_and_fewer_epochs(make):
    text, _ = make()
    for line in ("max_length = 512", "max_epochs = 2", "lr = 0.002", "warmup_ratio = 0.05", "save_steps = 50"):
        assert f"\n{line}\n" in text, line
