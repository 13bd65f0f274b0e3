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


def curve(values: dict[int, float]) -> dict:
    return {"losses": {"each": [[step, value] for step, value in values.items()]}}


def likeness_of(a: dict, b: dict, part: str = "losses") -> float | None:
    found = likeness.compare_sketches(a, b).get(part)
    return found and found.measure


FALLING = {step: 4.0 - 0.01 * step * step for step in range(1, 13)}


def test_eight_steps_in_common_are_the_fewest():
    for steps, told in ((8, True), (7, False)):
        first = {step: FALLING[step] for step in range(1, steps + 1)}
        assert (likeness_of(curve(FALLING), curve(first)) is not None) is told
        assert (likeness_of(curve(first), curve(first)) is not None) is told
        apart = {step: FALLING[step] for step in range(13 - steps, 13)} | {99: 1.0}
        assert (likeness_of(curve(FALLING), curve(apart)) is not None) is told


def test_a_shift_and_a_scale_of_losses_change_nothing_and_one_other_step_little():
    assert likeness_of(curve(FALLING), curve({s: 3 * v + 5 for s, v in FALLING.items()})) == pytest.approx(1)
    assert likeness_of(curve(FALLING), curve({s: -v for s, v in FALLING.items()})) == pytest.approx(1)
    other = {s: v + (0.5 if s == 6 else 0) for s, v in FALLING.items()}
    assert likeness_of(curve(FALLING), curve(other)) == pytest.approx(1)  # the median of eleven changes
    zigzag = {s: 4.0 + (s % 2) for s in FALLING}
    assert likeness_of(curve(FALLING), curve(zigzag)) < 0.9
    assert likeness_of(curve(dict.fromkeys(FALLING, 1.0)), curve(FALLING)) is None, "nothing changes: it cannot be told"


def test_times_are_compared_by_their_ratios():
    def times(values: list[float]) -> dict:
        return {"times": {"each": [[step, value] for step, value in enumerate(values, 1)]}}

    mine = [1.0, 2.0, 1.5, 4.0, 1.2, 3.0, 0.5, 2.5, 1.1]
    assert likeness_of(times(mine), times([7 * t for t in mine]), "times") == pytest.approx(1)
    assert likeness_of(times(mine), times(mine[::-1]), "times") < 0.8
    assert likeness_of(times([1.0] * 9), times([2.0] * 9), "times") is None


def test_a_curve_of_each_step_counts_before_one_of_means():
    both = {"losses": {"each": curve(FALLING)["losses"]["each"], "mean": [[s, 1.0 + s % 3] for s in FALLING]}}
    found = likeness.compare_sketches(
        both,
        both
        | {"losses": both["losses"] | {"each": curve({s: v + s % 2 for s, v in FALLING.items()})["losses"]["each"]}},
    )
    assert found["losses"].least == likeness.ALIKE["losses"] and found["losses"].measure < 0.9
    means = {"losses": {"mean": both["losses"]["mean"]}}
    assert likeness.compare_sketches(means, both)["losses"].least == likeness.ALIKE["means"]


def test_a_quarter_of_the_modules_alike_is_a_copy():
    def adapter(*values: list[float]) -> dict:
        return {"adapter": {f"m{n}": value for n, value in enumerate(values)}}

    mine = [[1.0, 0.0, float(n)] for n in range(12)]
    for same, told in ((3, False), (4, True), (12, True)):
        other = [[2 * x for x in value] if n < same else [0.0, 1.0, 0.0] for n, value in enumerate(mine)]
        found = likeness.compare_sketches(adapter(*mine), adapter(*other))["adapter"]
        assert found.alike is told and (found.measure == pytest.approx(1)) is told
    assert likeness.compare_sketches(adapter(*mine[:7]), adapter(*mine[:7])) == {}
    negative = [[-x for x in value] for value in mine]
    assert not likeness.compare_sketches(adapter(*mine), adapter(*negative))["adapter"].alike


def test_answers_are_compared_bin_by_bin_where_one_of_the_two_has_a_hash():
    empty = likeness.EMPTY
    for mine, other, share in (
        ([1, 2, 3, empty], [1, 2, 4, empty], 2 / 3),
        ([1, empty, 3, 4], [1, 2, 3, 4], 3 / 4),
        ([1, 1], [2, 2], 0.0),
    ):
        assert likeness_of({"answers": mine}, {"answers": other}, "answers") == pytest.approx(share)
    third = likeness.find_alike([{"answers": [1, 2]}, {}, {"answers": [1, 2]}, {"answers": [1, 2]}])
    assert [(i, j) for i, j, _ in third] == [(0, 2), (0, 3), (2, 3)]


def test_means_are_those_of_mmengine_s_log_and_need_each_step():
    means = likeness._moving_means({step: float(step) for step in range(1, 13)})
    assert means[1] == 1 and means[10] == 5.5 and means[11] == 6.5 and len(means) == 12
    gap = likeness._moving_means(dict.fromkeys((0, 1, 2, 4, 5), 1.0))
    assert set(gap) == {1, 2}
    assert set(likeness._moving_means(dict.fromkeys(range(5, 20), 1.0))) == set(range(14, 20))


def test_two_thousand_points_of_a_curve_are_kept():
    def steps(count: int, first: int = 1) -> list[int]:
        return [step for step, _ in likeness._bounded(dict.fromkeys(range(first, first + count), 1.0))]

    assert steps(2000) == list(range(1, 2001)) and steps(2001) == list(range(2, 2002, 2))
    assert steps(4000) == list(range(2, 4001, 2)) and steps(4001) == list(range(4, 4002, 4))
    kept = likeness._bounded({3: 1.0, 1: None, 2: 1e30, 4: -1e30, 5: 9e29, 6: float("nan")})
    assert [step for step, _ in kept] == [3, 5]


def test_the_cosine_of_each_module_of_either_adapter():
    a, b = (
        {"x": [1.0, 0.0], "y": [1.0, 1.0], "z": [1.0]},
        {"x": [2.0, 0.0], "y": [1.0, -1.0], "w": [3.0], "z": [1.0, 2.0]},
    )
    assert sorted(round(found, 6) for found in likeness.product_cosines(a, b)) == [0, 0, 0, 1]
    assert likeness.product_cosines({"x": [0.0]}, {"x": [1.0]}) == [0.0]


@pytest.mark.parametrize(("measure", "alike", "exact", "equal"), [(0.995, True, False, False), (0.9949, False, False, False), (0.999, True, True, False), (1 - 1e-9, True, True, True), (1 - 2e-9, True, True, False)])  # fmt: skip
def test_how_alike_is_alike_exact_and_equal(measure, alike, exact, equal):
    found = likeness.Likeness("adapter", measure, likeness.ALIKE["adapter"])
    assert (found.alike, found.exact, found.equal) == (alike, exact, equal)
