"""A wrong base model is found before training, and the message names the file, the key and the remedy."""

from __future__ import annotations

import json
import struct

import pytest

from lesson.core.refusals import Broken
from lesson.model import safetensors_file
from lesson.model.known_bases import SIZES_7B
from lesson.model.link import safetensors_header
from recipe import model


def shard(path, tensors: dict[str, int]):
    """Write a safetensors file of float32 vectors {name: length}."""
    header, at = {}, 0
    for name, length in tensors.items():
        header[name] = {"dtype": "F32", "shape": [length], "data_offsets": [at, at + 4 * length]}
        at += 4 * length
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))


@pytest.fixture
def folder(tmp_path):
    """A folder that passes for InternLM2.5-7B-Chat: right config, two whole shards (of small tensors)."""
    folder = tmp_path / "internlm2_5-7b-chat"
    folder.mkdir()
    config = {"architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", **SIZES_7B}
    (folder / "config.json").write_text(json.dumps(config))
    shard(folder / "model-1.safetensors", {"a": 3, "b": 5})
    shard(folder / "model-2.safetensors", {"c": 7})
    weight_map = {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.fixture
def link(call, tmp_path):
    return lambda folder: call(model, "--profile", "7b", "--build", str(tmp_path / "build"), "--model", str(folder))


def test_a_right_folder_is_linked_and_recorded(link, folder, tmp_path):
    status, _, err = link(folder)
    assert (status, err) == (0, "")
    target = tmp_path / "build" / "model"
    assert target.is_symlink() and target.resolve() == folder
    record = json.loads((tmp_path / "build" / "model.record.json").read_text())
    assert len(record["output"]) == 64
    assert link(folder)[0] == 0, "again is fine"


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path, by):
    path.write_bytes(path.read_bytes()[:-by])


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda f: edit(f, num_hidden_layers=48), "num_hidden_layers: 48 instead of 32"),
        (lambda f: edit(f, architectures=["LlamaForCausalLM"]), "architectures"),
        (lambda f: edit(f, vocab_size=None), "vocab_size"),
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json:1:2"),
        (lambda f: (f / "config.json").write_text("[]"), "architectures"),
        (lambda f: (f / "model-2.safetensors").unlink(), "model-2.safetensors"),
        (lambda f: cut(f / "model-2.safetensors", 1), "cut off"),
        (lambda f: cut(f / "model-1.safetensors", 40), "model-1.safetensors"),
        (lambda f: (f / "model-2.safetensors").write_bytes(b"version https://git-lfs"), "model-2.safetensors"),
        (lambda f: (f / "model-2.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}"), "model-2.safetensors"),
        (lambda f: (f / "model-2.safetensors").write_bytes(struct.pack("<Q", 4) + b"[[]]"), "model-2.safetensors"),
        (lambda f: shard(f / "model-2.safetensors", {"d": 7}), "tensor c"),
        (lambda f: (f / "model.safetensors.index.json").unlink(), "model.safetensors"),
        (lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x"}}'), "outside"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "weight_map"),
    ],
)
def test_each_way_to_be_wrong_is_one_line_that_names_it_and_links_nothing(link, folder, tmp_path, spoil, named):
    spoil(folder)
    status, _, err = link(folder)
    assert status == 2
    assert named in err
    assert err.count("\n") == 1
    assert not (tmp_path / "build" / "model").exists()


def test_a_missing_folder_and_an_unset_model_are_errors(link, tmp_path, call):
    assert link(tmp_path / "nowhere")[0] == 2
    status, _, err = call(model, "--profile", "7b", "--build", str(tmp_path / "b"))
    assert status == 2 and "MODEL" in err


def test_internlm2_chat_in_place_of_2_5_is_warned_of(link, folder):
    (folder / "README.md").write_text("# InternLM2-Chat-7B\n")
    status, _, err = link(folder)
    assert status == 0
    assert err.startswith("warning: ") and "InternLM2.5" in err


def test_a_wrong_model_leaves_the_earlier_link_alone(link, folder, tmp_path):
    link(folder)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    assert link(wrong)[0] == 2
    assert (tmp_path / "build" / "model").resolve() == folder


def test_shards_may_have_any_format_where_an_adapter_may_not_and_neither_may_have_gaps(tmp_path):
    """One reader, two bounds: a base quantized to bytes is read, the same file as an adapter is refused."""

    def written(header: dict, size: int):
        text = json.dumps(header).encode()
        path = tmp_path / "x.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
        return path

    def read(path, bounds):
        with open(path, "rb") as file:
            return safetensors_file.read_header(file, path.stat().st_size, path.name, bounds)

    packed = {"a": {"dtype": "U8", "shape": [6], "data_offsets": [0, 6]}}
    assert safetensors_header(written(packed, 6), "") == packed
    with pytest.raises(Broken, match="U8"):
        read(written(packed, 6), safetensors_file.ADAPTER)
    for bounds in (safetensors_file.ADAPTER, safetensors_file.SHARD):
        gap = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}
        with pytest.raises(Broken, match="begins at 4"):
            read(written(gap, 8), bounds)
        lies = {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 8]}}
        with pytest.raises(Broken):
            read(written(lies, 8), bounds)
