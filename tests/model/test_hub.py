"""A base by its name on a hub: a server of our own speaks the hub's paths, stalls and breaks off; the next call goes on."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import struct
import sys
import threading
import types
from pathlib import Path

import pytest

from lesson.model import hub
from recipe import model

COMMIT = "a1" * 20
NAME = "Somebody/Some-0.5B-Chat"
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 500,
}
CONFIG = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **SIZES}


def shard(numbers: int) -> bytes:
    header = {"a": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(256)) * (4 * numbers // 256)


FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "tokenizer_config.json": json.dumps({"chat_template": "<|im_start|>"}).encode(),
    "README.md": b"---\nlicense: mit\n---\n",
    "model.safetensors": shard(64 * 1024),  # 256 KiB
    "modeling_evil.py": b"raise SystemExit",
    "pytorch_model.bin": b"x",
    "onnx/model.onnx": b"x",
}


class Hub:
    """The hub at a port of this machine. `breaks` holds how many bytes of the weights each next answer gives before the
    connection is dropped (None: all); `silent` names what is begun and then left without a byte: "weights" or "listing",
    once each. `asked` lists (method, path, Range)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        self.breaks: list[int | None] = []
        self.silent: list[str] = []
        self.ended = threading.Event()
        self.status = 200
        self.weights = FILES["model.safetensors"]
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                path = self.path.partition("?")[0]
                owner.asked.append((self.command, path, self.headers.get("Range")))
                if owner.status != 200:
                    return self.give(owner.status, b"{}", {}, body)
                if match := re.fullmatch(rf"/api/models/{NAME}/revision/([^/]+)", path):
                    if match[1] not in ("main", COMMIT):
                        return self.give(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
                    return self.give(200, owner.listing(), {}, body, silent=owner.falls_silent("listing"))
                match = re.fullmatch(rf"/{NAME}/resolve/{COMMIT}/(.+)", path)
                if not match or match[1] not in FILES:
                    return self.give(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
                content = owner.weights if match[1] == "model.safetensors" else FILES[match[1]]
                headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
                cut = None
                start = 0
                if asked := self.headers.get("Range"):
                    start = int(re.match(r"bytes=(\d+)-", asked)[1])
                    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                if body and match[1] == "model.safetensors" and owner.breaks:
                    cut = owner.breaks.pop(0)
                silent = body and match[1] == "model.safetensors" and owner.falls_silent("weights")
                return self.give(206 if start else 200, content[start:], headers, body, cut, silent)

            def give(
                self,
                status: int,
                content: bytes,
                headers: dict,
                body: bool,
                cut: int | None = None,
                silent: bool = False,
            ) -> None:
                self.send_response(status)
                for key, value in {"Content-Length": str(len(content)), "Accept-Ranges": "bytes", **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                if body:
                    self.wfile.write(content[: len(content) // 2 if silent else cut])
                    self.wfile.flush()
                if silent:
                    owner.ended.wait(30)
                if cut is not None:
                    self.close_connection = True
                    self.connection.close()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def falls_silent(self, what: str) -> bool:
        if what in self.silent:
            self.silent.remove(what)
            return True
        return False

    def listing(self) -> bytes:
        siblings = [{"rfilename": name, "size": len(content)} for name, content in FILES.items()]
        sha = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
        for file in siblings:
            if file["rfilename"] == "model.safetensors":
                file["lfs"] = {"sha256": sha, "size": file["size"], "pointerSize": 134}
        return json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode()


@pytest.fixture
def server(monkeypatch):
    from huggingface_hub import constants

    started = Hub()
    monkeypatch.setenv("HF_ENDPOINT", started.url)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 16 * 1024)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "PAUSE", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield started
    started.ended.set()
    started.server.shutdown()
    started.server.server_close()


@pytest.fixture
def fetch(call, tmp_path):
    flags = ("--profile", "7b", "--build", str(tmp_path / "b"), "--model", NAME)
    return lambda *more: call(model, *flags, *more)


def test_only_what_is_needed_is_downloaded_and_the_commit_is_recorded(server, fetch, tmp_path):
    status, out, err = fetch()
    assert status == 0, err
    folder = tmp_path / "b" / "bases" / NAME.replace("/", "--")
    assert {p.name for p in folder.iterdir() if p.is_file()} == {
        *("config.json", "tokenizer_config.json", "README.md", "model.safetensors")
    }, "no code of strangers, no pickle, no other format"
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert f"{NAME} @ {COMMIT[:12]}" in out
    base = json.loads((tmp_path / "b" / "model.record.json").read_text())["base"]
    assert (base["name"], base["hub"], base["revision"], base["license"]) == (NAME, "huggingface", COMMIT, "mit")
    assert base["base_config"] == "qwen1_5_0_5b_chat_qlora_alpaca_e3"


def test_what_is_there_is_not_asked_for_again_until_force(server, fetch):
    assert fetch()[0] == 0
    asked = len(server.asked)
    assert fetch()[0] == 0 and fetch("--revision", COMMIT)[0] == 0 and len(server.asked) == asked
    server.status = 503
    assert fetch()[0] == 0, "without a network"
    server.status = 200
    assert fetch("--force", "1")[0] == 0 and len(server.asked) > asked


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, fetch, monkeypatch):
    monkeypatch.setattr(hub, "ATTEMPTS", 1)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.breaks = [100_000] + [0] * 6
    status, _, err = fetch()
    assert status == 2 and "run the same command again" in err and err.strip().count("\nerror:") <= 1
    server.breaks, before = [], len(server.asked)
    assert fetch()[0] == 0
    ranges = [r for method, path, r in server.asked[before:] if method == "GET" and path.endswith("model.safetensors")]
    assert len(ranges) == 1 and int(re.match(r"bytes=(\d+)-", ranges[0])[1]) >= 64 * 1024, (
        "what was there is not fetched again"
    )


def test_a_break_within_one_call_is_mended_by_itself(server, fetch, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.breaks = [100_000, 50_000]
    assert fetch()[0] == 0


@pytest.mark.parametrize("what", [pytest.param("weights", marks=pytest.mark.slow), "listing"])
def test_a_hub_that_falls_silent_is_asked_again(what, server, fetch, monkeypatch):
    """Half of an answer, then no byte: after the timeout the download goes on with what is missing."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr(hub, "SILENCE", 0.2)
    server.silent = [what]
    assert fetch()[0] == 0 and not server.silent
    ranges = [r for method, path, r in server.asked if method == "GET" and path.endswith("model.safetensors")]
    assert len(ranges) == (2 if what == "weights" else 1)
    assert what == "listing" or int(re.match(r"bytes=(\d+)-", ranges[1])[1]) > 100_000


def test_a_hub_that_stays_silent_is_one_line_with_a_remedy(server, fetch, monkeypatch):
    monkeypatch.setattr(hub, "SILENCE", 0.05)
    server.silent = ["listing"] * hub.ATTEMPTS
    status, _, err = fetch()
    assert status == 2 and "broke off" in err and "HF_ENDPOINT" in err and not server.silent


def test_weights_that_differ_from_the_hubs_hash_are_refused(server, fetch, tmp_path):
    server.weights = FILES["model.safetensors"][:-1] + b"?"
    status, _, err = fetch()
    assert status == 2 and "differs from what the hub has" in err
    server.weights = FILES["model.safetensors"]
    assert fetch()[0] == 0, "the next call fetches it anew"


@pytest.mark.parametrize(
    ("code", "named"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "neither a folder here"), (500, "HF_ENDPOINT")]
)
def test_a_hub_that_gives_nothing_is_one_line_with_a_remedy(server, fetch, tmp_path, code, named):
    server.status = code
    status, _, err = fetch()
    assert status == 2 and named in err and "Traceback" not in err
    assert not (tmp_path / "b" / "model").exists()


def test_a_revision_that_is_not_there(server, fetch):
    status, _, err = fetch("--revision", "v9")
    assert status == 2 and "REVISION=v9" in err


def test_modelscope_is_used_through_its_own_package_and_missed_with_a_word(fetch, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "modelscope", None)
    status, _, err = fetch("--hub", "modelscope")
    assert status == 2 and "pip install modelscope" in err
    package = types.ModuleType("modelscope")

    def snapshot_download(name, revision, local_dir, allow_patterns):
        for file, content in FILES.items():
            if hub.is_needed(file, name):
                (Path(local_dir) / file).parent.mkdir(parents=True, exist_ok=True)
                (Path(local_dir) / file).write_bytes(content)

    package.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "modelscope", package)
    assert fetch("--hub", "modelscope")[0] == 0
    base = json.loads((tmp_path / "b" / "model.record.json").read_text())["base"]
    assert (base["hub"], base["revision"]) == ("modelscope", "master")


def test_code_is_fetched_from_its_makers_only():
    assert hub.is_needed("modeling_internlm2.py", "internlm/internlm2_5-7b-chat")
    assert not hub.is_needed("modeling_internlm2.py", "somebody/internlm2_5-7b-chat")
    assert not hub.is_needed("original/model.safetensors", "meta-llama/Llama-3.2-1B-Instruct")
    assert [hub.is_hub_name(name) for name in ("a/b", "/a/b", "a/b/c", "./b", "lesson/core", "a")] == [
        *(True, False, False, False, False, False)
    ]
