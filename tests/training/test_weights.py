"""The census of a model's weights: what is trained, and that the rest stayed as it was."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_bit_of_a_frozen_weight_is_seen_and_trained_ones_are_counted(dtype, monkeypatch):
    import torch

    from lesson.training import weights

    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3)).to(getattr(torch, dtype))
    model[0].requires_grad_(False)
    before = weights.take_census(model)
    assert (before.trained, before.layers_in_4_bits) == (7 * 3 + 3, 0)
    with torch.no_grad():
        model[1].weight.add_(1)
    monkeypatch.setattr(weights, "PIECE", 4)  # the same sum, whatever the pieces
    assert weights.take_census(model) == before
    with torch.no_grad():
        model[0].weight.view(torch.int16)[6, 4] ^= 1
    assert abs(weights.take_census(model).frozen_sum - before.frozen_sum) == 1
