"""The chat template of a config against its base: by the tokenizer where the folder is here, else by the name."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from configs import DONE, supported_stock_configs

from lesson.config.base_families import FAMILIES, family_of, is_chat_model, name_of, templates_of_folder
from lesson.config.check import check_config_bytes
from lesson.config.context import ConfigContext
from lesson.config.lesson_rules import check_model
from lesson.config.reading import read_config
from lesson.core.settings import ROOT, SETTINGS, TEMPLATES

TABLE = ROOT / "lesson" / "config" / "base_families.json"
# Published chat models of each family, and the template that XTuner has for them.
BASES = {
    "internlm/internlm2_5-7b-chat": "internlm2_chat",
    "internlm/internlm2-chat-1_8b": "internlm2_chat",
    "internlm/internlm3-8b-instruct": "internlm2_chat",
    "internlm/internlm-chat-7b": "internlm_chat",
    "Qwen/Qwen2.5-7B-Instruct": "qwen_chat",
    "Qwen/Qwen2.5-Coder-0.5B-Instruct": "qwen_chat",
    "meta-llama/Llama-3.1-8B-Instruct": "llama3_chat",
    "meta-llama/Llama-3.2-1B-Instruct": "llama3_chat",
    "meta-llama/Llama-2-7b-chat-hf": "llama2_chat",
    "codellama/CodeLlama-7b-Instruct-hf": "code_llama_chat",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "qwen_chat",
    "deepseek-ai/DeepSeek-V2-Lite-Chat": "deepseek_v2",
    "deepseek-ai/deepseek-coder-6.7b-instruct": "deepseek_coder",
    "deepseek-ai/deepseek-moe-16b-chat": "deepseek_moe",
    "THUDM/chatglm3-6b": "chatglm3",
    "THUDM/chatglm2-6b": "chatglm2",
    "baichuan-inc/Baichuan2-7B-Chat": "baichuan2_chat",
    "baichuan-inc/Baichuan-13B-Chat": "baichuan_chat",
    "mistralai/Mistral-7B-Instruct-v0.3": "mistral",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral",
    "HuggingFaceH4/zephyr-7b-beta": "zephyr",
    "google/gemma-2-2b-it": "gemma",
    "CohereForAI/c4ai-command-r-plus": "cohere_chat",
    "microsoft/Phi-3-mini-4k-instruct": "phi3_chat",
    "openbmb/MiniCPM3-4B": "minicpm3",
    "openbmb/MiniCPM-2B-sft-bf16": "minicpm",
    "lmsys/vicuna-7b-v1.5": "vicuna",
    "01-ai/Yi-1.5-6B-Chat": "qwen_chat",
}
WITHOUT = ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "THUDM/glm-4-9b-chat")


def judged(base: str, template: str, **context) -> dict[str, str]:
    """{rule: remedy} of the lesson's config with this base and template."""
    source = DONE.replace("/root/lesson/models/internlm2_5-7b-chat", base)
    source = source.replace("PROMPT_TEMPLATE.internlm2_chat", f"PROMPT_TEMPLATE.{template}")
    findings = check_config_bytes(source.encode(), "x.py", ConfigContext(**{"files": False} | context)).findings
    return {f.rule: f.remedy for f in findings}


@pytest.mark.parametrize("base", BASES)
def test_each_family_is_held_against_its_own_template(base):
    own, folder = BASES[base], "/models/" + base.rpartition("/")[2]
    assert "template" not in judged(folder, own)
    for other in TEMPLATES:
        if other not in family_of(base).templates:
            assert judged(folder, other)["template"] == f"PROMPT_TEMPLATE={own}", other


@pytest.mark.parametrize("base", WITHOUT)
def test_a_base_whose_form_xtuner_does_not_have_is_no_qwen_and_no_llama(base):
    folder = "/models/" + base.rpartition("/")[2]
    for template in ("qwen_chat", "llama3_chat", "default"):
        assert judged(folder, template)["template"].startswith("take another base: MODEL=")


def test_what_was_found_names_the_template_the_base_and_its_own():
    source = DONE.replace("PROMPT_TEMPLATE.internlm2_chat", "PROMPT_TEMPLATE.gemma")
    [finding] = check_config_bytes(source.encode(), "x.py").findings
    assert finding.found == "gemma (internlm2_5-7b-chat: internlm2_chat)"


def test_a_base_that_does_not_chat_may_have_the_default():
    for base in ("Llama-2-7b-hf", "Qwen2.5-7B", "internlm2_5-7b"):
        assert not is_chat_model(base) and "template" not in judged(f"/models/{base}", "default"), base
        assert "template" in judged(f"/models/{base}", "gemma")
    assert is_chat_model("qwen1_5_0_5b_chat_qlora_alpaca_e3") and not is_chat_model("internlm_7b_qlora_moss_sft_all_e1")


MARKED = {
    "{{'<|im_start|>' + message['role']}}": ("qwen_chat", "internlm2_chat", "minicpm3"),
    "<|start_header_id|>system": ("llama3_chat",),
    "<｜User｜>{{content}}<｜Assistant｜>": (),
    "<start_of_turn>user": ("gemma",),
}


@pytest.mark.parametrize("text", MARKED)
@pytest.mark.parametrize("place", ["tokenizer_config.json", "chat_template.jinja"])
def test_the_tokenizer_says_more_than_the_name(tmp_path, text, place):
    folder = tmp_path / "Qwen2.5-7B-Instruct"
    folder.mkdir()
    (folder / place).write_text(
        json.dumps({"chat_template": text}) if place.endswith("json") else text, encoding="utf-8"
    )
    assert templates_of_folder(folder) == MARKED[text]
    for template in ("qwen_chat", "llama3_chat", "gemma"):
        found = judged(str(folder), template, files=True)
        assert ("template" in found) == (template not in MARKED[text]), template
        if MARKED[text] and "template" in found:
            assert found["template"] == f"PROMPT_TEMPLATE={MARKED[text][0]}"


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"chat_template": 3}', b"[" * 100_000, b"\xff\xfe"])
def test_a_broken_tokenizer_tells_nothing(tmp_path, data):
    (tmp_path / "tokenizer_config.json").write_bytes(data)
    assert templates_of_folder(tmp_path) is None


def test_the_tiny_base_that_ships_is_asked_in_its_own_template():
    assert "internlm2_chat" in templates_of_folder(ROOT / "data" / "tiny-base")


def test_a_hubs_cache_tells_the_name():
    assert name_of("/c/models--Qwen--Qwen2.5-7B-Instruct/snapshots/0123abc/") == "Qwen2.5-7B-Instruct"
    assert name_of("/models/internlm2_5-7b-chat/") == "internlm2_5-7b-chat"


def test_the_table_has_the_form_of_its_schema_and_names_templates_of_xtuner():
    schema = json.loads((ROOT / "schemas" / "config_base_families.schema.json").read_text("utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    table = json.loads(TABLE.read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate(table)
    assert {t for entry in table["families"] + table["marks"] for t in entry["templates"]} <= set(TEMPLATES)
    for family in FAMILIES:
        assert bool(family.templates) != bool(family.instead)
        if family.instead:
            name, _, value = family.instead.partition("=")
            # What is named instead has a template itself.
            assert SETTINGS[name].parse(value) and family_of(value).templates


def test_no_config_that_xtuner_ships_has_another_bases_template():
    from lesson.config.stock import stock_configs

    supported_stock_configs()  # skips where XTuner is not installed
    for path in stock_configs().values():
        found = check_model(read_config(path), None, ConfigContext(files=False, meant=Path(path).stem))
        assert not [v for v in found if v[0] in ("template", "model-generation")], path
