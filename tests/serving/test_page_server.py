"""What is said about a page that runs; that it runs is seen in test_page.py."""

from __future__ import annotations

import os
import subprocess

import pytest

from lesson.core.messages import LANG_CHOSEN, set_language
from lesson.core.settings import ROOT
from lesson.runs.environment import UNFINISHED
from lesson.serving.page_server import PageServer, make_lines


def test_a_page_says_where_it_is_and_who_else_can_see_it():
    assert make_lines(PageServer("127.0.0.1", 7860, print)) == ["open http://127.0.0.1:7860  (Ctrl-C ends)"]
    assert make_lines(PageServer("::", 80, print)) == [
        "anybody who reaches this machine can use the page",
        "open http://[::]:80  (Ctrl-C ends)",
    ]
    set_language("zh")
    assert make_lines(PageServer("127.0.0.1", 80, print)) == ["请打开 http://127.0.0.1:80（Ctrl-C 结束）"]


@pytest.mark.parametrize(
    ("given", "environment", "seen"),
    [
        ([], {}, ["recipe.convert 1 ", "recipe.web 1 "]),
        ([], {"LANG": "zh_CN.UTF-8"}, ["recipe.convert 1 ", "recipe.web 1 "]),
        (["LANG=zh_CN.UTF-8"], {}, ["recipe.convert 1 1", "recipe.web 1 1"]),
        (["USE=adapter"], {}, ["recipe.convert  ", "recipe.web  "]),
        (["USE=base"], {}, ["recipe.model  ", "recipe.web  "]),
    ],
)
def test_make_says_that_a_training_may_be_unfinished_and_who_chose_the_language(tmp_path, given, environment, seen):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$2 ${UNFINISHED} ${LANG_CHOSEN}"\n')
    python.chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))} | {"LANG": "C.UTF-8"}
    done = subprocess.run(
        ["make", "web", *given, f"PY={python}", "PYTHON=/no/such/python"],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == seen, done
