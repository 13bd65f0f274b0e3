"""Files turned into another format: what many rows have in common is told once, with how many."""

from __future__ import annotations

import json

import pytest

from lesson.core.findings import Findings
from lesson.data.conversion_files import Converted, convert_file, lines_of
from lesson.data.rules import ROW_RULES

PAIR = {"query": "a", "response": "b"}


def converted(tmp_path, *rows: object, source="auto", target="xtuner", drop=frozenset()):
    """(what was written, what was done, [(line, path, what was found)])."""
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    output.unlink(missing_ok=True)
    findings = Findings(ROW_RULES)
    done = convert_file(str(path), str(output), source, target, drop, findings)
    made = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else None
    return made, done, [(f.line, f.path, f.found) for f in findings.sorted()]


def test_rows_become_others_and_keep_what_xtuner_ignores(tmp_path):
    turn = {"conversation": [{"input": "a", "output": "b"}]}
    made, done, found = converted(tmp_path, PAIR, {"id": 7, **PAIR}, {"x": 1, **turn})
    assert made == [turn, {**turn, "id": 7}, {**turn, "x": 1}] and done == {"rows": 3} and found == []
    assert converted(tmp_path, {"id": 7, "x": 1, **PAIR}, drop={"id"})[0] == [{**turn, "x": 1}]
    assert converted(tmp_path, {"id": 7, **PAIR}, target="alpaca", drop={"id"})[0] == [
        {"instruction": "a", "input": "", "output": "b"}
    ]
    assert converted(tmp_path, {"instruction": "a", "output": "b"}, source="alpaca")[0] == [turn]


@pytest.mark.parametrize(("count", "more"), [(1, ""), (2, ", in 2 rows"), (3, ", in 3 rows")])
def test_keys_without_a_place_are_told_once_with_the_command_that_lets_them_go(tmp_path, count, more):
    rows = [PAIR, *[{"my id": n, **PAIR} for n in range(count)]]
    made, done, found = converted(tmp_path, *rows, target="messages")
    [(line, path, said)] = found
    assert (made, done, line, path) == (None, Converted(), 2, '$["my id"]')
    command = (
        f".venv/bin/python -m recipe.formats {tmp_path}/in.jsonl {tmp_path}/out.jsonl --to messages --drop 'my id'"
    )
    assert said.startswith("no place for ") and said.endswith(f"{more}; to let go of it: {command}")
    assert (", in" in said) is bool(more)


def test_the_command_names_the_format_and_what_was_dropped_before(tmp_path):
    row = {"id": 1, "z": 2, "b": 3, "messages": []}
    [(_, _, said)] = converted(tmp_path, row, source="messages", target="sharegpt", drop={"z", "id"})[2]
    assert said.endswith(f"{tmp_path}/out.jsonl --drop id --drop z --from messages --to sharegpt --drop b")


@pytest.mark.parametrize(("count", "more"), [(1, ""), (2, ", in 2 rows")])
def test_rows_of_an_unknown_format_are_told_once(tmp_path, count, more):
    made, _, found = converted(tmp_path, *[{"a": 1, "b": 2}] * count, {"c": 1}, [1], 3)
    assert made is None and found == [
        (1, "$", f"rows with the keys 'a', 'b'{more}"),
        (count + 1, "$", "rows with the keys 'c'"),
        (count + 2, "$", "not an object"),
        (count + 3, "$", "not an object"),
    ]


def test_what_is_wrong_with_one_row_is_told_at_its_place_and_the_others_are_read_on(tmp_path):
    blank = {"query": "a", "response": ""}
    made, done, found = converted(
        tmp_path, PAIR, "{", {"query": 1, "response": "b"}, blank, '{"query": "a", "query": "b", "response": "c"}'
    )
    assert made is None and done == Converted()
    assert [(line, path) for line, path, _ in found] == [
        (2, ""),
        (3, "$.query"),
        (4, "$.conversation[0].output"),
        (5, "$.query"),
    ]
    # Where XTuner does not read it, what check-data would refuse is no concern.
    assert converted(tmp_path, blank, target="alpaca")[0] == [{"instruction": "a", "input": "", "output": ""}]


def test_what_xtuner_leaves_out_is_counted_and_said(tmp_path):
    left = {"instruction": "a", "output": "<nooutput>"}
    opening = {"messages": [{"role": r, "content": "x"} for r in ("assistant", "user", "assistant")]}
    made, done, _ = converted(tmp_path, left, opening, left)
    assert len(made) == 1 and done == {"rows": 1, "opening": 1, "no output": 2}
    assert lines_of(done, "my out", "xtuner") == [
        "left out, as XTuner does: 1 messages of the assistant before the first question",
        "left out, as XTuner does: 2 rows with <nooutput>",
        "1 rows: my out",
        "next: make data SRC='my out'",
    ]
    assert lines_of(Converted({"rows": 4}), "out", "alpaca") == ["4 rows: out"]
