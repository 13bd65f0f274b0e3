"""The other trainers: what is counted as a token, and the rows that they are given."""

import json

import pytest

from lesson.bench.rivals import count_real_tokens, write_rows

PAD = 2


@pytest.mark.parametrize(
    ("ids", "mask", "count"),
    [
        ([5, 6, 7], [1, 1, 1], 3),
        ([5, 6, PAD, PAD], [1, 1, 1, 1], 2),  # LLaMA-Factory leaves the padding of a pack unmasked
        ([5, 6, PAD, PAD], [1, 1, 1, 0], 2),
        ([5, PAD, 6], [1, 1, 1], 3),  # between two rows it is a token like any other
        ([9, 5, 6], [0, 1, 1], 2),
        ([PAD, PAD], [1, 1], 0),
    ],
)
def test_padding_is_no_token(ids, mask, count):
    assert count_real_tokens(ids, mask, PAD) == count


@pytest.mark.parametrize(
    ("form", "key", "turns"),
    [
        ("messages", "messages", [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
        ("sharegpt", "conversations", [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]),
    ],
)
def test_an_empty_system_prompt_is_left_out_and_another_kept(tmp_path, form, key, turns):
    rows = [{"conversation": [{"system": system, "input": "a", "output": "b"}]} for system in ("", "s")]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert write_rows(str(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", form) == 2
    empty, full = (json.loads(line)[key] for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert empty == turns
    assert full[1:] == turns and "s" in full[0].values()
