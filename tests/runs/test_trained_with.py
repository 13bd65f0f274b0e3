"""The values of a run as its config has them."""

from __future__ import annotations

import pytest

from lesson.runs.folder import Run
from lesson.runs.trained_with import TrainedWith, read_trained_with


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ("optim_wrapper = dict(optimizer=dict(lr=3e-4))\ntrain_cfg = dict(max_epochs=2)\n", TrainedWith(2, 3e-4)),
        ("optim_wrapper = dict(optimizer=dict(lr='x'))\ntrain_cfg = dict(max_epochs=0)\n", TrainedWith()),
        ("lr = (", TrainedWith()),
        (None, TrainedWith()),
    ],
)
def test_what_a_config_does_not_tell_is_none(tmp_path, config, found):
    if config is not None:
        (tmp_path / "config.py").write_text(config)
    assert read_trained_with(Run(tmp_path)) == found
