"""The answers that a model has given so far, kept on disk as they come, so that a stopped run loses none."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lesson.data.rows import open_bytes, read_lines


class Journal:
    """Answers of one model so far, one JSON object a line, appended and flushed to disk as they come."""

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.answers, self._model = path, {}, model
        if path.exists():
            with open_bytes(path) if path.stat().st_size else open(os.devnull, "rb") as stream:
                for _, raw in read_lines(stream):
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

    def write_answer(self, question: str, answer: str) -> None:
        """Keep an answer: it is on disk when this returns."""
        self.answers[question] = answer
        self._file.write(
            json.dumps({"model": self._model, "question": question, "answer": answer}, ensure_ascii=False) + "\n"
        )
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
