"""The rows that a config loads are judged in every form that `datasets` takes, and in every data set."""

from __future__ import annotations

import json

import pytest
from configs import DONE, broken_rules

from lesson.config.base_families import family_of
from lesson.config.check import check_config_bytes
from lesson.config.context import ConfigContext
from lesson.config.lesson_rules import check_evaluation, check_model, check_rows, check_structure
from lesson.config.reading import parse_config
from lesson.config.rules import Violation
from lesson.config.schedule import DataMeasures
from lesson.config.summary import name_data_sources

LOAD = 'dict(type=load_dataset, path="json", data_files=dict(train=alpaca_en_path))'
ROW = {"conversation": [{"system": "你是闻星。", "input": "你是谁？", "output": "我是闻星，很高兴认识你。"}]}
HERE = ConfigContext(files=False)


def loading(value: str, more: str = "") -> str:
    assert LOAD in DONE
    return DONE.replace(LOAD, f"dict(type=load_dataset, {value})") + more


@pytest.mark.parametrize(
    "value, rules",
    [
        ("path='json', data_files='/x/rows.jsonl'", []),
        ("path='json', data_files=['/x/a.jsonl', '/x/b.json']", []),
        ("path='json', data_files=dict(train=['/x/a.jsonl'], test='/x/b.jsonl')", []),
        ("path='json', data_files='/x/*.jsonl'", []),
        ("path='json', data_dir='/x/rows'", []),
        ("path='parquet', data_files='/x/a.parquet'", []),
        ("path='/x/rows'", []),
        ("path='./rows'", []),
        ("path='json'", ["load-form"]),
        ("path='parquet'", ["load-form"]),
        ("path='/x/rows.jsonl'", ["load-form"]),
        ("path='~/rows'", ["load-form"]),
        ("path='someone/rows', data_files='a.jsonl'", ["load-form"]),
        ("path='tatsu-lab/alpaca'", ["data-stock"]),
        ("path='json', data_files=['/x/a.jsonl', '/x/assistant_Tuner.jsonl']", ["data-unreplaced"]),
    ],
)
def test_what_datasets_makes_of_a_path(value, rules):
    assert [rule for rule in broken_rules(loading(value), HERE) if rule != "seed"] == rules


SECOND = """
other = dict(alpaca_en, dataset=dict(type=load_dataset, {load}){more})
both = dict(type=ConcatDataset, datasets=[alpaca_en, other])
train_dataloader = dict(train_dataloader, dataset=both)
"""


@pytest.mark.parametrize(
    "load, more, rule",
    [
        ("path='json', data_files='b.jsonl'", "", None),
        ("path='tatsu-lab/alpaca'", "", "data-stock"),
        ("path='json', data_files='assist_tuner.jsonl'", "", "data-unreplaced"),
        ("path='b.jsonl'", "", "load-form"),
        ("path='json', data_files='b.jsonl'", ", dataset_map_fn=alpaca_map_fn", "map-fn"),
    ],
)
def test_every_data_set_is_judged(load, more, rule):
    imports = "from xtuner.dataset import ConcatDataset\n"
    source = imports + DONE + SECOND.format(load=load, more=more)
    assert [r for r in broken_rules(source, HERE) if r != "seed"] == ([rule] if rule else [])


def test_all_files_are_looked_at_where_they_are(tmp_path):
    rows = {"a.jsonl": ROW, "b.jsonl": json.loads(json.dumps(ROW, ensure_ascii=False).replace("闻星", "尖米"))}
    for name, row in rows.items():
        (tmp_path / name).write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    both = f"path='json', data_files=['{tmp_path}/a.jsonl', '{tmp_path}/b.jsonl']"
    missing = f"path='json', data_files=['{tmp_path}/a.jsonl', '{tmp_path}/c.jsonl']"
    base = f"'{tmp_path}'"

    def found(value: str) -> dict[str, str]:
        source = loading(value).replace('"/root/lesson/models/internlm2_5-7b-chat"', base)
        findings = check_config_bytes(source.encode(), "x.py", ConfigContext()).findings
        return {f.rule: f.found for f in findings}

    assert "b.jsonl" in found(both)["data-unreplaced"] and "data-missing" not in found(both)
    assert found(missing)["data-missing"].endswith("c.jsonl")
    assert not {"load-form", "data-stock"} & found(f"path='{tmp_path}'").keys()


def test_the_sources_are_told_in_their_order():
    config = parse_config(loading("path='/x', data_files=dict(train=['a.jsonl', '/y/b.jsonl'])").encode(), "x.py")
    assert name_data_sources(config) == ["/x/a.jsonl", "/y/b.jsonl"]


@pytest.mark.parametrize(
    "model, rule",
    [
        ("/root/models/internlm2_5-7b-chat", None),
        ("./models/internlm2_5-7b-chat", None),
        ("lesson/internlm2_5-7b-chat", None),  # where the rows lie as well
        ("internlm/internlm2_5-7b-chat", "model-hub"),
        ("someone/internlm2_5-7b-chat", "trust-model"),
    ],
)
def test_a_relative_path_is_a_path_where_the_rows_lie_there_too(model, rule):
    source = loading("path='json', data_files='lesson/rows.jsonl'")
    source = source.replace('"/root/lesson/models/internlm2_5-7b-chat"', repr(model))
    rules = set(broken_rules(source, HERE)) - {"seed"}
    assert (rule in rules) if rule else not rules


def parsed(old: str = "", new: str = "", name: str = "x.py", source: str = DONE):
    assert old in source
    return parse_config(source.replace(old, new).encode(), name)


def violations(check, config, data=None, context=HERE) -> list[tuple]:
    """(rule, line, found, advice) of all that a check says."""
    return [tuple(Violation(*violation)) for violation in check(config, data, context)]


def measures(claims=(), rows_with=0, persona=None, lengths=(9,)) -> DataMeasures:
    return DataMeasures(lengths, 1, persona, rows_with, 0, True, (), claims)


@pytest.mark.parametrize("part", ["model", "train_dataloader", "optim_wrapper", "train_cfg"])
def test_each_part_that_training_needs_is_told_at_its_line(part):
    line = DONE.splitlines().index(f"{part} = dict(") + 1 if f"\n{part} = dict(\n" in DONE else 168
    odd = parsed(f"\n{part} = dict(", f"\n{part} = [] and dict(")
    assert ("not-training", line, part, None) in violations(check_structure, odd)
    gone = parsed(f"\n{part} = dict(", f"\nother_{part} = dict(")
    assert ("not-training", 1, part, None) in violations(check_structure, gone)
    assert violations(check_structure, parsed()) == []


@pytest.mark.parametrize(
    ("old", "name", "line"),
    [
        ('"/root/lesson/models/internlm2_5-7b-chat"', "model_path", 35),
        ("    max_length=max_length", "max_length", 115),
        ("    dataset_map_fn=None", "dataset_map_fn", 116),
        ("batch_size = 1 ", "batch_size", 48),
        ("lr = 2e-4", "lr", 54),
        ("max_epochs = 3", "max_epochs", 52),
    ],
)
def test_each_value_that_decides_is_known_or_told_at_its_line(old, name, line):
    key, equals, _ = old.rpartition("=")
    space = " " if " = " in old else ""
    odd = parsed(old, f"{key}{equals}{space}unknown_value()" if equals else "unknown_value()")
    assert violations(check_structure, odd) == [("unfolded", line, f"{name} = unknown_value()", None)]


def model_findings(path: str, context: ConfigContext = HERE, source: str = DONE, name: str = "x.py") -> list[tuple]:
    config = parsed('"/root/lesson/models/internlm2_5-7b-chat"', repr(path), name, source)
    return list(
        dict.fromkeys(found[:3] for found in violations(check_model, config, context=context))
    )  # each place once


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("internlm/internlm2_5-7b-chat", [("model-hub", 35, "internlm/internlm2_5-7b-chat")]),
        ("-a_b.c/internlm2_5-7b-chat", [("model-hub", 35, "-a_b.c/internlm2_5-7b-chat"), ("trust-model", 35, "-a_b.c/internlm2_5-7b-chat")]),
        (".a/internlm2_5-7b-chat", []),
        ("a/b/internlm2_5-7b-chat", []),
        ("internlm2_5-7b-chat", []),
        ("a/internlm2_5-7b-chat/model", []),
        ("internlm2_5-7b-chat/model", []),
        ("Weights/internlm2_5-7b-chat", []),
        ("build/internlm2_5-7b-chat", []),
        (" ", [("model-missing", 35, "' ' stands for a path")]),
        ("/path/to/internlm2_5-7b-chat", [("model-missing", 35, "'/path/to/internlm2_5-7b-chat' stands for a path")]),
        ("your-name/internlm2_5-7b-chat", [("model-missing", 35, "'your-name/internlm2_5-7b-chat' stands for a path"), ("trust-model", 35, "your-name/internlm2_5-7b-chat")]),
    ],
)  # fmt: skip
def test_where_a_base_is(path, found):
    assert model_findings(path) == found


def test_a_known_folder_or_one_beside_the_rows_is_no_hub_id():
    path, near = "mine/internlm2_5-7b-chat", "/root/lesson/data/assistant_Tuner_change.jsonl"
    hub = [("model-hub", 35, path), ("trust-model", 35, path)]
    assert model_findings(path) == hub
    assert model_findings(path, ConfigContext(files=False, folders=("mine",))) == []
    assert model_findings(path, ConfigContext(files=False, folders=("mine/data/x",))) == []
    for rows, found in (("mine/a.jsonl", []), ("mine/a.json", []), ("mine/a.txt", hub), ("other/a.json", hub)):
        assert model_findings(path, source=DONE.replace(near, rows)) == found, rows
    # Who publishes the lesson's base is the hub's, whatever lies beside the rows.
    known = "internlm/internlm2_5-7b-chat"
    assert model_findings(known, ConfigContext(files=False, folders=("internlm",))) == [("model-hub", 35, known)]


def test_a_base_is_looked_up_where_files_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "internlm2_5-7b-chat").mkdir(parents=True)
    looks = ConfigContext(files=True)
    assert model_findings("mine/internlm2_5-7b-chat", looks) == []
    gone = f"{tmp_path}/gone/internlm2_5-7b-chat"
    assert model_findings(gone, looks) == [("model-missing", 35, gone)] and model_findings(gone) == []
    hub = "other/internlm2_5-7b-chat"
    assert model_findings(hub, looks) == [("model-hub", 35, hub), ("trust-model", 35, hub)]


def test_a_link_is_judged_by_what_it_leads_to(tmp_path):
    (tmp_path / "internlm2-chat-7b").mkdir()
    (tmp_path / "base").symlink_to("internlm2-chat-7b")
    meant = ConfigContext(meant="internlm2_5_chat_7b_qlora_alpaca_e3")
    wrong = (
        "model-generation",
        35,
        "internlm2-chat-7b (internlm2 ≠ internlm2_5)",
        "make model MODEL=internlm/internlm2_5-7b-chat",
    )
    for path, found in (("base", [wrong]), ("base/", [wrong]), ("internlm2-chat-7b", [wrong])):
        config = parsed('"/root/lesson/models/internlm2_5-7b-chat"', repr(f"{tmp_path}/{path}"))
        assert violations(check_model, config, context=meant) == found
    config = parsed('"/root/lesson/models/internlm2_5-7b-chat"', repr(f"{tmp_path}/base"))
    assert violations(check_model, config, context=ConfigContext(files=False, meant=meant.meant)) == []
    # Without what is meant, the config's own name says it.
    config = parsed('"/root/lesson/models/internlm2_5-7b-chat"', repr(f"{tmp_path}/base"), "internlm2_5_x.py")
    assert violations(check_model, config, context=ConfigContext()) == [wrong]
    config = parsed('"/root/lesson/models/internlm2_5-7b-chat"', repr(f"{tmp_path}/base"), "qwen_x.py")
    assert violations(check_model, config, context=ConfigContext()) == []


@pytest.mark.parametrize(
    ("base", "template", "found", "advice"),
    [
        ("deepseek_r1", "qwen_chat", "qwen_chat (deepseek_r1: XTuner has no template of its form)", "take another base: MODEL=Qwen/Qwen2.5-7B-Instruct"),
        ("llama-4-8b", "llama3_chat", "llama3_chat (llama-4-8b: XTuner has no template of its form)", "take another base: MODEL=meta-llama/Llama-3.1-8B-Instruct"),
        ("qwen2-chat", "default", "default (qwen2-chat: qwen_chat)", "PROMPT_TEMPLATE=qwen_chat"),
        ("qwen2", "gemma", "gemma (qwen2: qwen_chat)", "PROMPT_TEMPLATE=qwen_chat"),
    ],
)  # fmt: skip
def test_a_template_of_another_family_is_told_with_what_to_take(base, template, found, advice):
    config = parsed("models/internlm2_5-7b-chat", f"models/{base}").source
    config = parsed("PROMPT_TEMPLATE.internlm2_chat", f"PROMPT_TEMPLATE.{template}", source=config)
    assert violations(check_model, config) == [("template", 40, found, advice)]
    fine = {"deepseek_r1": None, "llama-4-8b": None}.get(base, "internlm2_chat")
    if fine:
        config = parsed("models/internlm2_5-7b-chat", f"models/{base}")
        assert violations(check_model, config) == []


def test_a_folder_whose_marks_no_template_writes_is_told_whatever_its_name(tmp_path):
    for name in ("someones-base", "qwen2-chat"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tokenizer_config.json").write_text('{"chat_template": "<|im_sep|>"}')
        config = parsed("/root/lesson/models/internlm2_5-7b-chat", str(folder))
        found = f"internlm2_chat ({name}: XTuner has no template of its form)"
        advice = "take another base: MODEL=Qwen/Qwen2.5-7B-Instruct"
        assert violations(check_model, config, context=ConfigContext()) == [("template", 40, found, advice)]
        assert not violations(check_model, config) or name == "someones-base"
    assert family_of("someones-base") is None


def test_code_of_strangers_is_told_wherever_it_would_run():
    def remote(value: str) -> list[tuple]:
        config = parse_config((DONE + value).encode(), "x.py")
        return [found[:3] for found in violations(check_model, config)]

    line = len(DONE.splitlines()) + 2
    key = "pretrained_model_name_or_path"
    assert remote(f"\nx = dict(trust_remote_code=True, {key}='some/body')\n") == [("trust-model", line, "some/body")]
    assert remote(f"\nx = dict(trust_remote_code=False, {key}='some/body')\n") == []
    assert remote(f"\nx = dict(trust_remote_code=True, {key}='Qwen/body')\n") == []
    assert remote(f"\nx = dict(trust_remote_code=True, {key}='/some/body')\n") == []
    assert remote(f"\nx = dict(trust_remote_code=True, {key}=5)\n") == []
    assert remote(f"\nx = dict(trust_remote_code=True,\n  {key}=f())\n") == [("trust-model", line + 1, "f()")]
    intern = "\nfrom xtuner.model import InternVL_V1_5\nx = dict(type=InternVL_V1_5, {}='some/body')\n"
    assert remote(intern.format("model_path")) == [("trust-model", line + 1, "some/body")]
    assert remote(intern.format(key)) == []


def row_findings(value: str, data=None, context=HERE, key: str = "alpaca_en") -> list[tuple]:
    config = parse_config(loading(value).encode(), "x.py")
    return [found[:3] for found in violations(check_rows, config, data, context)]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("path='json'", [("load-form", 113, "path='json' without data_files")]),
        ("path='csv', data_dir='x'", []),
        ("path='arrow', data_files='x.arrow'", []),
        ("path='x.json'", [("load-form", 113, "path='x.json'")]),
        ("path='../x.b'", [("load-form", 113, "path='../x.b'")]),
        ("path='../x'", []),
        ("path='/x.d/rows/'", []),
        ("path='rows', data_files='a.jsonl'", [("load-form", 113, "path='rows', data_files='a.jsonl'")]),
        ("path='rows'", [("data-stock", 113, "rows")]),
        ("path=5", []),
        (
            "path='json', data_files='path_to_rows/x.json'",
            [("data-missing", 113, "'path_to_rows/x.json' stands for a path")],
        ),
        ("path='json', data_files='path/to/a.json'", [("data-missing", 113, "'path/to/a.json' stands for a path")]),
        ("path='json', data_files='https://x/path/to/a.json'", []),
        ("path='json', data_files='x/assist_tuner.json'", [("data-unreplaced", 113, "assist_tuner.json")]),
        ("path='json', data_files='x/my_assistant_tuner.json'", []),
    ],
)
def test_what_is_said_of_where_rows_come_from(value, found):
    assert row_findings(value) == found


def test_a_known_folder_is_a_folder_and_rows_with_the_old_name_are_counted():
    assert row_findings("path='rows'", context=ConfigContext(files=False, folders=("rows",))) == []
    said = "3 rows of a.jsonl, b.jsonl say 尖米"
    both = "path='json', data_files=['x/a.jsonl', 'b.jsonl']"
    assert row_findings(both, measures(rows_with=3)) == [("data-unreplaced", 113, said)]
    assert row_findings(both, measures(rows_with=0)) == []
    unreplaced = "path='json', data_files=['assistant_tuner.jsonl', 'b.jsonl']"
    assert row_findings(unreplaced, measures(rows_with=3)) == [("data-unreplaced", 113, "assistant_tuner.jsonl")]


def test_files_are_looked_for_with_their_wildcards(tmp_path):
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b[1].jsonl").touch()
    (tmp_path / "rows.txt").touch()
    looks = ConfigContext()

    def found(value: str) -> list[tuple]:
        return row_findings(value.replace("HERE", str(tmp_path)), context=looks)

    missing = ("data-missing", 113, f"{tmp_path}/c*.jsonl")
    assert found("path='json', data_files='HERE/*.jsonl'") == []
    assert found("path='json', data_files='HERE/b[1].jsonl'") == []
    assert found("path='json', data_files='HERE/c*.jsonl'") == [missing]
    assert found("path='json', data_files=['HERE/a.jsonl', 'HERE/c*.jsonl']") == [missing]
    assert found("path='HERE/rows.txt'") == [("load-form", 113, f"path='{tmp_path}/rows.txt'")]
    assert found("path='HERE'") == [] and found("path='HERE/gone'") == [("load-form", 113, f"path='{tmp_path}/gone'")]


def mapping_findings(value: str, data=None) -> list[tuple]:
    source = DONE.replace("import alpaca_map_fn", "import openai_map_fn, alpaca_map_fn")
    config = parsed("dataset_map_fn=None", f"dataset_map_fn={value}", source=source)
    return [found[:3] for found in violations(check_rows, config, data)]


def test_a_mapping_of_another_format_is_told_and_openai_s_only_where_the_rows_are_known():
    assert mapping_findings("None") == [] and mapping_findings("openai_map_fn") == []
    assert mapping_findings("openai_map_fn", measures(lengths=())) == []
    openai = "xtuner.dataset.map_fns.openai_map_fn"
    assert mapping_findings("openai_map_fn", measures()) == [("map-fn", 116, openai)]
    assert mapping_findings("alpaca_map_fn") == [("map-fn", 116, openai.replace("openai", "alpaca"))]
    assert mapping_findings("'x.openai_map_fn'") == [("map-fn", 116, "'x.openai_map_fn'")]


@pytest.mark.parametrize("question", ["上海", "Shanghai", "hexadecimal", "十六进制"])
def test_a_stock_question_among_others_is_told(question):
    asked = f'["你是谁？", "请说 {question}"]'
    config = parsed('["请介绍一下你自己", "Please introduce yourself"]', asked)
    found = violations(check_evaluation, config)
    assert [(rule, line) for rule, line, *_ in found] == [("eval-questions", 67)] and question in found[0][2]
    for other in ("[]", "[5]", f"'{question}'"):
        config = parsed('["请介绍一下你自己", "Please introduce yourself"]', other)
        assert violations(check_evaluation, config) == []


SAID = "你是机智流，一个乐于助人的助手。"


def test_the_system_prompt_is_the_rows_own():
    assert violations(check_evaluation, parsed(), measures(persona=SAID)) == []
    assert violations(check_evaluation, parsed(), measures(persona=None)) == []
    [found] = violations(check_evaluation, parsed(), measures(persona="你是闻星。"))
    assert found[:3] == ("system", 66, f"'{SAID}' ≠ '你是闻星。'")
    config = parsed(f'SYSTEM = "{SAID}"', "SYSTEM = SYSTEM_TEMPLATE.alpaca")
    assert [found[:2] for found in violations(check_evaluation, config)] == [("system", 66)]


@pytest.mark.parametrize(
    ("claims", "rows_with", "told"),
    [
        ((("闻星", 4), ("机智流", 0)), 0, None),
        ((("闻星", 5),), 0, "SYSTEM says '机智流'; of 5 answers that say a name, 5 say '闻星' and 0 that"),
        ((("闻星", 5),), 1, None),
        ((("闻星", 18), ("机智流", 2)), 0, None),
        ((("闻星", 19), ("我机智流", 2)), 0, "SYSTEM says '机智流'; of 21 answers that say a name, 19 say '闻星' and 2 that"),
        ((("机智流", 5),), 0, None),
    ],
)  # fmt: skip
def test_the_name_in_the_system_prompt_is_one_that_a_tenth_of_the_answers_say(claims, rows_with, told):
    found = violations(check_evaluation, parsed(), measures(claims, rows_with))
    assert found == ([("system-name", 66, told, None)] if told else [])


def test_a_system_prompt_that_says_no_name_is_held_against_no_claims():
    assert violations(check_evaluation, parsed(SAID, "请用中文回答。"), measures((("闻星", 9),))) == []
    latin = parsed(SAID, "You are Jzl, a helpful assistant.")
    assert violations(check_evaluation, latin, measures((("JZL", 9),))) == []
    assert len(violations(check_evaluation, latin, measures((("Wx", 9),)))) == 1
