"""FORMAT=ollama: a Modelfile beside the GGUF file: prompt template, system prompt and end tokens, written out.

The form is Ollama's (its docs/modelfile.mdx; what a text may hold, its parser/parser.go says); the templates are those of
its own library for ChatML and Llama 3.
"""

from __future__ import annotations

import re

from lesson.core.messages import UserError, tr

CHATML = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
LLAMA3 = (
    "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
# mark of the chat template → (Ollama's template, end of a turn)
FORMS = {"<|im_start|>": (CHATML, "<|im_end|>"), "<|start_header_id|>": (LLAMA3, "<|eot_id|>")}


def write_modelfile(gguf: str, chat_template: str, persona: str) -> str:
    """The Modelfile for the file named `gguf`; `chat_template` is the tokenizer's, `persona` the system prompt that was
    trained, empty without one. Raises UserError for a template that is neither ChatML nor Llama 3's."""
    form = next((form for mark, form in FORMS.items() if mark in chat_template), None)
    if form is None:
        raise UserError(
            "chat_template",
            tr("neither ChatML nor Llama 3", "既不是 ChatML，也不是 Llama 3"),
            tr("make export FORMAT=gguf exports the file alone", "可用 make export FORMAT=gguf 只导出文件"),
        )
    template, end = form
    said = bool(persona) and can_be_said(persona)
    if persona and not said:
        template = put_in_template(persona, template)
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{template}"""', f'PARAMETER stop "{end}"']
    if said:
        lines.append(f'SYSTEM """{persona}"""')
    return "\n".join(lines) + "\n"


def can_be_said(text: str) -> bool:
    """Whether SYSTEM gives `text` unchanged: Ollama ends it at three quotes and drops what Go's strconv.IsPrint is false
    for: spaces but the plain one, and characters that join or direct others, as in emoji."""
    return '"""' not in text and all(c.isprintable() or c in "\t\n\r" for c in text)


def put_in_template(persona: str, template: str) -> str:
    """`template`, which begins a chat without a system prompt with `persona`, written as a string of Go."""
    turn = re.search(r"\{\{- range \.Messages }}(.*?)\{\{ end }}", template, re.DOTALL).group(1)
    literal = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in persona)
    head = turn.replace("{{ .Role }}", "system").replace("{{ .Content }}", f'{{{{ "{literal}" }}}}')
    return f"{{{{- if not .System }}}}{head}{{{{ end }}}}{template}"
