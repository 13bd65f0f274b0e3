"""`make` alone lists what the Makefile holds, with every variable that is named there."""

from __future__ import annotations

import re

from lesson.core.settings import ROOT, SETTINGS
from lesson.install.help import read_targets
from recipe import help as help_script


def test_make_alone_lists_every_target_of_the_makefile(call):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M).group(1).split()) - {"help"}
    listed = {name for name, *_ in read_targets(makefile)}
    assert listed == phony
    status, out, _ = call(help_script)
    assert status == 0
    for name in listed:
        assert re.search(rf"^  {name} ", out, re.M)


def test_each_variable_that_help_names_has_its_own_line(call):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {v for *_, variables in read_targets(makefile) for v in variables} - {
        "PYTHON",
        "VENV",
        "CHECK_VENV",
        "EXPORT_VENV",
        "training",
    }
    assert named <= set(SETTINGS)
    out = call(help_script, "--lang", "zh")[1]
    for name in named:
        assert re.search(rf"^  {name} .*\w", out, re.M)


def test_each_recipe_line_of_the_makefile_is_one_call():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for block in re.split(r"\n(?=\S)", makefile):
        assert len([line for line in block.splitlines() if line.startswith("\t")]) <= 1, block
