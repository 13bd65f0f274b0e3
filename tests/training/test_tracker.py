"""TRACKER=: which backends XTuner is given, and that nothing is sent anywhere unless it is asked for."""

from __future__ import annotations

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.runs.folder import Run
from lesson.training import tracker
from lesson.training.tracker import list_trackers, write_engine_config


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A run with a config that has XTuner's own line; every tracker counts as installed."""
    monkeypatch.setattr(tracker, "find_spec", lambda name: name)
    for variable in ("WANDB_MODE", "SWANLAB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "config.py").write_text("lr = 1\nvisualizer = None\n")
    return Run(tmp_path)


def asked(**given: str) -> Values:
    return Values({"PROFILE": "tiny", **given}, {})


def backends(values: Values, run: Run) -> list[dict]:
    """The backends of the config that the engine gets, as data."""
    space: dict = {}
    exec(write_engine_config(values, run).read_text(), space)  # what this test wrote
    assert space["lr"] == 1
    return space["visualizer"]["vis_backends"]


def test_without_a_tracker_the_run_s_own_config_is_used(run):
    assert write_engine_config(asked(), run) == run.config


@pytest.mark.parametrize(
    "given", [{"TRACKER": "tensorboard"}, {"TENSORBOARD": "1"}, {"TRACKER": "tensorboard", "TENSORBOARD": "1"}]
)
def test_tensorboard_is_asked_for_in_either_way_and_written_once(run, given):
    local, other = backends(asked(**given), run)
    assert local["type"].endswith("LocalVisBackend") and other == {
        "type": "mmengine.visualization.TensorboardVisBackend"
    }
    assert run.config.read_text() == "lr = 1\nvisualizer = None\n"


@pytest.mark.parametrize("name", ["wandb", "swanlab"])
def test_what_could_send_is_offline_unless_its_own_variable_says_online(run, name, monkeypatch):
    (_, found) = backends(asked(TRACKER=name), run)
    assert found["init_kwargs"]["mode"] == "offline" and run.folder.name in found["init_kwargs"].values()
    monkeypatch.setenv(f"{name.upper()}_MODE", "online")
    assert backends(asked(TRACKER=name, TENSORBOARD="1"), run)[1]["init_kwargs"]["mode"] == "online"


def test_a_package_that_is_not_installed_is_named_with_what_to_type(monkeypatch):
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="TRACKER=swanlab") as refused:
        list_trackers(asked(TRACKER="swanlab"))
    assert refused.value.remedy == ".venv/bin/python -m pip install swanlab"
