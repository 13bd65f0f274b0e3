"""FORMAT=ollama: a Modelfile beside the GGUF file: prompt template, system prompt and end tokens, written out.

The form is Ollama's (its docs/modelfile.md); the templates are those of its own library for ChatML and Llama 3.
"""

from __future__ import annotations

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
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{template}"""', f'PARAMETER stop "{end}"']
    if persona:
        # Three quotes would end the text; Ollama has no way to write them.
        quoted = persona.replace('"""', "'''")
        lines.append(f'SYSTEM """{quoted}"""')
    return "\n".join(lines) + "\n"
