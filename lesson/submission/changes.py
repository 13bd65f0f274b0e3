"""Which files of a git repository changed since a commit, and which of them may be opened."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.core.messages import UserError, tr


@dataclass(frozen=True)
class Changes:
    """Files below this folder, relative to it. `note` says what they were compared with where it is not `since`."""

    files: list[str]
    note: str = ""


def changed_files(since: str, patterns: Sequence[str]) -> Changes:
    """The files that git knows, match a pattern and differ from the commit `since`; of 0, all.

    After a force push `since` is no ancestor, or is gone: then they are those that differ from the commit where the
    branches part, or all. Raises UserError where git cannot tell.
    """
    if not since.strip("0"):
        return Changes(_list_files(patterns))
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{since}^{{commit}}")
    if found.returncode == 0:
        commit = found.stdout.decode().strip()
        base = _git("merge-base", commit, "HEAD").stdout.decode().strip()
        if base == commit:
            return Changes(_compare(commit, patterns))
        if base:
            note = tr(f"compared with {base[:12]}, where the branches part", f"与分叉处的提交 {base[:12]} 比较")
            return Changes(_compare(base, patterns), f"{since[:12]}: {note}")
        return Changes(_list_files(patterns), f"{since[:12]}: {_checked_all()}")
    if _git_text("rev-parse", "--is-shallow-repository") == "true":
        what = tr("no such commit in this shallow clone", "浅克隆里没有该提交")
        remedy = tr(
            "fetch it first: fetch-depth: 0, or git fetch --unshallow",
            "请先获取：fetch-depth: 0，或 git fetch --unshallow",
        )
        raise UserError(f"--since {since}", what, remedy)
    if not _is_commit_id(since):
        what = tr("no such commit or branch", "没有这个提交或分支")
        raise UserError(
            f"--since {since}", what, tr("git log shows them; 0 checks all files", "git log 可查看；0 表示检查全部文件")
        )
    gone = tr("is gone, as after a force push", "已不存在（例如强制推送之后）")
    return Changes(_list_files(patterns), f"{since[:12]} {gone}: {_checked_all()}")


def _checked_all() -> str:
    return tr("all files are checked", "检查全部文件")


def _is_commit_id(text: str) -> bool:
    return 7 <= len(text) <= 64 and not set(text.lower()) - set("0123456789abcdef")


def _list_files(patterns: Sequence[str]) -> list[str]:
    return _names(_require("ls-files", "-z", "--", *patterns))


def _compare(commit: str, patterns: Sequence[str]) -> list[str]:
    options = ("--name-only", "--relative", "--no-renames", "--no-ext-diff", "--diff-filter=d", "-z")
    return _names(_require("diff", *options, commit, "--", *patterns))


def _names(output: bytes) -> list[str]:
    return [os.fsdecode(name) for name in output.split(b"\0") if name]


def _git(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"LC_ALL": "C"}  # its words are looked at
    try:
        return subprocess.run(["git", *arguments], capture_output=True, env=environment)
    except FileNotFoundError:
        raise UserError(
            "git", tr("not installed", "未安装"), tr("apt-get install git", "apt-get install git")
        ) from None


def _require(*arguments: str) -> bytes:
    done = _git(*arguments)
    if done.returncode:
        raise _explained(done)
    return done.stdout


def _git_text(*arguments: str) -> str:
    return _require(*arguments).decode().strip()


def _explained(done: subprocess.CompletedProcess) -> UserError:
    """What git said when it failed, with what helps."""
    text = done.stderr.decode(errors="replace").strip()
    here = os.getcwd()
    if "dubious ownership" in text or "safe.directory" in text:
        what = tr("the repository belongs to another user", "仓库属于另一个用户")
        words = [word for line in text.splitlines() if "safe.directory" in line for word in line.split()]
        folder = words[-1] if words else here
        return UserError(here, what, f"git config --global --add safe.directory {folder}")
    if "not a git repository" in text:
        remedy = tr("go into one, or name files without --since", "请进入仓库目录，或不用 --since 而直接写文件名")
        return UserError(here, tr("not a git repository", "不是 git 仓库"), remedy)
    reason = (text.splitlines() or ["git"])[-1]
    return UserError(here, reason, tr("git status shows more", "git status 有更多信息"))


def repository_root(folder: Path) -> Path | None:
    """The folder of the repository that `folder` is in, told by its .git; None outside one. git is not asked."""
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), None)


def refuse_link(file: str) -> str | None:
    """Why a file is not opened: no file of this repository; None when it is one, or was named from elsewhere.

    A link may lead to what the checker can read and its author cannot: the text of any file would be in a report. Git's
    own folder counts as outside: it holds the token that the clone was made with.
    """
    path = Path(os.path.abspath(file))
    root = repository_root(Path(os.path.abspath(".")))
    if os.path.lexists(path):
        real = Path(os.path.realpath(path))
        if root and path.is_relative_to(root):
            home = Path(os.path.realpath(root))
            if not real.is_relative_to(home) or real.is_relative_to(home / ".git"):
                return tr("a link out of the repository", "指向仓库之外的链接")
        if os.path.exists(real) and not os.path.isfile(real):
            return tr("no regular file", "不是普通文件")
    return None
