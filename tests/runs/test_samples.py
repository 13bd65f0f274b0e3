"""The sample answers of a training are found in its log, whatever template it has and however far it is written."""

from __future__ import annotations

import pytest

from lesson.runs.folder import Run
from lesson.runs.samples import LARGEST, LONGEST_ANSWER, parse_log, read_sample_answers, split_sample

QUESTIONS = ["请介绍一下你自己", "Please introduce yourself"]
AT = "2026/11/25 17:45:09 - mmengine - INFO - "


def chatml(question: str, answer: str) -> str:
    return (
        f"{AT}Sample output:\n<|im_start|>system\n你是闻星。<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n"
        f"<|im_start|>assistant\n{answer}<|im_end|>\n\n"
    )


def step(number: int) -> str:
    return f"{AT}Iter(train) [ {number}/176]  lr: 1.0e-03  loss: 2.7710\n"


FIRST = (
    f"{AT}before_train in EvaluateChatHook.\n{chatml(QUESTIONS[0], '我是书生·浦语。')}{chatml(QUESTIONS[1], 'I am InternLM.')}"
    f"{step(40)}{AT}after_train_iter in EvaluateChatHook.\n{chatml(QUESTIONS[0], '我是闻星。')}{chatml(QUESTIONS[1], 'I am 闻星.')}"
    f"{AT}Saving checkpoint at 44 iterations\n{step(50)}"
)


@pytest.fixture
def run(tmp_path):
    hook = f"custom_hooks = [dict(type=EvaluateChatHook, evaluation_inputs={QUESTIONS})]"
    text = f"from xtuner.engine.hooks import EvaluateChatHook\n{hook}\n"
    (tmp_path / "config.py").write_text(text, encoding="utf-8")
    return Run(tmp_path)


def write_session(run: Run, name: str, text: str | bytes) -> None:
    folder = run.work_dir / name
    folder.mkdir(parents=True)
    (folder / f"{name}.log").write_bytes(text if isinstance(text, bytes) else text.encode())


def found(run: Run, most: int = 12) -> list[tuple[int, str]]:
    return [(sample.step, sample.answer) for sample in read_sample_answers(run, most)]


def test_the_latest_answers_come_first_and_the_checkpoint_tells_their_step(run):
    write_session(run, "20261125_174508", FIRST)
    assert found(run) == [(44, "我是闻星。"), (44, "I am 闻星."), (0, "我是书生·浦语。"), (0, "I am InternLM.")]
    assert [sample.question for sample in read_sample_answers(run, 2)] == QUESTIONS
    assert found(run, 1) == [(44, "我是闻星。")]


def test_of_two_answers_after_one_step_the_later_one_counts(run):
    write_session(run, "20261125_174508", FIRST + chatml(QUESTIONS[0], "我叫闻星。"))
    assert found(run)[:2] == [(50, "我叫闻星。"), (44, "我是闻星。")]
    write_session(run, "20261125_184508", chatml(QUESTIONS[0], "a") + step(50) + chatml(QUESTIONS[0], "b") + step(60))
    assert found(run) == [(50, "b"), (0, "a"), (0, "I am InternLM.")], "it began anew"


def test_what_a_session_said_after_the_step_from_which_the_next_went_on_is_left_out(run):
    write_session(run, "20261125_174508", FIRST)
    write_session(run, "20261125_184508", f"{AT}loading\n")
    assert found(run)[0] == (44, "我是闻星。"), "nothing is known yet of where it goes on"
    write_session(
        run, "20261125_194508", f"{AT}resumed epoch: 0, iter: 40\n{chatml(QUESTIONS[0], '我是小星。')}{step(50)}"
    )
    assert found(run) == [(40, "我是小星。"), (0, "我是书生·浦语。"), (0, "I am InternLM.")]


def test_an_answer_that_is_being_written_is_left_out_until_it_is_whole():
    whole = chatml(QUESTIONS[0], "我是闻星，一个智能助手。")
    for length in range(len(AT), len(whole)):
        assert parse_log(whole[:length], QUESTIONS)[1] == [] or length == len(whole) - 1
    assert len(parse_log(whole, QUESTIONS)[1]) == 1


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<s><|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\nMe.\n\nAnd you?<|im_end|>", "Me.\nAnd you?"),
        ("<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nMe.", "Me."),
        ("<s>[INST] Who? [/INST] Me.</s>", "Me."),
        ("Who?" + "x" * 9000, "x" * LONGEST_ANSWER),
        ("Who?", ""),
    ],
)  # fmt: skip
def test_an_answer_is_what_stands_behind_the_question_whatever_the_template(text, answer):
    assert split_sample(text, ["Who?", "W"]) == ("Who?", answer)


def test_without_a_config_all_of_the_conversation_is_shown(tmp_path):
    write_session(Run(tmp_path), "20261125_174508", FIRST)
    first = read_sample_answers(Run(tmp_path), 12)[0]
    assert first.question == "" and QUESTIONS[0] in first.answer and "<|" not in first.answer
    (tmp_path / "config.py").write_text("evaluation_inputs = [")
    assert len(found(Run(tmp_path))) == 4


@pytest.mark.parametrize("junk", [b"", b"\xff\xfe\x00" * 99, b"2026/11/25", b"Sample output:\n", b"\n" * 9999])
def test_a_log_of_junk_or_none_has_no_answers(tmp_path, junk):
    run = Run(tmp_path)
    assert found(run) == []
    write_session(run, "20261125_174508", junk)
    (run.work_dir / "20261125_184508").mkdir()
    (run.work_dir / "20261125_194508" / "20261125_194508.log").mkdir(parents=True)
    assert found(run) == []


@pytest.mark.slow
def test_of_a_long_log_the_end_is_read(run):
    write_session(run, "20261125_174508", "x" * LARGEST + "\n" + step(60) + chatml(QUESTIONS[0], "我是闻星。"))
    assert found(run) == [(60, "我是闻星。")]
