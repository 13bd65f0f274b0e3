"""RERUN=1 on the side of the checker, without torch: starts the process that asks, gives it time, and takes its answers.

The process is lesson/submission/rerun.py, from the full venv. It gets a line of JSON for each submission and answers
with a line; when it dies or takes too long, another is started for the next submission.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lesson.core.layout import base_model
from lesson.core.messages import UserError, language, tr
from lesson.core.settings import ROOT, Values
from lesson.core.text import fold_text, shorten
from lesson.data.questions import read_question_file
from lesson.evaluation.held_out import read_questions
from lesson.submission.registry import FAILED, PASSED, SKIPPED, UNJUDGED, Failed, Unjudged
from lesson.submission.scoring import award_points, bound_texts

# Without these nothing is loaded: the file is sound, and rank, alpha, modules and sizes are what the checks expect.
BEFORE = ("opens", "adapter_format", "adapter_config", "adapter_shapes", "adapter_finite")
STARTING = {"tiny": 120, "small": 300, "7b": 900}  # seconds until the base is loaded; 15 GB may come from a slow disk
LEAST_ASKED = 20  # questions of the staff's that must be there, and that the rows must leave unasked
LONGEST = {"tiny": 120, "small": 1200, "7b": 1200}  # seconds for one submission


def add_reruns(
    verdicts: Sequence[dict], paths: Sequence[str], rubric: dict, values: Values, names: dict[str, str]
) -> None:
    """Put the results of a rerun into each verdict and score it anew. Whatever goes wrong here is not the learner's."""
    questions = staff_questions(values)  # a wrong QUESTIONS is told before anything is loaded
    workers: dict[str, RerunWorker] = {}
    try:
        for verdict, path in zip(verdicts, paths, strict=True):
            missing = [
                result["title"]
                for result in verdict["checks"]
                if result["check"] in BEFORE and result["status"] != PASSED
            ]
            verdict["rerun"] = {"base": "", "questions": len(questions), "seconds": 0.0, "answers": []}
            if missing:
                _set_results(verdict, SKIPPED, tr(f"needs: {missing[0]}", f"取决于：{missing[0]}"), "")
            else:
                profile = verdict["profile"] or "7b"
                try:
                    if profile not in workers:
                        workers[profile] = RerunWorker(profile, values, questions)
                    answer = workers[profile].ask(path, names)
                    rerun = {result["check"]: result for result in answer["results"]}
                    verdict["checks"] = [rerun.get(result["check"], result) for result in verdict["checks"]]
                    verdict["rerun"] = answer["rerun"]
                except Failed as error:
                    _set_results(verdict, FAILED, str(error), error.remedy)
                except Unjudged as error:
                    _set_results(verdict, UNJUDGED, str(error), error.remedy)
            bound_texts(verdict["checks"])
            award_points(verdict, rubric)
    finally:
        for worker in workers.values():
            worker.stop()


def _set_results(verdict: dict, status: str, found: str, remedy: str) -> None:
    for result in verdict["checks"]:
        if result["area"] == "rerun":
            result |= {"status": status, "found": found, "remedy": remedy}


def staff_questions(values: Values) -> list[str]:
    """The staff's questions: QUESTIONS, else those of data/eval/identity.json. Raises UserError, for fewer than
    LEAST_ASKED too: a verdict over nearly nothing is none."""
    if values.questions:
        found = read_question_file(values.questions)
        if (count := len({fold_text(question) for question in found})) < LEAST_ASKED:
            what = tr(f"{count} questions", f"只有 {count} 个问题")
            raise UserError(values.questions, what, tr(f"add some, to {LEAST_ASKED}", f"请补充到 {LEAST_ASKED} 个"))
        return found
    return [question["input"] for question in read_questions("identity")]


def find_full_python() -> str:
    """The Python that has torch: this one, else the venv of make setup. Raises Unjudged."""
    if importlib.util.find_spec("torch"):
        return sys.executable
    python = Path(os.environ.get("VENV", ".venv")) / "bin" / "python"
    if python.exists():
        return str(python)
    raise Unjudged(tr("torch is not installed here", "这里没有安装 torch"), tr("run make setup", "请运行 make setup"))


class RerunWorker:
    """The process that has the base of one profile loaded, and asks one submission after the other."""

    def __init__(self, profile: str, values: Values, questions: list[str]) -> None:
        build = values.text("BUILD") or f"build/{profile}"
        self.base = Path(values.model or base_model(Path(build)))
        self._profile, self._build, self._questions = profile, build, questions
        self._process: subprocess.Popen | None = None
        self._refused: Unjudged | None = None  # what is wrong with the base is wrong for all

    def ask(self, path: str, names: dict[str, str]) -> dict:
        """{"results": of the checks of a rerun, "rerun": what reports show}. Raises Failed, Unjudged."""
        if self._refused:
            raise self._refused
        if self._process is None:
            self._start()
        return self._exchange({"path": os.fspath(path), "names": names}, LONGEST[self._profile])

    def _start(self) -> None:
        remedy = tr("run make model, or set MODEL to the base's folder", "请运行 make model，或把 MODEL 设为基座目录")
        try:
            if not (self.base / "config.json").is_file():
                what = tr(f"{self.base}: no base model", f"{self.base}：没有基座模型")
                raise Unjudged(what, tr(f"{remedy} (PROFILE={self._profile})", f"{remedy}（PROFILE={self._profile}）"))
            python = find_full_python()
        except Unjudged as error:
            self._refused = error
            raise
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"}
        command = [python, "-m", "lesson.submission.rerun"]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        start = {"profile": self._profile, "build": self._build, "base": str(self.base), "language": language()}
        try:
            self._exchange(start | {"questions": self._questions}, STARTING[self._profile])
        except Unjudged as error:
            self._refused = error
            raise

    def _exchange(self, request: dict, seconds: float) -> dict:
        """One line there, one line back, as an object. Raises Unjudged when it does not come in time, or says that it cannot."""
        until = time.monotonic() + seconds
        line = b""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            pipe = self._process.stdout
            while not line.endswith(b"\n"):
                ready, _, _ = select.select([pipe], [], [], max(0, until - time.monotonic()))
                if not ready:
                    self.stop()
                    raise Unjudged(tr("asking took too long", "提问超时"), tr("try a faster machine", "请换更快的机器"))
                piece = os.read(pipe.fileno(), 1 << 16)
                if not piece:
                    break
                line += piece
        except BrokenPipeError:
            pass
        if not line.endswith(b"\n"):
            why = self._end_and_explain()
            raise Unjudged(why, tr("make doctor tells what is missing", "make doctor 会指出缺少什么"))
        answer = json.loads(line)
        if "unjudged" in answer:
            raise Unjudged(*answer["unjudged"])
        if "failed" in answer:
            raise Failed(*answer["failed"])
        return answer

    def _end_and_explain(self) -> str:
        self.stop()
        self._errors.seek(0)
        lines = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()
        return tr("the process that asks ended: ", "提问进程已结束：") + shorten(lines[-1] if lines else "?")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
            self._process = None
