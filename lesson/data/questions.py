"""Questions that a user names in a file: one a line, or JSON Lines."""

from __future__ import annotations

from lesson.core.messages import UserError, tr
from lesson.core.strict_json import BROKEN, parse_strict_json
from lesson.data.rows import open_bytes, read_lines

MOST_QUESTIONS = 1_000_000


def read_question_file(path: str) -> list[str]:
    """The distinct questions of a text file (one a line), or of JSON Lines with `input`, `question` or a conversation."""
    remedy = tr("set QUESTIONS to a file with one question a line", "请把 QUESTIONS 设为每行一个问题的文件")
    found: dict[str, None] = {}
    with open_bytes(path, remedy) as stream:
        for number, raw in read_lines(stream):
            place = f"{path}:{number}"
            try:
                text = None if raw is None else raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise UserError(
                    place, tr("not UTF-8", "不是 UTF-8"), tr("save the file as UTF-8", "请另存为 UTF-8")
                ) from None
            if text is None:
                raise UserError(place, tr("a line of more than 1 MiB", "一行超过 1 MiB"), remedy)
            if text.startswith("{"):
                text = _parse_question(text, place, remedy)
            if text:
                found[text] = None
            if len(found) > MOST_QUESTIONS:
                raise UserError(
                    path, tr(f"more than {MOST_QUESTIONS} questions", f"问题超过 {MOST_QUESTIONS} 个"), remedy
                )
    if not found:
        raise UserError(path, tr("no questions", "没有问题"), remedy)
    return list(found)


def _parse_question(text: str, place: str, remedy: str) -> str:
    row, problems = parse_strict_json(text)
    if row is BROKEN or problems:
        raise UserError(place, problems[0].found, remedy)
    turns = row.get("conversation")
    if isinstance(turns, list) and turns and isinstance(turns[0], dict):
        row = turns[0]
    text = row.get("input", row.get("question"))
    if not isinstance(text, str):
        raise UserError(
            place, tr("neither input nor question is a string here", "input 或 question 不是字符串"), remedy
        )
    return text.strip()
