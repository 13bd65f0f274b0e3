"""recipe.stats: figures that can be counted by hand, and a page that stands alone."""

import io
import json

import pytest

from lesson.core.settings import ROOT
from lesson.data.statistics import Lengths, detect_language
from lesson.data.statistics_pages import histogram
from recipe.stats import main

ROWS = ROOT / "tests" / "fixtures" / "rows"


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    return main([*map(str, arguments), "--tokenizer", "", "--lang", "en"], out, err), out.getvalue(), err.getvalue()


def test_figures_of_a_small_file():
    code, out, _ = run(ROWS / "good.jsonl", "--name", "尖米", "--format", "json")
    figures = json.loads(out)
    assert code == 0
    assert (figures["rows"], figures["turns"], figures["distinct_questions"], figures["unusable_rows"]) == (4, 5, 4, 0)
    assert sum(figures["languages"].values()) == 4
    assert figures["texts_with_name"] == {"system": 3, "input": 0, "output": 4}
    assert figures["characters"]["system"] == {"texts": 3, "min": 19, "median": 19, "mean": 19.0, "p95": 19, "max": 19}
    total = sum(
        figures["characters"][f]["mean"] * figures["characters"][f]["texts"] for f in ("system", "input", "output")
    )
    assert figures["system_share"] == pytest.approx(3 * 19 / total, abs=1e-3)


def test_unusable_rows_are_counted_and_other_formats_read():
    assert json.loads(run(ROWS / "wild.jsonl", "--format", "json")[1])["unusable_rows"] == 2
    for name in ("alpaca", "messages", "sharegpt", "pretty"):
        assert run(ROWS / f"{name}.jsonl")[0] == 0


def test_terminal_page():
    _, out, _ = run(ROWS / "good.jsonl", "--name", "尖米")
    for said in ("4 rows, 5 turns", "characters", "median", "languages: ", "output 4 / 5", "the system prompt is"):
        assert said in out


def test_html_page_stands_alone(tmp_path):
    source = tmp_path / "<b>.jsonl"
    source.write_bytes((ROWS / "good.jsonl").read_bytes().replace("你是谁".encode(), b"<script>"))
    assert run(source, "--format", "html", "--name", "尖米", "--output", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 6
    assert "http" not in page and "<script" not in page and "<b>" not in page


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("你好", "zh"), ("Hello", "en"), ("1 + 1", "other"), ("你好 world", "mixed"), ("我会写 C 语言的代码。", "zh")],
)
def test_language(text, wanted):
    assert detect_language(text) == wanted


def test_lengths():
    lengths = Lengths()
    for length in range(1, 101):
        lengths.add_length(length)
    assert lengths.summary() == {"texts": 100, "min": 1, "median": 50, "mean": 50.5, "p95": 95, "max": 100}
    bars = histogram(lengths)
    assert len(bars) <= 16 and sum(count for _, count in bars) == 100
    assert Lengths().summary()["max"] == 0


def test_as_make_calls_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SRC", str(ROWS / "good.jsonl"))
    monkeypatch.setenv("BUILD", str(tmp_path))
    monkeypatch.delenv("OLD_NAME", raising=False)
    code, out, _ = run()
    assert code == 0 and "texts that say 尖米" in out
    assert json.loads((tmp_path / "data" / "stats.json").read_text(encoding="utf-8"))["rows"] == 4
    assert "<svg" in (tmp_path / "data" / "stats.html").read_text(encoding="utf-8")


def test_unusable_input(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n', encoding="utf-8")
    for path in (tmp_path / "a.jsonl", tmp_path / "none", tmp_path):
        code, _, err = run(path)
        assert code == 2 and err.count("\n") == 1
