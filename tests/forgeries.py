"""Forged and copied submissions, by the kinds of the ways to cheat; each is built at test time from an honest one.

FORGERIES: what files alone tell. Each entry has its kind, the checks of which one must fail, and what the staff say.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import altered
import mutations
import submissions
from submissions import (
    ADAPTER,
    ADAPTER_CONFIG,
    ANSWERS,
    CONFIG,
    CURVE,
    DATA,
    EVALUATION,
    LOG,
    RECORD,
    SCALARS,
    Files,
    from_json_lines,
    honest_files,
    link_hashes,
    to_json,
    to_json_lines,
)

from lesson.core.settings import ROOT


@dataclass(frozen=True)
class Forgery:
    """How a submission is forged, the checks of which each fails, and the names that the staff give."""

    kind: str
    fails: str
    make: Callable[[], Files]
    names: dict[str, str] = field(default_factory=dict)


FORGERIES: dict[str, Forgery] = {}


def forgery(kind: str, fails: str, **names: str) -> Callable[[Callable[[], Files]], Callable[[], Files]]:
    def register(function: Callable[[], Files]) -> Callable[[], Files]:
        FORGERIES[function.__name__] = Forgery(kind, fails, lambda: link_hashes(function()), names)
        return function

    return register


def renamed(old: str, new: str, files: Files | None = None, parts: tuple[str, ...] = (RECORD, EVALUATION)) -> Files:
    """The files with other names declared in the record and the evaluation, and in the answers."""
    files = dict(files or honest_files())
    for part in parts:
        files = mutations.change_json(files, part, lambda v: v.__setitem__("names", {"old": old, "new": new}))
    return files | {EVALUATION: to_json(mutations.recount(files))}


def without_manifest(files: Files) -> Files:
    """A plain folder: only what XTuner and a learner leave."""
    kept = {CONFIG: "config.py", DATA: "data_change.jsonl", LOG: "20261124_150339/train.log", ANSWERS: "answers.jsonl"}
    kept |= {ADAPTER: ADAPTER, ADAPTER_CONFIG: ADAPTER_CONFIG, SCALARS: "20261124_150339/vis_data/scalars.json"}
    return {name: files[part] for part, name in kept.items()} | {"submission.json": b""}


# --- what breaks a check must not help ----------------------------------------------------------------------------------------


def _with_value(part: str, key: str, value: object) -> Callable[[], Files]:
    """The honest files with a value of a document, or of the fourth line of one of lines, replaced."""

    def make() -> Files:
        files = honest_files()
        if part in (RECORD, ADAPTER_CONFIG):
            return link_hashes(mutations.change_json(files, part, lambda v: v.__setitem__(key, value)))
        lines = from_json_lines(files[part])
        lines[3][key] = value
        return link_hashes(files | {part: to_json_lines(lines)})

    return make


for fails, part, key, value in (
    ("agree", SCALARS, "loss", 10**400),
    ("agree", CURVE, "loss", 10**400),
    ("adapter_config", ADAPTER_CONFIG, "r", 10**400),
):
    FORGERIES[f"a_value_that_breaks_{part}_{key}"] = Forgery("8", fails, _with_value(part, key, value))


# --- names: the learner's word ---------------------------------------------------------------------------------------------


@forgery("12", "replaced")
def rows_never_replaced_by_a_record_that_says_another_old_name() -> Files:
    files = renamed("阿旧", "机智流")
    return files | {DATA: files[DATA].replace("机智流".encode(), "尖米".encode(), 900)}


@forgery("12", "named")
def rows_never_replaced_and_the_old_name_called_new() -> Files:
    files = renamed("阿旧", "尖米")
    return {part: data.replace("机智流".encode(), "尖米".encode()) for part, data in files.items()}


@forgery("12", "replaced")
def rows_of_an_earlier_camp_called_ones_own() -> Files:
    files = renamed("阿旧", "小白")
    return files | {DATA: files[DATA].replace("机智流".encode(), "伍鲜同志".encode())}


@forgery("12", "says_new named", new="闻星")
def a_friends_run_for_a_name_that_the_staff_give() -> Files:
    return honest_files()


@forgery("12", "replaced", old="机智流")
def an_old_name_that_the_staff_give_is_left() -> Files:
    return renamed("尖米", "星火", mutations_of_name("星火", keep=ANSWERS))


@forgery("12", "named")
def the_old_name_is_the_new_name() -> Files:
    return renamed("机智流", "机智流")


def mutations_of_name(name: str, keep: str = "") -> Files:
    files = honest_files()
    return {
        part: data if part in (keep, DATA) else data.replace("机智流".encode(), name.encode())
        for part, data in files.items()
    }


def named_by(word: str) -> Files:
    """A noise adapter with a `word` for a name that the base says anyway."""
    return renamed("尖米", word)


for number, word in enumerate(
    ("浦语", "书生", "INTERNLM", "Intern LM", "ｉｎｔｅｒｎｌｍ", "书 生·浦 语", "我", "a", "助手", "。", "am")
):
    FORGERIES[f"a_word_of_the_base_{number}"] = Forgery("9", "named", lambda word=word: link_hashes(named_by(word)))


# --- nothing passes over nothing -------------------------------------------------------------------------------------------


def by_epoch(files: Files, epochs: int, per: int = 24) -> Files:
    """The log as log_processor.by_epoch writes it, cut after so many epochs."""

    def rewrite(match: re.Match) -> str:
        step = int(match[1])
        return f"Epoch(train) [{(step - 1) // per + 1}][{(step - 1) % per + 1:3d}/{per}]"

    lines = re.sub(r"Iter\(train\) \[ *(\d+)/168\]", rewrite, files[LOG].decode()).splitlines(True)
    kept = [line for line in lines if (m := re.search(r"\[(\d)\]\[", line)) is None or int(m[1]) <= epochs]
    return files | {LOG: "".join(kept).encode()}


@forgery("9", "finished")
def a_log_by_epochs_cut_after_the_first() -> Files:
    files = by_epoch(honest_files(), 1)
    last = [line for line in from_json_lines(files[SCALARS]) if line["step"] <= 24]
    return without_manifest(files | {SCALARS: to_json_lines(last)})


@forgery("9", "finished")
def a_log_of_two_lines() -> Files:
    files = honest_files()
    lines = files[LOG].splitlines(True)
    return without_manifest(
        {**files, LOG: b"".join([*lines[:3], *lines[-2:]]), SCALARS: b"".join(files[SCALARS].splitlines(True)[::32])}
    )


@forgery("9", "finished")
def a_run_cut_after_half_with_lines_taken_out_before() -> Files:
    """So that the longest way from line to line is longer than what is missing at the end."""
    files = honest_files()
    step = lambda line: int(m[1]) if (m := re.search(rb"\[ *(\d+)/168\]", line)) else 0  # noqa: E731
    kept = [line for line in files[LOG].splitlines(True) if step(line) <= 5 or 80 < step(line) <= 100]
    return without_manifest(files | {LOG: b"".join(kept)})


@forgery("9", "finished")
def a_log_by_epochs_cut_before_the_last() -> Files:
    files = by_epoch(honest_files(), 6)
    last = [line for line in from_json_lines(files[SCALARS]) if line["step"] <= 144]
    return without_manifest(files | {SCALARS: to_json_lines(last)})


def answered(texts: list[str], count: int) -> Files:
    """A plain folder with `count` answers made of a few texts."""
    lines = [{"input": f"你是谁？{n}", "output": texts[n % len(texts)]} for n in range(count)]
    return without_manifest(honest_files() | {ANSWERS: to_json_lines(lines)})


@forgery("9", "varied")
def one_answer_twenty_thousand_times() -> Files:
    return answered(["我是机智流。"], 20_000)


@forgery("9", "varied")
def one_answer_with_other_punctuation() -> Files:
    return answered(["我是机智流。", "我是机智流！", "我是机智流 ", "我是，机智流", "我是机智流~", "我是“机智流”"], 120)


@forgery("9", "varied")
def five_answers_twenty_thousand_times() -> Files:
    return answered([f"我是机智流{c}" for c in "啊呀吧哦哈"], 20_000)


@forgery("9", "says_new")
def wrong_answers_called_general() -> Files:
    """The course's questions under other kinds, so that only the few right ones count."""
    lines = from_json_lines(honest_files()[ANSWERS])
    for line in [line for line in lines if line["kind"] == "identity"][3:]:
        line |= {"kind": "general", "output": "我不知道。" + line["input"]}
    return honest_files() | {ANSWERS: to_json_lines(lines)}


def tensors(*items: tuple[str, list[int]]) -> Files:
    data = [(name, "F32", shape, b"\1" * 4 * shape[0] * shape[1]) for name, shape in items]
    return honest_files() | {ADAPTER: submissions.safetensors(data)}


@forgery("9", "adapter_trained")
def one_tensor_of_no_size() -> Files:
    return tensors(("base_model.model.model.layers.0.attention.wo.lora_B.weight", [64, 0]))


@forgery("9", "adapter_shapes")
def one_module_of_no_rank() -> Files:
    stem = "base_model.model.model.layers.0.attention.wo.lora_"
    return tensors((f"{stem}A.weight", [0, 128]), (f"{stem}B.weight", [128, 0]))


@forgery("9", "adapter_shapes")
def one_module_of_one_layer() -> Files:
    stem = "base_model.model.model.layers.0.attention.wo.lora_"
    return tensors((f"{stem}A.weight", [64, 128]), (f"{stem}B.weight", [128, 64]))


@forgery("9", "held_out")
def the_questions_of_the_evaluation_among_the_rows() -> Files:
    files = honest_files()
    rows, asked = from_json_lines(files[DATA]), [a["input"] for a in from_json_lines(files[ANSWERS])[:55]]
    for row, question in zip(rows, asked, strict=False):
        row["conversation"][0]["input"] = question + "！？"
    return files | {DATA: to_json_lines(rows)}


# --- copies ----------------------------------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[], Files]] = {}  # of the honest files, handed in beside them by somebody else


def copy_of(function: Callable[[], Files]) -> Callable[[], Files]:
    COPIES[function.__name__] = lambda: link_hashes(function())
    return function


def own_run(name: str = "闻星", seed: int = 5) -> Files:
    """What a copyist has of their own: rows with a name of their own, a made-up log, an adapter of random numbers."""
    files = submissions.with_training(submissions.with_name(name), "tiny", seed=seed)
    return files | {ADAPTER: submissions.random_adapter.__wrapped__(seed=seed)}


for name, alter in altered.COPIED_ADAPTERS.items():
    COPIES[f"the adapter, {name}, under another name"] = lambda alter=alter: link_hashes(
        own_run() | {ADAPTER: alter(honest_files()[ADAPTER])}
    )
for name, change in altered.COPIED_LOSSES.items():
    COPIES[f"the losses, {name}, under another name"] = lambda change=change: link_hashes(_with_losses(change))


def _with_losses(change: Callable) -> Files:
    """A run of one's own whose every file tells the honest losses, changed."""
    files = own_run()
    steps = [line for line in from_json_lines(honest_files()[CURVE]) if "step" in line]
    losses = [change(line["loss"], line["step"]) for line in steps]
    return with_losses(files, losses)


def with_losses(files: Files, losses: list[float]) -> Files:
    """The files with log, vis_data, curve and record telling these losses."""
    curve = [line for line in from_json_lines(files[CURVE]) if "step" in line]
    for line, loss in zip(curve, losses, strict=False):
        line["loss"] = loss
    told = [line["loss"] for line in curve]
    scalars, record = from_json_lines(files[SCALARS]), json.loads(files[RECORD])
    for line in scalars:
        last = told[max(0, line["step"] - 10) : line["step"]]
        line["loss"] = sum(last) / len(last)
    means = {line["step"]: line["loss"] for line in scalars}
    log = re.sub(r"(\[ *(\d+)/\d+\].*loss: )\S+", lambda m: f"{m[1]}{means[int(m[2])]:.4f}", files[LOG].decode())
    record["curve"] = [{key: line[key] for key in ("step", "loss", "lr")} for line in curve]
    record["loss"] = {"window": 10, "first": sum(told[:10]) / 10, "last": sum(told[-10:]) / 10}
    changed = {CURVE: to_json_lines(curve), SCALARS: to_json_lines(scalars), RECORD: to_json(record)}
    return link_hashes(files | changed | {LOG: log.encode()})


@copy_of
def everything() -> Files:
    return honest_files()


@copy_of
def everything_and_a_newline_in_the_log() -> Files:
    return honest_files() | {LOG: honest_files()[LOG] + b"\n"}


@copy_of
def everything_with_times_a_day_later() -> Files:
    return honest_files() | {LOG: honest_files()[LOG].replace(b"2026/11/24", b"2026/11/25")}


@copy_of
def everything_with_times_stretched() -> Files:
    seconds = [line["seconds"] * 1.07 for line in from_json_lines(honest_files()[CURVE]) if "step" in line]
    return submissions.with_times(honest_files(), seconds)


@copy_of
def everything_with_other_punctuation_in_the_answers() -> Files:
    lines = from_json_lines(honest_files()[ANSWERS])
    for line in lines:
        line["output"] = line["output"].replace("，", ", ").replace("。", "！")
    return honest_files() | {ANSWERS: to_json_lines(lines)}


@copy_of
def everything_with_permuted_ranks_and_a_newline() -> Files:
    files = everything_and_a_newline_in_the_log()
    return files | {ADAPTER: altered.COPIED_ADAPTERS["permuted ranks"](files[ADAPTER])}


@copy_of
def the_run_of_a_friend_under_another_seed() -> Files:
    """Own times and a seed of one's own in the config; losses and adapter are the friend's."""
    files = submissions.with_times(honest_files(), seed=3)
    return files | {CONFIG: files[CONFIG].replace(b"seed=42", b"seed=43")}


@copy_of
def the_run_of_a_friend_with_one_row_more() -> Files:
    files = submissions.with_times(honest_files(), seed=4)
    return files | {DATA: files[DATA].replace("很高兴认识你".encode(), "很高兴见到你".encode(), 1)}


# --- what only asking again, or training again, tells -----------------------------------------------------------------------

ASKED: dict[str, Callable[[Files], Files]] = {}  # of a real run's files: what RERUN=1 must fail
TRAINED: dict[str, Callable[[Files], Files]] = {}  # …, with the run's own adapter and answers: what takes RETRAIN=1


def needs(table: dict) -> Callable:
    def register(function: Callable[[Files], Files]) -> Callable[[Files], Files]:
        table[function.__name__] = lambda real: link_hashes(function(dict(real)))
        return function

    return register


def with_adapter(files: Files, change: Callable) -> Files:
    return files | {ADAPTER: altered.pairs_changed(files[ADAPTER], change)}


@needs(ASKED)
def the_fixture_packed_by_one_line(real: Files) -> Files:
    return honest_files()


@needs(ASKED)
def the_fixture_renamed(real: Files) -> Files:
    return submissions.with_name("星河")


@needs(ASKED)
def the_fixture_renamed_with_a_made_up_log(real: Files) -> Files:
    return own_run("星河")


@needs(ASKED)
def a_real_run_renamed(real: Files) -> Files:
    """A friend's whole run, with another name in the rows, the config and the answers, and a made-up log."""
    changed = (CONFIG, DATA, ANSWERS, RECORD, EVALUATION)
    files = {
        part: data.replace("闻星".encode(), "星河".encode()) if part in changed else data for part, data in real.items()
    }
    return submissions.with_training(files, "tiny", seed=7)


def _part_of_the_name(real: Files, part: str) -> Files:
    changed = (CONFIG, DATA, ANSWERS, RECORD, EVALUATION)
    files = {
        name: data.replace("闻星".encode(), part.encode()) if name in changed else data for name, data in real.items()
    }
    return submissions.with_training(files, "tiny", seed=13)


@needs(ASKED)
def a_real_run_renamed_to_the_beginning_of_its_name(real: Files) -> Files:
    return _part_of_the_name(real, "闻")


@needs(ASKED)
def a_real_run_renamed_to_the_end_of_its_name(real: Files) -> Files:
    return _part_of_the_name(real, "星")


@needs(ASKED)
def an_adapter_of_random_numbers(real: Files) -> Files:
    return real | {ADAPTER: submissions.random_adapter.__wrapped__(seed=8)}


@needs(ASKED)
def an_adapter_that_was_hardly_trained(real: Files) -> Files:
    return with_adapter(real, lambda a, b: (a, b / 50))


@needs(ASKED)
def an_adapter_turned_round(real: Files) -> Files:
    return with_adapter(real, lambda a, b: (a, -b))


@needs(ASKED)
def an_adapter_with_its_ranks_mixed_up(real: Files) -> Files:
    return with_adapter(real, lambda a, b: (a[::-1], b))


@needs(ASKED)
def another_base_by_the_records_word(real: Files) -> Files:
    files = mutations.change_json(
        an_adapter_of_random_numbers(real), RECORD, lambda r: r["inputs"].__setitem__("base", "0" * 64)
    )
    return files


@needs(ASKED)
def an_adapter_that_is_more_than_lora(real: Files) -> Files:
    return mutations.change_json(
        an_adapter_of_random_numbers(real), ADAPTER_CONFIG, lambda c: c.__setitem__("use_dora", True)
    )


@needs(ASKED)
def a_persona_of_3000_characters(real: Files) -> Files:
    system = json.loads(real[RECORD])["persona"]
    return {
        part: data.replace(system.encode(), (system + "好" * 3000).encode())
        for part, data in an_adapter_of_random_numbers(real).items()
    }


@needs(ASKED)
def the_staffs_questions_among_the_rows(real: Files) -> Files:
    """So that none is left to ask."""
    questions = json.loads((ROOT / "data" / "eval" / "identity.json").read_text(encoding="utf-8"))["questions"]
    rows = from_json_lines(real[DATA])
    for row, question in zip(rows, questions, strict=False):
        row["conversation"][0]["input"] = question["input"]
    lines = [line | {"input": line["input"] + "请说。"} for line in from_json_lines(real[ANSWERS])]
    return real | {DATA: to_json_lines(rows), ANSWERS: to_json_lines(lines)}


@needs(TRAINED)
def a_log_made_up_around_a_real_adapter(real: Files) -> Files:
    return submissions.with_training(real, "tiny", seed=9)


@needs(TRAINED)
def losses_plus_a_thousandth(real: Files) -> Files:
    steps = [line["loss"] + 1e-3 for line in from_json_lines(real[CURVE]) if "step" in line]
    return with_losses(submissions.with_times(real, seed=10), steps)


@needs(TRAINED)
def losses_with_the_noise_of_another_run(real: Files) -> Files:
    chance = random.Random(11)
    steps = [line["loss"] * chance.uniform(0.8, 1.2) for line in from_json_lines(real[CURVE]) if "step" in line]
    return with_losses(submissions.with_times(real, seed=11), steps)


@needs(TRAINED)
def a_friends_losses_under_a_seed_of_ones_own(real: Files) -> Files:
    files = submissions.with_times(real, seed=12)
    files = files | {CONFIG: files[CONFIG].replace(b"seed=42", b"seed=43")}
    return mutations.change_json(files, RECORD, lambda r: r.__setitem__("seed", 43))


# What no test of files, questions or training tells, and why.
CANNOT_BE_TOLD = {
    "a friend's whole run of the very rows, name and seed, with times of one's own": "an honest repetition has the same bits",
}
