"""A hub of our own: a server that speaks the paths of Hugging Face's, stalls and breaks off as it is told."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path

COMMIT = "a1" * 20  # the only one there is


def use_in_this_process(monkeypatch) -> None:
    """Let huggingface_hub, once imported, ask HF_ENDPOINT and nobody between; in small pieces, so that breaks show."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 16 * 1024)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


class Hub:
    """The hub at a port of this machine, with one repository `name` of `files`, contents or paths by name; a context
    manager. `breaks` holds how many bytes of the weights each next answer gives before the
    connection is dropped (None: all); `silent` names what is begun and then left without a byte: "weights" or "listing",
    once each. `asked` lists (method, path, Range)."""

    def __init__(self, name: str, files: Mapping[str, bytes | Path]) -> None:
        self.name, self.files = name, files
        self.asked: list[tuple[str, str, str | None]] = []
        self.breaks: list[int | None] = []
        self.silent: list[str] = []
        self.ended = threading.Event()
        self.status = 200
        self.hashes = {file: hashlib.sha256(self.read(file)).hexdigest() for file in files}
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def do_POST(self) -> None:
                self.take()

            def do_PUT(self) -> None:
                self.take()

            def take(self) -> None:
                """What is sent to the hub, which answers with (status, content); None breaks the connection off."""
                owner.asked.append((self.command, self.path.partition("?")[0], None))
                answer = owner.receive(self)
                if answer is None:
                    self.close_connection = True
                    return self.connection.close()
                return self.give(*answer, {}, True)

            def answer(self, body: bool) -> None:
                path = self.path.partition("?")[0]
                owner.asked.append((self.command, path, self.headers.get("Range")))
                if owner.status != 200:
                    return self.give(owner.status, b"{}", {}, body)
                if told := owner.tell(self):
                    return self.give(*told, body)
                if match := re.fullmatch(rf"/api/models/{owner.name}/revision/([^/]+)", path):
                    if match[1] not in ("main", COMMIT):
                        return self.give(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
                    return self.give(200, owner.listing(), {}, body, silent=owner.falls_silent("listing"))
                match = re.fullmatch(rf"/{owner.name}/resolve/{COMMIT}/(.+)", path)
                if not match or match[1] not in owner.files:
                    return self.give(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
                content = owner.read(match[1])
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

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

    def tell(self, request: http.server.BaseHTTPRequestHandler) -> tuple[int, bytes, dict] | None:
        """Another answer (status, content, headers) to what is asked; a hub that takes uploads has some."""
        return None

    def receive(self, request: http.server.BaseHTTPRequestHandler) -> tuple[int, bytes] | None:
        """The answer to what is sent; a hub that takes uploads has another."""
        return 404, b"{}"

    def read(self, file: str) -> bytes:
        content = self.files[file]
        return content.read_bytes() if isinstance(content, Path) else content

    def falls_silent(self, what: str) -> bool:
        if what in self.silent:
            self.silent.remove(what)
            return True
        return False

    def listing(self) -> bytes:
        siblings = [{"rfilename": name, "size": len(self.read(name))} for name in self.files]
        for file in siblings:
            if file["rfilename"] == "model.safetensors":
                file["lfs"] = {"sha256": self.hashes["model.safetensors"], "size": file["size"], "pointerSize": 134}
        return json.dumps({"id": self.name, "sha": COMMIT, "siblings": siblings}).encode()
