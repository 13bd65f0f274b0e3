"""XTuner's dump of a config, all that a work_dir holds of it, is judged like the config that it was made from."""

from __future__ import annotations

import pytest
from configs import broken_rules

from lesson.config.check import check_config_file
from lesson.config.context import ConfigContext
from lesson.config.parsed import Ref
from lesson.config.reading import parse_config, read_config
from lesson.config.summary import lookup, summarise_config
from lesson.core.settings import ROOT

LESSON = "internlm2_5_chat_7b_qlora_alpaca_e3"
DUMPS = ROOT / "tests" / "fixtures" / "dumps"  # python tests/make_dumps.py
SOURCES = {
    "7b": ROOT / "golden" / "configs" / "7b" / f"{LESSON}.py",
    "7b_fast": ROOT / "golden" / "configs" / "7b_fast" / f"{LESSON}.py",
    "7b_deepspeed": ROOT / "golden" / "configs" / "7b" / f"{LESSON}.py",
    "tiny": ROOT / "tests" / "fixtures" / "submission" / "config.py",
}
# What DeepSpeed takes over: XTuner drops these settings of the optimizer's wrapper.
GONE = {"optim_wrapper", "loss_scale", "amp_dtype"}


@pytest.mark.parametrize("name", SOURCES)
def test_a_dump_says_what_its_source_says(name):
    context = ConfigContext(files=False, meant=LESSON)
    source, dump = (check_config_file(path, context) for path in (SOURCES[name], DUMPS / f"{name}.py"))
    assert [f.rule for f in dump.findings] == [f.rule for f in source.findings] and dump.ok
    said, meant = summarise_config(dump.config), summarise_config(source.config)
    different = {key for key in meant if said[key] != meant[key]}
    assert different == (GONE if name == "7b_deepspeed" else set())


def test_the_dump_of_a_stock_config_has_the_stock_findings_and_no_other():
    rules = [f.rule for f in check_config_file(DUMPS / "stock.py", ConfigContext(files=False)).findings]
    assert sorted(rules) == ["data-stock", "eval-questions", "model-hub", "seed", "system"]
    assert lookup(read_config(DUMPS / "stock.py"), "system")[0] == Ref("xtuner.utils.SYSTEM_TEMPLATE.alpaca")


@pytest.mark.parametrize(
    "change",
    [
        ("'xtuner.utils.PROMPT_TEMPLATE.internlm2_chat'", "'xtuner.utils.PROMPT_TEMPLATE.llama3_chat'", "template"),
        ("dataset_map_fn=None", "dataset_map_fn='xtuner.dataset.map_fns.alpaca_map_fn'", "map-fn"),
        ("type='xtuner.model.SupervisedFinetune'", "type='os.system'", "trust-type"),
        ("runner_type = 'FlexibleRunner'", "runner_type = 'builtins.exec'", "trust-type"),
        ("template_map_fn_factory'", "template_map_fn_factory.__globals__'", "trust-type"),
    ],
    ids=lambda change: change[2],
)
def test_a_fault_in_a_dump_is_found(change):
    before, after, rule = change
    text = (DUMPS / "7b_deepspeed.py").read_text(encoding="utf-8")
    assert before in text and broken_rules(text.replace(before, after), ConfigContext(files=False), f"{LESSON}.py")[
        0
    ] in (rule,)


def test_a_text_that_only_looks_like_a_name_stays_a_text():
    config = parse_config(
        b"import torch\na = 'torch.float16'\nb = dict(type='datasets.load_dataset', note='torch')", "x"
    )
    assert config.values["a"] == "torch.float16" and config.get("b.note") == "torch"
    assert config.get("b.type") == Ref("datasets.load_dataset")


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("name", SOURCES)
def test_the_dumps_are_those_of_the_installed_xtuner(tmp_path, name):
    import make_dumps

    deepspeed = "deepspeed_zero2" if name == "7b_deepspeed" else None
    make_dumps.dump_config(SOURCES[name], tmp_path / "dump.py", deepspeed)
    assert (tmp_path / "dump.py").read_text(encoding="utf-8") == (DUMPS / f"{name}.py").read_text(encoding="utf-8")
