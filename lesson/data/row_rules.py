"""What may be wrong with one row of XTuner's format, whatever stands in the other rows.

The shape is that of schemas/conversation.schema.json (a test holds the two against each other); the rest is common
sense about training data. Patterns have bounded repetitions, so that no hostile row makes them slow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from lesson.core.messages import tr
from lesson.core.strict_json import JsonProblem, child_path
from lesson.core.text import shorten
from lesson.data.rules import PLACEHOLDER

# Unseen characters: C0 (not tab, LF, CR), DEL, C1, zero-width space, bidirectional controls, BOM inside, U+FFFD, U+FFFF.
UNSEEN = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffd-\uffff"
CONTROL = re.compile(f"[{UNSEEN}]")
EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}\b")
# Mobile and fixed-line numbers of China, and international ones: all have ten digits or more.
PHONE = re.compile(
    r"(?<![0-9.])(?:(?:\+?86[- ]?)?1[3-9][0-9](?:[0-9]{8}|[- ][0-9]{4}[- ][0-9]{4})|0[0-9]{2,3}-[0-9]{7,8}"
    r"|\+[0-9](?:[- ]?[0-9]){9,13})(?![0-9.])"
)
CITIZEN = re.compile(
    r"(?<![0-9])[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx](?![0-9])"
)


def is_citizen_number(text: str) -> bool:
    """Whether 18 characters pass the check digit of GB 11643-1999, which one in eleven random numbers does."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[sum(int(d) * w for d, w in zip(text, weights, strict=False)) % 11] == text[17].upper()


def find_row_problems(row: object) -> Iterator[JsonProblem]:
    """What the schema and common sense have against one row of XTuner's format."""
    if not isinstance(row, dict):
        yield _wrong_type("$", row, tr("an object", "对象"))
        return
    yield from _unknown_keys(row, {"conversation"}, "$")
    if "conversation" not in row:
        yield JsonProblem("missing-key", "$.conversation", None, tr("no conversation", "缺少 conversation"))
        return
    turns = row["conversation"]
    if not isinstance(turns, list):
        yield _wrong_type("$.conversation", turns, tr("an array of turns", "由各轮组成的数组"))
        return
    if not turns:
        yield JsonProblem("empty-conversation", "$.conversation", None, tr("no turns", "没有任何一轮"))
    for index, turn in enumerate(turns):
        at = child_path("$.conversation", index)
        if not isinstance(turn, dict):
            yield _wrong_type(at, turn, tr("an object", "对象"))
            continue
        yield from _unknown_keys(turn, {"system", "input", "output"} if index == 0 else {"input", "output"}, at)
        for key in ("system", "input", "output"):
            place = child_path(at, key)
            if key not in turn:
                if key != "system":
                    yield JsonProblem("missing-key", place, None, tr(f"no {key}", f"缺少 {key}"))
            elif not isinstance(turn[key], str):
                yield _wrong_type(place, turn[key], tr("a string", "字符串"))
            else:
                yield from _check_text(turn[key], key, place)


def _check_text(text: str, key: str, at: str) -> Iterator[JsonProblem]:
    if key == "output" and not text.strip():
        yield JsonProblem("blank-output", at, None, tr("a blank answer", "空白的回答"))
    if len(text) < 200 and PLACEHOLDER.fullmatch(text):
        yield JsonProblem("placeholder", at, None, shorten(text))
    if control := CONTROL.search(text):
        yield JsonProblem("control-character", at, None, f"U+{ord(control[0]):04X}")
    for pattern, what in ((EMAIL, tr("an e-mail address", "邮箱")), (PHONE, tr("a phone number", "电话号码"))):
        if match := pattern.search(text):
            yield JsonProblem("personal-data", at, None, f"{what}: {shorten(match[0])}")
    for match in CITIZEN.finditer(text):
        if is_citizen_number(match[0]):
            yield JsonProblem("personal-data", at, None, tr("a citizen's number: ", "身份证号：") + match[0][:6] + "…")


def _wrong_type(at: str, value: object, wanted: str) -> JsonProblem:
    kinds = {
        dict: tr("an object", "对象"),
        list: tr("an array", "数组"),
        str: tr("a string", "字符串"),
        bool: tr("a truth value", "布尔值"),
        type(None): "null",
    }
    kind = kinds.get(type(value), tr("a number", "数字"))
    shown = shorten(json.dumps(value, ensure_ascii=False)) if kind != "null" else ""
    return JsonProblem(
        "wrong-type", at, None, tr(f"{kind} where {wanted} belongs: {shown}", f"此处应为{wanted}，却是{kind}：{shown}")
    )


def _unknown_keys(found: dict, known: set[str], at: str) -> Iterator[JsonProblem]:
    for key in found:
        if key not in known:
            what = tr(f"the key {shorten(key)!r}", f"键 {shorten(key)!r}")
            if key == "instruction":
                what += tr("; system or input is meant", "；应为 system 或 input")
            elif key == "system":
                what += tr("; only the first turn has one", "；只有第一轮可以有")
            yield JsonProblem("unknown-key", child_path(at, key), None, what)
