"""make serve: the tuned model behind OpenAI's chat protocol, so that any chat client can talk to it.

    client = openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")
    client.chat.completions.create(model="闻星", messages=[{"role": "user", "content": "你是谁？"}])

A request without a system message is asked under PROMPT (default: the system prompt of the base's own chat template); one
whose system message is empty, under none at all. One model, loaded once, one answer at a time; 64 requests may wait, the next one gets status 429.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.runs.chosen import lines_of_choice
from lesson.serving import endpoint

SETTINGS = ("PROFILE", "BUILD", "RUN", "USE", "PROMPT", "HOST", "PORT", "ALLOW_HOST", "ROOT_PATH")


def stage(values: Values) -> int:
    cli.show_note(lines_of_choice(values))
    server = endpoint.build_endpoint(values)
    print(*endpoint.make_lines(server), sep="\n", flush=True)
    endpoint.run_endpoint(server)
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("serve", __doc__, SETTINGS, stage, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
