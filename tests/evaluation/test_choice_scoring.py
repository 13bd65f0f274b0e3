"""Prompts and scores are those of lm-evaluation-harness: held by hand-written prompts, and by log-likelihoods that are worked
out one answer at a time, from all logits."""

from __future__ import annotations

import io

import pytest
from random_bases import make_base

from lesson.core.settings import ROOT
from lesson.evaluation.choice_files import ChoiceQuestion, read_choice_sets
from lesson.evaluation.choice_scoring import choose_options, encode_pair, find_likeliest, find_likelihoods, write_prompt

FOLDER = ROOT / "tests" / "fixtures" / "choices"
LETTER = ChoiceQuestion("一年有多少个月？", ("十", "十一", "十二", "十三"), 2, "letter")
TEXT = ChoiceQuestion("Which animal lays eggs?", ("a dog", "a hen"), 1, "text")


def test_letters_are_compared_behind_the_options_and_texts_without_them():
    prompt = write_prompt(LETTER, chinese=True)
    assert prompt.context == "一年有多少个月？\nA. 十\nB. 十一\nC. 十二\nD. 十三\n答案："
    assert prompt.answers == (" A", " B", " C", " D") and prompt.lengths == (1, 1, 1, 1)
    assert write_prompt(LETTER, chinese=False).context.endswith("D. 十三\nAnswer:")
    prompt = write_prompt(TEXT, chinese=False)
    assert prompt.context == "Question: Which animal lays eggs?\nAnswer:"
    assert prompt.answers == (" a dog", " a hen") and prompt.lengths == (5, 5)


def test_a_long_option_is_not_lost_for_its_length():
    assert find_likeliest([-4.0, -6.0], [1, 1]) == 0
    assert find_likeliest([-4.0, -6.0], [2, 6]) == 1
    assert find_likeliest([-4.0, -4.0], [2, 2]) == 0, "the first of several"


class Letters:
    """A tokenizer of pairs of characters: the end of a context may go into one token with the answer."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict:
        assert not add_special_tokens
        return {"input_ids": [hash_pair(text[i : i + 2]) for i in range(0, len(text), 2)]}


def hash_pair(text: str) -> int:
    return sum(ord(c) << 8 * i for i, c in enumerate(text))


def test_an_answer_is_cut_off_as_it_stands_behind_its_context():
    a, b, c = (hash_pair(text) for text in ("ab", "c ", "X"))
    assert encode_pair(Letters(), "ab", "c X") == ([a], [b, c])
    assert encode_pair(Letters(), "abc", " X") == ([a, b], [c]), "the token of both counts for the context, as there"
    assert encode_pair(Letters(), "abc", " ") == ([a], [b]), "an answer has one token at least"


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["internlm2", "llama"])
def test_batches_of_any_length_score_as_one_answer_at_a_time_from_all_logits(tmp_path, kind, monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lesson.evaluation import choice_scoring

    folder = make_base(kind, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    sets = read_choice_sets(str(FOLDER), 100)
    prompts = [(write_prompt(q, s.chinese), s) for s in sets for q in s.questions]
    pairs = [encode_pair(tokenizer, p.context, answer) for p, _ in prompts for answer in p.answers]
    pairs.append((pairs[0][0] * 3, pairs[0][1] * 2))
    monkeypatch.setattr(model.config, "max_position_embeddings", len(pairs[-1][0]))

    def alone(context: list[int], answer: list[int]) -> float:
        text = (context + answer)[:-1][-model.config.max_position_embeddings :]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([text])).logits[0, -len(answer) :].float().log_softmax(-1)
        return sum(logits[i, token].item() for i, token in enumerate(answer))

    shares: list[float] = []
    wanted = [alone(*pair) for pair in pairs]
    assert find_likelihoods(model, pairs, shares.append) == pytest.approx(wanted, abs=2e-4)
    assert shares == sorted(shares) and shares[-1] == 1
    monkeypatch.setattr(choice_scoring, "TOKENS", 1)
    assert find_likelihoods(model, pairs) == pytest.approx(wanted, abs=2e-4)
    # A model whose head is called in another way gives all logits: the same scores.
    monkeypatch.setattr(model, "get_output_embeddings", lambda: torch.nn.Identity())
    assert find_likelihoods(model, pairs) == pytest.approx(wanted, abs=2e-4)
    picks = [pick for s in sets for pick in choose_options(tokenizer, model, s, "base", io.StringIO())]
    scores = iter(wanted)
    assert picks == [find_likeliest([next(scores) for _ in p.answers], p.lengths) for p, _ in prompts]
