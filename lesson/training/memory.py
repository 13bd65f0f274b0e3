"""How much memory a training takes: formulas that follow what XTuner 0.2.0 does, by part."""

from __future__ import annotations

from dataclasses import dataclass

from lesson.model.shape import Shape

GB = 1e9
CUDA_CONTEXT = 0.7 * GB  # the CUDA context and cuBLAS' workspaces, which torch's own peak does not count
FRAGMENTS = 1.05  # the caching allocator holds a little more than is used
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes of a weight, as `estimate_memory` says
# What NCCL takes beside torch: two H200 of one host, training with SPEED=fast, where the driver counted 24.4 GB, 1.7 of them
# beside torch's, and 0.9 on one GPU. More GPUs take hardly more with rings (NVIDIA/nccl issue 986).
NCCL = 0.8 * GB
KEEP_ALL = 1 << 62  # bytes: no limit
HEAD_CELLS = 16 << 20  # logits that lesson/training/passes.py makes at a time
LIBRARIES = 0.9 * GB  # resident memory of Python, torch and transformers on a CPU


def needed_memory(peak: float, ranks: int = 1) -> float:
    """Bytes of a GPU's memory that a training takes which on so many ranks has torch's own `peak` on each."""
    return peak * FRAGMENTS + CUDA_CONTEXT + (NCCL if ranks > 1 else 0)


def usable_memory(memory: float, ranks: int = 1) -> float:
    """Bytes that torch's own peak may have on a GPU of `memory` bytes: the inverse of needed_memory."""
    return (memory - needed_memory(0, ranks)) / FRAGMENTS


@dataclass(frozen=True)
class FastSizes:
    """What decides the memory of lesson/training/fast.py besides weights. Numbers have 16 bits, sizes count numbers of a token.

    `turned` are the bytes of a layer's weights in 8 bits, 0 where they are in others; `unpacked` those of the widest
    weight that is unpacked for a product.
    """

    layers: int
    hidden: int
    packed: int  # queries, keys and values together
    inner: int  # width of the MLP
    vocabulary: int
    turned: float = 0
    unpacked: int = 0

    def count_activations(self, tokens: int) -> int:
        """Bytes that a step of so many tokens needs: of each layer its input, queries, keys, values, attention output and
        the MLP's input; and one MLP in full, which its backward pass needs."""
        return tokens * 2 * (self.layers * (3 * self.hidden + self.packed) + 5 * self.inner) + self.unpacked

    def count_logits(self, tokens: int) -> int:
        """Bytes of the logits, which turn into their gradient in place."""
        return tokens * 2 * self.vocabulary

    def count_gates(self, tokens: int) -> int:
        """Bytes of gate and up of one MLP."""
        return max(tokens, 1) * 4 * self.inner

    def count_kept(self, most: float, tokens: int) -> int:
        """The layers whose gate and up fit into `most` bytes."""
        return int(min(self.layers, most // self.count_gates(tokens)))

    def fill(self, memory: float, used: float, tokens: int, ranks: int = 1) -> tuple[int, int]:
        """What fills a GPU of `memory` bytes, of which `used` are taken beside activations and logits: (layers whose gate
        and up are kept, layers whose weights in 8 bits are turned around once); the second from what the first leaves."""
        used += self.count_activations(tokens) + self.count_logits(tokens)
        spare = max(usable_memory(memory, ranks) - used, 0)
        kept = self.count_kept(spare, tokens)
        spare -= kept * self.count_gates(tokens)
        return kept, int(min(self.layers, spare // self.turned)) if self.turned else 0


@dataclass(frozen=True)
class Workload:
    """What decides memory, besides the shape. `tokens` are those of one iteration on one GPU."""

    tokens: int
    lora: int  # trained parameters
    quantized: bool = True
    half: bool = True  # autocast to 16 bits
    checkpointing: bool = True
    zero: int = 0  # DeepSpeed's ZeRO stage; 0 without DeepSpeed
    world_size: int = 1
    optimizer_bytes: int = 8  # Adam's two moments in float32; 2 with 8 bits
    fast: bool = False  # lesson/training/fast.py computes it
    kept: int = 0  # bytes that it may keep of MLPs
    eight_bits: bool = False  # its frozen layers are in 8 bits
    fill: float = 0  # bytes of GPU memory that it fills instead of `kept`
    small: bool = False  # lesson/training/small.py computes it, on a CPU
    bytes_each: int = 2  # of a number in its format


def estimate_memory(shape: Shape, work: Workload) -> dict[str, float]:
    """Bytes by part at the highest moment of an iteration on one GPU, and their sum as "peak".

    weights       NF4: half a byte, and a scale per 64 of them, itself in 8 bits with a float32 per 256 (QLoRA,
                  arXiv:2305.14314, section 3). Not quantized: as `plain`.
    plain         embeddings, output layer, norms: peft's prepare_model_for_kbit_training makes them float32;
                  DeepSpeed makes them 16 bits again.
    adapter, optimizer  LoRA in float32 and Adam's moments; DeepSpeed adds a 16-bit copy and shares the rest out.
    activations   with checkpointing the input of each layer; without, 167 bytes per token, layer and hidden unit
                  (from one measurement: stock config without checkpointing, 56.9 GB).
    logits        in the forward pass: as computed, in float32, shifted, and their log-softmax; with autocast also the
                  16-bit copy of the output layer that the backward pass needs (transformers' modelling files and
                  torch's cross_entropy).
    gradients     of LoRA; with ZeRO-2 two buckets of 5e8 elements (DeepSpeed's default, overlap_comm).
    The peak is at the loss or at the end of the backward pass, whichever is higher.

    Compared with torch's peak on one H100, InternLM2.5-7B, 2048 tokens, batch 1: stock 12.9 measured, 13.0 here; with
    ZeRO-2 12.0 measured, 12.1 here (GB).
    """
    if work.small:
        return _estimate_memory_of_small(shape, work)
    if work.fast:
        return _estimate_memory_of_fast(shape, work)
    deepspeed = work.zero > 0
    share = work.world_size if deepspeed else 1
    full = 2 if deepspeed and work.half else 4
    parts = {
        "weights": shape.linear_parameters
        * (NF4 if work.quantized else full)
        / (work.world_size if work.zero == 3 else 1),
        "plain": shape.plain_parameters * full / (work.world_size if work.zero == 3 else 1),
        "adapter": work.lora * ((2 + 4 / share) if deepspeed and work.half else 4),
        "optimizer": work.lora * work.optimizer_bytes / share,
        "activations": work.tokens * shape.layers * shape.hidden * (full if work.checkpointing else 167),
    }
    cells = work.tokens * shape.vocabulary
    copy = shape.hidden * shape.vocabulary * 2 if work.half and not deepspeed else 0
    at_loss = {"logits": cells * (3 * 4 + (2 if work.half else 0)) + copy, "gradients": 0.0}
    if deepspeed:  # the buckets are taken before the backward pass starts, while the loss is still there
        at_end = {"logits": cells * 3 * 4.0, "gradients": 2 * 5e8 * full if work.zero >= 2 else work.lora * full}
    else:
        widest = max(max(i, o) for _, i, o in shape.linears)
        at_end = {"logits": 0.0, "gradients": work.lora * 4.0 + work.tokens * widest * full * 6}
    parts |= max(at_loss, at_end, key=lambda part: sum(part.values()))
    return parts | {"peak": sum(parts.values())}


def _estimate_memory_of_fast(shape: Shape, work: Workload) -> dict[str, float]:
    """The same for lesson/training/fast.py: every frozen weight in 16 bits or NF4, LoRA in float32 with a 16-bit copy.

    activations   as FastSizes has them, and what is kept of MLPs.
    logits        16 bits, turned into their gradient in place.
    gradients     take the place of activations that are done with; several ranks average a copy in float32.
    With `fill` the memory is filled as FastFinetune fills it: gates and ups first, then weights in 8 bits turned around.

    One H100, InternLM2.5-7B, 2048 tokens: 21.5 measured, 21.7 here; with NF4 12.4 measured, 12.6 here (GB, torch's peak).
    """
    sizes = _read_fast_sizes(shape, work)
    each = 1.0 if work.eight_bits else NF4 if work.quantized else 2.0
    parts = {
        "weights": shape.linear_parameters * each,
        "plain": shape.plain_parameters * 2.0,
        "adapter": work.lora * 6.0,
        "optimizer": work.lora * float(work.optimizer_bytes),
        "activations": 0.0,
        "logits": 0.0,
        "gradients": work.lora * 4.0 if work.world_size > 1 else 0.0,
    }
    kept = sizes.count_kept(work.kept, work.tokens)
    if work.fill:
        kept, turned = sizes.fill(work.fill, sum(parts.values()), work.tokens, work.world_size)
        parts["weights"] += turned * sizes.turned
    parts["activations"] = float(sizes.count_activations(work.tokens) + kept * sizes.count_gates(work.tokens))
    parts["logits"] = float(sizes.count_logits(work.tokens))
    return parts | {"peak": sum(parts.values())}


def _read_fast_sizes(shape: Shape, work: Workload) -> FastSizes:
    """As Parts.sizes has them (lesson/training/fast_shapes.py) of a model that is loaded."""
    sizes = {name: o for name, _, o in shape.linears}
    inner = sizes["w1"] if "w1" in sizes else sizes["gate_proj"]
    return FastSizes(
        shape.layers,
        shape.hidden,
        sum(sizes.get(name, 0) for name in ("wqkv", "q_proj", "k_proj", "v_proj")),
        inner,
        shape.vocabulary,
        turned=shape.linear_parameters / shape.layers if work.eight_bits else 0,
        unpacked=inner * shape.hidden * 2 if work.quantized else 0,
    )


def _estimate_memory_of_small(shape: Shape, work: Workload) -> dict[str, float]:
    """The same for lesson/training/small.py: every frozen weight in the config's format, LoRA in float32.

    adapter       with a copy in that format.
    activations   of each layer what its linear layers get (with LoRA's low-rank part left out, being small), what its
                  attention gets and gives, and gate and up of the MLP.
    logits        some rows at a time: in that format, and in float32.
    """
    each = work.bytes_each
    inputs = sum(i for _, i, _ in shape.linears)
    outputs = sum(o for _, _, o in shape.linears)
    parts = {
        "weights": shape.linear_parameters * float(each),
        "plain": shape.plain_parameters * float(each),
        "adapter": work.lora * (4.0 + each),
        "optimizer": work.lora * float(work.optimizer_bytes),
        "activations": work.tokens * each * shape.layers * (0.5 * inputs + outputs + 4 * shape.hidden),
        "logits": HEAD_CELLS * (4.0 + 2 * each),
        "gradients": work.lora * 4.0,
    }
    return parts | {"peak": sum(parts.values())}
