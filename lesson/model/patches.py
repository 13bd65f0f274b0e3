"""What keeps the pinned versions of transformers and bitsandbytes from working together, mended at run time."""

from __future__ import annotations

TURN_STARTS = ("<|im_start|>", "<|start_header_id|>")


def patch_bitsandbytes() -> None:
    """The part of `patch_all` that lets transformers and bitsandbytes quantise; the evaluation needs it alone."""
    # transformers 4.48 calls .discard() on bitsandbytes' devices, a frozenset since 0.46, and knows the CPU only
    # through Intel's extension. bitsandbytes has CPU kernels of its own now, so there is nothing to refuse.
    from transformers.integrations import bitsandbytes as integration

    integration._validate_bnb_multi_backend_availability = lambda raise_exception: True

    # On processors with AVX512-BF16, bitsandbytes packs a 4-bit layer anew when it first answers in eval mode, and
    # training afterwards computes with the packed, differently rounded, scales: the loss would depend on when a hook
    # last generated (seen: 7e-4), and a resumed run could not equal an uninterrupted one.
    from bitsandbytes.nn import modules

    modules.has_avx512bf16 = lambda: False


def patch_first_tokens() -> None:
    """Let XTuner begin a training sample as the base's own chat template begins a chat.

    It puts the tokenizer's first token (bos) there for all but Qwen's own tokenizers. Where there is none, it fails; where
    the template writes none, or where it is ChatML's <|im_start|> (SmolLM2), the sample would begin with one too many.
    """
    from xtuner.dataset import utils

    def read_first_and_last_tokens(tokenizer, original=utils.get_bos_eos_token_ids):
        first, last = original(tokenizer)
        return (first if first and begins_with_first_token(tokenizer) else []), last or []

    utils.get_bos_eos_token_ids = read_first_and_last_tokens


def begins_with_first_token(tokenizer) -> bool:
    """Whether a chat in the tokenizer's own template begins with its bos token; True where it has no template."""
    first = tokenizer.bos_token
    if not first or not tokenizer.chat_template:
        return bool(first)
    chat = [{"role": "user", "content": "?"}]
    return first not in TURN_STARTS and tokenizer.apply_chat_template(chat, tokenize=False).startswith(first)
