"""Safetensors read by one bounded parser of our own: header, places of the tensors, and their values in pieces.

Format: 8 bytes little-endian header length, JSON header, tensors without gaps (github.com/huggingface/safetensors).
Adapters of strangers and shards of a base are read by the same code, within bounds of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from lesson.core.messages import tr
from lesson.core.refusals import Broken
from lesson.core.strict_json import BROKEN, parse_strict_json
from lesson.core.text import shorten

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# The exponent of an infinity or NaN, and all but the sign, in each format.
MASKS = {"F64": ("<u8", 0x7FF << 52, 2**63 - 1), "F32": ("<u4", 0x7F800000, 2**31 - 1)}
MASKS |= {"F16": ("<u2", 0x7C00, 0x7FFF), "BF16": ("<u2", 0x7F80, 0x7FFF)}
PIECE = 4 << 20


class View(Protocol):
    """Files by name, as lesson/submission/archive shows those of a stranger; `entries` has their sizes."""

    entries: dict

    def open(self, name: str) -> AbstractContextManager[BinaryIO]: ...


@dataclass(frozen=True)
class Bounds:
    """What is read at most: bytes of the header, tensors, characters of a name; and number formats (None: any)."""

    header: int
    tensors: int
    name: int
    formats: frozenset[str] | None


ADAPTER = Bounds(1 << 20, 20_000, 512, frozenset(BYTES))  # an adapter of 450 matrices has a header of 60 KB
SHARD = Bounds(100_000_000, 1_000_000, 4096, None)  # the limit of the safetensors library itself; quantized bases too


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_tensors(view: View, name: str) -> tuple[list[Tensor], int]:
    """The tensors in the order of their bytes, and where the first begins. Raises Broken."""
    with view.open(name) as file:
        _, found, offset = read_header(file, view.entries[name].size, name, ADAPTER)
    return found, offset


def read_header(file: BinaryIO, size: int, name: str, bounds: Bounds) -> tuple[dict, list[Tensor], int]:
    """(header as it stands, tensors in the order of their bytes, where the first begins) of a file of `size` bytes.

    Proven: no tensor overlaps another, none leaves a gap, and the last ends with the file. Raises Broken.
    """

    def broken(en: str, zh: str) -> Broken:
        return Broken(f"{name}: " + tr(en, zh))

    start = file.read(8)
    length = int.from_bytes(start, "little")
    if start == b"version ":
        raise broken(
            "a pointer of Git LFS, the file itself is not there: git lfs pull",
            "只是 Git LFS 指针，没有文件本身：请 git lfs pull",
        )
    if len(start) < 8 or not 2 <= length <= min(bounds.header, size - 8):
        raise broken(
            f"not a whole safetensors file: its header claims {length} bytes of {size}",
            f"不是完整的 safetensors 文件：文件头声称 {length} 字节，文件共 {size} 字节",
        )
    try:
        header, problems = parse_strict_json(_exactly(file, length, name).decode().rstrip(" "))
    except UnicodeDecodeError:
        raise broken("its header is not UTF-8", "文件头不是 UTF-8") from None
    if header is BROKEN or problems or not isinstance(header, dict) or len(header) > bounds.tensors:
        raise broken("its header cannot be read", "文件头无法读取")
    found = []
    for key, value in header.items():
        if key == "__metadata__":
            continue
        tensor = _tensor(key, value, bounds)
        if tensor is None:
            raise broken(
                f"its header cannot be read: {shorten(key)}: {shorten(str(value))}",
                f"文件头无法读取：{shorten(key)}：{shorten(str(value))}",
            )
        found.append(tensor)
    found.sort(key=lambda t: (t.start, t.end))
    at = 0
    for tensor in found:
        if tensor.start != at:
            raise broken(
                f"{shorten(tensor.name)} begins at {tensor.start}, not {at}",
                f"{shorten(tensor.name)} 起点 {tensor.start}，应为 {at}",
            )
        at = tensor.end
    if 8 + length + at != size:
        raise broken(
            f"{size} bytes, its header makes {8 + length + at}: cut off or lengthened",
            f"{size} 字节，按文件头应为 {8 + length + at}：文件不完整或被加长",
        )
    return header, found, 8 + length


def _tensor(key: str, value: object, bounds: Bounds) -> Tensor | None:
    try:
        dtype, shape, (start, end) = value["dtype"], value["shape"], value["data_offsets"]
        numbers = [*shape, start, end]
        if len(key) > bounds.name:
            return None
        if set(value) != {"dtype", "shape", "data_offsets"} or len(shape) > 8:
            return None
        if not all(type(n) is int and 0 <= n < 2**40 for n in numbers) or start > end:
            return None
        if bounds.formats is not None and dtype not in bounds.formats:
            return None
        if dtype in BYTES and end - start != math.prod(shape) * BYTES[dtype]:
            return None
    except (TypeError, KeyError, ValueError):
        return None
    return Tensor(key, str(dtype), tuple(shape), start, end)


def scan_values(view: View, name: str, found: list[Tensor], offset: int) -> Iterator[tuple[Tensor, bool, bool]]:
    """(tensor, all finite, all zero), read once from front to back in pieces."""
    import numpy

    with view.open(name) as file:
        _skip(file, offset)
        for tensor in found:
            kind, infinite, magnitude = MASKS[tensor.dtype]
            left, finite, zero = tensor.end - tensor.start, True, True
            while left:
                piece = _exactly(file, min(left, PIECE), name)
                left -= len(piece)
                numbers = numpy.frombuffer(piece, kind)
                if finite and ((numbers & infinite) == infinite).any():
                    finite = False
                if zero and (numbers & magnitude).any():
                    zero = False
            yield tensor, finite, zero


def read_contents(view: View, name: str) -> Iterator[tuple[Tensor, bytearray]]:
    """(tensor, its bytes, little-endian and row by row), in the order of the file. Raises Broken."""
    found, offset = read_tensors(view, name)
    with view.open(name) as file:
        _skip(file, offset)
        for tensor in found:
            yield tensor, bytearray(_exactly(file, tensor.end - tensor.start, name))


def to_numpy(tensor: Tensor, data: bytearray):
    """The tensor as a numpy array of its shape; bfloat16 becomes float32."""
    import numpy

    if tensor.dtype == "BF16":
        return (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(tensor.shape)
    return numpy.frombuffer(data, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[tensor.dtype]).reshape(tensor.shape)


def _skip(file: BinaryIO, size: int) -> None:
    while size:
        piece = file.read(min(size, PIECE))
        if not piece:
            return
        size -= len(piece)


def _exactly(file: BinaryIO, size: int, name: str) -> bytes:
    pieces, left = [], size
    while left:
        piece = file.read(left)
        if not piece:
            raise Broken(f"{name}: " + tr("cut off", "不完整"))
        pieces.append(piece)
        left -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
