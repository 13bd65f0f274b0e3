"""A config is read, never run: bounded, whatever the file holds."""

from __future__ import annotations

import time

import pytest
from configs import DONE, broken_rules
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.config.check import check_config_file
from lesson.config.reading import read_config


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
