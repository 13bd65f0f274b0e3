"""A hub of our own that takes uploads: accounts with tokens, repositories, large files by hash, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field

from hub_server import Hub

ME, MY_TOKEN, READ_TOKEN = "somebody", "hf_write", "hf_read"
MY_ORGANISATION, ANOTHER = "our-lab", "another"
LARGE = (".safetensors", ".gguf")


@dataclass
class Repository:
    """A repository: its files, which of them are large ones, and how many commits it has had."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b""})
    large: set[str] = field(default_factory=set)
    commits: int = 1

    @property
    def sha(self) -> str:
        return f"{self.commits:040x}"


class UploadHub(Hub):
    """The hub's paths for uploads, as huggingface_hub 0.36 calls them (hf_api.py, _commit_api.py, lfs.py).

    MY_TOKEN may write to ME and MY_ORGANISATION, READ_TOKEN only reads. `stored` are large files by SHA-256, `tokens` all
    that came with a request. `break_after` drops the connection after so many bytes of a large file, once; `ignored`
    are files that the repository's .gitignore leaves out. `named` is the host in the addresses of its answers; with
    `loses_commits` it says that there is a commit, and there is none.
    """

    def __init__(self) -> None:
        super().__init__("none/none", {})
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.break_after: int | None = None
        self.ignored: set[str] = set()
        self.named = self.url  # the host in the addresses that it answers with; a mirror may name another
        self.loses_commits = False

    def tell(self, request) -> tuple[int, bytes, dict]:
        path, token = request.path.partition("?")[0], self.token_of(request)
        if token not in (MY_TOKEN, READ_TOKEN):
            return 401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"}
        if path == "/api/whoami-v2":
            return 200, json.dumps({"name": ME, "orgs": [{"name": MY_ORGANISATION}]}).encode(), {}
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(\w+))?", path)
        repository = self.repositories.get(match[1]) if match else None
        if repository is None or match[2] not in (None, "main", repository.sha):
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        siblings = []
        for name, content in repository.files.items():
            siblings.append({"rfilename": name, "size": len(content), "blobId": git_hash(content)})
            if name in repository.large:
                sha = hashlib.sha256(content).hexdigest()
                siblings[-1]["lfs"] = {"sha256": sha, "size": len(content), "pointerSize": 134}
        told = {"id": match[1], "sha": repository.sha, "private": repository.private, "siblings": siblings}
        return 200, json.dumps(told).encode(), {}

    def receive(self, request) -> tuple[int, bytes] | None:
        path, size = request.path.partition("?")[0], int(request.headers.get("Content-Length", 0))
        if match := re.fullmatch(r"/storage/(\w+)", path):  # signed addresses: without a token
            cut, self.break_after = self.break_after, None
            if cut is not None:
                request.rfile.read(min(size, cut))
                return None
            content = request.rfile.read(size)
            assert hashlib.sha256(content).hexdigest() == match[1]
            self.stored[match[1]] = content
            return 200, b""
        body, token = request.rfile.read(size), self.token_of(request)
        if path == "/api/validate-yaml":
            return 200, b'{"errors": [], "warnings": []}'
        if token != MY_TOKEN:
            return (403 if token == READ_TOKEN else 401), b'{"error": "no"}'
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.repositories:
                return 409, json.dumps({"url": f"{self.url}/{name}"}).encode()
            # up to 0.36 a boolean, in 2.4 a word
            self.repositories[name] = Repository(asked.get("private", asked.get("visibility") == "private"))
            return 200, json.dumps({"url": f"{self.named}/{name}"}).encode()
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path):
            repository = self.repositories[match[1]]
            if match[2] == "preupload":
                return 200, self.preupload(repository, body)
            if not self.loses_commits:
                self.commit(repository, body)
            commit = {"commitUrl": f"{self.named}/{match[1]}/commit/{repository.sha}", "commitOid": repository.sha}
            return 200, json.dumps(commit).encode()
        assert re.fullmatch(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch", path), path
        return 200, self.batch(json.loads(body))

    def token_of(self, request) -> str | None:
        token = (request.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.tokens.add(token)
        return token

    def preupload(self, repository: Repository, body: bytes) -> bytes:
        files = []
        for file in json.loads(body)["files"]:
            path = file["path"]
            known = {}
            if path in repository.files:
                content = repository.files[path]
                large = path in repository.large
                known = {"oid": hashlib.sha256(content).hexdigest() if large else git_hash(content)}
            mode = "lfs" if path.endswith(LARGE) else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": path in self.ignored, **known})
        return json.dumps({"files": files}).encode()

    def batch(self, asked: dict) -> bytes:
        objects = []
        for one in asked["objects"]:
            objects.append({"oid": one["oid"], "size": one["size"]})
            if one["oid"] not in self.stored:
                objects[-1]["actions"] = {"upload": {"href": f"{self.url}/storage/{one['oid']}"}}
        return json.dumps({"transfer": "basic", "objects": objects}).encode()

    def commit(self, repository: Repository, body: bytes) -> None:
        head, *operations = map(json.loads, body.splitlines())
        assert head["key"] == "header" and head["value"]["summary"]
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert operation["key"] == "lfsFile"
                repository.files[value["path"]] = self.stored[value["oid"]]
                repository.large.add(value["path"])
        repository.commits += 1


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
