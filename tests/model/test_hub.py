"""A base by its name on a hub: a server of our own speaks the hub's paths, stalls and breaks off; the next call goes on."""

from __future__ import annotations

import json
import re
import shutil
import struct
import sys
import types
from pathlib import Path

import pytest
from faults import repeat_after_kills, snapshot
from hub_server import COMMIT, Hub, use_in_this_process

from lesson.model import hub
from recipe import model

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


@pytest.fixture
def server(monkeypatch):
    with Hub(NAME, FILES) as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        use_in_this_process(monkeypatch)
        monkeypatch.setattr(hub, "PAUSE", 0.0)
        yield started


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
    server.files = FILES | {"model.safetensors": FILES["model.safetensors"][:-1] + b"?"}
    status, _, err = fetch()
    assert status == 2 and "differs from what the hub has" in err
    server.files = FILES
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


@pytest.mark.parametrize("note", ["", "abc\n", "abc\ndef\nsoon\n"])
def test_a_note_of_the_hub_s_library_that_a_kill_cut_off_stops_no_download(server, fetch, tmp_path, note):
    assert fetch()[0] == 0
    folder = tmp_path / "b" / "bases" / NAME.replace("/", "--")
    (file,) = folder.glob(".cache/huggingface/download/model.safetensors.metadata")
    file.write_text(note)
    (folder / "model.safetensors").unlink()
    status, _, err = fetch()
    assert status == 0, err
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


@pytest.mark.slow
def test_a_download_that_is_killed_before_any_operation_goes_on_to_the_same_bytes(server, fetch, tmp_path):
    """Forked, so that the hub's threads stay here. What huggingface_hub keeps for itself is not compared: its cache of what
    it has, and the empty file by which it tries whether a folder can be written."""
    build, begin = tmp_path / "b", tmp_path / "begin"
    build.mkdir()
    shutil.copytree(build, begin)

    def act() -> int:
        return fetch()[0]

    def made() -> dict:
        own = re.compile(r"/\.cache|/tmp_[0-9a-f-]{36}$")
        return {name: content for name, content in snapshot(build).items() if not own.search(name)}

    assert repeat_after_kills(act, build, begin, made, stride=4) >= 5


def test_a_token_is_not_sent_to_a_hub_in_plain_text(server, fetch, monkeypatch):
    sent = set()
    server.tell = lambda request: sent.add(request.headers.get("Authorization"))
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setattr(hub, "is_encrypted", lambda endpoint: False)  # as of any address but this machine's
    assert fetch()[0] == 0 and sent == {None}


@pytest.mark.parametrize(
    ("endpoint", "encrypted"),
    [
        ("https://huggingface.co", True),
        ("HTTPS://hub.example/x", True),
        ("http://localhost:80", True),
        ("http://[::1]:80", True),
        ("http://127.0.0.1.example", False),
        ("http://hub.example", False),
        ("hub.example", False),
    ],
)
def test_what_nobody_on_the_way_reads(endpoint, encrypted):
    assert hub.is_encrypted(endpoint) == encrypted
