"""make config: the stage, its record, and what XTuner and mmengine make of the result."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from lesson.config.reading import read_config
from lesson.core.records import record_path
from lesson.core.settings import ROOT, Values

if find_spec("xtuner") is None:  # a small install, for checks only
    pytest.skip("XTuner is not installed", allow_module_level=True)
from configs import LESSON
from patched_configs import SUPPORTED, patch, stock

from lesson.config.parsed import as_json
from lesson.config.stock import stock_config
from lesson.config.summary import summary_of
from lesson.core.layout import config_file
from recipe import config


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


def test_fast_at_7b_refuses_a_shape_that_it_does_not_compute(call, tmp_path):
    flags = ("--build", str(built(tmp_path)), "--profile", "7b", "--speed", "fast", "--base-config")
    status, _, err = call(config, *flags, "qwen_7b_chat_qlora_alpaca_e3")
    assert status == 2 and "use SPEED=stock" in err and "qwen1_5_*" in err
    assert call(config, *flags, "llama3_8b_instruct_qlora_alpaca_e3")[0] == 0


def test_missing_data_says_make_data(call, tmp_path):
    status, _, err = call(config, "--build", str(tmp_path))
    assert status == 2 and "make data" in err


def test_another_family_fails_with_the_edit_and_the_config(call, tmp_path):
    name = "llama2_7b_chat_qlora_lawyer_e3"
    status, _, err = call(config, "--base-config", name, "--build", str(built(tmp_path)))
    assert status == 2 and name in err and "data file" in err and "alpaca_en_path" in err


def test_make_config_imports_neither_torch_nor_xtuner(tmp_path):
    code = (
        "import sys; from recipe import config; "
        f"status = config.main(['--build', {str(built(tmp_path))!r}, '--profile', 'tiny']); "
        "sys.exit(status or any(m in sys.modules for m in ('torch', 'xtuner', 'mmengine', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


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
