"""The Modelfile: its template writes a chat as the tokenizer's does, and nothing in a persona ends its text early."""

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


def expand(go: str, messages: list[dict]) -> str:
    """Go's text/template, of which the Modelfile uses one range and two fields."""
    head, body, tail = re.fullmatch(r"(.*?)\{\{- range \.Messages }}(.*)\{\{ end }}(.*)", go, re.DOTALL).groups()
    turns = (body.replace("{{ .Role }}", m["role"]).replace("{{ .Content }}", m["content"]) for m in messages)
    return head.rstrip() + "".join(turns) + tail


@pytest.mark.parametrize(("template", "end"), [(CHATML, "<|im_end|>"), (LLAMA3, "<|eot_id|>")])
def test_ollama_writes_a_chat_as_the_tokenizer_does(template, end):
    text = write_modelfile("小海豚-q8_0.gguf", template, "你是小海豚。")
    go = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL).group(1)
    assert expand(go, CHAT) == Template(template).render(messages=CHAT, add_generation_prompt=True)
    assert text.startswith("FROM ./小海豚-q8_0.gguf\n") and f'PARAMETER stop "{end}"' in text
    assert 'SYSTEM """你是小海豚。"""' in text


def test_no_persona_no_system_prompt_and_quotes_do_not_end_it():
    assert "SYSTEM" not in write_modelfile("a.gguf", CHATML, "")
    assert write_modelfile("a.gguf", CHATML, 'x""" FROM /etc/passwd').count('"""') == 4


def test_another_template_is_refused():
    with pytest.raises(UserError, match="Llama 3"):
        write_modelfile("a.gguf", "[INST] {{ messages }} [/INST]", "")
