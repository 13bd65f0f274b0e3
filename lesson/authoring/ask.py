"""make ask: obtain training rows by asking a model at any OpenAI-compatible endpoint (BASE_URL, MODEL_NAME, QUESTIONS).

The official client, CONCURRENCY questions at a time, retries with back-off. Each answer goes at once into a journal
beside the output, so that the same command goes on after any stop and asks no answered question again; when it ends, the
rows are written in the order of the questions. The key comes from the environment (OPENAI_API_KEY) and is never written
or printed.
"""

from __future__ import annotations

import json
import os
import queue
import random
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lesson.core import cli
from lesson.core.files import atomic
from lesson.core.layout import asked_rows
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.core.text import shorten
from lesson.data.questions import questions
from lesson.data.rows import lines, open_bytes

SETTINGS = ("BASE_URL", "MODEL_NAME", "QUESTIONS", "CONCURRENCY", "PROFILE", "BUILD")
KEY = "OPENAI_API_KEY"
LONGEST_ANSWER = 100_000  # characters


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try again; times in seconds."""

    timeout: float = 120  # for each read from the server
    attempts: int = 6
    first_delay: float = 1  # doubled after each attempt
    longest_delay: float = 60


class Refused(Exception):
    """The server will refuse every question in this way (wrong key, no such model): there is no point in going on."""


class Unanswered(Exception):
    """This question got no usable answer, after all attempts."""


class Asker:
    """Asks one question at a time, again after failures that may pass. Safe to use from several threads."""

    def __init__(self, base_url: str, model: str, key: str, patience: Patience) -> None:
        import openai  # half a second, so only here

        self._openai, self._model, self._key, self._patience = openai, model, key, patience
        # The client's own retries are switched off: they do not see truncated or blank answers.
        self._client = openai.OpenAI(base_url=base_url, api_key=key or "none", timeout=patience.timeout, max_retries=0)
        self.stop = threading.Event()

    def ask(self, question: str) -> str:
        """The model's answer. Raises Unanswered or Refused; neither message holds the key."""
        delay, reason = self._patience.first_delay, ""
        for attempt in range(self._patience.attempts):
            if attempt and self.stop.wait(delay * random.uniform(0.75, 1.25)):  # not all threads at once
                raise Unanswered(tr("stopped", "已停止"))
            try:
                return self._once(question)
            except (
                self._openai.AuthenticationError,
                self._openai.PermissionDeniedError,
                self._openai.NotFoundError,
            ) as error:
                raise Refused(self._clean(error)) from None
            except self._openai.APIStatusError as error:
                reason = self._clean(error)
                if error.status_code < 500 and error.status_code not in (408, 409, 429):
                    raise Unanswered(reason) from None  # it would be refused again
                delay = max(2 * delay, _retry_after(error))
            except (self._openai.OpenAIError, ValueError) as error:  # no connection, no answer in time, half an answer
                reason = self._clean(error)
                delay *= 2
            delay = min(delay, self._patience.longest_delay)
        raise Unanswered(
            tr(f"{self._patience.attempts} attempts: {reason}", f"尝试 {self._patience.attempts} 次：{reason}")
        )

    def _once(self, question: str) -> str:
        reply = self._client.chat.completions.create(
            model=self._model, messages=[{"role": "user", "content": question}]
        )
        # A server may send anything: the client does not check what it was sent.
        choices = getattr(reply, "choices", None)
        answer = (
            getattr(getattr(choices[0], "message", None), "content", None)
            if isinstance(choices, list) and choices
            else None
        )
        if not isinstance(answer, str) or not answer.strip():
            raise ValueError(tr("the server sent no answer", "服务没有返回回答"))
        if choices[0].finish_reason == "length":
            raise Unanswered(
                tr("the answer was cut off (finish_reason length)", "回答被截断（finish_reason 为 length）")
            )
        if len(answer) > LONGEST_ANSWER:
            raise Unanswered(tr(f"more than {LONGEST_ANSWER} characters", f"超过 {LONGEST_ANSWER} 个字符"))
        if any(0xD800 <= ord(c) <= 0xDFFF for c in answer):
            raise ValueError(tr("half of a surrogate pair in the answer", "回答含半个代理对"))
        return answer

    def _clean(self, error: Exception) -> str:
        """The error's text, short, and without the key, which servers like to repeat."""
        text = str(error)
        return shorten(text.replace(self._key, "***") if self._key else text)


def _retry_after(error) -> float:
    try:
        return float(error.response.headers.get("retry-after", 0))
    except ValueError:
        return 0


class Journal:
    """Answers of one model so far, one JSON object a line, appended and flushed to disk as they come."""

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.answers, self._model = path, {}, model
        if path.exists():
            with open_bytes(path) if path.stat().st_size else open(os.devnull, "rb") as stream:
                for _, raw in lines(stream):
                    try:
                        entry = json.loads(raw or b"")
                        texts = isinstance(entry["question"], str) and isinstance(entry["answer"], str)
                        if texts and entry["model"] == model:
                            self.answers[entry["question"]] = entry["answer"]
                    except (ValueError, LookupError, TypeError):
                        continue  # the line that a killed run left half written
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115 (closed by close)
        self._file.write("\n")  # ends a half-written line; blank lines are skipped

    def add(self, question: str, answer: str) -> None:
        self.answers[question] = answer
        self._file.write(
            json.dumps({"model": self._model, "question": question, "answer": answer}, ensure_ascii=False) + "\n"
        )
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def ask_all(
    asker: Asker, left: list[str], journal: Journal, concurrency: int, done: Callable[[], object]
) -> dict[str, str]:
    """Ask all questions that are `left`; gives back {question: why it got no answer}. Raises UserError when refused."""
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
                journal.add(question, answer)
            elif isinstance(answer, Unanswered):
                failed[question] = str(answer)
            elif isinstance(answer, Refused):
                remedy = tr(f"check MODEL_NAME, BASE_URL and {KEY}", f"请检查 MODEL_NAME、BASE_URL 和 {KEY}")
                raise UserError("BASE_URL", str(answer), remedy)
            else:
                raise answer
            done()
    finally:
        asker.stop.set()
    return failed


def stage(values: Values, patience: Patience | None = None) -> int:
    base_url, model = _base_url(values.base_url), values.model_name
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
    concurrency, asked = values.concurrency, questions(values.questions)
    target = asked_rows(values.build)
    asker = Asker(base_url, model, os.environ.get(KEY, ""), patience or Patience())
    journal = Journal(target.with_name("asked.journal.jsonl"), model)
    try:
        left = [question for question in asked if question not in journal.answers]
        from tqdm import tqdm

        with tqdm(total=len(asked), initial=len(asked) - len(left), unit="q", file=sys.stderr, disable=None) as bar:
            failed = ask_all(asker, left, journal, concurrency, bar.update)
    finally:
        journal.close()
    answered = [question for question in asked if question in journal.answers]
    with atomic(target) as file:
        for question in answered:
            row = {"conversation": [{"input": question, "output": journal.answers[question]}]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(
        tr(
            f"{len(answered)} of {len(asked)} questions answered, {len(left) - len(failed)} of them now: {target}",
            f"{len(asked)} 个问题已回答 {len(answered)} 个，其中本次 {len(left) - len(failed)} 个：{target}",
        )
    )
    for question, reason in list(failed.items())[:20]:
        print(
            tr(f"no answer: {shorten(question)!r}: {reason}", f"没有回答：{shorten(question)!r}：{reason}"),
            file=sys.stderr,
        )
    if failed:
        print(
            tr("run the same command again to ask these once more", "再次运行同一命令可重问这些问题"), file=sys.stderr
        )
        return 1
    return 0


def _base_url(text: str) -> str:
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


def main(arguments: Sequence[str], stdout=None, stderr=None, patience: Patience | None = None) -> int:
    """Exit status: 0 all answered, 1 some are not, 2 unusable settings or refused by the server, 130 stopped."""
    return cli.run("ask", __doc__, SETTINGS, lambda values: stage(values, patience), arguments, stdout, stderr)
