"""make bench-names: every way of writing is drawn, results outlive a stop, and the verdict is that of the evaluations."""

from __future__ import annotations

import json

import pytest

from lesson.authoring.banks import read_bank
from lesson.authoring.course_rows import SOURCE
from lesson.authoring.words import NameFinder
from lesson.bench import names
from lesson.bench.names import draw_names, enough_pass, judge_name, lines_of
from lesson.core.settings import SETTINGS
from recipe import bench_names

PROMPT = {
    "prompt": "none",
    "new": 54,
    "questions": 55,
    "general_kept": 81,
    "general_base_right": 90,
    "old": 0,
    "base": 1,
}


def evaluation(passed=True):
    failures = [] if passed else [{"prompt": "none", "bar": "new", "share": 0.5, "limit": 0.95}]
    return {"passed": passed, "prompts": [PROMPT, {**PROMPT, "prompt": "persona", "new": 55}], "failures": failures}


def test_names_are_drawn_by_the_seed_from_every_group_and_none_twice():
    drawn = draw_names(30, 42)
    assert drawn == draw_names(30, 42) != draw_names(30, 43)
    assert len(set(drawn)) == 30 and {group for _, group in drawn} == set(read_bank("bench_names")["groups"])
    assert draw_names(5, 42) == drawn[:5]
    everything = [name for group in read_bank("bench_names")["groups"].values() for name in group]
    assert len(draw_names(1000, 1)) == len(set(everything)) == len(everything) >= SETTINGS["NAMES"].parse("80")
    assert all(SETTINGS["NEW_NAME"].parse(name) == name for name in everything)


def test_no_name_stands_in_the_shipped_rows():
    """A row that says "Are you Luna-7?" – "No" would speak against the name."""
    text = SOURCE.read_text(encoding="utf-8")
    several = [name for group in read_bank("bench_names")["groups"].values() for name in group if len(name) > 1]
    assert [name for name in several if NameFinder(name).is_in(text)] == []


def test_a_result_is_that_of_the_evaluation_at_its_lowest():
    result = judge_name("闻星", "latin", "fast", 12.34, evaluation(False))
    assert (result.new, result.kept, result.slips, result.passed) == (0.9818, 0.9, 2, False)
    assert result.missed == ("new under none",) and "new under none" in lines_of([result])[2]


@pytest.mark.parametrize(("count", "failed", "enough"), [(30, 1, True), (30, 2, False), (5, 1, True), (5, 2, False)])
def test_one_name_of_thirty_may_fail_at_each_speed(count, failed, enough):
    results = [judge_name(str(n), "latin", "fast", 1, evaluation(n >= failed)) for n in range(count)]
    assert enough_pass([*results, judge_name("x", "latin", "stock", 1, evaluation())]) is enough


def test_the_bench_goes_on_where_it_was_and_measures_anew_what_changed(tmp_path, monkeypatch, call):
    monkeypatch.setattr(names, "FOLDER", tmp_path / "names")
    monkeypatch.setattr(bench_names, "FOLDER", tmp_path / "names")
    done: list[tuple[str, str]] = []

    def run_lesson(name, group, speed):
        if len(done) == 3 and "go on" not in done:
            done.append("go on")
            raise KeyboardInterrupt
        done.append((name, speed))
        return judge_name(name, group, speed, 1, evaluation(name != draw_names(2, 42)[1][0]))

    monkeypatch.setattr(names, "run_lesson", run_lesson)
    arguments = ("--names", "2", "--seed", "42")
    assert call(bench_names, *arguments)[0] == 130
    status, screen, _ = call(bench_names, *arguments)
    assert status == 0 and "stock: 1 of 2 names pass" in screen and "fast: 1 of 2" in screen
    assert [entry for entry in done if entry != "go on"] == [
        (n, s) for s in ("stock", "fast") for n, _ in draw_names(2, 42)
    ]
    assert len(json.loads((tmp_path / "names.json").read_text(encoding="utf-8"))["results"]) == 4
    call(bench_names, *arguments, "--speed", "fast")
    assert len(done) == 5, "nothing is measured twice"
    monkeypatch.setattr(names, "fingerprint", lambda: "other rows")
    call(bench_names, *arguments, "--speed", "fast")
    assert len(done) == 7
