"""The hook that counts a base's weights before training and after it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.torch


def make_runner(model, folder):
    """What CurveHook asks of mmengine's Runner."""
    loader = SimpleNamespace(dataset=[0], generator=None)
    return SimpleNamespace(model=model, train_dataloader=loader, seed=1, work_dir=folder, iter=0, max_iters=3)


def make_model(**methods):
    """One frozen layer; `methods` are given to it."""
    import torch

    model = torch.nn.Linear(4, 4, bias=False).requires_grad_(False)
    for name, method in methods.items():
        setattr(model, name, lambda method=method: method(model))
    return model


def bring_to_8_bits(model):
    """The weight gives way to a buffer, as below lesson.training.fast_base.EightBitWeight."""
    import torch

    if model.weight is not None:
        model.register_buffer("numbers", model.weight.detach().to(torch.int8), persistent=False)
        model.weight = None


@pytest.mark.parametrize("wrapped", [False, True], ids=["one process", "wrapped for several"])
def test_a_base_that_is_brought_to_8_bits_is_counted_afterwards(wrapped, tmp_path):
    """Or `make train BASE_DTYPE=fp8 PROFILE=small` trains to its end and fails there."""
    from lesson.training.hooks import CurveHook

    model = make_model(prepare_weights=bring_to_8_bits)
    runner = make_runner(model, tmp_path)
    if wrapped:
        runner.model = SimpleNamespace(module=model, parameters=model.parameters)
    hook = CurveHook()
    hook.before_train(runner)
    assert model.weight is None
    bring_to_8_bits(model)  # the first step asks again
    hook.after_train(runner)


def test_a_base_that_training_changed_is_an_error(tmp_path):
    from lesson.training.hooks import CurveHook

    model, hook = make_model(), CurveHook()
    hook.before_train(make_runner(model, tmp_path))
    model.weight.data[0, 0] += 1
    with pytest.raises(RuntimeError, match="must leave alone"):
        hook.after_train(make_runner(model, tmp_path))
