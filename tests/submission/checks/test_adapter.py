"""The checks of the adapter at their borders, on tensors made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fakes import config_of, evidence_of, fails, passes

from lesson.core.text import shorten
from lesson.submission.checks import adapter
from lesson.submission.checks.adapter import LORA_MATRIX, more_than_lora

# name, inner and outer size of each linear of a layer: of two there is one name
BASE = SimpleNamespace(
    linears=[("wq", 8, 16), ("c_proj", 16, 8), ("c_proj", 32, 8)], head="out", hidden=8, vocabulary=40, layers=2
)


def tensor(name: str, *shape: int) -> SimpleNamespace:
    return SimpleNamespace(name=name, shape=shape, dtype="F16")


def pair(place: str, inner: int, outer: int, rank: int = 4) -> list[SimpleNamespace]:
    prefix = f"base_model.model.model.{place}.lora_"
    return [tensor(prefix + "A.weight", rank, inner), tensor(prefix + "B.weight", outer, rank)]


def matrices() -> list[SimpleNamespace]:
    found = []
    for layer in (0, 1):
        found += pair(f"layers.{layer}.attention.wq", 8, 16)
        found += pair(f"layers.{layer}.attention.c_proj", 16, 8) + pair(f"layers.{layer}.mlp.c_proj", 32, 8)
    return found + pair("out", 8, 40)


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.setattr(adapter, "base_shape", lambda evidence, staff: BASE)

    def evidence(tensors: list, targets: object = None, rank: int = 4) -> SimpleNamespace:
        targets = ["wq", "c_proj", "out"] if targets is None else targets
        return evidence_of(tensors=tensors, adapter_config={"r": rank, "target_modules": targets})

    return evidence


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("base_model.model.model.layers.3.attention.wq.lora_A.weight", ("3", "attention.", "wq", "A")),
        ("model.layers.12.mlp.w1.lora_B.default.weight", ("12", "mlp.", "w1", "B")),
        ("transformer.h.0.attn.c_attn.lora_A.weight", ("0", "attn.", "c_attn", "A")),
        ("output.lora_B.weight", (None, "", "output", "B")),
    ],
)
def test_the_name_of_a_matrix_tells_its_place(name, groups):
    assert LORA_MATRIX.fullmatch(name).groups() == groups
    assert not LORA_MATRIX.fullmatch(name.replace("lora_", "lora_C"))


def test_options_that_make_more_than_lora_are_named():
    assert more_than_lora({}) == more_than_lora({"bias": "none", "use_dora": False, "rank_pattern": {}}) == []
    assert more_than_lora({"use_dora": True, "bias": "all"}) == ["use_dora", "bias"]
    assert more_than_lora({"bias": None}) == ["bias"]


def test_rank_alpha_and_dropout_are_the_configs():
    config = config_of(lora_r=64, lora_alpha=16, lora_dropout=0.1)
    good = {"peft_type": "LORA", "r": 64, "lora_alpha": 16, "lora_dropout": 0.1}
    assert passes(adapter.adapter_config, evidence_of(config=config, adapter_config=good)) == "r = 64, alpha = 16"
    for key, value in {"r": 8, "lora_alpha": 17, "lora_dropout": 0.0, "peft_type": "IA3", "use_rslora": True}.items():
        places = fails(adapter.adapter_config, evidence_of(config=config, adapter_config=good | {key: value}))
        assert len(places) == 1 and places[0].startswith(f"{key} = ")
    passes(adapter.adapter_config, evidence_of(adapter_config=good))  # a config that tells none


def test_an_adapter_has_tensors():
    fails(adapter.adapter_format, evidence_of(tensors=[]), "no tensors")
    assert passes(adapter.adapter_format, evidence_of(tensors=matrices())) == "14 tensors, F16"


def test_matrices_of_every_layer_fit_the_base(judge):
    assert passes(adapter.adapter_shapes, judge(matrices())) == "rank 4, 14 matrices on 2 layers"
    passes(
        adapter.adapter_shapes,
        judge(pair("layers.0.attention.wq", 8, 16) + pair("layers.1.attention.wq", 8, 16), ["wq"]),
    )
    passes(adapter.adapter_shapes, judge(matrices(), "all-linear"))


def changed(index: int, *shape: int) -> list:
    found = matrices()
    found[index] = tensor(found[index].name, *shape)
    return found


@pytest.mark.parametrize(
    ("tensors", "places"),
    [
        (changed(0, 5, 8), ["base_model.model.model.layers.0.attention.wq.lora_A.weight: [5, 8] ≠ [4, 8]"]),
        (changed(1, 16, 5), ["base_model.model.model.layers.0.attention.wq.lora_B.weight: [16, 5] ≠ [16, 4]"]),
        (changed(0, 8, 4), ["base_model.model.model.layers.0.attention.wq.lora_A.weight: [8, 4] ≠ [4, 8]"]),
        (changed(13, 41, 4), ["base_model.model.model.out.lora_B.weight: [41, 4] ≠ [40, 4]"]),
        (matrices()[1:], ["layers.0.wq.lora_A"]),
        (matrices()[:-1], ["layers.-1.out.lora_B"]),
        (matrices() + pair("layers.2.attention.wq", 8, 16), ["layers.2.wq.lora_A", "layers.2.wq.lora_B"]),
        (matrices()[:3] + matrices()[4:], ["layers.0.c_proj.lora_B"]),
        ([*matrices(), tensor("x.weight", 1)], ["x.weight: not a LoRA matrix"]),
    ],
)
def test_a_matrix_that_does_not_fit_is_named(judge, tensors, places):
    assert fails(adapter.adapter_shapes, judge(tensors), f"^{len(places)} do not fit, the first: ") == places


def test_target_modules_are_those_that_are_there(judge):
    assert fails(adapter.adapter_shapes, judge(matrices(), ["wq", "out"])) == ["target_modules: c_proj"]
    assert fails(adapter.adapter_shapes, judge(matrices(), ["wq", "out", "c_proj", "w9"])) == ["target_modules: w9"]
    places = fails(adapter.adapter_shapes, judge(matrices() + pair("layers.0.w9", 8, 8), ["wq", "out", "c_proj", "w9"]))
    assert places == ["w9: not in the base", "w9: not in the base"]


def test_a_base_without_a_head_in_its_adapter(judge, monkeypatch):
    headless = SimpleNamespace(**{**vars(BASE), "head": None})
    monkeypatch.setattr(adapter, "base_shape", lambda evidence, staff: headless)
    passes(adapter.adapter_shapes, judge(matrices()[:-2], ["wq", "c_proj"]))
    fails(adapter.adapter_shapes, judge(matrices()), "out: not in the base")


def values(*found: tuple[str, bool, bool]) -> SimpleNamespace:
    return evidence_of(tensor_values=[(tensor(name), finite, zero) for name, finite, zero in found])


def test_a_trained_adapter_is_finite_and_not_zero():
    a, b, c = ("x.lora_A.weight", True, True), ("x.lora_B.weight", True, False), ("y.lora_B.weight", True, False)
    assert passes(adapter.adapter_finite, values(a, b)) == "all finite"
    assert passes(adapter.adapter_trained, values(a, b, c)) == "2 matrices"
    assert fails(adapter.adapter_finite, values(a, (b[0], False, False))) == [b[0]]
    assert fails(adapter.adapter_trained, values(a, b, (c[0], True, True)), "1 of 2 are zero") == [c[0]]
    fails(adapter.adapter_trained, values(a), "no LoRA B")


@pytest.mark.parametrize("kind", ["AAA", "ZZZ", "lora", None, 5])
def test_an_adapter_is_lora_and_nothing_else(kind):
    given = {"r": 4, "lora_alpha": 8} | ({} if kind is None else {"peft_type": kind})
    assert fails(adapter.adapter_config, evidence_of(adapter_config=given)) == [f"peft_type = {kind}"]


def test_every_matrix_that_is_none_of_lora_is_named_and_the_others_are_judged_on(judge):
    odd = [
        tensor("bias", 8),
        *matrices(),
        tensor("norm", 8),
        tensor("base_model.model.model.layers.0.x.wz.lora_A.weight", 4, 8),
    ]
    places = fails(adapter.adapter_shapes, judge(odd))
    assert places[:3] == ["bias: not a LoRA matrix", "norm: not a LoRA matrix", "wz: not in the base"]
    assert "target_modules: wz" in places


def test_a_matrix_that_fits_none_of_two_is_told_with_the_first(judge):
    found = matrices()
    at = next(n for n, t in enumerate(found) if t.name.endswith("layers.0.attention.c_proj.lora_A.weight"))
    found[at] = tensor(found[at].name, 4, 15)
    places = fails(adapter.adapter_shapes, judge(found))
    assert places == [f"{shorten(found[at].name)}: [4, 15] ≠ [4, 16]"]
