"""Values are what Python would compute, or Unknown."""

from __future__ import annotations

import pytest

from lesson.config.reading import parse_config
from lesson.config.summary import config_document


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("x = 2 * 3 ** 2 // 4 - -1.5", 5.5),
        ("x = [1]\ny = x\nx += [2]\nx = y", [1, 2]),
        ("x = 1\nif x > 0 and not x == 2:\n    x = 5\nelse:\n    x = 6", 5),
        ("x = 1\nif unknown:\n    x = 2", {"unknown": "if unknown: …"}),
        ("x = 3 if 'a' in ['a'] else 4", 3),
        ("x = dict(a=1, b=dict(c=(1, None)))['b']", {"c": [1, None]}),
        ("x = 'ab' * 2 + '%s' % 3", "abab3"),
        ("x = 1 << 4 | 3", 19),
        ("x = 9 ** 9 ** 9", {"unknown": "9 ** 9 ** 9"}),
        ("x = 'a' * 10 ** 9", {"unknown": "'a' * 10 ** 9"}),
        ("x = 1 / 0", {"unknown": "1 / 0"}),
        ("x = 1e999", {"unknown": "inf"}),
        ("x = 1j", {"unknown": "1j"}),
        ("x = '\\ud800'", "\\ud800"),
        ("x = b'a'", {"unknown": "b'a'"}),
    ],
)
def test_folding(source, value):
    assert config_document(parse_config(source.encode(), "x"))["values"]["x"] == value


# What Python would stop at when it loads the config, and where.
STOPS = {
    "x = 1\ny = x / 0": (2, "ZeroDivisionError: division by zero"),
    "x = 1 % 0": (1, "ZeroDivisionError"),
    "x = 'a' + 1": (1, "TypeError"),
    "x = dict(a=1) * 2": (1, "TypeError: unsupported operand type(s) for *: 'dict' and 'int'"),
    "x = [1][5]": (1, "IndexError"),
    "x = dict(a=1)['b']": (1, "KeyError: 'b'"),
    "x = int('x')": (1, "ValueError"),
    "x = -'a'": (1, "TypeError"),
    "x = None < 1": (1, "TypeError"),
    "x = 2.0 ** 5000": (1, "OverflowError"),
    "if 1:\n    x = 1 / 0": (2, "ZeroDivisionError"),
    "filename = 'x'": (1, "KeyError: filename is reserved"),
}


@pytest.mark.parametrize("source", STOPS)
def test_where_python_stops_the_config_cannot_be_loaded(source):
    line, found = STOPS[source]
    [problem] = parse_config(source.encode(), "x").problems
    assert (problem.kind, problem.line) == ("cannot-load", line) and found in problem.found
    if "reserved" not in found:  # by mmengine; the others by Python
        with pytest.raises(Exception) as raised:
            exec(source, {})  # this very text: does Python stop, and by the same error?
        assert type(raised.value).__name__ == found.partition(":")[0]


@pytest.mark.parametrize("source", ["x = 1 if True else 1 / 0", "x = 1 or 1 / 0", "if 0:\n    x = 1 / 0", "x = 0 ** 0"])
def test_what_python_does_not_compute_stops_nothing(source):
    exec(source, {})
    assert parse_config(source.encode(), "x").problems == []


# Texts of a line that take years, or all memory, where Python computes them.
ENDLESS = [
    "x = 10 ** 10 ** 8", "x = 'a' * 10 ** 10", "x = 10 ** 10 * 'a'", "x = [1] * 10 ** 9", "x = (0,) * 9 ** 9", "x = 1 << 10 ** 10",
    "x = '%1000000000d' % 1", "x = f'{1:1000000000}'", "x = '%*d' % (10 ** 9, 1)", "a = 3\n" + "a = a * a\n" * 3000,
    "a = 'a'\n" + "a = f'{a}{a}'\n" * 60, "a = [1]\n" + "a *= 9\n" * 30, "x = -2 ** 99",
]  # fmt: skip


@pytest.mark.parametrize("source", ENDLESS, ids=lambda s: s[:24])
def test_what_would_never_end_is_told_and_not_computed(source):
    found = parse_config(source.encode(), "x")
    assert {p.kind for p in found.problems} == {"trust-size"}
    assert len(str(config_document(found)["values"])) < 50_000


@pytest.mark.parametrize("source", ["x = dict(a=1, a=2)", "x = f(**a, b=1, b=2)"])
def test_what_only_the_compiler_refuses_is_a_syntax_error(source):
    assert [p.kind for p in parse_config(source.encode(), "x").problems] == ["syntax"]
    with pytest.raises(SyntaxError):
        compile(source, "x", "exec")


def test_a_name_that_is_defined_later_is_not_there_yet():
    assert [(p.kind, p.line) for p in parse_config(b"a = b\nb = 1", "x").problems] == [("undefined", 1)]
