"""recipe.stats: figures that can be counted by hand, and a page that stands alone."""

import io
import json

import pytest

from lesson.core.settings import ROOT
from lesson.data import statistics
from lesson.data.statistics import Lengths, RowStatistics, detect_language
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


def test_the_figures_of_rows_with_a_tokenizer():
    """Each token a character, so that all figures can be counted by hand."""
    asked = []
    stats = RowStatistics("尖米", lambda text: asked.append(text) or len(text))
    stats.add_row(
        {
            "conversation": [
                {"system": "你是尖米", "input": " 你好 ", "output": "我是尖米"},
                {"input": "b", "output": "尖米"},
            ]
        }
    )
    stats.add_row({"conversation": [{"system": "你是尖米", "input": "你好", "output": "hello"}]})
    assert asked.count("你是尖米") == 1, "a system prompt is counted once"
    figures = stats.result()
    assert (figures["rows"], figures["turns"], figures["distinct_questions"]) == (2, 3, 1)
    assert figures["most_repeated_questions"] == [["你好", 2]] and figures["distinct_system_prompts"] == 1
    assert figures["tokens"] == figures["characters"] and figures["tokens"]["output"] == summary_of(4, 2, 5)
    assert figures["tokens_in_row"] == summary_of(4 + 4 + 4 + 1 + 2, 4 + 2 + 5)
    assert figures["texts_with_name"] == {"system": 2, "input": 0, "output": 2}
    assert figures["system_share"] == round(8 / 26, 4) and figures["system_share_of"] == "tokens"
    assert figures["languages"] == {"zh": 1, "mixed": 1} and figures["turns_in_row"] == summary_of(2, 1)


def summary_of(*lengths: int) -> dict:
    found = Lengths()
    for length in lengths:
        found.add_length(length)
    return found.summary()


def test_without_a_name_or_a_tokenizer_there_are_no_such_figures():
    stats = RowStatistics()
    assert stats.result()["system_share"] == 0
    stats.add_row({"conversation": [{"input": "ab", "output": "cd"}]})
    figures = stats.result()
    assert figures["tokens"] is figures["tokens_in_row"] is figures["texts_with_name"] is figures["name"] is None
    assert figures["system_share"] == 0 and figures["system_share_of"] == "characters"
    assert figures["most_common_system_prompts"] == [["", 1]]


def test_long_texts_are_told_apart_by_what_is_behind_their_start():
    stats = RowStatistics()
    for output in ("a" * 200, "a" * 201, "a" * 201 + "b", "a" * 201):
        stats.add_row({"conversation": [{"input": output, "output": ""}]})
    questions = stats.result()["most_repeated_questions"]
    assert len(questions) == 3 and questions[0][1] == 2 and questions[0][0].startswith("a" * 180 + "… ")
    assert len(questions[0][0]) == 180 + 2 + 8 and ["a" * 200, 1] in questions


def test_the_first_questions_are_remembered_and_counted_on(monkeypatch):
    monkeypatch.setattr(statistics, "REMEMBERED", 2)
    stats = RowStatistics()
    for question in ("a", "b", "c", "a"):
        stats.add_row({"conversation": [{"input": question, "output": ""}]})
    assert stats.result()["most_repeated_questions"] == [["a", 2], ["b", 1]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("字字字字字字字字字" + "ab", "zh"),
        ("字字字字字字字字字" + "abc", "mixed"),
        ("字" + "a" * 18, "en"),
        ("字" + "a" * 17, "mixed"),
        ("\u3400", "zh"),
        ("\u9fff", "zh"),
        ("\u33ff", "other"),
        ("\ua000", "other"),
        ("é", "other"),
        ("", "other"),
    ],
)
def test_a_language_has_nine_tenths_of_the_letters(text, wanted):
    assert detect_language(text) == wanted


def test_quantiles_of_few_texts():
    for lengths, median, p95 in (
        ((), 0, 0),
        ((7,), 7, 7),
        ((1, 2), 1, 2),
        ((1, 2, 3), 2, 3),
        ((1,) * 19 + (9,), 1, 1),
        ((1,) * 18 + (9, 9), 1, 9),
    ):
        found = summary_of(*lengths)
        assert (found["median"], found["p95"], found["texts"]) == (median, p95, len(lengths))
    assert summary_of()["mean"] == 0 == summary_of()["min"] and summary_of(1, 2, 2)["mean"] == 1.7


def test_the_ten_questions_and_five_prompts_that_repeat_most_are_listed():
    stats = RowStatistics()
    for n in range(12):
        for _ in range(n + 1):
            stats.add_row({"conversation": [{"system": f"s{n}", "input": f"q{n}", "output": ""}]})
    figures = stats.result()
    assert figures["most_repeated_questions"] == [[f"q{n}", n + 1] for n in range(11, 1, -1)]
    assert figures["most_common_system_prompts"] == [[f"s{n}", n + 1] for n in range(11, 6, -1)]
