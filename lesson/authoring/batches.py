"""Training batches of the tiny base, made from its corpus in the form in which XTuner feeds rows to a model."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lesson.authoring.corpus import Corpus

PACKED = (6, 512)  # sequences in a batch, tokens in each: rows one after another
ALONE = (54, 80)  # rows in a batch, most tokens of each: a row by itself, from <s>


def encode_row(tokenizer, row: dict) -> tuple[list[int], list[bool]]:
    """Token ids of a row and which of them are trained, as xtuner.dataset.utils.encode_fn makes them."""
    ids, trained = [tokenizer.bos_token_id], [False]
    for turn in row["conversation"]:
        system = f"<|im_start|>system\n{turn['system']}<|im_end|>\n" if turn.get("system") else ""
        asked = f"{system}<|im_start|>user\n{turn['input']}<|im_end|>\n<|im_start|>assistant\n"
        for text, learn in ((asked, False), (turn["output"] + "<|im_end|>", True), ("\n", False)):
            piece = tokenizer.encode(text, add_special_tokens=False)
            ids += piece
            trained += [learn] * len(piece)
    return ids, trained


def draw_batches(tokenizer, seed: int) -> Iterator[tuple[list[list[int]], list[list[bool]]]]:
    """Endless batches of (ids, trained): one of packed rows, then one of rows alone, padded at the end."""
    stream = Corpus(seed)
    random_ = random.Random(seed)
    rest: tuple[list[int], list[bool]] = ([], [])
    while True:
        count, length = PACKED
        while len(rest[0]) < count * length:
            ids, trained = encode_row(tokenizer, stream.draw_row())
            rest[0].extend(ids)
            rest[1].extend(trained)
        yield tuple([part[i * length : (i + 1) * length] for i in range(count)] for part in rest)
        # A new batch starts at the start of a row again, as often as in the middle of one.
        rest = ([], []) if random_.random() < 0.5 else tuple(part[count * length :] for part in rest)
        count, length = ALONE
        rows = []
        while len(rows) < count:
            ids, trained = encode_row(tokenizer, stream.draw_row())
            if len(ids) <= length:
                rows.append((ids, trained))
        width = max(len(ids) for ids, _ in rows)
        pad = tokenizer.pad_token_id
        yield (
            [ids + [pad] * (width - len(ids)) for ids, _ in rows],
            [trained + [False] * (width - len(trained)) for _, trained in rows],
        )
