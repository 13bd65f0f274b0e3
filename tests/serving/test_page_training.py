"""What the training tab shows follows from the files of a run, in both languages, as text."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from lesson.core.messages import set_language
from lesson.core.settings import Values
from lesson.runs import watching
from lesson.runs.folder import Run
from lesson.runs.samples import SampleAnswer
from lesson.runs.watching import Training
from lesson.serving import page_training
from lesson.serving.page_training import (
    TrainingWatch,
    format_duration,
    list_commands,
    list_figures,
    make_curve_columns,
    make_figures_html,
    make_sample_rows,
    make_samples_html,
)

RUN = Run(Path("build/runs/abcdefabcdef"))
GOING = Training(
    RUN,
    watching.TRAINING,
    step=79,
    total=176,
    loss=0.5794,
    mean_loss=0.5832,
    tokens_per_second=3306.7,
    left=61.2,
    age=2.2,
    checkpoint=50,
    curve=[(1, 3.3), (79, 0.58)],
    samples=[SampleAnswer(50, "Who?", "<b>Me</b>"), SampleAnswer(0, "", "InternLM")],
)


def test_a_running_training_shows_its_figures():
    assert [value for _, value in list_figures(GOING)] == [
        "79 / 176",
        "0.579",
        "0.583",
        "3,307",
        "1 min 1 s",
        "2 s ago",
    ]
    html = make_figures_html(GOING, talks=False)
    assert "run abcdefabcdef: training" in html and '<progress max="176" value="79"' in html
    assert "<code>make train</code>" in html and "Ctrl-C" in html and "step 50" in html
    set_language("zh")
    assert [value for _, value in list_figures(GOING)][-2:] == ["1 分 1 秒", "2 秒前"]
    assert "第 50 步" in make_figures_html(GOING, talks=False)
    assert list(make_curve_columns(GOING)) == ["步", "损失"]


def test_what_is_not_known_yet_is_a_dash_and_a_loss_that_is_none_is_said():
    assert {value for _, value in list_figures(Training())} == {"–"}
    assert "<progress" not in make_figures_html(Training(), talks=True)
    broken = Training(RUN, watching.DIVERGED, step=3, loss=math.nan)
    assert ("loss", "not a number") in list_figures(broken)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("talks", [True, False])
@pytest.mark.parametrize(
    ("state", "commands"),
    [
        (watching.NONE, ["make data NEW_NAME=…", "make train"]),
        (watching.STARTING, ["make train", "make train"]),
        (watching.TRAINING, ["make train", "make train"]),
        (watching.STOPPED, ["make train"]),
        (watching.DIVERGED, ["make train LR=…"]),
        (watching.FINISHED, ["make web", "make eval"]),
    ],
)
def test_each_state_names_what_to_type(state, commands, talks, language):
    set_language(language)
    lines = list_commands(Training(RUN, state), talks)
    if talks and state == watching.FINISHED:
        commands = commands[1:]  # it is talked to already
    assert re.findall("`(.*?)`", " ".join(lines)) == commands
    html = make_figures_html(Training(RUN, state), talks)
    assert [re.sub("<.*?>", "", code) for code in re.findall("<code>.*?</code>", html)] == commands


def test_without_a_checkpoint_going_on_is_beginning_anew():
    assert "begin anew" in " ".join(list_commands(Training(RUN, watching.STOPPED), False))
    assert "last checkpoint, step 8" in " ".join(list_commands(Training(RUN, watching.STOPPED, checkpoint=8), False))


def test_samples_are_rows_of_text_and_names_of_folders_are_escaped():
    assert make_sample_rows(GOING) == [["50", "Who?", "<b>Me</b>"], ["before training", "–", "InternLM"]]
    ((*_, soon),) = make_sample_rows(Training())
    assert "at each checkpoint" in soon
    assert '<td data-heading="sample answer">&lt;b&gt;Me&lt;/b&gt;</td>' in make_samples_html(GOING)
    hostile = Training(Run(Path("runs/<script>x")), watching.STOPPED)
    assert "<script>" not in make_figures_html(hostile, talks=False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"), (3599.9, "1 h 0 min"), (7500, "2 h 5 min"), (1e6, "277 h 46 min")],
)  # fmt: skip
def test_durations_have_their_two_largest_units(seconds, text):
    assert format_duration(seconds) == text


def test_many_visitors_cost_one_look_at_the_files(tmp_path, monkeypatch):
    (tmp_path / "runs" / "abcdefabcdef" / "work_dir").mkdir(parents=True)
    curve = tmp_path / "runs" / "abcdefabcdef" / "work_dir" / "curve.jsonl"
    clock = [100.0]
    monkeypatch.setattr(page_training.time, "monotonic", lambda: clock[0])
    watch = TrainingWatch(Values({"BUILD": str(tmp_path), "PROFILE": "tiny"}, {}))
    assert watch.look().state == watching.STOPPED
    curve.write_text(json.dumps({"total": 3}) + "\n" + json.dumps({"step": 1, "loss": 2.5}) + "\n")
    assert watch.look().step == 0, "seen just now"
    clock[0] += page_training.FRESH
    assert (watch.look().step, watch.look().total) == (1, 3)


def test_a_named_run_that_went_away_is_no_training(tmp_path):
    assert TrainingWatch(Values({"BUILD": str(tmp_path), "RUN": "abc"}, {})).look() == Training()


def test_a_run_that_is_evaluated_is_handed_in_next(tmp_path):
    run = Run(tmp_path)
    assert "make eval" in list_commands(Training(run, watching.FINISHED), True)[-1]
    run.evaluation.mkdir()
    (run.evaluation / "evaluation.json").write_text("{}")
    assert "make submission NAME=" in list_commands(Training(run, watching.FINISHED), True)[-1]
