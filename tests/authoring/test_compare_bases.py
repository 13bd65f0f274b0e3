"""A base beside the one that ships: equal, or named with what differs."""

from __future__ import annotations

import importlib.util

import pytest

from lesson.authoring.compare_bases import compare_bases
from lesson.core.settings import Values
from lesson.model.tiny_base import install_base

pytestmark = pytest.mark.torch

transformers = pytest.importorskip("transformers")
if importlib.util.find_spec("xtuner") is None:
    pytest.skip("needs torch and xtuner", allow_module_level=True)


@pytest.fixture
def folder(tmp_path):
    from lesson.evaluation.loading import use_environment

    use_environment(Values({"profile": "tiny", "build": str(tmp_path)}, environment={}))
    install_base(tmp_path / "model")
    return tmp_path / "model"


def test_equal_bases_are_said_to_be_equal(folder):
    assert compare_bases(folder) == ["equal to tiny-base, file by file"]


def test_other_weights_are_named_with_their_difference(folder):
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["output.weight"][0, 0] += 0.5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    said = compare_bases(folder)
    assert "model.safetensors" in said[0] and "0.5" in said[1] and len(said) == 3
