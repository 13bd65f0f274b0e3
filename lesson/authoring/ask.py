"""Training rows by asking a model: all questions of a file, several at a time, going on where a stopped run was."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from tqdm import tqdm

from lesson.authoring.asker import Asker, Patience, Refused, Unanswered
from lesson.authoring.journal import Journal
from lesson.core.files import atomic
from lesson.core.layout import asked_journal, asked_rows
from lesson.core.messages import UserError, tr
from lesson.core.records import make_alone
from lesson.core.settings import Values
from lesson.core.text import shorten
from lesson.data.questions import read_question_file

KEY = "OPENAI_API_KEY"
MOST_REASONS = 20  # questions without an answer that are named


@dataclass(frozen=True)
class AskedRows:
    """The file that was written, and how many of the `asked` questions are answered, `answered_now` by this run."""

    path: Path
    asked: int
    answered: int
    answered_now: int
    failed: dict[str, str]  # {question: why it got no answer}


def ask_for_rows(values: Values, progress: TextIO, patience: Patience | None = None) -> AskedRows:
    """Ask all questions of QUESTIONS and write a row for each answer, in the order of the questions.

    Each answer goes at once into a journal beside the output; what stands there is not asked again. A bar on `progress`
    shows how far it is, if that is a terminal. Raises UserError for settings that cannot be used, and when the server
    refuses every question.
    """
    base_url, model = _check_base_url(values.base_url), values.model_name
    if not model:
        raise UserError(
            "MODEL_NAME", tr("not set", "没有设置"), tr("set MODEL_NAME to the model to ask", "请设置要请求的模型名")
        )
    if not values.questions:
        raise UserError(
            "QUESTIONS",
            tr("not set", "没有设置"),
            tr("set QUESTIONS to a file with one question a line", "请把 QUESTIONS 设为每行一个问题的文件"),
        )
    concurrency, asked = values.concurrency, read_question_file(values.questions)
    target = asked_rows(values.build)
    asker = Asker(base_url, model, os.environ.get(KEY, ""), patience or Patience())
    with make_alone(target):
        return _ask_for_rows(values.build, asker, model, asked, concurrency, progress)


def _ask_for_rows(
    build: Path, asker: Asker, model: str, asked: list[str], concurrency: int, progress: TextIO
) -> AskedRows:
    target, journal = asked_rows(build), Journal(asked_journal(build), model)
    try:
        left = [question for question in asked if question not in journal.answers]
        with tqdm(total=len(asked), initial=len(asked) - len(left), unit="q", file=progress, disable=None) as bar:
            failed = ask_questions(asker, left, journal, concurrency, bar.update)
    finally:
        journal.close()
    answered = [question for question in asked if question in journal.answers]
    with atomic(target) as file:
        for question in answered:
            row = {"conversation": [{"input": question, "output": journal.answers[question]}]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return AskedRows(target, len(asked), len(answered), len(left) - len(failed), failed)


def lines_of(rows: AskedRows) -> list[str]:
    """How many questions are answered, and where the rows are."""
    return [
        tr(
            f"{rows.answered} of {rows.asked} questions answered, {rows.answered_now} of them now: {rows.path}",
            f"{rows.asked} 个问题已回答 {rows.answered} 个，其中本次 {rows.answered_now} 个：{rows.path}",
        )
    ]


def failure_lines_of(rows: AskedRows) -> list[str]:
    """Why questions got no answer, and what to do; no line when all got one."""
    found = [
        tr(f"no answer: {shorten(question)!r}: {reason}", f"没有回答：{shorten(question)!r}：{reason}")
        for question, reason in list(rows.failed.items())[:MOST_REASONS]
    ]
    if rows.failed:
        found.append(tr("run the same command again to ask these once more", "再次运行同一命令可重问这些问题"))
    return found


def ask_questions(
    asker: Asker, left: list[str], journal: Journal, concurrency: int, count: Callable[[], object]
) -> dict[str, str]:
    """Ask all questions that are `left`, `concurrency` at a time; `count` is called after each.

    Gives back {question: why it got no answer}. Raises UserError when the server refuses all.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[str, str | Exception]] = queue.SimpleQueue()
    for question in left:
        waiting.put(question)

    def work() -> None:
        while not asker.stop.is_set():
            try:
                question = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results.put((question, asker.ask(question)))
            except Exception as error:  # raised again below, by the thread that the user sees
                results.put((question, error))

    # Threads of a pool would be waited for at exit: Ctrl-C must not wait for a server that stalls.
    for _ in range(min(concurrency, len(left))):
        threading.Thread(target=work, daemon=True).start()
    failed: dict[str, str] = {}
    try:
        for _ in left:
            question, answer = results.get()
            if isinstance(answer, str):
                journal.write_answer(question, answer)
            elif isinstance(answer, Unanswered):
                failed[question] = str(answer)
            elif isinstance(answer, Refused):
                remedy = tr(f"check MODEL_NAME, BASE_URL and {KEY}", f"请检查 MODEL_NAME、BASE_URL 和 {KEY}")
                raise UserError("BASE_URL", str(answer), remedy)
            else:
                raise answer
            count()
    finally:
        asker.stop.set()
    return failed


def _check_base_url(text: str) -> str:
    remedy = tr(
        "set BASE_URL to something like http://127.0.0.1:8000/v1",
        "请把 BASE_URL 设为 http://127.0.0.1:8000/v1 这样的地址",
    )
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise UserError(f"BASE_URL={shorten(text)}", tr("not an http address", "不是 http 地址"), remedy)
    if parts.username or parts.password:  # would end up in logs and shell history
        raise UserError(
            "BASE_URL",
            tr("holds a user name or password", "含用户名或密码"),
            tr(f"put the key into {KEY}", f"请把密钥放进 {KEY}"),
        )
    return text
