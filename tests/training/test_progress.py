"""What is shown while a training runs comes from its curve and from /proc."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lesson.core.messages import set_language
from lesson.training import progress

STEP = {"step": 5, "loss": 1.5, "lr": 0.1, "tokens": 2048, "seconds": 0.5}


def test_a_line_shows_the_gpu_s_peak_where_there_is_one_else_the_trainer_s_memory():
    with_gpu = progress.format_line(progress.measure_progress([{**STEP, "memory": 12 << 30}], 10, 3 << 30))
    assert with_gpu == "step 5/10  loss 1.500  4096 tokens/s  GPU peak 12.0 GiB  2 s left"
    assert "memory 3.0 GiB" in progress.format_line(progress.measure_progress([STEP], 10, 3 << 30))
    set_language("zh")
    assert (
        progress.format_line(progress.measure_progress([STEP], 10, None))
        == "第 5/10 步  损失 1.500  每秒 4096 个词元  还需 2 秒"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_the_process_and_of_all_its_descendants():
    hold = "x = bytearray(60 << 20); import subprocess, sys; "
    inner = hold + "print(1, flush=True); input()"
    code = hold + f"subprocess.run([sys.executable, '-c', {inner!r}])"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        assert 120 << 20 < progress.measure_memory(child.pid) < 400 << 20
    finally:
        child.stdin.close()
        child.wait()
    assert progress.measure_memory(child.pid) is None


@pytest.mark.slow
def test_a_line_for_each_tenth_is_printed_and_an_earlier_session_s_curve_is_not_progress(tmp_path):
    lines: list[str] = []
    display = progress.Display(report=lines.append, warn=lambda line: None)
    curve = tmp_path / "curve.jsonl"
    written = [{"total": 20}, *({**STEP, "step": n} for n in range(1, 21))]
    curve.write_text("".join(json.dumps(line) + "\n" for line in written[:15]))
    progress.follow_training(subprocess.Popen([sys.executable, "-c", ""]), curve, display)
    assert lines == []
    rest = "".join(json.dumps(line) + "\n" for line in written[15:])
    code = f"import time; f = open({str(curve)!r}, 'a'); f.write({rest!r})"
    progress.follow_training(subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ)), curve, display)
    assert len(lines) == 1 and lines[0].startswith("step 20/20")


@pytest.mark.slow
def test_the_first_step_is_shown_at_once(tmp_path):
    """On a slow machine a tenth of the way takes minutes."""
    lines: list[str] = []
    curve = tmp_path / "curve.jsonl"
    text = "".join(json.dumps(line) + "\n" for line in [{"total": 300}, {**STEP, "step": 1}, {**STEP, "step": 2}])
    code = f"open({str(curve)!r}, 'w').write({text!r})"
    display = progress.Display(report=lines.append, warn=lambda line: None)
    progress.follow_training(subprocess.Popen([sys.executable, "-c", code]), curve, display)
    assert len(lines) == 1 and lines[0].startswith("step 2/300") and "s left" in lines[0]
