"""Data parallelism for LoRA: after the backward pass, the gradients of all ranks are averaged as one flat tensor.

torch's DistributedDataParallel copies each gradient into a bucket of 25 MB, reduces bucket after bucket while the backward
pass goes on, and copies each back. SPEED=fast replays its backward pass as one CUDA graph: all gradients are there at once,
nothing is left to go on with, and what remains are two small kernels for each of 322 LoRA matrices and a call for each
bucket. Here it is one copy and one call. The numbers are the same: the sum over ranks, divided by their count.
"""

from __future__ import annotations

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor, distributed, nn


class FlatGradients:
    """The gradients of `parameters` side by side in one tensor, as large as they are, in their number format.

    All parameters have one format and lie on one device; every rank has the same ones in the same order.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        first = parameters[0]
        self.flat = torch.zeros(sum(p.numel() for p in parameters), dtype=first.dtype, device=first.device)
        parts = self.flat.split([p.numel() for p in parameters])
        self.views = [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]

    def average(self) -> None:
        """Replace each parameter's gradient by its mean over the ranks. One that has none counts as zero.

        Every rank has to call it. The gradients lie in `flat` until the next call.
        """
        copied = [(v, p.grad) for v, p in zip(self.views, self.parameters, strict=True) if p.grad is not v]
        missing = [view for view, gradient in copied if gradient is None]
        if missing:
            torch._foreach_zero_(missing)
        present = [(view, gradient) for view, gradient in copied if gradient is not None]
        if present:
            torch._foreach_copy_([view for view, _ in present], [gradient for _, gradient in present])
        average_over_ranks(self.flat)
        for parameter, view in zip(self.parameters, self.views, strict=True):
            parameter.grad = view


def average_over_ranks(tensor: Tensor) -> None:
    """Replace `tensor` by its mean over the ranks, in place. Every rank has to call it."""
    if distributed.get_backend() == "nccl":
        distributed.all_reduce(tensor, distributed.ReduceOp.AVG)
    else:  # gloo knows no mean
        distributed.all_reduce(tensor)
        tensor.div_(distributed.get_world_size())


@MODEL_WRAPPERS.register_module()
class FlatDataParallel(nn.Module):
    """`module`, an mmengine model, on several ranks; rank 0's trained weights are where all of them begin.

    Gradients are averaged once an optimizer step, also where ACCUM sums those of several passes.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        trained = [p for p in module.parameters() if p.requires_grad]
        for parameter in trained:
            distributed.broadcast(parameter.data, 0)
        self.__dict__["gradients"] = FlatGradients(trained)  # no weights of the model's

    def forward(self, *arguments, **keywords):
        return self.module(*arguments, **keywords)

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One pass, and one step of the optimizer where it is due: mmengine's BaseModel.train_step with the mean between.

        Returns what is logged.
        """
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, True)
            losses = self.module(**data, mode="loss")
        loss, logged = self.module.parse_losses(losses)
        optim_wrapper.backward(optim_wrapper.scale_loss(loss))
        if optim_wrapper.should_update():
            self.gradients.average()
            optim_wrapper.step()
            optim_wrapper.zero_grad()
        return logged
