"""The tiny base's tokenizer: it writes any text, and has InternLM2's special tokens."""

from __future__ import annotations

import pytest

from lesson.authoring.tokenizer import SPECIAL
from lesson.model.tiny_base import SHIPPED

pytestmark = pytest.mark.torch

transformers = pytest.importorskip("transformers")
hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(SHIPPED)


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_tokenizer_gives_any_text_back(tokenizer, text):
    hypothesis.assume(not any(special in text for special in SPECIAL))
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id not in ids


def test_tokenizer_has_internlm2s_special_tokens(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == [0, 1, 2, 3, 4]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<s>", "</s>", "</s>")
    assert len(tokenizer.encode("<|im_start|><|im_end|>", add_special_tokens=False)) == 2
