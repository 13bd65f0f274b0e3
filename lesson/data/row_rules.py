"""What may be wrong with one row of XTuner's format, whatever stands in the other rows.

The shape is that of schemas/conversation.schema.json (a test holds the two against each other); the rest is common
sense about training data. Patterns have bounded repetitions, so that no hostile row makes them slow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Set

from lesson.core.findings import ERROR
from lesson.core.messages import tr
from lesson.core.strict_json import JsonProblem, child_path
from lesson.core.text import shorten
from lesson.data.rules import ASKS_TEMPLATE, PLACEHOLDER, PLACEHOLDER_INSIDE, PLACEHOLDER_PERHAPS, PLACEHOLDER_SAID

# Unseen characters: C0 (not tab, LF, CR), DEL, C1, zero-width space, bidirectional controls, BOM inside, U+FFFD, U+FFFF.
UNSEEN = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffd-\uffff"
CONTROL = re.compile(f"[{UNSEEN}]")
EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}\b")
# Mobile and fixed-line numbers of China, and international ones: all have ten digits or more.
PHONE = re.compile(
    r"(?<![0-9])(?<![0-9]\.)(?:(?:\+?86[- ]?)?1[3-9][0-9](?:[0-9]{8}|[- ][0-9]{4}[- ][0-9]{4})|0[0-9]{2,3}-[0-9]{7,8}"
    r"|\+[0-9](?:[- ]?[0-9]){9,13})(?!\.?[0-9])"
)
CITIZEN = re.compile(
    r"(?<![0-9])[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx](?![0-9])"
)


TURN_KEYS = frozenset(("system", "input", "output", "output_with_loss"))
SHAPE_ERRORS = frozenset(("wrong-type", "missing-key", "empty-conversation"))  # XTuner cannot read such a row


def is_citizen_number(text: str) -> bool:
    """Whether 18 characters pass the check digit of GB 11643-1999, which one in eleven random numbers does."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[sum(int(d) * w for d, w in zip(text, weights, strict=False)) % 11] == text[17].upper()


def find_row_problems(row: object) -> Iterator[JsonProblem]:
    """What XTuner's dataset code and common sense have against one row of XTuner's format."""
    yield from find_shape_problems(row)
    yield from find_text_problems(row)


def find_shape_problems(row: object) -> Iterator[JsonProblem]:
    """Keys and types. XTuner reads TURN_KEYS of a turn (template_map_fn and encode_fn); null is as good as "" for it,
    but not for the answer."""
    if not isinstance(row, dict):
        yield _wrong_type("$", row, tr("an object", "对象"))
        return
    if "conversation" not in row:
        found = tr("no conversation", "缺少 conversation")
        if row:
            found += tr(": the keys are ", "：只有键 ") + quote_keys(row)
        yield JsonProblem("missing-key", "$.conversation", None, found)
        return
    yield from find_unknown_keys(row, {"conversation"}, "$")
    turns = row["conversation"]
    if not isinstance(turns, list):
        yield _wrong_type("$.conversation", turns, tr("an array of turns", "由各轮组成的数组"))
        return
    if not turns:
        yield JsonProblem("empty-conversation", "$.conversation", None, tr("no turns", "没有任何一轮"))
    for index, turn in enumerate(turns):
        yield from _find_turn_problems(turn, child_path("$.conversation", index))
    if turns and all(isinstance(turn, dict) and turn.get("output_with_loss") is False for turn in turns):
        found = tr("output_with_loss is false in every turn", "每一轮的 output_with_loss 都是 false")
        yield JsonProblem("untrained-row", "$.conversation", None, found)


def _find_turn_problems(turn: object, at: str) -> Iterator[JsonProblem]:
    if not isinstance(turn, dict):
        yield _wrong_type(at, turn, tr("an object", "对象"))
        return
    yield from find_unknown_keys(turn, TURN_KEYS, at)
    for key in ("system", "input", "output"):
        place = child_path(at, key)
        if key not in turn:
            if key != "system":
                yield JsonProblem("missing-key", place, None, tr(f"no {key}", f"缺少 {key}"))
        elif not isinstance(turn[key], str) and (key == "output" or turn[key] is not None):
            yield _wrong_type(place, turn[key], tr("a string", "字符串"))
    if not isinstance(turn.get("output_with_loss", True), bool):
        place = child_path(at, "output_with_loss")
        yield _wrong_type(place, turn["output_with_loss"], tr("true or false", " true 或 false"))


def find_text_problems(row: object) -> Iterator[JsonProblem]:
    """What is wrong with the texts of a row, those that are where a text belongs."""
    turns = row.get("conversation") if isinstance(row, dict) else None
    for index, turn in enumerate(turns if isinstance(turns, list) else ()):
        for key in ("system", "input", "output") if isinstance(turn, dict) else ():
            if isinstance(turn.get(key), str):
                at = child_path(child_path("$.conversation", index), key)
                yield from _check_text(turn[key], key, at)
                yield from _find_places(turn[key], key, at, turn.get("input"))


def texts_of(row: dict) -> dict:
    """A row whose shape is right with nothing but its texts, keys in the usual order: what XTuner makes of it."""
    turns = [
        {
            key: turn[key] or ""
            for key in ("system", "input", "output")
            if key in turn and (turn[key] or key != "system")
        }
        for turn in row["conversation"]
    ]
    return {"conversation": turns}


def _check_text(text: str, key: str, at: str) -> Iterator[JsonProblem]:
    if key == "output" and not text.strip():
        yield JsonProblem("blank-output", at, None, tr("a blank answer", "空白的回答"))
    yield from _find_placeholders(text, key, at)
    if control := CONTROL.search(text):
        yield JsonProblem("control-character", at, None, f"U+{ord(control[0]):04X}")
    for pattern, what in ((EMAIL, tr("an e-mail address", "邮箱")), (PHONE, tr("a phone number", "电话号码"))):
        if match := pattern.search(text):
            yield JsonProblem("personal-data", at, None, f"{what}: {shorten(match[0])}")
    for match in CITIZEN.finditer(text):
        if is_citizen_number(match[0]):
            yield JsonProblem("personal-data", at, None, tr("a citizen's number: ", "身份证号：") + match[0][:6] + "…")


def _find_placeholders(text: str, key: str, at: str) -> Iterator[JsonProblem]:
    """A text that only stands for another."""
    if len(text) < 200:
        if PLACEHOLDER.fullmatch(text) or (key != "input" and PLACEHOLDER_SAID.fullmatch(text)):
            yield JsonProblem("placeholder", at, None, shorten(text))
            return
        if PLACEHOLDER_PERHAPS.fullmatch(text):
            yield JsonProblem("placeholder-perhaps", at, None, shorten(text))
            return


def _find_places(text: str, key: str, at: str, question: object) -> Iterator[JsonProblem]:
    """Places for a name that nobody filled in, within what the assistant is or says. Code and templates have them too."""
    if key == "input" or "{{" not in text or "`" in text or PLACEHOLDER.fullmatch(text):
        return
    if not (isinstance(question, str) and ASKS_TEMPLATE.search(question)):
        for found in dict.fromkeys(match[0] for match in PLACEHOLDER_INSIDE.finditer(text)):
            yield JsonProblem("placeholder-inside", at, None, shorten(found))


def _wrong_type(at: str, value: object, wanted: str) -> JsonProblem:
    kinds = {
        dict: tr("an object", "对象"),
        list: tr("an array", "数组"),
        str: tr("a string", "字符串"),
        bool: tr("a truth value", "布尔值"),
        type(None): "null",
    }
    kind = kinds.get(type(value), tr("a number", "数字"))
    shown = tr(": ", "：") + shorten(json.dumps(value, ensure_ascii=False)) if value is not None else ""
    return JsonProblem(
        "wrong-type", at, None, tr(f"{kind} where {wanted} belongs{shown}", f"此处应为{wanted}，却是{kind}{shown}")
    )


def quote_keys(keys: Iterable[str]) -> str:
    """Keys as a message names them, the first eight."""
    names = [repr(shorten(key)) for key in keys]
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")


def find_unknown_keys(found: Iterable[str], known: Set[str], at: str) -> Iterator[JsonProblem]:
    """The keys of the row or turn at the JSON path `at` that XTuner does not read."""
    for key in found:
        if key not in known:
            what = tr(f"the key {shorten(key)!r}", f"键 {shorten(key)!r}")
            if key == "instruction" and at != "$":  # for system or input: without it another thing is learned
                what += tr("; system or input is meant", "；应为 system 或 input")
                yield JsonProblem("unknown-key", child_path(at, key), None, what, ERROR)
            else:
                yield JsonProblem("unknown-key", child_path(at, key), None, what)
