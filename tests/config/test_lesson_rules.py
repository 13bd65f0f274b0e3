"""The rows that a config loads are judged in every form that `datasets` takes, and in every data set."""

from __future__ import annotations

import json

import pytest
from configs import DONE, broken_rules

from lesson.config.check import check_config_bytes
from lesson.config.context import ConfigContext
from lesson.config.reading import parse_config
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
