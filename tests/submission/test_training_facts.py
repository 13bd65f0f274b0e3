"""The figures of a submitted config as this recipe's settings, and what is no figure that it trains with."""

from __future__ import annotations

import pytest
from configs import DONE
from fakes import evidence_of

from lesson.config.reading import parse_config
from lesson.core.settings import SETTINGS
from lesson.submission.registry import Unjudged
from lesson.submission.training_facts import (
    ALSO_EQUAL,
    FIGURES,
    LONGEST_FIGURE,
    _stock_name,
    compared_figures,
    read_figures,
    read_settings,
)

LESSON = SETTINGS["BASE_CONFIG"].default


def evidence(source: str = DONE, **given):
    config = parse_config(source.encode(), "c.py")
    return evidence_of(**({"config": config, "profile": "7b", "parts": {"config": "my/c.py"}} | given))


def settings(source: str = DONE, **given) -> dict[str, str]:
    return read_settings(evidence(source, **given))


def test_the_lesson_s_figures_become_settings():
    found = settings()
    wanted = {"PROFILE": "7b", "MAX_LENGTH": "2048", "PACK": "1", "ACCUM": "16", "BATCH": "1", "SEQ_PARALLEL": "1"}
    wanted |= {"WORKERS": "0", "EPOCHS": "3", "OPTIM": "AdamW", "LR": "0.0002", "BETAS": "0.9,0.999", "SEED": "42"}
    wanted |= {"WEIGHT_DECAY": "0", "MAX_NORM": "1", "WARMUP": "0.03", "SAVE_STEPS": "500", "DTYPE": "float16"}
    wanted |= {"LORA_R": "64", "LORA_ALPHA": "16", "LORA_DROPOUT": "0.1", "PROMPT_TEMPLATE": "internlm2_chat"}
    assert found == wanted | {"BASE_CONFIG": LESSON, "SPEED": "stock", "DEEPSPEED": "none"}
    assert settings(DONE.replace("pack_to_max_length = True", "pack_to_max_length = False"))["PACK"] == "0"


def test_a_config_without_a_seed_is_repeated_by_no_training():
    with pytest.raises(Unjudged, match="the config gives no seed"):
        settings(DONE.replace("seed=42", "seed=None"))
    without = settings(DONE.replace("    clip_grad=dict(max_norm=max_norm, error_if_nonfinite=False),\n", ""))
    assert "MAX_NORM" not in without


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("max_length = 2048", "max_length = -1", "MAX_LENGTH=-1"),
        ("max_length = 2048", "max_length = '" + "9" * 41 + "'", "MAX_LENGTH=9"),
        ("lr = 2e-4", "lr = 'fast'", "LR=fast"),
        ("optim_type = AdamW", "optim_type = LoraConfig", "OPTIM=LoraConfig"),
        ("torch_dtype=torch.float16", "torch_dtype=torch.float64", "DTYPE=float64"),
    ],
)
def test_a_figure_that_no_setting_takes_is_not_judged(old, new, shown):
    assert old in DONE
    with pytest.raises(Unjudged, match=f"this recipe does not train with {shown}"):
        settings(DONE.replace(old, new))


def test_a_figure_has_at_most_forty_characters():
    assert LONGEST_FIGURE == 40
    assert float(settings(DONE.replace("lr = 2e-4", f"lr = '{'2e-4':0>40}'"))["LR"]) == 2e-4
    with pytest.raises(Unjudged):
        settings(DONE.replace("lr = 2e-4", f"lr = '{'2e-4':0>41}'"))


@pytest.mark.parametrize(
    ("record", "source", "expected"),
    [
        (None, "", ("stock", "none")),
        (None, "import recipe.fast\n", ("fast", "none")),
        (None, "from lesson.training import x\n", ("fast", "none")),
        (None, "import prelesson.fast\n", ("stock", "none")),
        ({"speed": "stock", "deepspeed": None}, "import recipe.fast\n", ("stock", "none")),
        ({"speed": "fast", "deepspeed": "deepspeed_zero2"}, "", ("fast", "deepspeed_zero2")),
        ({"deepspeed": "deepspeed_zero3_offload"}, "", ("stock", "deepspeed_zero3_offload")),
        ({"deepspeed": "deepspeed_zero4"}, "", ("stock", "none")),
        ({"deepspeed": "deepspeed_zero2; rm"}, "", ("stock", "none")),
    ],
)
def test_speed_and_deepspeed_are_the_record_s(record, source, expected):
    found = settings(source + DONE, sound_record=record)
    assert (found["SPEED"], found["DEEPSPEED"]) == expected


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a/qwen1_5_0_5b_chat_qlora_alpaca_e3_copy.py", "qwen1_5_0_5b_chat_qlora_alpaca_e3"),
        ("internlm2_5_chat_7b_qlora_alpaca_e3.py", "internlm2_5_chat_7b_qlora_alpaca_e3"),
        ("llama3_8b_instruct_qlora_alpaca_e3", "llama3_8b_instruct_qlora_alpaca_e3"),
        ("qwen_e3", LESSON),
        ("qwen_chat_e3; rm", LESSON),
        ("config.py", LESSON),
        ("", LESSON),
        ("mistral_7b_qlora_alpaca_e3.py", LESSON),
    ],
)
def test_the_stock_config_is_told_by_the_file_s_name(file, name):
    assert _stock_name(file, "7b") == name
    assert settings(parts={"config": file or "c.py"})["BASE_CONFIG"] == name
    assert settings(sound_record={"config": file})["BASE_CONFIG"] == name


def test_what_decides_the_losses_is_compared():
    figures = read_figures(evidence())
    assert set(figures) == {*FIGURES.values(), *ALSO_EQUAL} and figures["lr"] == 2e-4
    assert compared_figures({})["lr"] is None
