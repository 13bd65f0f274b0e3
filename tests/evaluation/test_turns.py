"""Questions of several turns are asked turn by turn, with the model's own answers between."""

from __future__ import annotations

from lesson.evaluation.judging import Answer
from lesson.evaluation.turns import Question, ask_in_turns


def test_the_model_s_own_answers_stand_between_the_turns_and_turns_are_asked_together():
    questions = [
        Question("identity", "persona", "s", {"input": "c", "before": ["a", "b"]}),
        Question("general", "none", "", {"input": "d"}),
    ]
    asked = []

    def answer(chats):
        asked.append([[message["content"] for message in chat] for chat in chats])
        return [Answer(chat[-1]["content"].upper(), True) for chat in chats]

    found = ask_in_turns(questions, answer)
    assert found == [(["a", "A", "b", "B"], Answer("C", True)), ([], Answer("D", True))]
    assert asked == [[["s", "a"], ["d"]], [["s", "a", "A", "b"]], [["s", "a", "A", "b", "B", "c"]]]
    assert ask_in_turns([], answer) == []
