"""The documentation: complete in both languages, current, with links that work, in sentences that are short."""

from __future__ import annotations

import importlib
import re

import pytest

from lesson.config.profiles import load_profile
from lesson.core import cli
from lesson.core.settings import ROOT, SETTINGS
from lesson.install import reference
from lesson.install.help import targets
from recipe import docs

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SUFFIXES = list(reference.LANGUAGES.values())


def pages() -> dict[str, str]:
    profiles = {name: load_profile(name)["parameters"] for name, _ in reference.SHOWN_PROFILES}
    return reference.reference_pages(MAKEFILE, profiles)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- the reference pages ------------------------------------------------------------------------------------------------


def test_the_reference_pages_are_current(call):
    assert reference.outdated_pages(pages(), ROOT) == [], "run make docs"
    assert call(docs, "--check") == (0, "", "")


def test_an_outdated_page_is_named_and_written_anew(call, tmp_path, monkeypatch):
    made = pages()
    (tmp_path / "docs").mkdir()
    (tmp_path / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    for name, text in made.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    wrong = tmp_path / "docs/settings.md"
    wrong.write_text("# Settings\n", encoding="utf-8")
    (tmp_path / "docs/commands.zh-CN.md").unlink()
    status, out, _ = call(docs, "--check")
    assert status == 1 and out.splitlines() == ["differs: docs/settings.md", "differs: docs/commands.zh-CN.md"]
    assert call(docs) == (0, "docs: 4 pages, 2 changed\n", "")
    assert wrong.read_text(encoding="utf-8") == made["docs/settings.md"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_target_variable_and_recipe_command_is_documented(suffix):
    commands, settings = page(f"docs/commands{suffix}.md"), page(f"docs/settings{suffix}.md")
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()
    assert [name for name in phony if name != "help" and f"| `make {name}` |" not in commands] == []
    assert [name for name in SETTINGS if f"| `{name}` |" not in settings] == []
    scripts = [path.stem for path in (ROOT / "recipe").glob("*.py") if path.stem != "__init__"]
    assert [name for name in scripts if not re.search(rf"recipe\.{name}\b", commands)] == []


def test_the_makefile_names_every_variable_that_its_targets_take(call, monkeypatch):
    """What a script takes as options stands behind its target's help, in the Makefile."""
    taken: list[str] = []
    make_parser = cli.parser

    def recording(module, doc, settings):
        taken.extend(settings)
        return make_parser(module, doc, settings)

    monkeypatch.setattr(cli, "parser", recording)
    named = {name: set(variables) for name, *_, variables in targets(MAKEFILE)}
    for target, module in reference.MODULE.findall(MAKEFILE):
        if target in named:
            taken.clear()
            status, _, _ = call(importlib.import_module(f"recipe.{module.split()[0]}"), "--help")
            training = {setting.name for setting in reference.TRAINING if "training" in named[target]}
            missing = set(taken) - named[target] - training - set(reference.COMMON)
            assert status == 0 and not missing, f"{target}: {missing}"


def test_every_variable_has_a_target():
    users = reference.targets_by_variable(MAKEFILE)
    shown = users.keys() | set(reference.COMMON) | {setting.name for setting in reference.TRAINING}
    assert [name for name in SETTINGS if name not in shown] == []
    known = SETTINGS.keys() | {name for name, *_ in reference.MAKE_VARIABLES} | {"training"}
    assert [name for name in users if name not in known] == []
