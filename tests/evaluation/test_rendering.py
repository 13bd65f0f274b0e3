"""How templates write a chat without a system prompt, and how it is asked without the block that they put in."""

from __future__ import annotations

import pytest

from lesson.evaluation.asking import build_chat, encode_chat
from lesson.evaluation.rendering import SystemBlock, find_default_prompt, find_system_block

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
QWEN = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Qwen. Help.<|im_end|>\n{% endif %}" + CHATML
INTERNLM2 = "<s>" + CHATML
LLAMA3 = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n"
)
DATED = LLAMA3.replace(
    "<|begin_of_text|>",
    "<|begin_of_text|>{% if messages[0].role != 'system' %}<|start_header_id|>system<|end_header_id|>\n\n"
    "Today: 1 May\n\n<|eot_id|>{% endif %}",
)
PLAIN = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[assistant]"


class Tokenizer:
    """Renders a template; its ids are the characters."""

    def __init__(self, template: str) -> None:
        self.template = template

    def apply_chat_template(self, chat, add_generation_prompt, tokenize):
        jinja2 = pytest.importorskip("jinja2")
        text = jinja2.Environment(trim_blocks=True).from_string(self.template).render(messages=chat)
        return self(text)["input_ids"] if tokenize else text

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [ord(c) for c in text]}


def asked(template: str, prompt: str) -> str:
    tokenizer = Tokenizer(template)
    system = {"persona": "be kind", "none": "", "default": find_system_block(tokenizer).default}[prompt]
    return "".join(map(chr, encode_chat(tokenizer, build_chat(system, "Hi"))))


@pytest.mark.parametrize(
    ("template", "default"), [(QWEN, "You are Qwen. Help."), (CHATML, ""), (INTERNLM2, ""), (LLAMA3, ""), (PLAIN, "")]
)
def test_the_default_is_what_the_template_puts_in(template, default):
    assert find_system_block(Tokenizer(template)).default == default


@pytest.mark.parametrize("template", [CHATML, INTERNLM2, LLAMA3, PLAIN])
def test_without_a_default_none_is_what_the_template_writes(template):
    assert asked(template, "none") == asked(template, "default")


@pytest.mark.parametrize(("template", "without"), [(QWEN, CHATML), (DATED, LLAMA3)])
def test_none_has_no_system_block_and_default_has_the_template_s(template, without):
    assert asked(template, "none") == asked(without, "default") != asked(template, "default")
    alone = [{"role": "user", "content": "Hi"}]
    tokenizer = Tokenizer(template)
    assert asked(template, "default") == tokenizer.apply_chat_template(alone, True, tokenize=False)
    empty = encode_chat(tokenizer, [{"role": "system", "content": ""}, *alone])
    assert empty == encode_chat(tokenizer, alone), "an empty system prompt is none"
    assert asked(template, "persona") == asked(without, "persona")


def test_a_template_that_knows_no_system_prompt_has_no_default():
    class Strict(Tokenizer):
        def apply_chat_template(self, chat, **how):
            if chat[0]["role"] == "system":
                raise ValueError("no system")
            return super().apply_chat_template(chat, **how)

    assert find_system_block(Strict(CHATML)) == SystemBlock("", "<|im_start|>user\n", "<|im_start|>user\n")


def test_where_the_template_has_none_the_default_is_the_official_prompt_of_the_family():
    internlm = {"name": "internlm/internlm2_5-7b-chat", "model_type": "internlm2"}
    assert find_default_prompt(Tokenizer(INTERNLM2), internlm).startswith(
        "You are an AI assistant whose name is InternLM"
    )
    assert find_default_prompt(Tokenizer(QWEN), internlm) == "You are Qwen. Help."
    assert find_default_prompt(Tokenizer(INTERNLM2), {"name": "me/mine", "model_type": "llama"}) == ""
    assert find_default_prompt(Tokenizer(INTERNLM2), None) == "", "the tiny base has none"


def test_the_block_is_found_once_for_each_template():
    tokenizer = Tokenizer(QWEN)
    tokenizer.chat_template = QWEN
    assert find_system_block(tokenizer) is find_system_block(tokenizer)
    tokenizer.template = tokenizer.chat_template = CHATML
    assert find_system_block(tokenizer).default == ""
