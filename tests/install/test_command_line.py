"""What was typed after make is judged before anything runs: nothing is ignored silently."""

from __future__ import annotations

import os
import subprocess
import unicodedata

import pytest

from lesson.core.messages import UserError, set_language
from lesson.core.settings import ROOT, SETTINGS, TRAINING, Values
from lesson.install.command_line import judge_command_line, uses_of_targets
from lesson.install.help import ALWAYS_TAKEN

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
USES = uses_of_targets(MAKEFILE)


def judge(goals: str, given: str = "", **environment: str) -> str | None:
    return judge_command_line(MAKEFILE, goals.split(), given.split(), environment)


@pytest.mark.parametrize(
    ("goals", "given", "said"),
    [
        ("data", "NEWNAME", "did you mean NEW_NAME=?"),
        ("data", "new_name", "did you mean NEW_NAME=?"),
        ("data", "New-Name", "did you mean NEW_NAME=?"),
        ("data", "ＮＥＷ_ＮＡＭＥ", "did you mean NEW_NAME=?"),
        ("data", "NAME", "did you mean NEW_NAME=?"),
        ("all", "name", "did you mean NEW_NAME=?"),
        ("train", "LEARNING_RATE", "did you mean LR=?"),
        ("train", "EPOCH", "did you mean EPOCHS=?"),
        ("train", "MAXLENGTH", "did you mean MAX_LENGTH=?"),
        ("chat", "EPOCHS", "it belongs to config, train, all"),
        ("eval", "NEW_NAME", "make eval does not use it"),
        ("data", "DATASET", "did you mean SRC=?"),
        ("data", "QQQ", "make lists the variables"),
    ],
)
def test_a_variable_that_is_not_known_or_not_used_is_named_with_the_nearest(goals, given, said):
    assert said in judge(goals, given) and given in judge(goals, given)


@pytest.mark.parametrize("given", ["WANDB", "SWANLAB"])
def test_names_of_other_tools_are_known(given):
    said = judge("train", given)
    assert "did you mean " in said and said.split("did you mean ")[1].split("=")[0] in ("TRACKER",)


@pytest.mark.parametrize(
    ("goals", "given", "said"),
    [
        ("data 海 豚", "NEW_NAME", "海: no such target; a value with a space needs quotes: NEW_NAME='… 海 豚'"),
        ("data 闻星", "NEW_NAME", "a value with a space needs quotes"),
        ("data NEW_NAME＝闻星", "", "type NEW_NAME=闻星"),
        ("trian", "", "did you mean make train?"),
        ("check_config", "", "did you mean make check-config?"),
        ("data xyzzy", "", "xyzzy: no such target; make lists them"),
    ],
)
def test_a_target_that_there_is_not_is_told_with_what_was_meant(goals, given, said):
    assert said in judge(goals, given)


def test_every_variable_of_a_target_and_of_those_that_it_runs_is_taken():
    for target, used in USES.items():
        for name in [
            *used,
            *ALWAYS_TAKEN,
            "PY",
            "PYTHON",
            "VENV",
            "CUDA_VISIBLE_DEVICES",
            "HF_ENDPOINT",
            "OMP_NUM_THREADS",
        ]:
            assert judge(target, name) is None, (target, name)
    assert {s.name for s in TRAINING} <= USES["config"] and USES["config"] | USES["model"] <= USES["train"]
    assert USES["data"] | USES["train"] | USES["eval"] <= USES["all"]
    assert USES["convert"] <= USES["web"] and USES["merge"] <= USES["chat"]
    assert judge("") is judge("help") is judge(".venv/bin/python") is None
    assert judge("data train", "NEW_NAME EPOCHS") is None


def test_every_setting_belongs_to_a_target():
    assert set(SETTINGS) - set().union(*USES.values()) - set(ALWAYS_TAKEN) == set()


def test_a_variable_of_the_environment_that_is_nearly_one_that_is_used_is_named():
    assert judge("data", NEWNAME="x") == "NEWNAME in the environment is no variable; set NEW_NAME, or unset NEWNAME"
    assert judge("data", new_name="x") and judge("chat", NEWNAME="x") is None
    assert judge("data", NEW_NAME="x", NEWNAME="x") is None and judge("data", NAME="x", name="x", SRC="y") is None


def test_in_chinese():
    set_language("zh")
    try:
        assert judge("data", "NEWNAME") == "NEWNAME=…：没有这个变量；是不是 NEW_NAME=？"
        assert "加引号" in judge("data 海", "NEW_NAME") and "全角" in judge("NEW_NAME＝x")
    finally:
        set_language(None)


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))} | {"LANG": "C.UTF-8"}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=clean | environment, capture_output=True, text=True)


@pytest.mark.slow
def test_make_stops_before_anything_is_written(tmp_path):
    build = tmp_path / "build"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nmkdir -p {build}\n")
    python.chmod(0o755)
    given = (f"PY={python}", f"BUILD={build}")
    for wrong in (
        ["NEWNAME=闻星"],
        ["NEW_NAME=小", "海", "豚"],
        ["NEW_NAME＝闻星"],
        ["new_name=x"],
        ["NEW_NAME=A$HOME"],
    ):
        done = make("data", *wrong, *given)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and not build.exists(), done
    for hostile in ("a'; touch {c}; '", "$(shell touch {c})", "`touch {c}`", 'a"; touch {c}; "'):
        done = make("data", *hostile.format(c=tmp_path / "canary").split(), *given)
        assert done.returncode == 2 and not build.exists() and not (tmp_path / "canary").exists(), done
    done = make("data", "NEW_NAME=小 海 豚", "SRC=a'b", *given)
    assert done.returncode == 0 and build.exists(), done
    assert make("-n", "data", "NEWNAME=x", "PYTHON=/no/such/python").returncode == 0, (
        "without a Python nothing is judged"
    )


def test_training_values_beside_a_config_of_ones_own_are_refused(tmp_path):
    from lesson.config.make import refuse_ignored

    refuse_ignored(Values({"CONFIG": "x.py", "SEED": "3"}, {}))
    for flags in ({"EPOCHS": "3"}, {"LR": "1e-4", "MAX_LENGTH": "512"}, {"RESET": "1"}):
        with pytest.raises(UserError, match=f"{next(iter(flags))}=.*CONFIG=x.py decides"):
            refuse_ignored(Values({"CONFIG": "x.py", **flags}, {}))


def test_a_name_holds_no_control_characters_and_no_direction_marks():
    parse = SETTINGS["NEW_NAME"].parse
    for code in (
        *range(0x20),
        0x7F,
        0x85,
        0xAD,
        0x61C,
        0x200B,
        0x200E,
        0x200F,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        0x2028,
        0xFEFF,
        0xD800,
    ):
        with pytest.raises(UserError):
            parse(f"闻{chr(code)}星")
        assert unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    for name in ("闻星", "A B", "d'Artagnan", "Zoë", "می‌خواهم", "👩‍🚀", "小·海", "O2"):
        assert parse(name) == name
