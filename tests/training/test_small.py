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


def group_of(weights, biases, low_ranks, scale: float):
    from torch.nn import Parameter

    from lesson.training.passes import LoraGroup, Member

    members = [
        Member(Parameter(weight.detach().clone(), requires_grad=False), bias, Parameter(a), Parameter(b), scale)
        for weight, bias, (a, b) in zip(weights, biases, low_ranks, strict=True)
    ]
    return LoraGroup(members)


def test_lora_layers_of_one_input_are_autograds():
    """Of one layer and of three, with and without bias; the frozen weights stay what they were."""
    import torch
    from torch.nn.functional import linear

    from lesson.training.passes import LoraLinears

    for outputs in ((7,), (7, 4, 5)):
        weights = [random(out, 6, grad=False) for out in outputs]
        low_ranks = [(random(3, 6, grad=False), random(out, 3, grad=False)) for out in outputs]
        for biases in ([random(out, grad=False) for out in outputs], [None] * len(outputs)):
            group = group_of(weights, biases, low_ranks, 0.25)

            def ours(x, *parameters, group=group):
                for parameter, value in zip(group.parameters, parameters, strict=True):
                    parameter.data = value.detach()
                return torch.cat(LoraLinears.apply(x, group, 0.0, *parameters), -1)

            def reference(x, *parameters, weights=weights, biases=biases):
                pairs = zip(parameters[::2], parameters[1::2], strict=True)
                return torch.cat(
                    [
                        linear(x, w, bias) + 0.25 * linear(linear(x, a), b)
                        for w, bias, (a, b) in zip(weights, biases, pairs, strict=True)
                    ],
                    -1,
                )

            parameters = [value.clone().requires_grad_() for pair in low_ranks for value in pair]
            assert_same(ours, reference, random(2, 5, 6), *parameters)
            for member, weight in zip(group.members, weights, strict=True):
                assert torch.equal(member.weight, weight)


def test_dropout_drops_the_same_values_in_both_passes():
    """With A and B of ones, the gradient by x is 1/(1-p) times the output's where the value was kept, and 0 elsewhere."""
    import torch

    from lesson.training.passes import LoraLinears

    x = torch.ones(64, 32).requires_grad_()
    group = group_of([torch.zeros(32, 32)] * 2, [None] * 2, [(torch.eye(32), torch.eye(32))] * 2, 1.0)
    outs = LoraLinears.apply(x, group, 0.25, *group.parameters)
    torch.stack(outs).sum().backward()
    torch.testing.assert_close(x.grad, sum(outs).detach())
    assert not torch.equal(*outs)  # each layer drops values of its own
    for out, a in zip(outs, group.parameters[::2], strict=True):
        assert out.unique().tolist() == pytest.approx([0, 4 / 3])
        assert 0.2 < (out == 0).float().mean() < 0.3
        torch.testing.assert_close(a.grad.mean(0), out.detach().sum(0))  # x where it was kept


def test_norm_and_mlp_are_autograds():
    import torch
    from torch.nn.functional import linear, silu

    from lesson.training.passes import GatedMlp, RmsNorm

    def norm(x, weight):
        return weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)

    assert_same(lambda x, w: RmsNorm.apply(x, w, 1e-5), norm, random(2, 5, 8), random(8, grad=False))
    shapes = ((9, 8), (9, 8), (8, 9))
    weights = [random(*shape, grad=False) for shape in shapes]
    low_ranks = [(random(3, inside, grad=False), random(out, 3, grad=False)) for out, inside in shapes]
    both, down = (
        group_of(weights[part], [None] * n, low_ranks[part], 0.5) for part, n in ((slice(2), 2), (slice(2, 3), 1))
    )

    def ours(x, *parameters):
        for parameter, value in zip([*both.parameters, *down.parameters], parameters, strict=True):
            parameter.data = value.detach()
        return GatedMlp.apply(x, both, down, 0.0, *parameters)

    def reference(x, *parameters):
        layers = zip(weights, parameters[::2], parameters[1::2], strict=True)
        gate, up, out = (lambda x, w=w, a=a, b=b: linear(x, w) + 0.5 * linear(linear(x, a), b) for w, a, b in layers)
        return out(silu(gate(x)) * up(x))

    parameters = [value.clone().requires_grad_() for pair in low_ranks for value in pair]
    assert_same(ours, reference, random(2, 5, 8), *parameters)


@pytest.mark.parametrize("length", [1, 7, 256, 300])
@pytest.mark.parametrize("heads", [4, 2, 1])
def test_attention_is_autograds(length, heads):
    """With as many heads of keys as of queries, and with fewer."""
    from torch.nn.functional import scaled_dot_product_attention

    from lesson.training.passes import CausalAttention

    shapes = [random(2, count, length, 16) for count in (4, heads, heads)]
    assert_same(
        lambda q, k, v: CausalAttention.apply(q, k, v, 0.3),
        lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3, enable_gqa=True),
        *shapes,
    )


def test_rotary_positions_are_transformers():
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    from lesson.training.passes import rotate

    cos, sin = random(1, 5, 8, grad=False), random(1, 5, 8, grad=False)
    for which in (0, 1):
        assert_same(
            lambda q, k, which=which: rotate(q.transpose(1, 2), k.transpose(1, 2), cos, sin)[which],
            lambda q, k, which=which: apply_rotary_pos_emb(q.transpose(1, 2), k.transpose(1, 2), cos, sin)[which],
            *(random(2, 5, 4, 8, grad=at == which) for at in (0, 1)),
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


def finetune(kind, folder: str, dtype: str, dropout: float = 0.0, **more):
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
    model = kind(llm=llm, lora=LoraConfig(r=8, lora_alpha=8, lora_dropout=dropout, task_type="CAUSAL_LM"), **more)
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

    counts = dict.fromkeys(("LoraLinears", "GatedMlp", "RmsNorm", "Rotary", "CausalAttention", "HeadLoss"), 0)

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
    for base in ("internlm2", "llama", "qwen2"):
        model = finetune(SmallFinetune, str(make_base(base, tmp_path / base)), "float32")
        with monkeypatch.context() as patch:
            counts = count_calls(patch)
            model.compute_loss({"input_ids": ids, "labels": ids})
        layers = 2
        assert counts == {
            **{"LoraLinears": 2 * layers, "GatedMlp": layers, "RmsNorm": 2 * layers + 1},
            **{"Rotary": 0 if base == "internlm2" else 2 * layers, "CausalAttention": layers, "HeadLoss": 1},
        }, base


@pytest.mark.gpu
@pytest.mark.parametrize("base", ["internlm2", "llama", "qwen2"])
def test_on_a_gpu_a_step_is_that_of_fast(base, tmp_path):
    """Loss and gradients are those of the passes written out in torch, to the rounding of sums in another order."""
    import torch
    from random_bases import make_base

    from lesson.training.small import SmallFinetune

    sizes = {"hidden_size": 256, "intermediate_size": 448}
    model = finetune(SmallFinetune, str(make_base(base, tmp_path / "base", **sizes)), "float32").cuda()
    ids = torch.randint(5, 2000, (1, 64), device="cuda")
    seen = {}
    for name in ("fast", "passes", "fast again"):
        if name == "passes":
            fast_pass, model.__dict__["fast_pass"] = model.fast_pass, None
        elif name == "fast again":
            model.__dict__["fast_pass"] = fast_pass
        model.zero_grad()
        loss = model.compute_loss({"input_ids": ids, "labels": ids})["loss"]
        loss.backward()
        seen[name] = loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    assert list(fast_pass.graphs) == [ids.shape] and fast_pass.graphs[ids.shape]  # captured at the second step
    for name in ("passes", "fast again"):
        assert seen[name][0] == pytest.approx(seen["fast"][0], rel=1e-5)
        for key, gradient in seen["fast"][1].items():
            assert (seen[name][1][key] - gradient).norm() <= 1e-4 * gradient.norm(), (name, key)


@pytest.mark.gpu
@pytest.mark.parametrize("base_dtype", ["fp8", "int8"])
def test_a_base_in_8_bits_is_so_before_its_weights_are_counted(base_dtype, tmp_path):
    import torch
    from random_bases import make_base

    from lesson.training.small import SmallFinetune
    from lesson.training.weights import take_census

    sizes = {"hidden_size": 256, "intermediate_size": 448}
    path = str(make_base("qwen2", tmp_path / "base", **sizes))
    model = finetune(SmallFinetune, path, "bfloat16", base_dtype=base_dtype).cuda()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    model.prepare_weights()
    counted = take_census(model)
    ids = torch.randint(5, 2000, (1, 64), device="cuda")
    for _ in range(2):
        model.compute_loss({"input_ids": ids, "labels": ids})["loss"].backward()
    assert take_census(model) == counted


def test_a_base_that_fast_does_not_compute_keeps_the_passes(tmp_path):
    from random_bases import make_base

    from lesson.training.small import SmallFinetune

    model = finetune(SmallFinetune, str(make_base("qwen2", tmp_path / "base", attention_dropout=0.1)), "float32")
    assert model.fast_pass is None
