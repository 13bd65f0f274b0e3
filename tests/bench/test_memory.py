"""Memory of processes, without the pages of the files that they map."""

from __future__ import annotations

import subprocess
import sys

from lesson.bench.memory import AnonymousMemory

HELD = """
import mmap, subprocess, sys
if sys.argv[1] == "parent":
    child = subprocess.Popen([sys.executable, "-c", sys.argv[3], "child", sys.argv[2], sys.argv[3]], stdin=sys.stdin)
    child.wait()
else:
    held = bytearray(b"1") * (64 << 20)
    with open(sys.argv[2], "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    sum(mapped[:: 4096])
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_grandchild_counts_and_the_file_that_it_maps_does_not(tmp_path):
    (tmp_path / "file").write_bytes(bytes(64 << 20))
    memory = AnonymousMemory()
    memory.look()
    before = memory.peak
    command = [sys.executable, "-c", HELD, "parent", str(tmp_path / "file"), HELD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        memory.look()
        process.stdin.close()
    assert 64 << 20 <= memory.peak - before < 100 << 20
    peak = memory.peak
    memory.look()
    assert memory.peak == peak
