"""What the model answered while it was trained: XTuner asks the config's questions now and then, and logs the answers."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.messages import UserError
from lesson.runs.folder import Run

LARGEST = 4 << 20  # bytes that are read from the end of a log; ten thousand steps log a tenth of it
LONGEST_ANSWER = 2000  # characters that are kept of an answer; XTuner asks for at most 600 tokens
MOST_SESSIONS = 4  # a resumed training has a log for each session; the last ones are looked through
# mmengine's own form of a line (mmengine/logging/logger.py), and what XTuner's EvaluateChatHook writes.
LINE = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d - mmengine - [A-Z]+ - ")
STEP = re.compile(
    r"Iter\(train\) \[ *(\d{1,15})/|resumed epoch: \d+, iter: (\d{1,15})$|Saving checkpoint at (\d{1,15}) iterations"
)
SAMPLE = "Sample output:"
# The special tokens of ChatML, Llama 3 and Llama 2, which XTuner decodes along with the text.
TOKEN = re.compile(r"<\|[^|<>]{1,40}\|>|</?s>|\[/?INST\]")


@dataclass(frozen=True)
class SampleAnswer:
    """An answer after `step` steps, 0 being before training. `question` is empty where the log does not show which it was."""

    step: int
    question: str
    answer: str


def read_sample_answers(run: Run, most: int) -> list[SampleAnswer]:
    """The last `most` sample answers of a run, those after most steps first; fewer where there are fewer, or nothing can
    be read. What a session answered after the step from which a later one went on is left out."""
    questions, found, limit = read_sample_questions(run), {}, math.inf
    with contextlib.suppress(OSError):
        # One folder for each session, named by its time, with a log of the same name.
        folders = sorted((p for p in run.work_dir.iterdir() if p.is_dir()), reverse=True)[:MOST_SESSIONS]
        for folder in folders:
            with contextlib.suppress(OSError):
                first, samples = parse_log(_read_end(folder / f"{folder.name}.log"), questions)
                newest = {(s.step, s.question or s.answer): s for s in samples if s.step <= limit}
                found = newest | found
                limit = limit if first is None else first
    return sorted(found.values(), key=lambda sample: -sample.step)[:most]


def read_sample_questions(run: Run) -> list[str]:
    """The questions that the run's config has XTuner ask; empty where the config cannot be read."""
    with contextlib.suppress(UserError, OSError, SyntaxError, ValueError, RecursionError):
        asked = summary_of(run.config).get("evaluation_inputs")
        asked = [asked] if isinstance(asked, str) else asked
        return [text for text in asked or () if isinstance(text, str) and text]
    return []


def _read_end(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(file.seek(0, 2) - LARGEST, 0))
        return file.read(LARGEST).decode("utf-8", "replace")


def parse_log(text: str, questions: Sequence[str]) -> tuple[int | None, list[SampleAnswer]]:
    """The step at which a session began, None where it does not show yet, and the sample answers in its log of mmengine's,
    in their order; one that is still being written is left out."""
    found: list[SampleAnswer] = []
    first, step, waiting, block = None, 0, 0, None  # `waiting`: how many answers came since the last line with a step
    for line in text.splitlines():
        start = LINE.match(line)
        if start is None:
            if block is not None:
                block.append(line)
            continue
        if block is not None:
            found.append(SampleAnswer(step, *split_sample("\n".join(block), questions)))
            waiting, block = waiting + 1, None
        message = line[start.end() :]
        if message.startswith(SAMPLE):
            block = [message.removeprefix(SAMPLE)]
        elif number := STEP.match(message):
            trained, resumed, saved = number.groups()
            step = int(trained or resumed or saved)
            if first is None:
                first = step if resumed else 0
            if saved:  # XTuner logs each tenth step only; the checkpoint's line says which one the answers came after
                last = len(found) - waiting
                found[last:] = [replace(sample, step=step) for sample in found[last:]]
            waiting = 0
    # The last answer of all is followed by nothing: it is whole when its empty last line is there.
    if block is not None and len(block) > 1 and block[-1] == "":
        found.append(SampleAnswer(step, *split_sample("\n".join(block), questions)))
    return first, found


def split_sample(text: str, questions: Sequence[str]) -> tuple[str, str]:
    """(question, answer) of a sample, which is the whole conversation with its special tokens; the question is empty, and
    the answer all of the text, where none of `questions` stands in it."""
    question = max((q for q in questions if q in text), key=len, default="")
    rest = text.split(question, 1)[1] if question else text
    rest = "\n".join(filter(None, map(str.strip, TOKEN.sub("\n", rest).split("\n"))))
    if question:
        rest = rest.removeprefix("assistant").lstrip()
    return question, rest[:LONGEST_ANSWER]
