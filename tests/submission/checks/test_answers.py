"""The checks of the answers at their borders, on answers made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fakes import evidence_of, fails, passes, skips

from lesson.core.refusals import Broken
from lesson.evaluation.bars import REAL, misses_bar
from lesson.evaluation.held_out import read_identity_questions
from lesson.submission.checks import answers
from lesson.submission.registry import Unjudged

NEW, OLD = "闻星", "机智流"


def line(output: str, prompt: str = "persona", **more: object) -> dict:
    return {"input": "你是谁？", "output": output, "prompt": prompt} | more


def lines(saying: int, other: int, **more: object) -> list[dict]:
    return [line(f"我是{NEW}。", **more)] * saying + [line("你好。", **more)] * other


def answered(found: list[dict], **more: object) -> SimpleNamespace:
    given = {"answers": found, "old_name": OLD, "new_name": NEW, "old_names": (OLD,), "own_base_names": ("书生",)}
    return evidence_of(**(given | {"evaluation": {}, "on_shipped_base": True, "base_name": None} | more))


@pytest.mark.parametrize(
    ("saying", "other", "sound"),
    [
        (20, 0, True),
        (19, 1, True),  # 95%
        (18, 1, False),
        (37, 2, False),  # of 39 the share itself decides
        (36, 4, True),  # of 40 the interval: 90% may be 96%
        (34, 6, False),
    ],
)
def test_the_new_name_is_said_as_often_as_make_eval_wants(saying, other, sound):
    evidence = answered(lines(saying, other))
    if sound:
        assert passes(answers.says_new, evidence) == f"persona {saying}/{saying + other}"
    else:
        assert len(fails(answers.says_new, evidence, f"^persona {saying}/{saying + other}$")) == other


def test_each_prompt_is_held_to_the_bar():
    both = lines(19, 1) + lines(0, 20, prompt="none")
    places = fails(answers.says_new, answered(both), "^persona 19/20, none 0/20$")
    assert len(places) == 21 and places[-1].startswith("[none] 你是谁？ → ")
    with pytest.raises(Unjudged):
        passes(answers.says_new, answered(lines(1, 0), new_name=None))


@pytest.mark.parametrize(("slips", "of", "sound"), [(0, 10, True), (1, 100, True), (1, 40, True), (2, 40, False)])
def test_hardly_an_answer_says_another_name(slips, of, sound):
    for name in (OLD, "书生"):
        evidence = answered([line(f"我是{name}。")] * slips + lines(of - slips, 0))
        if sound:
            assert passes(answers.not_old, evidence) == f"{slips}/{of}"
        else:
            assert len(fails(answers.not_old, evidence, f"^{slips} of {of} do$")) == slips
    passes(answers.not_old, answered(lines(40, 0), old_names=(NEW,), own_base_names=(NEW,)))


def test_a_slip_of_the_old_name_and_one_of_the_bases_are_no_two_slips():
    """make eval holds each against a bar of its own: what passes there is not refused here."""
    evidence = answered([line(f"我是{OLD}。"), line("我是书生。"), *lines(38, 0)])
    assert passes(answers.not_old, evidence) == "2/40"
    evidence = answered([line(f"我是{OLD}。"), line("我是书生。"), line("我是书生。"), *lines(37, 0)])
    assert len(fails(answers.not_old, evidence, "^3 of 40 do$")) == 3


@pytest.mark.parametrize(
    ("different", "of", "sound"),
    [
        (4, 19, True),  # too few to tell
        (4, 20, False),
        (5, 20, True),
        (5, 100, True),
        (9, 200, False),
        (10, 200, True),
        (49, 2000, False),
        (50, 2000, True),
    ],
)
def test_answers_are_not_one_text_repeated(different, of, sound):
    evidence = answered([line(f"text {index % different}") for index in range(of)])
    if sound:
        assert passes(answers.varied, evidence) == f"{different} different among {of}"
    else:
        assert len(fails(answers.varied, evidence)) == different


def test_an_answer_to_a_question_of_the_course_is_about_the_assistant_whatever_its_line_says():
    question = read_identity_questions("tiny", OLD)[0]["input"]
    general, known = line("x", kind="general", input="1+1?"), line("x", kind="general", input=question)
    found = answered([general, known, line("x", kind="identity", input="?"), line("x", input="??")])
    assert [each["input"] for each in answers.identity_answers(found)] == [question, "?", "??"]
    passes(answers.answers, found)
    fails(answers.answers, answered([general]), "no question about the assistant")


def test_the_question_set_is_the_evaluations():
    assert answers.question_set_of(answered([], evaluation={"question_set": "report"})) == "report"
    assert answers.question_set_of(answered([])) == ""

    class Unread:
        @property
        def evaluation(self):
            raise Broken("x")

    assert answers.question_set_of(Unread()) == ""


def test_the_languages_that_are_judged_are_the_bases():
    evaluation = {"question_set": "report", "languages": ["zh"]}
    assert answers.judged_languages(answered([], evaluation=evaluation)) == answers.LANGUAGES
    other = {"on_shipped_base": False, "base_name": "nobody/knows"}
    assert answers.judged_languages(answered([], evaluation=evaluation, **other)) == ("zh",)
    assert answers.judged_languages(answered([], **other)) == answers.LANGUAGES


def test_turns_before_a_question_are_the_users():
    assert answers._turns_of_line(line("x", before=["a", "b", "c", "d"])) == ("a", "c", "你是谁？")
    for odd in (None, "ab", [1]):
        assert answers._turns_of_line(line("x", before=odd)) == ("你是谁？",)
    assert answers._turns_of({"before": ["a"], "input": "b"}) == ("a", "b")


def asked_lines() -> list[dict]:
    questions = read_identity_questions("tiny", OLD)
    turns = [{"input": q["input"], "before": [t for text in q["before"] for t in (text, "…")]} for q in questions]
    return [
        line(f"我是{NEW}。", prompt=prompt, kind="identity", **turn) for prompt in answers.PROMPTS for turn in turns
    ]


def test_the_courses_questions_are_asked_once_under_each_prompt():
    whole = asked_lines()
    passes(answers.asked, answered(whole, manifest={}))
    for changed in (whole[1:], whole[:-1], [*whole, whole[0]], [*whole, line("x", kind="identity", input="?")]):
        fails(answers.asked, answered(changed, manifest={}), "not asked")
    fails(answers.asked, answered(whole, manifest={}, evaluation={"question_set": "tune"}), "half for tuning")
    skips(answers.asked, answered(whole))


def evaluation_of(**counts: int) -> dict:
    prompt = {"prompt": "persona", "questions": 3, "answers": 4, "new": 3, "old": 0, "base": 0, "whole": 4}
    prompt |= {"general_kept": 0, "general_base_right": 0} | counts
    return {"format": 1, "names": {"new": NEW, "old": OLD}, "prompts": [prompt], "passed": True}


def counted_lines() -> list[dict]:
    return [*[line(f"我是{NEW}。", kind="identity")] * 3, line("二", kind="general", input="1+1=?")]


def test_the_figures_of_the_evaluation_follow_from_the_answers():
    assert passes(answers.counted, answered(counted_lines(), evaluation=evaluation_of())) == "persona"
    for key, wrong in {"questions": 4, "answers": 3, "new": 2, "old": 1}.items():
        places = fails(answers.counted, answered(counted_lines(), evaluation=evaluation_of(**{key: wrong})))
        counts = {"questions": 3, "answers": 4, "new": 3, "old": 0}
        assert places[0] == f"persona: {key} = {wrong}, counted {counts[key]}"
    evaluation = evaluation_of() | {"passed": False}
    assert fails(answers.counted, answered(counted_lines(), evaluation=evaluation)) == ["passed = False"]
    extra = [*counted_lines(), line("x", prompt="none", kind="identity")]
    assert len(fails(answers.counted, answered(extra, evaluation=evaluation_of()))) == 4


def test_the_prompt_of_the_evaluation_is_the_datas():
    def evidence(prompt: str, system: str, persona: str | None = "你是闻星") -> SimpleNamespace:
        return evidence_of(
            data=SimpleNamespace(persona=persona), evaluation={"prompts": [{"prompt": prompt, "system": system}]}
        )

    assert passes(answers.prompts, evidence("persona", "你是闻星")) == "你是闻星"
    passes(answers.prompts, evidence("persona", "x", None))
    passes(answers.prompts, evidence("none", ""))
    passes(answers.prompts, evidence("neutral", "x"))
    fails(answers.prompts, evidence("persona", "x"), "x ≠ 你是闻星")
    fails(answers.prompts, evidence("none", "x"), "none: x")


def test_no_question_was_trained_on():
    found = [line("x", input="你是 谁"), line("x", input="1+1", kind="general")]
    assert passes(answers.held_out, answered(found, trained_questions={"1+1"})).startswith("1 trained")
    assert fails(answers.held_out, answered(found, trained_questions={"你是谁"})) == ["你是 谁"]


def report_lines(silent=lambda question, number: False, said: str = "你好。") -> list[dict]:
    """An answer to each question of the set for real bases; those for which `silent` is true are `said`."""
    found, numbers = [], {}
    for question in read_identity_questions("report", OLD):
        kind = (question["kind"], question["lang"])
        numbers[kind] = numbers.get(kind, -1) + 1
        text = said if silent(question, numbers[kind]) else f"我是{NEW}。"
        before = [turn for user in question["before"] for turn in (user, "好的。")]
        found.append(line(text, input=question["input"], before=before, kind="identity"))
    return found


def on_real_base(found: list[dict], **more: object) -> SimpleNamespace:
    evaluation = {"question_set": "report", "languages": ["zh", "en"]}
    return answered(found, evaluation=evaluation, on_shipped_base=False, **more)


@pytest.mark.parametrize(
    ("silent", "group"),
    [
        (lambda question, number: question["lang"] == "en" and question["kind"] == "plain" and number % 3 == 0, "en"),
        (lambda question, number: question["kind"] == "old" and number % 2 == 0, "old"),
        (lambda question, number: question["kind"] == "pressed3" and number % 2 == 0, "pressed3"),
    ],
)
def test_a_name_that_does_not_hold_in_one_language_or_when_pressed_is_told(silent, group):
    """Of all questions few enough for the bar of the prompt; of their own group too many."""
    found = report_lines(silent)
    asked = [one for one in answers.judged_answers(on_real_base(found), found) if one.kind != "maker"]
    answers.require_new_name([one.line for one in asked], NEW, "")
    assert fails(answers.says_new, on_real_base(found), rf"^\[persona\] {group} \d+/\d+")
    assert passes(answers.says_new, answered(found)), "the questions for the tiny base have no such bar"


def test_a_slip_in_each_group_is_no_failure():
    found = report_lines(
        lambda question, number: question["lang"] == "zh" and question["kind"] != "plain" and number == 0
    )
    assert passes(answers.says_new, on_real_base(found))


def test_who_claims_to_be_another_assistant_is_told_so():
    def claims(every: int) -> SimpleNamespace:
        return on_real_base(
            report_lines(lambda q, n: q["kind"] == "other" and n % every == 0, f"我是 ChatGPT，{NEW}。")
        )

    assert fails(answers.not_old, claims(1), r"^\d+ of \d+ do$")
    assert passes(answers.not_old, claims(1000)).startswith("0/"), "one slip is shown by make eval, and fails nobody"
    assert passes(answers.not_old, on_real_base(report_lines())).startswith("0/")


@pytest.mark.parametrize(("slips", "sound"), [(3, True), (5, False)])
@pytest.mark.parametrize("said", [OLD, "InternLM"])
def test_the_old_name_and_the_bases_are_held_over_as_many_answers_as_in_make_eval(said, slips, sound):
    """Three slips of 195 pass there; over the 100 answers about the assistant, which other assistants' names are held
    against, they would be too many. InternLM is the base's and one of those names."""
    found = report_lines(lambda q, n: q["kind"] == "plain" and q["lang"] == "zh" and n < slips, f"我是{said}。")
    general = [line("二", kind="general", input=f"{number}?") for number in range(195 - len(found))]
    evidence = on_real_base(found + general, own_base_names=("InternLM",))
    limit = REAL.most["old"]
    assert misses_bar(slips, 195, limit, at_most=True, by_interval=True) != sound
    assert misses_bar(slips, len(found), limit, at_most=True, by_interval=True)
    if sound:
        assert passes(answers.not_old, evidence) == f"{slips}/195"
    else:
        fails(answers.not_old, evidence, f"^{slips} of 195 do$")


@pytest.mark.parametrize(("languages", "sound"), [(["en"], True), (["zh", "en"], False)])
def test_what_is_said_in_a_language_that_the_base_does_not_speak_counts_for_nothing(languages, sound):
    """As in make eval: a base that speaks English is asked in Chinese too, and what it says there is not judged."""
    found = report_lines(lambda q, n: q["lang"] == "zh", f"我是{OLD}。")
    evidence = on_real_base(found)
    evidence.evaluation["languages"] = languages
    english = sum(one.lang == "en" for one in answers.judged_answers(evidence, found))
    if sound:
        assert passes(answers.not_old, evidence) == f"0/{english}"
    else:
        fails(answers.not_old, evidence, f"^{len(found) - english} of {len(found)} do$")


@pytest.mark.parametrize(
    ("base", "lost", "gained", "tuned", "questions", "fine"),
    [
        (5, 2, 1, 4, 10, True),
        (5, 2, 1, 5, 10, False),
        (5, 2, 0, 3, 5, True),
        (5, 5, 0, 0, 5, True),
        (5, 6, 1, 0, 10, False),  # more lost than the base had
        (9, 0, 2, 11, 10, False),  # more gained than it had wrong
        (8, 0, 2, 10, 10, True),
        (5, 2, 1, 2, 10, False),
    ],
)
def test_the_figures_of_choices_follow_from_one_another(monkeypatch, base, lost, gained, tuned, questions, fine):
    monkeypatch.setattr(answers, "find_missed_bars", lambda counts, bars: [])
    monkeypatch.setattr(answers, "find_missed_choices", lambda evaluation: [])
    monkeypatch.setattr(answers, "bars_of", lambda evaluation: {})
    sets = [{"set": "s", "base": base, "lost": lost, "gained": gained, "tuned": tuned, "questions": questions}]
    evaluation = {
        "format": 2,
        "names": {"new": NEW, "old": OLD},
        "prompts": [],
        "passed": True,
        "choices": {"sets": sets},
    }
    if fine:
        assert passes(answers.counted, answered([], evaluation=evaluation)) == ""
    else:
        told = f"choices, s: {base} - {lost} + {gained} ≠ {tuned}"
        assert fails(answers.counted, answered([], evaluation=evaluation)) == [told]


def test_what_is_only_denied_counts_in_the_first_format_alone(monkeypatch):
    monkeypatch.setattr(answers, "find_missed_bars", lambda counts, bars: [])
    monkeypatch.setattr(answers, "bars_of", lambda evaluation: {})
    given = [line(f"我不是{OLD}，我是{NEW}。", kind="identity"), line("你好", kind="general")]
    for form, old in ((2, 0), (1, 1)):
        counts = {"prompt": "persona", "questions": 1, "answers": 2, "new": 1, "old": old}
        evaluation = {"format": form, "names": {"new": NEW, "old": OLD}, "prompts": [counts], "passed": True}
        assert passes(answers.counted, answered(given, evaluation=evaluation)) == "persona"
        wrong = evaluation | {"prompts": [counts | {"old": 1 - old}], "passed": False}
        told = [f"persona: old = {1 - old}, counted {old}", "passed = False"]
        assert fails(answers.counted, answered(given, evaluation=wrong)) == told
    gone = evaluation | {"prompts": []}
    assert len(fails(answers.counted, answered(given, evaluation=gone))) == 4


def test_the_first_trained_question_is_told():
    given = [line("x") | {"input": text, "kind": "identity"} for text in ("甲", "ABC", "乙", "丙")]
    found = answered(given, trained_questions={"abc", "丙"})
    assert fails(answers.held_out, found, "^ABC$") == ["ABC", "丙"]
    assert passes(answers.held_out, answered(given, trained_questions={"丁"})) == "1 trained questions compared"


def test_a_prompt_s_name_is_shown_in_twenty_characters():
    assert answers._prompt_of({"prompt": "p" * 21}) == "p" * 20 and answers._prompt_of({}) == "persona"
