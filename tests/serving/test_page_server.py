"""What is said about a page that runs; that it runs is seen in test_page.py."""

from __future__ import annotations

from lesson.core.messages import set_language
from lesson.serving.page_server import PageServer, make_lines


def test_a_page_says_where_it_is_and_who_else_can_see_it():
    assert make_lines(PageServer("127.0.0.1", 7860, print)) == ["open http://127.0.0.1:7860  (Ctrl-C ends)"]
    assert make_lines(PageServer("::", 80, print)) == [
        "anybody who reaches this machine can use the page",
        "open http://[::]:80  (Ctrl-C ends)",
    ]
    set_language("zh")
    assert make_lines(PageServer("127.0.0.1", 80, print)) == ["请打开 http://127.0.0.1:80（Ctrl-C 结束）"]
