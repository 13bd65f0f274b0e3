"""SPEED=fast on a GPU: a training pass of its own for InternLM2, Llama and Qwen2 with LoRA.

The config names it (`model.type = FastFinetune`, or SmallFinetune at PROFILE=small), so a config still says all that is
trained. Data, sampler, loop, optimizer, hooks, checkpoints and the adapter's names stay XTuner's and PEFT's; only how one
step is computed differs:

    base      bfloat16 (or NF4), never copied to float32; LoRA weights stay float32 and are used in bfloat16
    attention torch's fused kernels, causal over the pack as stock computes it, keys and values not repeated
    kernels   RMSNorm, SwiGLU, RoPE and cross entropy from liger-kernel
    loss      logits only at positions that have a label, turned into their gradient in place
    memory    a layer keeps its residual stream, queries, keys, values and attention output; the MLP is computed again
              in the backward pass, up to its down projection, whose output nothing needs

The gradient of y = x Wᵀ + b + s·dropout(x) Aᵀ Bᵀ, W and b frozen, is written out in `LoraLinear.backward`; tests hold it
against autograd. Dropout draws from Philox by a seed and is drawn again in the backward pass instead of being stored.
"""

from __future__ import annotations

import torch
from mmengine.dist import get_world_size
from peft import get_peft_model
from torch import Tensor, nn
from torch.autograd import Function
from xtuner.model import SupervisedFinetune
from xtuner.model.utils import find_all_linear_names

from lesson.core.messages import UserError, tr
from lesson.training.fast_base import BASE_DTYPES
from lesson.training.fast_layers import IGNORED, HeadLoss, Seed
from lesson.training.fast_shapes import Layer, read_parts
from lesson.training.memory import GB


class Stack:
    """All decoder layers: x (batch·length, hidden), cos and sin of the positions, the step's seed → the same shape.

    The last `kept` ones keep gate and up for the backward pass.
    """

    def __init__(self, layers: list[Layer], shape: torch.Size, kept: int) -> None:
        self.layers, self.shape, self.kept = layers, shape, kept
        self.linears = [linear for layer in layers for linear in layer.linears if linear.half]
        self.streams = len(layers[0].linears)
        self.parameters = [p for linear in self.linears for p in linear.parameters]

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, step: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(
                x, (cos, sin), self.shape, Seed(step, self.streams * number), number >= len(self.layers) - self.kept
            )
        return x


class Graphed:
    """A stack whose forward and backward pass are captured once as CUDA graphs: some 3000 launches become two.

    Launching them from Python takes longer than the GPU takes to compute them.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.inputs: list[Tensor] | None = None

    def capture(self, inputs: tuple[Tensor, ...]) -> None:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # what single launches left in the allocator's cache would be memory lost
        self.inputs = [tensor.clone() for tensor in inputs]
        self.forward_graph, self.backward_graph = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        # Autograd's nodes for the parameters belong to the stream that used them first, and a loss of the last step may
        # still hold them; the capture must not wait for that stream, so it gets leaves of its own.
        leaves = [p.detach().requires_grad_() for p in self.stack.parameters]
        for number, linear in enumerate(self.stack.linears):
            linear.parameters = tuple(leaves[2 * number : 2 * number + 2])
        try:
            with torch.enable_grad(), torch.cuda.graph(self.forward_graph):
                output = self.stack(*self.inputs)
            self.gradient = torch.empty_like(output)
            with torch.cuda.graph(self.backward_graph, pool=self.forward_graph.pool()):
                self.gradients = torch.autograd.grad(output, leaves, self.gradient)
        finally:
            for number, linear in enumerate(self.stack.linears):
                linear.parameters = tuple(self.stack.parameters[2 * number : 2 * number + 2])
        self.output = output.detach()

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self.inputs is None:
            self.capture(inputs)
        return _Replay.apply(self, inputs, *self.stack.parameters)


class _Replay(Function):
    @staticmethod
    def forward(ctx, graphed: Graphed, inputs: tuple[Tensor, ...], *parameters):
        ctx.graphed = graphed
        # Autograd may have made the graph's own buffers the parameters' gradients; when gradients are accumulated over
        # several steps, the next replay must not write over what is in them. Not even a forward one: both graphs share one
        # memory pool.
        for parameter, gradient in zip(graphed.stack.parameters, graphed.gradients, strict=True):
            if parameter.grad is not None and parameter.grad.data_ptr() == gradient.data_ptr():
                parameter.grad = parameter.grad.clone()
        torch._foreach_copy_(graphed.inputs, list(inputs))
        graphed.forward_graph.replay()
        return graphed.output.detach()  # not the buffer itself, which autograd would mark

    @staticmethod
    def backward(ctx, dy):
        graphed = ctx.graphed
        graphed.gradient.copy_(dy)
        graphed.backward_graph.replay()
        return None, None, *(gradient.detach() for gradient in graphed.gradients)


class FastPass:
    """The training pass of a causal language model of transformers with PEFT's LoRA in it, on a GPU.

    kept_bytes: memory for gate and up projections that are kept for the backward pass instead of computed again; a layer
    takes 4 · intermediate size bytes per token.
    base_dtype: as in read_parts.
    gpu_memory: GB to fill instead of `kept_bytes`: with gates and ups first, then with weights that are turned around
    once. Raises UserError as read_parts does.
    """

    def __init__(
        self, llm: nn.Module, kept_bytes: int, base_dtype: torch.dtype | None = None, gpu_memory: int = 0
    ) -> None:
        self.llm, self.kept_bytes, self.gpu_memory = llm, kept_bytes, gpu_memory
        self.parts = read_parts(llm.base_model.model, base_dtype)
        if base_dtype:
            torch.cuda.empty_cache()  # of the weights as they were
        self.graphs: dict[torch.Size, Graphed | None] = {}

    def compute_loss(self, data: dict) -> dict[str, Tensor]:
        """{"loss": scalar} of `data`: input_ids, labels, position_ids (batch, length).

        Padding comes behind the tokens of a row and has no label, so a causal pass needs no mask.
        """
        parts, ids = self.parts, data["input_ids"]
        targets = nn.functional.pad(data["labels"][:, 1:], (0, 1), value=IGNORED).reshape(-1)
        chosen = (targets != IGNORED).nonzero().squeeze(1)
        positions = data.get("position_ids")
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        # From the CPU's generator, whose state checkpoints keep.
        seed = Seed(torch.randint(2**62, (1,)).to(ids.device))
        with torch.autocast(ids.device.type, enabled=False):
            with torch.no_grad():
                torch._foreach_copy_(
                    [h for linear in parts.linears for h in linear.half],
                    [p for linear in parts.linears for p in linear.parameters],
                )
                x = parts.embed(ids).view(ids.numel(), -1)
                cos, sin = parts.rotary(x, positions)
            stack = self.stack(ids.shape)
            x = stack(x, cos, sin, seed.step)
            head = parts.head
            stream = seed.next(len(parts.layers) * len(parts.layers[0].linears))
            loss = HeadLoss.apply(x[chosen], *head.parameters, parts.norm, head, targets[chosen], stream)
        return {"loss": loss}

    def stack(self, shape: torch.Size) -> Stack | Graphed:
        """All layers for inputs of this shape: launched one by one the first time, from then on as a CUDA graph.

        One graph holds one step's activations for good, so only the first shape that comes twice gets one (packs all
        have the same).
        """
        tokens = shape.numel()
        if self.gpu_memory and not self.graphs:
            self.kept_bytes = self._fill_memory(tokens)
        stack = Stack(self.parts.layers, shape, self.parts.sizes.count_kept(self.kept_bytes, tokens))
        if shape not in self.graphs:
            self.graphs.setdefault(shape, None)
            return stack
        if not any(self.graphs.values()) and torch.cuda.is_available():
            self.graphs[shape] = Graphed(stack)
        return self.graphs[shape] or stack

    def _fill_memory(self, tokens: int) -> int:
        """The bytes for gates and ups of a step of `tokens`; of what they leave, weights in 8 bits are turned around."""
        sizes = self.parts.sizes
        trained = sum(p.numel() for p in self.llm.parameters() if p.requires_grad)
        used = torch.cuda.memory_allocated() + 8 * trained  # Adam's moments come with the first update
        kept, turned = sizes.fill(self.gpu_memory * GB, used, tokens, get_world_size())
        for layer in self.parts.layers[:turned]:
            for weight in layer.in_eight_bits:
                weight.keep_turned()
        return kept * sizes.count_gates(tokens)


def find_base_dtype(name: str) -> torch.dtype | None:
    """The format called "fp8" or "int8"; None for "". Raises UserError where this GPU cannot multiply it."""
    if name == "fp8" and torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 9):
        raise UserError(
            "BASE_DTYPE=fp8",
            tr("this GPU is older than Ada and Hopper", "这块显卡早于 Ada 与 Hopper"),
            tr("use BASE_DTYPE=int8", "请用 BASE_DTYPE=int8"),
        )
    return BASE_DTYPES[name] if name else None


class FastFinetune(SupervisedFinetune):
    """SupervisedFinetune for InternLM2, Llama or Qwen2 with LoRA, on a CUDA GPU.

    kept_bytes, gpu_memory: as in FastPass. base_dtype: "fp8" or "int8", or "" for the base's own. Raises UserError for a
    base or an adapter that FastPass does not compute, and NotImplementedError for `use_varlen_attn` or a GPU that cannot
    multiply the format.
    """

    FLAT_GRADIENTS = True  # on several ranks: lesson/training/data_parallel.py

    def __init__(self, *arguments, kept_bytes: int = 0, base_dtype: str = "", gpu_memory: int = 0, **keywords) -> None:
        self.kept_bytes, self.gpu_memory = kept_bytes, gpu_memory
        self.base_dtype = find_base_dtype(base_dtype)
        super().__init__(*arguments, use_activation_checkpointing=False, **keywords)
        if self.use_varlen_attn:
            raise NotImplementedError("SPEED=fast computes attention over the whole pack, as the lesson does")

    def _dispatch_lm_model_cfg(self, cfg, *arguments):
        cfg = super()._dispatch_lm_model_cfg(cfg, *arguments)
        cfg.attn_implementation = "sdpa"  # for the answers during training; the training pass asks torch itself
        if torch.cuda.is_available():
            cfg.device_map = {"": torch.cuda.current_device()}  # shards go straight to the GPU
        return cfg

    def _prepare_for_lora(self, peft_model=None, use_activation_checkpointing=False) -> None:
        # PEFT's prepare_model_for_kbit_training would copy every bfloat16 weight to float32.
        self.llm.requires_grad_(False)
        if self.lora.target_modules is None:
            self.lora.target_modules = find_all_linear_names(self.llm)
        self.llm = get_peft_model(self.llm, self.lora)
        # Beside the module tree: it holds no weights of its own.
        self.__dict__["fast_pass"] = FastPass(self.llm, self.kept_bytes, self.base_dtype, self.gpu_memory)

    def compute_loss(self, data: dict, data_samples=None) -> dict[str, Tensor]:
        """{"loss": scalar} of `data`: as FastPass.compute_loss."""
        return self.fast_pass.compute_loss(data)
