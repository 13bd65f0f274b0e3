"""make setup-check: what checks submissions, rows and configs runs on its own small lock, and on nothing beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata

import pytest
import submissions

from lesson.core.settings import ROOT
from lesson.install import setup

HEAVY = ("torch", "xtuner", "transformers", "scipy", "pandas", "mmengine", "peft", "huggingface-hub")
# A Python in which only the standard library, the recipe and the lock's own packages can be imported.
ONLY = """
import importlib, sys
from importlib.machinery import PathFinder
allowed = {allowed!r} | sys.stdlib_module_names | {{"recipe", "lesson"}}

class Only:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, path, target) if name.partition(".")[0] in allowed else None

sys.meta_path = [Only if finder is PathFinder else finder for finder in sys.meta_path]
sys.exit(importlib.import_module("recipe." + sys.argv[1]).main(sys.argv[2:]))
"""


def blocks() -> dict[str, str]:
    return setup.parse_lock(setup.CHECK_LOCK.read_text(encoding="utf-8"))


def test_the_small_lock_is_hashed_small_and_at_the_versions_of_the_large_one():
    small, large = blocks(), setup.parse_lock(setup.LOCK.read_text(encoding="utf-8"))
    assert len(small) < 20 and not small.keys() & set(HEAVY)
    for name, text in small.items():
        assert "--hash=sha256:" in text, name
        assert re.match(r"\S+", text)[0] == re.match(r"\S+", large[name])[0], name
    for line in (ROOT / "requirements-check.in").read_text(encoding="utf-8").splitlines():
        if line := line.split("#")[0].strip():
            assert line in small
    assert "://" not in setup.CHECK_LOCK.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def only(tmp_path_factory):
    """only(module, *arguments) → (status, screen) of a stage in a Python with nothing but the small lock."""
    modules = {
        module
        for module, packages in metadata.packages_distributions().items()
        if {re.sub(r"[-_.]+", "-", package).lower() for package in packages} & blocks().keys()
    }
    assert {"jsonschema", "numpy", "tokenizers"} <= modules and "torch" not in modules
    code = ONLY.format(allowed=modules)

    def run(*arguments: str) -> tuple[int, str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PROFILE": "tiny", "LANG": "C.UTF-8"}
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_checks_of_submissions_rows_and_configs_import_nothing_beyond_it(only, tmp_path):
    path = str(submissions.pack(submissions.honest_files(), tmp_path / "all" / "s"))
    status, screen = only("check", path, "--report", f"{tmp_path}/v.html,{tmp_path}/v.xml,{tmp_path}/results.json")
    assert status == 0 and "152/152" in screen, screen
    assert only("check_all", str(tmp_path / "all"), "--report", f"{tmp_path}/all.csv")[0] == 0
    status, screen = only("validate", str(ROOT / "data" / "assistant_Tuner.jsonl"), "--report", "github")
    assert status == 0 and "near duplicates are not looked for" in screen, screen
    config = ROOT / "golden" / "configs" / "tiny" / "internlm2_5_chat_7b_qlora_alpaca_e3.py"
    status, screen = only("check_config", str(config), "--no-files")
    assert status == 0 and "0 errors" in screen, screen


def test_the_python_of_these_tests_refuses_what_is_not_in_the_lock(only):
    """The hook itself: a stage that needs libcst cannot run in it."""
    status, screen = only("config", "--help")
    assert status != 0 and "No module named 'libcst'" in screen


def test_make_check_takes_the_small_venv_where_the_full_one_is_missing(tmp_path):
    def asked(*made: str) -> str:
        for name in made:
            (tmp_path / name / "bin").mkdir(parents=True)
            (tmp_path / name / "bin" / "python").touch()
        command = ["make", "-n", "check", f"VENV={tmp_path}/full", f"CHECK_VENV={tmp_path}/small"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout

    assert "run make setup-check" in asked()
    assert f"{tmp_path}/small/bin/python -m recipe.check" in asked("small")
    assert f"{tmp_path}/full/bin/python -m recipe.check" in asked("full")
