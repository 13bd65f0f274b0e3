"""SPEED=fast's arithmetic, held against autograd through the model's own code: on a CUDA GPU, and in part on a CPU by
Triton's interpreter."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest
from interpreted import needs_interpreter

pytestmark = pytest.mark.torch
RANK, SCALE = 8, 0.5
GPU = pytest.param("cuda", marks=pytest.mark.gpu)
# Each family's layout, and what its bases have beside it: tied heads, biases, heads of another size than hidden / heads,
# and the ways in which Llama 3.1 and Qwen2.5 stretch their positions.
BASES = {
    "internlm2": {},
    "qwen2": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}},
    "llama": {},
    "llama-biased": {
        **{"attention_bias": True, "mlp_bias": True, "head_dim": 48, "tie_word_embeddings": False},
        "rope_scaling": {
            **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
            "original_max_position_embeddings": 512,
        },
    },
}
LINEARS = {"internlm2": 5 * 2 + 1}  # with LoRA: InternLM2's output layer as well


class Bases:
    """The folders of small random bases by name, made once each; on a GPU of sizes that suit its kernels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, device: str) -> str:
        import torch
        from random_bases import make_base
        from transformers import AutoModelForCausalLM

        folder = self.folder / f"{name}-{device}"
        if not folder.exists():
            wide = {"hidden_size": 256, "intermediate_size": 448} if device == "cuda" else {}
            make_base(name.partition("-")[0], folder, **wide, **BASES[name])
            model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
            for parameter in model.parameters():
                if parameter.ndim == 1:  # norms are ones and biases zeros
                    parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
            model.save_pretrained(folder)
        return str(folder)


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> Bases:
    return Bases(tmp_path_factory.mktemp("bases"))


@pytest.fixture(params=["cpu", GPU])
def device(request) -> str:
    """Where kernels are computed: by the interpreter on a CPU, or compiled on a GPU."""
    if request.param == "cpu":
        needs_interpreter()
    return request.param


def finetune(
    kind,
    folder: str,
    dropout: float,
    dtype: str = "float32",
    quantised: bool = False,
    device="cuda",
    targets=None,
    **more,
):
    """The model that a config describes, with LoRA weights that are not zero (B = 0 leaves A without a gradient)."""
    import torch
    from mmengine.config import ConfigDict
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    llm = {
        "type": AutoModelForCausalLM.from_pretrained,
        "pretrained_model_name_or_path": folder,
        "torch_dtype": getattr(torch, dtype),
    }
    if quantised:
        llm["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, dtype),
        )
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=RANK, lora_alpha=RANK * SCALE, lora_dropout=dropout, target_modules=targets
    )
    model = kind(llm=ConfigDict(llm, trust_remote_code=True), lora=lora, **more).to(device)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def batch(device: str = "cuda") -> dict:
    import torch

    torch.manual_seed(2)
    ids = torch.randint(5, 2000, (2, 96) if device == "cuda" else (2, 6), device=device)
    labels = torch.where(torch.rand(ids.shape, device=device) < 0.5, ids, -100)
    return {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids, dtype=torch.bool)}


def gradients(model) -> dict:

    return {n.replace("base_model.", ""): p.grad for n, p in model.named_parameters() if p.requires_grad}


def distance(a, b) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.mark.parametrize(
    ("base", "targets"),
    [("internlm2", None), ("qwen2", None), ("llama-biased", None), ("llama", ["q_proj", "v_proj", "down_proj"])],
)
def test_loss_and_every_gradient_equal_autograd_without_dropout(bases, device, base, targets):
    """Without dropout, loss and the gradient of every LoRA weight equal those of the stock model to float32's rounding."""
    from xtuner.model import SupervisedFinetune

    from lesson.training.fast import FastFinetune
    from lesson.training.patches import patch_all_tools

    patch_all_tools()
    folder, data = bases(base, device), batch(device)
    stock = finetune(
        SupervisedFinetune, folder, 0.0, device=device, targets=targets, use_activation_checkpointing=False
    )
    inner = stock.llm.config.intermediate_size
    kept_bytes = 4 * inner * data["input_ids"].numel()  # of one layer; the other's are computed again
    fast = finetune(FastFinetune, folder, 0.0, device=device, targets=targets, kept_bytes=kept_bytes)
    losses = {}
    assert fast.fast_pass.stack(data["input_ids"].shape).kept == 1
    for name, model in (("stock", stock), ("fast", fast)):
        losses[name] = model.compute_loss(dict(data))["loss"]
        losses[name].backward()
    assert losses["fast"].item() == pytest.approx(losses["stock"].item(), rel=1e-5)
    expected, found = gradients(stock), gradients(fast)
    linears = 2 * len(targets) if targets else LINEARS.get(base, 7 * 2)
    assert expected.keys() == found.keys() and len(found) == 2 * linears
    assert {n: d for n in expected if (d := distance(found[n], expected[n])) > 1e-4} == {}


@pytest.mark.gpu
@pytest.mark.parametrize("base", ["internlm2", "qwen2"])
def test_half_precision_is_near_float32(bases, base):
    """In bfloat16 the loss is within 1% of float32's and each gradient points the same way (cosine above 0.97)."""
    import torch

    from lesson.training.fast import FastFinetune

    exact = finetune(FastFinetune, bases(base, "cuda"), 0.0)
    half = finetune(FastFinetune, bases(base, "cuda"), 0.0, "bfloat16")
    losses = [model.compute_loss(batch())["loss"] for model in (exact, half)]
    for loss in losses:
        loss.backward()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.01)
    expected, found = gradients(exact), gradients(half)
    cosines = {n: torch.cosine_similarity(found[n].flatten(), expected[n].flatten(), 0).item() for n in expected}
    assert min(cosines.values()) > 0.97, cosines


@pytest.mark.gpu
@pytest.mark.parametrize("base", ["internlm2", "qwen2"])
def test_a_captured_graph_gives_what_single_launches_give(bases, base):
    """The first step launches kernels one by one, later ones replay a graph: same dropout, loss and gradients."""
    import torch

    from lesson.training.fast import FastFinetune

    model = finetune(FastFinetune, bases(base, "cuda"), 0.1)
    seen, data = [], batch()
    for _ in range(4):
        torch.manual_seed(5)
        loss = model.compute_loss(dict(data))["loss"]
        loss.backward()
        seen.append((loss.item(), {n: g.clone() for n, g in gradients(model).items()}))
        model.zero_grad()
    assert sum(g is not None for g in model.fast_pass.graphs.values()) == 1
    assert {loss for loss, _ in seen} == {seen[0][0]}
    assert {n: d for n, g in seen[3][1].items() if (d := distance(g, seen[0][1][n])) > 1e-5} == {}


@pytest.mark.gpu
@pytest.mark.parametrize("base", ["internlm2", "qwen2"])
def test_a_captured_graph_draws_dropout_anew_and_accumulates(bases, base):
    """Other seeds give other losses through the same graph, and gradients of several passes add up."""
    import torch

    from lesson.training.fast import FastFinetune

    model, data = finetune(FastFinetune, bases(base, "cuda"), 0.1), batch()
    losses, each = [], []
    for accumulate in (False, True):
        model.zero_grad()
        for number in range(4):
            torch.manual_seed(number)
            loss = model.compute_loss(dict(data))["loss"]
            loss.backward()
            losses.append(loss.item())
            if not accumulate:
                each.append({n: g.clone() for n, g in gradients(model).items()})
                model.zero_grad()
    assert len(set(losses[:4])) == 4 and losses[4:] == losses[:4]
    total = {n: sum(g[n] for g in each) for n in each[0]}
    assert {n: d for n, g in gradients(model).items() if (d := distance(g, total[n])) > 1e-5} == {}


@pytest.mark.parametrize(("base_dtype", "ranks"), [("", 1), ("int8", 1), ("int8", 2)])
@pytest.mark.parametrize("base", ["internlm2", "llama"])
def test_memory_is_filled_as_it_was_estimated(bases, monkeypatch, base, base_dtype, ranks):
    """FastPass, which has a model in memory, and make estimate, which has its sizes, keep and turn around as much. A card
    of 2 GB has room for one of two MLPs, or with fewer tokens for both and every weight turned around."""
    needs_interpreter()
    import torch

    from lesson.model.shape import shape_of
    from lesson.training import fast
    from lesson.training.memory import GB, Workload, estimate_memory, usable_memory
    from lesson.training.patches import patch_all_tools

    patch_all_tools()
    folder = bases(base, "cpu")
    model = finetune(fast.FastFinetune, folder, 0.0, device="cpu", base_dtype=base_dtype, gpu_memory=2)
    passed = model.fast_pass
    shape = shape_of(model.llm.config.to_dict(), "")
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    monkeypatch.setattr(fast, "get_world_size", lambda: ranks)
    gates = 4 * 128  # bytes of a token's gate and up in a layer
    one = int(usable_memory(2 * GB, ranks)) // (2560 + 2 * shape.vocabulary + gates * 3 // 2)
    for tokens, layers in ((one, 1), (one // 2, 2)):
        work = Workload(tokens, trained, False, fast=True, eight_bits=bool(base_dtype), world_size=ranks)
        empty = estimate_memory(shape, work)
        taken = sum(empty[name] for name in ("weights", "plain", "adapter", "gradients"))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda taken=taken: taken)
        filled = estimate_memory(shape, replace(work, fill=2 * GB))
        kept = passed._fill_memory(tokens)
        assert kept == filled["activations"] - empty["activations"] == layers * gates * tokens
        turned = [layer.mlp[0].frozen.turned is not None for layer in passed.parts.layers] if base_dtype else []
        assert (filled["weights"] - empty["weights"]) * 2 == sum(turned) * shape.linear_parameters


@pytest.mark.parametrize("size", [1, 4095, 4096, 40_001])
def test_dropout_keeps_its_share_and_draws_the_same_again(device, size):
    """Dropout keeps 1 - p of the places, scales by 1/(1 - p), repeats by seed and adds onto another tensor alike."""
    import torch

    from lesson.training.fast_layers import Seed, dropout

    seven = Seed(torch.tensor([7], device=device))
    x = torch.rand(size, device=device) + 1
    once, again, other = dropout(x, seven, 0.1), dropout(x, seven, 0.1), dropout(x, seven.next(), 0.1)
    assert torch.equal(once, again)
    kept = once != 0
    assert torch.allclose(once[kept], x[kept] / 0.9)
    assert torch.allclose(dropout(x, seven, 0.1, onto=x.clone()), x + once)
    if size > 4000:
        assert not torch.equal(once, other)
        assert abs(kept.float().mean().item() - 0.9) < 5 * (0.09 / size) ** 0.5
    assert dropout(x, seven, 0.0) is x


@pytest.mark.parametrize("biased", [False, True])
def test_gradients_with_dropout_equal_autograd_through_the_same_masks(device, biased):
    """With dropout on, forward and backward use the same masks: each gradient equals autograd's through those masks."""
    import torch
    from peft import LoraConfig
    from peft.tuners.lora import Linear

    from lesson.training.fast_layers import LinearResidual, LoraLinear, Seed, dropout

    config = LoraConfig(r=RANK, lora_alpha=RANK * SCALE, lora_dropout=0.3, init_lora_weights=False)
    base = torch.nn.Linear(64, 32, bias=biased, device=device)
    layer = LoraLinear(Linear(base, "default", config=config, r=RANK, lora_alpha=RANK * SCALE))
    x, residual = (torch.randn(16, size, device=device, requires_grad=True) for size in (64, 32))
    a, b = (p.detach().clone().requires_grad_() for p in layer.parameters)
    for half, parameter in zip(layer.half, layer.parameters, strict=True):
        half.copy_(parameter.detach())
    seed = Seed(torch.tensor([11], device=device))
    y = LinearResidual.apply(x, residual, *layer.parameters, layer, seed)
    mask = dropout(torch.ones_like(x), seed, 0.3)
    expected = residual + base(x) + SCALE * (x * mask) @ a.t() @ b.t()
    assert torch.allclose(y, expected, atol=1e-4)
    dy = torch.randn_like(y)
    found = torch.autograd.grad(y, [x, residual, *layer.parameters], dy)
    wanted = torch.autograd.grad(expected, [x, residual, a, b], dy)
    assert [d for f, w in zip(found, wanted, strict=True) if (d := distance(f, w)) > 1e-4] == []


@pytest.mark.gpu
@pytest.mark.parametrize("base", ["internlm2", "qwen2"])
def test_the_quantised_base_computes_with_its_dequantised_weights(bases, base):
    """With an NF4 base, the loss is that of the same model holding the dequantised weights."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    from lesson.training.fast import FastFinetune

    quantised = finetune(FastFinetune, bases(base, "cuda"), 0.0, "bfloat16", quantised=True)
    plain = finetune(FastFinetune, bases(base, "cuda"), 0.0, "bfloat16")
    changed = 0
    for packed, layer in zip(quantised.llm.modules(), plain.llm.modules(), strict=True):
        if hasattr(getattr(packed, "weight", None), "quant_state"):
            weight = dequantize_4bit(packed.weight.data, packed.weight.quant_state)
            changed += not torch.equal(layer.weight.data, weight)
            layer.weight.data = weight
    assert changed == (5 if base == "internlm2" else 7) * 2
    losses = [model.compute_loss(batch())["loss"].item() for model in (quantised, plain)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", ["fp8", "int8"])
def test_products_in_8_bits_are_exact_where_8_bits_hold_the_numbers(kind, device):
    """Rows of small whole numbers, scaled by powers of two: both products equal those of float32, turned around or not."""
    import torch

    from lesson.training.fast_base import BASE_DTYPES, EightBitWeight

    largest = {"fp8": 448, "int8": 127}[kind]
    torch.manual_seed(3)

    def draw(rows: int, columns: int):
        x = torch.randint(-4, 5, (rows, columns), device=device).float()
        x[:, 0] = largest  # a scale of exactly one
        return x

    x, w, dy = draw(32, 64), draw(48, 64), draw(32, 48)
    x[:, 0] *= 0.0
    x[:, 1] = largest
    weight = EightBitWeight(w.bfloat16(), BASE_DTYPES[kind])
    assert torch.equal(weight.weight().float(), w)
    onto = torch.randint(-8, 9, (32, 64), device=device).bfloat16()
    for _ in range(2):
        # Triton's interpreter cuts a bfloat16's further bits off instead of rounding.
        same = torch.equal if device == "cuda" else functools.partial(torch.allclose, rtol=2**-7)
        assert same(weight.multiply(x.bfloat16()), (x @ w.t()).bfloat16())
        back = weight.multiply_back(dy.bfloat16())
        assert same(back[:, 1:], (dy @ w).bfloat16()[:, 1:])  # column 0 is 448² and more
        assert torch.allclose(weight.multiply_back(dy.bfloat16(), onto).float(), dy @ w + onto, rtol=0.01, atol=0.1)
        weight.keep_turned()


@pytest.mark.parametrize("kind", ["fp8", "int8"])
def test_rows_in_8_bits_are_rounded_to_the_nearest(kind, device):
    """Each row's largest number becomes the largest of the format; all others are what torch rounds them to."""
    import torch

    from lesson.training.fast_base import BASE_DTYPES, quantise_rows

    if (kind, device) == ("fp8", "cpu"):
        pytest.skip("Triton's interpreter cuts float8 off instead of rounding it")
    torch.manual_seed(4)
    x = torch.randn(5, 1000, device=device).mul_(torch.logspace(-3, 3, 5, device=device).unsqueeze(1)).bfloat16()
    columns = torch.rand(1000, device=device) + 0.5
    numbers, scales = quantise_rows(x, BASE_DTYPES[kind], columns)
    wanted = x.float() * columns / scales
    wanted = wanted.round() if kind == "int8" else wanted
    assert numbers.float().abs().amax(1).tolist() == [{"fp8": 448.0, "int8": 127.0}[kind]] * 5
    assert (numbers.float() == wanted.to(BASE_DTYPES[kind]).float()).float().mean() > 0.999
    assert torch.allclose(numbers.float() * scales, x.float() * columns, rtol=0.07, atol=float(scales.max()))
    zeros, scales = quantise_rows(torch.zeros(2, 64, device=device), BASE_DTYPES[kind])
    assert not zeros.float().any() and scales.isfinite().all()


@pytest.mark.gpu
@pytest.mark.parametrize("base", ["internlm2", "qwen2"])
@pytest.mark.parametrize("kind", ["fp8", "int8"])
def test_a_base_in_8_bits_trains_as_its_unpacked_weights_do(bases, base, kind):
    """Against the same model in bfloat16 with the 8-bit weights unpacked: the loss within 2%, each gradient's cosine above
    0.95; filling more memory changes neither; the answers during training use the same weights."""
    import torch

    from lesson.training.fast import FastFinetune

    found = {}
    for memory in (0, 16):
        model = finetune(FastFinetune, bases(base, "cuda"), 0.0, "bfloat16", base_dtype=kind, gpu_memory=memory)
        loss = model.compute_loss(batch())["loss"]
        loss.backward()
        found[memory] = loss.item(), gradients(model)
        assert (model.fast_pass.parts.layers[0].qkv[0].frozen.turned is not None) == bool(memory)
    plain = finetune(FastFinetune, bases(base, "cuda"), 0.0, "bfloat16")
    for exact, packed in zip(plain.fast_pass.parts.layers, model.fast_pass.parts.layers, strict=True):
        for a, b in zip(exact.linears, packed.linears, strict=True):
            assert distance(b.frozen.weight(), a.frozen.weight()) < 0.05
            a.frozen.stored.data.copy_(b.frozen.weight())
    loss = plain.compute_loss(batch())["loss"]
    loss.backward()
    expected = gradients(plain)
    assert found[16][0] == pytest.approx(loss.item(), rel=0.02)
    cosines = {
        n: torch.cosine_similarity(g.flatten(), expected[n].flatten(), 0).item() for n, g in found[16][1].items()
    }
    assert min(cosines.values()) > 0.95, cosines
    assert found[0][0] == found[16][0]
    assert {n: d for n, g in found[0][1].items() if (d := distance(g, found[16][1][n])) > 1e-3} == {}
    ids = batch()["input_ids"]
    with torch.no_grad():
        asked = [m.llm(input_ids=ids).logits.float() for m in (model, plain)]
    assert distance(*asked) < 0.02
