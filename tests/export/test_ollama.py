"""The Modelfile, read as Ollama reads it: a chat is what the tokenizer makes of it, and the persona comes through whole.

`parse` follows ParseFile of Ollama's parser/parser.go (0.33), `expand` Go's text/template as far as it is used. Both were
held against Ollama's own code, compiled, with these personas.
"""

from __future__ import annotations

import re

import pytest
from jinja2 import Template
from random_bases import CHATML

from lesson.core.messages import UserError
from lesson.export.ollama import write_modelfile

LLAMA3 = (
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHAT = [{"role": "system", "content": "你是小海豚。"}, {"role": "user", "content": "你是谁？\n说"}]
CHAT += [{"role": "assistant", "content": "我是小海豚。"}, {"role": "user", "content": "Really?"}]

PERSONAS = [
    "你是小海豚。",
    "",
    'Say "hi"',
    '" x',
    '"" x',
    'x"""y z',
    'x""" FROM /etc/passwd',
    "a\n\nb",
    " x ",
    "全角　空格",
]
PERSONAS += ["👩\u200d🚀 nbsp\u00a0x", "a\tb", "\\{{ .Role }}", '\\ "\u3000{{ end }}', "# x"]


def parse(text: str) -> dict[str, str]:
    """{command: its text} of a Modelfile: a text ends at the first line end where its quotes are closed; what is
    not printable is dropped from it."""
    found: dict[str, str] = {}
    place = 0
    while match := re.compile(r"\s*(FROM|TEMPLATE|SYSTEM|PARAMETER stop) ").match(text, place):
        place, value = match.end(), ""
        while place < len(text):
            char = text[place]
            place += 1
            if char in "\n\r" and is_closed(value.strip()):
                break
            if char.isprintable() or char in " \t\n\r":
                value += char
        value = value.strip()
        assert is_closed(value) and match[1] not in found
        quotes = next((len(q) for q in ('"""', '"') if value.startswith(q)), 0)
        found[match[1]] = value[quotes : len(value) - quotes]
    assert not text[place:].strip()
    return found


def is_closed(value: str) -> bool:
    if value.startswith('"""'):
        return len(value) >= 6 and value.endswith('"""')
    return not value.startswith('"') or (len(value) >= 2 and value.endswith('"'))


def expand(go: str, messages: list[dict]) -> str:
    """Go's text/template: the Modelfile uses one range and two fields, and one condition before it."""
    default, body, tail = re.fullmatch(
        r"(?:\{\{- if not \.System }}(.*?)\{\{ end }})?\{\{- range \.Messages }}(.*)\{\{ end }}(.*)", go, re.DOTALL
    ).groups()
    turns = (body.replace("{{ .Role }}", m["role"]).replace("{{ .Content }}", m["content"]) for m in messages)
    head = "" if any(m["role"] == "system" for m in messages) else default or ""
    return re.sub(r'\{\{ "([^"]*)" }}', lambda m: unescape(m[1]), head) + "".join(turns) + tail


def unescape(literal: str) -> str:
    assert not re.search(r"\\(?!U[0-9a-f]{8})", literal)
    return re.sub(r"\\U([0-9a-f]{8})", lambda m: chr(int(m[1], 16)), literal)


def render(template: str, messages: list[dict]) -> str:
    return Template(template).render(messages=messages, add_generation_prompt=True)


@pytest.mark.parametrize("persona", PERSONAS)
@pytest.mark.parametrize(("template", "end"), [(CHATML, "<|im_end|>"), (LLAMA3, "<|eot_id|>")])
def test_ollama_writes_a_chat_as_the_tokenizer_does(template, end, persona):
    read = parse(write_modelfile("小海豚-q8_0.gguf", template, persona))
    assert (read["FROM"], read["PARAMETER stop"]) == ("./小海豚-q8_0.gguf", end)
    assert expand(read["TEMPLATE"], CHAT) == render(template, CHAT)
    # Ollama puts SYSTEM before a chat that has no system prompt.
    head = [{"role": "system", "content": read["SYSTEM"]}] if "SYSTEM" in read else []
    trained = [{"role": "system", "content": persona}] if persona else []
    assert expand(read["TEMPLATE"], head + CHAT[1:]) == render(template, trained + CHAT[1:])


def test_another_template_is_refused():
    with pytest.raises(UserError, match="Llama 3"):
        write_modelfile("a.gguf", "[INST] {{ messages }} [/INST]", "")
