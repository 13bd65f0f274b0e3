"""The chat in the terminal: its commands, what is remembered, and what may reach the terminal. No model is loaded."""

from __future__ import annotations

import contextlib
import io

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


@pytest.mark.parametrize(("line", "answer"), [("", []), ("/nonsense", ["/reset  /system TEXT  /history  /exit"])])
def test_no_question_reaches_no_model(line, answer):
    assert say(line, "/exit") == [*answer, "bye"]


def test_a_question_that_is_too_long_is_refused():
    assert say("x" * LONGEST_INPUT, "/exit")[0].startswith("1 xxx")
    assert say("x" * (LONGEST_INPUT + 1), "/exit") == [f"at most {LONGEST_INPUT} characters", "bye"]


def test_what_could_drive_the_terminal_is_not_printed_but_is_remembered():
    lines = say("\x1b[31m\x9bred", "/history", "/exit")
    assert lines[0] == "1 [31mred "
    assert lines[2] == "assistant: 1 \x1b[31m\x9bred"


def test_ctrl_c_ends_the_answer_and_not_the_chat():
    assert say("a", "/history", "/exit", answer=Interrupted) == ["1 ", "user: a", "assistant: 1", "bye"]


def test_it_speaks_chinese():
    set_language("zh")
    assert say("/reset", "/exit") == ["已清空对话", "再见"]
