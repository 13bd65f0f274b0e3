"""The checks of the submitted rows at their borders, on rows that lie in memory."""

from __future__ import annotations

import json

import pytest
from fakes import fails, passes, skips, unjudged, view_of

from lesson.data.rules import SOURCE_NAMES
from lesson.submission.checks import data
from lesson.submission.evidence import Evidence
from lesson.submission.registry import SHOWN
from lesson.submission.staff import StaffInputs

ROW = {"conversation": [{"input": "你是谁？", "output": "我是闻星。"}]}
OLD = SOURCE_NAMES[0]


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def handed_in(*rows: object, new: str | None = "闻星", old: str | None = None, more: bytes = b"") -> Evidence:
    """A plain folder with these rows, of a learner whose names the staff know."""
    files = {"data.jsonl": lines(*rows)} | ({"more.jsonl": more} if more else {})
    evidence = Evidence(view_of(files), {key: name for key, name in (("new", new), ("old", old)) if name})
    evidence.parts["data"] = "data.jsonl"
    evidence.more_data = ["more.jsonl"] if more else []
    return evidence


def said(text: str, question: str = "天气") -> dict:
    return {"conversation": [{"input": question, "output": text}]}


def test_valid_rows_are_counted_file_by_file():
    found = passes(data.data_rules, handed_in(ROW, said("闻星"), more=lines(ROW, ROW)))
    assert found.split("; ")[0].startswith("2 rows, 2 turns") and found.split("; ")[1].startswith("2 rows, 2 turns")
    fails(data.data_rules, handed_in(), "^no rows$")


def test_the_first_error_is_told_and_twenty_are_listed():
    wrong = [{"conversation": [{"input": "a", "output": ""}]}] * (SHOWN + 2)
    different = [{"conversation": [{"input": f"a{n}", "output": ""}]} for n in range(SHOWN + 2)]
    places = fails(data.data_rules, handed_in(ROW, *different), f"^{SHOWN + 2} errors, the first: data.jsonl:2: ")
    assert len(places) == SHOWN and "data.jsonl:21" in places[-1]
    fails(data.data_rules, handed_in(*wrong[:1]), "^1 errors, the first: data.jsonl:1: ")


def test_what_is_left_of_the_old_name_is_listed():
    assert passes(data.replaced, handed_in(ROW)) == f"no {OLD}"
    places = fails(
        data.replaced,
        handed_in(ROW, said(f"我是{OLD}。"), said(f"{OLD}"), more=lines(said(OLD))),
        f"^{OLD} is left in 3 places: data.jsonl:2: ",
    )
    assert [place.split(": ")[0] for place in places] == ["data.jsonl:2", "data.jsonl:3", "more.jsonl:1"]
    assert passes(data.replaced, handed_in(said("小米"), old="大米")) == "no 大米"
    fails(data.replaced, handed_in(said("大米"), old="大米"), "^大米 is left in 1 places")
    assert passes(data.replaced, handed_in(ROW, said("I am Jianmi."))) == f"no {OLD}", "a warning is no error"


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_lines_are_counted_whatever_ends_them(end):
    rows = (lines(ROW) + lines(said(OLD))).replace(b"\n", end)
    evidence = handed_in(ROW, more=rows)
    assert fails(data.replaced, evidence)[0].startswith("more.jsonl:2: ")


def test_the_new_name_is_said_in_each_way_that_json_can_write_it():
    escaped = json.dumps(said("我是闻星。")).encode() + b"\n"
    assert passes(data.named, handed_in(ROW, said("天气好"), more=escaped)) == "2 rows say 闻星"
    fails(data.named, handed_in(said("天气好")), "^no row says 闻星$")
    assert unjudged(data.named, handed_in(said("天气好"), new=None))


def own(new: str, *rows: object) -> Evidence:
    """The same, where the rows themselves tell the name."""
    evidence = handed_in(*rows, new=None)
    evidence.new_name = new
    return evidence


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (OLD, f"^{OLD} is the old name$"),
        (SOURCE_NAMES[-1], "is the old name$"),
        ("InternLM", "^InternLM is the base's own name$"),
        ("ternlm", "^ternlm is the base's own name$"),
        ("助手", "^助手 is a common word$"),
    ],
)
def test_a_name_is_one_that_nobody_says_by_chance(new, why):
    fails(data.named, own(new, said(new)), why)
    if "old" not in why:  # the staff may ask for any
        passes(data.named, handed_in(said(new), new=new))


def test_a_name_in_two_of_a_hundred_common_answers_is_one_by_chance(monkeypatch):
    for saying, fine in ((2, True), (3, False)):
        monkeypatch.setattr(data, "read_common_answers", lambda n=saying: ("闻星好",) * n + ("好",) * (100 - n))
        if fine:
            passes(data.named, own("闻星", ROW))
        else:
            fails(data.named, own("闻星", ROW), "^闻星 is a common word$")


def test_common_answers_have_no_names_in_them():
    answers = data.read_common_answers()
    assert len(answers) > 100 and not [a for a in answers for name in SOURCE_NAMES if name in a]


@pytest.fixture
def course(tmp_path):
    path = tmp_path / "course.jsonl"
    path.write_bytes(lines(*(said(f"我是{OLD}，{n}") for n in range(30))))
    return StaffInputs(source=str(path))


def replaced_rows(count: int = 30) -> list[dict]:
    return [said(f"我是闻星，{n}") for n in range(count)]


def test_rows_are_the_course_s_with_the_name_replaced(course):
    assert passes(data.source, handed_in(*replaced_rows()), course) == "30 rows equal"
    assert passes(data.source, handed_in(*replaced_rows(10), more=lines(*replaced_rows()[10:]) + b"\n \n"), course)
    skips(data.source, handed_in(*replaced_rows()))
    unjudged(data.source, own("", *replaced_rows()), staff=course)


def test_rows_that_differ_are_counted_and_twenty_are_shown(course):
    rows = replaced_rows()
    other = [*rows[:3], said("其他"), *rows[4:]]
    places = fails(
        data.source, handed_in(*other), "^1 rows differ from the replaced source, 30 rows instead of 30$", course
    )
    assert len(places) == 1 and places[0].startswith("4: ") and "其他" in places[0]
    fails(data.source, handed_in(*rows[:29]), "^0 rows differ from the replaced source, 29 rows instead of 30$", course)
    fails(data.source, handed_in(*rows, said("more")), "^0 rows differ .* 31 rows instead of 30$", course)
    assert len(fails(data.source, handed_in(*rows[1:], rows[0]), "^30 rows differ", course)) == SHOWN


def test_the_old_name_is_that_of_the_course_s_rows_unless_the_staff_say_another(course):
    evidence = handed_in(*replaced_rows())
    evidence.old_name = "记录里的名字"
    assert passes(data.source, evidence, course) == "30 rows equal"
    fails(data.source, handed_in(*replaced_rows(), old="别的"), "^30 rows differ", course)
