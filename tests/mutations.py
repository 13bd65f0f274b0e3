"""Single mutations of an honest submission, each with the one check that it breaks."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

from submissions import (
    ADAPTER,
    ADAPTER_CONFIG,
    ANSWERS,
    CONFIG,
    CURVE,
    DATA,
    EVALUATION,
    FIXTURE,
    LOG,
    RECORD,
    SCALARS,
    Files,
    from_json_lines,
    honest_files,
    link_hashes,
    make_manifest,
    random_adapter,
    to_json,
    to_json_lines,
    with_training,
)

from lesson.evaluation.bars import bars_of, find_missed_bars
from lesson.evaluation.judging import says_name
from lesson.submission.published import PublishedRun
from lesson.submission.staff import StaffInputs

Mutation = Callable[[Files], Files]
MUTATIONS: dict[str, tuple[str, Mutation, bool]] = {}  # name: (check that fails, mutation, brought up to date after it)


def mutation(fails: str, link: bool = True) -> Callable[[Mutation], Mutation]:
    def register(function: Mutation) -> Mutation:
        MUTATIONS[function.__name__] = (fails, function, link)
        return function

    return register


def mutate(name: str) -> Files:
    _, change, link = MUTATIONS[name]
    files = change(honest_files())
    files = link_hashes(files) if link else files
    late = files.pop("__late__", None)
    if late:  # after the manifest was made
        files["submission.json"] = to_json(make_manifest(files))
        files |= json.loads(late) and {k: v.encode() for k, v in json.loads(late).items()}
    return files


def _replace(files: Files, name: str, old: str, new: str, count: int = 1) -> Files:
    text = files[name].decode()
    assert old in text, (name, old)
    return files | {name: text.replace(old, new, count).encode()}


def change_json(files: Files, name: str, change: Callable[[dict], object]) -> Files:
    value = json.loads(files[name])
    change(value)
    return files | {name: to_json(value)}


def _rows(files: Files, name: str, change: Callable[[list], object]) -> Files:
    values = from_json_lines(files[name])
    change(values)
    return files | {name: to_json_lines(values)}


def drop(name: str) -> Mutation:
    return lambda files: {key: value for key, value in files.items() if key != name}


def _row_value(key: str, value: object) -> Mutation:
    return lambda files: _rows(files, DATA, lambda rows: rows[10]["conversation"][0].__setitem__(key, value))


def _config(old: str, new: str) -> Mutation:
    return lambda files: _replace(files, CONFIG, old, new)


def _adapter_option(key: str, value: object) -> Mutation:
    return lambda files: change_json(files, ADAPTER_CONFIG, lambda c: c.__setitem__(key, value))


def _logged(old: str, new: str) -> Mutation:
    return lambda files: _replace(files, LOG, old, new)


def add_mutation(name: str, fails: str, change: Mutation, link: bool = True) -> None:
    MUTATIONS[name] = (fails, change, link)


def _late(**changes: str) -> Mutation:
    return lambda files: (
        files | {"__late__": json.dumps({k.replace("__", "/"): v for k, v in changes.items()}).encode()}
    )


def _tensor_bytes(select: str, fill: bytes) -> Mutation:
    """The values of the tensors whose name contains `select` begin with, or are filled with, `fill`."""

    def change(files: Files) -> Files:
        data = bytearray(files[ADAPTER])
        length = struct.unpack("<Q", data[:8])[0]
        for name, value in json.loads(data[8 : 8 + length]).items():
            if select in name:
                start, end = (8 + length + at for at in value["data_offsets"])
                data[start:end] = (
                    fill * ((end - start) // len(fill)) if set(fill) == {0} else fill + data[start + 4 : end]
                )
        return files | {ADAPTER: bytes(data)}

    return change


def change_header(change: Callable[[dict], object]) -> Mutation:
    def apply(files: Files) -> Files:
        data = files[ADAPTER]
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + length])
        change(header)
        raw = to_json(header)
        return files | {ADAPTER: struct.pack("<Q", len(raw)) + raw + data[8 + length :]}

    return apply


LAYER = "base_model.model.model.layers.2.attention.wo.lora_A.weight"
add_mutation("log_missing", "complete", drop(LOG))
add_mutation("adapter_missing", "complete", drop(ADAPTER))
add_mutation("data_missing", "complete", drop(DATA))
add_mutation("answers_missing", "complete", drop(ANSWERS))
add_mutation(
    "checkpoint_in_place_of_adapter",
    "complete no_pickle",
    lambda f: drop(ADAPTER)(f) | {"adapter/adapter_model.bin": b"\x80"},
)
add_mutation("manifest_broken", "manifest", _late(**{"submission.json": "{"}))
add_mutation("manifest_without_who", "manifest", _late(**{"submission.json": '{"format": 1}'}))
add_mutation("unlisted_file", "listed", _late(**{"notes.txt": "hello"}))
add_mutation(
    "changed_after_packing",
    "hashes",
    _late(**{"eval__evaluation.json": "\n" + (FIXTURE / "evaluation.json").read_text(encoding="utf-8")}),
)
add_mutation("row_is_no_json", "data_rules", lambda f: f | {DATA: f[DATA] + b"{oops\n"})
add_mutation("row_without_answer", "data_rules", _row_value("output", " "))
add_mutation("placeholder_left", "data_rules", _row_value("output", "xxx"))
add_mutation("instruction_for_system", "data_rules", _row_value("instruction", "你是机智流"))
add_mutation("row_value_is_a_number", "data_rules", _row_value("input", 5))
add_mutation("old_name_in_one_row", "replaced", _row_value("output", "我是尖米。"))
add_mutation("old_name_spaced_out", "replaced", _row_value("output", "我是尖 米。"))
add_mutation(
    "config_runs_a_command",
    "config_only",
    lambda f: f | {CONFIG: f[CONFIG] + b"\nimport os\nos.system('touch canary')\n"},
)
add_mutation("config_is_no_python", "config_only", lambda f: f | {CONFIG: b"this is no config ("})
add_mutation("map_function_left", "config_rules", _config("dataset_map_fn=None", "dataset_map_fn=alpaca_map_fn"))
add_mutation("unreplaced_data", "config_rules", _config("assistant_Tuner_change.jsonl", "assistant_Tuner.jsonl"))
add_mutation("unreplaced_data_misspelt", "config_rules", _config("assistant_Tuner_change.jsonl", "assist_Tuner.jsonl"))
add_mutation("other_persona_in_config", "config_data", _config("SYSTEM = '你是机智流", "SYSTEM = '你是大聪明"))
add_mutation(
    "other_base_in_config", "config_base", _adapter_option("base_model_name_or_path", "/models/internlm2-chat-7b")
)
add_mutation("record_invalid", "record", lambda f: change_json(f, RECORD, lambda r: r.pop("steps")), link=False)
add_mutation("record_is_no_json", "record", lambda f: f | {RECORD: b"{"}, link=False)
add_mutation(
    "trained_on_other_rows",
    "inputs",
    lambda f: f | {DATA: f[DATA].replace("很高兴认识你".encode(), "很高兴见到你".encode(), 1)},
    link=False,
)
add_mutation("trained_with_other_config", "inputs", lambda f: f | {CONFIG: f[CONFIG] + b"# a comment\n"}, link=False)
add_mutation(
    "evaluation_of_another_run",
    "names",
    lambda f: change_json(f, EVALUATION, lambda e: e.__setitem__("run", "0" * 12)),
    link=False,
)
add_mutation("log_without_steps", "log", lambda f: f | {LOG: b"hello\n"})
add_mutation(
    "stopped_early",
    "finished",
    lambda f: _rows(
        f | {LOG: b"".join(f[LOG].splitlines(True)[:-8])}, SCALARS, lambda s: s.__delitem__(slice(-6, None))
    ),
)
add_mutation(
    "record_of_fewer_steps", "finished", lambda f: change_json(f, RECORD, lambda r: r.__setitem__("steps", 167))
)
add_mutation("samples_do_not_fit_rows", "samples", lambda f: f | {DATA: b"".join(f[DATA].splitlines(True)[:700])})
add_mutation("steps_do_not_add_up", "steps", _config("batch_size = 4", "batch_size = 5"))
add_mutation("epochs_do_not_add_up", "steps", _config("max_epochs = 7", "max_epochs = 8"))
add_mutation("one_loss_edited_in_the_log", "agree", _logged("loss: 0.1101", "loss: 0.1001"))
add_mutation(
    "one_loss_edited_in_vis_data", "agree", lambda f: _rows(f, SCALARS, lambda s: s[7].__setitem__("loss", 0.1))
)
add_mutation(
    "one_loss_edited_in_the_curve", "agree", lambda f: _rows(f, CURVE, lambda c: c[60].__setitem__("loss", 0.1))
)
add_mutation(
    "one_loss_edited_in_the_record",
    "agree",
    lambda f: change_json(f, RECORD, lambda r: r["curve"][60].__setitem__("loss", 0.1)),
)
add_mutation("other_learning_rate", "rates", _config("lr = 0.002", "lr = 0.001"))
add_mutation("time_goes_back", "times", _logged("2026/11/24 15:04:19", "2026/11/24 15:03:19"))
add_mutation("adapter_is_cut_off", "adapter_format", lambda f: f | {ADAPTER: f[ADAPTER][:-10]})
add_mutation("rank_changed", "adapter_config adapter_shapes", _adapter_option("r", 32))
add_mutation("alpha_changed", "adapter_config", _adapter_option("lora_alpha", 64))
add_mutation("target_modules_changed", "adapter_shapes", _adapter_option("target_modules", ["wqkv", "wo"]))
add_mutation(
    "a_layer_is_missing",
    "adapter_shapes",
    change_header(lambda h: h.__setitem__(LAYER.replace(".2.", ".9."), h.pop(LAYER))),
)
add_mutation("b_zeroed", "adapter_trained", _tensor_bytes("lora_B", b"\0\0\0\0"))
add_mutation("not_a_number", "adapter_finite", _tensor_bytes(LAYER, struct.pack("<f", math.nan)))
add_mutation("infinity", "adapter_finite", _tensor_bytes(LAYER, struct.pack("<f", math.inf)))


def change_answers(change: Callable[[list], object]) -> Mutation:
    """Answers changed, and the evaluation counted again from them, as make eval would."""

    def apply(files: Files) -> Files:
        files = _rows(files, ANSWERS, change)
        return files | {EVALUATION: to_json(recount(files))}

    return apply


def recount(files: Files) -> dict:
    result = json.loads(files[EVALUATION])
    names = result["names"]
    for counts in result["prompts"]:
        own = [a for a in from_json_lines(files[ANSWERS]) if a["prompt"] == counts["prompt"]]
        identity = [a for a in own if a["kind"] == "identity"]
        counts |= {"questions": len(identity), "answers": len(own)}
        counts["new"] = sum(says_name(a["output"], names["new"]) for a in identity)
        counts["old"] = sum(says_name(a["output"], names["old"], names["new"]) for a in own)
        counts["whole"] = min(counts["whole"], len(own))
    result["failures"] = [f for counts in result["prompts"] for f in find_missed_bars(counts, bars_of(result))]
    result["passed"] = not result["failures"]
    return result


def set_all_answers(text: str, every: int = 1) -> Mutation:
    return change_answers(
        lambda answers: [a.__setitem__("output", text) for a in answers[::every] if a["kind"] == "identity"]
    )


add_mutation("never_says_the_name", "says_new", set_all_answers("我是一个助手。"))
add_mutation(
    "says_the_old_name",
    "not_old",
    change_answers(lambda a: [x.__setitem__("output", "我是机智流，也叫尖米。") for x in a[:9]]),
)
add_mutation(
    "says_the_bases_name",
    "not_old",
    change_answers(lambda a: [x.__setitem__("output", "我是机智流，也叫书生·浦语。") for x in a[:9]]),
)
add_mutation(
    "one_answer_repeated", "varied", change_answers(lambda a: [x.__setitem__("output", "我是机智流。") for x in a])
)
add_mutation(
    "figures_made_up", "counted", lambda f: change_json(f, EVALUATION, lambda e: e["prompts"][0].__setitem__("new", 54))
)
add_mutation("a_question_left_out", "asked", change_answers(lambda a: a.pop(0)))
add_mutation(
    "evaluated_under_another_persona",
    "prompts",
    lambda f: change_json(f, EVALUATION, lambda e: e["prompts"][0].__setitem__("system", "你是谁")),
)
add_mutation("answers_are_no_json", "answers", lambda f: f | {ANSWERS: b"hello\n"})
add_mutation(
    "trained_on_a_question",
    "held_out",
    lambda f: _rows(f, DATA, lambda r: r[10]["conversation"][0].__setitem__("input", "嘿，你究竟是哪一位？")),
)


def _declares_another_name(files: Files) -> Files:
    """Answers, record and evaluation speak of a name that no row says."""
    for name in (RECORD, EVALUATION):
        files = change_json(files, name, lambda v: v["names"].__setitem__("new", "星火流"))
    return files | {ANSWERS: files[ANSWERS].replace("机智流".encode(), "星火流".encode())}


add_mutation("rows_without_the_new_name", "named", _declares_another_name)
add_mutation("loss_never_falls", "fell", lambda f: with_training(f, "tiny", fall=0))
add_mutation("faster_than_any_machine", "speed", lambda f: with_training(f, "tiny", seconds=0.0001))
add_mutation("a_name_that_hides_its_end", "opens", _late(**{"notes\u202etxt.exe": "hello"}))
add_mutation(
    "a_row_that_is_not_the_courses",
    "source",
    lambda f: f | {DATA: f[DATA].replace("很高兴认识你".encode(), "很高兴见到你".encode(), 1)},
)
add_mutation("adapter_of_another", "own", lambda f: f)


def published_adapter(weights: bytes) -> StaffInputs:
    """The staff know the adapter as 李四's."""
    return StaffInputs(published=[PublishedRun("李四", {}, {"adapter": hashlib.sha256(weights).hexdigest()})])


def _course(folder: Path) -> StaffInputs:
    source = folder / "course.jsonl"
    source.write_bytes(honest_files()[DATA].replace("机智流".encode(), "尖米".encode()))
    return StaffInputs(source=str(source))


# What the staff add where a check needs it: name of the mutation → inputs, made in a folder.
STAFF: dict[str, Callable[[Path], StaffInputs]] = {
    "a_row_that_is_not_the_courses": _course,
    "adapter_of_another": lambda _: published_adapter(random_adapter()),
}
