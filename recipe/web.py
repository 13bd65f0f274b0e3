"""make web: the assistant on a page of one's own: chat, base and tuned side by side, the evaluation, a training that runs.

A Gradio page on HOST:PORT (127.0.0.1:7860). USE=adapter (the default here: one base in memory gives both answers),
merged or base. The model is loaded once and answers one visitor at a time; the others wait in a queue of bounded
length. Stopping an answer, or leaving the page, frees the model. While no training is finished, the page shows the one that
runs or stopped. Its language is that of the visitor's browser, unless --lang, LANG=zh or LANG=en was given. What people and
models say is shown as text. The page asks no host but this one, and nothing is reported to anybody. Behind a proxy,
ALLOW_HOST= is the name that the browser shows, and ROOT_PATH= the path.
"""

from __future__ import annotations

import os
import sys
import threading

from lesson.core import cli
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.runs.chosen import lines_of_choice
from lesson.serving import page_server

SETTINGS = ("PROFILE", "BUILD", "RUN", "USE", "HOST", "PORT", "ALLOW_HOST", "ROOT_PATH")


def stage(values: Values) -> int:
    cli.show_note(lines_of_choice(values))
    server = page_server.start_page(values, report=lambda line: print(line, file=sys.stderr, flush=True))
    print(*page_server.make_lines(server), sep="\n", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.close()
        print(tr("bye", "再见"), flush=True)
        os._exit(0)  # an answer's thread may be inside torch, which ends a normal exit with an abort
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("web", __doc__, SETTINGS, stage, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
