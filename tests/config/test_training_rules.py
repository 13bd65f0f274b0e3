"""The borders of the rules of training: the last value that is fine, and the first that is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from configs import DONE, measured

from lesson.config.context import ConfigContext
from lesson.config.parsed import ParsedConfig
from lesson.config.reading import parse_config
from lesson.config.rules import FEWEST_STEPS
from lesson.config.schedule import Schedule, plan_schedule
from lesson.config.training_rules import _advise_steps, check_steps, check_training

CONTEXT = ConfigContext(files=False, flash_attn=True)


def config(**values: object) -> ParsedConfig:
    """The lesson's config with some statements replaced."""
    source = DONE
    for name, value in values.items():
        [line] = [line for line in DONE.splitlines() if line.startswith(f"{name} = ")]
        source = source.replace(line, f"{name} = {value}")
    return parse_config(source.encode(), "x.py")


def edited(old: str, new: str) -> ParsedConfig:
    assert old in DONE, old
    return parse_config(DONE.replace(old, new).encode(), "x.py")


def broken(parsed: ParsedConfig, data=None, context: ConfigContext = CONTEXT) -> list[str]:
    return [violation[0] for violation in check_training(parsed, data, context)]


@pytest.mark.parametrize(
    ("rule", "fine", "wrong"),
    [
        ("lr", config(lr=1e-6), config(lr=0.99e-6)),
        ("lr", config(lr=2e-3), config(lr=2.01e-3)),
        ("lora", edited("lora_alpha=16", "lora_alpha=512"), edited("lora_alpha=16", "lora_alpha=513")),
        ("lora", edited("lora_alpha=16", "lora_alpha=4"), edited("lora_alpha=16", "lora_alpha=3.99")),
        ("lora", edited("lora_dropout=0.1", "lora_dropout=0.499"), edited("lora_dropout=0.1", "lora_dropout=0.5")),
        ("lora", edited("lora_dropout=0.1", "lora_dropout=0"), edited("lora_dropout=0.1", "lora_dropout=-0.001")),
        ("lora", edited("        r=64", "        r=2"), edited("        r=64", "        r=0")),
        ("lora", edited("        r=64", "        r=256"), edited("        r=64", "        r=1025")),
        ("seed", edited("seed=42", "seed=0"), edited("seed=42", "seed=None")),
    ],
)  # fmt: skip
def test_values_have_borders(rule, fine, wrong):
    assert broken(fine) == [] and broken(wrong) == [rule]


def test_a_rate_is_judged_for_lora_only():
    whole = DONE.replace("lr = 2e-4", "lr = 0.05")
    assert broken(parse_config(whole.encode(), "x")) == ["lr"]
    start = whole.index("    lora=dict(")
    end = whole.index("    ),\n", start) + len("    ),\n")
    assert broken(parse_config((whole[:start] + whole[end:]).encode(), "x")) == []


@pytest.mark.parametrize(
    ("batch", "pack", "flash", "found"),
    [
        (1, True, True, []),
        (1, True, None, []),
        (1, True, False, ["varlen"]),
        (2, True, True, ["varlen"]),
        (1, False, True, ["varlen"]),
    ],
)
def test_varlen_needs_flash_attn_packing_and_a_batch_of_one(batch, pack, flash, found):
    parsed = config(use_varlen_attn=True, batch_size=batch, pack_to_max_length=pack)
    assert broken(parsed, context=ConfigContext(files=False, flash_attn=flash)) == found
    off = config(use_varlen_attn=False, batch_size=batch, pack_to_max_length=pack)
    assert broken(off, context=ConfigContext(files=False, flash_attn=flash)) == []


@pytest.mark.parametrize(
    ("parallel", "deepspeed", "found"), [(2, "none", 1), (1, "none", 0), (2, None, 0), (2, "deepspeed_zero2", 0)]
)
def test_sequence_parallelism_needs_deepspeed(parallel, deepspeed, found):
    parsed = config(sequence_parallel_size=parallel)
    assert broken(parsed, context=ConfigContext(files=False, deepspeed=deepspeed)) == ["sequence-parallel"] * found


@pytest.mark.parametrize(
    ("weights", "autocast", "scale", "found"),
    [
        ("float16", "float16", "'dynamic'", []),
        ("bfloat16", "bfloat16", "dict(enabled=False)", []),
        ("bfloat16", "bfloat16", "'dynamic'", ["loss-scale"]),
        ("bfloat16", "bfloat16", "dict(enabled=True)", ["loss-scale"]),
        ("float16", "bfloat16", "dict(enabled=False)", ["dtype-mixed"]),
        ("bfloat16", "float16", "'dynamic'", ["loss-scale", "dtype-mixed"]),
    ],
)
def test_formats_of_numbers(weights, autocast, scale, found):
    source = DONE.replace("torch_dtype=torch.float16", f"torch_dtype=torch.{weights}")
    source = source.replace('dtype="float16"', f"dtype='{autocast}'").replace(
        'loss_scale="dynamic"', f"loss_scale={scale}"
    )
    assert broken(parse_config(source.encode(), "x.py")) == found


def test_rows_are_cut_above_max_length_and_not_at_it():
    assert broken(config(max_length=100), measured([100, 50])) == []
    assert broken(config(max_length=99), measured([100, 50])) == ["max-length"]
    assert broken(config(max_length=100), measured([200, 50], prompt=100)) == ["question-long"]
    assert broken(config(max_length=101), measured([200, 50], prompt=100)) == ["max-length"]
    assert broken(config(max_length=100), measured([200, 150, 50], prompt=99)) == ["max-length"]
    assert broken(config(max_length=20), measured([200, 150])) == ["nothing-left"]


def planned(rows: int, **values: int) -> Schedule:
    given = {"max_length": 100, "pack": False, "batch": 1, "accumulate": 1, "epochs": 1, "warmup_ratio": 0.05} | values
    return plan_schedule(measured([60] * rows), **given)


def steps(parsed: ParsedConfig, plan: Schedule | None) -> dict[str, str | None]:
    return {violation.rule: violation.advice for violation in check_steps(parsed, plan)}


def test_few_steps_begin_below_the_table():
    fine, few = planned(FEWEST_STEPS, warmup_ratio=0.2), planned(FEWEST_STEPS - 1, warmup_ratio=0.2)
    parsed = config(warmup_ratio=0.2, save_steps=1, accumulative_counts=1)
    assert steps(parsed, fine) == {} and steps(parsed, few).keys() == {"few-steps"}
    assert steps(parsed, None) == {}


@pytest.mark.parametrize(
    ("ratio", "rule"),
    [(0.5, "warmup-long"), (0.499, None), (0.9, "warmup-long"), (0, "warmup-empty"), (-0.1, "warmup-empty"), (0.009, "warmup-empty"), (0.01, "warmup-one"), (0.019, "warmup-one"), (0.02, None)],
)  # fmt: skip
def test_a_warm_up_of_two_iterations_is_the_first_that_is_fine(ratio, rule):
    plan = planned(100, warmup_ratio=ratio)
    assert list(steps(config(warmup_ratio=ratio, save_steps=1), plan)) == ([rule] if rule else [])


def test_what_is_said_of_an_empty_warm_up():
    [known] = check_steps(config(warmup_ratio=0.009, save_steps=1), planned(100, warmup_ratio=0.009))
    assert known.found == "warmup_ratio = 0.009, 100 × 0.009 < 1"
    [unknown] = check_steps(config(warmup_ratio=0), None)
    assert (unknown.found, unknown.advice) == ("warmup_ratio = 0", None)


def test_a_checkpoint_is_late_after_the_last_iteration():
    plan = planned(100)
    assert steps(config(warmup_ratio=0.05, save_steps=100), plan) == {}
    assert steps(config(warmup_ratio=0.05, save_steps=101), plan) == {"save-late": "SAVE_STEPS=50"}
    assert steps(config(warmup_ratio=0.5, save_steps=2), planned(1, warmup_ratio=0.5))["save-late"] == "SAVE_STEPS=1"


@pytest.mark.parametrize(
    ("rows", "accumulate", "advice"),
    [
        (960, 64, "ACCUM=16 gives 60 updates"),
        (959, 64, "ACCUM=16 gives 60 updates"),
        (944, 64, "ACCUM=8 gives 118 updates"),
        (59, 16, "ACCUM=1 gives 59 updates"),
        (20, 16, "ACCUM=1 gives 20 updates"),
        (19, 16, "ACCUM=1 EPOCHS=4 gives 76 updates, or bring more rows"),
        (10, 1, "EPOCHS=6 gives 60 updates, or bring more rows"),
    ],
)
def test_values_with_which_the_optimizer_moves_often_enough(rows, accumulate, advice):
    plan = planned(rows, accumulate=accumulate, warmup_ratio=0.3)
    assert plan.optimizer_steps < FEWEST_STEPS
    parsed = config(accumulative_counts=accumulate, warmup_ratio=0.3, save_steps=1)
    assert steps(parsed, plan)["few-steps"] == advice


def test_values_that_make_a_warm_up():
    assert (
        steps(config(warmup_ratio=0.001, save_steps=1), planned(100, warmup_ratio=0.001))["warmup-empty"]
        == "WARMUP=0.05 gives 5 steps"
    )
    assert (
        steps(config(warmup_ratio=0.001, save_steps=1), planned(30, warmup_ratio=0.001))["warmup-empty"]
        == "WARMUP=0.07 gives 2 steps"
    )
    few = steps(config(warmup_ratio=0.01, save_steps=1), planned(3, warmup_ratio=0.01))
    assert few["warmup-empty"] == "EPOCHS=14 WARMUP=0.05 gives 2 steps"


def test_lora_s_rank_may_be_a_thousand_and_one():
    for rank, alpha, found in (
        (1, 8, []),
        (1024, 64, []),
        (1024, 63, ["lora"]),
        (1025, 2000, ["lora"]),
        (0, 0, ["lora"]),
    ):
        source = DONE.replace("        r=64", f"        r={rank}").replace("lora_alpha=16", f"lora_alpha={alpha}")
        assert broken(parse_config(source.encode(), "x.py")) == found, (rank, alpha)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("lr = 2e-4", "lr = 0.5", ("lr", 54, "lr = 0.5")),
        ("        r=64", "        r=2000", ("lora", 100, "r = 2000")),
        ("lora_alpha=16", "lora_alpha=1", ("lora", 101, "lora_alpha / r = 1 / 64")),
        ("lora_dropout=0.1", "lora_dropout=0.75", ("lora", 102, "lora_dropout = 0.75")),
        ("randomness = dict(seed=42", "randomness = dict(seed=None", ("seed", 231, "randomness.seed = None")),
        ("sequence_parallel_size = 1", "sequence_parallel_size = 4", ("sequence-parallel", 45, "sequence_parallel_size = 4")),
        ("use_varlen_attn = False", "use_varlen_attn = True", ("varlen", 36, "use_varlen_attn = True, flash-attn not installed, batch_size = 1, pack = True")),
        ("torch_dtype=torch.float16", "torch_dtype=torch.bfloat16", ("loss-scale", 142, "loss_scale='dynamic'")),
        ('    loss_scale="dynamic",\n    dtype="float16"', '    dtype="bfloat16"', ("loss-scale", 137, "loss_scale='dynamic'")),
        ('    loss_scale="dynamic",\n    dtype="float16"', '    loss_scale=dict(enabled=False),\n    dtype="bfloat16"', ("dtype-mixed", 143, "torch_dtype=float16, dtype=bfloat16")),
    ],
)  # fmt: skip
def test_what_is_found_stands_at_its_line(old, new, found):
    context = ConfigContext(files=False, flash_attn=False, deepspeed="none")
    given = [tuple(violation)[:3] for violation in check_training(edited(old, new), None, context)]
    assert found in given and len(given) <= 2


def test_without_autocast_no_format_is_judged():
    source = DONE.replace("AmpOptimWrapper", "OptimWrapper").replace('dtype="float16"', 'dtype="bfloat16"')
    assert broken(parse_config(source.encode(), "x.py")) == []
    text = DONE.replace("type=AmpOptimWrapper", "type='AmpOptimWrapper'").replace('dtype="float16"', 'dtype="bfloat16"')
    assert broken(parse_config(text.encode(), "x.py")) == ["loss-scale", "dtype-mixed"]


def test_what_is_said_of_rows_that_are_cut():
    def said(longest: int, data) -> list[tuple]:
        return [tuple(v) for v in check_training(config(max_length=longest), data, CONTEXT)]

    file = "/root/lesson/data/assistant_Tuner_change.jsonl:1"
    keep = "MAX_LENGTH=256 keeps them, or shorten them"
    assert said(100, measured([200, 150, 50], prompt=120)) == [
        ("question-long", 41, f"100 < 200 ({file}): 2 of 3 rows are left out", keep)
    ]
    both = measured([200, 150, 300], prompt=120)
    both = replace(both, prompts=(120, 10, 10), exact=False)
    keep = "MAX_LENGTH=320 keeps them, or shorten them"
    assert said(100, both) == [
        ("question-long", 41, f"100 < about 300 ({file}): 1 of 3 rows are left out", keep),
        ("max-length", 41, f"100 < about 300 ({file}): 2 of 3 rows are cut", keep),
    ]
    assert said(20, measured([300, 200])) == [("nothing-left", 41, f"20 < 300 ({file})", keep)]
    assert said(-5, measured([300, 200])) == said(0, measured([300, 200])) == []


def test_what_is_said_of_few_steps_and_of_a_late_checkpoint():
    plan = planned(10, accumulate=2, batch=1, warmup_ratio=0.3)
    found = [tuple(v) for v in check_steps(config(accumulative_counts=2, warmup_ratio=0.3, save_steps=11), plan)]
    assert found == [
        ("few-steps", 50, "10 samples, batch 2, 5 steps", "ACCUM=1 EPOCHS=6 gives 60 updates, or bring more rows"),
        ("save-late", 61, "save_steps = 11 > 10", "SAVE_STEPS=5"),
    ]
    found = [tuple(v) for v in check_steps(config(warmup_ratio=0.01, save_steps=1), planned(100, warmup_ratio=0.01))]
    assert found == [("warmup-one", 58, "warmup_ratio = 0.01, 100 iterations", "WARMUP=0.05 gives 5 steps")]
    found = [tuple(v) for v in check_steps(config(warmup_ratio=0.75), None)]
    assert found == [("warmup-long", 58, "warmup_ratio = 0.75", None)]


@pytest.mark.parametrize(
    ("iterations", "accumulate", "advice"),
    [(480, 64, "ACCUM=8 gives 60 updates"), (472, 64, "ACCUM=4 gives 118 updates"), (240, 32, "ACCUM=4 gives 60 updates"), (236, 32, "ACCUM=2 gives 118 updates"), (120, 16, "ACCUM=2 gives 60 updates"), (118, 16, "ACCUM=1 gives 118 updates"), (60, 16, "ACCUM=1 gives 60 updates"), (120, 8, "ACCUM=2 gives 60 updates")],
)  # fmt: skip
def test_the_largest_sum_that_leaves_enough_updates(iterations, accumulate, advice):
    assert _advise_steps(planned(iterations, accumulate=accumulate), accumulate) == advice
