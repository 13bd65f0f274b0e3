"""Who may import whom, read from the imports themselves: rooms with arrows one way, thin scripts, light checkers."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from lesson.core.settings import ROOT

# Each room may import itself and what stands here.
MAY_IMPORT = {
    "core": set(),
    "data": {"core"},
    "model": {"core"},
    "config": {"core", "data"},
    "runs": {"core", "config"},
    "training": {"core", "data", "model", "config", "runs"},
    "evaluation": {"core", "data", "model", "runs"},
    "export": {"core", "data", "model", "runs", "training", "evaluation"},
    "serving": {"core", "data", "runs", "evaluation"},
    "submission": {"core", "data", "model", "config", "runs", "evaluation"},
    "authoring": {"core", "data", "model", "evaluation"},
}
MAY_IMPORT |= dict.fromkeys(("bench", "install"), set(MAY_IMPORT) | {"bench", "install"})
LONGEST_SCRIPT = 60  # lines of recipe/NAME.py, the help that it prints among them
# Processes of their own, which only the recipe starts: they have to print.
PROCESSES = {
    "lesson.training.engine",
    "lesson.training.torchrun",
    "lesson.export.engine_process",
    "lesson.submission.rerun",
}
PROCESSES |= {"lesson.bench.rival_trainers", "lesson.bench.plain_peft"}
# What judges rows, configs and submissions: no package beside these, and not the text that the tiny base learns.
LIGHT = ("recipe.check", "recipe.validate", "recipe.check_config")
LIGHT_PACKAGES = {"jsonschema", "numpy", "tokenizers", "tqdm", "zstandard", "datasketch", "pypinyin"}
MOST_LIGHT_MODULES = 20  # of ours, loaded by `import recipe.check`


@functools.cache
def modules() -> dict[str, Path]:
    """{dotted name: file} of lesson/ and recipe/, packages left out."""
    files = [*ROOT.glob("lesson/**/*.py"), *ROOT.glob("recipe/*.py")]
    return {".".join(f.relative_to(ROOT).with_suffix("").parts): f for f in files if f.name != "__init__.py"}


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def imports(module: str, top: bool = False) -> Iterator[str]:
    """The dotted names that a module imports, those in functions too unless `top`. Types alone do not count for `top`."""
    nodes = tree(module).body if top else ast.walk(tree(module))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else node.module


def ours(module: str, top: bool = False) -> set[str]:
    return {name for name in imports(module, top) if name in modules()}


def room(module: str) -> str:
    return module.split(".")[1]


def library() -> list[str]:
    return [module for module in modules() if module.startswith("lesson.")]


def scripts() -> list[str]:
    return [module for module in modules() if module.startswith("recipe.")]


def test_every_module_of_the_library_is_in_a_room_that_has_a_rule():
    assert {room(module) for module in library()} == MAY_IMPORT.keys()


@pytest.mark.slow
def test_arrows_point_one_way():
    wrong = [
        f"{module} imports {other}"
        for module in library()
        for other in ours(module)
        if other.startswith("recipe.") or room(other) not in MAY_IMPORT[room(module)] | {room(module)}
    ]
    assert not wrong


def test_no_circle_of_files():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in ours(module):
                visit(other, (*path, module))
            done.add(module)

    for module in modules():
        visit(module, ())


def test_scripts_are_thin_and_import_no_other_script():
    for module in scripts():
        lines = len(modules()[module].read_text(encoding="utf-8").splitlines())
        assert lines < LONGEST_SCRIPT, f"{module}: {lines} lines"
        assert all(other.startswith("lesson.") for other in ours(module)), module


def printing(module: str) -> bool:
    """Whether a module prints (to a stream that it was given it may), or reads a command line."""
    streams = [
        next((ast.unparse(word.value) for word in node.keywords if word.arg == "file"), "sys.stdout")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    speaks = any(stream in ("sys.stdout", "sys.stderr") for stream in streams)
    return speaks or "argparse" in set(imports(module)) or "lesson.core.cli" in ours(module)


def test_the_library_returns_and_raises_and_scripts_print():
    found = {module for module in library() if printing(module)} - PROCESSES - {"lesson.core.cli"}
    assert not found


def loaded(module: str) -> tuple[set[str], set[str]]:
    """(modules of ours, packages of others) that `import module` loads, by the imports at the top of each file."""
    mine, others, waiting = set(), set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in mine:
            mine.add(name)
            waiting += ours(name, top=True)
            others |= {other.partition(".")[0] for other in imports(name, top=True)} - {"lesson", "recipe"}
    return mine, others


def plug_ins() -> list[str]:
    """What recipe.check loads by name when judging begins, or a report is asked for."""
    below = ("lesson.submission.checks.", "lesson.submission.reports.")
    named = ["lesson.submission.verdict", "lesson.submission.published", "lesson.submission.asking"]
    named += ["lesson.submission.retraining"]
    return named + [module for module in modules() if module.startswith(below)]


@pytest.mark.parametrize("module", [*LIGHT, *plug_ins()])
def test_what_judges_loads_neither_torch_nor_xtuner_nor_the_corpus(module):
    import sys

    mine, others = loaded(module)
    assert others - sys.stdlib_module_names <= LIGHT_PACKAGES
    assert not {name for name in mine if room(name) in ("authoring", "training", "serving", "bench", "install")}


def test_the_checker_loads_few_modules():
    mine, _ = loaded("recipe.check")
    assert len(mine) <= MOST_LIGHT_MODULES, sorted(mine)


def test_tests_mirror_the_library():
    """tests/ROOM/test_NAME.py is for lesson/ROOM/NAME.py, test_limits.py for all of a room; tests of the whole stand in
    tests/whole/."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        name = path.relative_to(ROOT / "tests").as_posix()
        if name == "test_architecture.py" or name.startswith("whole/") or path.name == "test_limits.py":
            continue
        target = name.replace("/test_", "/")
        assert (ROOT / "lesson" / target).exists() or (ROOT / target).exists(), name
