"""The tiny base's tokenizer: trained on its corpus, with InternLM2's special tokens and chat template."""

from __future__ import annotations

import collections
import json
from pathlib import Path

from lesson.authoring.corpus import Corpus

SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")  # ids 0 to 4; the first three as in InternLM2
VOCABULARY = 2500
CHARACTERS = 1000  # single characters with a token of their own; any other is written in its UTF-8 bytes
ROWS = 30000  # of the corpus, to train on
# InternLM2's own template (internlm/internlm2_5-7b-chat, tokenizer_config.json).
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tokenizer(folder: Path, seed: int):
    """Train a BPE tokenizer on the corpus of `seed`, save it in `folder` and return it.

    Like InternLM2's, it writes what it does not know in bytes. At most VOCABULARY tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    stream = Corpus(seed)
    texts = [text for _ in range(ROWS) for turn in stream.draw_row()["conversation"] for text in turn.values()]
    ascii_ = ["\n", *map(chr, range(32, 127))]
    counted = collections.Counter("".join(texts))
    common = sorted(set(counted) - set(ascii_), key=lambda character: (-counted[character], character))
    alphabet = [*ascii_, *common[: CHARACTERS - len(ascii_)]]  # the trainer's own choice breaks ties by hash
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    # Scripts apart, so that a Latin name in a Chinese sentence keeps its tokens, and digits one by one.
    words = Regex(r" ?[A-Za-z]+|\p{Han}+|\p{N}|\s+|[^\s\p{L}\p{N}]| ?\p{L}+")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(words, "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=2 * VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        max_token_length=8,
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, "system\nuser\nassistant\n" * 1000], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(_trim_tokens(json.loads(tokenizer.to_str())))),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
    fast.save_pretrained(folder)
    return fast


def _trim_tokens(trained: dict) -> dict:
    """The tokenizer's JSON with the 256 byte tokens after the special ones, and no Chinese token over two characters:
    whole phrases as tokens would tie the model to the phrases it was trained on."""
    model = trained["model"]
    tokens = [
        token
        for token in sorted(model["vocab"], key=model["vocab"].get)[len(SPECIAL) :]
        if len(token) <= 2 or token.isascii()
    ]
    kept = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *tokens][:VOCABULARY]
    model["vocab"] = {token: number for number, token in enumerate(kept)}
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) in model["vocab"]]
    return trained
