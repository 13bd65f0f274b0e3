"""recipe.replace: equal to the published script on all that it accepts, and the law's own properties."""

import contextlib
import copy
import functools
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import unicodedata

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lesson.bench.published_script import replace_bytes
from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.data.replace import Replacer
from lesson.data.residue import ResidueFinder
from lesson.data.rows import CANONICAL_ROWS, LONGEST_LINE, Block, read_blocks, split_lines
from recipe.replace import main


def replaced(data: bytes, *pairs, replacer=None) -> bytes:
    replacer = replacer or Replacer(pairs)
    return b"".join(
        replacer.replace_block(Block(block), "f", number) for number, block in read_blocks(io.BytesIO(data))
    )


# Text from few characters, so that names occur, touch escapes and structure, and straddle each other.
LETTERS = st.text(alphabet='尖米机ab"\\/\n\t\x0b\x1f\x7f\u2028n1f: ,{}🙂\ud7ff\ufeffé', max_size=8)
NAMES = st.sampled_from(
    ["尖米", "尖", "a", "ab", "aa", "n", "1f", "u00", '"', "\\", "\n", ", ", "input", "s", "🙂", "é", "米尖"]
) | LETTERS.filter(bool)
TURN = st.fixed_dictionaries({"input": LETTERS, "output": LETTERS})
ROW = st.tuples(
    st.fixed_dictionaries({"system": LETTERS, "input": LETTERS, "output": LETTERS}) | TURN, st.lists(TURN, max_size=1)
).map(lambda parts: {"conversation": [parts[0], *parts[1]]})
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -0.0, 1e-320])
ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | LETTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LETTERS | st.just("尖米"), inner, max_size=3),
    max_leaves=8,
)
DUMP = st.sampled_from(
    [
        {"ensure_ascii": False},
        {"ensure_ascii": False},
        {"ensure_ascii": True},
        {"ensure_ascii": False, "separators": (",", ":")},
        {"ensure_ascii": False, "separators": (" ,\t", " : ")},
    ]
)
LINE = st.builds(lambda value, how: json.dumps(value, **how), ROW | ROW | ANY, DUMP)
FILE = st.lists(LINE, max_size=4).flatmap(
    lambda lines: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda end: end.join([*lines, ""]).encode())
)


@settings(max_examples=200, deadline=None)
@given(FILE, NAMES, st.sampled_from(["机智流", "", "x", "尖米", 'say "hi"\\\n']) | LETTERS)
@example(b'{"a": 1e400, "b": -0.0, "c": 1E2, "d": 123456789012345678901234567890}\n', "a", "b")
@example(b'{"a": "\\u5c16\\u7c73 \\ud83d\\ude00 \\/ \\u000A"}\n', "尖米", "x")
@example(b'{"a": 1, "b": 2, "a": "n"}\n', "n", "m")
@example(b'{"conversation": [{"input": "\\n\\u001f", "output": "1f"}]}\n', "1f", "x")
@example(b'{"conversation": [{"input": "\\\\n", "output": "\\"n"}]}\n', "n", "x")
@example(b'{"conversation": [{"input": "", "output": ""}]}', "input", "x")
@example(b'NaN\n-Infinity\n[]\n{}\n""\n0\n' + b"[" * 200 + b"]" * 200, "a", "b")
def test_equal_to_the_published_script(data, old, new):
    assert replaced(data, (old, new)) == replace_bytes(data, old, new)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(ROW | ANY, min_size=1, max_size=3),
    NAMES | st.sampled_from(["true", "ul", "1", "NaN", "a1"]),
    st.sampled_from(["机智流", "x", 'say "hi"\\\n']),
)
@example([{"n": True, "true": "true", "x": "true"}], "true", "y")
@example([{"尖米": 1, "x": "尖米"}], "尖米", "y")
@example([{"id": 7, "x": "尖米"}], "尖米", "y")
def test_what_json_wrote_is_replaced_as_text_or_parsed_with_the_same_result(rows, old, new):
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "replace")
    expected = replace_bytes(data, old, new)
    replacer = Replacer([(old, new)])
    assert replacer.replace_block(Block(data, written_by_json=True), "f", 1) == expected
    slow = Replacer([(old, new)])
    slow.replace_block(Block(data), "f", 1)
    assert replacer.changed == slow.changed


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW | ANY, max_size=3))
def test_canonical_means_that_parsing_changes_nothing(rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    end = CANONICAL_ROWS.match(text).end()
    again = "".join(json.dumps(json.loads(line), ensure_ascii=False) + "\n" for line in text[:end].splitlines(keepends=True) if line.endswith("\n")) if not re.search("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029\r]", text[:end]) else text[:end]  # fmt: skip
    assert again == text[:end]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='{}[]:, "conversatiinputoutputsystem\\nu0016f\n', max_size=60))
def test_text_that_matches_is_what_json_writes(text):
    """The proof of the fast path, from the other side: whatever the pattern takes survives load and dump."""
    for prefix in ("", '{"conversation": [{"input": "', '{"conversation": [{"system": "a", "input": "b", "output": "'):
        matched = CANONICAL_ROWS.match(prefix + text).group()
        assert (
            "".join(json.dumps(json.loads(line), ensure_ascii=False) + "\n" for line in matched.split("\n")[:-1])
            == matched
        )


ROWS = st.lists(ROW, min_size=1, max_size=4)


def dumped(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_without_the_name_nothing_changes(rows):
    assert replaced(dumped(rows), ("观星", "x")) == dumped(rows)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(["机智流", "x", ""]))
def test_length_and_count_add_up(rows, new):
    before, replacer = dumped(rows).decode(), Replacer([("尖米", new)])
    after = replaced(before.encode(), replacer=replacer).decode()
    count = before.count("尖米")
    assert len(after) == len(before) + count * (len(new) - 2)
    strings = [s for row in rows for turn in row["conversation"] for s in turn.values()]
    assert replacer.changed == sum("尖米" in s for s in strings)


@settings(max_examples=60, deadline=None)
@given(ROWS, NAMES, NAMES)
def test_no_old_name_is_left_and_again_changes_nothing(rows, old, new):
    if set(old) & set(new):  # then the new name, or it and what stands beside it, can spell the old one
        return
    once = replaced(dumped(rows), (old, new))
    assert not any(
        old in s
        for line in once.decode()[:-1].split("\n")
        for t in json.loads(line)["conversation"]
        for s in t.values()
    )
    assert replaced(once, (old, new)) == once


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_lines_do_not_know_each_other(rows):
    forth = replaced(dumped(rows), ("a", "尖米")).decode()[:-1].split("\n")
    back = replaced(dumped(rows[::-1]), ("a", "尖米")).decode()[:-1].split("\n")
    assert forth == back[::-1]


def simultaneous(text, pairs):
    """The law of several replacements, letter by letter."""
    out, at = [], 0
    while at < len(text):
        for old, new in sorted(pairs.items(), key=lambda p: -len(p[0])):
            if text.startswith(old, at):
                out.append(new)
                at += len(old)
                break
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.dictionaries(NAMES, LETTERS, min_size=2, max_size=3))
def test_several_at_once(rows, pairs):
    replacer = Replacer(list(pairs.items()))
    texts = [s for row in rows for turn in row["conversation"] for s in turn.values()]
    if any(overlap in text for overlap in replacer.overlaps for text in texts):
        with pytest.raises(UserError):
            replaced(dumped(rows), replacer=replacer)
        return
    wanted = [
        {"conversation": [{k: simultaneous(s, pairs) for k, s in turn.items()} for turn in row["conversation"]]}
        for row in rows
    ]
    assert replaced(dumped(rows), replacer=replacer) == dumped(wanted)


def test_swapping_longest_first_and_refusals():
    row = [{"conversation": [{"input": "甲乙甲", "output": "甲乙丙"}]}]
    assert "乙甲乙" in replaced(dumped(row), ("甲", "乙"), ("乙", "甲")).decode()
    assert '"input": "1甲"' in replaced(dumped(row), ("甲", "甲"), ("甲乙", "1")).decode()
    with pytest.raises(UserError, match=r"f:1.*甲乙丙"):
        replaced(dumped(row), ("甲乙", "x"), ("乙丙", "y"))
    with pytest.raises(UserError):
        Replacer([("甲", "x"), ("甲", "y")])
    with pytest.raises(UserError):
        Replacer([("", "x")])


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (b'{"a": }', "f:2:7"),
        (b"\xff", "f:2"),
        (b'"\\ud800"', "f:2"),
        (b"[" * 100_000, "f:2"),
        (b"1" * 5000, "f:2"),
        ("\ufeff{}".encode(), "f:2:1"),
    ],
)
def test_what_the_script_chokes_on_is_one_line_with_its_place(line, place):
    with pytest.raises(UserError) as error:
        replaced(b'{"conversation": [{"input": "a", "output": "b"}]}\n' + line + b"\n{}\n", ("a", "b"))
    assert error.value.where == place


def test_lines_are_counted_whether_they_are_as_json_writes_them_or_not():
    row = '{"conversation": [{"input": "尖米", "output": "b"}]}\n'.encode()
    other = '{"x" :"尖米"}\n'.encode()
    for before in (row + other, other + row, other * 2, row * 2, row + other + row + other, other + b"\n" + other):
        with pytest.raises(UserError) as error:
            replaced(before + b'{"a": }\n', ("尖米", "闻星"))
        assert error.value.where == f"f:{before.count(10) + 1}:7", before


def test_strings_that_change_are_counted_in_rows_of_any_form():
    for data, count in ((b'{"x" :"a", "y": ["a", "b"]}\n', 2), (b'{"x": "a"}\n{"x" :"aa"}\n{"y": "b"}\n', 2)):
        replacer = Replacer([("a", "c")])
        assert b'"a' not in replaced(data, replacer=replacer) and replacer.changed == count


def test_nesting_as_deep_as_json_goes():
    data = b'{"a":' * 400 + b'"a"' + b"}" * 400
    assert replaced(data, ("a", "b")) == replace_bytes(data, "a", "b")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=8), st.integers(1, 9))
def test_blocks_are_the_lines_of_the_file(parts, size):
    data = b"\n".join(parts)
    seen = [line for _, block in read_blocks(io.BytesIO(data)) for line in split_lines(block)]
    text = io.TextIOWrapper(io.BytesIO(data), encoding="latin-1").readlines()
    assert [line.rstrip("\n") for line in text] == [line.decode("latin-1") for line in seen]


def test_overlong_lines_are_skipped_and_counted():
    data = b"a\n" + b"x" * (LONGEST_LINE + 1) + b"\nb\n" + b"y" * (3 * LONGEST_LINE) + b"\nc"
    assert [(n, block) for n, block in read_blocks(io.BytesIO(data))] == [
        (1, b"a\n"),
        (2, None),
        (3, b"b\n"),
        (4, None),
        (5, b"c\n"),
    ]


GOOD = dumped([{"conversation": [{"input": f"{i} 你是谁", "output": "尖米\n" * (i % 3)}]} for i in range(3000)])


def run(*arguments, data=None):
    done = subprocess.run(
        [sys.executable, "-m", "recipe.replace", *map(str, arguments)],
        input=data,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "LANG": "C.UTF-8"},
    )
    return done.returncode, done.stdout, done.stderr.decode()


def test_command_line_of_the_published_script(tmp_path):
    source, target = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_bytes(GOOD)
    assert run(source, target, "--old_text", "尖米", "--new_text", "闻星") == (0, b"", "")
    assert target.read_bytes() == replace_bytes(GOOD, "尖米", "闻星")
    assert run(source, source) == (0, b"", "")  # in place, with the script's own defaults
    assert source.read_bytes() == replace_bytes(GOOD, "尖米", "机智流")


def test_standard_streams_and_packed_files(tmp_path):
    wanted = replace_bytes(GOOD, "尖米", "机智流")
    assert run("-", "-", data=GOOD) == (0, wanted, "")
    assert run("-", tmp_path / "a.gz", data=GOOD)[0] == 0
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == wanted
    (tmp_path / "b.zst").write_bytes(zstandard.compress(GOOD))
    assert run(tmp_path / "b.zst", tmp_path / "c.zst")[0] == 0
    with zstandard.open(tmp_path / "c.zst", "rb") as file:
        assert file.read() == wanted
    truncated = gzip.compress(GOOD)[:-20]
    (tmp_path / "d.gz").write_bytes(truncated)
    code, _, said = run(tmp_path / "d.gz", tmp_path / "e")
    assert code == 2 and said.count("\n") == 1 and not (tmp_path / "e").exists()


def in_process(*arguments):
    out, err = io.StringIO(), io.StringIO()
    return main([*map(str, arguments), "--lang", "en"], out, err), err.getvalue()


@pytest.mark.parametrize("jobs", [2, 3, 7])
def test_processes_write_the_same_file(tmp_path, jobs):
    source, target = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_bytes(GOOD)
    assert in_process(source, target, "--jobs", jobs) == (0, "")
    assert target.read_bytes() == replace_bytes(GOOD, "尖米", "机智流")
    source.write_bytes(b"{}\n")
    assert in_process(source, target, "--jobs", jobs) == (0, "")
    assert target.read_bytes() == b"{}\n"
    lines = GOOD.split(b"\n")
    lines[2499] = b"{"
    source.write_bytes(b"\n".join(lines))
    code, said = in_process(source, target, "--jobs", jobs)
    assert code == 2 and said.startswith(f"error: {source}:2500:2: ")
    assert target.read_bytes() == b"{}\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize("arguments", [["nowhere", "o"], [".", "o"], ["a", "."], ["a", "o", "--map", "x"], ["a", "o", "--jobs", "0"], ["a", "o", "--old_text", ""], ["a", "o", "--map", "甲=x", "--map", "甲=y"]])  # fmt: skip
def test_bad_calls_are_one_line(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(b"{}\n")
    code, said = in_process(*arguments)
    assert code == 2
    assert said.count("\n") == 1 and said.startswith("error: ")


def test_scan_finds_residues_in_values_and_keys(tmp_path):
    source, target = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_text('{"a": "尖米"}\n\n{"尖米": [1, "尖 米"]}\n{"a": "Jianmi"}\n', encoding="utf-8")
    code, said = in_process(source, target, "--scan")
    assert code == 1
    for place in (
        'b.jsonl:2: $["\\u5c16\\u7c73"] [error',
        'b.jsonl:2: $["\\u5c16\\u7c73"][1] [error',
        "b.jsonl:3: $.a [warning",
    ):
        assert place in said
    assert len(target.read_text(encoding="utf-8").splitlines()) == 3
    assert in_process(target, source, "--scan", "--map", "x=y") == (0, "")


def test_a_killed_run_leaves_the_earlier_output(tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"earlier")
    worker = subprocess.Popen(
        [sys.executable, "-m", "recipe.replace", "-", str(target)], stdin=subprocess.PIPE, cwd=ROOT
    )
    worker.stdin.write(GOOD * 20)
    worker.stdin.flush()
    time.sleep(0.2)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.close()
    assert target.read_bytes() == b"earlier"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("尖 米", "residue"),
        ("尖\u200b米", "residue"),
        ("尖　米", "residue"),
        ("尖·米", "residue-form"),
        ("我是JianMi。", "residue-form"),
        ("jiān mǐ", "residue-form"),
        ("ｊｉａｎｍｉ", "residue-form"),
        ("尖米", "residue"),
    ],
)
def test_residues(text, rule):
    residue = ResidueFinder("尖米", "机智流")
    assert [found.rule for found in residue.find(f"我是{text}")] == [rule]


@pytest.mark.parametrize("text", ["时间命令 shijianming", "玉米尖", "机智流", "jian 与 Mia", "尖锐的米饭"])
def test_no_residues(text):
    assert ResidueFinder("尖米", "机智流").find(text) == []


def test_residues_of_a_latin_name():
    residue = ResidueFinder("Nova", "Luna")
    assert [residue.find(text)[0].rule for text in ("Ｎｏｖａ", "ℕova", "NOVA", "N.o.v.a", "Nov\u0301a")] == ["residue", "residue", "residue-form", "residue-form", "residue"]  # fmt: skip
    assert residue.find("casanovas, renovated, innovation") == []
    assert ResidueFinder("Nova", "NOVA 2").find("I am NOVA 2.") == []


def unfiltered(residue):
    """The same residue, looking at every text closely."""
    slow = copy.copy(residue)
    slow.quick = re.compile("")
    return slow


RESIDUES = {name: ResidueFinder(name, "闻星") for name in ("尖米", "Nova", "ﬁn", "é", "米", "阿米", "吕布")}


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="尖米尖米 　·jJｊianＭmiǐāNoOvaAⓜⓘ⒨ﬁ㍿ﬀé\u0301\u200b", max_size=12),
    st.sampled_from(sorted(RESIDUES)),
)
@example("\u1e3fi", "米")  # one letter, m with acute
@example("m\u0301i", "米")
@example("ⓜⓘ", "米")
@example("A mi", "阿米")
@example("Ｎﾞova", "Nova")
def test_the_fast_filter_misses_nothing(text, name):
    residue = RESIDUES[name]
    assert residue.quick.search(text) or unfiltered(residue).find(text) == []


SPELLED = {"尖米": "jian mi", "Nova": "nova", "ﬁn": "fin", "米": "mi", "阿米": "ami", "吕布": "lü bu"}


@pytest.mark.parametrize("name", SPELLED)
def test_the_fast_filter_knows_every_character_that_folds_to_a_letter(name):
    residue, spelled = RESIDUES[name], SPELLED[name]
    slow = unfiltered(residue)
    assert slow.find(spelled)
    for char, folded in all_folded():
        for index in range(len(spelled)):
            text = spelled[:index] + char + spelled[index + 1 :]
            if spelled[index] in folded:
                assert residue.quick.search(text) or slow.find(text) == [], text.encode("unicode-escape")


@functools.cache
def all_folded():
    """(character, its folded form) of all of Unicode, where the two differ and an ASCII letter is in the latter."""
    chars = (chr(code) for code in range(0x80, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    pairs = ((char, unicodedata.normalize("NFKD", char).casefold()) for char in chars)
    return [(char, folded) for char, folded in pairs if re.search("[a-z]", folded)]


def replaced_block(data: bytes, *pairs: tuple[str, str], number: int = 5) -> bytes:
    return Replacer(pairs or [("尖米", "闻星")]).replace_block(Block(data), "f", number)


@pytest.mark.parametrize(
    ("data", "where", "column"),
    [
        (b"\xff\n", "f:5", 1),
        (b"a\nbc\xff\n", "f:6", 3),
        (b"a\r\nbc\xffd\n", "f:6", 3),
        (b"a\rb\n\xff", "f:7", 1),
        (b"ab\n\n\n   \xff\n", "f:8", 4),
    ],
)
def test_what_is_not_utf_8_is_told_with_its_line_and_byte(data, where, column):
    with pytest.raises(UserError) as told:
        replaced_block(data)
    assert (told.value.where, told.value.what) == (where, f"not UTF-8 at byte {column}")


def test_an_error_is_told_in_its_line_of_the_block():
    good = json.dumps({"conversation": [{"input": "a", "output": "尖米"}]}, ensure_ascii=False) + "\n"
    for data in (good + good + "{\n" + good, "{}\n{}\n{\n" + good):
        with pytest.raises(UserError) as told:
            replaced_block(data.encode())
        assert told.value.where == "f:7:2"


@pytest.mark.parametrize(
    ("old", "alone"),
    [("尖米", True), ("Jim", True), ("尖-米", True), ("J-m", False), ("true", False), ("al", False), ("12", False), ("e", False), ("Tom1", True)],
)  # fmt: skip
def test_what_could_stand_outside_of_texts_is_not_replaced_as_text(old, alone):
    assert Replacer([(old, "x")])._stands_in_texts_alone('{"a": 1}') is alone
    assert not Replacer([("小明", "x"), (old, "y")])._stands_in_texts_alone('{"a": 1}') or alone
    assert not Replacer([(old, "x")])._stands_in_texts_alone(f'{{"{old}": 1}}')


@pytest.mark.parametrize(
    ("old", "texts"), [("nu", ["\nu", "nu", "a\nnu"]), ("n", ["\n", "n"]), ("尖", ["\n尖", '"尖"']), ("Z", ["\nZ"])]
)
def test_a_name_that_could_begin_in_an_escape_is_replaced_in_texts_alone(old, texts):
    rows = [{"conversation": [{"input": text, "output": "x"}]} for text in texts]
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    wanted = [{"conversation": [{"input": text.replace(old, "乙"), "output": "x"}]} for text in texts]
    assert replaced_block(data.encode(), (old, "乙")).decode() == "".join(
        json.dumps(row, ensure_ascii=False) + "\n" for row in wanted
    )
