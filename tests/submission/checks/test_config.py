"""The checks of the submitted config at their borders."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from configs import DONE
from fakes import config_of, evidence_of, fails, passes, view_of

from lesson.config.reading import parse_config
from lesson.submission.checks import config
from lesson.submission.checks.config import _is_trust, _same_base


def evidence(source: str = DONE, rows: tuple[str, ...] = ("data.jsonl",), others: tuple[str, ...] = (), **given):
    view = view_of(dict.fromkeys(("config.py", *rows, *others), b""))
    return evidence_of(
        **(
            {
                "config": parse_config(source.encode(), "config.py"),
                "view": view,
                "row_files": list(rows),
                "old_name": "尖米",
            }
            | given
        )
    )


def test_trust_and_the_lesson_s_rules_are_two_checks():
    assert passes(config.config_only, evidence()) == "nothing else"
    assert passes(config.config_rules, evidence()) == "no error"
    hostile = evidence(DONE + "import os\nfrom os import path\n")
    assert len(fails(config.config_only, hostile, "^import os; ")) == 2
    assert passes(config.config_rules, hostile) == "no error"
    slip = evidence(DONE.replace("dataset_map_fn=None", "dataset_map_fn=alpaca_map_fn"))
    assert passes(config.config_only, slip) == "nothing else"
    assert fails(config.config_rules, slip, "^xtuner.dataset.map_fns.alpaca_map_fn; ")[0].startswith("config.py:116: ")
    for rule, trust in (
        ("trust-x", True),
        ("syntax", True),
        ("undefined", True),
        ("cannot-load", True),
        ("base", True),
        ("map-fn", False),
        ("model-trust-", False),
    ):
        assert _is_trust(rule) is trust


def test_the_stock_config_that_the_record_names_is_meant():
    other = evidence(DONE.replace("internlm2_5-7b-chat", "internlm2-chat-7b"))
    assert passes(config.config_rules, other) == "no error"
    other.sound_record = {"config": "internlm2_5_chat_7b_qlora_alpaca_e3_copy.py"}
    fails(config.config_rules, other, "internlm2 ≠ internlm2_5")


def test_folders_that_were_handed_in_are_no_data_sets_of_a_hub():
    """`rows` with a file below it that was handed in, or at the top of what was, is a folder; `alpaca` is a hub's."""
    load = 'dict(type=load_dataset, path="json", data_files=dict(train=alpaca_en_path))'
    there = DONE.replace(load, 'dict(type=load_dataset, path="some/rows")')
    fails(config.config_rules, evidence(there), "^some/rows; ")
    assert passes(config.config_rules, evidence(there, ("a/rows/b.jsonl",))) == "no error"
    fails(config.config_rules, evidence(there, ("a/rows2/b.jsonl", "rows")), "^some/rows; ")
    slash = there.replace("some/rows", "some/rows/")
    assert passes(config.config_rules, evidence(slash, ("a/rows/b.jsonl",))) == "no error"
    top = there.replace("some/rows", "rows")
    assert passes(config.config_rules, evidence(top, others=("rows/x/b.txt",))) == "no error"
    fails(config.config_rules, evidence(top, others=("rows",)), "^rows; ")


def with_persona(persona: str | None, system: object = "你是机智流。") -> SimpleNamespace:
    line = next(line for line in DONE.splitlines() if line.startswith("SYSTEM = "))
    return evidence(
        DONE.replace(line, f"SYSTEM = {system!r}"), data=SimpleNamespace(persona=persona), parts={"config": "c.py"}
    )


def test_the_system_prompt_is_the_rows_own():
    found = passes(config.config_data, with_persona("你是机智流。"))
    assert found == "/root/lesson/data/assistant_Tuner_change.jsonl"
    for persona, system in ((None, "你是机智流。"), ("", "你是机智流。"), ("你是闻星。", ""), ("你是闻星。", None)):
        passes(config.config_data, with_persona(persona, system))
    fails(config.config_data, with_persona("你是闻星。"), "^c.py:66: 你是机智流。 ≠ 你是闻星。$")


@pytest.mark.parametrize(
    ("path", "name", "recorded", "same"),
    [
        ("build/model", "build/model", None, True),
        ("./build/model", "build/model/", None, True),
        ("build/model", "/home/me/build/model", None, True),
        ("./build/model", "/home/me/build/model", None, True),
        ("../build/model", "/home/me/build/model", None, True),
        ("build/model", "home/me/build/model", None, False),
        ("build/model", "/home/mybuild/model", None, False),
        ("build/model", "/home/me/model", None, False),
        ("build/model", "qwen", "qwen", True),
        ("build/model", "qwen", "qwen2", False),
        (r"C:\b\model", "C:/b/model", None, True),
        ("/a/b", "/x/a/b", None, True),
    ],
)
def test_the_same_base_under_another_path(path, name, recorded, same):
    assert _same_base(path, name, recorded) is same


def bases(path: str, adapter: str, manifest: str | None = None, record: bool = False, name: str | None = None):
    return evidence_of(
        config=config_of(model_path=path),
        adapter_config={"base_model_name_or_path": adapter},
        manifest=manifest and {"base": manifest},
        parts={"record": "run.json"} if record else {},
        base_name=name,
    )


def test_config_adapter_and_manifest_name_one_base():
    assert passes(config.config_base, bases("a/b", "/x/a/b", "a/b")) == "a/b"
    fails(config.config_base, bases("a/b", "a/c"), "^config: a/b, adapter: a/c$")
    fails(config.config_base, bases("a/b", "a/b", "a/c"), "^config: a/b, adapter: a/b, manifest: a/c$")
    passes(config.config_base, bases("a/b", "a/c", name="a/c"))


def test_the_recipe_s_link_may_lead_anywhere_where_no_record_tells():
    passes(config.config_base, bases("build/tiny/model", "/hub/qwen"))
    passes(config.config_base, bases("build/tiny/model/", "/hub/qwen"))
    fails(config.config_base, bases("build/tiny/mymodel", "/hub/qwen"))
    fails(config.config_base, bases("build/tiny/model", "/hub/qwen", record=True))
    fails(config.config_base, bases("build/tiny/model", "/hub/qwen", "build/tiny/model"))
