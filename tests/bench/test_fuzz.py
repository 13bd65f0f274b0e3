"""A short run of make fuzz, and every input that the long runs kept or that once broke something."""

import copy
import random

import pytest

from lesson.bench import fuzz
from lesson.bench.fuzz import check_input, mutate, read_corpus
from lesson.core.settings import ROOT
from lesson.core.strict_json import parse_strict_json
from lesson.data.conversion import Unconvertible, convert_to_xtuner
from lesson.data.formats import detect_format
from recipe import fuzz as script

CORPUS = read_corpus(script.CORPUS)
TALKS = [line for data in CORPUS for line in data.split(b"\n") if b'"messages"' in line]


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


@pytest.mark.torch
def test_what_is_accepted_xtuners_own_functions_can_read():
    """A sample of what survives mutation, through template_map_fn and encode_fn; messages also as openai_map_fn reads them."""
    from transformers import AutoTokenizer
    from xtuner.dataset.map_fns import openai_map_fn, template_map_fn_factory
    from xtuner.dataset.utils import encode_fn
    from xtuner.utils import PROMPT_TEMPLATE

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "data" / "tiny-base", trust_remote_code=True)
    in_template = template_map_fn_factory(PROMPT_TEMPLATE.internlm2_chat)
    draw, rows, talks = random.Random(3), 0, 0
    for _ in range(4000):
        data = mutate(draw, CORPUS)
        for row in fuzz.convert_input(data):
            encoded = encode_fn(in_template({"conversation": copy.deepcopy(row["conversation"])}), tokenizer, 1 << 20)
            learned = [turn for turn in row["conversation"] if turn.get("output_with_loss", True)]
            assert any(label >= 0 for label in encoded["labels"]) == bool(learned)
            rows += 1
    roles = {"human": "user", **dict.fromkeys(("gpt", "chatgpt", "bot", "model"), "assistant")}
    for _ in range(4000):
        value = parse_strict_json(mutate(draw, TALKS).split(b"\n")[0].decode(errors="replace"))[0]
        if detect_format(value) != "messages" or "system" in value:
            continue
        try:
            ours = convert_to_xtuner(value, "messages")["conversation"]
        except Unconvertible:
            continue
        if all("role" in message for message in value["messages"]):
            said = [{**message, "role": roles.get(message["role"], message["role"])} for message in value["messages"]]
            theirs = openai_map_fn({"messages": said})["conversation"]
            assert [{"system": "", "output_with_loss": True, **turn} for turn in ours] == theirs
            talks += 1
    assert rows > 500 and talks > 50
