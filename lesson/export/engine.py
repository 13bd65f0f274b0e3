"""Another program that answers with the exported model: a process of its own, in the venv of make setup-export."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT

SHOWN = 8  # lines of the engine's own words, where it fails
CONTEXT = 2048  # tokens of a question and its answer, at most


@dataclass(frozen=True)
class EngineAnswer:
    """An answer; `ended` says whether the model stopped by itself; `own` are the tokens that the engine makes of the
    chat by the exported template, None where it was not asked to."""

    text: str
    ended: bool
    own: list[int] | None


def find_python() -> Path:
    """The Python of the venv that make setup-export makes. Raises UserError without one."""
    python = Path(os.environ.get("EXPORT_VENV") or ".venv-export") / "bin" / "python"
    if not python.exists():
        raise UserError(
            python, tr("no such file", "没有这个文件"), tr("run make setup-export", "请先运行 make setup-export")
        )
    return python.absolute()


class Engine:
    """An exported model, loaded: use as a context manager. `name` is the program with its version.

    `engine` is llama.cpp or transformers, `model` a .gguf file or a folder. Raises UserError when it cannot be loaded.
    """

    def __init__(self, engine: str, model: Path, threads: int | None = None) -> None:
        self._model = model
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed by __exit__
        # Threads that wait for each other must not spin: with other work on the machine that costs ten times the time.
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [str(find_python()), "-m", "lesson.export.engine_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        try:
            job = {"engine": engine, "model": str(model.absolute()), "context": CONTEXT}
            self.name = self._send(job | {"threads": threads or os.cpu_count() or 1})["engine"]
        except BaseException:
            self.close()
            raise

    def answer(self, chats: Sequence[tuple[list[dict] | None, list[int]]], most: int) -> list[EngineAnswer]:
        """Greedy answers of at most `most` tokens. A chat is (messages for the template or None, prompt as tokens)."""
        sent = {"chats": [{"messages": m, "tokens": t} for m, t in chats], "max_tokens": most}
        return [EngineAnswer(**answer) for answer in self._send(sent)["answers"]]

    def _send(self, document: dict) -> dict:
        try:
            self._process.stdin.write(json.dumps(document, ensure_ascii=False) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        reply = json.loads(line) if line else {"error": tr("it ended without an answer", "它没有回答就结束了")}
        if "error" in reply:
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", "replace").splitlines()[-SHOWN:]
            raise UserError(
                self._model,
                reply["error"],
                tr(
                    "make export FORMAT=hf exports a folder for other programs",
                    "可用 make export FORMAT=hf 导出目录给其他程序",
                ),
                details="\n".join(said),
            )
        return reply

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
