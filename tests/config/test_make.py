"""make config: edits on the syntax tree, profiles as data, goldens; every stock config of the supported families."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from fnmatch import fnmatchcase
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.config import diff as config_diff
from lesson.config.check import check_config_bytes
from lesson.config.reading import parse_config, read_config
from lesson.core.files import record_path
from lesson.core.messages import UserError
from lesson.core.settings import OPTIMIZERS, ROOT, TEMPLATES, TRAINING, Values

if find_spec("xtuner") is None:  # a small install, for checks only
    pytest.skip("XTuner is not installed", allow_module_level=True)
from lesson.config import (
    edits,
    golden,  # they need libcst
    profiles,
)
from lesson.config.drift import default_values, list_stock_changes
from lesson.config.parsed import as_json
from lesson.config.profiles import load_profile, patch_config
from lesson.config.stock import is_supported, stock_config, stock_configs
from lesson.config.summary import lookup, summarise_config, summary_of
from lesson.core.layout import config_file
from recipe import config

SUPPORTED = [name for name in stock_configs() if is_supported(name)]
LESSON = "internlm2_5_chat_7b_qlora_alpaca_e3"
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


def stock(name: str) -> str:
    return stock_config(name).read_text(encoding="utf-8")


def patch(name: str, profile: str = "7b", source: str | None = None, **parameters: object) -> str:
    values = default_values(profile) | parameters
    return patch_config(name, source or stock(name), load_profile(profile), values)


def places(name: str) -> set[str]:
    names = next(n for n in load_profile("7b")["names"] if fnmatchcase(name, n["configs"]))
    return {p.replace("DATA", names["data"]).replace("PATH", names["path"]) for p in LESSON_PLACES}


def changed(before: str, after: str) -> set[str]:
    """The changed places, imports left out: an import alone changes nothing."""
    return {c.path for c in config_diff.list_changes(before, after) if not c.path.startswith("from ")}


def test_all_families_are_there():
    assert len(SUPPORTED) == 53
    assert {n.split("_")[0] for n in SUPPORTED} == {"internlm2", "qwen", "qwen1"}  # 0.2.0 has no InternLM3 QLoRA alpaca
    assert LESSON in SUPPORTED and "internlm2_chat_7b_qlora_alpaca_e3" in SUPPORTED


@pytest.mark.parametrize("name", SUPPORTED)
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


@pytest.mark.parametrize("kind", golden.KINDS)
def test_goldens_are_current(kind):
    assert list(golden.differences(kind)) == []


def test_upstream_change_names_the_statements():
    source = stock(LESSON).replace("max_norm = 1 ", "max_norm = 2 ").replace("上海的景点", "北京的景点")
    text = "\n".join(list_stock_changes(LESSON, source, "7b"))
    assert "max_norm: 1 → 2" in text and "北京" in text and "weight_decay" not in text
    assert list_stock_changes(LESSON, stock(LESSON), "7b") == []


def test_unified_diff_has_headlines():
    before, after = stock(LESSON), patch(LESSON)
    text = config_diff.unified_diff(before, after, "stock", "patched")
    assert "-    dataset_map_fn=alpaca_map_fn,\n+    dataset_map_fn=None,\n" in text
    headlines = [c.headline() for c in config_diff.list_changes(before, after)]
    assert "alpaca_en.dataset_map_fn: alpaca_map_fn → None" in headlines
    assert config_diff.list_changes(before, before) == []


# --- parameters ------------------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize(
    ("flag", "text", "accepted"),
    [
        ("--max-length", "31", "32 to 1048576"),
        ("--pack", "yes", "0 or 1"),
        ("--accum", "0", "1 to 4096"),
        ("--batch", "1.5", "1 to 1024"),
        ("--lr", "1", "from 1e-07 to 0.1"),
        ("--lr", "nan", "from 1e-07 to 0.1"),
        ("--betas", "0.9", "two numbers"),
        ("--betas", "0.9,1", "two numbers"),
        ("--warmup", "0", "from 0.001 to 0.5"),
        ("--save-limit", "0", "-1 for all"),
        ("--optim", "SGD", "one of AdamW"),
        ("--prompt-template", "os", "one of default"),
        ("--dtype", "float8", "one of float16"),
        ("--lora-dropout", "1", "from 0 to 0.9"),
        ("--seed", "-1", "0 to 4294967295"),
    ],
)
def test_out_of_range_is_refused_with_the_range(call, tmp_path, flag, text, accepted):
    status, _, err = call(config, flag + "=" + text, "--build", str(built(tmp_path)))
    assert status == 2 and accepted in err and err.count("\n") == 1


def test_bfloat16_is_one_decision_in_all_places():
    result = patch("qwen1_5_110b_qlora_alpaca_e3", DTYPE="bfloat16")
    assert "float16" not in result.replace("bfloat16", "")
    assert "loss_scale=dict(enabled=False)" in result


# --- the stage -------------------------------------------------------------------------------------------------------


def built(folder, name="机智流"):
    """A BUILD folder with the changed data in it."""
    rows = [{"conversation": [{"system": f"你是{name}", "input": "你是谁", "output": f"我是{name}"}]}] * 3
    rows.append({"conversation": [{"system": "other", "input": "hi", "output": "hello"}]})
    path = folder / "data" / "assistant_Tuner_change.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    return folder


def test_stage_writes_config_and_record(call, tmp_path):
    build = built(tmp_path)
    arguments = ("--build", str(build), "--profile", "7b", "--lr", "1e-4")
    status, out, err = call(config, *arguments)
    assert (status, err) == (0, "")
    assert "alpaca_en.dataset_map_fn: alpaca_map_fn → None" in out and "lr: 0.0002 → 0.0001" in out
    path = build / "config" / f"{LESSON}_copy.py"
    assert str(path) in out
    assert summary_of(path)["system"] == "你是机智流"
    record = json.loads(record_path(path).read_text())
    assert record["parameters"]["LR"] == 0.0001 and len(record["inputs"]["stock"]) == 64
    before = path.stat()
    assert "up to date" in call(config, *arguments)[1] and path.stat() == before
    built(tmp_path, "闻星")  # other data: made again without being asked twice
    assert call(config, *arguments)[0] == 0 and summary_of(path)["system"] == "你是闻星"


def test_hand_edited_config_is_kept(call, tmp_path):
    build = built(tmp_path)
    call(config, "--build", str(build), "--profile", "7b")
    path = config_file(build, Values({}, {}).base_config)
    path.write_text(path.read_text() + "# mine\n")
    status, _, err = call(config, "--build", str(build), "--profile", "7b")
    assert status == 2 and "make train CONFIG=" in err and "# mine" in path.read_text()
    assert call(config, "--build", str(build), "--profile", "7b", "--force", "1")[0] == 0
    assert "# mine" not in path.read_text()
    path.write_text("mine")
    assert call(config, "--build", str(build), "--config", str(path))[0] == 0  # nothing to make, nothing touched
    assert path.read_text() == "mine"


def test_unknown_base_config_offers_close_names(call, tmp_path):
    status, _, err = call(config, "--base-config", "internlm2_5_7b_chat_qlora_alpaca_e3", "--build", str(tmp_path))
    assert status == 2 and LESSON in err
    status, _, err = call(config, "--base-config", "../../etc/passwd", "--build", str(tmp_path))
    assert status == 2 and "no such config" in err


def test_missing_data_says_make_data(call, tmp_path):
    status, _, err = call(config, "--build", str(tmp_path))
    assert status == 2 and "make data" in err


def test_another_family_fails_with_the_edit_and_the_config(call, tmp_path):
    name = "llama2_7b_chat_qlora_lawyer_e3"
    status, _, err = call(config, "--base-config", name, "--build", str(built(tmp_path)))
    assert status == 2 and name in err and "data file" in err and "alpaca_en_path" in err


def test_absent_parameter_is_named():
    name = "internlm_7b_qlora_alpaca_e3"  # of the first generation: not supported, and without sequence parallelism
    with pytest.raises(UserError, match=r"SEQ_PARALLEL.*sequence_parallel_size"):
        patch(name, SEQ_PARALLEL=2)


# --- the edit engine -------------------------------------------------------------------------------------------------

SOURCE = """\
from torch.optim import AdamW  # why
# a comment
lr = 1
model = dict(
    # first
    type=AdamW,
    # second
    llm=dict(a=1, b='x'),  # end
    c=3)
hooks = [dict(type=AdamW, k=1), dict(type=other, k=2), dict(type=other)]
other = 1
"""


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (edits.Edit("e", "lr", "2"), ("lr = 1\n", "lr = 2\n")),
        (edits.Edit("e", "model.llm.b", "dict(z=[1, -2.5, (None,)])"), ("b='x'", "b=dict(z=[1, -2.5, (None,)])")),
        (edits.Edit("e", "model.llm.c", "AdamW", "add"), ("b='x'", "b='x', c=AdamW")),
        (edits.Edit("e", "model.d", "4", "add"), ("    c=3)", "    c=3,\n    d=4)")),
        (edits.Edit("e", "model.llm.b", "", "remove"), ("a=1, b='x'", "a=1")),
        (edits.Edit("e", "model.llm.a", "", "remove"), ("a=1, b='x'", "b='x'")),
        (edits.Edit("e", "lr", "", "remove"), ("# a comment\nlr = 1\n", "")),
        (edits.Edit("e", "hooks[AdamW].k", "7"), ("k=1", "k=7")),
        (
            edits.Edit("e", value="from torch.optim import Adam", op="import"),
            ("# why\n", "# why\nfrom torch.optim import Adam\n"),
        ),
        (edits.Edit("e", value="from torch.optim import AdamW", op="import"), ("", "")),
    ],
)
def test_edit(edit, expected):
    assert edits.apply_edits(SOURCE, [edit], "x.py") == SOURCE.replace(*expected) if expected[0] else SOURCE


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (edits.Edit("e", "nothing", "2"), "there is no nothing"),
        (edits.Edit("e", "model.llm.z", "2"), "there is no z in model.llm"),
        (edits.Edit("e", "lr.z", "2"), "there is no z in lr"),
        (edits.Edit("e", "hooks[other].k", "2"), "[other] stands 2 times in hooks"),
        (edits.Edit("e", "model.c", "2", "add"), "model.c is there already"),
        (edits.Edit("e", "lr.c", "2", "add"), "lr is not dict(...)"),
        (edits.Edit("e", "model.z", "", "remove"), "there is no z in model"),
        (edits.Edit("e", value="from os import AdamW", op="import"), "AdamW is already torch.optim.AdamW"),
        (edits.Edit("e", value="from os import lr", op="import"), "lr is already a variable"),
        (edits.Edit("e", value="import os", op="import"), "is not “from … import …”"),
        (edits.Edit("e", "lr", "print"), "print in 'print' is not bound"),
        (edits.Edit("e", "lr", "AdamW(1)"), "calls more than dict"),
        (edits.Edit("e", "lr", "AdamW.__class__"), "reaches for __class__"),
        (edits.Edit("e", "lr", "1 + 1"), "computes"),
        (edits.Edit("e", "lr", "[x for x in lr]"), "computes"),
        (edits.Edit("e", "lr", "1; 2"), "is not a Python expression"),
    ],
)
def test_edit_that_does_not_fit_names_edit_and_config(edit, problem):
    with pytest.raises(UserError) as error:
        edits.apply_edits(SOURCE, [edit], "x.py")
    assert "“e”" in str(error.value) and error.value.where == "x.py" and problem in error.value.what


def test_two_assignments_are_two_places():
    with pytest.raises(UserError, match="lr stands 2 times"):
        edits.apply_edits(SOURCE + "lr = 3\n", [edits.Edit("e", "lr", "2")], "x.py")


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


def test_make_config_imports_neither_torch_nor_xtuner(tmp_path):
    code = (
        "import sys; from recipe import config; "
        f"status = config.main(['--build', {str(built(tmp_path))!r}, '--profile', 'tiny']); "
        "sys.exit(status or any(m in sys.modules for m in ('torch', 'xtuner', 'mmengine', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


# --- against XTuner and mmengine themselves ------------------------------------------------------------------------------


@pytest.mark.torch
def test_copy_is_what_xtuner_copies(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "xtuner.tools.copy_cfg", LESSON, str(tmp_path)], check=True, capture_output=True
    )
    copy = tmp_path / f"{LESSON}_copy.py"
    assert copy.read_bytes() == stock_config(LESSON).read_bytes()
    assert copy.name == config_file(tmp_path, Values({}, {}).base_config).name


@pytest.mark.torch
@pytest.mark.parametrize("profile", ["stock", "7b", "tiny"])
def test_mmengine_loads_what_the_facts_say(tmp_path, profile):
    from mmengine.config import Config
    from mmengine.config.lazy import LazyAttr, LazyObject

    def plain(value):
        if isinstance(value, LazyObject):
            return {"ref": f"{value.module}.{value._imported}"}
        if isinstance(value, LazyAttr):
            return {"ref": f"{value.module}.{value.name}"}
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, list | tuple) else value

    for name in SUPPORTED:
        path = tmp_path / f"{name}.py"
        path.write_text(stock(name) if profile == "stock" else patch(name, profile), encoding="utf-8")
        static = {k: as_json(v) for k, v in read_config(path).values.items()}
        assert plain(Config.fromfile(str(path))._to_lazy_dict()) == static, name
