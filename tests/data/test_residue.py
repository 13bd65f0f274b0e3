"""What is left of an old name: forms that are the name, and plain text that only looks like it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.core.findings import Findings
from lesson.core.strict_json import child_path
from lesson.data import residue
from lesson.data.letters import english_words, other_forms
from lesson.data.residue import (
    ResidueFinder,
    _fold,
    _foldings,
    _pinyin,
    _sequence,
    _skipping_to,
    _stands_as_name,
    _without_separators,
    scan_rows,
)
from lesson.data.rules import ROW_RULES

NAME, PERHAPS, NONE = ["residue"], ["residue-form"], []


@pytest.mark.parametrize(
    ("old", "text", "rules"),
    [
        # torn apart by white space: where a name stands it is the name
        ("小明", "我是小 明，你好", NAME), ("小明", "她叫小\t明呀", NAME), ("小明", "我是小\n明", NAME), ("小明", "小 明", NAME),
        ("小智", "（小 智）", NAME), ("小智", "我是小\n智，请多关照", NAME), ("尖米", "你好，尖\r\n米在这里", NAME),
        # … and elsewhere it may be the ends of two words
        ("小明", "那时候我还小 明月挂天上", PERHAPS), ("小明", "我小 明天去", PERHAPS), ("尖米", "刀很尖 米很香", PERHAPS),
        ("小明", "年纪还小\n明天再说", NONE), ("小明", "他还小。明白吗", NONE), ("小明", "我很小，明天来", NONE),
        # another separator than the name's own, or none
        *(("书生·浦语", f"我是{form}", NAME) for form in ("书生浦语", "书生・浦语", "书生 浦语", "书生-浦语", "书生•浦语", "書生·浦語")),
        *(("Xiao Huang", f"I am {form}.", NAME) for form in ("XiaoHuang", "Xiao_Huang", "Xiao-Huang", "Xiao  Huang", "Xiao\nHuang")),
        *(("Xiao Huang", f"I am {form}.", PERHAPS) for form in ("xiao-huang", "XIAO HUANG", "xiaohuang")),
        ("Xiao Huang", "xiaohuanghe", NONE),
        ("A B", "a, b or c", PERHAPS),
        # traditional and simplified characters
        ("闻星", "我是聞星", NAME), ("聞星", "我是闻星", NAME), ("闻星", "聞 星", NAME), ("小龙", "小龍女", NAME), ("闻星", "問星", NONE),
        # pinyin that is an English word
        ("马克", "Make it. I make tea; MAKE!", NONE), ("李可", "I like it. Like this.", NONE),
        ("马克", "MaKe", PERHAPS), ("马克", "Ma Ke", PERHAPS), ("马克", "mǎ kè", PERHAPS), ("马克", "我叫make", PERHAPS),
        ("尖米", "I am jianmi", PERHAPS),
    ],
)  # fmt: skip
def test_forms(old, text, rules):
    residue = ResidueFinder(old, "机智流")
    assert [found.rule for found in residue.find(text)] == rules
    findings = Findings(ROW_RULES)
    scan_rows([residue], findings, "f", 1, json.dumps({"a": text}, ensure_ascii=False) + "\n")
    assert [found.rule for found in findings.kept] == rules  # the filter on JSON text misses none


RESIDUES = {name: ResidueFinder(name, "x") for name in ("闻星", "书生·浦语", "Xiao Huang", "小n", "发发")}


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="闻聞星书書生·浦语語XxiaoHhuang \n\t\x01_-小nN发發髮", max_size=12),
    st.sampled_from(sorted(RESIDUES)),
)
def test_the_filter_on_json_text_misses_nothing(text, name):
    residue = RESIDUES[name]
    raw = json.dumps(text, ensure_ascii=False)
    assert residue.quick.search(raw) or not _closely(residue, text)


def test_syllables_of_hangul_are_looked_into_for_a_hangul_name_only():
    """벼 is a part of 별, which is one character; another name need not look at every text in Korean."""
    assert [residual.text for residual in ResidueFinder("벼").find("내 별")] == ["별"]
    assert not RESIDUES["闻星"].quick.search("내 별")


def _closely(residue, text):
    quick, residue.quick = residue.quick, re.compile("")
    try:
        return residue.find(text)
    finally:
        residue.quick = quick


def test_the_table_of_letters():
    assert other_forms("发") == {"發", "髮"} and other_forms("聞") == {"闻"} and other_forms("米") == set()
    assert {"make", "like", "name", "can"} <= english_words()
    assert english_words().isdisjoint({"jianmi", "xiaoming", "wang", "li", "lina", "luna", "meng", "xi"})


@pytest.mark.parametrize(
    ("letters", "without"),
    [
        ("书生·浦语", "书生浦语"),
        ("xiao huang", "xiaohuang"),
        ("a b", "a b"),
        ("a b c", "abc"),
        ("a-bc", "abc"),
        ("小 n", "小n"),
        ("·小 明·", "·小明·"),
        ("--", "--"),
        ("", ""),
    ],
)
def test_what_separates_the_letters_of_a_name_is_left_out_inside_it(letters, without):
    assert _without_separators(letters) == without


@pytest.mark.parametrize(
    ("letters", "found", "missed"),
    [
        ("ann", ["I am ann.", "ann"], ["cannot", "anne", "1ann", "ann2"]),
        ("小明", ["我小明a", "1小明2"], ["小 明"]),
        ("n小", ["n小明"], ["an小", "1n小"]),
        ("小n", ["我小n。"], ["小na", "小n1"]),
        ("·a", ["b·a"], ["·ab"]),
    ],
)
def test_a_latin_end_of_a_name_must_end_a_word(letters, found, missed):
    pattern = re.compile(_sequence(letters, ""))
    assert all(pattern.search(text) for text in found) and not any(pattern.search(text) for text in missed)


def test_a_character_of_a_set_is_skipped_to_below_and_above_the_first_plane():
    for chars in ({"a"}, {"a", "-", "]", "^", "\\"}, {"\U00020000"}, {"a", "\U00020000", "\U00020010"}):
        pattern = re.compile(_skipping_to(chars))
        assert all(pattern.fullmatch(c) for c in chars), chars
        assert not pattern.search("b" if "a" in chars else "a") and not pattern.search("\uffff")
    assert not re.compile(_skipping_to({"a", "b"})).search("c-^")


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("是小 明月", True), ("叫小 明", True),
        ("小 明", True), ("小 明是", True), ("小 明a", True), ("小 明月", False),
        ("我小 明，", True), ("我小 明!", True), ("我小 明月", False),
        ("很小 明", False), ("很小 明，", False),
        ("，小 明", True), ("，小 明的", True), ("，小 明月", False), ("x小 明月", False), ("𠀀小 明", False), ("，小 明𠀀", False),
    ],
)  # fmt: skip
def test_where_a_name_stands(text, stands):
    start = text.index("小")
    assert _stands_as_name(text, start, start + 3) is stands


def test_the_pinyin_of_a_name():
    pytest.importorskip("pypinyin")
    assert _pinyin("鹅") == [] == _pinyin("Ann"), "a letter alone names nobody"
    assert _pinyin("米") == [["mi"]] and _pinyin("重米") == [["chong", "tong", "zhong"], ["mi"]]
    assert _pinyin("小鹅") == [["xiao"], ["e"]]


def test_all_that_folds_is_known_but_for_hangul_which_folds_to_its_own_parts():
    every = {c for c in map(chr, range(0x110000)) if not "\ud800" <= c <= "\udfff" and _fold(c) != c}
    assert every - {c for c, _ in _foldings()} == {chr(i) for i in range(0xAC00, 0xD7A4)}


def test_where_folding_is_looked_for():
    """A table of Unicode's blocks: what lies outside folds to itself, what lies inside is looked at once a run."""
    assert (
        *((0x41, 0x3400), (0xA640, 0xAC00), (0xF900, 0x10D60), (0x11080, 0x11940), (0x16E40, 0x16E60)),
        *((0x1D100, 0x1D800), (0x1E000, 0x1F300), (0x1FBF0, 0x1FBFA), (0x2F800, 0x2FA20)),
    ) == residue._FOLDING


def scanned(text: str, old: str = "尖米", new: str = "闻星", accepts=None) -> list[tuple]:
    findings = Findings(ROW_RULES)
    options = {} if accepts is None else {"accepts": accepts}
    scan_rows([ResidueFinder(old, new)], findings, "f", 7, text, **options)
    return [(f.line, f.path, f.rule, f.found) for f in findings.sorted()]


def test_a_residual_is_shown_with_five_characters_on_each_side():
    text = json.dumps(["1234567尖 米abcdefg", {"我是尖 米": "尖米"}], ensure_ascii=False)
    assert scanned(f"{{}}\n{text}\n[]\n") == [
        (8, "$[0]", "residue", "the old name in another form: '34567尖 米abcde'"),
        (8, child_path("$[1]", "我是尖 米"), "residue", "the old name in another form: '我是尖 米'"),
        (8, child_path("$[1]", "我是尖 米"), "residue", "the old name: '尖米'"),
    ]


def test_what_is_accepted_is_no_finding():
    seen = []
    text = json.dumps({"a": "123456尖米7"}, ensure_ascii=False) + "\n"
    assert scanned(text, accepts=lambda *place: seen.append(place) or True) == []
    assert seen == [(7, "$.a", "'23456尖米7'")]
    assert len(scanned(text, accepts=lambda line, path, near: path != "$.a")) == 1


@pytest.mark.parametrize(
    ("text", "left"),
    [("大尖米队", 0), ("尖米队", 1), ("大尖米", 1), ("大尖米队尖米", 1), ("x大尖米队x", 0), ("大尖 米队", 1)],
)
def test_only_what_stands_inside_the_new_name_is_none(text, left):
    assert len(ResidueFinder("尖米", "大尖米队").find(text)) == left
