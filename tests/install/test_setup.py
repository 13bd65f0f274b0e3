"""The lock is complete and hashed, and make without anything installed says what to do."""

from __future__ import annotations

import re
import subprocess
import sys

from lesson.core.settings import ROOT, SETTINGS
from lesson.install import help as recipe_help
from lesson.install import setup


def test_every_package_of_the_lock_has_one_version_and_hashes():
    blocks = setup.packages(setup.LOCK.read_text(encoding="utf-8"))
    assert len(blocks) > 100
    for name, text in blocks.items():
        assert text.count("==") - text.count("platform_machine ==") - text.count("sys_platform ==") == 1, name
        assert "--hash=sha256:" in text, name
    assert set(setup.BUILD_TOOLS) <= set(blocks)


def test_every_package_named_by_hand_is_in_the_lock_at_that_version():
    blocks = setup.packages(setup.LOCK.read_text(encoding="utf-8"))
    for line in (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line:
            name = re.split("[=<>]", line)[0].strip()
            assert name in blocks
            if "==" in line:
                assert f"{line} " in blocks[name]


def test_no_host_and_no_path_of_a_machine_is_in_the_lock():
    text = setup.LOCK.read_text(encoding="utf-8")
    assert "://" not in text and "file:" not in text and "index-url" not in text


def test_setup_and_help_need_only_the_standard_library():
    """Run with -I -S: no site-packages can be seen."""
    for module in ("setup", "help"):
        code = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); import recipe.{module} as m; sys.exit(m.main(['--help']))"
        )
        subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True)


def test_make_alone_lists_every_target_of_the_makefile(call):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M).group(1).split()) - {"help"}
    listed = {name for name, *_ in recipe_help.targets(makefile)}
    assert listed == phony
    status, out, _ = call(recipe_help)
    assert status == 0
    for name in listed:
        assert re.search(rf"^  {name} ", out, re.M)


def test_each_variable_that_help_names_has_its_own_line(call):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {v for *_, variables in recipe_help.targets(makefile) for v in variables} - {
        "PYTHON",
        "VENV",
        "CHECK_VENV",
        "training",
    }
    assert named <= set(SETTINGS)
    out = call(recipe_help, "--lang", "zh")[1]
    for name in named:
        assert re.search(rf"^  {name} .*\w", out, re.M)


def test_each_recipe_line_of_the_makefile_is_one_call():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for block in re.split(r"\n(?=\S)", makefile):
        assert len([line for line in block.splitlines() if line.startswith("\t")]) <= 1, block
