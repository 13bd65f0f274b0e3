"""The verdicts as one HTML page without scripts or outside resources."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from lesson.core.messages import tr
from lesson.submission.reports.wording import AREA_NAMES, STATUS_NAMES, decision, requirements, visible
from lesson.submission.scoring import is_required

STYLE = """
body{font:16px/1.5 system-ui,"Noto Sans CJK SC",sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;table-layout:fixed}
td,th{border-bottom:1px solid #ddd;padding:.4rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th[colspan]{background:#f4f4f4}.state{width:6rem}.points{width:4rem;text-align:right}.prompt{width:6rem}
.passed{color:#11632f}.failed{color:#b01217}.skipped,.unjudged{color:#666}
svg{width:100%;height:auto}small{color:#666;display:block}
@media(max-width:40rem){
 body{margin:1rem auto}table,tbody,tr,td,th{display:block;width:auto}tr{border-bottom:1px solid #ddd;padding:.4rem 0}
 td,th{border:0;padding:.1rem .4rem}.points{text-align:left}
}
"""


def render(verdicts: Sequence[dict]) -> str:
    """One page without scripts or outside resources; everything that was submitted is escaped."""
    body = "".join(_page(verdict) for verdict in verdicts)
    title = tr("Verdict", "检查结果")
    return (
        f'<!DOCTYPE html>\n<html lang="{tr("en", "zh-CN")}">\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n<style>{STYLE}</style>\n{body}</html>\n'
    )


def _page(verdict: dict) -> str:
    def text(value: object) -> str:
        return html.escape(visible(str(value)))

    state = {True: "passed", False: "failed", None: "unjudged"}[verdict["passed"]]
    rows, area = [], None
    for result in verdict["checks"]:
        if result["area"] != area:
            area = result["area"]
            rows.append(f'<tr><th colspan="4">{tr(*AREA_NAMES[area])}\n')
        places = "".join(f"<small>{text(place)}</small>" for place in result["places"])
        remedy = f"<div>→ {text(result['remedy'])}</div>" if result["remedy"] else ""
        points = f"{result['points']:g}/{result['of']:g}" if result["of"] else ""
        star = "* " if is_required(result, verdict) else ""
        rows.append(
            f'<tr><td>{star}{text(result["title"])}<td class="state {result["status"]}">{tr(*STATUS_NAMES[result["status"]])}'
            f'<td>{text(result["found"])}{places}{remedy}<td class="points">{points}\n'
        )
    columns = '<colgroup><col><col style="width:6rem"><col><col style="width:4rem"></colgroup>\n'
    who = f"<p>{text(verdict['who'])}</p>\n" if verdict["who"] else ""
    wrong = "".join(
        f'<li><span class="{result["status"]}">{text(result["title"])}</span>: {text(result["found"])}'
        f"<div>→ {text(result['remedy'])}</div>\n"
        for result in verdict["checks"]
        if result["status"] in ("failed", "unjudged")
    )
    mend = f"<h2>{tr('What to mend', '需要改正')}</h2>\n<ul>\n{wrong}</ul>\n" if wrong else ""
    head = (
        f'<h1>{text(verdict["submission"])}</h1>\n{who}<p class="{state}"><b>{text(decision(verdict))}</b></p>\n<p>{text(requirements(verdict))}</p>\n'
        f"{mend}<table>\n{columns}{''.join(rows)}</table>\n"
    )
    asked = verdict["rerun"]["answers"] if verdict["rerun"] else []
    return (
        head
        + (f"<h2>{tr('Loss', '损失')}</h2>\n{_svg(verdict['curve'])}\n" if len(verdict["curve"]) > 1 else "")
        + _answers(tr("Answers", "回答"), verdict["answers"], text)
        + _answers(tr("Answers to the staff", "教师提问得到的回答"), asked, text)
    )


def _answers(title: str, answers: Sequence[dict], text: Callable[[object], str]) -> str:
    if not answers:
        return ""
    rows = (
        f'<tr><td class="prompt"><small>{text(a["prompt"])}</small><td>{text(a["input"])}<td>{text(a["output"])}\n'
        for a in answers
    )
    columns = '<colgroup><col style="width:6rem"><col><col></colgroup>\n'
    return f"<h2>{title}</h2>\n<table>\n{columns}{''.join(rows)}</table>\n"


def _svg(curve: list[list[float]]) -> str:
    """The loss over the steps as a line, with the largest loss and the last step written at the axes."""
    width, height, left, bottom = 800, 300, 50, 30
    last, top = max(p[0] for p in curve) or 1, max(max(p[1] for p in curve), 1e-9)
    points = " ".join(
        f"{left + (width - left) * step / last:.1f},{(height - bottom) * (1 - min(max(loss / top, 0), 1)):.1f}"
        for step, loss in curve
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{tr("loss curve", "损失曲线")}">'
        f'<path d="M{left} 0V{height - bottom}H{width}" fill="none" stroke="#888"/>'
        f'<polyline points="{points}" fill="none" stroke="#1668b2" stroke-width="1.5"/>'
        f'<text x="2" y="14" font-size="13">{top:.3g}</text><text x="2" y="{height - bottom}" font-size="13">0</text>'
        f'<text x="{width}" y="{height - 8}" font-size="13" text-anchor="end">{last}</text></svg>'
    )
