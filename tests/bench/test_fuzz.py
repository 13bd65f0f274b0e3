"""A short run of make fuzz, and every input that the long runs kept or that once broke something."""

import random

import pytest

from lesson.bench import fuzz
from lesson.bench.fuzz import check_input, mutate, read_corpus
from recipe import fuzz as script

CORPUS = read_corpus(script.CORPUS)


def test_the_corpus():
    assert len(CORPUS) > 10
    for data in CORPUS:
        check_input(data)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_rows(seed):
    draw = random.Random(seed)
    for _ in range(150):
        check_input(mutate(draw, CORPUS))


@pytest.mark.parametrize("hostile", ['": "{{' * 20_000, "[" * 500_000, "1" * 500_000, '{"a":' * 100_000, "a" * 900_000 + "@", "尖 " * 200_000, '"\\ud800' * 50_000])  # fmt: skip
@pytest.mark.slow
def test_hostile_lines_take_no_time(hostile):
    check_input(hostile.encode())
    check_input(f'{{"conversation": [{{"input": "{hostile[:400_000]}", "output": "尖米"}}]}}\n'.encode())


@pytest.mark.skipif(script.atheris is not None, reason="atheris ends the process")
def test_the_command_counts_its_runs(capsys):
    assert script.main(["-runs=20", "-seed=7"]) == 0
    assert capsys.readouterr().out.startswith("20 inputs, no crash, no hang")


def test_a_crash_names_its_input(monkeypatch):
    def broken(data):
        raise AssertionError("other bytes")

    monkeypatch.setattr(fuzz, "check_input", broken)
    with pytest.raises(AssertionError) as error:
        fuzz.fuzz_by_mutation(3, 5, [b"{}"], lambda line: None)
    assert error.value.__notes__[0].startswith("crash at run 0, seed 5: b'")
