"""Files as people have them: each is named by check-data, and what it says to type works, through to make data."""

from __future__ import annotations

import gzip
import io
import json
import re
import shlex
import time
import zipfile

import openpyxl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.core.layout import changed_rows
from lesson.core.messages import UserError
from lesson.core.strict_json import BROKEN, find_paths
from lesson.data import sources
from lesson.data.encodings import detect_encoding
from lesson.data.rows import LONGEST_LINE, read_rows
from lesson.data.sources import read_document, read_source
from recipe import data, formats, validate

SAID = [
    ("你是谁？", "我是尖米，很高兴认识你。"),
    ("一加一等于几？", "等于二。"),
    ("请问营业时间是？", "尖米答：早上九点到晚上八点，周末也开。"),
    ('他说"好"，\n然后呢？', "然后就走了，尖米也不知道去了哪里。"),
]
XTUNER = [{"conversation": [{"input": question, "output": answer}]} for question, answer in SAID]
MESSAGES = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in SAID]


def dumps(rows, **options) -> str:
    return json.dumps(rows, ensure_ascii=False, **options)


def lines(rows) -> str:
    return "".join(dumps(row) + "\n" for row in rows)


def table(header, delimiter=",", end="\r\n") -> str:
    quoted = [[cell.replace('"', '""') for cell in row] for row in SAID]
    return end.join([delimiter.join(header), *(f'"{q}"{delimiter}"{a}"' for q, a in quoted), ""])


def excel(header, notes=False) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    sheet = book.active
    if notes:
        sheet.append(["这是说明"])
        sheet = book.create_sheet()
        sheet.append([])
    for row in (header, *SAID):
        sheet.append(list(row))
    book.save(out)
    return out.getvalue()


def packed(name: str, content: bytes, *more: str) -> bytes:
    """A zip with the same bytes at any time: they name a test, and two workers have to find the same names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
        for other in more:
            archive.writestr(zipfile.ZipInfo(other), b"")
    return out.getvalue()


PRETTY = "\n".join(dumps(row, indent=2) for row in XTUNER)
FILES = {
    "array.json": dumps(XTUNER).encode(),
    "array.jsonl": dumps(XTUNER, indent=4).encode(),
    "crlf.json": dumps(XTUNER, indent=1).replace("\n", "\r\n").encode(),
    "bom.json": dumps(XTUNER).encode("utf-8-sig"),
    "pretty.jsonl": PRETTY.encode(),
    "pretty-one.json": dumps(XTUNER[0], indent=2).encode(),
    "pretty-commas.json": PRETTY.replace("\n}\n{", "\n},\n{").encode(),
    "array-a-line.jsonl": "".join(dumps([row]) + "\n" for row in XTUNER).encode(),
    "long array.json": dumps(XTUNER * 5000).encode(),
    "messages.jsonl": lines(MESSAGES).encode(),
    "messages.json": dumps(MESSAGES, indent=1).encode(),
    "roles.jsonl": lines({"conversations": row["messages"], "system": "你是尖米。"} for row in MESSAGES).encode(),
    "alpaca.json": dumps([{"instruction": q, "input": "", "output": a, "history": [["在吗", "在"]]} for q, a in SAID]).encode(),
    "swift.jsonl": lines({"query": q, "response": a} for q, a in SAID).encode(),
    "pairs.jsonl": lines({"input": q, "output": a} for q, a in SAID).encode(),
    "pairs.json": dumps([{"问题": q, "回答": a} for q, a in SAID], indent=1).encode(),
    "bom.jsonl": lines(XTUNER).encode("utf-8-sig"),
    "utf-16.jsonl": lines(XTUNER).encode("utf-16"),
    "utf-16-le.jsonl": lines(MESSAGES).encode("utf-16-le"),
    "utf-16.json": dumps(MESSAGES, indent=2).encode("utf-16"),
    "gbk.json": dumps(XTUNER).encode("gbk"),
    "gbk.jsonl": lines(XTUNER).encode("gbk"),
    "gbk.csv": table(("问题", "回答")).encode("gbk"),
    "big5.jsonl": lines([{"question": "你們幾點開門？", "answer": "我們早上九點開門，歡迎光臨。尖米敬上。"}] * 3).encode("big5"),
    "excel.csv": table(("question", "answer")).encode("utf-8-sig"),
    "semicolons.csv": table(("Question", "Answer"), ";", "\n").encode(),
    "tabs.txt": table(("问题", "答案"), "\t", "\n").encode(),
    "it's a shop.xlsx": excel(("问题", "回答")),
    "notes.xlsx": excel(("Question ", "Answer"), notes=True),
    "lines.zip": packed("a/rows.jsonl", lines(XTUNER).encode(), "__MACOSX/x", ".DS_Store"),
    "table.zip": packed("rows.csv", table(("问题", "回答")).encode("gbk")),
    "excel.zip": packed("rows.xlsx", excel(("问题", "回答"))),
    "gzip of an array": gzip.compress(dumps(XTUNER).encode()),
    "numbers.csv": "编号,客户问题,标准答案,备注\n1,几点开门,尖米说九点,\n2,几点关门,尖米说八点,周末晚\n".encode("gbk"),
    "-dash.json": dumps(XTUNER).encode(),
}  # fmt: skip


def call(module, *arguments) -> tuple[int, str]:
    out = io.StringIO()
    return module.main([*map(str, arguments), "--lang", "en"], out, out), out.getvalue()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BUILD", str(tmp_path / "build"))
    return tmp_path


SLOW = {"long array.json": pytest.mark.slow}


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in FILES])
def test_what_check_data_says_to_type_works_through_to_the_preview(place, name):
    """One finding names what the file is; its command, typed as it stands, writes rows that nobody refuses."""
    (place / name).write_bytes(FILES[name])
    status, said = call(validate, "--name", "尖米", f"./{name}" if name.startswith("-") else name)
    assert status == 1 and said.count("[error ") <= (4 if name == "bom.jsonl" else 1), said
    command = re.search(r"python -m (recipe\.formats .*)", said)[1].split("\n")[0]
    status, refused = call(data, "--src", name) if not name.startswith("-") else (2, command)
    assert status == 2 and command in refused.splitlines()[-1]  # make data says the same
    arguments = shlex.split(command)[1:]
    status, said = call(formats, *arguments)
    assert status == 0, said
    following = re.search(r"next: make data (SRC=.*)", said)[1]
    source = shlex.split(following)[0].removeprefix("SRC=")
    assert source == arguments[1]
    rows = list(read_rows(source))
    if not name.startswith(("roles", "alpaca", "long", "big5", "pretty-one", "numbers")):
        assert rows == XTUNER
    status, said = call(validate, "--name", "尖米", source)
    assert "[error" not in said
    status, said = call(data, "--src", source, "--old-name", "尖米", "--new-name", "机智流")
    assert status == 0, said
    assert sum("机智流" in row["conversation"][-1]["output"] for row in read_rows(changed_rows(place / "build"))) >= 1


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_rows_are_read_whatever_the_name(place, pack):
    (place / "rows.jsonl").write_bytes(pack(lines(XTUNER).encode()))
    assert call(validate, "--name", "尖米", "rows.jsonl")[0] == 0
    assert call(data, "--src", "rows.jsonl")[0] == 0


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, ".xls"),
        ("picture.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "not text"),
        ("two.zip", packed("a.jsonl", b"{}", "b.jsonl"), "2 files"),
        ("cut.zip", packed("a.jsonl", b"{}")[:30], "cannot be unpacked"),
        ("damaged.xlsx", packed("xl/workbook.xml", b"<a"), "not an Excel file"),
        ("columns.csv", "编号,内容\n1,好\n2,坏\n".encode(), "'编号', '内容'"),
        ("keys.json", b'[{"a": 1, "b": 2}, {"a": 1, "b": 2}]', "'a', 'b'"),
        ("strings.json", b'["a", "b"]', "not an object"),
        ("wide.csv", b"question,answer\n" + b"x" * (LONGEST_LINE + 9), "CSV"),
    ],
)
def test_what_cannot_be_read_is_said_in_words_of_its_own(place, name, content, said):
    (place / name).write_bytes(content)
    status, out = call(formats, name, "out.jsonl")
    assert status in (1, 2) and said in out and "Traceback" not in out
    assert not (place / "out.jsonl").exists()
    status, out = call(data, "--src", name)
    assert status == 2 and "Traceback" not in out


@pytest.mark.parametrize(
    ("content", "place_of_it"),
    [
        (dumps([*XTUNER, {"conversation": [{"input": "a", "output": ""}]}]), (5, "$[4].conversation[0].output", 1)),
        (dumps([*MESSAGES, {"messages": [{"role": "cat", "content": ""}]}], indent=1), (5, "$[4].messages[0].role", 0)),
        (PRETTY + '\n{\n "conversation": [{"input": "a", "output": "b\\ud800"}]}', (5, "$.conversation[0].output", 0)),
        (PRETTY + '\n{\n "conversation": [{"input": "a", "output": b}]}', (5, "", 0)),
        ("[" + ",\n".join(map(dumps, XTUNER)) + ',\n{"input": NaN, "output": ""}]', (5, "$[4].input", 0)),
    ],
)
def test_places_in_a_document_are_entry_line_and_column(place, content, place_of_it):
    entry, path, _ = place_of_it
    (place / "in.json").write_text(content, encoding="utf-8")
    said = call(formats, "in.json", "out.jsonl")[1]
    line, column, at = re.search(r"^in\.json:(\d+):(\d+):(?: (\$\S*))? \[error", said, re.MULTILINE).groups()
    assert (at or "") == path and f"entry {entry}: " in said
    rest = content.split("\n")[int(line) - 1][int(column) - 1 :]
    last = content.rindex("\n", 0, content.rindex("{")) if "\n" in content else 0
    assert rest.startswith(('""', '"cat"', '"b\\ud800"', "b}", "NaN")), (line, column, rest[:20])
    assert content.index(rest, last) > last


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers(), max_size=3), min_size=1, max_size=4
    ),
    st.sampled_from([None, 1]),
)
def test_documents_are_read_as_json_reads_them(values, indent):
    text = json.dumps(values, ensure_ascii=False, indent=indent)
    found = list(read_document(text))
    assert [row.value for row in found] == values and [row.entry for row in found] == list(range(1, len(values) + 1))
    for row in found:
        for key in row.value:
            path = next(p for p in [f"$.{key}", f"$[{json.dumps(key)}]"] if p in find_paths(row.text))
            line, column = row.find_place(path)
            rest = text.split("\n")[line - 1][column - 1 :]
            assert rest.startswith(json.dumps(row.value[key], ensure_ascii=False)[:1])
    broken = [row for row in read_document(text[:-1]) if row.value is BROKEN]
    assert len(broken) == 1


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=80)
    | st.sampled_from(list(FILES.values())).flatmap(lambda d: st.integers(0, 400).map(lambda n: d[:n]))
)
def test_any_bytes_are_rows_or_a_user_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content or b" ")
    try:
        for row in read_source(str(path)):
            assert row.value is not BROKEN or row.problems
    except UserError:
        pass


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        *((name, "utf-16") for name in ("utf-16",)),
        *((name, name) for name in ("utf-8", "gb18030", "utf-16-le", "utf-16-be")),
        ("gbk", "gb18030"),
        ("big5", "big5hkscs"),
    ],
)
def test_encodings(encoding, expected):
    text = "我們早上九點開門，歡迎光臨，謝謝。" if encoding == "big5" else "我们早上九点开门，欢迎光临，谢谢。"
    text = f'{{"a": "{text}"}}\n'
    assert detect_encoding((text * 3).encode(encoding)) == expected
    assert detect_encoding(text.encode() + text.encode("gb18030")) is None


def test_a_mixed_file_names_each_line_that_is_not_utf_8(place):
    (place / "mixed.jsonl").write_bytes(lines(XTUNER).encode() + lines(XTUNER[:2]).encode("gbk"))
    for module, arguments in ((validate, ["mixed.jsonl"]), (formats, ["mixed.jsonl", "out.jsonl"])):
        said = call(module, *arguments)[1]
        assert [int(n) for n in re.findall(r"mixed\.jsonl:(\d+):\d+: \[error not-utf8\]", said)] == [5, 6]


@pytest.mark.slow
def test_a_row_with_ten_thousand_problems_takes_no_time(place):
    turns = [{"input": "a", "output": ""}] * 20_000
    (place / "in.json").write_text(json.dumps({"conversation": turns}, indent=1), encoding="utf-8")
    started = time.monotonic()
    status, said = call(formats, "in.json", "out.jsonl")
    assert status == 1 and "in.json:5:14: $.conversation[0].output" in said
    assert time.monotonic() - started < 10


def entries(text: str) -> list[tuple]:
    """(line, entry, index, problems) of the entries of a document, each problem with its place."""
    return [
        (row.line, row.entry, row.index, [(p.rule, p.found, *row.find_place(p.path, p.column)) for p in row.problems])
        for row in read_document(text)
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[1, 2]", [(1, 1, 0, []), (1, 2, 1, [])]),
        ("[\n1,\n\n2\n]\n", [(2, 1, 0, []), (4, 2, 1, [])]),
        ("[]", []),
        ("[] [1]", [(1, 1, None, [])]),
        ("[1] [2]", [(1, 1, 0, []), (1, 2, None, [])]),
        ("[1],\n[2],", [(1, 1, 0, []), (2, 2, None, [])]),
        ("1\n2", [(1, 1, None, []), (2, 2, None, [])]),
        ("1, 2,", [(1, 1, None, []), (1, 2, None, [])]),
        ("[[1], 2]", [(1, 1, 0, []), (1, 2, 1, [])]),
        ("[1", [(1, 1, 0, []), (0, 1, None, [("bad-json", "a comma or ] is missing behind the entry", 1, 3)])]),
        ("[1,\n 2 3]", [(1, 1, 0, []), (2, 2, 1, []), (0, 2, None, [("bad-json", "a comma or ] is missing behind the entry", 2, 4)])]),
        ("[1,", [(1, 1, 0, []), (0, 2, None, [("bad-json", "] is missing at the end", 1, 3)])]),
        ("[", [(0, 1, None, [("bad-json", "] is missing at the end", 1, 1)])]),
        ('{"a": 1}\n{"bcdefghijklmn": x, "opqrstuvwxyz": 1}', [(1, 1, None, []), (0, 2, None, [("bad-json", 'Expecting value: …hijklmn": x, "opqrstuvwxyz": 1…', 2, 19)])]),
        ("\n" + "9" * 5000, [(0, 1, None, [("bad-json", "an integer of thousands of digits", 2, 1)])]),
    ],
)  # fmt: skip
def test_the_entries_of_a_document_and_what_is_behind_them(text, found):
    assert [(line if line else 0, *rest) for line, *rest in entries(text)] == found


def test_a_problem_of_an_entry_stands_in_the_lines_of_the_document():
    text = '[\n {"a": 1},\n {"b":\n  NaN}\n]'
    [_, (line, entry, index, problems)] = entries(text)
    assert (line, entry, index, problems) == (3, 2, 1, [("not-finite", "NaN", 4, 3)])
    row = list(read_document(text))[1]
    assert row.describe("$.b", "x") == ("$[1].b", "entry 2: x") and row.find_place("$.gone") == (3, 2)
    assert next(iter(read_document('{"a": 1}'))).describe("$.b", "x") == ("$.b", "entry 1: x")


def test_lines_of_a_source_are_told_with_their_bytes(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n{"b": "\xff"}\n' + b"x" * (LONGEST_LINE + 1) + b'\n{"c": 1}')
    rows = list(read_source(str(path)))
    assert [(row.line, [(p.rule, p.found, p.column) for p in row.problems]) for row in rows] == [
        (1, []),
        (3, [("not-utf8", "the byte 0xff", 8)]),
        (4, [("too-long", f"more than {LONGEST_LINE} bytes", None)]),
        (5, []),
    ]


def test_a_line_in_a_zip_that_is_not_utf_8_is_one_row_and_not_the_whole_file(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(packed("rows.jsonl", lines(XTUNER).encode() + '{"a": "闻"}\n'.encode("gb18030")))
    rows = list(read_source(str(path)))
    assert len(rows) == len(XTUNER) + 1 and rows[-1].problems[0].rule == "not-utf8"


def test_a_document_is_bounded_also_in_a_zip(tmp_path, monkeypatch):
    document, out = dumps(XTUNER * 50).encode(), io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", document)
    for size, fine in ((len(document), True), (len(document) - 1, False)):
        monkeypatch.setattr(sources, "LARGEST_DOCUMENT", size)
        for name, content in (("a.json", document), ("a.zip", out.getvalue())):
            (tmp_path / name).write_bytes(content)
            if fine:
                assert len(list(read_source(str(tmp_path / name)))) == 50 * len(XTUNER)
            else:
                with pytest.raises(UserError, match="more than 64 MiB"):
                    list(read_source(str(tmp_path / name)))


def test_text_of_another_encoding_that_breaks_off_is_told_at_its_byte(tmp_path):
    data = dumps(XTUNER).encode("utf-16")
    (tmp_path / "a.json").write_bytes(data[:100] + b"\x00\xd8\x41\x00" + data[100:])
    with pytest.raises(UserError) as told:
        list(read_source(str(tmp_path / "a.json")))
    assert told.value.what == "not UTF-16 at byte 101"


@pytest.mark.parametrize(
    ("head", "name", "rule", "found"),
    [
        (b"PK\x03\x04 xl/", "a.zip", "table", "an Excel table"),
        (b"PK\x03\x04", "A.XLSX", "table", "an Excel table"),
        (b"PK\x03\x04", "a.zip", "archive", "a zip archive"),
        (b"\xd0\xcf\x11\xe0", "a.xls", "not-text", "an Excel table of the old form (.xls)"),
        (b"\xff\xff\0\xff", "a", "not-text", "not text"),
        (b"\xff\xff" + b"a" * 1997 + b"\0", "a", "not-text", "not text"),
        (b"\xff\xff" + b"a" * 1998 + b"\0", "a", None, None),
        ("你好".encode("utf-16"), "a", "other-encoding", "UTF-16, not UTF-8"),
        (b"[1]", "a", "json-document", "one JSON array, not one row a line"),
        (b'{\n"a": 1}', "a", "json-document", "pretty-printed JSON, not one row a line"),
        (b"question,answer\n", "a", "table", "a table (CSV)"),
        (b"{}\n", "a", None, None),
    ],
)
def test_what_a_file_is_told_to_be(head, name, rule, found):
    from lesson.data.sources import find_other_source

    problem = find_other_source(head, name)
    assert (problem and problem.rule, problem and problem.found) == (rule, found)
    assert problem is None or problem.column == (1 if rule == "json-document" else None)
