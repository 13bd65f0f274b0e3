"""A submission's adapter and losses as a copyist alters them, so that they are the same and look another's."""

from __future__ import annotations

import functools
import io
import random
import re
from collections.abc import Callable

import numpy
import submissions
from submissions import CURVE, SCALARS, from_json_lines, to_json_lines

from lesson.model import safetensors_file
from lesson.submission.archive.view import View

Matrices = dict[str, numpy.ndarray]


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


def pairs_changed(data: bytes, change: Callable) -> bytes:
    """The adapter with each pair (A, B) changed."""
    matrices = matrices_of(data)
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
    return (m * (1 + 0.05 * random.standard_normal(m.shape)) for m in (a, b))


# name → the altered adapter of an adapter
COPIED_ADAPTERS: dict[str, Callable[[bytes], bytes]] = {
    "the same": lambda data: data,
    "permuted ranks": lambda data: pairs_changed(data, _permute),
    "scaled ranks": lambda data: pairs_changed(data, _scale),
    "turned ranks": lambda data: pairs_changed(data, _rotate),
    "more ranks": lambda data: pairs_changed(data, _add_ranks),
    "one unit in the last place": lambda data: pairs_changed(
        data, lambda a, b: (numpy.nextafter(a, b.dtype.type(9)), b)
    ),
    "noise of a twentieth": lambda data: pairs_changed(data, _noise),
    "negated": lambda data: pairs_changed(data, lambda a, b: (-a, -b)),
    "twice as strong": lambda data: pairs_changed(data, lambda a, b: (a, 2 * b)),
    "in bfloat16": lambda data: pack_matrices(matrices_of(data), "BF16"),
    "in float16": lambda data: pack_matrices(matrices_of(data), "F16"),
    "in float64": lambda data: pack_matrices(matrices_of(data), "F64"),
    "written in another order": lambda data: pack_matrices(dict(sorted(matrices_of(data).items(), reverse=True))),
    "other prefixes": lambda data: pack_matrices(
        {n.replace("base_model.model.", "").replace("_A.", "_A.default."): m for n, m in matrices_of(data).items()}
    ),
    "a linear left out": lambda data: pack_matrices({n: m for n, m in matrices_of(data).items() if "wo" not in n}),
    "half of it noise": lambda data: pack_matrices(
        {n: m if re.search(r"layers\.\d?[13579]\.", n) else m[::-1] * 3 for n, m in matrices_of(data).items()}
    ),
}


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
