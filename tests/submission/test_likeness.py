"""What a copy keeps when its bytes are changed, part by part, and that unrelated submissions are not alike."""

from __future__ import annotations

import functools
import io
import random

import numpy
import pytest
import submissions
from submissions import ADAPTER, ANSWERS, CURVE, LOG, RECORD, SCALARS, from_json_lines, honest_files, to_json_lines

from lesson.model import safetensors_file
from lesson.submission import likeness
from lesson.submission.archive.view import View
from lesson.submission.evidence import Evidence

Matrices = dict[str, numpy.ndarray]


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


@functools.cache
def small_adapter(seed: int) -> bytes:
    """Three linears of ten layers, of rank 8: A normal, B a tenth of it."""
    random = numpy.random.default_rng(seed)
    matrices = {}
    for layer in range(10):
        for name, inner, outer in (("attention.wqkv", 64, 96), ("attention.wo", 64, 64), ("feed_forward.w1", 64, 128)):
            stem = f"base_model.model.model.layers.{layer}.{name}"
            matrices[f"{stem}.lora_A.weight"] = random.standard_normal((8, inner), numpy.float32)
            matrices[f"{stem}.lora_B.weight"] = random.standard_normal((outer, 8), numpy.float32) / 10
    return pack_matrices(matrices)


def pack_matrices(matrices: Matrices, dtype: str = "F32") -> bytes:
    def encode(matrix: numpy.ndarray) -> bytes:
        if dtype == "BF16":
            return (matrix.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        return matrix.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).tobytes()

    return submissions.safetensors([(n, dtype, list(m.shape), encode(m)) for n, m in matrices.items()])


def matrices_of(data: bytes) -> Matrices:
    view = View()
    view.add_file("a", len(data), functools.partial(io.BytesIO, data))
    return {t.name: safetensors_file.to_numpy(t, d) for t, d in safetensors_file.read_contents(view, "a")}


def pairs_changed(change) -> bytes:
    """The adapter 0 with each pair (A, B) changed."""
    matrices = matrices_of(small_adapter(0))
    for name in [n for n in matrices if "lora_A" in n]:
        other = name.replace("lora_A", "lora_B")
        matrices[name], matrices[other] = change(matrices[name], matrices[other])
    return pack_matrices(matrices)


def _permute(a: numpy.ndarray, b: numpy.ndarray) -> tuple:
    order = numpy.random.default_rng(1).permutation(len(a))
    return a[order], b[:, order]


def _scale(a: numpy.ndarray, b: numpy.ndarray) -> tuple:
    factors = numpy.random.default_rng(2).uniform(0.1, 10, len(a)).astype("f4")
    return a * factors[:, None], b / factors


def _rotate(a: numpy.ndarray, b: numpy.ndarray) -> tuple:
    q, _ = numpy.linalg.qr(numpy.random.default_rng(3).standard_normal((len(a), len(a))))
    return q @ a, b @ q.T


def _add_ranks(a: numpy.ndarray, b: numpy.ndarray) -> tuple:
    return numpy.concatenate([a, a * 0 + 1]), numpy.concatenate([b, b * 0], axis=1)


def _noise(a: numpy.ndarray, b: numpy.ndarray) -> tuple:
    random = numpy.random.default_rng(4)
    return (m * (1 + 1e-2 * random.standard_normal(m.shape)) for m in (a, b))


COPIED_ADAPTERS = {
    "the same": lambda: small_adapter(0),
    "permuted ranks": lambda: pairs_changed(_permute),
    "scaled ranks": lambda: pairs_changed(_scale),
    "turned ranks": lambda: pairs_changed(_rotate),
    "more ranks": lambda: pairs_changed(_add_ranks),
    "one unit in the last place": lambda: pairs_changed(lambda a, b: (numpy.nextafter(a, b.dtype.type(9)), b)),
    "noise of a hundredth": lambda: pairs_changed(_noise),
    "negated": lambda: pairs_changed(lambda a, b: (-a, -b)),
    "twice as strong": lambda: pairs_changed(lambda a, b: (a, 2 * b)),
    "in bfloat16": lambda: pack_matrices(matrices_of(small_adapter(0)), "BF16"),
    "in float16": lambda: pack_matrices(matrices_of(small_adapter(0)), "F16"),
    "in float64": lambda: pack_matrices(matrices_of(small_adapter(0)), "F64"),
    "written in another order": lambda: pack_matrices(
        dict(sorted(matrices_of(small_adapter(0)).items(), reverse=True))
    ),
    "other prefixes": lambda: pack_matrices(
        {
            n.replace("base_model.model.", "").replace("_A.", "_A.default."): m
            for n, m in matrices_of(small_adapter(0)).items()
        }
    ),
    "a linear left out": lambda: pack_matrices(
        {n: m for n, m in matrices_of(small_adapter(0)).items() if "wo" not in n}
    ),
    "half of it noise": lambda: pack_matrices(
        {n: m if int(n.split(".")[4]) % 2 else m[::-1] * 3 for n, m in matrices_of(small_adapter(0)).items()}
    ),
}


@pytest.mark.parametrize("name", COPIED_ADAPTERS)
def test_an_adapter_is_known_by_what_it_does(name):
    files = {ADAPTER: small_adapter(0), "submission.json": b"{"}
    assert alike(files, files | {ADAPTER: COPIED_ADAPTERS[name]()}) == {"adapter"}
    assert alike(files | {ADAPTER: small_adapter(1)}, files | {ADAPTER: COPIED_ADAPTERS[name]()}) == set()


def edit_numbers(files: submissions.Files, key: str, change) -> submissions.Files:
    """Curve, vis_data and record with a number of each step changed; `change` takes the number and the step."""
    found = dict(files)
    for part in (CURVE, SCALARS):
        lines = from_json_lines(files[part])
        for line in lines:
            if key in line:
                line[key] = change(line[key], line["step"])
        found[part] = to_json_lines(lines)
    return found


NOISE = random.Random(5)
COPIED_LOSSES = {
    "shifted": lambda loss, step: loss + 1e-3,
    "scaled and shifted": lambda loss, step: loss * 1.1 + 0.2,
    "with noise": lambda loss, step: loss + NOISE.gauss(0, 1e-5),
    "with single steps changed": lambda loss, step: loss + (2 if step % 9 == 0 else 0),
    "one unit in the last place": lambda loss, step: float(numpy.nextafter(loss, 9)),
}


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
    files = {part: honest_files()[part] for part in (CURVE, SCALARS)}
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
