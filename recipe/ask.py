"""make ask: obtain training rows by asking a model at any OpenAI-compatible endpoint (BASE_URL, MODEL_NAME, QUESTIONS).

The official client, CONCURRENCY questions at a time, retries with back-off. Each answer goes at once into a journal
beside the output, so that the same command goes on after any stop and asks no answered question again; when it ends, the
rows are written in the order of the questions. The key comes from the environment (OPENAI_API_KEY) and is never written
or printed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lesson.authoring import ask
from lesson.authoring.asker import Patience
from lesson.core import cli
from lesson.core.settings import Values

SETTINGS = ("BASE_URL", "MODEL_NAME", "QUESTIONS", "CONCURRENCY", "PROFILE", "BUILD")


def stage(values: Values, patience: Patience | None = None) -> int:
    rows = ask.ask_for_rows(values, sys.stderr, patience)
    print(*ask.lines_of(rows), sep="\n")
    for line in ask.failure_lines_of(rows):
        print(line, file=sys.stderr)
    return 1 if rows.failed else 0


def main(arguments: Sequence[str], stdout=None, stderr=None, patience: Patience | None = None) -> int:
    """Exit status: 0 all answered, 1 some are not, 2 unusable settings or refused by the server, 130 stopped."""
    return cli.run("ask", __doc__, SETTINGS, lambda values: stage(values, patience), arguments, stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
