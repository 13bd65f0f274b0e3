"""make ask against a real local HTTP server that fails, stalls, truncates and refuses."""

import collections
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from servers import hears_ctrl_c

from lesson.authoring.asker import Patience
from lesson.core.findings import Findings
from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.data.questions import read_question_file
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream
from recipe import ask

KEY = "sk-secret-0123456789"
FAST = Patience(timeout=0.4, attempts=4, first_delay=0.01, longest_delay=0.05)


class Server(http.server.ThreadingHTTPServer):
    """Answers by what the question says: "500 x" fails twice, "stall x" is silent once, and so on."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that gave up on a stall


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][0]["content"]
        with self.server.lock:
            self.server.asked[question] += 1
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
            self.server.keys.add(self.headers["Authorization"])
        try:
            self.answer(question, self.server.asked[question] == 1)
        finally:
            with self.server.lock:
                self.server.now -= 1

    def answer(self, question, first):
        kind = question.split()[0]
        reply = {
            "id": "x", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": f"答：{question}"}}],
        }  # fmt: skip
        time.sleep(self.server.pause)
        if kind == "500" and self.server.asked[question] < 3:
            return self.send(500, {"error": {"message": "boom"}})
        if kind == "429" and first:
            return self.send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0"})
        if kind == "always":
            return self.send(503, {"error": {"message": "down"}})
        if kind == "400":
            return self.send(400, {"error": {"message": "no"}})
        if kind == "401":
            return self.send(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
        if kind == "stall" and first:
            time.sleep(1)
            return None
        if kind == "silent":
            time.sleep(8)
            return None
        if kind == "drop" and first:
            self.close_connection = True
            return None
        if kind == "cut" and first:  # fewer bytes than announced
            return self.send(200, reply, {"Content-Length": "5000"})
        if kind == "half" and first:  # a whole response with half a document
            return self.send(200, json.dumps(reply)[:40])
        if kind == "text" and first:
            return self.send(200, "<html>hello</html>", {"Content-Type": "text/html"})
        if kind == "odd" and first:
            return self.send(200, {"choices": {"a": 1}})
        if kind == "blank" and first:
            reply["choices"][0]["message"]["content"] = " "
        if kind == "length":
            reply["choices"][0]["finish_reason"] = "length"
        return self.send(200, reply)

    def send(self, status, body, headers=()):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **dict(headers),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True


@pytest.fixture
def server():
    server = Server(("127.0.0.1", 0), Handler)
    server.lock, server.asked, server.keys = threading.Lock(), collections.Counter(), set()
    server.now = server.most = 0
    server.pause = 0.0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return tmp_path


def run(server, place, asked, *more, patience=FAST):
    (place / "q.txt").write_text("\n".join(asked) + "\n", encoding="utf-8")
    out, err = io.StringIO(), io.StringIO()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    arguments = ["--base-url", url, "--model-name", "m", "--questions", str(place / "q.txt"), "--build", str(place)]
    code = ask.main([*arguments, "--lang", "en", *more], out, err, patience)
    return code, out.getvalue(), err.getvalue()


def rows(place):
    text = (place / "data" / "asked.jsonl").read_text(encoding="utf-8")
    return [(t["input"], t["output"]) for line in text.splitlines() for t in json.loads(line)["conversation"]]


TROUBLE = ["ok 一", "500 二", "429 三", "stall 四", "drop 五", "cut 六", "half 七", "text 八", "odd 九", "blank 十"]


@pytest.mark.slow
def test_trouble_passes_and_rows_come_in_order(server, place):
    code, out, err = run(server, place, [*TROUBLE, "", "ok 一"])
    assert (code, err) == (0, "")
    assert rows(place) == [(q, f"答：{q}") for q in TROUBLE]
    assert "10 of 10 questions answered" in out
    assert server.asked["500 二"] == 3 and server.asked["ok 一"] == 1 and server.asked["cut 六"] == 2
    assert server.keys == {f"Bearer {KEY}"}
    findings = Findings(ROW_RULES)
    with open(place / "data" / "asked.jsonl", "rb") as file:
        validate_stream(file, Validator("f", findings, near=False))
    assert findings.kept == []


def test_answered_questions_are_never_asked_again(server, place):
    assert run(server, place, ["ok 一", "always 二", "400 三", "length 四"])[0] == 1
    assert rows(place) == [("ok 一", "答：ok 一")]
    assert server.asked["always 二"] == FAST.attempts and server.asked["400 三"] == 1
    code, out, _ = run(server, place, ["ok 五", "ok 一"])
    assert code == 0 and "1 of them now" in out
    assert server.asked["ok 一"] == 1
    assert rows(place) == [("ok 五", "答：ok 五"), ("ok 一", "答：ok 一")]


def test_failures_are_named(server, place):
    code, _, err = run(server, place, ["ok 一", "always 二", "length 三"])
    assert code == 1
    assert "'always 二'" in err and "503" in err and "finish_reason length" in err


def test_a_refusal_stops_everything_and_hides_the_key(server, place):
    code, out, err = run(server, place, [*(f"401 {i}" for i in range(50))])
    assert code == 2 and err.count("\n") == 1 and "OPENAI_API_KEY" in err
    assert sum(server.asked.values()) <= 10
    everything = out + err + "".join(p.read_text(encoding="utf-8") for p in place.rglob("*") if p.is_file())
    assert KEY not in everything and "***" in err


def test_concurrency(server, place):
    server.pause = 0.05
    assert run(server, place, [f"ok {i}" for i in range(24)], "--concurrency", "6")[0] == 0
    assert 2 <= server.most <= 6


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(server, place):
    server.pause = 0.03
    asked = [f"ok {i}" for i in range(60)]
    (place / "q.txt").write_text("\n".join(asked), encoding="utf-8")
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    arguments = [
        "--base-url",
        url,
        "--model-name",
        "m",
        "--questions",
        str(place / "q.txt"),
        "--build",
        str(place),
        "--concurrency",
        "1",
    ]
    process = subprocess.Popen([sys.executable, "-m", "recipe.ask", *arguments], cwd=ROOT, env={**os.environ, "OPENAI_API_KEY": KEY}, stderr=subprocess.DEVNULL)  # fmt: skip
    while len(server.asked) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    journal = place / "data" / "asked.journal.jsonl"
    assert not (place / "data" / "asked.jsonl").exists()
    with open(journal, "a", encoding="utf-8") as file:
        file.write('{"question": "ok 59", "ans')  # torn
    server.pause = 0
    assert run(server, place, asked)[0] == 0
    assert len(rows(place)) == 60
    # Only the one in flight when it was killed may have been asked twice.
    assert sum(count > 1 for count in server.asked.values()) <= 1


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_a_silent_server(server, place):
    (place / "q.txt").write_text("silent 一\nsilent 二\n", encoding="utf-8")
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    arguments = ["--base-url", url, "--model-name", "m", "--questions", str(place / "q.txt"), "--build", str(place)]
    process = subprocess.Popen([sys.executable, "-m", "recipe.ask", *arguments], cwd=ROOT, env={**os.environ, "OPENAI_API_KEY": KEY}, stderr=subprocess.PIPE, preexec_fn=hears_ctrl_c)  # fmt: skip
    while len(server.asked) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in said


def test_nothing_listens(place):
    closed = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    closed.server_close()
    code, _, err = run(closed, place, ["ok"])
    assert code == 1 and "Traceback" not in err


def test_question_files(tmp_path):
    file = tmp_path / "q"
    file.write_text(
        '\ufeff你好\n{"input": "a"}\n{"question": "b"}\n{"conversation": [{"input": "c", "output": "d"}]}\n\n你好\n',
        encoding="utf-8",
    )
    assert read_question_file(str(file)) == ["你好", "a", "b", "c"]
    for bad in ("\n", '{"input": 1}\n', '{"x"\n', "\udcff"):
        file.write_bytes(bad.encode("utf-8", "surrogateescape"))
        with pytest.raises(UserError):
            read_question_file(str(file))


@pytest.mark.parametrize("bad", [["--base-url", ""], ["--base-url", "ftp://x"], ["--base-url", "http://u:p@h/v1"], ["--base-url", "http://h:99999/"], ["--model-name", ""], ["--questions", ""], ["--questions", "nowhere"], ["--concurrency", "0"]])  # fmt: skip
def test_bad_settings_are_one_line(server, place, bad):
    code, _, err = run(server, place, ["ok"], *bad)
    assert code == 2 and err.count("\n") == 1
    assert not (place / "data").exists()
