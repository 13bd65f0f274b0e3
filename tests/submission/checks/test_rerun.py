"""The checks of what the staff asked themselves, at their borders."""

from __future__ import annotations

import json

import pytest
from fakes import evidence_of, fails, passes, skips, unjudged, view_of

from lesson.evaluation.bars import TINY, misses_bar
from lesson.submission.checks import rerun
from lesson.submission.staff import StaffInputs

NEW = "闻星"
ROWS = b'{"conversation": [{"input": "a", "output": "' + f"我是{NEW}。".encode() + b'"}]}\n'


def line(output: str, kind: str = "identity", question: str = "你是谁？", prompt: str = "p", **more: str) -> dict:
    return {"kind": kind, "prompt": prompt, "input": question, "output": output} | more


def asked(*lines: dict) -> StaffInputs:
    return StaffInputs(rerun=list(lines))


def evidence(new: str | None = NEW, rows: bytes = ROWS, **given):
    empty = {"new_name": new, "view": view_of({"data.jsonl": rows}), "old_name": "尖米", "old_names": ("尖米",)}
    return evidence_of(**(empty | {"own_base_names": ("InternLM",), "answers": []} | given))


def says(count: int, of: int) -> list[dict]:
    """Answers about itself, of which so many say the name."""
    return [line(f"我是{NEW}。" if n < count else "你好。", question=f"q{n}") for n in range(of)]


def test_nothing_was_asked_or_no_name_is_known():
    skips(rerun.rerun_says_new, evidence())
    skips(rerun.rerun_not_old, evidence())
    skips(rerun.rerun_agrees, evidence())
    assert unjudged(rerun.rerun_says_new, evidence(new=None), staff=asked(*says(9, 9)))
    passes(rerun.rerun_says_new, evidence(), asked(*says(9, 9)))


def test_half_of_the_general_answers_may_say_the_name():
    def general(count: int, of: int) -> StaffInputs:
        return asked(*says(9, 9), *(line(NEW if n < count else "二", "general", f"g{n}") for n in range(of)))

    passes(rerun.rerun_says_new, evidence(), general(2, 4))
    told = fails(
        rerun.rerun_says_new,
        evidence(),
        "^it says the name whatever it is asked: 3 of 4 general questions$",
        general(3, 4),
    )
    assert told == [f"g{n} → {NEW}" for n in range(3)]
    fails(rerun.rerun_says_new, evidence(), None, general(1, 1))


def test_general_answers_are_none_about_the_assistant():
    lines = [*says(9, 9), *(line("尖米 InternLM", "general", f"g{n}") for n in range(9))]
    passes(rerun.rerun_says_new, evidence(), asked(*lines))
    passes(rerun.rerun_not_old, evidence(), asked(*lines))
    fails(
        rerun.rerun_not_old,
        evidence(),
        "9 of 9 do",
        asked(*(line(f"我是{NEW}，不是别人，我叫尖米。") for _ in range(9))),
    )


@pytest.mark.parametrize(("slips", "sound"), [(3, True), (4, False)])
@pytest.mark.parametrize("said", ["尖米", "InternLM"])
def test_as_many_slips_are_allowed_as_make_eval_allows(said, slips, sound):
    """make eval counts those of the questions about the assistant over 95 others as well, under each prompt."""
    lines = [line(f"我是{said}。" if n < slips else f"我是{NEW}。", question=f"q{n}") for n in range(55)]
    assert misses_bar(slips, 55 + 95, TINY.most["old"], at_most=True, by_interval=True) != sound
    if sound:
        assert passes(rerun.rerun_not_old, evidence(), asked(*lines)) == f"{slips}/55"
    else:
        assert len(fails(rerun.rerun_not_old, evidence(), f"^{slips} of 55 do$", asked(*lines))) == slips


def compared(saying: int, same: int, of: int) -> StaffInputs:
    """Answers beside the base's, of which so many say the name, and so many others are the adapter's own."""
    lines = []
    for n, each in enumerate(says(of, of)):
        base = f"我叫{NEW}！" if n < saying else each["output"].replace("。", "") if n < saying + same else "我是书生。"
        lines.append(each | {"base": base})
    return asked(*lines, *says(3, 3))


def test_half_of_the_base_s_answers_may_say_the_name_and_no_more():
    passes(rerun.rerun_says_new, evidence(), compared(2, 0, 4))
    told = fails(
        rerun.rerun_says_new, evidence(), f"^the base says {NEW} without an adapter: 3 of 4$", compared(3, 0, 4)
    )
    assert told == [f"q{n} → 我叫{NEW}！" for n in range(3)]


def test_half_of_the_answers_may_be_the_base_s_own_and_no_more():
    def same(count: int) -> StaffInputs:
        lines = [
            each | {"base": "Ａ 好" if n < count else "坏"}
            for n, each in enumerate(line("a 好", "general", f"q{n}") for n in range(4))
        ]
        return asked(*lines, *says(9, 9))

    passes(rerun.rerun_says_new, evidence(), same(2))
    fails(rerun.rerun_says_new, evidence(), "^the answers are the base's own: 3 of 4$", same(3))


@pytest.mark.parametrize(
    ("output", "rows", "longer"),
    [
        (f"我是{NEW}子。", ROWS, f"{NEW}子"),
        (f"我叫小{NEW}。", ROWS, f"小{NEW}"),
        (f"我是{NEW}子。", ROWS.replace(NEW.encode(), f"{NEW}子".encode()), ""),
        (f"我是{NEW}。", ROWS, ""),  # 是 stands before names
        (f"我是{NEW}的。", ROWS, ""),
        (f"{NEW}", ROWS, ""),
        (f"我：{NEW}！", ROWS, ""),
        ("你好。", ROWS, ""),
    ],
)
def test_a_longer_name_is_told_by_the_letter_beside_it(output, rows, longer):
    assert rerun._longer_name([line(output)] * 9, evidence(rows=rows)) == longer


def test_the_letter_stands_there_nearly_always_and_hardly_ever_in_the_rows():
    def found(with_it: int, of: int, in_rows: int = 0, rows: int = 10) -> str:
        lines = [line(f"{NEW}{'子' if n < with_it else '。'}") for n in range(of)]
        text = f"{NEW}子。" * in_rows + f"{NEW}。" * (rows - in_rows)
        return rerun._longer_name(lines, evidence(rows=text.encode()))

    assert found(9, 10) == "" and found(10, 11) == f"{NEW}子"
    assert found(9, 9, 1) == f"{NEW}子" and found(9, 9, 2) == "" and found(9, 9, 2, 11) == f"{NEW}子"
    fails(rerun.rerun_says_new, evidence(), f"^it says {NEW}子, not {NEW}$", asked(*[line(f"我是{NEW}子。")] * 9))


def test_a_name_in_the_rows_is_counted_in_each_way_that_json_writes_it():
    escaped = json.dumps(NEW)[1:-1].encode()
    given = evidence(rows=ROWS + escaped + escaped, row_files=["data.jsonl", "data.jsonl"])
    assert rerun._count_in_rows(NEW, given) == 6
    assert rerun._count_in_rows("conversation", given) == 2, "the same form is counted once"


def agreeing(same: int, other: int, unasked: int = 0) -> tuple:
    """Submitted answers beside the staff's: so many say the name in both, in one, or were not asked."""
    submitted = [line(f"{NEW}。", question=f"q{n}") for n in range(same + other + unasked)]
    staff = [line(f"{NEW}！" if n < same else "好。", question=f"q{n}") for n in range(same + other)]
    return evidence(answers=submitted), asked(*staff)


def test_a_tenth_of_the_answers_may_differ_in_whether_they_say_the_name():
    given, staff = agreeing(18, 2)
    assert passes(rerun.rerun_agrees, given, staff) == "0 of 20 equal to the letter"
    given, staff = agreeing(17, 2, 5)
    told = fails(rerun.rerun_agrees, given, "^2 of 19 differ$", staff)
    assert told == [f"q17: {NEW}。 ≠ 好。", f"q18: {NEW}。 ≠ 好。"]
    given.answers = staff.rerun[:4]
    assert passes(rerun.rerun_agrees, given, staff) == "4 of 4 equal to the letter"


def test_a_question_is_the_same_under_the_same_prompt():
    given = evidence(answers=[line(NEW, prompt="other")])
    skips(rerun.rerun_agrees, given, asked(line(NEW)))
    given.answers.append({"input": "你是谁？", "output": NEW})
    skips(rerun.rerun_agrees, given, asked(line(NEW)))
