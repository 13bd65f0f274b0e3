"""make chat: talk to the assistant in the terminal; words appear as they are made.

Commands: /reset forgets the conversation, /system TEXT changes the system prompt (alone: none), /history shows all
turns, /save FILE writes them as a row, /help, /exit. Arrow keys edit the line and bring back earlier ones.
USE=merged|adapter|base chooses the model, PROMPT=persona|none|neutral|default the first system prompt: none is no system
prompt at all, default what the base's chat template puts in by itself.
"""

from __future__ import annotations

import contextlib
import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.runs.chosen import lines_of_choice
from lesson.serving.chat import chat_with_model

SETTINGS = ("PROFILE", "BUILD", "RUN", "USE", "PROMPT")


def stage(values: Values) -> int:
    cli.show_note(lines_of_choice(values))
    with contextlib.suppress(ImportError):  # some builds of Python lack it: then there is no editing
        import readline  # noqa: F401  input() edits lines and remembers them once it is loaded
    chat_with_model(values, input, sys.stdout, progress=sys.stderr)
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("chat", __doc__, SETTINGS, stage, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
