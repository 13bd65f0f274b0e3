"""What is trained of a model, what is held in 4 bits, and whether the rest stayed as it was."""

from __future__ import annotations

from typing import NamedTuple

PIECE = 1 << 22  # weights summed at a time


class WeightCensus(NamedTuple):
    """A model's weights in numbers. `frozen_sum` is taken before and after training: LoRA leaves it alone."""

    trained: int  # parameters
    layers_in_4_bits: int
    frozen_sum: int  # over the bits of every frozen weight, as 16-bit integers, or as bytes in 4-bit layers


def take_census(model) -> WeightCensus:
    """Count the weights of a torch model, wherever they are; under ZeRO-3 the frozen sum is over this rank's parts."""
    import torch

    trained, layers, frozen_sum = 0, 0, 0
    for parameter in model.parameters():
        if parameter.requires_grad:
            trained += getattr(parameter, "ds_numel", parameter.numel())
            continue
        bits = getattr(parameter, "ds_tensor", parameter).detach()  # under ZeRO-3 this rank's part, gathered or not
        layers += getattr(parameter, "quant_state", None) is not None
        numbers = bits.reshape(-1).view(torch.uint8 if bits.element_size() == 1 else torch.int16)
        # In pieces: on a CPU the sum makes a copy in its own format, 1.1 GB of the embeddings of a 0.5B.
        frozen_sum += int(sum(piece.sum(dtype=torch.int64) for piece in numbers.split(PIECE)))
    return WeightCensus(trained, layers, frozen_sum)
