"""How a model is asked; what needs a model is asked in test_loading.py and by the whole lesson."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from lesson.core.messages import set_language
from lesson.evaluation import asking
from lesson.evaluation.asking import GREEDY, Sampling, answer_with_progress, build_chat, find_end_tokens
from lesson.evaluation.judging import Answer


class Tokenizer:
    """A tokenizer with an end of its own that may or may not know InternLM2's."""

    eos_token_id, unk_token_id = 2, 0

    def __init__(self, ids: dict[str, int]) -> None:
        self.ids = ids

    def convert_tokens_to_ids(self, token: str) -> int:
        return self.ids.get(token, self.unk_token_id)


def test_a_chat_begins_with_its_system_prompt_and_the_user():
    assert build_chat("s", "a", "b", "c") == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert build_chat("", "a") == [{"role": "user", "content": "a"}]


def test_an_answer_ends_at_each_end_that_the_tokenizer_knows():
    assert find_end_tokens(Tokenizer({"<|im_end|>": 7})) == [2, 7]
    assert find_end_tokens(Tokenizer({})) == [2]


def test_greedy_is_the_default_and_sampling_keeps_all_tokens_in_play():
    assert GREEDY.arguments()["do_sample"] is False
    assert Sampling(0.5, 0.9, 7).arguments() == {
        "do_sample": True,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 0,
        "max_new_tokens": 7,
    }


@pytest.mark.parametrize(("language", "line"), [("en", "asking base: 2 questions"), ("zh", "向 base 提问：2 个问题")])
def test_progress_is_one_line_where_nobody_watches(monkeypatch, language, line):
    monkeypatch.setattr(
        asking, "answer_chats", lambda tokenizer, model, chats, report, sampling: [Answer("x", True)] * len(chats)
    )
    set_language(language)
    progress = io.StringIO()
    assert answer_with_progress(None, None, [[], []], "base", progress) == [Answer("x", True)] * 2
    assert progress.getvalue() == line + "\n"


class Chats:
    """A tokenizer and a model in one, without weights: a chat is a number, whose answer is so many tokens and an end."""

    eos_token_id = pad_token_id = 2
    unk_token_id, chat_template, device = 0, None, "cpu"

    def __init__(self, lengths: list[int]) -> None:
        self.lengths, self.calls = lengths, []

    def convert_tokens_to_ids(self, token: str) -> int:
        return 0

    def decode(self, tokens: list[int], skip_special_tokens: bool) -> str:
        return " ".join(map(str, tokens))

    def generate(self, input_ids, attention_mask, max_new_tokens: int, **_):
        import torch

        rows = []
        self.calls.append((len(input_ids), max_new_tokens))
        for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
            chat, *said = [token for token, real in zip(ids, mask, strict=True) if real]
            answer = [100 + i for i in range(self.lengths[chat - 10])] + [2] * 1000
            assert said == answer[: len(said)], "it goes on from what it said"
            rows.append(ids + answer[len(said) : len(said) + max_new_tokens])
        return torch.tensor(rows)


@pytest.mark.torch
def test_long_answers_go_on_together_and_are_whole(monkeypatch):
    lengths, done = [3, 60, 31, 200, 32, 5], []
    chats = Chats(lengths)
    monkeypatch.setattr(asking, "encode_chat", lambda tokenizer, chat: [10 + chat])
    answers = asking.answer_chats(chats, chats, range(len(lengths)), 2, done.append)
    assert [len(answer.text.split()) for answer in answers] == [3, 60, 31, 128, 32, 5]
    assert [answer.ended for answer in answers] == [True, True, True, False, True, True]
    assert chats.calls == [(2, 32), (2, 32), (2, 32), (2, 96), (1, 96)]
    assert sum(done) == len(lengths) and done[0] == 1, "what is shown is what is done"
    chats.calls.clear()
    asking.answer_chats(chats, chats, range(2), 2, sampling=Sampling(max_tokens=48))
    assert chats.calls == [(2, 48)]
    chats.calls.clear()
    assert [a.ended for a in asking.answer_chats(chats, chats, [0, 5])] == [True, True]
    assert chats.calls == [(2, 32)], "nobody is asked to go on"


@pytest.mark.torch
def test_a_gpu_is_asked_as_much_at_once_as_half_of_its_free_memory_holds(monkeypatch):
    """Keys and values of 24 layers, 2 heads of 64, in 2 bytes each, and logits of 151936 words in 6 bytes: 924 kB a token."""
    import torch

    config = SimpleNamespace(
        num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2, hidden_size=896, vocab_size=151936
    )
    model = SimpleNamespace(device=torch.device("cuda"), config=config)
    each = 100 * (24 * 2 * 2 * 64 * 2 + 151936 * 6)
    for free, at_once in [(0, 48), (200 * each, 100), (199 * each, 99), (10_000 * each, 256)]:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 0))
        assert asking.choose_batch(model, 100) == at_once
    assert asking.choose_batch(SimpleNamespace(device=torch.device("cpu"), config=config), 100) == 48
