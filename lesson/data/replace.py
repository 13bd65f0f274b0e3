"""Replace names in the string values of JSON Lines: keys, numbers and order stay, output as json.dumps writes it.

    python -m recipe.replace INPUT OUTPUT --old_text 尖米 --new_text 机智流
    python -m recipe.replace - - --map 尖米=闻星 --map 星海=云图 < in.jsonl > out.jsonl

The law: for every line that the published script accepts, the output is `json.dumps(replaced, ensure_ascii=False)` of
the recursively replaced object. Lines proven canonical (recipe.rows.CANONICAL_ROWS) are replaced as text, which gives
the same bytes without parsing; all others are parsed. Limits of our own: a line of at most 1 MiB; blank lines go.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from lesson.core import cli
from lesson.core.findings import Findings, report_text
from lesson.core.messages import UserError, set_language, tr
from lesson.data.residue import Residue, scan
from lesson.data.rows import (
    CANONICAL_ROWS,
    LONGEST_LINE,
    STRUCTURE,
    Block,
    blocks,
    open_bytes,
    open_output,
    split_lines,
)
from lesson.data.rules import ROW_RULES

# A match that begins with one of these could begin inside an escape such as \n or 1f.
ESCAPE_LETTERS = frozenset("nrtfbu0123456789abcdef")
ENCODE = json.JSONEncoder(ensure_ascii=False).encode


class Replacer:
    """Replaces `pairs` of (old, new) at the same time: never chained, at each place the longest old name that fits.

    `changed` counts the string values in which something was replaced. Raises UserError for pairs that contradict
    each other.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]], counting: bool = True) -> None:
        self.news: dict[str, str] = {}
        for old, new in pairs:
            _check_pair(old, new)
            if self.news.setdefault(old, new) != new:
                raise UserError(
                    f"{old}={new}",
                    tr(f"the same name is also mapped to {self.news[old]}", f"同一个名字还被映射到 {self.news[old]}"),
                    tr("keep one of the two", "请只保留一个"),
                )
        olds = sorted(self.news, key=len, reverse=True)
        self.overlaps = sorted({text for a in olds for b in olds if a != b for text in _overlaps(a, b)})
        self.changed = 0
        self._counting = counting
        self._single = next(iter(self.news.items())) if len(olds) == 1 else None
        self._any = re.compile("|".join(map(re.escape, olds)))
        # The same on canonical text, where new names stand in their escaped form.
        self._escaped = {old: ENCODE(new)[1:-1] for old, new in self.news.items()}
        self._rest = re.compile(rf'(?:{self._any.pattern})(?:[^"\\]++|\\.)*+"')
        self._as_text = not self.overlaps and all(
            old.isprintable() and not set('"\\') & set(old) and not any(old in run for run in STRUCTURE) for old in olds
        )
        self._walk = self._walker()
        self._escapes_matter = any(old[0] in ESCAPE_LETTERS for old in olds)
        if self._single:
            self._old_bytes, self._new_bytes = self._single[0].encode(), self._escaped[self._single[0]].encode()

    def text(self, text: str) -> str:
        """One string value, replaced."""
        for overlap in self.overlaps:
            if overlap in text:
                raise ValueError(
                    tr(
                        f"two of the names overlap in {overlap!r}, so there is no one answer",
                        f"两个旧名字在 {overlap!r} 处重叠，无法确定怎样替换",
                    )
                )
        if self._counting and self._any.search(text):
            self.changed += 1
        if self._single:
            return text.replace(*self._single)
        return self._any.sub(lambda match: self.news[match[0]], text)

    def _walker(self) -> Callable[[object], object]:
        """A function that gives back a parsed JSON value with all string values in it replaced.

        It uses one frame a level, so that it goes as deep as json itself; a closure, because lookups on self cost a
        fifth of the time of a file that is not canonical.
        """
        text = self.text
        if self._single and not self._counting:
            old, new = self._single

            def text(string: str) -> str:
                return string.replace(old, new)

        def walk(value: object) -> object:
            kind = type(value)
            if kind is str:
                return text(value)
            if kind is dict:
                for key, item in value.items():
                    value[key] = walk(item)  # no key is added or removed, so that the dict may change under way
                return value
            if kind is list:
                for index, item in enumerate(value):
                    value[index] = walk(item)
                return value
            return value

        return walk

    def line(self, line: str, place: str) -> bytes:
        """One line without its end, replaced, with LF; nothing for a blank one. Raises UserError at `place`."""
        remedy = tr("mend the line; `make check-data` lists all findings", "请修正该行；make check-data 会列出所有问题")
        if not line.strip(" \t\r\n"):
            return b""
        try:
            return (ENCODE(self._walk(json.loads(line))) + "\n").encode()
        except json.JSONDecodeError as error:
            raise UserError(f"{place}:{error.colno}", f"JSON: {error.msg}", remedy) from None
        except UnicodeEncodeError:
            raise UserError(place, tr("half of a surrogate pair (\\ud800)", "半个代理对（\\ud800）"), remedy) from None
        except ValueError as error:  # overlapping names; integers of more than 4300 digits
            raise UserError(place, str(error), remedy) from None
        except RecursionError:
            raise UserError(place, tr("nested too deep", "嵌套太深"), remedy) from None

    def block(self, block: Block, place: str, number: int) -> bytes:
        """Whole lines, replaced; `number` is the number of the first line and `place` the name of the file."""
        data, text, end = block.data, block.text, None
        if text is None:
            raise _not_utf8(data, place, number)
        if b"\r" in data:  # as Python's text mode reads it
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            data, end = text.encode(), CANONICAL_ROWS.match(text).end()
        if not self._as_text or (self._escapes_matter and "\\" in text):
            return b"".join(self.line(line, f"{place}:{n}") for n, line in enumerate(text[:-1].split("\n"), number))
        end = block.canonical if end is None else end
        if end == len(text) and self._single:
            if self._counting:
                self._count(text)
            return data.replace(self._old_bytes, self._new_bytes)
        done, start = [], 0
        while start < len(text):
            if end > start:
                rows = text[start:end]
                if self._counting:
                    self._count(rows)
                done.append(self._any.sub(lambda match: self._escaped[match[0]], rows).encode())
                number += rows.count("\n")
            if end < len(text):
                start = text.index("\n", end) + 1
                done.append(self.line(text[end : start - 1], f"{place}:{number}"))
                number += 1
                end = CANONICAL_ROWS.match(text, start).end()
            else:
                start = end
        return b"".join(done)

    def _count(self, canonical: str) -> None:
        self.changed += len(self._rest.findall(canonical))


def _not_utf8(block: bytes, place: str, number: int) -> UserError:
    try:
        block.decode()
    except UnicodeDecodeError as error:
        line = number + len(split_lines(block[: error.start] + b"\n")) - 1
        column = error.start - max(block.rfind(b"\n", 0, error.start), block.rfind(b"\r", 0, error.start))
    what = tr(f"not UTF-8 at byte {column}", f"第 {column} 字节不是 UTF-8")
    return UserError(f"{place}:{line}", what, tr("save the file as UTF-8", "请把文件另存为 UTF-8"))


def _check_pair(old: str, new: str) -> None:
    remedy = tr("give two names as OLD=NEW", "请按 旧名=新名 给出")
    if not old:
        raise UserError(f"={new}", tr("the old name is empty", "旧名字为空"), remedy)
    for name in (old, new):
        if any(0xD800 <= ord(c) <= 0xDFFF for c in name):
            raise UserError(ascii(name), tr("not valid text", "不是有效文本"), remedy)


def _overlaps(a: str, b: str) -> Iterator[str]:
    """The shortest texts in which `a` and then `b` occur with common characters, neither inside the other."""
    for k in range(1, min(len(a), len(b))):
        if a.endswith(b[:k]) and b not in a and a not in b:
            yield a + b[k:]


def pair(text: str) -> tuple[str, str]:
    """`old=new`. Raises UserError."""
    old, equals, new = text.partition("=")
    if not equals or not old:
        raise UserError(
            f"--map {text}",
            tr("not of the form OLD=NEW", "不是 旧名=新名 的形式"),
            tr("write --map OLD=NEW", "请写 --map 旧名=新名"),
        )
    return old, new


def replace_stream(
    source: BinaryIO,
    target: BinaryIO,
    replacer: Replacer,
    place: str,
    look: Callable[[int, bytes], object] = lambda number, block: None,
) -> None:
    """Replace all of `source` into `target` in memory of a few MiB. Raises UserError at the first line it cannot take.

    `look` is given each block of the result with the number of its first line.
    """
    written = 1
    for number, block in blocks(source):
        if block is None:
            raise UserError(
                f"{place}:{number}",
                tr(f"a line of more than {LONGEST_LINE} bytes", f"一行超过 {LONGEST_LINE} 字节"),
                tr(
                    "split the row; a JSON array must become JSON Lines first",
                    "请拆分该行；JSON 数组须先转成 JSON Lines",
                ),
            )
        replaced = replacer.block(Block(block), place, number)
        look(written, replaced)
        written += replaced.count(b"\n")
        target.write(replaced)


def replace_file(source: str, target: str, replacer: Replacer, jobs: int = 1, findings: Findings | None = None) -> None:
    """Replace `source` into `target`, each a path or `-`; with `jobs` processes where both are plain files.

    With `findings`, the result is scanned for what is left of the old names, by this process alone.
    """
    if findings is not None:
        residues = [Residue(old, *replacer.news.values()) for old in replacer.news]
        with open_bytes(source) as stream, open_output(target) as file:
            replace_stream(
                stream, file, replacer, source, lambda n, block: scan(residues, findings, target, n, block.decode())
            )
        return
    plain = all(name != "-" and not name.endswith((".gz", ".zst")) for name in (source, target))
    with open_bytes(source) as stream, open_output(target) as file:
        if jobs > 1 and plain and Path(source).is_file():
            _replace_parts(source, target, file, replacer, jobs)
        else:
            replace_stream(stream, file, replacer, source)


class _Part(io.RawIOBase):
    """The bytes from `start` to `end` of a file, opened anew so that processes do not share a position."""

    def __init__(self, path: str, start: int, end: int) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed with the process)
        self._file.seek(start)
        self._left = end - start

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(min(size, self._left))
        self._left -= len(piece)
        return piece


def _cuts(path: str, jobs: int) -> list[int]:
    """Offsets that cut the file into about equal parts, each at the start of a line."""
    size = os.path.getsize(path)
    cuts = [0]
    with open(path, "rb") as file:
        for job in range(1, jobs):
            file.seek(max(size * job // jobs, cuts[-1]))
            file.readline(LONGEST_LINE + 1)  # the rest of an overlong line is found, and refused, by the part before
            cuts.append(min(file.tell(), size))
    return [*cuts, size]


def _replace_parts(source: str, target: str, file: BinaryIO, replacer: Replacer, jobs: int) -> None:
    """This process takes the first part, forked ones the others into unnamed files, which are then appended."""
    context = multiprocessing.get_context("fork")
    cuts = _cuts(source, jobs)
    workers = []
    for start, end in itertools.pairwise(cuts[1:]):
        part = tempfile.TemporaryFile(dir=Path(target).parent)  # noqa: SIM115 (closed below)
        mine, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(source, start, end, part, replacer, theirs), daemon=True)
        worker.start()
        theirs.close()
        workers.append((worker, part, mine))
    replace_stream(_Part(source, 0, cuts[1]), file, replacer, source)
    file.flush()
    for start, (worker, part, pipe) in zip(cuts[1:-1], workers, strict=True):
        try:
            changed, error = pipe.recv()
        except EOFError:
            raise UserError(
                source, tr("a worker process died", "工作进程意外退出"), tr("use --jobs 1", "请用 --jobs 1")
            ) from None
        worker.join()
        if error:
            raise _moved(error, source, start)
        replacer.changed += changed
        offset, size = 0, os.fstat(part.fileno()).st_size
        while offset < size:
            offset += os.sendfile(file.fileno(), part.fileno(), offset, size - offset)
        part.close()


def _work(source: str, start: int, end: int, part: BinaryIO, replacer: Replacer, pipe) -> None:
    replacer.changed = 0
    try:
        replace_stream(_Part(source, start, end), part, replacer, source)
        part.flush()
        pipe.send((replacer.changed, None))
    except UserError as error:
        pipe.send((0, (error.where, error.what, error.remedy)))
    except OSError as error:
        pipe.send((0, (source, error.strerror or str(error), tr("check the disk", "请检查磁盘"))))


def _moved(error: tuple[str, str, str], source: str, start: int) -> UserError:
    """The error of a part with its line number counted from the start of the file."""
    where, what, remedy = error
    match = re.fullmatch(re.escape(source) + r":(\d+)(.*)", where, re.DOTALL)
    if match:
        with open(source, "rb") as file:
            before = sum(
                piece.count(b"\n") for piece in iter(lambda: file.read(min(1 << 20, start - file.tell())), b"")
            )
        where = f"{source}:{before + int(match[1])}{match[2]}"
    return UserError(where, what, remedy)


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m recipe.replace", description=__doc__.splitlines()[0])
    result.add_argument(
        "input",
        help=tr("JSON Lines, also .gz or .zst; - is standard input", "JSON Lines，可为 .gz 或 .zst；- 为标准输入"),
    )
    result.add_argument("output", help=tr("where to write; - is standard output", "输出文件；- 为标准输出"))
    result.add_argument("--old_text", default="尖米", help=tr("name to replace (尖米)", "旧名字（尖米）"))
    result.add_argument(
        "--new_text", default="机智流", help=tr("name to put in its place (机智流)", "新名字（机智流）")
    )
    result.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help=tr(
            "further pair, at the same time; --old_text then has no default",
            "另一对，同时替换；此时 --old_text 无默认值",
        ),
    )
    result.add_argument(
        "--scan",
        action="store_true",
        help=tr("look for what is left of the old names; exit status 1 then", "查找旧名字的残留；有则退出码为 1"),
    )
    result.add_argument("--jobs", type=int, default=1, metavar="N", help=tr("processes (1)", "进程数（1）"))
    result.add_argument("--lang", default=None, help=tr("zh or en", "zh 或 en"))
    return result


def _main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    set_language(options.lang)
    pairs = [pair(text) for text in options.map]
    named = any(a.startswith(("--old_text", "--new_text")) for a in arguments)
    if named or not pairs:
        pairs.insert(0, (options.old_text, options.new_text))
    if not 1 <= options.jobs <= 64:
        raise UserError(
            f"--jobs {options.jobs}", tr("not from 1 to 64", "不在 1 到 64 之间"), tr("set --jobs 2", "请设 --jobs 2")
        )
    findings = Findings(ROW_RULES) if options.scan else None
    replace_file(options.input, options.output, Replacer(pairs, counting=False), options.jobs, findings)
    if findings is not None and findings.total:
        report_text(findings, sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 done, 1 --scan found something, 2 input that cannot be used (nothing is written then)."""
    return cli.guarded(lambda: _main(arguments), stdout, stderr)
