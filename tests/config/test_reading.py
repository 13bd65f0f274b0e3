"""A config is read, never run: bounded, whatever the file holds."""

from __future__ import annotations

import time

import pytest
from configs import DONE, broken_rules
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.config.check import check_config_file
from lesson.config.reading import parse_config, read_config


def test_base_is_followed_inside_the_folder_only(tmp_path):
    (tmp_path / "below.py").write_text("a = dict(x=1, y=dict(z=2))\nb = 1\nc = dict(d=1)\n")
    (tmp_path / "top.py").write_text("_base_ = './below.py'\na = dict(y=dict(z=3))\nc = dict(_delete_=True)\n")
    found = read_config(tmp_path / "top.py")
    assert found.base == ["./below.py"] and found.problems == []
    assert found.values["a"] == {"x": 1, "y": {"z": 3}} and found.values["b"] == 1 and "d" not in found.values["c"]
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "top.py").write_text("_base_ = '../below.py'\n")
    assert [p.kind for p in read_config(tmp_path / "inner" / "top.py").problems] == ["base"]
    (tmp_path / "below.py").write_text("import os\n")
    assert [p.kind for p in read_config(tmp_path / "top.py").problems] == ["trust-import"]
    (tmp_path / "loop.py").write_text("_base_ = 'loop.py'\n")
    assert "base" in [p.kind for p in read_config(tmp_path / "loop.py").problems]


EXPENSIVE = {
    "laughs": "a0 = [1, 1]\n" + "".join(f"a{n + 1} = [a{n}, a{n}, a{n}]\n" for n in range(60)),
    "laughing dicts": "a0 = dict(x=1)\n" + "".join(f"a{n + 1} = dict(x=a{n}, y=a{n})\n" for n in range(60)),
    "parentheses": "x = " + "(" * 5000 + ")" * 5000,
    "minus": "x = " + "-" * 60_000 + "1",
    "sum": "x = 1" + " + 1" * 15_000,
    **{f"sum of {n}": "x = 1" + " + 1" * n for n in (150, 300, 500, 900, 2000)},
    "attributes": "x = a" + ".b" * 30_000,
    "calls": "x = " + "f(" * 90 + "[" + "1," * 30_000 + "]" + ")" * 90,
    "calls in a row": "f()\n" * 16_000,
    "number": "x = " + "9" * 60_000,
    "dicts": "x = " + "dict(a=" * 150 + "1" + ")" * 150,
    "concatenation": "x = 'a'\n" + "x = x + x\n" * 60,
    "lists": "x = [1]\n" + "x += x\n" * 60,
    "tuples": "x = (1,)\n" + "x = x + x\n" * 60,
    "comparison": "a = [1]\nb = [1]\n" + "a = [a, a]\nb = [b, b]\n" * 40 + "c = a == b",
    "size": "#" * 10**6,
    "null": "x = 1\0",
    "latin-1": "# -*- coding: latin-1 -*-\nx = '\xe9'".encode("latin-1"),
    "utf-7": "# -*- coding: utf-7 -*-\nx = 1 #+AAo-import os",
    "utf-16": "x = 1".encode("utf-16"),
}


@pytest.mark.parametrize("name", EXPENSIVE)
@pytest.mark.slow
def test_expensive_files_cost_little(name):
    start = time.process_time()
    broken_rules(EXPENSIVE[name])
    assert time.process_time() - start < 3  # measured: at most 0.7 s


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_give_a_verdict(data):
    broken_rules(data)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(DONE)), st.integers(0, 60), st.text(max_size=5))
def test_any_slip_of_the_hand_gives_a_verdict(start, length, text):
    broken_rules(DONE[:start] + text + DONE[start + length :])


def test_nothing_is_run(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n" + DONE)
    assert not check_config_file(path).ok and not (tmp_path / "ran").exists()


def problems(data: bytes, **given) -> list[tuple[str, int, str]]:
    return [(p.kind, p.line, p.found) for p in parse_config(data, "x.py", **given).problems]


def test_what_cannot_be_read_is_told_in_its_line():
    assert problems(b"x = 1\n\nx = \xff\n") == [("syntax", 3, "UTF-8: invalid start byte")]
    assert problems(b"\xff") == [("syntax", 1, "UTF-8: invalid start byte")]
    assert problems(b"x = 1\ny = (\n") == [("syntax", 2, "'(' was never closed")]
    assert problems(b"x = 1\ny = dict(a=1, a=2)\n") == [("syntax", 2, "keyword argument repeated: a")]
    [(kind, line, _)] = problems(b"x = 1\ny = " + b"-" * 60_000 + b"1")
    assert (kind, line) == ("trust-size", 1), "Python does not say where"
    [(kind, line, found)] = problems(b"x = 1\ny = " + b"9" * 5000)
    assert (kind, line) in (("trust-size", 1), ("syntax", 2)) and "digits" in found


def test_a_config_has_64_kibibytes_at_most(tmp_path):
    fits = b"x = 1\n#" + b"y" * (64 * 1024 - 7)
    assert len(fits) == 65_536 and problems(fits) == []
    assert problems(fits + b"y") == [("trust-size", 1, "> 65536 bytes")]
    for data, told in ((fits, []), (fits + b"y" * 99, ["trust-size"])):
        (tmp_path / "x.py").write_bytes(data)
        assert [p.kind for p in read_config(tmp_path / "x.py").problems] == told
    (tmp_path / "top.py").write_text("_base_ = 'x.py'\n")
    for data, told in ((fits, []), (fits + b"y", ["trust-size"])):
        (tmp_path / "x.py").write_bytes(data)
        assert [p.kind for p in read_config(tmp_path / "top.py").problems] == told


def test_names_that_mmengine_keeps_are_told_in_their_line():
    for name in ("filename", "text", "pretty_text", "env_variables"):
        assert problems(f"a = 1\n{name} = 2\n".encode()) == [
            ("cannot-load", 2, f"{name}: KeyError: {name} is reserved for config file")
        ]


def test_so_many_values_and_no_more():
    for count, told in ((19_997, []), (19_998, ["trust-size"])):
        source = "x = [" + "0," * 9_999 + "]\ny = [" + "0," * (count - 9_999) + "]\n"
        found = parse_config(source.encode(), "x.py")
        assert [p.kind for p in found.problems] == told and (found.values == {}) is bool(told)


def test_files_below_are_told_in_the_line_that_names_them(tmp_path):
    (tmp_path / "below.py").write_text("a = 1\nimport os\nb = 2\n")
    (tmp_path / "top.py").write_text("c = 3\n_base_ = ['below.py', 'gone.py']\nb = 4\n")
    found = read_config(tmp_path / "top.py")
    assert [(p.kind, p.line, p.found) for p in found.problems] == [
        ("trust-import", 2, "below.py:2: import os"),
        ("base", 2, "gone.py"),
    ]
    assert found.values == {"a": 1, "b": 4, "c": 3} and found.lines["a"] == 2 and found.lines["b"] == 3
    assert problems(b"_base_ = 'below.py'") == [("base", 1, "below.py")], "nowhere without a folder"


def test_four_files_below_one_another_are_followed(tmp_path):
    for n in range(7):
        (tmp_path / f"{n}.py").write_text(f"_base_ = '{n + 1}.py'\na{n} = {n}\n" if n < 6 else "a6 = 6\n")
    found = read_config(tmp_path / "0.py")
    assert set(found.values) == {f"a{n}" for n in range(5)} and [p.kind for p in found.problems] == ["base"]
    assert set(read_config(tmp_path / "2.py").values) == {f"a{n}" for n in range(2, 7)}
