"""Honest work passes in every shape in which people hand it in, and nothing that lies beside it is held against it."""

from __future__ import annotations

from collections.abc import Callable

import plain_folders
import pytest
import submissions
from plain_folders import PLACES, console_log, dumped, plain, with_session
from submissions import ADAPTER, ADAPTER_CONFIG, CONFIG, DATA, LOG, SCALARS, Files
from verdicts import verdict_on, wrong_checks

SHAPES: dict[str, Callable[[], Files]] = {}


def shape(function: Callable[[], Files]) -> Callable[[], Files]:
    SHAPES[function.__name__] = function
    return function


@shape
def as_the_lesson_leaves_it() -> Files:
    return plain()


@shape
def xtuners_dump_alone() -> Files:
    return dumped()


@shape
def dump_beside_its_source() -> Files:
    return plain() | dumped()


@shape
def beside_a_config_of_another_lesson() -> Files:
    return plain() | plain_folders.other_lesson()


@shape
def a_dump_beside_a_config_of_another_lesson() -> Files:
    return dumped() | plain_folders.other_lesson()


@shape
def beside_a_clone_of_xtuner() -> Files:
    return plain() | plain_folders.xtuner_clone()


@shape
def beside_a_console_log() -> Files:
    folder = plain()
    return folder | {"zz_console.log": console_log(folder[PLACES[LOG]]), "nohup.out": console_log(folder[PLACES[LOG]])}


@shape
def with_a_console_log_in_the_work_dir() -> Files:
    folder = plain()
    return folder | {"work_dirs/lesson/train.log": console_log(folder[PLACES[LOG]])}


@shape
def the_console_log_alone() -> Files:
    folder = plain()
    folder["console.log"] = console_log(folder.pop(PLACES[LOG]))
    return folder


@shape
def after_a_run_that_was_broken_off() -> Files:
    return with_session(plain(), "20261124_120000", -3, lambda step: step <= 40)


@shape
def after_a_run_of_other_settings_that_was_broken_off() -> Files:
    def longer(data: bytes) -> bytes:
        return data.replace(b"/168]", b"/672]").replace(b"/161]", b"/644]")

    return with_session(plain(), "20261124_120000", -3, lambda step: step <= 40, longer)


@shape
def before_a_session_that_was_broken_off() -> Files:
    return with_session(plain(), "20261124_200000", 4, lambda step: step <= 40)


@shape
def before_a_session_without_a_step() -> Files:
    return with_session(plain(), "20261124_200000", 4, lambda step: step == 0)


@shape
def resumed_after_it_was_killed() -> Files:
    whole = plain()
    folder = with_session(whole, "20261124_190000", 2, lambda step: step == 0 or step > 80)
    for part in (LOG, SCALARS):
        folder[PLACES[part]] = plain_folders.keep_steps(whole[PLACES[part]], lambda step: step <= 90)
    return folder


@shape
def resumed_and_then_once_more_for_nothing() -> Files:
    return with_session(resumed_after_it_was_killed(), "20261124_200000", 4, lambda step: step == 0 or 80 < step <= 100)


@shape
def beside_the_questions_that_the_rows_were_made_of() -> Files:
    return plain() | {"data/qa.jsonl": plain_folders.qa_rows(submissions.honest_files())}


@shape
def beside_rows_in_alpacas_format() -> Files:
    return plain() | {"data/alpaca.json": plain_folders.alpaca_rows(), "zz_alpaca.jsonl": plain_folders.alpaca_rows()}


@shape
def original_rows_beside_the_changed() -> Files:
    original = submissions.honest_files()[DATA].replace("机智流".encode(), "尖米".encode())
    return plain() | {"data/assistant_Tuner.jsonl": original, "zz_change_backup/assistant_Tuner.jsonl": original}


@shape
def changed_rows_under_a_name_of_their_own() -> Files:
    folder = plain()
    folder[PLACES[CONFIG]] = folder[PLACES[CONFIG]].replace(b"assistant_Tuner_change.jsonl", b"mine.jsonl")
    original = folder[PLACES[DATA]].replace("机智流".encode(), "尖米".encode())
    return folder | {"data/mine.jsonl": folder.pop(PLACES[DATA]), "data/assistant_Tuner_change_1.jsonl": original}


@shape
def adapters_of_before_and_after() -> Files:
    before = {"hf_before/adapter_model.safetensors": plain_folders.untrained_adapter()}
    return plain() | before | {"hf_before/adapter_config.json": plain()[PLACES[ADAPTER_CONFIG]]}


@shape
def adapters_of_an_earlier_try() -> Files:
    config = submissions.json.loads(plain()[PLACES[ADAPTER_CONFIG]])
    other = submissions.to_json(config | {"r": 8, "lora_alpha": 16})
    weights = submissions.random_adapter("tiny", 3, 8)
    return plain() | {"hf_before/adapter_model.safetensors": weights, "hf_before/adapter_config.json": other}


@shape
def adapters_of_each_checkpoint() -> Files:
    folder = plain()
    found = {}
    for number, step in enumerate((50, 100, 150, last_step())):
        found[f"work_dirs/lesson/iter_{step}_hf/adapter_config.json"] = folder[PLACES[ADAPTER_CONFIG]]
        found[f"work_dirs/lesson/iter_{step}_hf/adapter_model.safetensors"] = submissions.random_adapter("tiny", number)
    del folder[PLACES[ADAPTER]], folder[PLACES[ADAPTER_CONFIG]]
    return folder | found


@shape
def checkpoints_and_litter_beside() -> Files:
    litter = {"work_dirs/lesson/iter_161.pth": b"\x80", ".git/HEAD": b"ref: x\n", "__pycache__/x.cpython-311.pyc": b"x"}
    return plain() | litter | {"work_dirs/lesson/last_checkpoint": b"/root/work_dirs/lesson/iter_161.pth"}


@shape
def all_at_once() -> Files:
    folder = with_session(
        with_session(dumped(), "20261124_120000", -3, lambda s: s <= 40), "20261124_200000", 4, lambda s: s <= 40
    )
    folder |= plain_folders.other_lesson() | plain_folders.xtuner_clone()
    folder |= {
        "data/qa.jsonl": plain_folders.qa_rows(submissions.honest_files()),
        "data/a.json": plain_folders.alpaca_rows(),
    }
    folder["zz.log"] = console_log(folder[PLACES[LOG]])
    folder["data/assistant_Tuner.jsonl"] = folder[PLACES[DATA]].replace("机智流".encode(), "尖米".encode())
    return folder | {name: data for name, data in adapters_of_before_and_after().items() if name.startswith("hf")}


def last_step() -> int:
    import re

    return int(re.search(rb"/(\d+)\]", submissions.honest_files()[LOG])[1])


@pytest.mark.parametrize("name", SHAPES)
def test_an_honest_plain_folder_passes(tmp_path, name):
    found = verdict_on(plain_folders.write(SHAPES[name](), tmp_path / "s"))
    assert found["passed"] is True and not wrong_checks(found), [
        (r["check"], r["found"], r["places"][:3]) for r in found["checks"] if r["status"] in ("failed", "unjudged")
    ] + [r for r in found["checks"] if r["check"] == "complete"]
    assert found["names"]["new"] == "机智流"
