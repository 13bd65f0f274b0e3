"""A folder, zip or tar that a stranger handed in, as a read-only view: nothing is extracted, followed or trusted.

Every way of reading is bounded: number of files, size of each and of all, how far a member may unpack, depth of folders.
What breaks a rule becomes a problem of the view (`problems`); what cannot be opened at all raises Unreadable.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import posixpath
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from lesson.core.messages import tr
from lesson.core.refusals import Unreadable
from lesson.core.text import shorten

LARGEST = 1 << 30  # bytes in all, unpacked, of what is read: the limit of a submission
LARGEST_UNREAD = 64 << 30  # bytes of what is never opened, checkpoints and the base's own weights: they cost nothing
MOST_FILES = 2000
LONGEST_NAME = 255  # characters of a path
DEEPEST_FOLDER = 12
HIGHEST_RATIO = 300  # unpacked to packed; text logs reach 30
SMALL = 10 << 20  # bytes: a member of this size may have any ratio
CHUNK = 1 << 20
LITTER = re.compile(
    r"(^|/)(__MACOSX/|\.DS_Store$|Thumbs\.db$|desktop\.ini$|\._|__pycache__/|\.git/|\.venv/|\.ipynb_checkpoints/)"
)
# Why a file of the folder that was handed in does not open; what else goes wrong with a disk is not the learner's.
UNOPENED = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.ENXIO}
# Formats that run code when they are loaded: reported, never opened.
PICKLES = (".pth", ".pt", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")


# Weights of the base, as its folder, Hugging Face's cache and ModelScope's hold them.
BASE_WEIGHTS = re.compile(
    r"(^|/)((model|pytorch_model|diffusion_pytorch_model)([-.]\d+-of-\d+)?\.(safetensors|bin|gguf)|blobs/[0-9a-f]{40,64})$"
)
# What a link to the base model is called, or leads to; of such a one the lesson's `ln -s` is made.
MODEL_LINK = re.compile(
    r"(^|/)((pretrained|base|my|local|llm)?[_-]?(models?|weights|checkpoints?)|(hf|huggingface)[_-]?cache|[^/]*(internlm|qwen|llama|deepseek"
    r"|smollm|baichuan|mistral|chatglm|yi-|gemma)[^/]*|models--[^/]+(/.*)?)/?$",
    re.IGNORECASE,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One regular file: its path inside the submission, its size, and how to open it."""

    name: str
    size: int
    opener: Callable[[], BinaryIO]


class View:
    """The regular files of a submission by path, and what is wrong with how they are packed."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.total = 0  # bytes of what may be read
        self.unread = 0  # … of checkpoints and the like
        self._folded: dict[str, str] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def keep_open(self, resource: AbstractContextManager[T]) -> T:
        """Enter the resource now and leave it with the view."""
        return self._closing.enter_context(resource)

    def add_problem(self, text: str) -> None:
        if len(self.problems) < 50:
            self.problems.append(text)

    def add_file(self, name: str, size: int, opener: Callable[[], BinaryIO]) -> None:
        """Take one file into the view, or say why not. Raises Unreadable beyond the limits of the whole."""
        if LITTER.search(name):
            return
        shown = shorten(name)
        if wrong := wrong_name(name):
            self.add_problem(f"{shown}: {wrong}")
            return
        name = name.removeprefix("./")
        if name in self.entries:
            self.add_problem(tr(f"{shown}: twice", f"{shown}：出现两次"))
            return
        folded = unicodedata.normalize("NFC", name).casefold()  # as file systems fold: （1） and (1) are two
        if folded in self._folded:
            other = shorten(self._folded[folded])
            self.add_problem(
                tr(
                    f"{shown} and {other} differ only in case: on other systems they are one file",
                    f"{shown} 与 {other} 只有大小写不同，在其他系统上会冲突",
                )
            )
        self._folded[folded] = name
        if is_unread(name):
            self.unread += size
        else:
            self.total += size
        self.entries[name] = Entry(name, size, opener)
        if len(self.entries) > MOST_FILES:
            raise Unreadable(tr(f"more than {MOST_FILES} files", f"超过 {MOST_FILES} 个文件"))
        if self.total > LARGEST or self.unread > LARGEST_UNREAD:
            raise Unreadable(
                tr(
                    f"more than {LARGEST >> 20} MiB in all, unpacked (at {shown})",
                    f"解压后总大小超过 {LARGEST >> 20} MiB（{shown}）",
                )
            )

    def add_link(self, name: str, target: str, inside: bool = False) -> None:
        """A symbolic link is never followed: one that stays `inside`, or leads to the base model, does no harm."""
        shown, parts = shorten(name), posixpath.normpath(posixpath.join(posixpath.dirname(name), target)).split("/")
        if inside or (not target.startswith("/") and parts[0] != ".."):
            self.notes.append(tr(f"{shown}: a link, not followed", f"{shown}：链接，未跟随"))
        elif MODEL_LINK.search(name) or MODEL_LINK.search(target):
            self.notes.append(tr(f"{shown}: a link to the base, not followed", f"{shown}：指向基座的链接，未跟随"))
        else:
            self.add_problem(tr(f"{shown}: a link that leaves the folder", f"{shown}：指向目录之外的链接"))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """The bytes of a file as a stream. Raises Unreadable when they are damaged."""
        try:
            opened = self.entries[name].opener()
        except OSError as error:
            if error.errno not in UNOPENED:
                raise
            raise Unreadable(f"{shorten(name)}: {error.strerror}") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise Unreadable(f"{shorten(name)}: {shorten(str(error))}") from None
        try:
            with opened as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise Unreadable(f"{shorten(name)}: {shorten(str(error))}") from None

    def read(self, name: str, most: int) -> bytes:
        """The whole file. Raises Unreadable when it has more than `most` bytes."""
        if self.entries[name].size > most:
            what = tr(f"more than {most >> 10} KiB", f"超过 {most >> 10} KiB")
            raise Unreadable(f"{shorten(name)}: {what}")
        with self.open(name) as file:
            return file.read(most + 1)

    def head(self, name: str, size: int = 4096) -> bytes:
        with self.open(name) as file:
            return file.read(size)

    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        with self.open(name) as file:
            while piece := file.read(CHUNK):
                digest.update(piece)
        return digest.hexdigest()

    def below(self, folder: str) -> View:
        """The view with `folder` as its top, when everything lies in it."""
        prefix = folder + "/"
        self.entries = {
            name.removeprefix(prefix): Entry(name.removeprefix(prefix), entry.size, entry.opener)
            for name, entry in self.entries.items()
        }
        return self


def is_unread(name: str) -> bool:
    """Whether a file is of a kind that no check opens: a pickle, or weights of the base."""
    weights = bool(BASE_WEIGHTS.search(name)) and "adapter" not in name.lower()  # those are looked at
    return name.lower().endswith(PICKLES) or weights


def wrong_name(name: str) -> str | None:
    """What is wrong with a path inside a submission; None when nothing is."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return tr("an absolute path", "绝对路径")
    if ".." in parts:
        return tr("leaves the folder by ..", "用 .. 跳出了目录")
    if "\\" in name or any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name):
        return tr("a path with a character that has no place there", "路径里有不该出现的字符")
    if len(name) > LONGEST_NAME or len(parts) > DEEPEST_FOLDER or not name:
        return tr("too long or too deep a path", "路径过长或过深")
    return None
