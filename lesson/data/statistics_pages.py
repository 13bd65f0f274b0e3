"""Statistics of rows shown: lines for a terminal, JSON, and an HTML page that stands alone."""

from __future__ import annotations

import collections
import html
import json
from collections.abc import Iterator
from pathlib import Path

from lesson.core.files import atomic
from lesson.core.messages import language, tr
from lesson.data.statistics import FIELDS, Lengths, RowStatistics


def describe_statistics(path: str, result: dict) -> Iterator[str]:
    """The table for a terminal. `result` is what Stats.result gives."""
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


def render_html(path: str, stats: RowStatistics, result: dict) -> str:
    """One self-contained page: the figures as tables, the lengths and languages as plots."""
    title = html.escape(tr(f"Statistics of {path}", f"{path} 的统计"))
    unit = result["system_share_of"]
    measured = stats.tokens if unit == "tokens" else stats.characters
    heads = ("texts", "min", "median", "mean", "p95", "max")
    table = "".join(
        f"<tr><td>{field}</td>" + "".join(f"<td>{summary[head]}</td>" for head in heads) + "</tr>"
        for field, summary in result[unit].items()
    )
    counted = "".join(
        f"<p>{html.escape(line)}</p>"
        for line in describe_statistics(path, {**result, "characters": None, "tokens": None, "name": None})
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
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>{title}</h1>{counted}'
        f"<table><tr><th>{unit}</th>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{table}</table>"
        f"{''.join(plots)}</body></html>\n"
    )


def render_statistics(path: str, stats: RowStatistics, form: str) -> str:
    """The statistics of the file `path` as "text", "json" or "html"."""
    result = stats.result()
    if form == "html":
        return render_html(path, stats, result)
    if form == "json":
        return json.dumps(result, ensure_ascii=False, indent=2) + "\n"
    return "".join(line + "\n" for line in describe_statistics(path, result))


def write_statistics(path: str, stats: RowStatistics, form: str, output: str | Path) -> None:
    """Write the statistics of the file `path` to the file `output`."""
    with atomic(output) as file:
        file.write(render_statistics(path, stats, form))
