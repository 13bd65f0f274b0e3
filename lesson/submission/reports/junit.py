"""The verdicts as JUnit XML, which CI systems show."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence


def _xml(text: str) -> str:
    # What XML 1.0 cannot hold at all, escaped or not, is shown as an escape.
    text = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", lambda m: ascii(m[0])[1:-1], text)
    return html.escape(text).replace("\n", "&#10;")


def render(verdicts: Sequence[dict]) -> str:
    """JUnit XML: a suite for each submission, a case for each check."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for verdict in verdicts:
        status = [result["status"] for result in verdict["checks"]]
        lines.append(
            f'  <testsuite name="{_xml(verdict["submission"])}" tests="{len(status)}" failures="{status.count("failed")}"'
            f' errors="{status.count("unjudged")}" skipped="{status.count("skipped")}" time="{verdict["seconds"]}">'
        )
        for result in verdict["checks"]:
            lines.append(
                f'    <testcase classname="{result["area"]}" name="{_xml(result["title"])}" time="{result["seconds"]}">'
            )
            tag = {"failed": "failure", "unjudged": "error", "skipped": "skipped"}.get(result["status"])
            if tag:
                more = "\n".join([*result["places"], result["remedy"]])
                lines.append(f'      <{tag} message="{_xml(result["found"])}">{_xml(more)}</{tag}>')
            lines.append("    </testcase>")
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"
