"""The record beside an output, `OUTPUT.record.json`: the hashes of what it was made from, its parameters, its own hash.

It answers two questions: is the stage up to date, and did the user edit the output since.

Output and record are two files, and a process can be killed between them. So the record is announced before the output
gets its name: `.OUTPUT.next.record.json` holds it, with the output's hash. Whoever finds an announced record compares
that hash with what is there: equal, and it is the record; else the output never came, and the old record holds.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lesson.core.files import (
    atomic,
    atomic_folder,
    hash_path,
    read_json,
    remove_left_files,
    replace_link,
    write_json,
)
from lesson.core.locks import lock_output
from lesson.core.messages import UserError, tr


def record_path(output: str | Path) -> Path:
    output = Path(output)
    return output.with_name(output.name + ".record.json")


def announced_path(output: str | Path) -> Path:
    """Where the record stands while its output is about to get its name."""
    output = Path(output)
    return output.with_name(f".{output.name}.next.record.json")


def _load(path: Path) -> dict | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _describes(record: dict | None, output: Path) -> bool:
    """Whether an announced record is of what is at `output`: by its hash, or by where the link leads."""
    if record is None or not os.path.lexists(output):
        return False
    if "link" in record:
        return output.is_symlink() and os.readlink(output) == record["link"]
    return not output.is_symlink() and record.get("output") == hash_path(output)


def find_record(output: str | Path) -> dict | None:
    """The record of what is at `output`; None without one, or where it is no JSON object."""
    output = Path(output)
    announced = _load(announced_path(output))
    return announced if _describes(announced, output) else _load(record_path(output))


def read_record(output: str | Path, remedy: str, *keys: str) -> dict:
    """The record of what is at `output`. Raises UserError where there is none, or it has not these `keys`, as text."""
    record = find_record(output)
    path = record_path(output)
    if record is None:
        record = read_json(path, remedy)
    for key in keys:
        if not isinstance(record, dict) or not isinstance(record.get(key), str):
            raise UserError(path, tr(f"has no text under {key!r}", f"缺少文本 {key!r}"), remedy)
    return record


def settle_record(output: Path) -> None:
    """End what a killed process began: an announced record becomes the record, or goes where its output never came.

    Only for the process that has the output's lock.
    """
    announced = announced_path(output)
    if announced.exists():
        if _describes(_load(announced), output):
            os.replace(announced, record_path(output))
        else:
            announced.unlink()


@contextlib.contextmanager
def make_alone(output: Path) -> Iterator[None]:
    """Only this process makes `output` in the block; what killed ones left of it is ended or removed before.

    Raises UserError when another one takes too long.
    """
    with lock_output(output):
        with contextlib.suppress(OSError):  # a disk that cannot be written: what is there can still be up to date
            settle_record(output)
        for path in (output, record_path(output), announced_path(output)):
            remove_left_files(path.parent, path.name)
        yield


class Record:
    """What `output` was made from: {name: hash of an input} and {name: parameter}. Compare first, write last.

    `facts` (counts, versions) go into the record as well. Use it within `make_alone(output)`.
    """

    def __init__(self, output: str | Path, inputs: dict[str, str], parameters: dict[str, object]) -> None:
        self.output, self.inputs, self.parameters = Path(output), inputs, parameters
        self.facts: dict[str, object] = {}
        self.output_hash = ""  # of what this object wrote

    def has_same_parameters(self) -> bool:
        """True when the output was made with the same parameters; if not, it is not up to date, whatever the inputs."""
        stored = find_record(self.output)
        return stored is not None and stored.get("parameters") == self.parameters

    def up_to_date(self) -> bool:
        """True when the output is there, unedited, and was made from the same inputs and parameters."""
        stored = find_record(self.output)
        return (
            stored is not None
            and self.output.exists()
            and stored.get("inputs") == self.inputs
            and stored.get("parameters") == self.parameters
            and stored.get("output") == hash_path(self.output)
        )

    def guard(self, force: bool) -> None:
        """Raise UserError when the output was made or edited by the user, unless `force` (FORCE=1)."""
        if force or not self.output.exists():
            return
        stored = find_record(self.output)
        if stored is None or stored.get("output") != hash_path(self.output):
            raise UserError(
                self.output,
                tr("was edited since it was made and would be overwritten", "生成后被修改过，将会被覆盖"),
                tr("keep a copy and call again with FORCE=1", "请先备份，再加 FORCE=1 重试"),
            )

    @contextlib.contextmanager
    def write_file(self, mode: str = "w") -> Iterator[IO]:
        """The output as a file to write: it and its record appear when the block ended well, as if in one step."""
        with atomic(self.output, mode, self._announce) as file:
            yield file
        settle_record(self.output)

    @contextlib.contextmanager
    def write_folder(self) -> Iterator[Path]:
        """The output as an empty folder to fill: it and its record appear when the block ended well."""
        with atomic_folder(self.output, self._announce) as folder:
            yield folder
        settle_record(self.output)

    def write_link(self, target: Path, output: str) -> None:
        """The output as a link to the folder `target`, in which the hash `output` is known: link and record appear."""
        self.output_hash = output
        write_json(announced_path(self.output), self._document(output) | {"link": os.fspath(target)})
        replace_link(self.output, target)
        settle_record(self.output)

    def _announce(self, temporary: Path) -> None:
        self.output_hash = hash_path(temporary)
        write_json(announced_path(self.output), self._document(self.output_hash))

    def _document(self, output: str) -> dict[str, object]:
        return {"inputs": self.inputs, "parameters": self.parameters, "output": output, **self.facts}
