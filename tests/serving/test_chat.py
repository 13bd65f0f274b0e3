"""The chat in the terminal: its commands, what is remembered, and what may reach the terminal. No model is loaded."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys

import pytest

from lesson.core.messages import set_language
from lesson.serving.chat import LONGEST_INPUT, converse


class Echo(contextlib.nullcontext):
    """A reply that repeats the last question, in two pieces, after how many messages it was asked."""

    def __init__(self, chat):
        super().__init__(self)
        self.pieces = [f"{len(chat)} ", chat[-1]["content"] + " "]

    def __iter__(self):
        return iter(self.pieces)


class Interrupted(Echo):
    """A reply during which Ctrl-C is pressed, after its first piece."""

    def __iter__(self):
        yield self.pieces[0]
        raise KeyboardInterrupt


def say(*lines: str, system: str = "", answer=Echo) -> list[str]:
    """The lines on the screen after these were typed; the prompt is not shown."""
    typed = iter(lines)

    def ask(prompt: str) -> str:
        assert prompt == "> "
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    out = io.StringIO()
    converse(answer, system, ask, out)
    return out.getvalue().splitlines()[1:]


def test_turns_are_remembered_until_they_are_reset():
    assert say("a", "b", "/reset", "c", "/exit", "never") == [
        "1 a ",
        "3 b ",
        "the conversation is forgotten",
        "1 c ",
        "bye",
    ]


def test_a_system_prompt_is_shown_changed_and_taken_away():
    assert say("a", "/system  x y ", "b", "/history", "/system", "c", "/quit", system="s") == [
        "system: s",
        "2 a ",
        "system prompt: x y; the conversation is forgotten",
        "2 b ",
        "system: x y",
        "user: b",
        "assistant: 2 b",
        "system prompt: none; the conversation is forgotten",
        "1 c ",
        "bye",
    ]


def test_the_end_of_the_input_ends_the_chat_as_exit_does():
    assert say() == ["", "bye"]


@pytest.mark.parametrize(
    ("line", "answer"), [("", []), ("/nonsense", ["/reset  /system TEXT  /history  /save FILE  /exit"])]
)
def test_no_question_reaches_no_model(line, answer):
    assert say(line, "/exit") == [*answer, "bye"]


def test_a_question_that_is_too_long_is_refused():
    assert say("x" * LONGEST_INPUT, "/exit")[0].startswith("1 xxx")
    assert say("x" * (LONGEST_INPUT + 1), "/exit") == [f"at most {LONGEST_INPUT} characters", "bye"]


class Painter(Echo):
    """A reply that says what would paint the terminal red."""

    def __iter__(self):
        return iter(["\x1b[31m\x9bred"])


def test_what_could_drive_the_terminal_is_not_printed_but_shown_in_the_history():
    lines = say("a", "/history", "/exit", answer=Painter)
    assert lines[0] == "[31mred"
    assert lines[2] == "assistant: \\x1b[31m\\x9bred"


@pytest.mark.parametrize(
    ("typed", "sent"),
    [("\x1b[Awho\x1b[1;5D", "who"), ("wh\x00o\x1bOA", "who"), ("who\udcff", "who"), ("你\t好", "你\t好")],
)
def test_keys_and_broken_bytes_are_told_and_do_not_reach_the_model(typed, sent):
    lines = say(typed, "/history", "/exit")
    assert f"user: {sent}" in lines
    assert lines[0].startswith("control characters left out of:") is (typed != sent)


def test_a_conversation_is_saved_as_a_row_and_no_file_is_overwritten(tmp_path):
    file = tmp_path / "talk.jsonl"
    lines = say(f"/save {file}", "a", "b", "/save", f"/save {file}", f"/save {file}", "/exit", system="s")
    assert lines[1] == "nothing was said yet" and lines[4].startswith("/save FILE")
    assert lines[5] == f"written: {file}" and "already" in lines[6]
    turns = [{"system": "s", "input": "a", "output": "2 a"}, {"input": "b", "output": "4 b"}]
    assert json.loads(file.read_text(encoding="utf-8")) == {"conversation": turns}
    assert "could not be written" in say("a", f"/save {file}/x", "/exit")[1]


def test_arrow_keys_edit_the_line_in_a_terminal():
    """Through a terminal: an arrow and a letter typed before another, as input() with readline has it."""
    pytest.importorskip("readline")
    import pty

    script = "import readline; print('got', ascii(input('> ')))"
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-c", script])
    seen = b""
    os.write(terminal, b"bc\x1b[D\x1b[Da\n")
    with contextlib.suppress(OSError):  # the terminal is gone when the child has ended
        while piece := os.read(terminal, 1000):
            seen += piece
    os.waitpid(child, 0)
    assert b"got 'abc'" in seen


def test_ctrl_c_ends_the_answer_and_not_the_chat():
    assert say("a", "/history", "/exit", answer=Interrupted) == ["1 ", "user: a", "assistant: 1", "bye"]


def test_it_speaks_chinese():
    set_language("zh")
    assert say("/reset", "/exit") == ["已清空对话", "再见"]
