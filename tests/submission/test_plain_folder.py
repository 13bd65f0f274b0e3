"""Which file plays which part in a folder without submission.json, on folders that lie in memory."""

from __future__ import annotations

import functools
import hashlib
import json

import plain_folders
import pytest
import submissions
from configs import DONE
from fakes import view_of
from plain_folders import PLACES
from submissions import ADAPTER, ADAPTER_CONFIG, ANSWERS, CONFIG, CURVE, DATA, EVALUATION, LOG, RECORD, SCALARS

from lesson.submission import plain_folder
from lesson.submission.candidates import Candidates, find_candidates
from lesson.submission.plain_folder import (
    FoundParts,
    _common_end,
    _Folder,
    _lies_above,
    _outputs,
    _share_trained,
    find_parts,
)


@functools.cache
def honest() -> dict[str, bytes]:
    return submissions.honest_files()


def parts(files: dict[str, bytes]) -> dict[str, str]:
    return find_parts(view_of(files)).parts


def folder(files: dict[str, bytes]) -> _Folder:
    view = view_of(files)
    return _Folder(view, find_candidates(view))


def rows(*texts: str) -> bytes:
    return b"".join(
        json.dumps({"conversation": [{"input": text, "output": text}]}, ensure_ascii=False).encode() + b"\n"
        for text in texts
    )


def answers(*questions: str, output: str = "我是闻星。", **more: str) -> bytes:
    return b"".join(
        json.dumps({**more, "input": q, "output": output}, ensure_ascii=False).encode() + b"\n" for q in questions
    )


def test_an_honest_folder_has_all_its_parts():
    assert parts(plain_folders.plain()) == {
        "config": PLACES[CONFIG], "data": PLACES[DATA], "log": PLACES[LOG], "scalars": PLACES[SCALARS],
        "adapter": PLACES[ADAPTER], "adapter_config": PLACES[ADAPTER_CONFIG], "answers": PLACES[ANSWERS],
    }  # fmt: skip
    found = parts({f"mine/{name}": data for name, data in honest().items()})
    assert found["record"] == f"mine/{RECORD}" and found["curve"] == f"mine/{CURVE}"
    assert found["evaluation"] == f"mine/{EVALUATION}"
    assert parts({}) == {} and find_parts(view_of({})) == FoundParts({}, {})


def with_config(source: str, **names: bytes) -> dict[str, bytes]:
    """A folder with the lesson's config, whose rows are loaded as `source` says, and other files ("a__b" is a/b)."""
    load = 'dict(type=load_dataset, path="json", data_files=dict(train=alpaca_en_path))'
    text = DONE.replace(load, f"dict(type=load_dataset, {source})").encode()
    return {"c.py": text} | {name.replace("__", "/") + ".jsonl": data for name, data in names.items()}


@pytest.mark.parametrize(
    ("source", "files", "data", "more", "missing"),
    [
        ("path='json', data_files='/x/b.jsonl'", "a b", "b.jsonl", [], []),
        ("path='json', data_files=['/x/b.jsonl', 'y/a.jsonl']", "a b", "b.jsonl", ["a.jsonl"], []),
        ("path='json', data_files=['/x/b.jsonl', 'y/c.jsonl']", "a b", "b.jsonl", [], ["y/c.jsonl"]),
        ("path='json', data_files='/x/c.jsonl'", "a b", "b.jsonl", [], []),
        ("path='json', data_files='/x/*.jsonl'", "a b", "a.jsonl", ["b.jsonl"], []),
        ("path='/data/rows'", "rows__a rows__b c", "rows/a.jsonl", ["rows/b.jsonl"], []),
        ("path='/data/rows'", "x__rows__y__a c", "x/rows/y/a.jsonl", [], []),
        (r"path='json', data_files='D:\\x\\b.jsonl'", "a b", "b.jsonl", [], []),
        ("path='json', data_files='x/b.jsonl'", "x__b y__b z__x__b w__b", "z/x/b.jsonl", [], []),
        ("path='json', data_files='./b.jsonl'", "x__b y__b", "y/b.jsonl", [], []),
    ],
)  # fmt: skip
def test_rows_are_those_that_the_config_names(source, files, data, more, missing):
    found = find_parts(view_of(with_config(source, **{name: rows(name) for name in files.split()})))
    assert (found.parts["data"], found.more_data, found.missing_data) == (data, more, missing)


def test_without_a_config_rows_are_the_record_s_the_changed_ones_or_conversations():
    files = {"a.jsonl": rows("1"), "b.jsonl": rows("2"), "z.jsonl": plain_folders.alpaca_rows()}
    assert parts(files)["data"] == "b.jsonl"
    assert parts(files | {"a_change.jsonl": rows("3")})["data"] == "a_change.jsonl"
    record = json.loads(honest()[RECORD])
    record["inputs"]["data"] = hashlib.sha256(files["a.jsonl"]).hexdigest()
    known = files | {"a_change.jsonl": rows("3"), "run.json": submissions.to_json(record)}
    assert parts(known)["data"] == "a.jsonl"
    assert parts({"z.jsonl": plain_folders.alpaca_rows()})["data"] == "z.jsonl"


def test_a_folder_s_name_says_nothing_of_changed_rows():
    files = {"change/a.jsonl": rows("3"), "b.jsonl": plain_folders.alpaca_rows(), "d.jsonl": rows("4")}
    assert parts(files)["data"] == "d.jsonl"


LINE = "2026/11/24 {:02d}:00:{:02d} - mmengine - INFO - Iter(train) [{:3d}/{}]  lr: {:.1e}  time: 0.1  loss: {}\n"


def log(
    total: int = 30,
    hour: int = 12,
    rate: float = 2e-4,
    samples: int | None = None,
    last: int | None = None,
    every: int = 10,
) -> bytes:
    head = f"2026/11/24 {hour:02d}:00:00 - mmengine - INFO - Num train samples {samples}\n" if samples else ""
    steps = range(every, (last or total) + 1, every)
    return (head + "".join(LINE.format(hour, n % 60, n, total, rate, 3 - n / total) for n in steps)).encode()


def fit(source: str, data: bytes) -> int:
    found = folder({"c.py": source.encode(), "a.log": data})
    [run] = found.runs
    return found.fit_run(found.config("c.py"), run)


@pytest.mark.parametrize(
    ("old", "new", "given", "fits"),
    [
        ("", "", {"total": 30}, 3),  # its rate, and three epochs of ten
        ("", "", {"total": 32, "every": 8}, 2),
        ("", "", {"total": 30, "samples": 10}, 4),
        ("", "", {"total": 30, "samples": 11}, 2),
        ("batch_size = 1 ", "batch_size = 2 ", {"total": 30, "samples": 20}, 4),
        ("batch_size = 1 ", "batch_size = 2 ", {"total": 30, "samples": 19}, 4),
        ("batch_size = 1 ", "batch_size = 2 ", {"total": 30, "samples": 18}, 2),
        ("batch_size = 1 ", "batch_size = 0 ", {"total": 30, "samples": 10}, 2),
        ("batch_size = 1 ", "batch_size = 'x' ", {"total": 30, "samples": 10}, 2),
        ("max_epochs = 3", "max_epochs = 0", {"total": 30}, 2),
        ("max_epochs = 3", "max_epochs = 1", {"total": 30}, 3),
        ("lr = 2e-4", "lr = 1e-4", {"total": 30}, 1),
        ("lr = 2e-4", "lr = 6e-4", {"total": 30}, 3),
        ("lr = 2e-4", "lr = 7e-4", {"total": 30}, 1),
        ("lr = 2e-4", "lr = 'x'", {"total": 30}, 1),
    ],
)
def test_how_well_a_config_accounts_for_a_run(old, new, given, fits):
    assert old in DONE
    assert fit(DONE.replace(old, new) if old else DONE, log(**given)) == fits


def test_the_run_is_one_that_the_config_accounts_for_and_the_last_of_equal_ones():
    config = {"c.py": DONE.encode()}
    other = log(total=32, hour=15, rate=5e-5, every=8)
    assert parts(config | {"a.log": log(), "b.log": other})["log"] == "a.log"
    assert parts(config | {"a.log": log(hour=14), "b.log": log(hour=13)})["log"] == "a.log"
    assert parts(config | {"a.log": log(hour=13), "b.log": log(hour=14)})["log"] == "b.log"
    broken_off = log(hour=15, last=10)
    assert parts(config | {"a.log": log(hour=14), "b.log": broken_off})["log"] == "a.log"
    assert parts({"a.log": b"11/24 12:00:00 - mmengine - INFO - nothing\n"})["log"] == "a.log"


def test_a_log_that_cannot_be_read_or_is_too_much_is_none_of_a_run(monkeypatch):
    damaged = LINE.format(12, 1, 1, 30, 2e-4, 3).replace("2026/11/24", "2026/13/45").encode()
    found = folder({"a.log": damaged, "b.log": log()})
    assert [run.last.name for run in found.runs] == ["b.log"]
    size = len(log())
    for most, names in ((2 * size, ["a.log", "b.log"]), (2 * size - 1, ["a.log"]), (size - 1, [])):
        monkeypatch.setattr(plain_folder, "MOST_LOG_BYTES", most)
        assert [run.last.name for run in folder({"a.log": log(hour=11), "b.log": log(hour=14)}).runs] == names


def weight(files: dict[str, bytes], name: str = "c.py") -> int:
    return folder(files).weigh_config(name)[0]


def test_what_speaks_for_a_config():
    source = with_config("path='json', data_files='/x/b.jsonl'")
    assert weight(source) == 0 and weight(source | {"b.jsonl": rows("1")}) == 6
    adapter = {"hf/adapter_config.json": b'{"r": 64, "lora_alpha": 16, "lora_dropout": 0.1}'}
    assert weight(source | adapter) == 2 and weight(source | {"b.jsonl": rows("1")} | adapter) == 8
    assert weight(source | {"hf/adapter_config.json": b'{"r": 64, "lora_alpha": 16}'}) == 0
    record = json.loads(honest()[RECORD])
    sha = lambda data: hashlib.sha256(data).hexdigest()  # noqa: E731
    record["inputs"] |= {"config": sha(source["c.py"]), "data": sha(rows("1"))}
    told = source | {"run.json": submissions.to_json(record)}
    assert weight(told) == 0 and weight(told | {"z.jsonl": rows("1")}) == 16
    assert weight(told | {"z.jsonl": rows("1"), "c.py": source["c.py"] + b"\n"}) == 0


def test_of_equal_configs_the_one_that_imports_is_not_aside_and_lies_high_is_taken():
    source = DONE.encode()
    plain = DONE.replace("import torch\n", "").encode()
    assert parts({"a.py": source, "old.py": source})["config"] == "a.py"
    assert parts({"a.py": source, "x/z.py": source})["config"] == "a.py"
    assert parts({"a.py": source, "b.py": source})["config"] == "b.py"
    assert parts({"a.py": source, "b.py": b"train_dataloader = dict()\n"})["config"] == "a.py"
    assert parts({"a_before.py": plain, "b/c/d.py": plain})["config"] == "b/c/d.py"


def test_sixteen_configs_are_read_those_first_that_name_rows_that_are_here(monkeypatch):
    monkeypatch.setattr(plain_folder, "MOST_CONFIGS", 2)
    other = b"train_dataloader = dict()\n"
    named = with_config("path='json', data_files='/x/b.jsonl'")["c.py"]
    files = {"a.py": other, "b.py": other}
    assert folder(files).shortlist_configs() == ["a.py", "b.py"]
    files |= {"d/z.py": named, "b.jsonl": rows("1"), "c.py": named + b"x = 'PERSONA'\n", "x/y/e.py": named}
    assert folder(files).shortlist_configs() == ["d/z.py", "x/y/e.py"]
    assert folder({"x/a.py": other, "b.py": other, "a.py": other}).shortlist_configs() == ["a.py", "b.py"]


def adapters(*folders: str, rank: int = 64, whole: bool = True) -> dict[str, bytes]:
    config = submissions.to_json({"r": rank, "lora_alpha": 16, "lora_dropout": 0.1})
    files = {f"{name}/adapter_model.safetensors": _small_adapter() for name in folders}
    return files | ({f"{name}/adapter_config.json": config for name in folders} if whole else {})


@functools.cache
def _small_adapter(trained: bool = True) -> bytes:
    value = b"\x01\x02\x03\x04" * 4
    return submissions.safetensors(
        [("m.lora_A.weight", "F32", [2, 2], value), ("m.lora_B.weight", "F32", [2, 2], value if trained else bytes(16))]
    )


def chosen(files: dict[str, bytes]) -> str:
    found = parts({"c.py": DONE.encode(), "a.log": log(), **files})
    return found["adapter"].rpartition("/")[0]


def test_the_adapter_is_whole_fits_was_trained_and_is_the_last_step_s():
    assert chosen(adapters("a") | adapters("b", whole=False)) == "a"
    assert chosen(adapters("a") | adapters("b", rank=8)) == "a"
    assert chosen(adapters("a") | adapters("b") | {"b/adapter_model.safetensors": _small_adapter(False)}) == "a"
    assert chosen(adapters("a") | adapters("b") | {"b/adapter_model.safetensors": b"damaged"}) == "a"
    assert chosen(adapters("iter_30", "iter_9", "iter_99")) == "iter_30"
    assert chosen(adapters("hf", "iter_20")) == "hf" and chosen(adapters("a", "z_old")) == "a"
    assert chosen(adapters("b", "x/c")) == "b" and chosen(adapters("b", "c")) == "c"


def test_an_adapter_s_config_may_lie_elsewhere():
    found = parts(adapters("a", whole=False) | {"x/adapter_config.json": b"{}", "y/adapter_config.json": b"{}"})
    assert found["adapter_config"] == "y/adapter_config.json" and found["adapter"].startswith("a/")
    assert parts({"y/adapter_config.json": b"{}"}) == {"adapter_config": "y/adapter_config.json"}


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"a.jsonl": answers("x")}, None),  # nothing says that they are the assistant's
        ({"answers.jsonl": answers("x")}, "answers.jsonl"),
        ({"a.jsonl": answers("x", prompt="p")}, "a.jsonl"),
        ({"z.jsonl": answers("new"), "answers.jsonl": answers("x")}, "z.jsonl"),
        ({"z.jsonl": answers("new"), "a.jsonl": answers("new", prompt="p")}, "a.jsonl"),
        ({"a.jsonl": answers("new"), "eval_old.jsonl": answers("new"), "eval.jsonl": answers("new")}, "eval.jsonl"),
    ],
)
def test_answers_are_to_questions_that_were_not_trained_on(files, name):
    config = with_config("path='json', data_files='/x/b.jsonl'", b=rows("x", "y"))
    assert parts(config | files).get("answers") == name


def test_answers_with_prompts_beside_an_evaluation_come_first():
    told = {
        "a/x.jsonl": answers("q", prompt="p"),
        "b/y.jsonl": answers("q", prompt="p"),
        "a/evaluation.json": honest()[EVALUATION],
    }
    assert parts(told)["answers"] == "a/x.jsonl" and parts(told)["evaluation"] == "a/evaluation.json"
    assert parts({name: data for name, data in told.items() if name[-4:] != "json"})["answers"] == "b/y.jsonl"


def test_vis_data_is_that_of_each_session():
    files = plain_folders.plain()
    assert find_parts(view_of(files)).earlier == {"log": [], "scalars": []}
    lone = {"c.py": DONE.encode(), "a.log": log()}
    scalars = lambda step: submissions.to_json_lines([{"loss": 1.0, "step": step}])  # noqa: E731
    assert parts(lone | {"x.json": scalars(30), "y.json": scalars(20)})["scalars"] == "x.json"
    assert parts(lone | {"x.json": scalars(29), "y.json": scalars(20)})["scalars"] == "y.json"
    resumed = plain_folders.with_session(files, "20261124_170339", 2, lambda step: step > 80)
    cut = {
        PLACES[part]: plain_folders.keep_steps(files[PLACES[part]], lambda step: step <= 90) for part in (LOG, SCALARS)
    }
    found = find_parts(view_of(resumed | cut))
    top = "work_dirs/lesson/20261124_170339"
    assert found.earlier == {"log": [PLACES[LOG]], "scalars": [PLACES[SCALARS]]}
    assert (found.parts["log"], found.parts["scalars"]) == (
        f"{top}/20261124_170339.log",
        f"{top}/vis_data/scalars.json",
    )


def test_a_curve_is_that_of_the_run(monkeypatch):
    def curve(last: int) -> bytes:
        return submissions.to_json_lines(
            [{"step": n, "loss": 1.0, "lr": 1.0, "tokens": 9, "seconds": 1.0} for n in (1, last)]
        )

    lone = {"m/c.py": DONE.encode(), "m/w/a.log": log()}
    assert parts(lone | {"curve.jsonl": curve(9)})["curve"] == "curve.jsonl"
    assert "curve" not in parts(lone | {"x/curve.jsonl": curve(30)})
    assert parts(lone | {"curve.jsonl": curve(30), "m/curve.jsonl": curve(9)})["curve"] == "curve.jsonl"
    assert "curve" not in parts(lone | {"curve.jsonl": curve(8), "m/curve.jsonl": curve(9)})


@pytest.mark.parametrize(
    ("name", "work", "above"),
    [("run.json", ["a/b"], True), ("a/run.json", ["a/b/c"], True), ("a/run.json", ["ab/c"], False), ("a/b/run.json", ["a/c"], False), ("a/run.json", [], False), ("a/run.json", ["x", "a/y"], True)],
)  # fmt: skip
def test_what_lies_above_the_work(name, work, above):
    assert _lies_above(name, work) is above


@pytest.mark.parametrize(
    ("name", "path", "count"), [("a/b/c", "a/b/c", 3), ("b/c", "a/b/c", 2), ("x/c", "b/c", 1), ("c", "d", 0), ("a/x/c", "a/b/c", 1), ("", "a", 0)]
)  # fmt: skip
def test_the_common_end_of_two_paths(name, path, count):
    assert _common_end(name, path.split("/")) == count


def test_outputs_and_questions_of_whole_lines():
    head = answers("a", 'b"c') + b'{"output": "cut'
    assert _outputs(head) == ["我是闻星。"] * 2 and len(_outputs(b'{"output": 1}\n' * 2001)) == 2000
    assert _share_trained(head, b'{"input": "a"}') == 0.5 and _share_trained(head, rows("a", 'b"c')) == 1
    assert _share_trained(b"", b"") == 0
    many = answers(*(f"q{n}" for n in range(201)))
    assert _share_trained(many, b" ".join(b'"q%d"' % n for n in range(200))) == 1.0


def test_a_document_that_is_none_is_empty():
    found = folder(
        {
            "a.json": b"[1]",
            "b.json": b"{",
            "c.json": b'{"inputs": {"data": "x", "config": 3}}',
            "d.json": b'{"inputs": 3}',
        }
    )
    assert (found.document("a.json"), found.document("b.json")) == ({}, {})
    assert found.recorded("c.json", "data") == "x" and found.recorded("c.json", "config") is None
    assert found.recorded("d.json", "data") is None and Candidates().config == []
