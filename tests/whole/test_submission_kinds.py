"""Honest submissions of every kind pass with nothing against them: engines, formats, resumes, names, bases."""

from __future__ import annotations

import json
import re

import pytest
import submissions
from verdicts import verdict_on, wrong_checks

from lesson.model import known_bases as bases
from lesson.model.shape import shape_of
from lesson.submission.staff import StaffInputs


def clean(files: submissions.Files, path, staff: StaffInputs | None = None) -> dict:
    found = verdict_on(submissions.pack(files, path), staff)
    assert found["passed"] is True and not wrong_checks(found), [r for r in found["checks"] if r["status"] == "failed"]
    return found


def result(found: dict, name: str) -> dict:
    return next(r for r in found["checks"] if r["check"] == name)


@pytest.mark.parametrize("name", ["Luna-7", "R2-D2 Mk.3", "龘靐", "小助手Bob", "𠮷野", "Ёлка", "Q&A<b>"])
@pytest.mark.slow
def test_names_of_any_script_digits_and_signs(tmp_path, name):
    files = submissions.with_training(submissions.with_name(name), "tiny")
    assert clean(files, tmp_path / "s.zip")["names"]["new"] == name


def test_deepspeed_several_processes_and_a_fast_run_record(tmp_path):
    files = submissions.honest_files()
    record = json.loads(files[submissions.RECORD])
    record |= {"deepspeed": "deepspeed_zero2", "checkpoint": record["checkpoint"] | {"sha256": None}}
    clean(
        submissions.link_hashes(files | {submissions.RECORD: submissions.to_json(record)}), tmp_path / "deepspeed.zip"
    )
    clean(
        submissions.link_hashes(files | {submissions.RECORD: submissions.to_json(record | {"speed": "fast"})}),
        tmp_path / "fast.zip",
    )
    odd = submissions.link_hashes(files | {submissions.RECORD: submissions.to_json(record | {"speed": "warp"})})
    assert "record" in wrong_checks(verdict_on(submissions.pack(odd, tmp_path / "odd.zip")))


def test_a_resumed_run_in_two_folders_of_xtuners_is_read_as_one(tmp_path):
    """A plain work_dir whose first session was killed after step 90 and resumed at 80: 5 to 90, then 85 to the end."""
    files = submissions.honest_files()

    def step(line: bytes) -> int:
        match = re.search(rb"Iter\(train\) +\[ *(\d+)/|\"step\": (\d+)", line)
        return int(match[1] or match[2]) if match else 0

    places = {
        submissions.CONFIG: "config_copy.py",
        submissions.DATA: "rows.jsonl",
        submissions.ANSWERS: "answers.jsonl",
    }
    places |= {
        submissions.ADAPTER_CONFIG: "hf/adapter_config.json",
        submissions.ADAPTER: "hf/adapter_model.safetensors",
    }
    written = {place: files[name] for name, place in places.items()}
    for session, keep in (("20261124_150339", lambda n: n <= 90), ("20261124_160000", lambda n: n == 0 or n > 80)):
        for part, place in ((submissions.LOG, f"{session}.log"), (submissions.SCALARS, "vis_data/scalars.json")):
            kept = [line for line in files[part].splitlines(True) if keep(step(line))]
            written[f"work_dir/{session}/{place}"] = b"".join(kept)
    for place, data in written.items():
        (tmp_path / "s" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / place).write_bytes(data)
    found = verdict_on(tmp_path / "s")
    assert found["passed"] is True and not wrong_checks(found), [r for r in found["checks"] if r["status"] == "failed"]
    assert [point[0] for point in found["curve"]] == list(range(5, found["curve"][-1][0] + 1, 5))
    # The first session alone is a run that was stopped.
    for path in (tmp_path / "s" / "work_dir" / "20261124_160000").rglob("*.*"):
        path.unlink()
    assert "finished" in wrong_checks(verdict_on(tmp_path / "s"))


def bfloat16(source: str) -> str:
    return source.replace("torch.float16", "torch.bfloat16").replace("'float16'", "'bfloat16'")


@pytest.mark.slow
@pytest.mark.parametrize("kind, change", [("7b", str), ("7b", bfloat16), ("7b_fast", str)])
def test_the_lesson_at_7b_in_each_format(tmp_path, kind, change):
    files = submissions.with_config(
        "internlm2_5_chat_7b_qlora_alpaca_e3", submissions.random_adapter("7b"), change, kind
    )
    clean(files, tmp_path / "s")


QWEN = {"qwen1_5_0_5b_chat_qlora_alpaca_e3": ("qwen1_5", "0_5"), "qwen_1_8b_chat_qlora_alpaca_e3": ("qwen", "1_8")}


@pytest.mark.parametrize("name", QWEN)
@pytest.mark.slow
def test_other_families_are_held_against_their_own_sizes(tmp_path, name):
    shape = shape_of(bases.BASE_SIZES[QWEN[name]], name)
    files = submissions.with_config(name, submissions.random_adapter_of(shape, rank=64))
    clean(files, tmp_path / "s")
    other = shape_of({**bases.BASE_SIZES[QWEN[name]], "intermediate_size": 2048}, name)
    files = submissions.with_config(name, submissions.random_adapter_of(other, rank=64))
    assert wrong_checks(verdict_on(submissions.pack(files, tmp_path / "other"))) == {"adapter_shapes"}


def test_an_unknown_base_is_not_judged_by_its_shapes_unless_the_staff_name_it(tmp_path):
    name = "qwen_72b_qlora_alpaca_e3"
    sizes = {"model_type": "qwen2", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4}
    sizes |= {"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 1000}
    shape = shape_of(sizes, name)
    path = submissions.pack(submissions.with_config(name, submissions.random_adapter_of(shape)), tmp_path / "s.zip")
    found = verdict_on(path)
    assert found["passed"] is None and wrong_checks(found) == {"adapter_shapes"}
    assert (
        result(found, "adapter_shapes")["status"] == "unjudged" and "MODEL" in result(found, "adapter_shapes")["remedy"]
    )
    assert not wrong_checks(verdict_on(path, StaffInputs(base=shape)))
    other = shape_of({**sizes, "intermediate_size": 2048}, name)
    assert wrong_checks(verdict_on(path, StaffInputs(base=other))) == {"adapter_shapes"}


@pytest.mark.parametrize(
    "name, told",
    [
        ("internlm/internlm2_5-7b-chat", ("internlm2_5", "7")),
        ("Qwen/Qwen1.5-0.5B-Chat", ("qwen1_5", "0_5")),
        ("/models/Qwen-1_8B", ("qwen", "1_8")),
        ("qwen_7b_chat_qlora_alpaca_enzh_e3_copy.py", ("qwen", "7")),
        ("build/7b/model", None),
        ("internlm2_chat_20b_qlora_code_alpaca_e3", ("internlm2", "20")),
        ("x" * 10**6 + "qwen_7b" + "_" * 400, None),
        (None, None),
    ],
)
def test_a_base_is_told_by_its_name(name, told):
    assert bases.family_and_size(name) == told


SMALL = "qwen1_5_0_5b_chat_qlora_alpaca_e3"  # the stock config that Qwen2.5-0.5B is trained with


def on_base(name: str, shape) -> submissions.Files:
    """An honest submission whose run record says that the base is `name`; the adapter calls it that."""
    files = submissions.with_config(SMALL, submissions.random_adapter_of(shape, rank=64))
    record = json.loads(files[submissions.RECORD])
    described = {"name": name, "hub": None, "revision": None, "model_type": "qwen2", "license": None}
    files[submissions.RECORD] = submissions.to_json(record | {"base": described})
    adapter = json.loads(files[submissions.ADAPTER_CONFIG]) | {"base_model_name_or_path": name}
    return files | {submissions.ADAPTER_CONFIG: submissions.to_json(adapter)}


def test_a_base_of_another_size_than_the_stock_configs_is_held_against_its_own(tmp_path):
    shape = shape_of(bases.BASE_SIZES["qwen2_5", "1_5"], "")
    clean(on_base("Qwen/Qwen2.5-1.5B-Instruct", shape), tmp_path / "hub.zip")
    wrong = verdict_on(submissions.pack(on_base("Qwen/Qwen2.5-7B-Instruct", shape), tmp_path / "wrong.zip"))
    assert wrong_checks(wrong) == {"adapter_shapes"}
    own = submissions.pack(on_base("/home/me/mine", shape), tmp_path / "own.zip")
    assert result(verdict_on(own), "adapter_shapes")["status"] == "unjudged"
    assert not wrong_checks(verdict_on(own, StaffInputs(base=shape)))


def test_an_adapter_that_names_another_base_than_the_record_is_found(tmp_path):
    shape = shape_of(bases.BASE_SIZES["qwen2_5", "1_5"], "")
    files = on_base("Qwen/Qwen2.5-1.5B-Instruct", shape)
    adapter = json.loads(files[submissions.ADAPTER_CONFIG]) | {"base_model_name_or_path": "Qwen/Qwen2-1.5B-Instruct"}
    files[submissions.ADAPTER_CONFIG] = submissions.to_json(adapter)
    assert wrong_checks(verdict_on(submissions.pack(files, tmp_path / "s.zip"))) == {"config_base"}
