"""The models that the page and the endpoint talk to: the chosen one, and the base beside it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from lesson.core.settings import Values
from lesson.evaluation.asking import GREEDY, Chat, Reply, Sampling, build_chat
from lesson.evaluation.base_names import describe_base_of
from lesson.evaluation.loading import load_model
from lesson.evaluation.rendering import find_default_prompt
from lesson.runs.folder import Run


class Models:
    """What one process talks to: the chosen model, and the base beside it. Loaded once, one answer at a time.

    With USE=adapter there is one base in memory, and the adapter is switched off while the base answers. With merged
    the base is loaded when it is first asked. With base there is nothing else to talk to. `default_prompt` is the system
    prompt that belongs to the base; empty where it has none.
    """

    def __init__(self, values: Values, use: str, run: Run | None) -> None:
        self._values, self.use, self._run = values, use, run
        self.tokenizer, self._model = load_model(values, use, run)
        self.default_prompt = find_default_prompt(self.tokenizer, describe_base_of(values, run))
        self._base = self._model if use != "merged" else None
        self._lock = threading.Lock()

    def ask(self, chat: Chat, sampling: Sampling = GREEDY, base: bool = False) -> Reply:
        """The answer of the chosen model, or of the base. It begins when the answers before it are done."""
        if base and self._base is None:
            with self._lock:
                if self._base is None:
                    self._base = load_model(self._values, "base", self._run)[1]
        plain = base and self.use == "adapter"
        model = self._base if base else self._model

        @contextlib.contextmanager
        def turn() -> Iterator[None]:
            with self._lock, model.disable_adapter() if plain else contextlib.nullcontext():
                yield

        return Reply(self.tokenizer, model, chat, sampling, turn)

    def warm(self) -> None:
        """Answer one token: what libraries set up at first use is done before somebody waits for it."""
        with self.ask(build_chat("", "?"), Sampling(max_tokens=1)) as reply:
            list(reply)
