"""How alike two submissions are in what a copy keeps when its bytes are changed.

A sketch holds of each submission what is invariant, small enough to be compared with hundreds of others:

- adapter: of each module the product B·A, which is all that acts, seen through a seeded random projection. Ranks that were
  permuted, scaled or added, other number formats and small noise leave it as it is.
- losses: of each step, compared by their changes from step to step. A shift, a scale and small noise leave those.
- times: seconds of each step, compared by their ratios. No machine repeats them.
- answers: n-grams of characters of each question's answer, the new name masked, case and punctuation left out.

What alike parts mean is not said here: two honest runs of the same rows and seed are equal in all but their times.
"""

from __future__ import annotations

import bisect
import functools
import math
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lesson.core.refusals import Broken, Unreadable
from lesson.core.text import fold_text
from lesson.model import safetensors_file
from lesson.submission.evidence import Evidence
from lesson.submission.training_log import Point

PROJECTED = 6  # random directions on each side of a product: 36 numbers a module
SEED = 16
MOST_POINTS = 2000  # of a curve that are compared
WINDOW = 10  # steps that mmengine's log averages
FEWEST = 8  # steps in common below which nothing is said
GRAM = 3  # characters
ENOUGH = 0.25  # of the modules: so many alike are a copy, whatever was done to the others
MOST_MODULES = 4000
MOST_SIZES = 64  # different sides of matrices; an adapter has 10
LARGEST_SIDE = 1 << 20  # of a matrix; vocabularies have 260,000
EMPTY = 2**32 - 1  # a bin without a hash
BINS = 512  # of a MinHash: a similarity of 0.97 is told to within 0.01
LONGEST_ANSWERS = 4 << 20  # characters of answers that are compared

PARTS = ("adapter", "losses", "times", "answers")
# From here on a part is called alike. Measured on tiny, two cores of an Intel Xeon; tests/submission/test_likeness.py holds
# what copies have. Honest runs of other names:              adapter  losses  their means  times
#   names of other lengths, so that other rows share a sample  0.53    -0.01      0.23        0.04
#   names that differ in one of two tokens, 45 steps           –        0.70      0.95       -0.09
#   the same, 450 rows, 39 steps                               0.68     0.87      0.95       -0.26
# An adapter with noise of 5% in all its numbers has 0.9975.
# Losses with noise of 1e-3 nats have 0.95, a log of four decimals beside its own curve 0.997.
ALIKE = {"adapter": 0.995, "losses": 0.9, "means": 0.985, "times": 0.8, "answers": 0.97}

EXACT = 0.999
EQUAL = 1 - 1e-9  # a weight decay of 0.01 instead of 0 alone: 1 - 8e-5 of the losses, 1 - 1e-8 of the adapter

Sketch = dict[str, object]  # of JSON's types, so that it goes from process to process and into a file


@dataclass(frozen=True)
class Likeness:
    """How alike one part of two submissions is: 1.0 means equal but for what the sketch leaves out."""

    part: str  # adapter, losses, times or answers
    measure: float
    least: float  # from which on it is called alike

    @property
    def alike(self) -> bool:
        return self.measure >= self.least

    @property
    def exact(self) -> bool:
        """So alike that rows which differ in a name cannot be why, on whatever base."""
        return self.measure >= EXACT

    @property
    def equal(self) -> bool:
        """Equal but for how the numbers are written and ordered."""
        return self.measure >= EQUAL


# --- sketches -------------------------------------------------------------------------------------------------------------


def sketch_submission(evidence: Evidence, parts: Collection[str] = PARTS) -> Sketch:
    """The sketch of the `parts` of a submission. A part that is missing or cannot be read is left out: its own check says so."""
    makers = {"adapter": sketch_adapter, "losses": _sketch_losses, "times": _sketch_times, "answers": _sketch_answers}
    found = {}
    for part in makers.keys() & set(parts):
        make = makers[part]
        try:
            sketch = make(evidence)
        except (Broken, Unreadable, KeyError, ValueError, TypeError, ArithmeticError, MemoryError):
            continue
        if sketch:
            found[part] = sketch
    return found


def sketch_curve(losses: Mapping[int, float]) -> Sketch:
    """The sketch of a run of which only the losses are known (step → nats per token)."""
    return {"losses": _curve_and_means(losses, {})}


@functools.lru_cache(maxsize=64)
def _directions(size: int):
    """(size, PROJECTED) seeded random signs."""
    import numpy

    return numpy.random.default_rng([SEED, size]).choice(numpy.array([-1, 1], numpy.float32), (size, PROJECTED))


def sketch_adapter(evidence: Evidence) -> dict[str, list[float]]:
    """{module: the entries of U·B·A·V} with U and V of PROJECTED random signs each, in float64."""
    import numpy

    if "adapter" not in evidence.parts:
        return {}
    sides: dict[str, dict[str, object]] = {}
    if len({size for tensor in evidence.tensors for size in tensor.shape}) > MOST_SIZES:
        return {}
    for tensor, data in safetensors_file.read_contents(evidence.view, evidence.parts["adapter"]):
        stem, _, side = tensor.name.removesuffix(".weight").removesuffix(".default").rpartition(".lora_")
        if side in ("A", "B") and len(tensor.shape) == 2 and 0 < min(tensor.shape) <= max(tensor.shape) <= LARGEST_SIDE:
            matrix = safetensors_file.to_numpy(tensor, data)
            with numpy.errstate(all="ignore"):
                projected = (
                    matrix @ _directions(matrix.shape[1]) if side == "A" else _directions(len(matrix)).T @ matrix
                )
            sides.setdefault(stem.removeprefix("base_model.model."), {})[side] = projected.astype(numpy.float64)
    found = {}
    for module, pair in list(sides.items())[:MOST_MODULES]:
        if len(pair) == 2 and pair["B"].shape[1] == pair["A"].shape[0]:
            with numpy.errstate(all="ignore"):
                product = (pair["B"] @ pair["A"]).ravel()
            if numpy.isfinite(product).all() and product.any():
                found[module] = product.tolist()
    return found


def _sketch_losses(evidence: Evidence) -> dict:
    curve = {point.step: point.loss for point in evidence.curve} if "curve" in evidence.parts else {}
    if not curve and "record" in evidence.parts:
        curve = {point["step"]: point["loss"] for point in evidence.record["curve"]}
    return _curve_and_means(curve, {point.step: point.loss for point in _logged(evidence)})


def _sketch_times(evidence: Evidence) -> dict:
    curve = {point.step: point.seconds for point in evidence.curve} if "curve" in evidence.parts else {}
    return _curve_and_means(curve, {point.step: point.seconds for point in _logged(evidence)})


def _logged(evidence: Evidence) -> list[Point]:
    """What the log says, in full precision where vis_data is there."""
    if "scalars" in evidence.parts:
        return evidence.scalars
    return evidence.log.points if "log" in evidence.parts else []


def _curve_and_means(curve: Mapping[int, float], logged: Mapping[int, float]) -> dict[str, list]:
    """{"each": [[step, value]], "mean": the same of mmengine's means}; from the curve where no log has the means."""
    logged = logged or _moving_means(curve)
    found = {"each": _bounded(curve), "mean": _bounded(logged)}
    return {kind: values for kind, values in found.items() if values}


def _moving_means(curve: Mapping[int, float]) -> dict[int, float]:
    found = {}
    for step in (step for step in curve if step > 0):
        last = [curve.get(s) for s in range(max(1, step - WINDOW + 1), step + 1)]
        if None not in last:
            found[step] = math.fsum(last) / len(last)
    return found


def _bounded(values: Mapping[int, float]) -> list[list[float]]:
    """[step, value] in order, no more than MOST_POINTS of them: the steps that a power of two divides."""
    finite = sorted((step, value) for step, value in values.items() if value is not None and abs(value) < 1e30)
    every = 1
    while len(finite) > MOST_POINTS * every:
        every *= 2
    return [[step, value] for step, value in finite if step % every == 0]


def _sketch_answers(evidence: Evidence) -> list[int]:
    """The least hash in each of BINS of the n-grams of the answers, each beside its question (MinHash by one permutation)."""
    import numpy

    if "answers" not in evidence.parts:
        return []
    name, left = fold_text(evidence.new_name or ""), LONGEST_ANSWERS
    seen: set[int] = set()
    for line in evidence.answers:
        left -= len(line["output"]) + len(line["input"])
        if left < 0:
            break
        text = "".join(filter(str.isalnum, fold_text(line["output"])))
        text = "^" + (text.replace(name, "@") if name else text) + "$"
        start = zlib.crc32(f"{line.get('prompt')} {fold_text(line['input'])} ".encode("utf-8", "replace"))
        grams = {text[at : at + GRAM] for at in range(max(1, len(text) - GRAM + 1))}
        seen |= {zlib.crc32(gram.encode("utf-8", "replace"), start) for gram in grams}
    hashes = numpy.fromiter(seen, numpy.uint32, len(seen)) * numpy.uint32(2654435761)  # CRCs are linear: mixed first
    least = numpy.full(BINS, EMPTY, numpy.uint32)
    numpy.minimum.at(least, hashes % BINS, hashes // BINS)
    return least.tolist() if seen else []


def product_cosines(a: Mapping[str, list[float]], b: Mapping[str, list[float]]) -> list[float]:
    """For each module of either adapter the cosine of the products B·A; 0 where one has none."""
    import numpy

    found = []
    for module in a.keys() | b.keys():
        one, other = numpy.array(a.get(module, [0.0])), numpy.array(b.get(module, [0.0]))
        size = float(numpy.linalg.norm(one) * numpy.linalg.norm(other))
        found.append(float(one @ other) / size if len(one) == len(other) and size else 0.0)
    return found


# --- comparing ------------------------------------------------------------------------------------------------------------


def compare_sketches(a: Sketch, b: Sketch) -> dict[str, Likeness]:
    """{part: how alike} of the parts that both have, and that can be compared."""
    return _compare_with(0, _stack([a, b])).get(1, {})


def find_alike(sketches: Sequence[Sketch]) -> Iterator[tuple[int, int, dict[str, Likeness]]]:
    """(i, j, {part: Likeness}) for all i < j with at least one part alike; only the parts that are."""
    stacks = _stack(sketches)
    for i in range(len(sketches)):
        for j, found in sorted(_compare_with(i, stacks).items()):
            alike = {part: likeness for part, likeness in found.items() if likeness.alike}
            if alike:
                yield i, j, alike


@dataclass(frozen=True)
class _Group:
    """Sketches whose part has the same keys (modules, steps): their numbers, (sketches, keys) or (sketches, keys, entries)."""

    keys: tuple
    members: list[int]
    values: object


class _Part:
    """One part of many sketches, in groups of the same keys, so that one is compared with a whole group at once."""

    def __init__(self, items: Mapping[int, Mapping], measure: Callable) -> None:
        """`items` has the keys and numbers of each sketch; `measure` takes (keys, numbers) and (sketches, keys, numbers)."""
        import numpy

        by_keys: dict[tuple, list[int]] = {}
        for index, item in items.items():
            by_keys.setdefault(tuple(item), []).append(index)
        self._measure = measure
        self._groups = [
            _Group(keys, members, numpy.array([list(items[m].values()) for m in members], numpy.float64))
            for keys, members in by_keys.items()
        ]
        self._place = {m: (group, row) for group in self._groups for row, m in enumerate(group.members)}

    def compare(self, index: int) -> Iterator[tuple[int, float]]:
        """(other, measure) for all later ones that have at least FEWEST keys in common with sketch `index`."""
        if index not in self._place:
            return
        mine, row = self._place[index]
        for group in self._groups:
            later = bisect.bisect_right(group.members, index)
            if later == len(group.members):
                continue
            a, b = mine.values[row], group.values[later:]
            if group.keys != mine.keys:
                at, theirs = {key: n for n, key in enumerate(mine.keys)}, enumerate(group.keys)
                pairs = [(at[key], n) for n, key in theirs if key in at]
                if len(pairs) < FEWEST:
                    continue
                a, b = a[[p[0] for p in pairs]], b[:, [p[1] for p in pairs]]
            if len(a) >= FEWEST:
                with warnings.catch_warnings():  # nothing but NaN: it cannot be told
                    warnings.simplefilter("ignore", RuntimeWarning)
                    measures = self._measure(a, b).tolist()
                for other, measure in zip(group.members[later:], measures, strict=True):
                    if math.isfinite(measure):
                        yield other, measure


def _product_likeness(a: object, b: object) -> object:
    """The cosine of the modules' products that a quarter of the modules reach."""
    import numpy

    with numpy.errstate(all="ignore"):
        a = a / numpy.linalg.norm(a, axis=-1, keepdims=True)
        b = b / numpy.linalg.norm(b, axis=-1, keepdims=True)
        return numpy.quantile((a * b).sum(axis=-1), 1 - ENOUGH, axis=-1)


def _change_likeness(a: object, b: object) -> object:
    """1 - the median difference of the changes from step to step, over their median size."""
    import numpy

    a, b = numpy.diff(a, axis=-1), numpy.diff(b, axis=-1)
    with numpy.errstate(all="ignore"):
        scale = numpy.nanmedian(a / b, axis=-1, keepdims=True)
        return 1 - numpy.nanmedian(abs(a - b * scale), axis=-1) / numpy.nanmedian(abs(a), axis=-1)


def _ratio_likeness(a: object, b: object) -> object:
    """1 - the median deviation of the ratios from their median, over what it is for unrelated times."""
    import numpy

    with numpy.errstate(all="ignore"):
        a, b = numpy.log(a), numpy.log(b)

        def deviation(x: object) -> object:
            return numpy.nanmedian(abs(x - numpy.nanmedian(x, axis=-1, keepdims=True)), axis=-1)

        usual = numpy.hypot(deviation(a), deviation(b))
        return numpy.where(usual > 1e-9, 1 - deviation(a - b) / usual, numpy.nan)


class _Answers:
    """The MinHashes of many sketches."""

    def __init__(self, items: Mapping[int, list[int]]) -> None:
        import numpy

        self._members = list(items)
        self._hashes = numpy.array(list(items.values()), numpy.uint32)

    def compare(self, index: int) -> Iterator[tuple[int, float]]:
        """(other, share) for all later ones."""
        later = bisect.bisect_right(self._members, index)
        if later and self._members[later - 1] == index and later < len(self._members):
            mine, others = self._hashes[later - 1], self._hashes[later:]
            used = (mine != EMPTY) | (others != EMPTY)
            shares = ((mine == others) & used).sum(axis=1) / used.sum(axis=1)
            yield from zip(self._members[later:], shares.tolist(), strict=True)


Stack = list[tuple[str, float, "_Part | _Answers"]]


def _stack(sketches: Sequence[Sketch]) -> Stack:
    """(part, from where on it is alike, what compares it), the more exact first."""

    def having(part: str) -> dict[int, object]:
        return {n: sketch[part] for n, sketch in enumerate(sketches) if sketch.get(part)}

    stacks: Stack = [("adapter", ALIKE["adapter"], _Part(having("adapter"), _product_likeness))]
    for part, kind, measure, least in (
        ("losses", "each", _change_likeness, ALIKE["losses"]),
        ("losses", "mean", _change_likeness, ALIKE["means"]),
        ("times", "each", _ratio_likeness, ALIKE["times"]),
        ("times", "mean", _ratio_likeness, ALIKE["times"]),
    ):
        items = {n: dict(curves[kind]) for n, curves in having(part).items() if kind in curves}
        stacks.append((part, least, _Part(items, measure)))
    return [*stacks, ("answers", ALIKE["answers"], _Answers(having("answers")))]


def _compare_with(index: int, stacks: Stack) -> dict[int, dict[str, Likeness]]:
    """{later sketch: {part: Likeness}} of sketch `index`. A curve of each step counts before one of means."""
    found: dict[int, dict[str, Likeness]] = {}
    for part, least, stack in stacks:
        for other, measure in stack.compare(index):
            found.setdefault(other, {}).setdefault(part, Likeness(part, measure, least))
    return found
