"""Stages and servers of the recipe as processes of their own, for the tests that do the lesson for real."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jsonschema import Draft7Validator, FormatChecker

from lesson.core.settings import ROOT

NAME = "闻星"
# What runs or loads where text is taken for HTML or Markdown: a script, a handler, and two images of another host.
HOSTILE = (
    "<script>window.pwned=1</script><img src=http://evil.example/a onerror=window.pwned=2>![x](http://evil.example/b)"
)
HOSTILE_NAME = "<img src=http://evil.example/c onerror=window.pwned=3>"


def environment(build: Path, **variables: str) -> dict[str, str]:
    """The environment of a stage at tiny whose files all go into `build`, messages in English."""
    result = {k: v for k, v in os.environ.items() if k not in ("NEW_NAME", "SEED")}
    result |= {"BUILD": str(build), "PROFILE": "tiny", "LANG": "C.UTF-8", "PYTHONUTF8": "1", **variables}
    return result | {"HOME": str(build.with_name(build.name + ".home")), "XDG_CACHE_HOME": ""}


def stage(build: Path, module: str, *arguments: str, status: int = 0, stdin: str = "", **variables: str) -> str:
    """Run `python -m recipe.MODULE` as make does; returns what the screen shows. Fails on another exit status."""
    command = [sys.executable, "-m", f"recipe.{module}", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(build, **variables), input=stdin, capture_output=True, text=True
    )
    screen = done.stdout + done.stderr
    assert done.returncode == status, screen
    assert "Traceback" not in screen
    return screen


def valid(path: Path, schema: str) -> dict:
    """The document in `path`, proven valid against schemas/SCHEMA.schema.json."""
    document = json.loads(path.read_text(encoding="utf-8"))
    rules = json.loads((ROOT / "schemas" / f"{schema}.schema.json").read_text(encoding="utf-8"))
    Draft7Validator(rules, format_checker=FormatChecker()).validate(document)
    return document


@dataclass
class Server:
    """A running server: its address, how long it took until it answered, and what it printed so far."""

    url: str
    seconds: float
    log: Path

    @property
    def screen(self) -> str:
        return self.log.read_text(encoding="utf-8")


def hears_ctrl_c() -> None:
    """For a child process: a shell that runs the tests in the background has them, and all that they start, ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(build: Path, module: str, path: str, log: Path, **variables: str) -> Iterator[Server]:
    """`python -m recipe.MODULE` on a free port, answering on `path`; ended by Ctrl-C, which must be enough.

    Whatever the process asks of another host goes to a proxy that is a trap: nothing may come there.
    """
    port = free_port()
    with socket.socket() as trap, open(log, "w", encoding="utf-8") as out:
        trap.bind(("127.0.0.1", 0))
        trap.listen()
        trap.setblocking(False)
        proxy = f"http://127.0.0.1:{trap.getsockname()[1]}"
        proxies = {
            key: proxy for name in ("http", "https", "all") for key in (f"{name}_proxy", f"{name.upper()}_PROXY")
        }
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", f"recipe.{module}", "--port", str(port)],
            cwd=ROOT,
            env=environment(build, **proxies, **variables),
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=hears_ctrl_c,
        )
        url = f"http://127.0.0.1:{port}"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            while True:
                assert process.poll() is None and time.monotonic() - started < 300, log.read_text(encoding="utf-8")
                with contextlib.suppress(OSError), direct.open(url + path, timeout=5):
                    break
                time.sleep(0.1)
            yield Server(url, time.monotonic() - started, log)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) in (0, 130), log.read_text(encoding="utf-8")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        try:
            trap.accept()
        except BlockingIOError:
            pass
        else:
            raise AssertionError("the server asked another host")
