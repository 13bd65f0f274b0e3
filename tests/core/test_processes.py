"""A process run to its end: what it printed, took and held, and what its failure says."""

from __future__ import annotations

import os
import sys

import pytest

from lesson.core import processes
from lesson.core.messages import UserError
from lesson.core.processes import run_process


def python(code: str, **options):
    return run_process([sys.executable, "-c", code], **options)


def test_output_and_errors_stand_in_their_order():
    done = python("import sys; print('a', flush=True); print('b', file=sys.stderr, flush=True); print('闻星\\n')")
    assert (done.status, done.screen.splitlines()) == (0, ["a", "b", "闻星", ""])
    assert done.last_line == "闻星"
    assert done.require_success() is done


def test_it_reads_what_is_given_and_then_the_end():
    assert python("print(input() + input())", stdin="你\n好\n").last_line == "你好"
    assert "EOFError" in python("input()").screen


def test_what_it_took_is_measured():
    done = python("import time; data = bytearray(200 << 20); time.sleep(0.2)")
    assert done.seconds > 0.2 and 0 < done.cpu_seconds < 30
    assert done.peak_memory > 200 << 20


def test_a_failure_says_the_status_and_carries_the_end_of_the_output():
    done = python("print('x' * 10_000 + 'why'); raise SystemExit(7)")
    assert done.status == 7
    with pytest.raises(UserError, match=r"^train: exit status 7; read the lines above$") as error:
        done.require_success("train")
    assert error.value.details.endswith("xwhy") and len(error.value.details) <= 3000
    with pytest.raises(UserError, match="-c 'print"):
        done.require_success()


def test_a_process_that_a_signal_ended_has_a_negative_status():
    assert python("import os; os.kill(os.getpid(), 9)").status == -9


def test_a_log_is_continued_and_only_the_new_part_is_the_screen(tmp_path):
    log = tmp_path / "console.log"
    log.write_text("before\n", encoding="utf-8")
    assert python("print('now')", log=log).screen == "now\n"
    assert log.read_text(encoding="utf-8") == "before\nnow\n"


def test_it_is_watched_while_it_runs_and_may_print_more_than_a_pipe_holds():
    looks = []
    done = python("import time; time.sleep(0.3); print('y' * 1_000_000)", watch=lambda: looks.append(1))
    assert len(done.screen) == 1_000_001 and len(looks) >= 2


def test_it_is_bound_to_the_cores_named():
    core = min(os.sched_getaffinity(0))
    assert python("import os; print(os.sched_getaffinity(0))", cores=[core]).last_line == f"{{{core}}}"


@pytest.mark.parametrize(("takes", "ended"), [(60, False), (0.2, True)])
def test_an_interrupted_process_may_end_by_itself_and_none_is_left(takes, ended, tmp_path, monkeypatch):
    """Ctrl-C reaches it too: what it started itself is ended by it, and its processor time is counted."""
    monkeypatch.setattr(processes, "GRACE", 5 if ended else 0.05)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        code = f"import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep({takes}); open('end', 'w')"
        python(f"import os; os.chdir({str(tmp_path)!r}); {code}", watch=lambda: (tmp_path / "pid").exists() and stop())
    assert (tmp_path / "end").exists() is ended
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text() or 0) or 2**22, 0)
