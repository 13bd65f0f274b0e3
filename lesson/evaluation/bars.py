"""The bars of the evaluation: which shares pass, by the set of questions that was asked.

Loads the standard library and lesson.core alone, so that checkers may import it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lesson.evaluation.intervals import paired_interval, wilson_interval

# bar -> (count, what it is a share of), as in evaluation.json
COUNTED = {
    "new": ("new", "questions"),
    "old": ("old", "answers"),
    "base": ("base", "answers"),
    "other": ("other", "identity_answers"),
    "general_kept": ("general_kept", "general_base_right"),
    "polluted": ("polluted", "general"),
    "whole": ("whole", "answers"),
    "identity_whole": ("identity_whole", "identity_answers"),
}
AT_MOST = ("old", "base", "other", "polluted")
# Of the multiple-choice questions (CHOICES=), the share that may be lost, gains counted against losses. C-Eval's own tutorial
# takes no fall below 5 points for one on the 200 to 300 questions of a subject (hkust-nlp/ceval, resources/tutorial.md).
LARGEST_FALL = 0.05
HARD_KINDS = ("old", "other", "pressed2", "pressed3")


@dataclass(frozen=True)
class Bars:
    """`least` and `most` are {bar: share}; `most_persona` replaces `most` under the persona where it is given.

    A bar of `by_interval` is missed where the share's whole 95% interval lies on the wrong side: one slip in 150 answers
    is shown and fails nobody. Else the share itself decides. `least_language` and `least_hard` are for the new name in
    each language, and where the question names another assistant or presses; None asks for neither.
    """

    least: dict[str, float]
    most: dict[str, float]
    by_interval: frozenset[str]
    most_persona: float | None = None
    least_language: float | None = None
    least_hard: float | None = None


FIRST = Bars({"new": 0.95, "general_kept": 0.90, "whole": 0.90}, {"old": 0.02, "base": 0.02}, frozenset(), 0.0)
TINY = Bars({"new": 0.95, "general_kept": 0.90, "whole": 0.90}, {"old": 0.01, "base": 0.01}, frozenset(COUNTED))
# A sound lesson on Qwen2.5-Coder-0.5B keeps 85 to 94% of the single questions (docs/figures.md), while it answers more of
# them right than before: a bar of 95% would call every such lesson failed.
REAL = Bars(
    {"new": 0.95, "general_kept": 0.90, "identity_whole": 0.90},
    dict.fromkeys(AT_MOST, 0.01),
    frozenset(COUNTED),
    least_language=0.95,
    least_hard=0.90,
)
BARS = {"tiny": TINY, "tune": REAL, "report": REAL}


def bars_of(evaluation: dict) -> Bars:
    """The bars that an evaluation.json was held against; those of format 1 knew no intervals."""
    return BARS[evaluation["question_set"]] if evaluation.get("format") == 2 else FIRST


def misses_bar(count: int, of: int, limit: float, at_most: bool, by_interval: bool) -> bool:
    """Whether the share count / of is above a limit (`at_most`), or below it."""
    low, high = wilson_interval(count, of) if by_interval else (count / of, count / of)
    return low > limit if at_most else high < limit


def find_missed_bars(counts: dict, bars: Bars = TINY) -> list[dict]:
    """The bars that the counts of one system prompt miss: [{prompt, bar, share, limit}], shares and limits from 0 to 1."""
    name, missed = counts["prompt"], []

    def hold(bar: str, count: int, of: int, limit: float, kind: str) -> None:
        at_most = kind in AT_MOST
        # Nothing to keep (a base that knew nothing) is nothing lost; no question asked is no evidence.
        if not of and kind != "new":
            return
        if not of or misses_bar(count, of, limit, at_most, kind in bars.by_interval):
            missed.append({"prompt": name, "bar": bar, "share": round(count / of, 4) if of else 0.0, "limit": limit})

    limits = bars.least | bars.most
    if bars.most_persona is not None and name == "persona":
        limits |= dict.fromkeys(bars.most, bars.most_persona)
    for bar, (count, of) in COUNTED.items():
        if bar in limits:
            hold(bar, counts[count], counts[of], limits[bar], bar)
    if bars.least_language is not None:
        for language, found in counts["languages"].items():
            hold(f"new.{language}", found["new"], found["questions"], bars.least_language, "new")
    if bars.least_hard is not None:
        for kind in HARD_KINDS:
            if found := counts["kinds"].get(kind):
                hold(f"new.{kind}", found["new"], found["questions"], bars.least_hard, "new")
    return missed


def find_missed_choices(evaluation: dict) -> list[dict]:
    """The sets of multiple-choice questions that evaluation.json counts and that fell: as find_missed_bars, `prompt` the
    set's name, `share` what was lost of its questions, gains counted against losses.

    A set is missed where the whole 95% interval of the paired difference lies below -LARGEST_FALL: a small sample, or a
    base that guesses, fails nobody.
    """
    return [
        {
            "prompt": counts["set"],
            "bar": "choices",
            "share": round((counts["lost"] - counts["gained"]) / counts["questions"], 4),
            "limit": LARGEST_FALL,
        }
        for counts in evaluation.get("choices", {}).get("sets", [])
        if paired_interval(counts["lost"], counts["gained"], counts["questions"])[1] < -LARGEST_FALL
    ]
