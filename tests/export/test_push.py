"""An export goes to a hub whole, to nobody else's place, with nobody else's token, and nothing else with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hub_server import use_in_this_process
from hub_uploads import ANOTHER, ME, MY_ORGANISATION, MY_TOKEN, READ_TOKEN, Repository, UploadHub

from lesson.core.files import hash_path, write_json
from lesson.core.records import Record, record_path
from lesson.export.card import SUMS, write_sums
from recipe import push

REPO = f"{ME}/my-assistant"
WEIGHTS = bytes(range(256)) * 1024
FILES = {
    "README.md": b"---\nlibrary_name: peft\n---\n\n# x\n",
    "adapter_config.json": b'{"base_model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct"}',
    "adapter_model.safetensors": WEIGHTS,
}


@pytest.fixture
def hub(monkeypatch):
    from huggingface_hub import constants

    with UploadHub() as started:
        use_in_this_process(monkeypatch)
        monkeypatch.setattr(constants, "ENDPOINT", started.url)  # read from HF_ENDPOINT at its import
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        monkeypatch.setenv("HF_TOKEN", MY_TOKEN)
        yield started


@pytest.fixture
def run(tmp_path) -> Path:
    """A run folder with an adapter and its export, as make export leaves them."""
    folder = tmp_path / "b" / "runs" / "0123456789ab"
    (folder / "adapter").mkdir(parents=True)
    (tmp_path / "b" / "run").symlink_to("runs/0123456789ab")
    write_json(folder / "run.json", {})
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(WEIGHTS)
    write_json(record_path(folder / "adapter"), {"output": hash_path(folder / "adapter")})
    export(folder)
    return folder


def export(run: Path, name: str = "adapter", signed: str = "", **more: bytes) -> Path:
    made = Record(run / "export" / name, {"model": hash_path(run / "adapter")}, {"quant": "q8_0", "signed": signed})
    with made.write_folder() as folder:
        for file, content in {**FILES, **more}.items():
            (folder / file).write_bytes(content)
        write_sums(folder)
        if signed:
            (folder / "model.sig").write_bytes(b"{}")
    return run / "export" / name


@pytest.fixture
def pushed(call, tmp_path):
    return lambda *more, repo=REPO: call(
        push, "--profile", "tiny", "--build", str(tmp_path / "b"), "--repo", repo, "--lang", "en", *more
    )


def refused(outcome: tuple[int, str, str], *words: str) -> None:
    status, _, err = outcome
    assert status == 2 and err.count("error:") == 1 and "Traceback" not in err
    assert all(word in err for word in words), err


def test_exactly_what_the_list_has_goes_up_private_and_is_said_before(hub, run, pushed, monkeypatch):
    (run / "export" / "adapter" / "secret.txt").write_text("mine")
    (run / "export" / "adapter" / ".cache").mkdir()
    (run / "export" / "adapter" / ".cache" / "also").write_text("mine")
    status, out, err = pushed()
    assert status == 0, err
    there = hub.repositories[REPO]
    assert there.private and there.files.keys() == {*FILES, SUMS, ".gitattributes"}
    assert all(there.files[name] == content for name, content in FILES.items())
    sums = dict(line.split("  ")[::-1] for line in there.files[SUMS].decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    lines = out.splitlines()
    assert hub.url + "/" + REPO in lines[0] and "a new repository, private" in lines[0]
    assert all(any(line.startswith(f"  {name}") for line in lines) for name in (*FILES, SUMS))
    assert "stays here: .cache/also, secret.txt" in out and lines[-1].startswith("uploaded: ")
    assert hub.tokens == {MY_TOKEN} and MY_TOKEN not in out + err


def test_nothing_is_sent_before_it_was_said(hub, run, tmp_path, monkeypatch):
    from io import StringIO

    from lesson.core.settings import Values
    from lesson.export.push import push_export

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push_export(Values({"BUILD": str(tmp_path / "b"), "REPO": REPO}, {}), "adapter", stop, StringIO())
    assert not hub.repositories and {method for method, _, _ in hub.asked} == {"GET"}


def test_the_same_again_is_up_to_date_and_makes_no_commit(hub, run, pushed):
    assert pushed()[0] == 0
    commits, asked = hub.repositories[REPO].commits, len(hub.asked)
    status, out, _ = pushed()
    assert status == 0 and "up to date: " in out and "there already, private" in out
    assert hub.repositories[REPO].commits == commits and not [a for a in hub.asked[asked:] if a[0] == "PUT"]


def test_an_upload_that_breaks_off_goes_on_with_what_is_missing(hub, run, pushed, monkeypatch):
    from huggingface_hub import lfs

    export(run, **{"a.safetensors": b"a" * 300_000})
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    put = lfs.http_backoff
    monkeypatch.setattr(lfs, "http_backoff", lambda *a, **k: put(*a, **{**k, "max_retries": 0}))
    hub.break_after = 100_000
    refused(pushed(), "broke off", "run the same command again")
    assert len(hub.stored) == 1 and hub.repositories[REPO].commits == 1, "no half commit"
    before = len(hub.asked)
    assert pushed()[0] == 0
    assert len([a for a in hub.asked[before:] if a[0] == "PUT"]) == 1
    assert hub.repositories[REPO].files["a.safetensors"] == b"a" * 300_000


def test_a_new_export_replaces_the_files_and_names_what_else_is_there(hub, run, pushed):
    hub.repositories[REPO] = Repository(private=True, files={"old.safetensors": b"1", "README.md": b"old"})
    status, out, _ = pushed()
    assert status == 0 and "also there, not of this export: old.safetensors" in out
    assert hub.repositories[REPO].files["README.md"] == FILES["README.md"]


@pytest.mark.parametrize("form", ["hf", "gguf", "ollama"])
def test_other_forms_from_their_own_folders(form, hub, run, pushed):
    name = form if form == "hf" else f"{form}-q4_k_m"
    (run / "merged").mkdir()
    write_json(record_path(run / "merged"), {"output": hash_path(run / "adapter")})
    refused(pushed("--format", form, "--quant", "q4_k_m"), f"run make export FORMAT={form}")
    export(run, name, **{"x.gguf": b"GGUF"})
    status, _, err = pushed("--format", form, "--quant", "q4_k_m")
    assert status == 0, err
    assert hub.repositories[REPO].files["x.gguf"] == b"GGUF"


def test_public_only_when_asked(hub, run, pushed):
    assert pushed("--public", "1")[0] == 0 and not hub.repositories[REPO].private
    before = dict(hub.repositories[REPO].files)
    export(run, **{"new.txt": b"x"})
    refused(pushed(), "is public", "PUBLIC=1")
    assert hub.repositories[REPO].files == before
    assert pushed("--public", "1")[0] == 0 and "new.txt" in hub.repositories[REPO].files


def test_a_private_repository_stays_private(hub, run, pushed):
    hub.repositories[REPO] = Repository(private=True)
    status, out, _ = pushed("--public", "1")
    assert status == 0 and "there already, private" in out and hub.repositories[REPO].private


def test_to_an_organisation_of_ones_own(hub, run, pushed):
    assert pushed(repo=f"{MY_ORGANISATION}/x")[0] == 0 and f"{MY_ORGANISATION}/x" in hub.repositories


def test_a_signature_goes_with_the_list_that_it_signs(hub, run, pushed):
    export(run, signed="abc")
    assert pushed()[0] == 0 and hub.repositories[REPO].files["model.sig"] == b"{}"


def test_a_file_of_that_name_without_a_signature_stays_here(hub, run, pushed):
    (run / "export" / "adapter" / "model.sig").write_bytes(b"mine")
    assert pushed()[0] == 0 and "model.sig" not in hub.repositories[REPO].files


@pytest.mark.parametrize("token", ["", " ", "hf_中文", "a b"])
def test_without_a_token_nothing_is_asked_and_a_stored_one_is_not_taken(token, hub, run, pushed, monkeypatch, tmp_path):
    from huggingface_hub import constants

    (tmp_path / "stored").write_text(MY_TOKEN)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "stored"))
    monkeypatch.setenv("HF_TOKEN", token)
    refused(pushed(), "HF_TOKEN", "write permission")
    assert not hub.asked


def test_a_wrong_token(hub, run, pushed, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    outcome = pushed()
    refused(outcome, "HF_TOKEN", "does not know this token", hub.url)
    assert "hf_wrong" not in outcome[2]


def test_a_token_that_may_only_read(hub, run, pushed, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    refused(pushed(), REPO, "does not let this token write", "403")
    assert not hub.repositories


def test_a_repository_of_another(hub, run, pushed):
    hub.repositories[f"{ANOTHER}/x"] = Repository(private=False)
    refused(pushed("--public", "1", repo=f"{ANOTHER}/x"), f"belongs to {ANOTHER}", ME, f"REPO={ME}/x")
    assert hub.repositories[f"{ANOTHER}/x"].commits == 1


@pytest.mark.parametrize(
    "repo", ["name", "a/b/c", "/x/y", "a/../b", "a/b c", "https://huggingface.co/a/b", "a/-b", "a/b.git"]
)
def test_what_is_no_repository(repo, hub, run, pushed):
    refused(pushed(repo=repo), "REPO", "owner/name")
    assert not hub.asked


def test_no_repository_named(hub, run, pushed):
    refused(pushed(repo=""), "REPO", "make push REPO=OWNER/NAME")


def test_no_network(hub, run, pushed, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused(pushed(), "http://127.0.0.1:9", "check the network")


def test_switched_off(hub, run, pushed, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    from huggingface_hub.utils import reset_sessions

    reset_sessions()
    refused(pushed(), "HF_HUB_OFFLINE=1", "unset it")


@pytest.mark.parametrize("status", [500, 429])
def test_a_hub_in_trouble(status, hub, run, pushed):
    hub.status = status
    refused(pushed(), f"HTTP {status}", "later")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_changed_file_does_not_go_up(name, hub, run, pushed):
    path = run / "export" / "adapter" / name
    path.write_bytes(path.read_bytes() + b" ")
    refused(pushed(), name, "changed since it was exported", "make export FORMAT=adapter FORCE=1")
    assert not hub.repositories


def test_a_link_out_of_the_export_does_not_go_up(hub, run, pushed, tmp_path):
    (tmp_path / "secret").write_bytes(FILES["README.md"])
    card = run / "export" / "adapter" / "README.md"
    card.unlink()
    card.symlink_to(tmp_path / "secret")
    refused(pushed(), "README.md", "not a file of the export")
    assert not hub.repositories


@pytest.mark.parametrize(
    "line", ["{sha}  ../../adapter.record.json", "{sha}  /etc/passwd", "nonsense", "{sha}  gone.txt"]
)
def test_a_list_that_names_what_is_not_of_the_export(line, hub, run, pushed):
    with open(run / "export" / "adapter" / SUMS, "a", encoding="utf-8") as file:
        file.write(line.format(sha="0" * 64) + "\n")
    refused(pushed(), "FORCE=1")
    assert not hub.repositories


def test_an_export_of_an_older_model(hub, run, pushed):
    write_json(record_path(run / "adapter"), {"output": "other"})
    refused(pushed(), "made again since this export", "make export FORMAT=adapter")
    assert not hub.asked


def test_a_path_of_this_machine_is_shown_before_others_read_it(hub, run, pushed):
    export(run, **{"adapter_config.json": json.dumps({"base_model_name_or_path": "/home/me/base"}).encode()})
    status, out, _ = pushed()
    assert status == 0 and "note: " in out and "/home/me/base" in out


def test_what_the_repository_ignores_is_an_error(hub, run, pushed):
    hub.ignored = {"adapter_model.safetensors"}
    refused(pushed(), "adapter_model.safetensors: did not arrive", ".gitignore")


def test_a_mirror_that_names_another_host_has_the_commit(hub, run, pushed):
    hub.named = "https://mirror.example/hub/of/ours"
    status, out, err = pushed()
    assert status == 0, err
    assert f"uploaded: {hub.url}/{REPO}" in out and hub.repositories[REPO].files.keys() >= FILES.keys()
    assert pushed()[1].splitlines()[-1].startswith("up to date: ")
    export(run, **{"new.txt": b"x"})
    hub.loses_commits = True
    refused(pushed(), "broke off")


@pytest.mark.parametrize(
    "endpoint", ["http://hub.example", "http://127.0.0.1.example:80/x", "hub.example", "ftp://hub"]
)
def test_a_token_never_goes_out_in_plain_text(endpoint, hub, run, pushed, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    refused(pushed(), f"HF_ENDPOINT={endpoint}", "unencrypted", f"HF_ENDPOINT=https://{endpoint.split('//')[-1]}")
    assert not hub.asked
