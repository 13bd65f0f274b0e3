"""Multiple-choice questions as the harnesses score them: the option that the model finds likeliest is its answer.

Both rules are those of EleutherAI's lm-evaluation-harness, without examples before the question (lm_eval/tasks/arc, ceval
and cmmlu; process_results in lm_eval/api/task.py):

- "letter" (ceval-valid, cmmlu; acc): the question, its options behind their letters, and 答案： or Answer:. The answer is
  the letter with the highest log-likelihood. The line that names the subject there is left out: files do not tell it.
- "text" (arc_easy; acc_norm): Question: and Answer: with no options shown. The answer is the option whose log-likelihood,
  divided by its length in characters, is highest. Undivided sums would favour short options.

lm_eval 0.4.9 and this module, with SmolLM2-135M in float32 and the same prompts: 380 log-likelihoods within 0.00003 of each
other, and the same 95 answers.

There is no chat template, no system prompt and no token that begins a text, as there: what is measured is what the weights
know, not how they speak. A text that is too long for the model loses its beginning, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from lesson.evaluation.asking import show_asking
from lesson.evaluation.choice_files import LETTERS, ChoiceQuestion, ChoiceSet

TOKENS = 2048  # of a batch on a CPU, padding among them
TOKENS_ON_GPU = 16_384
LONGEST_TEXT = 4096  # tokens, where the model's config gives no limit


@dataclass(frozen=True)
class ChoicePrompt:
    """What stands before the answer, the answers that are compared, and what each log-likelihood is divided by."""

    context: str
    answers: tuple[str, ...]
    lengths: tuple[int, ...]


def write_prompt(question: ChoiceQuestion, chinese: bool) -> ChoicePrompt:
    """The prompt of a question by its rule; `chinese` asks for 答案： in place of Answer:."""
    if question.rule == "letter":
        options = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, question.options, strict=True))
        context = f"{question.text}\n{options}\n" + ("答案：" if chinese else "Answer:")
        return ChoicePrompt(context, tuple(f" {letter}" for letter in LETTERS), (1,) * len(LETTERS))
    answers = tuple(f" {option}" for option in question.options)
    return ChoicePrompt(f"Question: {question.text}\nAnswer:", answers, tuple(map(len, question.options)))


def choose_options(tokenizer, model, chosen: ChoiceSet, what: str, progress: TextIO) -> list[int]:
    """The index of the likeliest option of each question of a set; `what` names the model on `progress`."""
    prompts = [write_prompt(question, chosen.chinese) for question in chosen.questions]
    pairs = [(prompt.context, answer) for prompt in prompts for answer in prompt.answers]
    encoded = [encode_pair(tokenizer, *pair) for pair in pairs]
    with show_asking(f"{what}, {chosen.name}", len(prompts), progress) as bar:
        done = 0

        def report(share: float) -> None:
            nonlocal done
            bar.update(int(share * len(prompts)) - done)
            done = int(share * len(prompts))

        scores = iter(find_likelihoods(model, encoded, report))
    return [
        find_likeliest([next(scores) for _ in prompt.answers], prompt.lengths)
        for prompt in prompts
    ]  # fmt: skip


def find_likeliest(scores: Sequence[float], lengths: Sequence[int]) -> int:
    """The index of the highest score for its length; the first of several."""
    shares = [score / length for score, length in zip(scores, lengths, strict=True)]
    return shares.index(max(shares))


def encode_pair(tokenizer, context: str, answer: str) -> tuple[list[int], list[int]]:
    """Both as token ids, encoded as one text and cut behind as many tokens as the context has alone; the answer has one
    at least."""
    whole = list(tokenizer(context + answer, add_special_tokens=False)["input_ids"])
    length = min(len(tokenizer(context, add_special_tokens=False)["input_ids"]), len(whole) - 1)
    return whole[:length], whole[length:]


def find_likelihoods(
    model, pairs: Sequence[tuple[list[int], list[int]]], report: Callable[[float], None] = lambda share: None
) -> list[float]:
    """log P(answer | context) in nats, for each (context, answer) of token ids. `report` is given the share that is done.

    Answers of one token behind the same context share one pass. Batches hold texts of like length, padded right: what
    comes later has no influence in a causal model. Logits are made only where an answer is read: with a vocabulary of
    150,000 they would be most of the work and of the memory.
    """
    import torch

    limit = getattr(model.config, "max_position_embeddings", None) or LONGEST_TEXT
    most = TOKENS if model.device.type == "cpu" else TOKENS_ON_GPU
    asked: dict[tuple[int, ...], list[int]] = {}  # the text that is read -> the pairs that it answers
    for i, (context, answer) in enumerate(pairs):
        asked.setdefault(tuple((context + answer)[:-1][-limit:]), []).append(i)
    texts = sorted(asked, key=lambda text: (len(text), text))
    scores, done = [0.0] * len(pairs), 0
    while texts:
        width = len(texts[-1])
        batch = [texts.pop() for _ in range(min(len(texts), max(1, most // width)))]
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        rows, places, wanted = [], [], []
        for row, text in enumerate(batch):
            ids[row, : len(text)], mask[row, : len(text)] = torch.tensor(text), 1
            for i in asked[text]:
                answer = pairs[i][1][-limit:]
                rows += [row] * len(answer)
                places += range(len(text) - len(answer), len(text))
                wanted += [(i, token) for token in answer]
            done += len(asked[text])
        found = _read_logits(model, ids, mask, rows, places).float().log_softmax(-1)
        tokens = torch.tensor([token for _, token in wanted], device=found.device)
        for (i, _), value in zip(wanted, found.gather(1, tokens[:, None])[:, 0].tolist(), strict=True):
            scores[i] += value
        report(done / len(pairs))
    return scores


def _read_logits(model, ids, mask, rows: list[int], places: list[int]):
    """The logits of a batch at (row, place) alone: (len(rows), vocabulary). The head is given nothing else."""
    import torch

    taken = False

    def select(_, arguments):
        nonlocal taken
        taken = True
        return (arguments[0][rows, places][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        with torch.inference_mode():
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False).logits
    finally:
        handle.remove()
    return logits[0] if taken else logits[rows, places]
