"""One maker at a time; readers together; a lock goes with its process and leaves no file."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest

from lesson.core.locks import lock_output
from lesson.core.messages import UserError


def test_a_second_maker_is_refused_with_the_process_that_is_at_work(tmp_path):
    output = tmp_path / "rows.jsonl"
    with lock_output(output):
        at_work = rf"rows\.jsonl: another stage is at work on it \(process {os.getpid()}\)"
        with pytest.raises(UserError, match=at_work), lock_output(output, patience=0):
            pass
        with pytest.raises(UserError), lock_output(output, shared=True, patience=0):
            pass
    assert list(tmp_path.iterdir()) == []


def test_readers_are_together_and_keep_makers_out(tmp_path):
    output = tmp_path / "rows.jsonl"
    with contextlib.ExitStack() as readers:
        for _ in range(2):
            readers.enter_context(lock_output(output, shared=True))
        with pytest.raises(UserError), lock_output(output, patience=0):
            pass
    with lock_output(output, patience=0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_second_maker_waits_for_the_first(tmp_path):
    output, order = tmp_path / "rows.jsonl", []

    def first() -> None:
        with lock_output(output):
            order.append("first begins")
            time.sleep(0.2)
            order.append("first ends")

    thread = threading.Thread(target=first)
    thread.start()
    while not order:
        time.sleep(0.01)
    with lock_output(output):
        order.append("second")
    thread.join()
    assert order == ["first begins", "first ends", "second"]


def test_many_makers_are_never_two_at_once(tmp_path):
    output, counter = tmp_path / "rows.jsonl", tmp_path / "counter"
    counter.write_text("0")
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            try:
                for _ in range(10):
                    with lock_output(output):
                        counter.write_text(str(int(counter.read_text()) + 1))
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children} == {0}
    assert counter.read_text() == "40"


def test_a_killed_process_locks_nothing(tmp_path):
    output = tmp_path / "rows.jsonl"
    if (child := os.fork()) == 0:
        with lock_output(output):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with lock_output(output, patience=0):
        pass
    assert list(tmp_path.iterdir()) == []
