"""The documentation: complete in both languages, current, with links that work, in sentences that are short."""

from __future__ import annotations

import importlib
import re

import pytest

from lesson.config.profiles import load_profile
from lesson.core import cli
from lesson.core.settings import ROOT, SETTINGS
from lesson.install import reference
from lesson.install.help import ALWAYS_TAKEN, read_targets
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
    named = {name: set(variables) for name, *_, variables in read_targets(MAKEFILE)}
    for target, module in reference.MODULE.findall(MAKEFILE):
        if target in named:
            taken.clear()
            status, _, _ = call(importlib.import_module(f"recipe.{module.split()[0]}"), "--help")
            training = {setting.name for setting in reference.TRAINING if "training" in named[target]}
            missing = set(taken) - named[target] - training - set(ALWAYS_TAKEN)
            assert status == 0 and not missing, f"{target}: {missing}"


def test_every_variable_has_a_target():
    users = reference.targets_by_variable(MAKEFILE)
    shown = users.keys() | set(ALWAYS_TAKEN) | {setting.name for setting in reference.TRAINING}
    assert [name for name in SETTINGS if name not in shown] == []
    known = SETTINGS.keys() | {name for name, *_ in reference.MAKE_VARIABLES} | {"training"}
    assert [name for name in users if name not in known] == []


# --- every page ---------------------------------------------------------------------------------------------------------

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TWINS = [name for name in PAGES if not name.endswith(".zh-CN.md") and name != "CHANGELOG.md"]
LONGEST_README = 130  # lines
MOST_WORDS = 20  # in a sentence of prose, on average
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
IMAGE = re.compile(r'!\[[^\]]*\]\(([^)\s]+)\)|<img src="([^"]+)"')
# A path that a page names: in one of our folders, up to what cannot be part of a path.
PATH = re.compile(r"(?<![\w/.-])((?:recipe|lesson|tests|profiles|schemas|golden|rubric|hooks|examples|data)/[\w./*-]*)")
MADE = ("data/assistant_Tuner_change.jsonl",)  # below BUILD, not in the repository


def twin(name: str) -> str:
    return name.removesuffix(".md") + ".zh-CN.md"


def prose(text: str) -> str:
    """`text` without code blocks, tables, headings, pictures and comments."""
    text = re.sub(r"<!--.*?-->", "", FENCE.sub("", text), flags=re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("|", "#", "![", "<img")))


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings: small letters, spaces to hyphens, punctuation left out."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(text)}


def links(text: str) -> list[str]:
    text = FENCE.sub("", text)
    return LINK.findall(text) + [a or b for a, b in IMAGE.findall(text)]


def commands(text: str) -> list[str]:
    """The commands in code blocks, without prompts and comments: not the output that stands below them."""
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()]
    found = [re.match(r"(?:\$ )?((?:make|python|pytest|\.venv/bin/|client)\b.*?)\s*(?:#.*)?$", line) for line in lines]
    return [match[1] for match in found if match]


def words_per_sentence(text: str) -> float:
    """Words in a sentence of the prose, on average; the end of a list's item ends one too."""
    text = re.sub(r"`[^`]*`", "code", re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", prose(text)))
    parts = re.split(r"[.?!:](?:\s|$)|\n\s*\n|(?:^|\n)\s*(?:[-*]|\d+\.) ", text)
    counts = [len(part.split()) for part in parts if part.split()]
    return sum(counts) / len(counts)


@pytest.mark.parametrize("name", PAGES)
def test_links_pictures_and_anchors_work(name):
    broken = []
    for link in links(page(name)):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        if not target.is_file() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("name", PAGES)
def test_paths_that_a_page_names_exist(name):
    """Rooms, scripts, goldens: no page speaks of a file that was moved."""
    named = {path.rstrip(".") for path in PATH.findall(page(name))} - set(MADE)
    named = {path for path in named if "NAME" not in path and "PROFILE" not in path}
    assert [path for path in sorted(named) if not any(ROOT.glob(path.rstrip("/")))] == []
    scripts = set(re.findall(r"python -m recipe\.(\w+)", page(name))) - {"NAME"}
    assert [script for script in scripts if not (ROOT / "recipe" / f"{script}.py").is_file()] == []


@pytest.mark.parametrize("name", PAGES)
def test_targets_that_a_page_names_exist(name):
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
    named = set(re.findall(r"(?:`|^|\$ |&& )make ([a-z][a-z0-9-]*)", page(name), re.MULTILINE))
    assert named <= phony


@pytest.mark.parametrize("name", TWINS)
def test_both_languages_say_the_same(name):
    """As far as it can be counted: headings, tables, commands and links; and each page links to its twin."""
    english, chinese = page(name), page(twin(name))
    assert f"[中文]({twin(name).split('/')[-1]})" in english and f"[English]({name.split('/')[-1]})" in chinese
    assert len(headings(english)) == len(headings(chinese))
    assert commands(english) == commands(chinese)
    assert english.count("\n|") == chinese.count("\n|"), "rows of tables"

    def targets_of_links(text: str) -> list[str]:
        plain = [link.partition("#")[0].replace(".zh-CN", "") for link in links(text)]
        return sorted({link for link in plain if link != name.split("/")[-1]})

    assert targets_of_links(english) == targets_of_links(chinese)


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_without_its_twin(name):
    assert name.endswith(".zh-CN.md") or name == "CHANGELOG.md" or twin(name) in PAGES
    assert not name.endswith(".zh-CN.md") or name.replace(".zh-CN", "") in PAGES


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_is_short_and_draws_every_folder(name):
    text = page(name)
    assert len(text.splitlines()) <= LONGEST_README
    folders = [path for path in [*ROOT.iterdir(), *(ROOT / "lesson").iterdir()] if (path / "__init__.py").is_file()]
    kept = ["data", "profiles", "schemas", "golden", "rubric", "tests", "docs", "examples", "hooks"]
    for folder in [*(path.name for path in folders), *kept]:
        assert re.search(rf"^ *{folder}/ {{2,}}\S", text, re.MULTILINE), folder
    for other in PAGES:
        twin_of_language = other.endswith(".zh-CN.md") == name.endswith(".zh-CN.md") or other == "CHANGELOG.md"
        assert not twin_of_language or other == name or f"({other})" in text, other


@pytest.mark.parametrize("name", [*TWINS, "CHANGELOG.md"])
def test_sentences_are_short(name):
    assert words_per_sentence(page(name)) < MOST_WORDS


def test_the_chinese_readme_shows_the_chinese_screen():
    """Lines of its sample output that have Chinese text in the code are not in English."""
    blocks = "\n".join(FENCE.findall(page("README.zh-CN.md")))
    for english in ("rows,", "written:", "next:", "trained ", "training;", "passed:", "strings replaced"):
        assert english not in blocks


def test_sentences_are_counted():
    assert (
        words_per_sentence("# A heading\n\nOne two three. Four five\nsix?\n\n| a | b c d e |\n\n```\nno words\n```\n")
        == 3
    )
    assert words_per_sentence("- one two\n- three [four five](x.md)\n") == 2.5
