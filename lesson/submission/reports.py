"""A verdict for people and for machines: terminal, JSON, JUnit XML, Gradescope, GitHub annotations, one HTML page.

Everything in a verdict came from a stranger: each form escapes it in its own way, and a terminal is sent no control
character. Nothing here reads a submission: a report is made from the verdict alone.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from lesson.core.files import atomic
from lesson.core.findings import annotation
from lesson.core.messages import UserError, tr

AREAS = {
    "package": ("package", "打包"),
    "data": ("data", "数据"),
    "config": ("config", "配置"),
    "run": ("training", "训练"),
    "adapter": ("adapter", "适配器"),
    "answers": ("answers", "回答"),
    "rerun": ("rerun by the staff", "教师重新提问"),
    "checker": ("checker", "检查程序"),
}
MARKS = {"passed": "ok  ", "failed": "FAIL", "skipped": "–   ", "unjudged": "?   "}
STATUS = {
    "passed": ("passed", "通过"),
    "failed": ("failed", "未通过"),
    "skipped": ("skipped", "跳过"),
    "unjudged": ("could not be judged", "无法判断"),
}


def visible(text: str) -> str:
    """`text` on one line with control, format and surrogate characters shown as escapes, not sent."""
    return "".join(ascii(c)[1:-1] if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" else c for c in text)


def outcome(verdict: dict) -> str:
    if verdict["passed"] is None:
        return tr(
            "could not be judged: the checker's fault, not the submission's",
            "无法判断：是检查程序的问题，不是提交的问题",
        )
    return tr("passed", "通过") if verdict["passed"] else tr("not passed", "未通过")


def score(verdict: dict) -> str:
    return f"{verdict['points']:g}/{verdict['of']:g}"


# --- terminal and JSON ---------------------------------------------------------------------------------------------------


def terminal(verdict: dict, out: TextIO, places: int = 5) -> None:
    """For people: a line for each check, its reason, and what to do about those that failed."""
    who = f" ({visible(verdict['who'])})" if verdict["who"] else ""
    print(f"{visible(verdict['submission'])}{who}", file=out)
    area = None
    for check in verdict["checks"]:
        if check["area"] != area:
            area = check["area"]
            print(f"{tr(*AREAS[area])}:", file=out)
        print(f"  {MARKS[check['status']]} {visible(check['title'])}: {visible(check['found'])}", file=out)
        if check["status"] in ("failed", "unjudged"):
            for place in check["places"][:places]:
                print(f"         {visible(place)}", file=out)
            if len(check["places"]) > places:
                more = len(check["places"]) - places
                print(
                    tr(f"         … {more} more in the JSON report", f"         … 另有 {more} 处见 JSON 报告"), file=out
                )
            print("       → " + visible(check["remedy"]), file=out)
    for note in verdict["notes"]:
        print("  " + visible(note), file=out)
    print(f"{outcome(verdict)}, {score(verdict)} " + tr("points", "分"), file=out)


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False).encode("utf-8", "backslashreplace").decode())


def as_json(verdicts: Sequence[dict]) -> str:
    value = verdicts[0] if len(verdicts) == 1 else list(verdicts)
    return json.dumps(value, ensure_ascii=True, indent=2, allow_nan=False) + "\n"


# --- for machines ----------------------------------------------------------------------------------------------------------


def _xml(text: str) -> str:
    # What XML 1.0 cannot hold at all, escaped or not, is shown as an escape.
    text = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", lambda m: ascii(m[0])[1:-1], text)
    return html.escape(text).replace("\n", "&#10;")


def as_junit(verdicts: Sequence[dict]) -> str:
    """JUnit XML: a suite for each submission, a case for each check."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for verdict in verdicts:
        status = [check["status"] for check in verdict["checks"]]
        lines.append(
            f'  <testsuite name="{_xml(verdict["submission"])}" tests="{len(status)}" failures="{status.count("failed")}"'
            f' errors="{status.count("unjudged")}" skipped="{status.count("skipped")}" time="{verdict["seconds"]}">'
        )
        for check in verdict["checks"]:
            lines.append(
                f'    <testcase classname="{check["area"]}" name="{_xml(check["title"])}" time="{check["seconds"]}">'
            )
            tag = {"failed": "failure", "unjudged": "error", "skipped": "skipped"}.get(check["status"])
            if tag:
                more = "\n".join([*check["places"], check["remedy"]])
                lines.append(f'      <{tag} message="{_xml(check["found"])}">{_xml(more)}</{tag}>')
            lines.append("    </testcase>")
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def as_gradescope(verdicts: Sequence[dict]) -> str:
    """Gradescope's results.json (gradescope-autograders.readthedocs.io/en/latest/specs): one submission."""
    verdict = verdicts[0]
    tests = []
    for check in verdict["checks"]:
        output = "\n".join(filter(None, [check["found"], *check["places"], check["remedy"]]))
        test = {"name": f"{tr(*AREAS[check['area']])}: {check['title']}", "output": visible_lines(output)}
        test |= {"output_format": "text", "visibility": "visible"}
        if check["of"]:
            test |= {"score": check["points"], "max_score": check["of"]}
        if check["status"] in ("passed", "failed"):
            test["status"] = check["status"]
        tests.append(test)
    result = {
        "score": verdict["points"],
        "execution_time": verdict["seconds"],
        "output": outcome(verdict),
        "output_format": "text",
        "tests": tests,
    }
    return json.dumps(result, ensure_ascii=True, indent=2) + "\n"


def visible_lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.split("\n"))


def as_github(verdicts: Sequence[dict]) -> str:
    """GitHub annotations, one for each check that failed or could not be judged."""
    lines = []
    for verdict in verdicts:
        for check in verdict["checks"]:
            kind = {"failed": "error", "unjudged": "warning"}.get(check["status"])
            if kind:
                said = visible(f"{check['found']}; {check['remedy']}")
                lines.append(annotation(kind, verdict["submission"], check["title"], said) + "\n")
    return "".join(lines)


def as_csv(verdicts: Sequence[dict]) -> str:
    """A line for each submission, a column for each check, for a spreadsheet that must take no cell for a formula."""

    def cell(value: object) -> str:
        text = visible(str(value))
        return "'" + text if text[:1] in ("=", "+", "-", "@") and not isinstance(value, int | float) else text

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [check["check"] for check in verdicts[0]["checks"]]
    writer.writerow(["submission", "who", "name", "passed", "points", "of", "seconds", *names])
    for v in verdicts:
        head = [v["submission"], v["who"] or "", v["names"]["new"] or "", {None: "", True: 1, False: 0}[v["passed"]]]
        status = [check["status"] for check in v["checks"]]
        writer.writerow([cell(x) for x in [*head, v["points"], v["of"], v["seconds"], *status]])
    return out.getvalue()


# --- HTML ------------------------------------------------------------------------------------------------------------------

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


def as_html(verdicts: Sequence[dict]) -> str:
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
    for check in verdict["checks"]:
        if check["area"] != area:
            area = check["area"]
            rows.append(f'<tr><th colspan="4">{tr(*AREAS[area])}\n')
        places = "".join(f"<small>{text(place)}</small>" for place in check["places"])
        remedy = f"<div>→ {text(check['remedy'])}</div>" if check["remedy"] else ""
        points = f"{check['points']:g}/{check['of']:g}" if check["of"] else ""
        rows.append(
            f'<tr><td>{text(check["title"])}<td class="state {check["status"]}">{tr(*STATUS[check["status"]])}'
            f'<td>{text(check["found"])}{places}{remedy}<td class="points">{points}\n'
        )
    columns = '<colgroup><col><col style="width:6rem"><col><col style="width:4rem"></colgroup>\n'
    who = f"<p>{text(verdict['who'])}</p>\n" if verdict["who"] else ""
    wrong = "".join(
        f'<li><span class="{check["status"]}">{text(check["title"])}</span>: {text(check["found"])}'
        f"<div>→ {text(check['remedy'])}</div>\n"
        for check in verdict["checks"]
        if check["status"] in ("failed", "unjudged")
    )
    mend = f"<h2>{tr('What to mend', '需要改正')}</h2>\n<ul>\n{wrong}</ul>\n" if wrong else ""
    head = (
        f'<h1>{text(verdict["submission"])}</h1>\n{who}<p class="{state}"><b>{outcome(verdict)}</b>, {score(verdict)}</p>\n'
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


# --- which ones ------------------------------------------------------------------------------------------------------------

Form = Callable[[Sequence[dict]], str]


def wanted(text: str) -> list[tuple[str, Form]]:
    """[(file or "github", form)] of REPORT: told by the file's name. Raises UserError for a name that tells none."""
    result = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        form = {".json": as_json, ".xml": as_junit, ".html": as_html, ".csv": as_csv}.get(Path(name).suffix)
        if Path(name).name == "results.json":
            form = as_gradescope
        elif name == "github":
            form = as_github
        if form is None:
            raise UserError(
                f"REPORT={name}",
                tr("not a form of report", "没有这种报告"),
                tr(
                    "NAME.json, NAME.xml (JUnit), NAME.html, NAME.csv, results.json (Gradescope) or github, separated by commas",
                    "可用：NAME.json、NAME.xml（JUnit）、NAME.html、NAME.csv、results.json（Gradescope）、github，以逗号分隔",
                ),
            )
        result.append((name, form))
    return result


def write(reports: Sequence[tuple[str, Form]], verdicts: Sequence[dict]) -> None:
    """Write each report to its file; annotations go to the screen."""
    for name, form in reports:
        if name == "github":
            sys.stdout.write(form(verdicts))
            continue
        with atomic(name) as file:
            file.write(form(verdicts))
        print(tr(f"written: {name}", f"已写出：{name}"))
