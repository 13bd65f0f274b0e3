"""What the lesson is about, looked up where training reads it, with the line that decides."""

from __future__ import annotations

import pytest
from configs import DONE
from fakes import config_of

from lesson.config import summary
from lesson.config.parsed import FoldedDict, ParsedConfig
from lesson.config.reading import parse_config
from lesson.config.summary import (
    data_file,
    lookup,
    name_data_sources,
    name_files,
    summarise_config,
    training_dataset,
    training_datasets,
)

CONFIG = parse_config(DONE.encode(), "x.py")


def load(**given: object) -> FoldedDict:
    found = FoldedDict()
    found.update(given)
    return found


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("max_length", 2048, 41),
        ("batch_size", 1, 48),
        ("lr", 2e-4, 54),
        ("dataset_map_fn", None, 116),
        ("dataset_path", "json", 113),
        ("system", "你是机智流，一个乐于助人的助手。", 66),
        ("evaluation_inputs", ["请介绍一下你自己", "Please introduce yourself"], 67),
        ("lora_r", 64, 100),
        ("warmup_ratio", 0.03, 58),
        ("use_varlen_attn", False, 36),
    ],
)
def test_values_and_lines_are_those_that_decide(name, value, line):
    assert lookup(CONFIG, name) == (value, line)


def test_what_is_absent_has_the_line_of_what_would_hold_it():
    bare = parse_config(b"x = 1\nmodel = dict(\n  llm=dict(a=1))\ncustom_hooks = []\n", "x.py")
    assert lookup(bare, "torch_dtype") == (None, 3) and lookup(bare, "lr") == (None, 1)
    assert lookup(bare, "system") == (None, 4)
    assert lookup(parse_config(b"x = 1\n", "x.py"), "system") == (None, 1)
    assert training_dataset(bare) is None and training_datasets(bare) == []


def test_a_hook_is_told_by_its_type_and_its_key():
    source = DONE.replace("        system=SYSTEM,\n", "").replace(
        "tokenizer=tokenizer),\n", "tokenizer=tokenizer, system='no'),\n", 1
    )
    assert lookup(parse_config(source.encode(), "x.py"), "system")[0] is None
    twice = DONE.replace("custom_hooks = [", "custom_hooks = [\n    dict(type=EvaluateChatHook, tokenizer=tokenizer),")
    assert lookup(parse_config(twice.encode(), "x.py"), "system")[0] == "你是机智流，一个乐于助人的助手。"


def test_deepspeed_s_dump_has_two_values_elsewhere():
    dump = ParsedConfig(
        "x.py", values={"strategy": load(gradient_accumulation_steps=8, gradient_clipping=0.5)}, lines={"strategy": 7}
    )
    assert lookup(dump, "accumulative_counts") == (8, 7) and lookup(dump, "max_norm") == (0.5, 7)
    both = config_of(accumulative_counts=2)
    both.values["strategy"] = load(gradient_accumulation_steps=8)
    assert lookup(both, "accumulative_counts")[0] == 2 and lookup(both, "max_norm")[0] is None


def concatenated(*sets: object) -> ParsedConfig:
    return ParsedConfig(
        "x.py", values={"train_dataloader": load(dataset=load(datasets=list(sets)))}, lines={"train_dataloader": 3}
    )


def test_the_first_of_several_data_sets_is_looked_up_and_all_are_named():
    one, two = load(max_length=1), load(max_length=2)
    found = concatenated(one, two)
    assert training_dataset(found)[1] is one and lookup(found, "max_length") == (1, 3)
    assert training_datasets(found) == [one, two]
    inner = load(datasets=(two, 5, one))
    assert training_datasets(concatenated(one, inner)) == [one, two, one]
    assert training_dataset(concatenated()) is None and training_dataset(concatenated(5)) is None


def test_no_more_than_a_hundred_are_read(monkeypatch):
    monkeypatch.setattr(summary, "MOST_DATASETS", 3)
    sets = [load(dataset=load(data_files=f"{n}.jsonl")) for n in range(5)]
    assert training_datasets(concatenated(*sets)) == sets[:3]
    assert training_datasets(concatenated(*sets[:2], load(datasets=sets))) == [*sets[:2], sets[0]]
    assert name_data_sources(concatenated(*sets)) == ["0.jsonl", "1.jsonl", "2.jsonl"]
    assert name_files(load(data_files=[f"{n}.jsonl" for n in range(5)])) == ["0.jsonl", "1.jsonl", "2.jsonl"]


@pytest.mark.parametrize(
    ("given", "files"),
    [
        ({"data_files": "a.jsonl"}, ["a.jsonl"]),
        ({"data_files": ["a", ("b", {"x": "c"})]}, ["a", "b", "c"]),
        ({"data_files": {"train": ["a"], "test": "b"}}, ["a", "b"]),
        ({"data_files": "a", "path": "json"}, ["a"]),
        ({"data_files": "a", "path": "/x"}, ["/x/a"]),
        ({"data_files": "a", "path": "./x"}, ["./x/a"]),
        ({"data_files": "/b/a", "path": "/x"}, ["/b/a"]),
        ({"data_files": "a", "path": "/x", "data_dir": "d"}, ["d/a"]),
        ({"data_files": "a", "data_dir": 5}, ["a"]),
        ({"data_files": 5, "path": "x.json"}, ["x.json"]),
        ({"path": "x.jsonl"}, ["x.jsonl"]),
        ({"path": "x.csv"}, []),
        ({"path": 5}, []),
        ({}, []),
    ],
)
def test_the_files_that_a_loader_names(given, files):
    assert name_files(load(**given)) == files


def test_folders_are_sources_where_no_file_is_named():
    def sources(**given: object) -> list[str]:
        return name_data_sources(concatenated(load(dataset=load(**given))))

    assert sources(path="rows") == ["rows"] and sources(path="json", data_dir="rows") == ["rows"]
    assert sources(path="json", data_files="a") == ["a"] and sources(path=5) == []
    assert name_data_sources(concatenated(load(dataset=5))) == []


@pytest.mark.parametrize(
    ("given", "file"),
    [("a", "a"), (["a"], "a"), ({"train": ["a"]}, "a"), (["a", "b"], None), ({"x": "a", "y": "b"}, None), ([], None), (5, None), (None, None)],
)  # fmt: skip
def test_the_one_file_that_is_trained_on(given, file):
    assert data_file(concatenated(load(dataset=load(data_files=given)))) == file


def test_a_summary_is_json():
    found = summarise_config(CONFIG)
    assert found["data_file"] == "/root/lesson/data/assistant_Tuner_change.jsonl" and found["seed"] == 42
    assert found["template"] == {"ref": "xtuner.utils.PROMPT_TEMPLATE.internlm2_chat"}
    assert set(found) == {*summary.SUMMARY, "data_file"}
