"""The documents of a submission: each read once, under its limit, and told where it is none."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

import pytest
from configs import DONE
from fakes import config_of, view_of
from submissions import CONFIG, RECORD, honest_files

from lesson.config.parsed import FoldedDict, Ref
from lesson.core.refusals import Broken
from lesson.data.rules import SOURCE_NAMES
from lesson.evaluation.judging import BASE_NAMES
from lesson.model.tiny_base import SHIPPED_HASH
from lesson.submission import evidence as module
from lesson.submission.evidence import LARGEST_DOCUMENT, LARGEST_LIST, LARGEST_LOG, LARGEST_ROWS, MOST_TURNS, Evidence


def evidence(files: dict[str, bytes], names: dict[str, str] | None = None, **parts: str) -> Evidence:
    found = Evidence(view_of(files), names)
    if parts:
        found.parts = parts
    return found


def lines(*objects: object) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in objects)


def test_sizes_are_bounded_as_they_say():
    mib = 1024 * 1024
    assert (8 * mib, 64 * mib, 32 * mib, 64 * mib) == (LARGEST_DOCUMENT, LARGEST_LOG, LARGEST_LIST, LARGEST_ROWS)


def test_a_document_is_read_up_to_its_limit():
    found = evidence({"x": b"12345"}, config="x")
    assert found.read("config", 5) == b"12345"
    with pytest.raises(Broken):
        found.read("config", 4)


def test_files_of_a_part_are_measured_together():
    found = evidence({"a": b"1" * 6, "b": b"1" * 4, "c": b"1" * 3}, log="a", data="a")
    found.require_size("log", 6)
    found.earlier = {"log": ["b"]}
    found.require_size("log", 10)
    with pytest.raises(Broken, match=r"^a: > 0 MiB$"):
        found.require_size("log", 9)
    found.more_data = ["c"]
    found.require_size("data", 9)
    with pytest.raises(Broken):
        found.require_size("data", 8)
    with pytest.raises(Broken, match="> 3 MiB"):
        evidence({"a": b"1" * (4 << 20)}, log="a").require_size("log", 3 << 20)


def test_lines_come_after_those_of_earlier_sessions_and_are_bounded():
    found = evidence({"a": b"3\n4\n", "b": b"1\n2\n"}, log="a")
    found.earlier = {"log": ["b"]}
    assert list(found.lines("log")) == [(1, b"1"), (2, b"2"), (1, b"3"), (2, b"4")]
    with pytest.raises(Broken):
        list(found.lines("log", 1))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"a": 1}\n\n{"b": 2}\n', [(1, {"a": 1}), (3, {"b": 2})]),
        (b'\n [{"a": 1},\n {"b": 2}]', [(1, {"a": 1}), (2, {"b": 2})]),
        (b"", []),
        (b'{"a": 1}\n3\n', "x:2: not an object"),
        (b"[3]", "x:1: not an object"),
        (b'[{"a": 1}, 3]', "x:2: not an object"),
        (b'{"a": 1}\n{\n', "x:2"),
    ],
)
def test_objects_of_lines_or_of_an_array(data, found):
    given = evidence({"x": data}, answers="x")
    if isinstance(found, list):
        assert list(given.objects("answers")) == found
    else:
        with pytest.raises(Broken, match=f"^{found}"):
            list(given.objects("answers"))


def test_a_record_s_time_is_one():
    record = json.loads(honest_files()[RECORD])
    for finished, fine in (("2026-11-24T13:00:00+00:00", True), ("soon", False)):
        given = evidence({"run.json": lines(record | {"finished": finished})}, record="run.json")
        if fine:
            assert given.record["finished"] == finished and given.sound_record is given.record
        else:
            with pytest.raises(Broken, match=r"^run.json: \$.finished: no time: soon$"):
                _ = given.record
            assert given.sound_record is None
    assert evidence({}, data="x").sound_record is None


def test_an_adapter_s_config_is_an_object():
    assert evidence({"x": b'{"r": 1}'}, adapter_config="x").adapter_config == {"r": 1}
    with pytest.raises(Broken, match=r"^x: not an object$"):
        _ = evidence({"x": b"[]"}, adapter_config="x").adapter_config


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ({"input": "a", "output": "b", "more": 3}, {"input": "a", "output": "b"}),
        (
            {"kind": "k", "prompt": "p", "input": "a", "output": "b"},
            {"kind": "k", "prompt": "p", "input": "a", "output": "b"},
        ),
        ({"input": "a", "output": "b", "before": None}, {"input": "a", "output": "b"}),
        (
            {"input": "a", "output": "b", "before": ["x"] * 9},
            {"input": "a", "output": "b", "before": ["x"] * MOST_TURNS},
        ),
        ({"input": "a"}, "x:1: no input or output"),
        ({"output": "a", "input": 3}, "x:1: no input or output"),
        ({"input": "a", "output": "b", "kind": 3}, "x:1: kind: not a text"),
        ({"input": "a", "output": "b", "prompt": None}, "x:1: prompt: not a text"),
        ({"input": "a", "output": "b", "before": "x"}, "x:1: before: not texts"),
        ({"input": "a", "output": "b", "before": ["x", 3]}, "x:1: before: not texts"),
    ],
)
def test_what_is_read_of_an_answer(line, read):
    given = evidence({"x": lines(line)}, answers="x")
    if isinstance(read, dict):
        assert given.answers == [read]
    else:
        with pytest.raises(Broken, match=f"^{read}$"):
            _ = given.answers
    assert MOST_TURNS == 8


def test_points_are_the_objects_that_have_the_key():
    rows = lines({"step": 1, "loss": 2.0, "seconds": 0.5}, {"note": 1}, {"step": 2, "loss": 1})
    found = evidence({"x": rows}, curve="x").curve
    assert [(p.step, p.loss, p.seconds == p.seconds) for p in found] == [(1, 2.0, True), (2, 1.0, False)]
    with pytest.raises(Broken, match=r"^x:2: step = -1$"):
        _ = evidence({"x": lines({"step": 1}, {"step": -1})}, curve="x").curve


LOG = "2026/11/24 12:00:0{} - mmengine - INFO - Iter(train) [{:3d}/{}]  lr: 1e-4  time: 0.1  loss: {}\n"


def test_vis_data_is_that_of_the_run_in_the_log():
    scalars = lines(
        *(
            {"step": step, "loss": loss, "time": 0.1}
            for step, loss in ((1, 9.0), (2, 8.0), (1, 7.0), (2, 6.0), (3, 5.0))
        )
    )
    log = "".join(LOG.format(n, n, 2, 9 - n) for n in (1, 2)).encode()
    given = evidence({"x": scalars, "l": log}, scalars="x", log="l")
    assert [p.loss for p in given.scalars] == [9.0, 8.0]
    assert [p.loss for p in evidence({"x": scalars}, scalars="x").scalars] == [7.0, 6.0, 5.0]


def row(question: object, answer: object = "b") -> dict:
    return {"conversation": [{"input": question, "output": answer}]}


def test_questions_are_folded_and_what_is_no_conversation_has_none():
    data = lines(row("你是谁？"), row("ABC"), row(None), {"conversation": 3}, 3, {}) + b"{\n\n" + lines(row("d"))
    found = evidence({"x": data, "y": lines(row("more"))}, data="x")
    found.more_data = ["y"]
    assert {"abc", "d", "more", ""} <= found.trained_questions and len(found.trained_questions) == 5


def test_the_digest_of_rows_leaves_out_how_they_are_written():
    def digest(data: bytes) -> str:
        return evidence({"x": data}, data="x").rows_digest

    base = b'{"a": 1, "b": "\xe9\x97\xbb"}\n{"c": 2}\n'
    assert digest(base) == digest(b'{"b":"\\u95fb",  "a":1}\r\n\n{"c": 2}') != digest(b'{"c": 2}\n' + base[:-9])
    assert digest(base) != digest(base + b"{broken\n") == digest(base + b"  {broken \n")


def test_fingerprints_are_of_what_copies_keep():
    files = {"a": b"1", "b": b"2", "c": b"3", "d": b"4"}

    def digest(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    given = evidence(files, adapter="a", answers="b", config="c")
    assert given.fingerprints == {"adapter": digest(b"1"), "answers": digest(b"2")}
    given = evidence(files, config="c", data="d", log="a")
    assert given.fingerprints == {"log": digest(b"1"), "inputs": digest((digest(b"3") + digest(b"4")).encode())}


def test_a_name_is_the_staff_s_word_else_what_the_documents_declare():
    given = evidence({}, {"new": "甲", "old": "乙"}, data="x")
    given.manifest = {"names": {"new": "丙", "old": "丁"}}
    assert (given.new_name, given.old_name, given.old_names) == ("甲", "乙", ("乙",))
    given = evidence({}, data="x")
    given.manifest = {"names": {"new": "丙", "old": "丁"}}
    assert (given.new_name, given.old_name) == ("丙", "丁") and given.old_names == ("丁", *SOURCE_NAMES)
    given = evidence({}, data="x")
    given.manifest = {"names": {"new": SOURCE_NAMES[0]}}
    assert given.old_name == SOURCE_NAMES[0] and given.old_names == SOURCE_NAMES[1:]
    given = evidence({"e": b'{"broken"'}, record="e", evaluation="e")
    assert given.new_name is None and given.old_name == SOURCE_NAMES[0]


def told_name(rows: bytes, system: object = None) -> str | None:
    given = evidence({"x": rows}, data="x", config="c")
    given.config = config_of() if system is None else _with_system(system)
    return given.new_name


def _with_system(system: object):
    config = config_of()
    hook = FoldedDict()
    hook.update({"type": Ref("xtuner.engine.hooks.EvaluateChatHook"), "system": system})
    config.values["custom_hooks"] = [hook]
    return config


def test_without_a_declared_name_the_prompts_and_then_the_answers_tell_it():
    said = lines(*(row(f"q{n}", "我是小海豚，很高兴认识你。") for n in range(30)))
    prompted = lines(
        *({"conversation": [{"system": "你是闻星，一个助手。", "input": f"{n}", "output": "好"}]} for n in range(30))
    )
    assert told_name(said, "你是小鲸，一个助手。") == "小鲸"
    assert told_name(prompted) == "闻星" and told_name(said) == "小海豚"
    unreplaced = lines(*(row(f"q{n}", f"我是{SOURCE_NAMES[0]}，很高兴认识你。") for n in range(30)))
    assert told_name(unreplaced) is None and told_name(b"") is None


def profiled(max_length: object = None, path: str = "build/model", model_type: str = "X") -> str:
    given = evidence({}, config="c")
    given.config = config_of(model_path=path)
    given.config.values["model"]["type"] = Ref(f"xtuner.model.{model_type}")
    if max_length is not None:
        given.config.values["max_length"] = max_length
    return given.profile


def test_the_profile_is_declared_or_told_by_the_config():
    assert (profiled(512), profiled(511), profiled(), profiled(2048)) == ("tiny", "7b", "7b", "7b")
    assert profiled(512, "internlm/internlm2_5-7b-chat") == "7b"
    assert profiled(512, model_type="SmallFinetune") == profiled(2048, model_type="SmallFinetune") == "small"
    assert evidence({}, data="x").profile == "7b"
    given = evidence({}, data="x")
    given.manifest = {"profile": "small"}
    assert given.profile == "small"


def test_what_was_trained_on_the_shipped_base_is_counted_with_its_tokenizer():
    record = json.loads(honest_files()[RECORD])

    def given(profile: str, base: object, digest: str) -> Evidence:
        found = evidence({}, config="c")
        found.profile, found.record = profile, record | {"base": base, "inputs": record["inputs"] | {"base": digest}}
        return found

    assert (
        given("tiny", None, SHIPPED_HASH).on_shipped_base and given("tiny", None, SHIPPED_HASH)._has_shipped_tokenizer
    )
    assert given("tiny", None, "x").on_shipped_base and not given("tiny", None, "x")._has_shipped_tokenizer
    assert not given("tiny", {"name": "a"}, SHIPPED_HASH).on_shipped_base
    assert not given("7b", None, SHIPPED_HASH).on_shipped_base
    bare = evidence({}, config="c")
    bare.profile = "tiny"
    assert bare.on_shipped_base and not bare._has_shipped_tokenizer and bare.base_name is None


def test_the_base_is_told_by_record_config_adapter_or_the_stock_config_s_name():
    def given(**found: object) -> Evidence:
        made = evidence({}, config=str(found.pop("file", "config.py")))
        made.base_name = found.pop("base_name", None)
        made.config = config_of(model_path=found.pop("path", "build/model"))
        made.adapter_config = {"base_model_name_or_path": found.pop("adapter", None)}
        made.record = found
        return made

    qwen, intern = ("qwen1_5", "0_5"), ("internlm2_5", "7")
    assert given(base_name="Qwen1.5-0.5B-Chat", path="internlm2_5-7b-chat").base == qwen
    assert given(base_name="mine", path="internlm2_5-7b-chat").base is None
    assert given(path="internlm2_5-7b-chat", adapter="Qwen/Qwen1.5-0.5B").base == intern
    assert given(adapter="Qwen/Qwen1.5-0.5B", config="internlm2_5_chat_7b_qlora_alpaca_e3").base == qwen
    assert given(config="internlm2_5_chat_7b_qlora_alpaca_e3").base == intern
    assert given(file="qwen1_5_0_5b_chat_qlora_alpaca_e3_copy.py").base == qwen
    assert given().base is None and given(path=3).base is None


def test_a_base_calls_itself_by_its_own_names_and_the_lesson_s():
    given = evidence({}, config="c")
    given.base_name, given.base = "Qwen2.5-0.5B", None
    assert "Qwen" in " ".join(given.own_base_names) and set(BASE_NAMES) <= set(given.own_base_names)
    given = evidence({}, config="c")
    given.base_name, given.base = None, None
    assert given.own_base_names == tuple(BASE_NAMES)


def test_parts_are_those_of_the_manifest_or_told_by_content():
    files = honest_files()
    assert Evidence(view_of({**files, "submission.json": b"{"})).manifest_error
    found = Evidence(view_of({**files, "submission.json": b"{", "a.pth": b"", "B.PKL": b""}))
    assert found.parts["config"] == CONFIG and found.pickles == ["B.PKL", "a.pth"] and found.manifest is None
    plain = Evidence(view_of({"my.py": DONE.encode(), "a.jsonl": lines(row("a"))}))
    assert plain.parts["config"] == "my.py" and plain.parts["data"] == "a.jsonl" and plain.manifest_error is None


def test_rows_are_measured_with_the_config_s_template(monkeypatch):
    asked = []
    monkeypatch.setattr(module.schedule, "measure_stream", lambda stream, *rest: asked.append(rest) or "measured")
    given = evidence({"x": lines(row("a"))}, data="x", config="c")
    given.config, given.old_name, given.profile, given.base_name = _templated(), "旧", "7b", None
    assert given.data == "measured" and asked == [("qwen_chat", None, "旧")]
    bare = evidence({"x": lines(row("a"))}, data="x")
    bare.old_name, bare.profile = "旧", "7b"
    assert bare.data == "measured" and asked[-1] == ("None", None, "旧")


def _templated():
    return config_of(template=SimpleNamespace(name="xtuner.utils.PROMPT_TEMPLATE.qwen_chat"))
