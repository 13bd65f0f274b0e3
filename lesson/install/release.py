"""A release: the version in pyproject.toml, the form of CHANGELOG.md, and what make bump moves from one to the next.

The version stands in pyproject.toml alone. The form of the changelog is Keep a Changelog's (1.1.0), the order of versions
that of Semantic Versioning 2.0.0, without its suffixes.
"""

from __future__ import annotations

import datetime
import itertools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lesson.core.files import atomic
from lesson.core.layout import release_notes
from lesson.core.messages import UserError, tr

CHANGELOG, PROJECT = "CHANGELOG.md", "pyproject.toml"
UNRELEASED = "## [Unreleased]"
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
RELEASE = re.compile(r"## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})")
VERSION_LINE = re.compile(r'^version = "([^"]*)"$', re.MULTILINE)


@dataclass(frozen=True)
class Bump:
    """A version that is ready to be tagged: its notes, the file that holds them, and what to type next."""

    version: str
    notes: str
    commands: tuple[str, ...]


def read_version(project: str) -> str:
    """The version in the text of pyproject.toml."""
    return tomllib.loads(project)["project"]["version"]


def parse_version(text: str) -> tuple[int, int, int]:
    """Its three numbers. Raises ValueError for another form."""
    match = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", text, re.ASCII)
    if not match:
        raise ValueError(tr("three numbers, as 0.2.0", "应为三个数，如 0.2.0"))
    return tuple(map(int, match.groups()))


def split_changelog(text: str) -> dict[str, str]:
    """{heading: what stands below it, stripped} of the second-level headings, in their order."""
    parts = re.split(r"^(## .*)$", text, flags=re.MULTILINE)
    return {parts[i]: parts[i + 1].strip() for i in range(1, len(parts), 2)}


def find_problems(changelog: str, version: str) -> Iterator[str]:
    """What is wrong with the form of the changelog, `version` being that of pyproject.toml; a line each."""
    headings = re.findall(r"^## .*$", changelog, re.MULTILINE)
    if not changelog.startswith("# Changelog\n"):
        yield tr("does not begin with # Changelog", "开头不是 # Changelog")
    if headings[:1] != [UNRELEASED] or headings.count(UNRELEASED) != 1:
        yield tr(f"{UNRELEASED} does not come first, once", f"{UNRELEASED} 应在最前，且只有一个")
    releases = []
    for heading in (heading for heading in headings if heading != UNRELEASED):
        match = RELEASE.fullmatch(heading)
        try:
            releases.append((parse_version(match[1]), datetime.date.fromisoformat(match[2])))
        except (TypeError, ValueError):
            yield tr(f"{heading}: not ## [1.2.3] - YYYY-MM-DD", f"{heading}：应为 ## [1.2.3] - YYYY-MM-DD")
    for (newer, later), (older, earlier) in itertools.pairwise(releases):
        if newer <= older or later < earlier:
            yield tr(f"{newer} does not come after {older}", f"{newer} 不在 {older} 之后")
    if releases and ".".join(map(str, releases[0][0])) != version:
        yield tr(f"the newest release is not {version} of {PROJECT}", f"最新的版本不是 {PROJECT} 中的 {version}")
    for heading, body in split_changelog(changelog).items():
        yield from _find_problems_of_body(heading, body)


def _find_problems_of_body(heading: str, body: str) -> Iterator[str]:
    kinds = re.findall(r"^### (.*)$", body, re.MULTILINE)
    for kind in kinds:
        if kind not in KINDS or kinds.count(kind) > 1:
            yield tr(f"{heading}: ### {kind} is unknown or stands twice", f"{heading}：### {kind} 未知或重复")
    first, *sections = re.split(r"^### .*$", body, flags=re.MULTILINE)
    if first.strip():
        yield tr(f"{heading}: text before the first ###", f"{heading}：第一个 ### 之前有文字")
    for kind, section in zip(kinds, sections, strict=True):
        lines = [line for line in section.splitlines() if line]
        if not lines:
            yield tr(f"{heading}: ### {kind} is empty", f"{heading}：### {kind} 是空的")
        for number, line in enumerate(lines):
            if not line.startswith("- ") and not (number and line.startswith("  ")):
                yield tr(f"{heading}: no item of a list: {line}", f"{heading}：不是列表项：{line}")
    if heading != UNRELEASED and not kinds:
        yield tr(f"{heading}: is empty", f"{heading}：是空的")


def bump_version(root: Path, version: str, today: datetime.date, build: Path) -> Bump:
    """Move what is unreleased to `version` with the date `today`, and set it in pyproject.toml; neither commits nor tags.

    The notes go into a file in `build` as well. Called again with the same version it ends what a killed call began.
    Raises UserError for a version that is not the next, a changelog without a change or of another form.
    """
    changelog_path, project_path = root / CHANGELOG, root / PROJECT
    changelog, project = (path.read_text(encoding="utf-8") for path in (changelog_path, project_path))
    current = read_version(project)
    done = next((h for h in split_changelog(changelog) if h.startswith(f"## [{version}] ")), None)
    if done is None:
        require_next(version, current)
        require_form(changelog, current, changelog_path)
        if not split_changelog(changelog)[UNRELEASED]:
            raise UserError(
                changelog_path,
                tr("nothing stands under Unreleased", "Unreleased 下没有内容"),
                tr("write what users see, then run make bump again", "请写下用户能看到的变化，再运行 make bump"),
            )
        done = f"## [{version}] - {today.isoformat()}"
        changelog = changelog.replace(f"{UNRELEASED}\n", f"{UNRELEASED}\n\n{done}\n", 1)
        require_form(changelog, version, changelog_path)
        with atomic(changelog_path) as file:
            file.write(changelog)
    elif version != current:
        require_next(version, current)
        require_form(changelog, version, changelog_path)
    if version != current:
        with atomic(project_path) as file:
            file.write(VERSION_LINE.sub(f'version = "{version}"', project, count=1))
    notes = f"{done.removeprefix('## ')}\n\n{split_changelog(changelog)[done]}\n"
    path = release_notes(build, version)
    with atomic(path) as file:
        file.write(notes)
    return Bump(
        version,
        notes,
        (
            f"git add {CHANGELOG} {PROJECT}",
            f'git commit -m "Release {version}"',
            # Without this, git takes headings for comments.
            f"git tag -a v{version} --cleanup=whitespace -F {path}",
            f"git push origin HEAD v{version}",
        ),
    )


def require_next(version: str, current: str) -> None:
    """Raise UserError when `version` is no version, or none after `current`."""
    try:
        later = parse_version(version) > parse_version(current)
        wrong = tr(f"does not come after {current}", f"不在 {current} 之后")
    except ValueError as error:
        later, wrong = False, tr(f"not accepted: {error}", f"不接受：{error}")
    if not later:
        major, minor, patch = parse_version(current)
        following = f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 1}.0"
        raise UserError(
            f"VERSION={version}",
            wrong,
            tr(
                f"make bump VERSION={following[1]}, or {following[0]} where only faults were mended",
                f"make bump VERSION={following[1]}，只修了错误则用 {following[0]}",
            ),
        )


def require_form(changelog: str, version: str, path: Path) -> None:
    """Raise UserError with the first problem of the changelog's form."""
    if problem := next(find_problems(changelog, version), None):
        raise UserError(path, problem, tr("mend it, then run make bump again", "请改正，再运行 make bump"))


def lines_of(bump: Bump) -> list[str]:
    """What the user reads: the notes, and what to type."""
    head = tr(
        f"version {bump.version}; look at git diff, then type:", f"版本 {bump.version}；请先看 git diff，再输入："
    )
    return [bump.notes, head, *(f"  {command}" for command in bump.commands)]
