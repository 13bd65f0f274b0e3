"""make export FORMAT=hf|gguf|ollama|adapter: the trained assistant in the form that other programs take.

hf: a folder that today's transformers, vLLM and SGLang open without remote code. gguf: one file for llama.cpp, LM Studio
and phones (QUANT=q8_0, f16, q4_k_m, q5_k_m, q6_k). ollama: the same with a Modelfile. adapter: LoRA weights with their
card, for a hub. Each folder has SHA256SUMS, and is signed where SIGNING_KEY= names a private key.
`make eval USE=export` then asks the exported file itself who it is.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.export.make import choose_quant, export_run, lines_of
from lesson.runs.chosen import lines_of_choice

SETTINGS = ("PROFILE", "BUILD", "RUN", "FORMAT", "QUANT", "LLAMA_CPP", "SIGNING_KEY", "FORCE")


def stage(values: Values) -> int:
    cli.show_note(lines_of_choice(values))
    form = values.of_export("FORMAT", "hf")
    made = export_run(values, form, report=cli.show_line, progress=sys.stderr)
    print(*lines_of(made, form, choose_quant(values)), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("export", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
