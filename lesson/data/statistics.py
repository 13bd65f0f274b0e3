"""Statistics of training rows: how many, how long, in which language, how often the name is said and where.

    python -m recipe.stats [FILE] [--name 尖米] [--tokenizer DIR] [--format text|json|html] [--output FILE]

Reads every format that recipe.formats knows. The HTML page is one file with its plots inside and needs no network.
Without FILE, as make stats calls it: SRC and OLD_NAME, the table on the terminal, JSON and HTML into BUILD/data.
"""

from __future__ import annotations

import argparse
import collections
import html
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence

from lesson.core import cli
from lesson.core.files import atomic
from lesson.core.layout import statistics_file
from lesson.core.messages import UserError, language, set_language, tr
from lesson.core.settings import Values
from lesson.data.formats import KEYS, Unconvertible, detect, items, to_xtuner
from lesson.data.row_rules import check_row
from lesson.data.validate import REMEMBERED, profile_tokenizer, token_counter

FIELDS = ("system", "input", "output")


class Lengths:
    """How long texts are: a count for each length, so that memory does not grow with the rows."""

    def __init__(self) -> None:
        self.counts: collections.Counter[int] = collections.Counter()

    def add(self, length: int) -> None:
        self.counts[length] += 1

    @property
    def sum(self) -> int:
        return sum(length * count for length, count in self.counts.items())

    def quantile(self, share: float) -> int:
        """The smallest length that at least `share` of the texts do not exceed."""
        rest = share * self.counts.total()
        for length, count in sorted(self.counts.items()):
            rest -= count
            if rest <= 0:
                return length
        return 0

    def summary(self) -> dict[str, float]:
        number = self.counts.total()
        return {
            "texts": number,
            "min": min(self.counts, default=0),
            "median": self.quantile(0.5),
            "mean": round(self.sum / number, 1) if number else 0,
            "p95": self.quantile(0.95),
            "max": max(self.counts, default=0),
        }


def language_of(text: str) -> str:
    """zh, en, mixed or other, by letters: one language from nine tenths of them on; a Han character counts for two."""
    han = 2 * sum("\u3400" <= c <= "\u9fff" for c in text)
    latin = sum(c.isascii() and c.isalpha() for c in text)
    if han + latin == 0:
        return "other"
    return "zh" if han >= 9 * latin else "en" if latin >= 9 * han else "mixed"


class Stats:
    """Counts over all rows given to `add`."""

    def __init__(self, name: str | None = None, tokens: Callable[[str], int] | None = None) -> None:
        self.name, self._tokens = name, tokens
        self.rows = self.turns = self.unusable = 0
        self.questions: collections.Counter[str] = collections.Counter()
        self.systems: collections.Counter[str] = collections.Counter()
        self.languages: collections.Counter[str] = collections.Counter()
        self.mentions: collections.Counter[str] = collections.Counter()
        self.turns_in_row = Lengths()
        self.characters = {field: Lengths() for field in FIELDS}
        self.tokens = {field: Lengths() for field in FIELDS}
        self.row_tokens = Lengths()
        self._counted: dict[str, int] = {}  # tokens of system prompts, which repeat

    def add(self, row: dict) -> None:
        """A row of XTuner's format that check_row finds the right shape of."""
        turns = row["conversation"]
        self.rows += 1
        self.turns += len(turns)
        self.turns_in_row.add(len(turns))
        self._remember(self.questions, turns[0]["input"].strip())
        self._remember(self.systems, turns[0].get("system", ""))
        self.languages[language_of("".join(turn["input"] + turn["output"] for turn in turns))] += 1
        total = 0
        for turn in turns:
            for field, text in turn.items():
                self.characters[field].add(len(text))
                if self.name and self.name in text:
                    self.mentions[field] += 1
                if self._tokens:
                    count = self._count(field, text)
                    self.tokens[field].add(count)
                    total += count
        if self._tokens:
            self.row_tokens.add(total)

    @staticmethod
    def _remember(counter: collections.Counter[str], text: str) -> None:
        if len(text) > 200:  # a hostile file must not decide how much is kept
            text = f"{text[:180]}… {zlib.crc32(text.encode()):08x}"
        if text in counter or len(counter) < REMEMBERED:
            counter[text] += 1

    def _count(self, field: str, text: str) -> int:
        if field != "system":
            return self._tokens(text)
        if text not in self._counted:
            if len(self._counted) > 1000:
                self._counted.clear()
            self._counted[text] = self._tokens(text)
        return self._counted[text]

    def result(self) -> dict:
        """All figures, ready for JSON."""
        measured = self.tokens if self._tokens else self.characters
        total = sum(lengths.sum for lengths in measured.values())
        result = {
            "rows": self.rows,
            "unusable_rows": self.unusable,
            "turns": self.turns,
            "turns_in_row": self.turns_in_row.summary(),
            "distinct_questions": len(self.questions),
            "most_repeated_questions": [list(item) for item in self.questions.most_common(10)],
            "distinct_system_prompts": len(self.systems),
            "most_common_system_prompts": [list(item) for item in self.systems.most_common(5)],
            "languages": dict(self.languages.most_common()),
            "characters": {field: lengths.summary() for field, lengths in self.characters.items()},
            "tokens": {f: lengths.summary() for f, lengths in self.tokens.items()} if self._tokens else None,
            "tokens_in_row": self.row_tokens.summary() if self._tokens else None,
            "name": self.name,
            "texts_with_name": {field: self.mentions[field] for field in FIELDS} if self.name else None,
            "system_share": round(measured["system"].sum / total, 4) if total else 0,
            "system_share_of": "tokens" if self._tokens else "characters",
        }
        return result


def collect(path: str, form: str, stats: Stats) -> None:
    """Read all rows of `path`; what cannot be counted is counted as unusable. Raises UserError without any row."""
    for _, row, problems in items(path):
        try:
            if problems:
                raise Unconvertible("$", problems[0].found)
            row = to_xtuner(row, form if form != "auto" else detect(row) or "xtuner")
            if any(
                p.rule in ("wrong-type", "missing-key", "empty-conversation", "unknown-key") for p in check_row(row)
            ):
                raise Unconvertible("$", "")
        except Unconvertible:
            stats.unusable += 1
            continue
        stats.add(row)
    if not stats.rows:
        raise UserError(
            path, tr("no usable rows", "没有可用的数据行"), tr("see make check-data", "请看 make check-data")
        )


def text_page(path: str, result: dict) -> Iterator[str]:
    """The table for a terminal."""
    yield tr(
        f"{path}: {result['rows']} rows, {result['turns']} turns, {result['distinct_questions']} distinct questions, "
        f"{result['unusable_rows']} unusable rows",
        f"{path}：{result['rows']} 行，{result['turns']} 轮，{result['distinct_questions']} 个不同问题，"
        f"{result['unusable_rows']} 行不可用",
    )
    heads = ("texts", "min", "median", "mean", "p95", "max")
    for unit in ("characters", "tokens"):
        if result[unit]:
            yield f"{tr(unit, {'characters': '字符', 'tokens': 'token'}[unit]):<12}" + "".join(
                f"{head:>9}" for head in heads
            )
            for field, summary in result[unit].items():
                yield f"  {field:<10}" + "".join(f"{summary[head]:>9}" for head in heads)
    yield (
        tr("languages", "语言")
        + ": "
        + ", ".join(f"{name} {count} ({count / result['rows']:.0%})" for name, count in result["languages"].items())
    )
    if result["name"]:
        shares = (
            f"{field} {count} / {result['characters'][field]['texts']}"
            for field, count in result["texts_with_name"].items()
        )
        yield tr(f"texts that say {result['name']}: ", f"提到 {result['name']} 的文本：") + ", ".join(shares)
    unit = {"tokens": tr("tokens", "token"), "characters": tr("characters", "字符")}[result["system_share_of"]]
    yield tr(
        f"the system prompt is {result['system_share']:.1%} of all {unit}",
        f"system 占全部{unit}的 {result['system_share']:.1%}",
    )
    repeated = [(question, count) for question, count in result["most_repeated_questions"] if count > 1]
    if repeated:
        yield tr("most repeated questions:", "重复最多的问题：")
        yield from (f"  {count:>5}  {question[:60]!r}" for question, count in repeated)


def _bars(title: str, bars: list[tuple[str, int]]) -> str:
    """A bar chart as inline SVG: labels to the left, counts at the ends."""
    most = max((count for _, count in bars), default=0) or 1
    height = 22 * len(bars)
    parts = [f'<figure><figcaption>{html.escape(title)}</figcaption><svg viewBox="0 0 640 {height}" role="img">']
    for index, (label, count) in enumerate(bars):
        y, width = 22 * index, 400 * count / most
        parts.append(
            f'<text x="150" y="{y + 15}" text-anchor="end">{html.escape(label)}</text>'
            f'<rect x="158" y="{y + 3}" width="{width:.1f}" height="16"/>'
            f'<text x="{164 + width:.1f}" y="{y + 15}">{count}</text>'
        )
    return "".join([*parts, "</svg></figure>"])


def histogram(lengths: Lengths, most: int = 16) -> list[tuple[str, int]]:
    """At most `most` equal bins from 0 to the longest."""
    longest = max(lengths.counts, default=0)
    step = max(1, -(-(longest + 1) // most))
    bins: collections.Counter[int] = collections.Counter()
    for length, count in lengths.counts.items():
        bins[length // step] += count
    return [(f"{i * step}–{(i + 1) * step - 1}" if step > 1 else str(i), bins[i]) for i in range(longest // step + 1)]


STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}figure{margin:2rem 0}figcaption{font-weight:600}
svg{width:100%;font-size:12px;fill:#222}rect{fill:#3b73af}
@media(prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}svg{fill:#ddd}rect{fill:#6ea8e5}td,th{border-color:#444}}"""


def html_page(path: str, stats: Stats, result: dict) -> str:
    """One self-contained page: the figures as tables, the lengths and languages as plots."""
    title = html.escape(tr(f"Statistics of {path}", f"{path} 的统计"))
    unit = result["system_share_of"]
    measured = stats.tokens if unit == "tokens" else stats.characters
    heads = ("texts", "min", "median", "mean", "p95", "max")
    table = "".join(
        f"<tr><td>{field}</td>" + "".join(f"<td>{summary[head]}</td>" for head in heads) + "</tr>"
        for field, summary in result[unit].items()
    )
    said = "".join(
        f"<p>{html.escape(line)}</p>"
        for line in text_page(path, {**result, "characters": None, "tokens": None, "name": None})
    )
    plots = [_bars(f"{field}: {unit}", histogram(measured[field])) for field in FIELDS]
    plots.append(_bars(tr("language", "语言"), list(result["languages"].items())))
    if result["name"]:
        plots.append(
            _bars(
                tr(f"texts that say {result['name']}", f"提到 {result['name']} 的文本"),
                list(result["texts_with_name"].items()),
            )
        )
    repeats = collections.Counter(stats.questions.values())
    plots.append(
        _bars(tr("answers to one question", "同一问题的回答数"), [(str(k), v) for k, v in sorted(repeats.items())[:16]])
    )
    return (
        f'<!doctype html><html lang="{language()}"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>{title}</h1>{said}'
        f"<table><tr><th>{unit}</th>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{table}</table>"
        f"{''.join(plots)}</body></html>\n"
    )


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.stats", description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", metavar="FILE")
    parser.add_argument("--name", default=None, help=tr("count the texts that say it", "统计提到它的文本"))
    parser.add_argument(
        "--tokenizer",
        default=None,
        metavar="DIR",
        help=tr(
            "count tokens with it; default: the tiny base's where it is installed, '' is none",
            "用它数 token；默认 tiny 基座的（若已安装），'' 为不数",
        ),
    )
    parser.add_argument("--from", dest="form", default="auto", choices=["auto", *KEYS])
    parser.add_argument("--format", default="text", choices=["text", "json", "html"])
    parser.add_argument("--output", default=None, metavar="FILE")
    parser.add_argument("--lang", default=None)
    options = parser.parse_args(arguments)
    set_language(options.lang)
    tokenizer = options.tokenizer if options.tokenizer is not None else profile_tokenizer()
    values = Values({})
    file, name = options.file or values.src, options.name if options.file else options.name or values.old_name
    stats = Stats(name, token_counter(tokenizer) if tokenizer else None)
    collect(file, options.form, stats)
    result = stats.result()
    pages = {
        "html": lambda: html_page(file, stats, result),
        "json": lambda: json.dumps(result, ensure_ascii=False, indent=2) + "\n",
        "text": lambda: "".join(line + "\n" for line in text_page(file, result)),
    }
    wanted = {options.output: options.format}
    if not options.file and not options.output:
        wanted |= {statistics_file(values.build, kind): kind for kind in ("json", "html")}
    for output, kind in wanted.items():
        if output is None:
            sys.stdout.write(pages[kind]())
        else:
            with atomic(output) as out:
                out.write(pages[kind]())
            print(output)
    return 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 done, 2 unusable input."""
    return cli.guarded(lambda: _main(arguments), stdout, stderr)
