"""What determines a training, told from a submission; what cannot be told differs from nothing."""

from __future__ import annotations

import pytest
from configs import DONE
from fakes import view_of

from lesson.config.reading import parse_config
from lesson.core.refusals import Broken
from lesson.submission.evidence import Evidence
from lesson.submission.identity import PARAMETERS, differ_in, identify_training


def identity(source: str = DONE, rows: bytes | None = b'{"conversation": []}\n', base: str | None = "b1") -> dict:
    evidence = Evidence(view_of({"x": rows or b""}))
    evidence.parts = {"config": "c"} | ({"data": "x"} if rows is not None else {})
    evidence.config = parse_config(source.encode(), "c")
    evidence.sound_record = {"inputs": {"base": base}} if base else None
    return identify_training(evidence)


@pytest.mark.parametrize(
    ("old", "new", "differ"),
    [
        ("lr = 2e-4", "lr = 1e-4", ["parameters"]),
        ("seed=42", "seed=43", ["seed"]),
        ("        r=64", "        r=32", ["parameters"]),
        ("weight_decay = 0", "weight_decay = 0.1", ["parameters"]),
        ("save_steps = 500", "save_steps = 5", []),
        ("dataloader_num_workers = 0", "dataloader_num_workers = 4", []),
        ("/root/lesson/models/internlm2_5-7b-chat", "/other/internlm2_5-7b-chat", []),
        ('loss_scale="dynamic"', "loss_scale=dict(enabled=False)", []),
        ("请介绍一下你自己", "你好", []),
    ],
)
def test_inputs_differ_and_paths_do_not(old, new, differ):
    assert old in DONE
    assert differ_in(identity(), identity(DONE.replace(old, new))) == differ


def test_rows_and_base_differ_where_both_are_known():
    mine = identity()
    assert set(mine) == {"rows", "seed", "parameters", "base", "packed"} and None not in mine.values()
    assert differ_in(mine, identity(rows=b'{"conversation": [1]}\n')) == ["rows"]
    assert differ_in(mine, identity(base="b2")) == ["base"] and differ_in(mine, identity(base=None)) == []
    assert differ_in(mine, identity(rows=None)) == [] and identity(rows=None)["rows"] is None
    assert identity()["packed"] == "yes" and mine["seed"] == "42"
    assert identity(DONE.replace("pack_to_max_length = True", "pack_to_max_length = False"))["packed"] == "no"
    assert differ_in({}, mine) == []


def test_what_cannot_be_read_is_not_told():
    class Damaged(Evidence):
        @property
        def config(self):
            raise Broken("c: damaged")

    evidence = Damaged(view_of({}))
    evidence.parts = {"config": "c"}
    evidence.sound_record = {"inputs": 3}
    assert set(identify_training(evidence).values()) == {None}


def test_paths_names_and_saving_are_no_parameters():
    assert {"lr", "lora_r", "max_length", "template"} <= set(PARAMETERS)
    assert not {"seed", "model_path", "data_files", "save_steps", "system", "amp_dtype"} & set(PARAMETERS)
