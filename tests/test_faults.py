"""Faults at every moment: the processes that are forked for them."""

from __future__ import annotations

import io
import signal
import threading

from faults import run_forked
from tqdm import tqdm


def count_with_progress() -> int:
    signal.alarm(20)  # where it waits for ever, it ends by this
    return sum(1 for _ in tqdm(range(3), file=io.StringIO()))


def test_a_forked_process_does_not_wait_for_a_progress_bar_of_another(tmp_path):
    """A killed one leaves the lock of tqdm taken, and so does tqdm's own thread where the fork comes at that moment."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with tqdm.get_lock():
            taken.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    try:
        assert run_forked(count_with_progress, tmp_path, None, 0).status == 3
    finally:
        done.set()
        holder.join()


def test_a_process_that_is_killed_inside_a_progress_bar_leaves_the_lock_to_others(tmp_path):
    def make_a_file() -> int:
        with tqdm.get_lock():
            (tmp_path / "a").write_text("a")
        return 0

    assert run_forked(make_a_file, tmp_path, "kill", 1).killed
    assert run_forked(count_with_progress, tmp_path, None, 0).status == 3
    assert tqdm.get_lock().mp_lock.acquire(block=False), "nor is it taken here"
    tqdm.get_lock().mp_lock.release()
