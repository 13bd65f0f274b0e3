"""What a copy keeps when its bytes are changed, part by part, and that unrelated submissions are not alike."""

from __future__ import annotations

import functools
import io

import pytest
import submissions
from altered import COPIED_ADAPTERS, COPIED_LOSSES, NOISE, edit_numbers, small_adapter
from submissions import ADAPTER, ANSWERS, CURVE, LOG, RECORD, SCALARS, from_json_lines, honest_files, to_json_lines

from lesson.submission import likeness
from lesson.submission.archive.view import View
from lesson.submission.evidence import Evidence


def evidence_of(files: submissions.Files) -> Evidence:
    view = View()
    for name, data in files.items():
        view.add_file(name, len(data), functools.partial(io.BytesIO, data))
    return Evidence(view)


def sketch(files: submissions.Files) -> likeness.Sketch:
    return likeness.sketch_submission(evidence_of(files))


def alike(a: submissions.Files, b: submissions.Files) -> set[str]:
    found = likeness.compare_sketches(sketch(a), sketch(b))
    return {part for part, found_part in found.items() if found_part.alike}


@pytest.mark.parametrize("name", COPIED_ADAPTERS)
def test_an_adapter_is_known_by_what_it_does(name):
    files = {ADAPTER: small_adapter(0), "submission.json": b"{"}
    assert alike(files, files | {ADAPTER: COPIED_ADAPTERS[name](small_adapter(0))}) == {"adapter"}
    assert (
        alike(files | {ADAPTER: small_adapter(1)}, files | {ADAPTER: COPIED_ADAPTERS[name](small_adapter(0))}) == set()
    )


@pytest.mark.parametrize("name", COPIED_LOSSES)
def test_losses_are_known_by_how_they_change(name):
    files = {part: honest_files()[part] for part in (CURVE, SCALARS, LOG)}
    copy = edit_numbers(files, "loss", COPIED_LOSSES[name])
    assert "losses" in alike(files, copy)
    assert "losses" in alike(
        {CURVE: files[CURVE], "submission.json": b"{"}, {LOG: honest_files()[LOG], "submission.json": b"{"}
    )


def test_the_log_alone_is_held_against_a_curve():
    curve = {line["step"]: line["loss"] for line in from_json_lines(honest_files()[CURVE])[1:]}
    found = likeness.compare_sketches(likeness.sketch_curve(curve), sketch({LOG: honest_files()[LOG]}))
    assert found["losses"].alike
    other = submissions.with_training(honest_files(), "tiny")[LOG]
    assert not likeness.compare_sketches(likeness.sketch_curve(curve), sketch({LOG: other}))["losses"].alike


def test_times_are_known_when_they_are_stretched_but_not_when_another_machine_took_them():
    files = {part: honest_files()[part] for part in (CURVE, SCALARS)} | {"submission.json": b"{"}
    stretched = files
    for key in ("seconds", "time"):
        stretched = edit_numbers(stretched, key, lambda seconds, step: round(seconds * 1.07, 4))
    assert "times" in alike(files, stretched)
    other = files
    for key in ("seconds", "time"):
        other = edit_numbers(other, key, lambda seconds, step: seconds * NOISE.gauss(1, 0.02))
    assert alike(files, other) == {"losses"}


def test_answers_are_known_under_other_punctuation_and_another_name():
    files = {ANSWERS: honest_files()[ANSWERS], RECORD: honest_files()[RECORD]}
    lines = from_json_lines(files[ANSWERS])
    for line in lines:
        line["output"] = " " + line["output"].replace("，", ", ").replace("。", "!") + "～"
    assert alike(files, files | {ANSWERS: to_json_lines(lines)}) == {"answers", "losses"}
    named = {part: data.replace("机智流".encode(), "闻星".encode()) for part, data in files.items()}
    assert "answers" in alike(files, named)
    for number, line in enumerate(lines):
        line["output"] += "好的" if number % 2 else "当然可以"
    assert "answers" not in alike(files, files | {ANSWERS: to_json_lines(lines)})


def test_all_pairs_of_many_are_found_and_no_other():
    base = {part: honest_files()[part] for part in (CURVE, ANSWERS, RECORD)}
    sketches = []
    for number in range(6):
        sketches.append(sketch({**base, ADAPTER: small_adapter(number % 5)}))
    sketches[2] = {}
    found = {(i, j): set(parts) for i, j, parts in likeness.find_alike(sketches)}
    assert found[0, 5] == {"adapter", "losses", "times", "answers"}
    assert found[0, 1] == {"losses", "times", "answers"} and not any(2 in pair for pair in found)


def test_what_cannot_be_read_is_left_out():
    files = {ADAPTER: b"x" * 100, ANSWERS: b"{", CURVE: b"[", LOG: b"", SCALARS: b"1", "submission.json": b"{"}
    assert sketch(files) == {} and likeness.compare_sketches({}, {}) == {} and list(likeness.find_alike([])) == []
    constant = dict.fromkeys(range(100), 1.0)
    assert likeness.compare_sketches(likeness.sketch_curve(constant), likeness.sketch_curve(constant)) == {}


def test_sides_of_absurd_sizes_are_not_projected():
    stem = "base_model.model.model.layers.0.attention.wo.lora_"
    wide = [
        (f"{stem}A.weight", "F16", [1, 2_000_000], b"\1" * 4_000_000),
        (f"{stem}B.weight", "F16", [64, 1], b"\1" * 128),
    ]
    assert "adapter" not in sketch({ADAPTER: submissions.safetensors(wide), "submission.json": b"{"})
    many = [(f"base_model.model.m{n}.lora_A.weight", "F16", [1, n], b"\1" * 2 * n) for n in range(1, 90)]
    assert "adapter" not in sketch({ADAPTER: submissions.safetensors(many), "submission.json": b"{"})
