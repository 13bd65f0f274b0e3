"""Profiles: values and edits as data, for every stock config of the supported families."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.config import diff as config_diff
from lesson.config.check import check_config_bytes
from lesson.config.reading import parse_config
from lesson.core.messages import UserError
from lesson.core.settings import OPTIMIZERS, TEMPLATES, TRAINING, Values

if find_spec("xtuner") is None:  # a small install, for checks only
    pytest.skip("XTuner is not installed", allow_module_level=True)
from configs import LESSON
from patched_configs import SUPPORTED, patch, stock

from lesson.config import profiles
from lesson.config.profiles import load_profile
from lesson.config.summary import lookup, summarise_config

# The places that the lesson's edits change, whatever the stock config calls its data set.
LESSON_PLACES = {
    "save_steps",  # the one value of the 7b profile
    *("pretrained_model_name_or_path", "SYSTEM", "evaluation_inputs", "randomness.seed"),
    *("PATH", "DATA.dataset.path", "DATA.dataset.data_files", "DATA.dataset_map_fn", "DATA.map_num_proc"),
}


PLACES = {
    "MAX_LENGTH": {"max_length"},
    "PACK": {"pack_to_max_length"},
    "ACCUM": {"accumulative_counts"},
    "SEQ_PARALLEL": {"sequence_parallel_size"},
    "BATCH": {"batch_size"},
    "WORKERS": {"dataloader_num_workers"},
    "EPOCHS": {"max_epochs"},
    "OPTIM": {"optim_type"},
    "LR": {"lr"},
    "BETAS": {"betas"},
    "WEIGHT_DECAY": {"weight_decay"},
    "MAX_NORM": {"max_norm"},
    "WARMUP": {"warmup_ratio"},
    "SAVE_STEPS": {"save_steps"},
    "SAVE_LIMIT": {"save_total_limit"},
    "PROMPT_TEMPLATE": {"prompt_template"},
    "LORA_R": {"model.lora.r"},
    "LORA_ALPHA": {"model.lora.lora_alpha"},
    "LORA_DROPOUT": {"model.lora.lora_dropout"},
    "DTYPE": {
        *("model.llm.torch_dtype", "model.llm.quantization_config.bnb_4bit_compute_dtype"),
        *("model.llm.quantization_config.bnb_4bit_quant_storage",),
        *("optim_wrapper.type", "optim_wrapper.dtype", "optim_wrapper.loss_scale"),
    },
}


def places(name: str) -> set[str]:
    names = next(n for n in load_profile("7b")["names"] if fnmatchcase(name, n["configs"]))
    return {p.replace("DATA", names["data"]).replace("PATH", names["path"]) for p in LESSON_PLACES}


def changed(before: str, after: str) -> set[str]:
    """The changed places, imports left out: an import alone changes nothing."""
    return {c.path for c in config_diff.list_changes(before, after) if not c.path.startswith("from ")}


def test_all_families_are_there():
    assert len(SUPPORTED) == 54
    assert {n.split("_")[0] for n in SUPPORTED} == {
        "internlm2",
        "qwen",
        "qwen1",
        "llama3",
    }  # 0.2.0 has no InternLM3 QLoRA alpaca
    assert LESSON in SUPPORTED and "internlm2_chat_7b_qlora_alpaca_e3" in SUPPORTED


@pytest.mark.parametrize("name", SUPPORTED)
@pytest.mark.slow
def test_every_supported_config(name):
    source = stock(name)
    result = patch(name)
    extra = {"train_dataloader.dataset"} if "_enzh_" in name else set()
    if "openmind" in name:
        extra = {"alpaca_en.dataset.type", "model_resource"}
    assert changed(source, result) == places(name) | extra
    comments = [line.strip() for line in source.splitlines() if line.strip().startswith("#")]
    left = [line.strip() for line in result.splitlines() if line.strip().startswith("#")]
    assert left == comments or "openmind" in name  # there, a statement goes with the comments inside it
    verdict = check_config_bytes(result.encode(), f"{name}_copy.py")
    assert verdict.findings == []


@pytest.mark.parametrize("name", SUPPORTED[::6])
def test_upstreams_formatter_does_not_matter(name):
    reformatted = ast.unparse(ast.parse(stock(name)))
    assert config_diff.ast_hash(patch(name, source=reformatted)) == config_diff.ast_hash(patch(name))


@pytest.mark.parametrize("name", SUPPORTED[::6])
def test_tiny_profile_fits_all_families(name):
    config_facts = parse_config(patch(name, "tiny").encode(), name)
    summary = summarise_config(config_facts)
    assert summary["optim_wrapper"] == {"ref": "mmengine.optim.OptimWrapper"}
    assert summary["torch_dtype"] == {"ref": "torch.float32"} and summary["loss_scale"] is None
    assert config_facts.get("env_cfg.dist_cfg.backend") == "gloo"


strategies = {
    "MAX_LENGTH": st.integers(32, 2**20),
    "PACK": st.booleans(),
    "ACCUM": st.integers(1, 4096),
    "SEQ_PARALLEL": st.integers(1, 64),
    "BATCH": st.integers(1, 1024),
    "WORKERS": st.integers(0, 64),
    "EPOCHS": st.integers(1, 1000),
    "OPTIM": st.sampled_from(OPTIMIZERS),
    "LR": st.floats(1e-7, 0.1),
    "BETAS": st.tuples(st.floats(0, 0.9999), st.floats(0, 0.9999)),
    "WEIGHT_DECAY": st.floats(0, 1),
    "MAX_NORM": st.floats(0.001, 1000),
    "WARMUP": st.floats(0.001, 0.5),
    "SAVE_STEPS": st.integers(1, 10**6),
    "SAVE_LIMIT": st.just(-1) | st.integers(1, 1000),
    "LORA_R": st.integers(1, 1024),
    "LORA_ALPHA": st.integers(1, 4096),
    "LORA_DROPOUT": st.floats(0, 0.9),
    "DTYPE": st.sampled_from(["float16", "bfloat16", "float32"]),
    "SEED": st.integers(0, 2**32 - 1),
    "PERSONA": st.text(max_size=40).filter(lambda t: "\x00" not in t),
}


def as_text(value: object) -> str:
    """A parameter as a user types it."""
    if isinstance(value, bool):
        return str(int(value))
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(SUPPORTED), st.fixed_dictionaries({}, optional=strategies))
@pytest.mark.slow
def test_every_combination_within_range(data, name, parameters):
    source = stock(name)
    if "sequence_parallel_size" not in source:
        parameters.pop("SEQ_PARALLEL", None)
    result = patch(name, **parameters)
    by_name = {s.name: s for s in TRAINING}
    for key, value in parameters.items():
        if key in by_name:  # what is patched in is what a user can type
            assert by_name[key].parse(as_text(value)) == value
    allowed = places(name).union(*(PLACES.get(key, set()) for key in parameters))
    allowed |= {"train_dataloader.dataset", "alpaca_en.dataset.type", "model_resource"}
    assert changed(source, result) <= allowed
    verdict = check_config_bytes(result.encode("utf-8", "surrogatepass"), f"{name}_copy.py")
    assert [f for f in verdict.findings if f.severity == "error"] == []
    summary = summarise_config(verdict.config)
    said = {"MAX_LENGTH": "max_length", "BATCH": "batch_size", "LR": "lr", "LORA_R": "lora_r", "SEED": "seed"}
    for key, value in parameters.items():
        if key in said:
            assert summary[said[key]] == value
    if "PERSONA" in parameters:
        assert summary["system"] == parameters["PERSONA"]
    parallel = lookup(verdict.config, "sequence_parallel_size")[0] or 1
    if "ACCUM" in parameters:
        assert summary["accumulative_counts"] == parameters["ACCUM"] * parallel


@pytest.mark.parametrize("template", TEMPLATES)
def test_prompt_template(template):
    result = summarise_config(parse_config(patch(LESSON, PROMPT_TEMPLATE=template).encode(), "x"))
    assert result["template"] == {"ref": f"xtuner.utils.PROMPT_TEMPLATE.{template}"}


def test_bfloat16_is_one_decision_in_all_places():
    result = patch("qwen1_5_110b_qlora_alpaca_e3", DTYPE="bfloat16")
    assert "float16" not in result.replace("bfloat16", "")
    assert "loss_scale=dict(enabled=False)" in result


def test_absent_parameter_is_named():
    name = "internlm_7b_qlora_alpaca_e3"  # of the first generation: not supported, and without sequence parallelism
    with pytest.raises(UserError, match=r"SEQ_PARALLEL.*sequence_parallel_size"):
        patch(name, SEQ_PARALLEL=2)


def test_dollars_in_a_value_stay():
    result = patch(LESSON, PERSONA="$LR $path $$DTYPE '\"\\ \n")
    assert summarise_config(parse_config(result.encode(), "x"))["system"] == "$LR $path $$DTYPE '\"\\ \n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x =", "TOML"),
        ("[parameters]\nLR = 5\n", "not accepted"),
        ("[parameters]\nNAME = 5\n", "NAME"),
        ("[[edit]]\nname = 'e'\nvalue = '1'\n", "target"),
        ("[[edit]]\nname = 'e'\ntarget = 'a b'\nvalue = '1'\n", "does not match"),
        ("more = 1\n", "more"),
    ],
)
def test_broken_profile_is_one_line(tmp_path, monkeypatch, text, problem):
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    (tmp_path / "broken.toml").write_text(text)
    with pytest.raises(UserError, match=problem):
        load_profile("broken")


@pytest.mark.parametrize("profile", ["small", "small_fast"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("quantised", ["none", "nf4"])
def test_small_has_no_finding_but_of_files_that_are_not_there(profile, dtype, quantised):
    text = patch("qwen1_5_0_5b_chat_qlora_alpaca_e3", profile, DTYPE=dtype, QUANT=quantised)
    rules = {finding.rule for finding in check_config_bytes(text.encode(), "c.py").findings}
    assert rules <= {"data-missing"}
    assert "AmpOptimWrapper" not in str(lookup(parse_config(text.encode(), "x"), "optim_wrapper")[0])
    assert ("SmallFinetune" in text) == (profile == "small_fast")


@pytest.mark.parametrize("kind", ["fp8", "int8", "bfloat16"])
def test_a_base_in_8_bits_is_said_in_the_config_of_small(kind):
    text = patch("qwen1_5_0_5b_chat_qlora_alpaca_e3", "small_fast", DTYPE="bfloat16", QUANT="none", BASE_DTYPE=kind)
    assert {finding.rule for finding in check_config_bytes(text.encode(), "c.py").findings} <= {"data-missing"}
    assert (f"base_dtype='{kind}'" in text) == (kind != "bfloat16")


@pytest.mark.parametrize(("profile", "fast"), [("tiny", "stock"), ("small", "fast"), ("7b", "stock")])
def test_small_is_fast_unless_it_is_told_not_to_be(profile, fast):
    assert Values({}, {"PROFILE": profile}).speed == fast
    assert Values({"SPEED": "stock"}, {"PROFILE": profile}).speed == "stock"


def test_small_trains_in_float32_where_nothing_multiplies_bfloat16(monkeypatch):
    for able, dtype in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(profiles, "multiplies_bfloat16", lambda able=able: able)
        assert profiles.training_parameters(Values({}, {"PROFILE": "small"}))["DTYPE"] == dtype
        given = Values({"DTYPE": "bfloat16"}, {"PROFILE": "small"})
        assert profiles.training_parameters(given)["DTYPE"] == "bfloat16"
