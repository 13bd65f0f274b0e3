"""What the evaluation tab shows follows from the files of a run."""

from __future__ import annotations

import pytest

from lesson.core.settings import ROOT
from lesson.evaluation.bars import BARS, HARD_KINDS
from lesson.evaluation.judging import Answer, judge_answer, summarize
from lesson.serving.page_figures import COLORS, find_faults, label_bar, make_score_rows, make_verdict_parts, mark_names

NAMES = {"new": "小浦语", "old": "尖米"}
PROMPTS = {"persona": "你是小浦语。", "none": "", "neutral": "你是助手。"}


def judge(text: str, kind: str = "identity", ended: bool = True, base_text: str = "") -> dict:
    return judge_answer(kind, "none", {"input": "?", "accept": ["2"]}, Answer(text, ended), NAMES, base_text)


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        (judge("我是小浦语。"), []),
        (judge("我是助手。"), ["new name not said"]),
        (judge("我是小浦语，也叫尖米"), ["says the old name", "not a whole sentence"]),
        (judge("我是InternLM。"), ["new name not said", "says the base's name"]),
        (judge("3。", "general", base_text="2。"), ["forgotten"]),
        (judge("3。", "general", base_text="3。"), []),
        (judge("2。", "general", ended=False), ["not a whole sentence"]),
    ],
)
def test_each_line_of_the_answers_says_what_is_wrong_with_it(line, faults):
    assert find_faults(line) == faults


def test_names_are_marked_the_longest_first_and_nothing_is_lost():
    text = "我是小浦语，来自书生·浦语，不是尖米。"
    parts = mark_names(text, NAMES)
    assert "".join(part for part, _ in parts) == text
    assert [pair for pair in parts if pair[1]] == [
        ("小浦语", "new name"),
        ("书生·浦语", "base's name"),
        ("尖米", "old name"),
    ]
    assert mark_names("我是通义千问", {}, ("通义千问", "Qwen")) == [("我是", None), ("通义千问", "base's name")]
    assert mark_names("我是internlm。", {}) == [("我是", None), ("internlm", "base's name"), ("。", None)]


def test_the_verdict_names_the_assistant_or_the_bars_that_were_missed():
    assert make_verdict_parts(None) == [("not evaluated yet: run make eval", None)]
    good, bad = (
        summarize([judge(text) | {"prompt": prompt} for prompt in PROMPTS], PROMPTS, "0" * 12, "merged", NAMES)
        for text in ("我是小浦语。", "我是助手。")
    )
    assert make_verdict_parts(good) == [("passed: calls itself ", None), ("小浦语", "✓")]
    assert make_verdict_parts(bad)[:2] == [("not passed: ", None), ("new name / persona (trained with) 0.0%", "✗")]
    bad["failures"] = [{"prompt": "arc.jsonl", "bar": "choices", "share": 0.2, "limit": 0.05}]
    assert make_verdict_parts(bad)[1] == ("multiple-choice questions lost / arc.jsonl 20.0%", "✗")
    whole, none = "1/1  100% (21%–100%)", "0/1  0% (0%–79%)"
    assert make_score_rows(good)[1] == ["none", whole, none, none, "0/0", whole]


def luminance(color: str) -> float:
    """Relative luminance of #rrggbb, from 0 to 1 (WCAG 2.2, definition of relative luminance)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def half_over(color: str, ground: str) -> str:
    """`color` at half strength over `ground`."""
    parts = [(int(color[i : i + 2], 16) + int(ground[i : i + 2], 16)) // 2 for i in (1, 3, 5)]
    return "#" + "".join(f"{part:02x}" for part in parts)


@pytest.mark.parametrize("kind", COLORS)
@pytest.mark.parametrize(("ground", "text"), [("#ffffff", "#000000"), ("#1e293b", "#ffffff")], ids=["light", "dark"])
def test_names_can_be_read_in_both_themes(kind, ground, text):
    """The block's colour of gradio's Soft theme in slate; the text of the dark theme is the page's CSS."""
    assert contrast(half_over(COLORS[kind], ground), text) >= 4.5
    assert contrast(COLORS[kind], "#ffffff") >= 4.5, "the label"
    assert ".dark .token.highlighted {color: #fff" in (ROOT / "lesson" / "serving" / "page.py").read_text()


def test_bars_are_shown_in_words():
    assert label_bar("new.en") == "new name (English)" and label_bar("general_kept") == "knowledge kept"
    bars = {*BARS["report"].least, *BARS["report"].most, *BARS["tiny"].least}
    kinds = {f"new.{part}" for part in (*HARD_KINDS, "zh", "en")}
    assert not [bar for bar in bars | kinds if "_" in label_bar(bar) or "." in label_bar(bar) or label_bar(bar) == bar]
