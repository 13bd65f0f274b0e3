"""A short run of tests/fuzz_data.py, and every input that the long runs kept or that once broke something."""

import random

import pytest
from fuzz_data import CORPUS, ROWS, mutate, one

KEPT = [path for folder in (CORPUS, ROWS) for path in sorted(folder.glob("*"))]


def test_the_corpus():
    assert len(KEPT) > 10
    for path in KEPT:
        one(path.read_bytes())


@pytest.mark.parametrize("seed", range(3))
def test_mutated_rows(seed):
    draw, corpus = random.Random(seed), [path.read_bytes() for path in KEPT]
    for _ in range(150):
        one(mutate(draw, corpus))


@pytest.mark.parametrize("hostile", ['": "{{' * 20_000, "[" * 500_000, "1" * 500_000, '{"a":' * 100_000, "a" * 900_000 + "@", "尖 " * 200_000, '"\\ud800' * 50_000])  # fmt: skip
def test_hostile_lines_take_no_time(hostile):
    one(hostile.encode())
    one(f'{{"conversation": [{{"input": "{hostile[:400_000]}", "output": "尖米"}}]}}\n'.encode())
