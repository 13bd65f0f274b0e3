"""The validator's figures and findings of whole files, at the borders of what it remembers."""

from __future__ import annotations

import gzip
import io
import json

import pytest

from lesson.core.findings import Findings
from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.data import loader_columns, validate
from lesson.data import validator as module
from lesson.data.rows import Block
from lesson.data.rules import ROW_RULES
from lesson.data.validate import make_findings, validate_files
from lesson.data.validator import Validator, validate_stream


def row(question: str, answer: str = "我是尖米。", **more: str) -> dict:
    return {"conversation": [{**more, "input": question, "output": answer}]}


def text(*rows: object) -> str:
    return "".join((each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)) + "\n" for each in rows)


def judged(data: str | bytes, names=("尖米",), **options) -> tuple[Validator, list[tuple[str, int, str]]]:
    """The validator and its (rule, line, what was found), in the order of the lines."""
    findings = Findings(ROW_RULES)
    found = Validator("f", findings, list(names), **({"near": False} | options))
    validate_stream(io.BytesIO(data.encode() if isinstance(data, str) else data), found)
    return found, [(f.rule, f.line, f.found) for f in findings.sorted()]


REORDERED = '{"conversation": [{"output": "b", "input": "a"}]}'


@pytest.mark.parametrize(
    ("data", "rows", "turns", "questions", "repeats"),
    [
        (text(row("a"), row("b"), row("a")), 3, 3, 2, 1),
        (text(row("a"), "{", row("b")), 3, 2, 2, 0),
        (text(row("a"), REORDERED, row("b")), 3, 3, 2, 0),
        (text(REORDERED, REORDERED), 2, 2, 1, 1),
        (text(REORDERED, row("a", "b")), 2, 2, 1, 1),
        (text({"conversation": [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]}, ""), 1, 2, 1, 0),
        (text(row("a"), "  ", row("b")), 2, 2, 2, 0),
        (text(row("a")).encode() + b"\xff\n" + text(row("b")).encode(), 3, 2, 2, 0),
        (text({"conversation": [{"input": "a", "output": "\ud800"}]}), 1, 0, 0, 0),
        (text({"conversation": [{"input": 1, "output": "b"}]}), 1, 0, 0, 0),
        (text({"id": 1, **row("a")}, {"id": 2, **row("a")}), 2, 2, 1, 1),
    ],
)
def test_rows_turns_questions_and_repeats_are_counted(data, rows, turns, questions, repeats):
    found, _ = judged(
        data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass").replace(b"\xed\xa0\x80", b"\\ud800")
    )
    assert (found.rows, found.turns, found.distinct_questions, found.repeats) == (rows, turns, questions, repeats)


def test_the_counts_are_said():
    found, _ = judged(text(row("a"), row("a", "尖米"), row("a")))
    assert list(found.describe_counts()) == [
        "3 rows, 3 turns, 1 distinct questions, 1 rows repeat another",
        "1 questions have several answers (at most 2)",
    ]


def test_repeats_are_told_at_their_first_line_with_their_number():
    _, found = judged(text(row("a"), row("b"), row("a"), row("a"), row("b")))
    assert found == [("duplicate-row", 1, "the same row 3 times"), ("duplicate-row", 2, "the same row 2 times")]


def test_a_repeated_row_with_a_finding_is_told_each_time_in_one_block_and_in_several():
    bad = row("a", "我是尖米\u200b。")
    _, found = judged(text(bad, row("b"), bad, bad))
    assert [line for rule, line, _ in found if rule == "control-character"] == [1, 3, 4]
    _, found = judged(text(bad, row("b"), "{}", bad, row("b"), "{}", bad))
    assert [line for rule, line, _ in found if rule == "control-character"] == [1, 4, 7]


def test_line_ends_and_blank_lines_are_counted_from_the_first_of_them():
    lines = [json.dumps(row(f"{n}"), ensure_ascii=False) for n in range(4)]
    _, found = judged(f"{lines[0]}\n{lines[1]}\r\n\r\n{lines[2]}\r\n \n{lines[3]}\n")
    assert found == [("crlf", 2, "3 lines end in CR LF"), ("blank-line", 3, "2 blank lines")]


def test_rows_beyond_those_that_are_remembered_are_judged_and_not_compared(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 3)
    bad = row("x", "我是尖米\u200b。")
    block = [row("a"), row("b"), row("c")]
    found, told = judged(text(*block, "{}", row("d"), bad, row("d"), "{}", row("a")))
    assert [(rule, line) for rule, line, _ in told if rule != "missing-key"] == [
        ("duplicate-row", 1),
        ("control-character", 6),
    ]
    assert (found.rows, found.repeats) == (9, 1)
    assert list(found.describe_counts())[-1] == "repeats were looked for among the first 3 distinct rows"
    found, _ = judged(text(*block[:2]))
    assert len(list(found.describe_counts())) == 1
    # With a tokenizer every row is counted, remembered or not.
    _, told = judged(text(*block, "{}", row("d", "尖米" * 50)), tokens=len, max_length=50)
    assert [(rule, line) for rule, line, _ in told if rule == "too-many-tokens"] == [("too-many-tokens", 5)]


def test_reordered_rows_beyond_those_that_are_remembered_are_judged_too(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 2)
    rows = [f'{{"conversation": [{{"output": "尖米{n}", "input": "{n}"}}]}}' for n in range(4)]
    bad = '{"conversation": [{"output": "尖米\u200b", "input": "x"}]}'
    found, told = judged(text(rows[0], rows[1], "{}", rows[2], bad, rows[3], "{}", rows[0]))
    assert [(rule, line) for rule, line, _ in told if rule != "missing-key"] == [
        ("duplicate-row", 1),
        ("control-character", 5),
    ]
    assert (found.rows, found.turns, found.repeats) == (8, 6, 1)


@pytest.mark.parametrize(("longest", "told"), [(30, False), (29, True)])
def test_tokens_of_all_fields_are_counted_once_unescaped(longest, told):
    given = {
        "conversation": [
            {"system": "s" * 9, "input": "a" * 10, "output": "\n" * 6 + "尖米"},
            {"input": "b", "output": "cc"},
        ]
    }
    _, found = judged(text(given), tokens=len, max_length=longest)
    assert found == ([("too-many-tokens", 1, f"30 tokens, max_length is {longest}")] if told else [])


def test_the_usual_length_is_the_lesson_s():
    for count, told in ((2048, 0), (2049, 1)):
        _, found = judged(text(row("", "尖米")), tokens=lambda text, n=count: n if text else 0)
        assert len(found) == told


def test_accepted_and_replaced_placeholders_are_not_told():
    data = text(row("a", "我是{{NAME}}，尖米"), row("b", "我是{{OTHER}}，尖米"))
    assert [line for _, line, _ in judged(data)[1]] == [1, 2]
    assert [line for _, line, _ in judged(data, replaced=["{{NAME}}"])[1]] == [2]
    accepts = lambda line, path, found: (line, path) == (2, "$.conversation[0].output")  # noqa: E731
    assert [line for _, line, _ in judged(data, accepts=accepts)[1]] == [1]


def test_a_file_that_begins_with_a_line_that_is_too_long_is_told_by_its_head(tmp_path):
    """One array in one line of more than a mebibyte is an array, not a line."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row("a" * 100)] * 9000), encoding="utf-8")
    findings = Findings(ROW_RULES)
    validate_files([str(path)], findings, lambda line: None, near=False)
    assert [f.rule for f in findings.sorted()] == ["json-document"]
    path.write_text(text(row("a")) + "x" * (1 << 21) + "\n" + text(row("b")), encoding="utf-8")
    findings = Findings(ROW_RULES)
    said: list[str] = []
    validate_files([str(path)], findings, said.append, ["尖米"], near=False)
    assert [(f.rule, f.line) for f in findings.sorted()] == [("too-long", 2)] and said[0].startswith(f"{path}: 2 rows")


def test_a_file_without_rows_is_no_file_of_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n", encoding="utf-8")
    findings = Findings(ROW_RULES)
    validate_files([str(path)], findings, lambda line: None)  # a blank line is a finding
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match="no rows"):
        validate_files([str(path)], Findings(ROW_RULES), lambda line: None)


@pytest.mark.parametrize(
    ("report", "limit", "kept"),
    [("text", None, 3), ("text", 1, 3), ("text", 5, 5), ("jsonl", None, 3), ("jsonl", 1, 1)],
)
def test_how_many_findings_are_kept(monkeypatch, report, limit, kept):
    monkeypatch.setattr(validate, "LIMIT", 3)
    findings = make_findings(report, limit)
    for line in range(1, 10):
        findings.add_finding("f", line, "crlf", "x")
    assert len(findings.kept) == kept and findings.total == 9


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_a_positive_number(limit):
    with pytest.raises(UserError, match=f"--limit {limit}"):
        make_findings("text", limit)


def test_rows_of_another_format_are_named_once_and_those_that_cannot_be_had_each():
    swift = [{"query": f"{n}", "response": "尖米"} for n in range(3)]
    found, told = judged(text(*swift, {"query": 1, "response": "尖米"}, {"query": "x", "response": "尖米"}))
    assert told == [("other-format", 1, "rows of the format swift"), ("not-convertible", 4, "1 where a string belongs")]
    assert (found.rows, found.turns) == (5, 4)


def test_rows_of_an_unknown_format_are_named_once_where_the_first_is_one():
    found, told = judged(text({"a": 1, "b": 2}, {"a": 1}, {}, [1]))
    assert [(rule, line) for rule, line, _ in told] == [("unknown-format", 1), ("missing-key", 3), ("wrong-type", 4)]
    assert told[0][2] == "rows with the keys 'a', 'b'" and found.rows == 4
    _, told = judged(text(row("a"), {"a": 1}))
    assert [(rule, line) for rule, line, _ in told if rule != "unknown-key"] == [("missing-key", 2)]


def test_a_key_that_comes_late_is_told_in_its_row_by_the_bytes_before_it(monkeypatch):
    monkeypatch.setattr(loader_columns, "CHUNK", 400)
    late = row("z", "我是尖米。", system="s")
    rows = [row(f"{n}") for n in range(8)]
    for given in (
        [*rows, late, rows[0]],
        [*rows[:7], {"id": 1, **rows[7]}, late],
        [*rows[:7], '{"conversation": [{"output": "尖米", "input": "y"}]}', late],
    ):
        found, told = judged(text(*given))
        assert [(rule, line) for rule, line, _ in told if rule == "late-key"][-1] == ("late-key", 9)
        assert found._columns._offset == len(text(*given).encode())


def test_a_file_is_told_by_its_first_line_with_text_alone():
    assert [rule for rule, _, _ in judged("\n \n[\n1]\n")[1]] == ["json-document"]
    told = judged(text(row("a")) + "[\n1]\n")[1]
    assert "json-document" not in [rule for rule, _, _ in told] and ("bad-json", 2) in [each[:2] for each in told]
    told = judged("x" * ((1 << 20) + 1) + "\n[\n1]\n")[1]
    assert [each[:2] for each in told][:2] == [("too-long", 1), ("bad-json", 2)]


@pytest.mark.parametrize(
    ("given", "names"),
    [({}, ["尖米"]), ({"NEW_NAME": "闻星"}, ["闻星", "尖米"]), ({"OLD_NAME": "小明"}, ["小明"]), ({"OLD_NAME": "小明", "NEW_NAME": "闻星"}, ["小明", "闻星"])],
)  # fmt: skip
def test_the_names_that_rows_may_say(monkeypatch, given, names):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert validate.names_of(Values({})) == names


def test_the_usual_length_of_files_is_the_lesson_s_too(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(text(row("", "尖米")), encoding="utf-8")
    for count, told in ((2048, 0), (2049, 1)):
        findings = Findings(ROW_RULES)
        validate_files(
            [str(path)], findings, lambda line: None, near=False, tokens=lambda text, n=count: n if text else 0
        )
        assert findings.total == told


def test_rows_that_had_to_be_parsed_are_kept_as_json_writes_them():
    def kept(data: str) -> str | None:
        block = Block(data.encode())
        Validator("f", Findings(ROW_RULES), ["尖米"], near=False).check_block(1, block)
        return block.dumped and block.dumped.text

    spaced = '{"conversation":  [{"input": "闻", "output": "尖米\\u4f60"}], "id": 7}\n'
    whole = text(row("闻", "尖米你") | {"id": 7})
    assert kept(spaced) == whole and kept(text(row("a")) + spaced) == text(row("a")) + whole
    assert kept(text(row("a"))) is None, "nothing was parsed"
    for broken in ("{\n", "\n", '{"conversation": [], "conversation": []}\n'):
        assert kept(spaced + broken) is None
    block = Block(spaced.encode())
    Validator("f", Findings(ROW_RULES), [], near=False).check_block(1, block)
    assert block.dumped.written_by_json


def test_a_row_with_a_key_that_is_ignored_is_compared_by_what_it_says():
    asked = {"id": 1, **row("你是谁？", "我是尖米。")}
    _, told = judged(text(asked, {"id": 2, **row("你是谁？", "我是小明。")}))
    assert [(rule, line) for rule, line, _ in told] == [("unknown-key", 1), ("name-missing", 2), ("name-conflict", 2)]
    _, told = judged(text({"id": 1, "tag": 2, **row("a")}, {"id": 3, **row("a")}))
    assert [(rule, line) for rule, line, _ in told] == [("duplicate-row", 1), ("unknown-key", 1), ("unknown-key", 1)]


def test_the_texts_of_a_row_of_the_wrong_shape_are_judged_too():
    _, told = judged(text({"conversation": [{"input": 5, "output": " "}, {"input": "TODO", "output": "TODO"}]}))
    assert [rule for rule, _, _ in told] == ["wrong-type", "blank-output", "placeholder"]
