"""What each file of a plain folder may be, told by what it holds."""

from __future__ import annotations

import io

import pytest

from lesson.config.reading import LARGEST_SOURCE
from lesson.submission.archive.view import View
from lesson.submission.candidates import LFS_POINTER, Candidates, find_candidates, is_lfs_pointer

STEP = b"2026/11/24 15:03:39 - mmengine - INFO - Iter(train) [10/20]"


def view_with(files: dict[str, bytes]) -> View:
    view = View()
    for name, data in files.items():
        view.add_file(name, len(data), lambda data=data: io.BytesIO(data))
    return view


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("a.py", b"train_dataloader = dict()", "config"),
        ("a.py", b"model = dict(type=SupervisedFinetune)", "config"),
        ("a.py", b"print(1)", None),
        ("xtuner/configs/a.py", b"train_dataloader = dict()", None),
        ("my_xtuner/a.py", b"train_dataloader = dict()", "config"),
        ("a.py", b"train_dataloader = 1\n".ljust(LARGEST_SOURCE, b"#"), "config"),
        ("a.py", b"train_dataloader = 1\n".ljust(LARGEST_SOURCE + 1, b"#"), None),
        ("a.log", STEP, "log"),
        ("a.txt", b"\n" + STEP, "log"),
        ("A.OUT", STEP, "log"),
        ("a.md", STEP, None),
        ("a.log", b"hello", None),
        ("a.jsonl", b'{"conversation": []}', "data"),
        ("a.json", b' [ {"messages" : []}]', "data"),
        ("a.json", b'{"curve": []}', "record"),
        ("a.json", b'{"inputs": {}, "persona": ""}', "record"),
        ("a.json", b'{"inputs": {}}', None),
        ("a.json", b'{"failures": []}', "evaluation"),
        ("a.json", b'{"prompts": [], "names": {}}', "evaluation"),
        ("a.json", b'{"prompts": []}', None),
        ("a.jsonl", b'{"input": "", "output": ""}', "answers"),
        ("a.json", b'[\n{"input": "",\n"output": ""}]', "answers"),
        ("a.jsonl", b'{"instruction": "", "input": "", "output": ""}', "data"),
        ("a.jsonl", b'{"output": ""}', None),
        ("a.jsonl", b'{"x": 1}\n{"input": "", "output": ""}', None),
        ("a.jsonl", b'{"step": 1, "tokens": 2, "seconds": 3, "loss": 4}', "curve"),
        ("a.jsonl", b'{"step": 1, "tokens": 2, "loss": 4}', "scalars"),
        ("a.json", b'{"lr": 1, "loss": 2, "step": 3}', "scalars"),
        ("a.json", b'{"loss": 2}', None),
        ("adapter_config.json", b'{"curve": []}', None),
        ("a.jsonl", LFS_POINTER + b"v1\n", "pointers"),
        ("adapter_model.safetensors", LFS_POINTER + b"v1\n", "pointers"),
    ],
)
def test_a_file_may_play_the_part_that_its_content_tells(name, data, part):
    found = find_candidates(view_with({name: data}))
    parts = {key: value for key, value in vars(found).items() if value and key != "adapters"}
    assert parts == ({part: [name]} if part else {})


def test_adapters_are_folders_with_weights_a_config_or_both():
    names = ("a/adapter_model.safetensors", "a/adapter_config.json", "b/my_ADAPTER.safetensors", "adapter_config.json")
    found = find_candidates(view_with(dict.fromkeys((*names, "c/model.safetensors"), b"{}")))
    assert found.adapters == {
        "a/": {"adapter": names[0], "adapter_config": names[1]},
        "b/": {"adapter": names[2]},
        "": {"adapter_config": names[3]},
    }
    assert Candidates(adapters=found.adapters) == found


def test_a_file_that_cannot_be_read_hides_no_other():
    view = view_with({"b.log": STEP})

    def refuse():
        raise EOFError

    view.add_file("a.log", 1, refuse)
    view.add_file("a.py", 1, refuse)
    assert find_candidates(view).log == ["b.log"]


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (LFS_POINTER, True),
        (LFS_POINTER.ljust(1023, b"x"), True),
        (LFS_POINTER.ljust(1024, b"x"), False),
        (b"x" + LFS_POINTER, False),
        (LFS_POINTER[:-1], False),
    ],
)
def test_a_pointer_of_git_lfs_is_a_short_text(data, pointer):
    assert is_lfs_pointer(view_with({"x": data}), "x") is pointer
