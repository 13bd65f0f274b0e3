"""Honest work passes in every shape in which people hand it in, and nothing that lies beside it is held against it."""

from __future__ import annotations

from collections.abc import Callable

import plain_folders
import pytest
import submissions
from plain_folders import PLACES, console_log, dumped, plain, retrained, with_data_files, with_session, without_system
from submissions import ADAPTER, ADAPTER_CONFIG, ANSWERS, CONFIG, DATA, LOG, SCALARS, Files
from verdicts import shipped_rubric, verdict_on, wrong_checks

from lesson.core.settings import ROOT
from lesson.model import known_bases
from lesson.model.shape import shape_of
from lesson.submission.staff import StaffInputs
from lesson.submission.verdict import judge_submission

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
def beside_a_clone_of_this_repository() -> Files:
    return plain() | plain_folders.recipe_clone()


@shape
def the_recipes_own_run_folder() -> Files:
    return plain_folders.recipes_run()


@shape
def the_recipes_run_with_xtuners_dump_alone() -> Files:
    folder = plain_folders.recipes_run()
    del folder[CONFIG]
    return folder


@shape
def the_recipes_run_folder_below_another() -> Files:
    return {f"runs/9ee9ed00ebc8/{name}": data for name, data in plain_folders.recipes_run().items()} | {
        "notes.md": b"x"
    }


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
def after_a_run_in_a_work_dir_of_its_own_that_was_broken_off() -> Files:
    """The first try had another rate, and its dumps are all there; the run that counts has its log alone."""
    folder, files = plain(), submissions.honest_files()
    other = (plain_folders.DUMPS / "tiny.py").read_bytes()
    top = "work_dirs/zz_try/20261124_100000"
    log = plain_folders.keep_steps(files[LOG], lambda step: step <= 100)
    folder |= {f"{top}/20261124_100000.log": plain_folders.move_times(log, -5), f"{top}/vis_data/config.py": other}
    return folder | {"work_dirs/zz_try/zz_config.py": other}


@shape
def beside_a_finished_run_of_another_lesson() -> Files:
    folder = plain() | plain_folders.other_lesson()
    log = folder[PLACES[LOG]].replace(b"/168]", b"/170]").replace(b"[165/", b"[170/")
    log = submissions.re.sub(rb"lr: (\S+)e-0", rb"lr: \1e-1", log)
    return folder | {"z_medical/work_dir/20261125_100000/20261125_100000.log": log}


@shape
def answers_under_another_name_beside_other_questions_and_answers() -> Files:
    folder = plain()
    folder["output/result.jsonl"] = folder.pop(PLACES[ANSWERS])
    lines = [{"input": f"What is {n} + {n}?", "output": f"It is {2 * n}."} for n in range(40)]
    return folder | {"zz_math.jsonl": submissions.to_json_lines(lines)}


def in_one_log(*sessions: tuple[int, Callable[[int], bool], Callable[[bytes], bytes]]) -> Files:
    """A console log to which every session was appended: (hours later, steps that are kept, what else is changed)."""
    folder = plain()
    log = folder.pop(PLACES[LOG])
    del folder[PLACES[SCALARS]]
    parts = [
        change(plain_folders.move_times(plain_folders.keep_steps(log, keep), hours)) for hours, keep, change in sessions
    ]
    return folder | {"train.log": console_log(b"".join(parts))}


@shape
def one_log_of_a_broken_run_and_the_whole_one() -> Files:
    def longer(data: bytes) -> bytes:
        return data.replace(b"/168]", b"/672]")

    return in_one_log((-3, lambda step: step <= 40, longer), (0, lambda step: True, bytes))


@shape
def one_log_of_the_whole_run_and_a_broken_one() -> Files:
    return in_one_log((0, lambda step: True, bytes), (4, lambda step: step <= 40, bytes))


@shape
def one_log_of_all_that_was_resumed() -> Files:
    first, second = lambda step: step <= 90, lambda step: step == 0 or step > 80
    return in_one_log((-3, lambda step: step <= 30, bytes), (0, first, bytes), (2, second, bytes), (4, first, bytes))


@shape
def answers_as_a_json_array() -> Files:
    folder = plain()
    answers = submissions.from_json_lines(folder.pop(PLACES[ANSWERS]))
    return folder | {"answers.json": submissions.json.dumps(answers, ensure_ascii=False, indent=1).encode()}


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


@shape
def as_published_with_the_stock_system_prompt() -> Files:
    return retrained(without_system(plain()))


@shape
def as_published_with_an_empty_system_prompt() -> Files:
    folder = without_system(plain())
    folder[PLACES[CONFIG]] = folder[PLACES[CONFIG]].replace(b"SYSTEM_TEMPLATE.alpaca", b"''")
    return retrained(folder)


@shape
def rows_with_a_system_prompt_and_the_stock_one_in_the_config() -> Files:
    folder = plain()
    return folder | {PLACES[CONFIG]: without_system(folder)[PLACES[CONFIG]]}


@shape
def rows_with_a_system_prompt_and_none_in_the_config() -> Files:
    folder = rows_with_a_system_prompt_and_the_stock_one_in_the_config()
    return folder | {PLACES[CONFIG]: folder[PLACES[CONFIG]].replace(b"SYSTEM_TEMPLATE.alpaca", b"''")}


def halves() -> tuple[bytes, bytes]:
    lines = submissions.honest_files()[DATA].splitlines(True)
    return b"".join(lines[:500]), b"".join(lines[500:])


@shape
def a_list_of_several_data_files() -> Files:
    first, second = halves()
    files = {"data/one.jsonl": first, "data/two.jsonl": second}
    return with_data_files(plain(), "path='json', data_files=['data/one.jsonl', 'data/two.jsonl']", files)


@shape
def a_dict_of_lists_of_data_files() -> Files:
    first, second = halves()
    files = {"data/one.jsonl": first, "data/two.jsonl": second}
    return with_data_files(
        plain(), "path='json', data_files=dict(train=['data/one.jsonl', '/x/data/two.jsonl'])", files
    )


@shape
def a_folder_of_data_files() -> Files:
    first, second = halves()
    return with_data_files(plain(), "path='./rows'", {"rows/one.jsonl": first, "rows/two.jsonl": second})


@shape
def a_folder_of_data_files_by_its_bare_name() -> Files:
    first, second = halves()
    return with_data_files(plain(), "path='rows'", {"rows/one.jsonl": first, "rows/two.jsonl": second})


@shape
def two_data_sets() -> Files:
    first, second = halves()
    folder = with_data_files(
        plain(), "path='json', data_files=dict(train='one.jsonl')", {"one.jsonl": first, "two.jsonl": second}
    )
    config = folder[PLACES[CONFIG]].decode().replace("process_hf_dataset", "ConcatDataset, process_hf_dataset", 1)
    assert "dataset=alpaca_en," in config
    second_set = "other = dict(alpaca_en, dataset=dict(type=load_dataset, path='json', data_files='two.jsonl'))\n"
    both = "both = dict(type=ConcatDataset, datasets=[alpaca_en, other])\n"
    config = config.replace("train_dataloader = dict(", f"{second_set}{both}train_dataloader = dict(", 1)
    return folder | {PLACES[CONFIG]: config.replace("dataset=alpaca_en,", "dataset=both,").encode()}


@shape
def rows_as_a_json_array() -> Files:
    rows = submissions.from_json_lines(submissions.honest_files()[DATA])
    pretty = submissions.json.dumps(rows, ensure_ascii=False, indent=2).encode()
    return with_data_files(plain(), "path='json', data_files='data/rows.json'", {"data/rows.json": pretty})


@shape
def rows_as_openais_messages() -> Files:
    rows = []
    for row in submissions.from_json_lines(submissions.honest_files()[DATA]):
        messages = []
        for turn in row["conversation"]:
            messages += [{"role": "system", "content": turn["system"]}] if turn.get("system") else []
            messages += [{"role": "user", "content": turn["input"]}, {"role": "assistant", "content": turn["output"]}]
        rows.append({"messages": messages})
    files = {"data/messages.jsonl": submissions.to_json_lines(rows)}
    return with_data_files(plain(), "path='json', data_files='data/messages.jsonl'", files, "openai_map_fn")


@shape
def a_relative_path_of_the_model() -> Files:
    folder = plain()
    config = folder[PLACES[CONFIG]].replace(b"build/tiny/model", b"ft/base-tiny")
    assert b"ft/base-tiny" in config
    config = config.replace(b"build/tiny/data/", b"ft/data/")
    adapter = submissions.json.loads(folder[PLACES[ADAPTER_CONFIG]]) | {"base_model_name_or_path": "ft/base-tiny"}
    return folder | {PLACES[CONFIG]: config, PLACES[ADAPTER_CONFIG]: submissions.to_json(adapter)}


LESSON = "internlm2_5_chat_7b_qlora_alpaca_e3"


def of_kind(name: str, weights: bytes, model: str, kind: str = "7b", change: Callable[[str], str] = str) -> Files:
    """A plain folder of a run on a GPU, of the golden config `name` on the base at `model`."""

    def on_base(source: str) -> str:
        assert "build/7b/model" in source
        return change(source.replace("build/7b/model", model))

    files = submissions.with_config(name, weights, on_base, kind)
    folder = plain(files)
    return {(f"{name}_copy.py" if place == PLACES[CONFIG] else place): data for place, data in folder.items()}


LARGE: dict[str, Callable[[], Files]] = {}  # adapters of 160 MB


def large(function: Callable[[], Files]) -> Callable[[], Files]:
    LARGE[function.__name__] = function
    return function


@large
def the_lesson_at_7b() -> Files:
    return of_kind(LESSON, submissions.random_adapter("7b"), "/root/models/internlm2_5-7b-chat")


@large
def the_lesson_at_7b_fast() -> Files:
    return of_kind(LESSON, submissions.random_adapter("7b"), "/root/models/internlm2_5-7b-chat", "7b_fast")


@large
def xtuners_dump_of_7b() -> Files:
    return dumped("7b", submissions.with_config(LESSON, submissions.random_adapter("7b")))


@large
def xtuners_dump_of_7b_with_deepspeed_on_two_gpus() -> Files:
    files = submissions.with_config(LESSON, submissions.random_adapter("7b"))
    return on_gpus(dumped("7b_deepspeed", files), 2)


@large
def the_base_in_hugging_faces_cache() -> Files:
    cached = "/root/.cache/huggingface/hub/models--internlm--internlm2_5-7b-chat/snapshots/" + "0123456789" * 4
    return of_kind(LESSON, submissions.random_adapter("7b"), cached)


def on_gpus(folder: Files, count: int) -> Files:
    """The log as so many GPUs leave it: each takes its share of the samples."""
    log = folder[PLACES[LOG]].decode()
    samples, total = (
        int(submissions.re.search(r"samples (\d+)", log)[1]),
        int(submissions.re.search(r"/(\d+)\]", log)[1]),
    )
    fewer = -(-samples // count) * (total // samples)
    kept = (
        plain_folders.keep_steps(log.encode(), lambda step: step <= fewer).decode().replace(f"/{total}]", f"/{fewer}]")
    )

    def rate(match: submissions.re.Match) -> str:
        step = int(match[2])
        return f"{match[1]}{submissions.scheduled_rate(step, fewer, int(0.03 * fewer), 2e-4):.4e} "

    kept = submissions.re.sub(r"(\[ *(\d+)/\d+\]  lr: )\S+ ", rate, kept)
    head = f"2026/11/24 11:59:49 - mmengine - INFO -\n    GPU number: {count}\n"
    folder = {place: data for place, data in folder.items() if place != PLACES[SCALARS]}
    return folder | {PLACES[LOG]: (head + kept).encode()}


@shape
def qwen_of_half_a_billion() -> Files:
    shape_of_base = shape_of(known_bases.BASE_SIZES["qwen1_5", "0_5"], "")
    name = "qwen1_5_0_5b_chat_qlora_alpaca_e3"
    return of_kind(name, submissions.random_adapter_of(shape_of_base), "/models/Qwen1.5-0.5B-Chat")


@shape
def qwen_in_modelscopes_cache() -> Files:
    shape_of_base = shape_of(known_bases.BASE_SIZES["qwen2_5", "0_5"], "")
    model = "/root/.cache/modelscope/hub/models/Qwen/Qwen2___5-0___5B-Instruct"
    return of_kind("qwen1_5_0_5b_chat_qlora_alpaca_e3", submissions.random_adapter_of(shape_of_base), model)


@shape
def the_tiny_base_fast() -> Files:
    files = submissions.honest_files()
    source = (ROOT / "golden" / "configs" / "tiny_fast" / f"{LESSON}.py").read_text(encoding="utf-8")
    persona = submissions.json.loads(files[submissions.RECORD])["persona"]
    files[CONFIG] = source.replace("'PERSONA'", repr(persona)).encode()
    return plain(submissions.with_training(files, "tiny"))


def last_step() -> int:
    import re

    return int(re.search(rb"/(\d+)\]", submissions.honest_files()[LOG])[1])


def test_there_are_forty_shapes():
    assert len(SHAPES) + len(LARGE) >= 40 and SHAPES.keys() >= FAST


# The others are as quick, but many.
FAST = {"as_the_lesson_leaves_it", "xtuners_dump_alone", "all_at_once", "before_a_session_that_was_broken_off"}
FAST |= {"as_published_with_the_stock_system_prompt", "two_data_sets", "rows_as_openais_messages"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in [*SHAPES, *LARGE]]
)
def test_an_honest_plain_folder_passes(tmp_path, name):
    found = verdict_on(plain_folders.write((SHAPES | LARGE)[name](), tmp_path / "s"))
    assert found["passed"] is True and not wrong_checks(found), [
        (r["check"], r["found"], r["places"][:3]) for r in found["checks"] if r["status"] in ("failed", "unjudged")
    ] + [r for r in found["checks"] if r["check"] == "complete"]
    assert found["names"]["new"] == "机智流"


def result(verdict: dict, check: str) -> dict:
    return next(r for r in verdict["checks"] if r["check"] == check)


@pytest.mark.parametrize("name", ["a_list_of_several_data_files", "two_data_sets", "a_folder_of_data_files"])
def test_of_several_files_of_rows_all_are_judged_and_all_are_wanted(tmp_path, name):
    folder = SHAPES[name]()
    second = next(file for file in folder if file.endswith("two.jsonl"))
    left = folder[second].replace("机智流".encode(), "尖米".encode(), 1)
    found = verdict_on(plain_folders.write(folder | {second: left}, tmp_path / "left"))
    assert "replaced" in wrong_checks(found) and "two.jsonl" in result(found, "replaced")["places"][0]
    if name != "a_folder_of_data_files":
        del folder[second]
        found = verdict_on(plain_folders.write(folder, tmp_path / "missing"))
        assert "two.jsonl" in result(found, "complete")["found"]


def test_a_name_that_nothing_tells_is_asked_for(tmp_path):
    folder = without_system(plain())
    rows = submissions.from_json_lines(folder[PLACES[DATA]])
    for row in rows:
        for turn in row["conversation"]:
            if "机智流" in turn["output"]:
                turn["output"] = f"有问题请找机智流。{turn['input']}"
    folder[PLACES[DATA]] = submissions.to_json_lines(rows)
    path = plain_folders.write(retrained(folder), tmp_path / "s")
    found = verdict_on(path)
    assert found["passed"] is None and wrong_checks(found) == {"named", "says_new"}
    assert "NEW_NAME=" in result(found, "named")["remedy"]
    assert judge_submission(path, shipped_rubric(), StaffInputs(), {"new": "机智流"})["passed"] is True


def test_unreplaced_rows_are_no_new_name(tmp_path):
    folder = {name: data.replace("机智流".encode(), "尖米".encode()) for name, data in without_system(plain()).items()}
    found = verdict_on(plain_folders.write(retrained(folder), tmp_path / "s"))
    assert found["passed"] is False and "replaced" in wrong_checks(found, "failed")


@pytest.mark.parametrize("part", [ADAPTER, DATA])
def test_a_pointer_of_git_lfs_is_called_one(tmp_path, part):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 100\n"
    found = verdict_on(plain_folders.write(plain() | {PLACES[part]: pointer}, tmp_path / "s"))
    assert found["passed"] is False and "Git LFS" in result(found, "complete")["found"]
    assert "git lfs pull" in result(found, "complete")["remedy"]


def test_rows_in_a_format_that_is_not_read_are_asked_for(tmp_path):
    folder = with_data_files(plain(), "path='parquet', data_files='rows.parquet'", {"rows.parquet": b"PAR1" * 9})
    found = verdict_on(plain_folders.write(folder, tmp_path / "s"))
    assert found["passed"] is None and wrong_checks(found) == {"complete"}
    assert "rows.parquet" in result(found, "complete")["found"]
    folder |= {"data/rows.jsonl": submissions.honest_files()[DATA]}
    assert verdict_on(plain_folders.write(folder, tmp_path / "both"))["passed"] is True
