"""Rows of one length, with as many trained tokens in each: then all packs weigh the same, however they are put into batches.

A rank's loss is the mean over the trained tokens of its own packs, and the step's gradient the mean over ranks. One process
with the whole batch takes the mean over all trained tokens. Of the shipped rows in packs of 256 tokens one has 25 trained
tokens and another 105, so the two means are different losses, by 0.1 to 0.3 nats a step. Here they are the same sum.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from lesson.core.settings import ROOT
from lesson.data.tokens import load_token_counter

LENGTH, ROW, ANSWER = 128, 64, 14  # tokens of a pack, of a row with all that the template adds, of its answer
PACKS = 28  # in equal shares for 1, 2 and 4 samples a step: no rank's sampler repeats one
FROM, TO = "尖米", "机智流"  # make data replaces the name, and another name has other tokens
FILLER = "好"


def write_rows(path: Path) -> None:
    """The shipped rows with one turn whose answer has ANSWER tokens, each question made longer until the row has ROW."""
    count = load_token_counter(str(ROOT / "data" / "tiny-base"))
    with open(ROOT / "data" / "assistant_Tuner.jsonl", encoding="utf-8") as file:
        talks = [json.loads(line)["conversation"] for line in file]
    rows = (pad(talk[0], count) for talk in talks if len(talk) == 1 and count(renamed(talk[0]["output"])) == ANSWER)
    chosen = list(islice((row for row in rows if row), PACKS * LENGTH // ROW))
    assert len(chosen) == PACKS * LENGTH // ROW, len(chosen)
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"conversation": [row]}, ensure_ascii=False) + "\n" for row in chosen)


def pad(turn: dict[str, str], count) -> dict[str, str] | None:
    """`turn` without a system prompt, as long as a row has to be; None where no question makes it so."""
    for more in range(ROW):
        question = turn["input"] + FILLER * more
        prompt = f"<|im_start|>user\n{renamed(question)}<|im_end|>\n<|im_start|>assistant\n"
        length = 1 + count(prompt) + ANSWER + count("<|im_end|>") + count("\n")
        if length >= ROW:
            return turn | {"system": "", "input": question} if length == ROW else None
    return None


def renamed(text: str) -> str:
    return text.replace(FROM, TO)
