"""Which file plays which part in a folder without submission.json, as XTuner and a learner leave it.

What a file may be is told by its content (candidates.py), and which training the folder is about by its logs (sessions.py).
Of several candidates the one is taken that config, run and adapter agree on; a file's name decides only where they are
silent. What lies beside it is left alone: another lesson's config, a run that was broken off, the rows before the change.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lesson.config.parsed import ParsedConfig
from lesson.config.reading import LARGEST_SOURCE, parse_config
from lesson.config.summary import lookup, name_data_sources, summarise_config
from lesson.core.refusals import Broken, Unreadable
from lesson.core.strict_json import parse_strict_json
from lesson.model import safetensors_file
from lesson.submission.archive.view import View
from lesson.submission.candidates import Candidates, find_candidates
from lesson.submission.naming import name_in_answers
from lesson.submission.sessions import FoundRun, Session, find_runs
from lesson.submission.text_lines import read_text_lines
from lesson.submission.training_log import read_log

MOST_CONFIGS = 16  # that are read as a whole
MOST_ROWS = 50  # files of rows that are held against a record
MOST_LOG_BYTES = 16 << 20  # of all logs together; an honest one has under 1 MB
MOST_LOG_LINES = 200_000
LARGEST_JSON = 8 << 20
SAMPLE = 4 << 20  # bytes of rows and of answers that are looked at
# Names that say of themselves that they are not the last.
ASIDE = re.compile(r"before|old|bak|backup|prev|orig|旧|备份|之前|原始", re.IGNORECASE)
ANSWERS = re.compile(r"answer|eval|回答|评测|测试", re.IGNORECASE)


@dataclass(frozen=True)
class FoundParts:
    """The parts of a plain folder: one file each, and where a part has several, the others."""

    parts: dict[str, str]
    earlier: dict[str, list[str]] = field(default_factory=dict)  # of log and vis_data: of the sessions before
    more_data: list[str] = field(default_factory=list)  # further files of rows
    pointers: list[str] = field(default_factory=list)  # of Git LFS
    missing_data: list[str] = field(default_factory=list)  # of several sources of rows, those that are not here


def find_parts(view: View) -> FoundParts:
    """The parts of a plain folder. Bounded in what it reads; a file that cannot be read plays no part."""
    return _Folder(view, find_candidates(view)).choose()


class _Folder:
    """One plain folder, its candidates, and what was read of them."""

    def __init__(self, view: View, candidates: Candidates) -> None:
        self.view, self.has = view, candidates

    # --- reading ------------------------------------------------------------------------------------------------------

    @functools.cache  # noqa: B019 - it lives as long as one folder is looked at
    def config(self, name: str) -> ParsedConfig:
        return parse_config(self.view.read(name, LARGEST_SOURCE + 1), name)

    @functools.cache  # noqa: B019
    def document(self, name: str) -> dict:
        """A JSON object; {} where it is none."""
        try:
            value = parse_strict_json(self.view.read(name, LARGEST_JSON).decode(errors="replace"))[0]
        except (Unreadable, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @functools.cached_property
    def runs(self) -> list[FoundRun]:
        sessions, left = [], MOST_LOG_BYTES
        for name in self.has.log:
            left -= self.view.entries[name].size
            if left >= 0:
                try:
                    log = read_log(read_text_lines(self.view, name, MOST_LOG_LINES), name)
                except Broken:
                    continue
                sessions.append(Session(name, log))
        return find_runs(sessions)

    @functools.cached_property
    def row_digests(self) -> set[str]:
        """SHA-256 of the files of rows."""
        return {self.view.sha256(name) for name in self.has.data[:MOST_ROWS]}

    def recorded(self, name: str, part: str) -> str | None:
        inputs = self.document(name).get("inputs")
        digest = inputs.get(part) if isinstance(inputs, dict) else None
        return digest if isinstance(digest, str) else None

    # --- choosing -----------------------------------------------------------------------------------------------------

    def choose(self) -> FoundParts:
        config, run = self.choose_config_and_run()
        parts: dict[str, str | None] = {"config": config}
        parts |= self.choose_adapter(config, run)
        earlier = {}
        if run is not None:
            parts["log"] = run.last.name
            earlier["log"] = [session.name for session in run.sessions[:-1]]
            scalars = self.choose_scalars(run)
            if scalars:
                parts["scalars"], earlier["scalars"] = scalars[-1], scalars[:-1]
        elif self.has.log:
            parts["log"] = self.has.log[-1]
        rows = self.choose_rows(config)
        parts["data"] = rows[0] if rows else None
        parts["answers"] = self.choose_answers(rows)
        work = [name for part in ("config", "log", "adapter", "answers") if (name := parts.get(part))]
        parts["record"] = self.choose_record(config, rows, work)
        parts["evaluation"] = self.choose_evaluation(parts["answers"], work)
        parts["curve"] = self.choose_curve(run, work)
        sources = self.match_sources(self.config(config)) if config else []
        missing = [source for source, names in sources if not names] if len(sources) > 1 else []
        return FoundParts({p: n for p, n in parts.items() if n}, earlier, rows[1:], self.has.pointers, missing)

    def choose_config_and_run(self) -> tuple[str | None, FoundRun | None]:
        """The config and the run that fit each other and all else best; of equal ones a finished run, the last."""
        weights = {name: self.weigh_config(name) for name in self.shortlist_configs()}
        pairs = [(name, run) for name in weights or {None: ()} for run in self.runs or [None]]

        def rank(pair: tuple[str | None, FoundRun | None]) -> tuple:
            name, run = pair
            fits, dumped = weights[name][0] if name else 0, False
            if name and run:
                fits += self.fit_run(self.config(name), run)
                dumped = self.is_dumped_beside(self.config(name), run)
            when = (run.last.log.dated, run.last.folder is not None, run.last.start) if run else ()
            return fits, run is not None and run.finished, dumped, when, weights[name][1:] if name else ()

        return max(pairs, key=rank)

    def shortlist_configs(self) -> list[str]:
        """The config candidates, at most MOST_CONFIGS: first those that name a file of rows that is here."""
        rows = [name.rpartition("/")[2].encode() for name in self.has.data]
        if len(self.has.config) <= MOST_CONFIGS:
            return self.has.config

        def rank(name: str) -> tuple:
            text = self.view.read(name, LARGEST_SOURCE)
            golden = b"'PERSONA'" in text  # of this repository's, cloned beside
            return golden, not any(row in text for row in rows), name.count("/"), name

        return sorted(self.has.config, key=rank)[:MOST_CONFIGS]

    def weigh_config(self, name: str) -> tuple:
        """(how much else in the folder speaks for this config, then what decides between equal ones)."""
        config, digest = self.config(name), self.view.sha256(name)
        told = [record for record in self.has.record if self.recorded(record, "config") == digest]
        weight = 16 * any(self.recorded(record, "data") in self.row_digests for record in told)
        weight += 6 * bool(self.match_rows(config))
        weight += 2 * any(self.fit_adapter(config, folder) == 3 for folder in self.has.adapters)
        return weight, bool(config.imports), not ASIDE.search(name), -name.count("/"), name

    def fit_run(self, config: ParsedConfig, run: FoundRun) -> int:
        """How well the config accounts for the run: its learning rate and its steps."""
        fits = 0
        rate, epochs, batch = (lookup(config, key)[0] for key in ("lr", "max_epochs", "batch_size"))
        if isinstance(rate, int | float) and 0.3 * rate <= run.rate <= 1.001 * rate:
            fits += 2
        total = run.last.points[-1].total
        if type(epochs) is int and epochs > 0 and total % epochs == 0:
            made, ranks = run.samples, run.last.log.gpus
            if made is None:
                fits += 1
            elif type(batch) is int and batch > 0:
                fits += 2 * (math.ceil(math.ceil(made / ranks) / batch) * epochs == total)
        return fits

    def is_dumped_beside(self, config: ParsedConfig, run: FoundRun) -> bool:
        """Whether XTuner's dump beside the log says what the config says."""
        dump = f"{run.last.folder}vis_data/config.py" if run.last.folder else None
        return dump in self.has.config and summarise_config(self.config(dump)) == summarise_config(config)

    def choose_scalars(self, run: FoundRun) -> list[str]:
        """The vis_data of each session of the run, in their order."""
        found = []
        for session in run.sessions:
            beside = [name for name in self.has.scalars if session.folder and name.startswith(session.folder)]
            found += sorted(beside, key=lambda name: not name.endswith("/scalars.json"))[:1]
        if found or not self.has.scalars or any(session.folder for session in run.sessions):
            return found
        last = run.last.points[-1].step
        fitting = [name for name in self.has.scalars if f'"step": {last}'.encode() in self.tail(name)]
        return (fitting or self.has.scalars)[-1:]

    def tail(self, name: str) -> bytes:
        try:
            return self.view.read(name, LARGEST_JSON)[-2000:]
        except Unreadable:
            return b""

    def match_rows(self, config: ParsedConfig) -> list[str]:
        """The files of rows here that the config names: by the end of the path, or below a folder that it names."""
        return list(dict.fromkeys(name for _, names in self.match_sources(config) for name in names))

    def match_sources(self, config: ParsedConfig) -> list[tuple[str, list[str]]]:
        """Each file or folder of rows that the config names, with the files here that it may be."""
        found = []
        for source in name_data_sources(config):
            parts = [part for part in source.replace("\\", "/").split("/") if part not in ("", ".", "..")]
            same = max(self.has.data, key=lambda name: (_common_end(name, parts), name), default="")
            if parts and _common_end(same, parts):
                found.append((source, [same]))
            elif "*" in source:
                found.append((source, fnmatch.filter(self.has.data, f"*{parts[-1]}")))
            else:
                found.append((source, [name for name in self.has.data if parts and parts[-1] in name.split("/")[:-1]]))
        return found

    def choose_rows(self, config: str | None) -> list[str]:
        """The files of rows that were trained on: those that config names, else those that the record knows, else one."""
        if config and (named := self.match_rows(self.config(config))):
            return named
        digests = {self.recorded(record, "data") for record in self.has.record}
        known = [name for name in self.has.data if digests and self.view.sha256(name) in digests]
        changed = [name for name in self.has.data if "change" in name.rpartition("/")[2]]
        conversations = [name for name in self.has.data if b'"conversation"' in self.view.head(name)]
        return (known or changed or conversations or self.has.data)[-1:]

    def choose_adapter(self, config: str | None, run: FoundRun | None) -> dict[str, str]:
        """Weights and config of one folder: those that fit the training config, were trained, and at its last step."""
        folders = [folder for folder, files in self.has.adapters.items() if "adapter" in files]
        if len(folders) > 1:
            last = run.last.points[-1].total if run else None
            parsed = self.config(config) if config else None

            def rank(folder: str) -> tuple:
                steps = re.findall(r"(?:iter|epoch|step|checkpoint)[-_](\d+)", folder)
                named = (last is not None and str(last) in steps, not steps, not ASIDE.search(folder))
                whole = len(self.has.adapters[folder]) == 2
                fits = self.fit_adapter(parsed, folder) if parsed else 0
                return whole, fits, self.is_trained(folder), *named, -folder.count("/"), folder

            folders = [max(folders, key=rank)]
        chosen = dict(self.has.adapters[folders[0]]) if folders else {}
        lone = [files["adapter_config"] for files in self.has.adapters.values() if "adapter_config" in files]
        if "adapter_config" not in chosen and lone:
            chosen["adapter_config"] = lone[-1]
        return chosen

    def fit_adapter(self, config: ParsedConfig, folder: str) -> int:
        """How many of rank, alpha and dropout are the config's."""
        name = self.has.adapters[folder].get("adapter_config")
        found = self.document(name) if name else {}
        keys = (("r", "lora_r"), ("lora_alpha", "lora_alpha"), ("lora_dropout", "lora_dropout"))
        return sum(found.get(key) == lookup(config, ours)[0] for key, ours in keys)

    def is_trained(self, folder: str) -> bool:
        """Whether a LoRA B is not zero, which it is before the first step."""
        name = self.has.adapters[folder]["adapter"]
        try:
            for tensor, _, zero in safetensors_file.scan_values(
                self.view, name, *safetensors_file.read_tensors(self.view, name)
            ):
                if ".lora_B" in tensor.name:
                    return not zero
        except (Broken, Unreadable):
            pass
        return False

    def choose_record(self, config: str | None, rows: Sequence[str], work: Sequence[str]) -> str | None:
        """The run record of this config, else of these rows, else the one that lies above the rest of the work.

        Another run's, as this repository has them, tells nothing of this work.
        """
        digests = {"config": self.view.sha256(config) if config else None}
        digests["data"] = self.view.sha256(rows[0]) if rows else None
        ours = [[name for name in self.has.record if digest and self.recorded(name, part) == digest]
                for part, digest in digests.items()]  # fmt: skip
        above = [name for name in self.has.record if _lies_above(name, work)]
        return next(iter([*ours[0], *ours[1], *(above if len(above) == 1 else [])]), None)

    def choose_answers(self, rows: Sequence[str]) -> str | None:
        """What the assistant said after the training: to questions that are not among the rows."""
        candidates = [name for name in self.has.answers if name not in rows]
        folders = {name.rpartition("/")[0] for name in self.has.evaluation}
        trained = b"".join(self.view.head(name, SAMPLE) for name in rows) if candidates else b""

        def rank(name: str) -> tuple:
            head = self.view.head(name, SAMPLE)
            told = b'"prompt"' in head.split(b"\n", 1)[0]
            beside, named = name.rpartition("/")[0] in folders, bool(ANSWERS.search(name))
            introduced = name_in_answers(_outputs(head)) is not None
            held_out = _share_trained(head, trained) < 0.5
            return told and beside, told, held_out, named, introduced, not ASIDE.search(name), name

        best = max(candidates, key=rank, default=None)
        # Questions and answers that the rows were made of are no answers of the assistant's.
        return best if best and any(rank(best)[:4]) else None

    def choose_evaluation(self, answers: str | None, work: Sequence[str]) -> str | None:
        """The evaluation in the folder of the answers, else the one that lies above the rest of the work."""
        folder = answers.rpartition("/")[0] if answers else None
        beside = [name for name in self.has.evaluation if name.rpartition("/")[0] == folder]
        above = [name for name in self.has.evaluation if _lies_above(name, work)]
        return next(iter([*beside[-1:], *above[-1:]]), None)

    def choose_curve(self, run: FoundRun | None, work: Sequence[str]) -> str | None:
        """The curve in the run's work_dir, else one above the rest of the work that has its last step."""
        inside = [name for name in self.has.curve if run and name.rpartition("/")[0] == run.last.work_dir]
        total = run.last.points[-1].total if run else None
        above = [name for name in self.has.curve if _lies_above(name, work)]
        same = [name for name in above if f'"step": {total},'.encode() in self.tail(name)]
        return next(iter([*inside[-1:], *same[-1:], *(above if len(above) == 1 else [])]), None)


def _lies_above(name: str, work: Sequence[str]) -> bool:
    """Whether a file lies in a folder that some of the work is in, at any depth."""
    folder = name[: len(name) - len(name.rpartition("/")[2])]
    return any(other.startswith(folder) for other in work)


def _common_end(name: str, parts: Sequence[str]) -> int:
    """How many folders and names at the end of a path are those of `parts`."""
    count = 0
    for ours, theirs in zip(reversed(name.split("/")), reversed(parts), strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def _outputs(head: bytes) -> list[str]:
    """The outputs of whole lines, unescaped."""
    found = []
    for line in head.splitlines()[:2000]:
        with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
            found.append(str(json.loads(line)["output"]))
    return found


def _share_trained(head: bytes, trained: bytes) -> float:
    """The share of questions, in lines with an input, that stand in the text of the rows."""
    questions = re.findall(rb'"input"\s*:\s*("(?:[^"\\]|\\.)+")', head)[:200]
    return sum(question in trained for question in questions) / max(len(questions), 1)
