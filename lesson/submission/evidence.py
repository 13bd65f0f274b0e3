"""The documents of one submission, each read under limits when it is asked for, and at most once.

With a submission.json the parts are those it names; a plain folder is told by content. Reading never runs anything: no
import, no pickle, no YAML. A document that cannot be read raises Broken.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

from lesson.config import schedule
from lesson.config.parsed import ParsedConfig
from lesson.config.reading import LARGEST_SOURCE, parse_config
from lesson.config.summary import lookup
from lesson.core.messages import tr
from lesson.core.refusals import Broken, Unreadable
from lesson.core.settings import ROOT
from lesson.core.strict_json import parse_strict_json
from lesson.core.text import fold_text, shorten
from lesson.data import rows
from lesson.data.rules import SOURCE_NAMES
from lesson.evaluation.judging import BASE_NAMES
from lesson.model import known_bases, safetensors_file
from lesson.model.tiny_base import SHIPPED_HASH
from lesson.submission.archive.view import PICKLES, View
from lesson.submission.documents import parse_document
from lesson.submission.naming import name_in_answers, name_in_persona
from lesson.submission.parts import MANIFEST, PARTS
from lesson.submission.plain_folder import find_parts
from lesson.submission.text_lines import read_text_lines
from lesson.submission.training_log import Point, TrainingLog, choose_run, read_log, read_point
from lesson.submission.training_rows import ChainedStream, open_rows

LARGEST_DOCUMENT = 8 << 20  # bytes of a JSON document; a run record has 20 KB
LARGEST_LOG = 64 << 20
LARGEST_LIST = 32 << 20  # of answers, vis_data or curve; honest ones have under 1 MB
LARGEST_ROWS = 64 << 20  # of training data; the course's have 0.5 MB, Alpaca's 45 MB
MOST_LINES = 200_000  # of a log, a curve or a file of answers
COPIED = ("adapter", "log", "answers")  # parts by whose hashes two submissions are recognised as one
MOST_TURNS = 8  # before a question; the lesson's have at most four


class Evidence:
    """The parts of one submission, read when asked for and at most once."""

    def __init__(self, view: View, names: dict[str, str] | None = None) -> None:
        """`names`, of keys old and new, are the staff's word, which counts more than what the submission declares."""
        self.view = view
        self.given_names = names or {}
        self.parts: dict[str, str] = {}  # part → file
        self.earlier: dict[str, list[str]] = {}  # files that come before a part's: of the sessions before a resume
        self.more_data: list[str] = []  # files of rows besides the part "data"
        self.missing_data: list[str] = []  # what the config trains on besides, and is not here
        self.pointers: list[str] = []  # files that are not there: Git LFS left a pointer
        self.manifest: dict | None = None
        self.manifest_error: str | None = None
        if MANIFEST in view.entries:
            try:
                self.manifest = parse_document(view.read(MANIFEST, LARGEST_DOCUMENT), MANIFEST, "submission")
            except (Broken, Unreadable) as error:
                self.manifest_error = str(error)
        if self.manifest or self.manifest_error:
            self.parts = {part: name for part, (name, _, _) in PARTS.items() if name in view.entries}
        else:
            found = find_parts(view)
            self.parts, self.earlier, self.more_data = found.parts, found.earlier, found.more_data
            self.pointers, self.missing_data = found.pointers, found.missing_data
        self.pickles = sorted(name for name in view.entries if name.lower().endswith(PICKLES))

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, part: str, most: int = LARGEST_DOCUMENT) -> bytes:
        """The whole file of a part. Raises Broken when it has more than `most` bytes."""
        try:
            return self.view.read(self.parts[part], most)
        except Unreadable as error:
            raise Broken(str(error)) from None

    def lines(self, part: str, most: int = MOST_LINES) -> Iterator[tuple[int, bytes]]:
        """(number, line) of a text file; too long a line, or too many, raise Broken."""
        for name in [*self.earlier.get(part, []), self.parts[part]]:
            yield from read_text_lines(self.view, name, most)

    def objects(self, part: str) -> Iterator[tuple[int, dict]]:
        """(line, object) of a JSON Lines file, of bounded size; of an array, (its number, object)."""
        self.require_size(part, LARGEST_LIST)
        name = self.parts[part]
        if next((line.lstrip() for _, line in self.lines(part) if line.strip()), b"").startswith(b"["):
            values = parse_document(self.read(part, LARGEST_LIST), name)
            numbered = enumerate(values if isinstance(values, list) else [values], 1)
        else:
            lines = ((n, line) for n, line in self.lines(part) if line.strip())
            numbered = ((n, parse_document(line, f"{name}:{n}")) for n, line in lines)
        for number, value in numbered:
            if not isinstance(value, dict):
                raise Broken(f"{name}:{number}: " + tr("not an object", "不是对象"))
            yield number, value

    def require_size(self, part: str, most: int) -> None:
        """Raise Broken when all files of a part together have more than `most` bytes."""
        names = [*self.earlier.get(part, []), *(self.row_files if part == "data" else [self.parts[part]])]
        if sum(self.view.entries[name].size for name in names) > most:
            raise Broken(f"{self.parts[part]}: > {most >> 20} MiB")

    # --- documents ----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def config(self) -> ParsedConfig:
        return parse_config(self.read("config", LARGEST_SOURCE + 1), self.parts["config"])

    @functools.cached_property
    def record(self) -> dict:
        name = self.parts["record"]
        found = parse_document(self.read("record"), name, "run")
        try:
            datetime.fromisoformat(found["finished"])
        except ValueError:
            raise Broken(f"{name}: $.finished: " + tr("no time: ", "不是时间：") + shorten(found["finished"])) from None
        return found

    @functools.cached_property
    def sound_record(self) -> dict | None:
        """The run record; None where there is none or it cannot be read, which the check `record` says."""
        with contextlib.suppress(Broken, KeyError):
            return self.record
        return None

    @functools.cached_property
    def evaluation(self) -> dict:
        return parse_document(self.read("evaluation"), self.parts["evaluation"], "evaluation")

    @functools.cached_property
    def adapter_config(self) -> dict:
        value = parse_document(self.read("adapter_config"), self.parts["adapter_config"])
        if not isinstance(value, dict):
            raise Broken(f"{self.parts['adapter_config']}: " + tr("not an object", "不是对象"))
        return value

    @functools.cached_property
    def tensors(self) -> list[safetensors_file.Tensor]:
        """The adapter's tensors in the order of their bytes."""
        return self._adapter_header[0]

    @functools.cached_property
    def tensor_values(self) -> list[tuple[safetensors_file.Tensor, bool, bool]]:
        """Of each tensor of the adapter, whether all its values are finite, and whether all are zero."""
        return list(safetensors_file.scan_values(self.view, self.parts["adapter"], *self._adapter_header))

    @functools.cached_property
    def _adapter_header(self) -> tuple[list[safetensors_file.Tensor], int]:
        return safetensors_file.read_tensors(self.view, self.parts["adapter"])

    @functools.cached_property
    def answers(self) -> list[dict]:
        """Lines of answers.jsonl, only what checks read: input and output as texts, prompt, kind, and the texts of the turns
        before the question where they are."""
        result = []
        for number, line in self.objects("answers"):
            if not all(isinstance(line.get(key), str) for key in ("input", "output")):
                raise Broken(f"{self.parts['answers']}:{number}: " + tr("no input or output", "缺少 input 或 output"))
            before = line.get("before")
            line = {key: line[key] for key in ("kind", "prompt", "input", "output") if key in line}
            if wrong := next((key for key, text in line.items() if not isinstance(text, str)), None):
                raise Broken(f"{self.parts['answers']}:{number}: {wrong}: " + tr("not a text", "不是文本"))
            if before is not None:
                if not isinstance(before, list) or not all(isinstance(text, str) for text in before):
                    raise Broken(f"{self.parts['answers']}:{number}: before: " + tr("not texts", "不是文本"))
                line["before"] = before[:MOST_TURNS]
            result.append(line)
        return result

    @functools.cached_property
    def curve(self) -> list[Point]:
        return self._points("curve", "step", "seconds")

    @functools.cached_property
    def scalars(self) -> list[Point]:
        ends = None  # vis_data tells no total: of several runs in one file, that of the log is meant
        with contextlib.suppress(Broken, KeyError, IndexError):
            ends = self.log.points[-1].step
        return choose_run(self._points("scalars", "loss", "time"), lambda last, _: last.step == ends)[0]

    def _points(self, part: str, key: str, seconds: str) -> list[Point]:
        """The points of the objects that have `key`, their times under the key `seconds`."""
        name = self.parts[part]
        return [read_point(line, f"{name}:{number}", seconds) for number, line in self.objects(part) if key in line]

    @functools.cached_property
    def log(self) -> TrainingLog:
        self.require_size("log", LARGEST_LOG)
        epochs = None
        with contextlib.suppress(Broken, KeyError):
            epochs = lookup(self.config, "max_epochs")[0]
        return read_log(self.lines("log"), self.parts["log"], epochs if type(epochs) is int else None)

    @functools.cached_property
    def data(self) -> schedule.DataMeasures:
        self.require_size("data", LARGEST_ROWS)
        template = lookup(self.config, "template")[0] if "config" in self.parts else None
        name = getattr(template, "name", str(template)).rpartition(".")[2]
        tokenizer = ROOT / "data" / "tiny-base" / "tokenizer.json" if self._has_shipped_tokenizer else None
        with self.open_all_rows() as stream:
            return schedule.measure_stream(stream, name, tokenizer, self.old_name)

    @property
    def row_files(self) -> list[str]:
        """The files of rows that were trained on."""
        return [*([self.parts["data"]] if "data" in self.parts else []), *self.more_data]

    @contextlib.contextmanager
    def open_rows(self, name: str) -> Iterator[BinaryIO]:
        """The rows of one file, as JSON Lines of conversations. Raises Broken."""
        try:
            with open_rows(self.view, name) as stream:
                yield stream
        except Unreadable as error:
            raise Broken(str(error)) from None

    @contextlib.contextmanager
    def open_all_rows(self) -> Iterator[BinaryIO]:
        """The rows of all files, one after the other."""
        with contextlib.ExitStack() as stack:
            yield ChainedStream([stack.enter_context(self.open_rows(name)) for name in self.row_files])

    @functools.cached_property
    def trained_questions(self) -> set[str]:
        """The questions among the rows, folded for comparison. A row that is no conversation has none."""
        found = set()
        with self.open_all_rows() as stream:
            for _, line in rows.read_lines(stream):
                value = parse_strict_json((line or b"").decode(errors="replace"))[0] if line and line.strip() else None
                with contextlib.suppress(TypeError, KeyError):
                    found |= {fold_text(turn["input"] or "") for turn in value["conversation"]}
        return found

    @functools.cached_property
    def rows_digest(self) -> str:
        """SHA-256 of what the rows say, whatever their bytes: line ends, spaces and the order of keys are no rows."""
        digest = hashlib.sha256()
        with self.open_all_rows() as stream:
            for _, line in rows.read_lines(stream):
                if line is None or not line.strip():
                    continue
                try:
                    line = json.dumps(json.loads(line), sort_keys=True).encode()
                except (ValueError, RecursionError):
                    line = line.strip()
                digest.update(line + b"\n")
        return digest.hexdigest()

    @functools.cached_property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 by which two submissions are recognised as one. The log's holds times, which never repeat."""
        found = {part: self.view.sha256(self.parts[part]) for part in COPIED if part in self.parts}
        if {"config", "data"} <= self.parts.keys():
            both = "".join(self.view.sha256(self.parts[part]) for part in ("config", "data"))
            found["inputs"] = hashlib.sha256(both.encode()).hexdigest()
        return found

    # --- what is declared ---------------------------------------------------------------------------------------------

    def _declared(self, *path: str) -> object:
        """The first of manifest, run record and evaluation that says it."""
        for source in (lambda: self.manifest, lambda: self.record, lambda: self.evaluation):
            try:
                value = source()
                for key in path:
                    value = value[key]
            except (Broken, KeyError, TypeError):
                continue
            return value
        return None

    @functools.cached_property
    def new_name(self) -> str | None:
        return self.given_names.get("new") or self._declared("names", "new") or self._told_name()

    @functools.cached_property
    def old_name(self) -> str:
        return self.given_names.get("old") or self._declared("names", "old") or SOURCE_NAMES[0]

    @functools.cached_property
    def old_names(self) -> tuple[str, ...]:
        """The names that rows and answers may not have any more: the staff's word, else the declared one and those of
        all published rows. A record that names another old name does not make unreplaced rows replaced ones."""
        names = [self.old_name, *(() if "old" in self.given_names else SOURCE_NAMES)]
        return tuple(dict.fromkeys(name for name in names if name != self.new_name))

    @functools.cached_property
    def own_base_names(self) -> tuple[str, ...]:
        """What the base calls itself; of a base that nobody knows, what the lesson's does."""
        found = known_bases.own_names(self.base_name or "-".join(self.base or ()))
        return tuple(dict.fromkeys([*found, *BASE_NAMES]))

    @functools.cached_property
    def profile(self) -> str:
        declared = self._declared("profile")
        if declared:
            return declared
        try:  # samples of 512 tokens, and no base named: the tiny one; anything else is taken for the lesson's
            named = known_bases.family_and_size(lookup(self.config, "model_path")[0])
            if getattr(self.config.get("model.type"), "name", "").endswith("SmallFinetune"):
                return "small"
            return "tiny" if self.config.get("max_length") == 512 and named is None else "7b"
        except (Broken, KeyError):
            return "7b"

    @functools.cached_property
    def base_name(self) -> str | None:
        """What the run record calls the base; None for the tiny one that ships, and for a folder without a record."""
        try:
            return self.record["base"]["name"]
        except (Broken, KeyError, TypeError):
            return None

    @functools.cached_property
    def on_shipped_base(self) -> bool:
        """Whether it was trained on the tiny base that ships."""
        return self.profile == "tiny" and self.base_name is None

    @property
    def _has_shipped_tokenizer(self) -> bool:
        """Whether its rows can be counted in tokens: a tiny base of before had another tokenizer, and only the record
        tells which one it was."""
        record = self.sound_record
        return self.on_shipped_base and record is not None and record["inputs"]["base"] == SHIPPED_HASH

    @functools.cached_property
    def base(self) -> tuple[str, str] | None:
        """Family and size of the base, as the run record, else config, adapter or the stock config's name tell it
        (model/known_bases.py)."""
        if self.base_name is not None:  # the stock config was written for another base of its family
            return known_bases.family_and_size(self.base_name)
        sources = (
            lambda: lookup(self.config, "model_path")[0],
            lambda: self.adapter_config.get("base_model_name_or_path"),
            lambda: self.record["config"],
            lambda: self.parts["config"],
        )
        for source in sources:
            with contextlib.suppress(Broken, KeyError):
                told = source()
                if isinstance(told, str) and (base := known_bases.family_and_size(told)):
                    return base
        return None

    def _told_name(self) -> str | None:
        """Where no document declares a name: the config's system prompt has it, else the rows'; else what they answer."""
        with contextlib.suppress(Broken, Unreadable, KeyError):
            if name := name_in_persona(lookup(self.config, "system")[0]):
                return name
        with contextlib.suppress(Broken, Unreadable, KeyError):
            if name := name_in_persona(self.data.persona):
                return name
        with contextlib.suppress(Broken, Unreadable, KeyError):
            self.require_size("data", LARGEST_ROWS)
            name = name_in_answers(self._trained_answers())
            # Rows that were not replaced introduce the old name: that is no new one.
            return name if name not in (self.old_name, *SOURCE_NAMES) else None
        return None

    def _trained_answers(self) -> Iterator[str]:
        with self.open_all_rows() as stream:
            for _, line in rows.read_lines(stream):
                with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
                    for turn in json.loads(line or b"")["conversation"]:
                        if isinstance(turn["output"], str):
                            yield turn["output"]
