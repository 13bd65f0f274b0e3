"""What a submission holds, read under limits: which file plays which part, and the documents in them.

With a submission.json the parts are those it names; a plain folder, as XTuner and a learner leave it, is told by
content. Reading never runs anything: no import, no pickle, no YAML. A document that cannot be read raises Broken.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jsonschema

from lesson.config import schedule
from lesson.config.parsed import ParsedConfig
from lesson.config.reading import LARGEST_SOURCE, parse_config
from lesson.config.summary import lookup
from lesson.core.messages import tr
from lesson.core.refusals import Broken, Unreadable
from lesson.core.settings import ROOT
from lesson.core.strict_json import BROKEN, parse_strict_json
from lesson.core.text import shorten
from lesson.data import rows
from lesson.data.rows import open_bytes
from lesson.model import known_bases as bases
from lesson.submission.archive import PICKLES, View

LARGEST_DOCUMENT = 8 << 20  # bytes of a JSON document; a run record has 20 KB
LARGEST_LOG = 64 << 20
MOST_SESSIONS = 20  # of a run that was resumed again and again
MOST_LINES = 200_000  # of a log, a curve or a file of answers

# Parts of a submission: file in ours, English, Chinese.
PARTS = {
    "config": ("config.py", "training config", "训练配置"),
    "data": ("data.jsonl", "training data", "训练数据"),
    "log": ("train.log", "XTuner's log", "XTuner 日志"),
    "scalars": ("scalars.json", "XTuner's vis_data", "XTuner 的 vis_data"),
    "record": ("run.json", "run record", "训练记录"),
    "curve": ("curve.jsonl", "loss of each step", "逐步损失"),
    "adapter_config": ("adapter/adapter_config.json", "adapter's config", "适配器配置"),
    "adapter": ("adapter/adapter_model.safetensors", "adapter's weights", "适配器权重"),
    "card": ("adapter/README.md", "model card", "模型卡"),
    "answers": ("eval/answers.jsonl", "answers", "回答"),
    "evaluation": ("eval/evaluation.json", "evaluation", "评测结果"),
}
NEEDED = ("config", "data", "log", "adapter_config", "adapter", "answers")
MANIFEST = "submission.json"

STEP = re.compile(
    r"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - mmengine - INFO - (?:Iter|Epoch)\(train\) (?:\[\d+\])?\[ *(\d{1,9})/ *(\d{1,9})\] (.{0,400})"
)
FIELD = re.compile(r"\b(lr|time|loss|grad_norm): +(\S{1,30})")
KEPT = re.compile(r"Iter\(train\)|Epoch\(train\)|Num train samples|Saving checkpoint at|GPU number")


@dataclass(frozen=True)
class Point:
    """One line of a log: what it says about the step. NaN where it says nothing."""

    step: int
    loss: float
    lr: float
    seconds: float
    at: datetime | None = None
    total: int | None = None


def schema(name: str) -> jsonschema.Draft7Validator:
    rules = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(rules)


def document(data: bytes, name: str, rules: str | None = None) -> object:
    """One JSON document, strict, of bounded depth, valid against schemas/RULES.schema.json. Raises Broken."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Broken(f"{name}: UTF-8: {error.reason}") from None
    value, problems = parse_strict_json(text)
    if problems or value is BROKEN:
        first = problems[0]
        raise Broken(f"{name}: {first.path} {first.found}".replace("  ", " "))
    if rules:
        first = next(schema(rules).iter_errors(value), None)
        if first is not None:
            raise Broken(f"{name}: {first.json_path}: {shorten(first.message)}")
    return value


class Evidence:
    """The parts of one submission, read when asked for and at most once."""

    def __init__(self, view: View, values: dict[str, str] | None = None) -> None:
        self.view = view
        self.given = values or {}  # names that the caller declares for a plain folder: old, new
        self.parts: dict[str, str] = {}
        self.earlier: dict[str, list[str]] = {}  # files that come before a part's: of the sessions before a resume
        self.manifest: dict | None = None
        self.manifest_error: str | None = None
        if MANIFEST in view.entries:
            try:
                self.manifest = document(view.read(MANIFEST, LARGEST_DOCUMENT), MANIFEST, "submission")
            except (Broken, Unreadable) as error:
                self.manifest_error = str(error)
        if self.manifest or self.manifest_error:
            self.parts = {part: name for part, (name, _, _) in PARTS.items() if name in view.entries}
        else:
            self.parts, self.earlier = found_parts(view)
        self.pickles = sorted(name for name in view.entries if name.lower().endswith(PICKLES))

    def raw(self, part: str, most: int = LARGEST_DOCUMENT) -> bytes:
        try:
            return self.view.read(self.parts[part], most)
        except Unreadable as error:
            raise Broken(str(error)) from None

    def lines(self, part: str, most: int = MOST_LINES) -> Iterator[tuple[int, bytes]]:
        """(number, line) of a text file; too long a line, or too many, raise Broken."""
        for name in [*self.earlier.get(part, []), self.parts[part]]:
            yield from self._lines(name, most)

    def _lines(self, name: str, most: int) -> Iterator[tuple[int, bytes]]:
        try:
            with self.view.open(name) as stream:
                for number, line in rows.lines(stream):
                    if line is None:
                        raise Broken(
                            tr(
                                f"{name}:{number}: a line of more than {rows.LONGEST_LINE} bytes",
                                f"{name}:{number}：一行超过 {rows.LONGEST_LINE} 字节",
                            )
                        )
                    if number > most:
                        raise Broken(tr(f"{name}: more than {most} lines", f"{name}：超过 {most} 行"))
                    yield number, line
        except Unreadable as error:
            raise Broken(str(error)) from None

    def objects(self, part: str) -> list[tuple[int, dict]]:
        """(line, object) of a JSON Lines file."""
        result = []
        for number, line in self.lines(part):
            if line.strip():
                value = document(line, f"{self.parts[part]}:{number}")
                if not isinstance(value, dict):
                    raise Broken(f"{self.parts[part]}:{number}: " + tr("not an object", "不是对象"))
                result.append((number, value))
        return result

    @functools.cached_property
    def config(self) -> ParsedConfig:
        return parse_config(self.raw("config", LARGEST_SOURCE + 1), self.parts["config"])

    @functools.cached_property
    def record(self) -> dict:
        return document(self.raw("record"), self.parts["record"], "run")

    @functools.cached_property
    def evaluation(self) -> dict:
        return document(self.raw("evaluation"), self.parts["evaluation"], "evaluation")

    @functools.cached_property
    def adapter_config(self) -> dict:
        value = document(self.raw("adapter_config"), self.parts["adapter_config"])
        if not isinstance(value, dict):
            raise Broken(f"{self.parts['adapter_config']}: " + tr("not an object", "不是对象"))
        return value

    @functools.cached_property
    def answers(self) -> list[dict]:
        """Lines of answers.jsonl, each proven to have input, output and prompt as texts."""
        result = []
        for number, line in self.objects("answers"):
            if not all(isinstance(line.get(key), str) for key in ("input", "output")):
                raise Broken(f"{self.parts['answers']}:{number}: " + tr("no input or output", "缺少 input 或 output"))
            result.append(line)
        return result

    @functools.cached_property
    def curve(self) -> list[Point]:
        points = []
        for number, line in self.objects("curve"):
            if "step" in line:
                points.append(_point(line, f"{self.parts['curve']}:{number}", "seconds"))
        return points

    @functools.cached_property
    def scalars(self) -> list[Point]:
        points = []
        for number, line in self.objects("scalars"):
            if "loss" in line:
                points.append(_point(line, f"{self.parts['scalars']}:{number}", "time"))
        return _last_session_wins(points)

    @functools.cached_property
    def log(self) -> list[Point]:
        """The steps of XTuner's text log; of sessions that overlap after a resume, the later one counts."""
        return _last_session_wins(self._log[0])

    @functools.cached_property
    def _log(self) -> tuple[list[Point], int | None, int]:
        points, samples, gpus = [], None, 1
        if self.view.entries[self.parts["log"]].size > LARGEST_LOG:
            raise Broken(f"{self.parts['log']}: > {LARGEST_LOG >> 20} MiB")
        for number, line in self.lines("log"):
            text = line[:1000].decode(errors="replace")
            if match := STEP.search(text):
                try:
                    at = datetime.strptime(match[1], "%Y/%m/%d %H:%M:%S")
                    said = {key: float(value) for key, value in FIELD.findall(match[4])}
                except ValueError as error:
                    raise Broken(f"{self.parts['log']}:{number}: {shorten(str(error))}") from None
                nan = math.nan
                points.append(
                    Point(
                        int(match[2]),
                        said.get("loss", nan),
                        said.get("lr", nan),
                        said.get("time", nan),
                        at,
                        int(match[3]),
                    )
                )
            elif match := re.search(r"Num train samples (\d{1,9})", text):
                samples = int(match[1])
            elif match := re.search(r"GPU number: (\d{1,5})", text):
                gpus = max(int(match[1]), 1)
        return points, samples, gpus

    @property
    def sessions(self) -> int:
        points = self._log[0]
        return 1 + sum(b.step <= a.step for a, b in itertools.pairwise(points))

    @property
    def samples(self) -> int | None:
        """Training samples, as XTuner's log says."""
        return self._log[1]

    @property
    def gpus(self) -> int:
        return self._log[2]

    @functools.cached_property
    def data(self) -> schedule.DataMeasures:
        template = lookup(self.config, "template")[0] if "config" in self.parts else None
        name = getattr(template, "name", str(template)).rpartition(".")[2]
        tokenizer = ROOT / "data" / "tiny-base" / "tokenizer.json" if self.profile == "tiny" else None
        with self.view.open(self.parts["data"]) as stream:
            return schedule.measure_stream(stream, name, tokenizer, self.old_name)

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
        return self._declared("names", "new") or self.given.get("new") or self._persona_name()

    @functools.cached_property
    def old_name(self) -> str:
        return self._declared("names", "old") or self.given.get("old") or "尖米"

    @functools.cached_property
    def profile(self) -> str:
        declared = self._declared("profile")
        if declared:
            return declared
        try:  # samples of 512 tokens, and no base named: the tiny one; anything else is taken for the lesson's
            named = bases.family_and_size(lookup(self.config, "model_path")[0])
            return "tiny" if self.config.get("max_length") == 512 and named is None else "7b"
        except (Broken, KeyError):
            return "7b"

    @functools.cached_property
    def base(self) -> tuple[str, str] | None:
        """Family and size of the base, as config, adapter or the stock config's name tell it (lesson/model/known_bases.py)."""
        sources = (
            lambda: lookup(self.config, "model_path")[0],
            lambda: self.adapter_config.get("base_model_name_or_path"),
            lambda: self.record["config"],
            lambda: self.parts["config"],
        )
        for source in sources:
            with contextlib.suppress(Broken, KeyError):
                if told := bases.family_and_size(source()):
                    return told
        return None

    def _persona_name(self) -> str | None:
        """For a folder without a manifest: the name in the config's system prompt, as in 你是闻星，一个…"""
        try:
            system = lookup(self.config, "system")[0]
        except (Broken, KeyError):
            return None
        match = (
            re.match(r"(?:你是|你叫|You are |Your name is )([^，,。.！!\s]{1,64})", system or "")
            if isinstance(system, str)
            else None
        )
        return match[1] if match else None


def _point(line: dict, where: str, seconds: str) -> Point:
    def number(key: str) -> float:
        value = line.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan

    step = line.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 10**9:
        raise Broken(f"{where}: step = {shorten(str(step))}")
    return Point(step, number("loss"), number("lr"), number(seconds))


def _last_session_wins(points: list[Point]) -> list[Point]:
    kept: list[Point] = []
    for point in points:
        while kept and kept[-1].step >= point.step:
            kept.pop()
        kept.append(point)
    return kept


def found_parts(view: View) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The parts of a plain folder, told by content, and of log and vis_data what earlier sessions left beside them.

    Of several candidates the best, then the last by name. XTuner begins a folder named by the time for each session.
    """
    found: dict[str, tuple[int, str]] = {}
    all_of: dict[str, list[tuple[int, str]]] = {"log": [], "scalars": []}

    def take(part: str, rank: int, name: str) -> None:
        if part in all_of:
            all_of[part].append((rank, name))
        if part not in found or (rank, name) >= found[part]:
            found[part] = (rank, name)

    for name in sorted(view.entries):
        base, lower = name.rpartition("/")[2], name.lower()
        try:
            head = view.head(name) if lower.endswith((".py", ".json", ".jsonl", ".log", ".txt", ".md")) else b""
        except Unreadable:
            continue
        if base == "adapter_config.json":
            take("adapter_config", 1, name)
        elif lower.endswith(".safetensors") and "adapter" in lower:
            take("adapter", 1, name)
        elif lower.endswith(".py"):
            try:
                text = view.read(name, LARGEST_SOURCE)
            except Unreadable:
                continue
            if b"train_dataloader" in text or b"SupervisedFinetune" in text:
                take("config", 2 if b"from xtuner" in text else 1, name)
        elif lower.endswith((".log", ".txt")):
            if b"mmengine" in head or b"Iter(train)" in head:
                take("log", 2 if lower.endswith(".log") else 1, name)
        elif lower.endswith((".json", ".jsonl")):
            _told_by_json(name, base, head, take)
    earlier: dict[str, list[str]] = {}
    for part, candidates in all_of.items():
        if part in found and (work_dir := _work_dir(found[part][1])) is not None:
            rank, last = found[part]
            names = [name for other, name in candidates if other == rank and _work_dir(name) == work_dir]
            earlier[part] = [name for name in sorted(names) if name < last][-MOST_SESSIONS:]
    return {part: name for part, (_, name) in found.items()}, earlier


def _work_dir(name: str) -> str | None:
    """The folder above XTuner's session folder (20261124_150339) that a file lies in; None when it lies in none."""
    match = re.match(r"(.*?)(?:^|/)\d{8}_\d{6}/", name)
    return match[1] if match else None


def _told_by_json(name: str, base: str, head: bytes, take) -> None:
    first = head.split(b"\n", 1)[0]
    if b'"conversation"' in first:
        take("data", 2 if "change" in base else 1, name)
    elif b'"curve"' in head or (b'"inputs"' in head and b'"persona"' in head):
        take("record", 1, name)
    elif b'"failures"' in head or (b'"prompts"' in head and b'"names"' in head):
        take("evaluation", 1, name)
    elif b'"output"' in first and b'"input"' in first:
        take("answers", 1, name)
    elif b'"tokens"' in head and b'"seconds"' in head and b'"step"' in head:
        take("curve", 1, name)
    elif b'"loss"' in first and b'"step"' in first:
        take("scalars", 2 if base == "scalars.json" else 1, name)


def source_bytes(path: str | Path) -> bytes:
    """The staff's own source rows (SOURCE=), unpacked where needed."""
    with open_bytes(path) as stream:
        return stream.read()
