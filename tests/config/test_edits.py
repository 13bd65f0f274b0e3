"""Named edits on a config's source: each fits one place, or says why not."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from lesson.core.messages import UserError

if find_spec("xtuner") is None:  # a small install, for checks only
    pytest.skip("XTuner is not installed", allow_module_level=True)

from lesson.config import edits

SOURCE = """\
from torch.optim import AdamW  # why
# a comment
lr = 1
model = dict(
    # first
    type=AdamW,
    # second
    llm=dict(a=1, b='x'),  # end
    c=3)
hooks = [dict(type=AdamW, k=1), dict(type=other, k=2), dict(type=other)]
other = 1
"""


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (edits.Edit("e", "lr", "2"), ("lr = 1\n", "lr = 2\n")),
        (edits.Edit("e", "model.llm.b", "dict(z=[1, -2.5, (None,)])"), ("b='x'", "b=dict(z=[1, -2.5, (None,)])")),
        (edits.Edit("e", "model.llm.c", "AdamW", "add"), ("b='x'", "b='x', c=AdamW")),
        (edits.Edit("e", "model.d", "4", "add"), ("    c=3)", "    c=3,\n    d=4)")),
        (edits.Edit("e", "model.llm.b", "", "remove"), ("a=1, b='x'", "a=1")),
        (edits.Edit("e", "model.llm.a", "", "remove"), ("a=1, b='x'", "b='x'")),
        (edits.Edit("e", "lr", "", "remove"), ("# a comment\nlr = 1\n", "")),
        (edits.Edit("e", "hooks[AdamW].k", "7"), ("k=1", "k=7")),
        (
            edits.Edit("e", value="from torch.optim import Adam", op="import"),
            ("# why\n", "# why\nfrom torch.optim import Adam\n"),
        ),
        (edits.Edit("e", value="from torch.optim import AdamW", op="import"), ("", "")),
    ],
)
def test_edit(edit, expected):
    assert edits.apply_edits(SOURCE, [edit], "x.py") == SOURCE.replace(*expected) if expected[0] else SOURCE


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (edits.Edit("e", "nothing", "2"), "there is no nothing"),
        (edits.Edit("e", "model.llm.z", "2"), "there is no z in model.llm"),
        (edits.Edit("e", "lr.z", "2"), "there is no z in lr"),
        (edits.Edit("e", "hooks[other].k", "2"), "[other] stands 2 times in hooks"),
        (edits.Edit("e", "model.c", "2", "add"), "model.c is there already"),
        (edits.Edit("e", "lr.c", "2", "add"), "lr is not dict(...)"),
        (edits.Edit("e", "model.z", "", "remove"), "there is no z in model"),
        (edits.Edit("e", value="from os import AdamW", op="import"), "AdamW is already torch.optim.AdamW"),
        (edits.Edit("e", value="from os import lr", op="import"), "lr is already a variable"),
        (edits.Edit("e", value="import os", op="import"), "is not “from … import …”"),
        (edits.Edit("e", "lr", "print"), "print in 'print' is not bound"),
        (edits.Edit("e", "lr", "AdamW(1)"), "calls more than dict"),
        (edits.Edit("e", "lr", "AdamW.__class__"), "reaches for __class__"),
        (edits.Edit("e", "lr", "1 + 1"), "computes"),
        (edits.Edit("e", "lr", "[x for x in lr]"), "computes"),
        (edits.Edit("e", "lr", "1; 2"), "is not a Python expression"),
    ],
)
def test_edit_that_does_not_fit_names_edit_and_config(edit, problem):
    with pytest.raises(UserError) as error:
        edits.apply_edits(SOURCE, [edit], "x.py")
    assert "“e”" in str(error.value) and error.value.where == "x.py" and problem in error.value.what


def test_two_assignments_are_two_places():
    with pytest.raises(UserError, match="lr stands 2 times"):
        edits.apply_edits(SOURCE + "lr = 3\n", [edits.Edit("e", "lr", "2")], "x.py")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = dict()\n", "x = dict(b=2)\n"),
        ("x = dict(a=1)\n", "x = dict(a=1, b=2)\n"),
        ("x = dict(a=1, c=3)\n", "x = dict(a=1, c=3, b=2)\n"),
        ("x = dict(\n    a=1,\n)\n", "x = dict(\n    a=1,\n    b=2,\n)\n"),
        ("x = dict(\n    a=1,\n    c=3)\n", "x = dict(\n    a=1,\n    c=3,\n    b=2)\n"),
        ("x = dict(\n    a=1,  # why\n    c=3,\n)\n", "x = dict(\n    a=1,  # why\n    c=3,\n    b=2,\n)\n"),
        ("x = dict(a=1,\n         c=3)\n", "x = dict(a=1,\n         c=3,\n         b=2)\n"),
    ],
)
def test_what_is_added_stands_as_its_neighbours_do(before, after):
    assert edits.apply_edits(before, [edits.Edit("e", "x.b", "2", "add")], "x.py") == after


@pytest.mark.parametrize("value", ["AdamW()", "dict(1)", "dict({})", "dict.fromkeys(a=1)", "dict()()"])
def test_only_dict_with_keywords_is_called(value):
    with pytest.raises(UserError, match=r"calls more than dict|computes"):
        edits.apply_edits(SOURCE, [edits.Edit("e", "lr", value)], "x.py")


def test_values_that_build_something_are_taken():
    for value in ("dict()", "dict(a=[1, (2, None)], b={'c': -1.5})", "AdamW", "AdamW.x", "[AdamW]"):
        assert edits.apply_edits(
            "from torch.optim import AdamW\nlr = 1\n", [edits.Edit("e", "lr", value)], "x.py"
        ).endswith(f"lr = {value}\n")
