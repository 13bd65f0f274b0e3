"""What users are told to type works: every command in the code's texts is there, with variables that it uses."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import remedies

from lesson.core.messages import UserError
from lesson.core.settings import ROOT, SETTINGS
from lesson.install.command_line import OF_MAKE, OF_OTHERS, judge_command_line, uses_of_targets

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = uses_of_targets(MAKEFILE).keys()
# After "make" in a sentence.
PROSE = {"it", "them", "lists", "more", "sure", "does", "took", "would", "expands", "asks", "stops", "updates", "可列出全部目标",
         "可列出全部变量", "运行前先问它：每个目标是否存在", "的目标", "不用它"}  # fmt: skip
# No variables: a word of a command line of its own, and of MAP.
ELSEWHERE = {"KIND", "OLD"}


@functools.cache
def all_texts() -> tuple[remedies.Text, ...]:
    return tuple(remedies.texts())


@functools.cache
def make_commands(pages: bool = False) -> dict[str, str]:
    """{command: a place that tells it} of all that begins with make, cut behind its last target or variable.

    In the texts of the code, or in the code spans and blocks of the pages and examples.
    """
    found = {}
    for place, text in pages_and_examples() if pages else all_texts():
        for before, words in remedies.MAKE.findall(re.sub(r"\bmake -C \S+", "make", text)):
            kept = []
            for word in words.split():
                if not (word in TARGETS or "=" in word or (not kept and (remedies.is_open(word) or word not in PROSE))):
                    break
                kept.append(word)
            if kept and not remedies.is_open(kept[0]) and not kept[0].isupper():  # NAME stands for any target
                found.setdefault(f"{before}make {' '.join(kept)}", place)
    return found


def pages_and_examples() -> Iterator[remedies.Text]:
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]):
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```.*?^```|^(?:    .*\n)+", text, re.M | re.S)
        spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        for part in (*(line for block in blocks for line in block.splitlines()), *spans):
            # What a screen showed is no command; what stands behind a # is a comment.
            yield from (remedies.Text(path.name, one) for one in re.split(r"&&|\s#\s|\|", part.removeprefix("$ ")))
    for path in sorted(
        p for p in (ROOT / "examples").rglob("*") if p.suffix in (".yml", ".yaml", ".sh", ".md", ".json", "")
    ):
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                yield from (remedies.Text(path.name, one) for one in re.split(r"&&|\s#\s", line))


def parts_of(command: str) -> tuple[list[str], dict[str, str]]:
    """(targets, variables) of a command, wherever the variables stand."""
    words = [word for word in command.split() if word != "make"]
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    return [word for word in words if "=" not in word], variables


def test_remedies_are_found():
    """The collection is not empty by a slip of its pattern."""
    commands = make_commands()
    assert len(commands) > 40 and {"make setup", "make convert", "make doctor"} <= commands.keys()
    assert any(command.startswith("make data NEW_NAME=") for command in commands)


@pytest.mark.parametrize("pages", [False, True])
def test_every_make_command_names_targets_that_there_are_and_variables_that_they_use(pages):
    wrong = []
    assert make_commands(pages)
    for command, place in make_commands(pages).items():
        goals, variables = parts_of(command)
        said = judge_command_line(MAKEFILE, goals, list(variables), {})
        if said:
            wrong.append(f"{place}: {command}: {said}")
    assert not wrong, "\n".join(wrong)


def test_every_variable_in_a_text_is_one_and_its_value_is_accepted():
    wrong = []
    for place, text in all_texts():
        for name, value in remedies.VALUE.findall(text):
            if name in OF_MAKE or name in ELSEWHERE or OF_OTHERS.fullmatch(name):
                continue
            if name not in SETTINGS:
                wrong.append(f"{place}: {name}={value}: no such variable")
            elif not remedies.is_open(value) and value.isascii() and value.rstrip(".:") not in SETTINGS[name].of_export:
                try:
                    SETTINGS[name].parse(value.rstrip(".:"))
                except UserError as error:
                    wrong.append(f"{place}: {name}={value}: {error}")
    assert not wrong, "\n".join(wrong)


@functools.cache
def help_of(module: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["--help"])
    return out.getvalue()


def test_every_command_of_python_can_be_typed_as_it_stands():
    """With the venv's Python, for the packages are there, and with options that the script has."""
    wrong, found = [], 0
    for place, text in all_texts():
        if place.startswith("lesson/install/reference.py"):
            continue  # a table of modules and their arguments
        for python, module, words in remedies.PYTHON.findall(text):
            if not (ROOT / (module.replace(".", "/") + ".py")).is_file():
                wrong.append(f"{place}: {module}: no such module")
            elif python or "--" in words:
                found += 1
                if python not in (".venv/bin/python", f"{remedies.HOLE}/bin/python", remedies.HOLE):
                    wrong.append(f"{place}: {python or module}: not the venv's Python")
                missing = [flag for flag in re.findall(r"--[\w-]+", words) if flag not in help_of(module)]
                wrong += [f"{place}: {module} has no {flag}" for flag in missing]
    assert not wrong, "\n".join(wrong)
    assert found


@pytest.mark.slow
def test_make_accepts_every_command_as_it_stands(tmp_path):
    """make itself, which runs nothing (-n), in a folder of its own: one call for each set of targets and variables."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    environment |= {"BUILD": str(tmp_path), "LANG": "C.UTF-8"}
    tried = set()
    for command, place in make_commands().items():
        goals, variables = parts_of(command)
        filled = {name: "x" if remedies.is_open(value) else value for name, value in variables.items()}
        key = (*goals, *sorted(filled))
        if key in tried:
            continue
        tried.add(key)
        before = dict(pair for pair in filled.items() if command.startswith(f"{pair[0]}="))
        typed = ["make", "-n", *goals, *(f"{k}={v}" for k, v in filled.items() if k not in before and k != "PYTHON")]
        done = subprocess.run(typed, cwd=ROOT, env=environment | before, capture_output=True, text=True)
        assert done.returncode == 0, f"{place}: {shlex.join(typed)}: {done.stderr}"
    assert not list(Path(tmp_path).iterdir())
