"""PROFILE=small: the passes written out are autograd's, and a step is XTuner's stock step, on each family of bases."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch
CLOSE = {"rtol": 2e-5, "atol": 2e-6}  # float32: sums are added in another order


def gradients(function, *inputs):
    """The output of `function` and the gradients of its inputs that ask for one, under a fixed random weighting."""
    import torch

    leaves = [x.detach().clone().requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else x for x in inputs]
    out = function(*leaves)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (out * weight).sum().backward()
    return [out.detach(), *(x.grad for x in leaves if isinstance(x, torch.Tensor) and x.requires_grad)]


def assert_same(function, reference, *inputs) -> None:
    import torch

    found, expected = gradients(function, *inputs), gradients(reference, *inputs)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def random(*shape: int, grad: bool = True):
    import torch

    return torch.randn(*shape).mul_(0.5).requires_grad_(grad)


@pytest.fixture(autouse=True)
def seeded():
    import torch

    torch.manual_seed(0)


def test_a_lora_layer_is_autograds():
    from torch.nn.functional import linear

    from lesson.training.passes import LoraLinear

    def reference(x, weight, bias, a, b):
        return linear(x, weight, bias) + 0.25 * linear(linear(x, a), b)

    def ours(*inputs):
        return LoraLinear.apply(*inputs, 0.25, 0.0)

    for bias in (random(7, grad=False), None):
        assert_same(ours, reference, random(2, 5, 6), random(7, 6, grad=False), bias, random(3, 6), random(7, 3))


def test_dropout_drops_the_same_values_in_both_passes():
    """With A and B of ones, the gradient by x is 1/(1-p) times the output's where the value was kept, and 0 elsewhere."""
    import torch

    from lesson.training.passes import LoraLinear

    x = torch.ones(64, 32).requires_grad_()
    a, b = torch.eye(32).requires_grad_(), torch.eye(32).requires_grad_()
    out = LoraLinear.apply(x, torch.zeros(32, 32), None, a, b, 1.0, 0.25)
    out.sum().backward()
    torch.testing.assert_close(x.grad, out.detach())
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert 0.2 < (out == 0).float().mean() < 0.3


def test_norm_and_gate_are_autograds():
    import torch
    from torch.nn.functional import silu

    from lesson.training.passes import RmsNorm, SwiGlu

    def norm(x, weight):
        return weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)

    assert_same(lambda x, w: RmsNorm.apply(x, w, 1e-5), norm, random(2, 5, 8), random(8, grad=False))
    assert_same(SwiGlu.apply, lambda gate, up: silu(gate) * up, random(2, 5, 8), random(2, 5, 8))


@pytest.mark.parametrize("length", [1, 7, 256, 300])
def test_attention_is_autograds(length):
    from torch.nn.functional import scaled_dot_product_attention

    from lesson.training.passes import CausalAttention

    shapes = [random(2, 3, length, 16) for _ in range(3)]
    assert_same(
        lambda q, k, v: CausalAttention.apply(q, k, v, 0.3),
        lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3),
        *shapes,
    )


def test_attention_in_bfloat16_is_as_near_as_torchs():
    """Its gradients are at most twice as far from float64's as those of torch's own kernel."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from lesson.training.passes import CausalAttention

    inputs = [torch.randn(1, 2, 300, 64) * 2 for _ in range(3)]
    weight = torch.randn(1, 2, 300, 64)

    def grads(function, dtype):
        leaves = [x.to(dtype).requires_grad_() for x in (t.bfloat16() for t in inputs)]
        function(*leaves).backward(weight.bfloat16().to(dtype))
        return [x.grad.double() for x in leaves]

    def torchs(q, k, v):
        return scaled_dot_product_attention(q, k, v, is_causal=True)

    exact = grads(torchs, torch.float64)
    theirs = grads(torchs, torch.bfloat16)
    ours = grads(lambda q, k, v: CausalAttention.apply(q, k, v, 64**-0.5), torch.bfloat16)
    for a, b, c in zip(ours, theirs, exact, strict=True):
        assert (a - c).norm() <= 2 * (b - c).norm()


@pytest.mark.parametrize("adapted", [False, True])
def test_the_loss_is_autograds(adapted, monkeypatch):
    import torch
    from torch.nn.functional import cross_entropy, linear

    from lesson.training import passes

    monkeypatch.setattr(passes, "HEAD_CELLS", 3 * 50)  # three rows at a time
    labels = torch.randint(0, 50, (10,))
    low = (random(2, 8), random(50, 2)) if adapted else (None, None)

    def reference(x, weight, a, b):
        return cross_entropy(linear(x, weight) + (0.5 * linear(linear(x, a), b) if adapted else 0), labels)

    def ours(x, weight, a, b):
        return passes.HeadLoss.apply(x, weight, labels, a, b, 0.5, 0.0)

    assert_same(ours, reference, random(10, 8), random(50, 8, grad=False), *low)


def finetune(kind, folder: str, dtype: str, dropout: float = 0.0):
    """The model that a config describes, with LoRA weights that are not zero (B = 0 leaves A without a gradient)."""
    import torch
    from mmengine.config import ConfigDict
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM

    from lesson.training.patches import patch_all_tools

    patch_all_tools()
    llm = ConfigDict(
        type=AutoModelForCausalLM.from_pretrained,
        pretrained_model_name_or_path=folder,
        trust_remote_code=True,
        torch_dtype=getattr(torch, dtype),
    )
    model = kind(llm=llm, lora=LoraConfig(r=8, lora_alpha=8, lora_dropout=dropout, task_type="CAUSAL_LM"))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


@pytest.mark.parametrize("base", ["internlm2", "llama", "qwen2"])
def test_a_step_is_stocks(base, tmp_path):
    """In float32 the loss differs by at most 1e-5 of itself and each LoRA gradient by 1e-4 of its norm; in bfloat16 by
    0.5% and by 10% (each number has 8 bits). Rows of unequal length are padded, half of the labels are ignored."""
    import torch
    from random_bases import make_base
    from xtuner.model import SupervisedFinetune

    from lesson.training.small import SmallFinetune

    folder = str(make_base(base, tmp_path / "base"))
    ids = torch.randint(5, 2000, (2, 300))
    labels = ids.masked_fill(torch.rand(ids.shape) < 0.5, -100)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 200:] = False
    labels[~mask] = -100
    positions = torch.arange(300).expand_as(ids)
    data = {"input_ids": ids, "labels": labels, "attention_mask": mask, "position_ids": positions}

    def step(kind, dtype):
        model = finetune(kind, folder, dtype)
        loss = model.compute_loss(dict(data))["loss"]
        loss.backward()
        return loss.item(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}, model

    expected, stock, _ = step(SupervisedFinetune, "float32")
    for dtype, loss_off, gradient_off in (("float32", 1e-5, 1e-4), ("bfloat16", 5e-3, 0.1)):
        loss, ours, model = step(SmallFinetune, dtype)
        assert loss == pytest.approx(expected, rel=loss_off)
        assert ours.keys() == stock.keys()
        for name, gradient in stock.items():
            assert (ours[name] - gradient).norm() <= gradient_off * gradient.norm(), name
            assert ours[name].dtype == torch.float32
        assert {p.dtype for p in model.parameters() if not p.requires_grad} == {getattr(torch, dtype)}


def count_calls(patch) -> dict[str, int]:
    """How often each pass is used from now on, while `patch` lasts."""
    from lesson.training import passes

    counts = dict.fromkeys(("LoraLinear", "RmsNorm", "SwiGlu", "CausalAttention", "HeadLoss"), 0)

    def count(name: str, original):
        def counted(*arguments):
            counts[name] += 1
            return original(*arguments)

        return counted

    for name in counts:
        function = getattr(passes, name)
        patch.setattr(function, "apply", count(name, function.apply))
    return counts


def test_every_layer_is_computed_by_our_passes(tmp_path, monkeypatch):
    """No LoRA layer, norm, gate or attention of the three families is left to code that was not measured."""
    import torch
    from random_bases import make_base

    from lesson.training.small import SmallFinetune

    ids = torch.randint(5, 2000, (1, 40))
    for base, linears in (("internlm2", 5), ("llama", 7), ("qwen2", 7)):
        model = finetune(SmallFinetune, str(make_base(base, tmp_path / base)), "float32")
        with monkeypatch.context() as patch:
            counts = count_calls(patch)
            model.compute_loss({"input_ids": ids, "labels": ids})
        layers = 2
        assert counts == {
            **{"LoraLinear": layers * linears, "RmsNorm": 2 * layers + 1, "SwiGlu": layers},
            **{"CausalAttention": layers, "HeadLoss": 1},
        }, base
