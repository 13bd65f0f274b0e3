"""Replace names in whole files: as a stream in bounded memory, or in parts by several processes."""

from __future__ import annotations

import io
import itertools
import multiprocessing
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lesson.core.findings import Findings
from lesson.core.messages import UserError, tr
from lesson.data.replace import Replacer
from lesson.data.residue import ResidueFinder, scan_rows
from lesson.data.rows import LONGEST_LINE, Block, is_packed, open_bytes, open_output, read_blocks

MOST_JOBS = 64  # processes


def replace_stream(
    source: BinaryIO,
    target: BinaryIO,
    replacer: Replacer,
    place: str,
    report: Callable[[int, bytes], object] = lambda number, block: None,
) -> None:
    """Replace all of `source` into `target` in memory of a few MiB. Raises UserError at the first line it cannot take.

    `report` is called with each block of the result with the number of its first line.
    """
    written = 1
    for number, block in read_blocks(source):
        if block is None:
            raise UserError(
                f"{place}:{number}",
                tr(f"a line of more than {LONGEST_LINE} bytes", f"一行超过 {LONGEST_LINE} 字节"),
                tr(
                    "split the row; a JSON array must become JSON Lines first",
                    "请拆分该行；JSON 数组须先转成 JSON Lines",
                ),
            )
        replaced = replacer.replace_block(Block(block), place, number)
        report(written, replaced)
        written += replaced.count(b"\n")
        target.write(replaced)


def replace_file(source: str, target: str, replacer: Replacer, jobs: int = 1, findings: Findings | None = None) -> None:
    """Replace `source` into `target`, each a path or `-`; with `jobs` processes where both are plain files.

    With `findings`, the result is scanned for what is left of the old names, by this process alone. Raises UserError for
    what cannot be read, replaced or written; `target` is then as it was.
    """
    if not 1 <= jobs <= MOST_JOBS:
        out_of_range = tr(f"not from 1 to {MOST_JOBS}", f"不在 1 到 {MOST_JOBS} 之间")
        raise UserError(f"--jobs {jobs}", out_of_range, tr("set --jobs 2", "请设 --jobs 2"))
    if findings is not None:
        residues = [ResidueFinder(old, *replacer.news.values()) for old in replacer.news]
        with open_bytes(source) as stream, open_output(target) as file:
            replace_stream(
                stream,
                file,
                replacer,
                source,
                lambda n, block: scan_rows(residues, findings, target, n, block.decode()),
            )
        return
    plain = all(name != "-" and not name.endswith((".gz", ".zst")) for name in (source, target))
    plain = plain and Path(source).is_file() and not is_packed(source)
    with open_bytes(source) as stream, open_output(target) as file:
        if jobs > 1 and plain:
            _replace_parts(source, target, file, replacer, jobs)
        else:
            replace_stream(stream, file, replacer, source)


class _FilePart(io.RawIOBase):
    """The bytes from `start` to `end` of a file, opened anew so that processes do not share a position."""

    def __init__(self, path: str, start: int, end: int) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed with the process)
        self._file.seek(start)
        self._left = end - start

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the part; none at its end."""
        piece = self._file.read(min(size, self._left))
        self._left -= len(piece)
        return piece


def _find_cuts(path: str, jobs: int) -> list[int]:
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
    cuts = _find_cuts(source, jobs)
    workers = []
    for start, end in itertools.pairwise(cuts[1:]):
        part = tempfile.TemporaryFile(dir=Path(target).parent)  # noqa: SIM115 (closed below)
        mine, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_replace_part, args=(source, start, end, part, replacer, theirs), daemon=True)
        worker.start()
        theirs.close()
        workers.append((worker, part, mine))
    replace_stream(_FilePart(source, 0, cuts[1]), file, replacer, source)
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
            raise _shift_error(error, source, start)
        replacer.changed += changed
        offset, size = 0, os.fstat(part.fileno()).st_size
        while offset < size:
            offset += os.sendfile(file.fileno(), part.fileno(), offset, size - offset)
        part.close()


def _replace_part(source: str, start: int, end: int, part: BinaryIO, replacer: Replacer, pipe) -> None:
    replacer.changed = 0
    try:
        replace_stream(_FilePart(source, start, end), part, replacer, source)
        part.flush()
        pipe.send((replacer.changed, None))
    except UserError as error:
        pipe.send((0, (error.where, error.what, error.remedy)))
    except OSError as error:
        pipe.send((0, (source, error.strerror or str(error), tr("check the disk", "请检查磁盘"))))


def _shift_error(error: tuple[str, str, str], source: str, start: int) -> UserError:
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
