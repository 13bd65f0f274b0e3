"""How many tokens of an iteration a machine holds: less on a smaller machine, as make estimate says."""

from __future__ import annotations

import json

import pytest

from lesson.core.settings import Values
from lesson.model.known_bases import BASE_SIZES
from lesson.model.shape import shape_of
from lesson.training import room

QWEN = BASE_SIZES["qwen2_5", "0_5"]


@pytest.fixture
def machine(monkeypatch):
    """Let the machine have that many GB, or a GPU of them."""

    def have(memory: float, gpu: float | None = None) -> None:
        monkeypatch.setattr(room, "total_memory", lambda: memory * 1e9)
        monkeypatch.setattr(room, "first_gpu", lambda: ("GPU", gpu * 1e9) if gpu else (None, None))
        monkeypatch.setattr(room, "multiplies_bfloat16", lambda: True)

    return have


def test_a_laptop_holds_a_few_thousand_tokens_of_a_half_billion(machine):
    counts = []
    for memory, gpu in ((4, None), (8, None), (16, None), (16, 24)):
        machine(memory, gpu)
        counts.append(room.count_tokens_that_fit(shape_of(QWEN, ""), 64))
    assert counts == sorted(counts) and 500 < counts[0] < counts[1] < 6000 < counts[3]
    machine(1)
    assert room.count_tokens_that_fit(shape_of(QWEN, ""), 64) == 1


def test_named_gpu_memory_tells_how_many_packs_fit_at_7b(tmp_path):
    """In 80 GB some ten packs of 2048 tokens, in 24 GB one and a half with the base in 8 bits and none in bfloat16."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(BASE_SIZES["internlm2_5", "7"]))
    given = {"PROFILE": "7b", "SPEED": "fast", "BUILD": str(tmp_path)}

    def tokens(**more: str) -> int:
        return room.read_sizes_and_room(Values(given | more, {})).tokens

    assert 2048 <= tokens(GPU_MEMORY="24", BASE_DTYPE="fp8") < 4096
    assert (
        tokens(GPU_MEMORY="24") < 2048 < 4 * 2048 < tokens(GPU_MEMORY="80") < tokens(GPU_MEMORY="80", BASE_DTYPE="int8")
    )
    assert room.read_sizes_and_room(Values(given, {})).tokens is None


@pytest.mark.parametrize(("profile", "told"), [("small", True), ("tiny", False), ("7b", False)])
def test_it_is_told_at_small_only(profile, told, machine, tmp_path):
    machine(8)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(QWEN))
    sizes = room.read_sizes_and_room(Values({"PROFILE": profile, "BUILD": str(tmp_path)}, {}))
    assert sizes.parameters > 4e8 and (sizes.tokens is not None) is told
