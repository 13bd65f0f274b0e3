"""One question to a model behind an OpenAI-compatible endpoint: the official client, and patience with its server."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from lesson.core.messages import tr
from lesson.core.text import shorten

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
                return self._ask_once(question)
            except (
                self._openai.AuthenticationError,
                self._openai.PermissionDeniedError,
                self._openai.NotFoundError,
            ) as error:
                raise Refused(self._hide_key(error)) from None
            except self._openai.APIStatusError as error:
                reason = self._hide_key(error)
                if error.status_code < 500 and error.status_code not in (408, 409, 429):
                    raise Unanswered(reason) from None  # it would be refused again
                delay = max(2 * delay, _wanted_delay(error))
            except (self._openai.OpenAIError, ValueError) as error:  # no connection, no answer in time, half an answer
                reason = self._hide_key(error)
                delay *= 2
            delay = min(delay, self._patience.longest_delay)
        raise Unanswered(
            tr(f"{self._patience.attempts} attempts: {reason}", f"尝试 {self._patience.attempts} 次：{reason}")
        )

    def _ask_once(self, question: str) -> str:
        """The answer to one request. Raises ValueError for an answer that another attempt may mend, else Unanswered."""
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

    def _hide_key(self, error: Exception) -> str:
        """The error's text, short, and without the key, which servers like to repeat."""
        text = str(error)
        return shorten(text.replace(self._key, "***") if self._key else text)


def _wanted_delay(error) -> float:
    """Seconds that the server asks to wait, by its Retry-After header; 0 when it does not say."""
    try:
        return float(error.response.headers.get("retry-after", 0))
    except ValueError:
        return 0
