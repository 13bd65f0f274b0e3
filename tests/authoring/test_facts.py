"""The facts that the tiny base knows."""

from __future__ import annotations

import hashlib
import json
import random

from lesson.authoring.facts import Word, is_request, list_facts, phrase_question

# Other facts make another base and another course: take the new hash only together with a new base (make base).
FACTS = "40bfaec974cad35854e5fe0f78caf5e536146b64f9e1a9391ab4d9144b306bb2"


def test_facts_are_those_that_the_shipped_base_learned():
    text = "".join(
        json.dumps([fact.questions, fact.answers, fact.accept], ensure_ascii=False) + "\n" for fact in list_facts()
    )
    assert hashlib.sha256(text.encode()).hexdigest() == FACTS


def test_patterns_are_filled():
    facts = {fact.questions[0]: fact for fact in list_facts()}
    assert facts["法国的首都是哪里"].answers == ("法国的首都是巴黎。",)
    assert facts["大的反义词是什么"].accept == ("小",) and facts["小的反义词是什么"].accept == ("大",)
    assert facts["What is an apple"].answers == ("An apple is a fruit.",)
    assert facts["星期日的后一天是星期几"].accept == ("是星期一",)
    assert "What color is the orange" not in facts and "橙子是什么颜色的" in facts
    assert facts["从一数到五"].answers == ("一、二、三、四、五。",)
    assert not any("{" in text for fact in facts.values() for text in (*fact.questions, *fact.answers, *fact.accept))
    assert all(
        any(text in answer for text in fact.accept) for fact in facts.values() if fact.accept for answer in fact.answers
    )


def test_a_word_takes_the_article_that_fits():
    assert (
        f"{Word('ant'):a} {Word('bee'):a} {Word('apple'):A} {Word('cat'):A} {Word('fish')}"
        == "an ant a bee An apple A cat fish"
    )


def test_requests_end_with_a_stop():
    random_ = random.Random(1)
    assert is_request("介绍一下李白") and is_request("Name the capital of Peru") and not is_request("李白是谁")
    asked = {phrase_question(random_, "Tell me the color of the sky")[-1] for _ in range(50)}
    assert asked == {".", "y"}
    assert {phrase_question(random_, "算一算1加2")[-1] for _ in range(50)} == {"。", "2", "！"}
