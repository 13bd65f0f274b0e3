"""Forms of Chinese characters, and English words that look like pinyin."""

from lesson.data.letters import english_words, other_forms


def test_traditional_and_simplified_forms_are_each_other_s():
    assert other_forms("機") == {"机"} and other_forms("机") == {"機"}
    assert other_forms("发") >= {"發", "髮"} and other_forms("發") >= {"发", "髮"} and "發" not in other_forms("發")
    assert other_forms("a") == set() == other_forms("谁") - {"誰"}


def test_english_words():
    assert {"make", "like"} <= english_words() and "xiaomi" not in english_words()
