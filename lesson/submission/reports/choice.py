"""Which reports are wanted (REPORT), and writing them. The form of a report is loaded when it is written."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from lesson.core.files import atomic
from lesson.core.messages import UserError, tr

# The end of a file's name → the file here whose `render(verdicts)` makes the text.
FORMS = {".json": "json_file", ".xml": "junit", ".html": "html_page", ".csv": "csv_table"}
NAMED = ("prairielearn", "gradescope")  # forms that may be named before the file: both call theirs results.json


def choose_reports(text: str) -> list[tuple[str, str]]:
    """[(file or "github", form)] of REPORT: told by the file's name. Raises UserError for a name that tells none."""
    chosen = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        form = FORMS.get(Path(name).suffix)
        said, colon, rest = name.partition(":")
        if colon and rest and said in NAMED:
            name, form = rest, said
        elif Path(name).name == "results.json":
            form = "gradescope"
        elif name == "github":
            form = "github"
        if form is None:
            raise UserError(
                f"REPORT={name}",
                tr("not a form of report", "没有这种报告"),
                tr(
                    "NAME.json, NAME.xml (JUnit), NAME.html, NAME.csv, results.json (Gradescope), prairielearn:results.json or github, separated by commas",
                    "可用：NAME.json、NAME.xml（JUnit）、NAME.html、NAME.csv、results.json（Gradescope）、prairielearn:results.json、github，以逗号分隔",
                ),
            )
        chosen.append((name, form))
    return chosen


def render_report(form: str, verdicts: Sequence[dict]) -> str:
    return importlib.import_module(f"lesson.submission.reports.{form}").render(verdicts)


def write_reports(reports: Sequence[tuple[str, str]], verdicts: Sequence[dict], screen: TextIO) -> None:
    """Write each report to its file and say so on the screen; annotations go to the screen itself."""
    for name, form in reports:
        text = render_report(form, verdicts)
        if name == "github":
            screen.write(text)
            continue
        with atomic(name) as file:
            file.write(text)
        print(tr(f"written: {name}", f"已写出：{name}"), file=screen)
