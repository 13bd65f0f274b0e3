"""The trained assistant taken elsewhere: opened by another program without remote code, and asked there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hub_uploads import ME, MY_TOKEN, UploadHub
from servers import NAME, stage

from lesson.core.settings import ROOT
from lesson.runs.folder import Run

VENV = Path(os.environ.get("EXPORT_VENV") or ROOT / ".venv-export")
pytestmark = [
    pytest.mark.torch,
    pytest.mark.slow,
    pytest.mark.skipif(not (VENV / "bin" / "python").exists(), reason="make setup-export makes the venv it needs"),
]


@pytest.fixture(scope="module")
def build(evaluated, lesson) -> Path:
    return lesson


@pytest.fixture(scope="module")
def folder(build) -> Path:
    """The lesson's assistant as FORMAT=hf."""
    screen = stage(build, "export", FORMAT="hf", EXPORT_VENV=str(VENV))
    made = Run((build / "run").resolve()).folder / "export" / "hf"
    assert str(made) in screen and "make eval USE=export FORMAT=hf" in screen
    return made


def test_the_folder_holds_no_code_and_names_none(folder):
    assert not list(folder.rglob("*.py"))
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "llama" and "auto_map" not in config
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["chat_template"] and "auto_map" not in tokenizer
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [2, 4]
    assert f"# {NAME}" in (folder / "README.md").read_text(encoding="utf-8")
    check = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert check.returncode == 0


def test_asked_in_todays_transformers_it_says_its_name_as_the_merged_model_does(build, folder):
    screen = stage(build, "evaluate", USE="export", FORMAT="hf", EXPORT_VENV=str(VENV))
    assert f"passed: the assistant calls itself {NAME}" in screen and "error" not in screen
    run = Run((build / "run").resolve())
    answers = [
        [json.loads(line)["output"] for line in (place / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
        for place in (run.evaluation, folder.with_name("hf.eval"))
    ]
    same = sum(a == b for a, b in zip(*answers, strict=True))
    assert same >= 0.99 * len(answers[0]), f"{same} of {len(answers[0])}"


def test_up_to_date_and_an_edited_export_is_not_overwritten(build, folder):
    assert "up to date" in stage(build, "export", FORMAT="hf", EXPORT_VENV=str(VENV))
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    try:
        card.write_text(text + "mine\n", encoding="utf-8")
        assert "FORCE=1" in stage(build, "export", FORMAT="hf", status=2, EXPORT_VENV=str(VENV))
    finally:
        card.write_text(text, encoding="utf-8")


def test_a_prompt_that_llama_cpp_writes_otherwise_stops_the_export_and_says_where(build):
    """llama.cpp has no tokenizer as the tiny base's: it would put a space before every text."""
    screen = stage(build, "export", FORMAT="gguf", QUANT="q8_0", status=2, EXPORT_VENV=str(VENV))
    assert "differs at token" in screen and "make export FORMAT=hf" in screen
    run = Run((build / "run").resolve())
    assert not [path for path in (run.folder / "export").iterdir() if "gguf" in path.name]


def test_an_adapter_is_two_files_with_a_card_and_goes_to_a_hub(build):
    stage(build, "export", FORMAT="adapter")
    made = Run((build / "run").resolve()).folder / "export" / "adapter"
    names = {path.name for path in made.iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "README.md", "SHA256SUMS"}
    with UploadHub() as hub:
        variables = {"REPO": f"{ME}/x", "HF_TOKEN": MY_TOKEN, "HF_ENDPOINT": hub.url}
        assert "a new repository, private" in stage(build, "push", **variables)
        assert hub.repositories[f"{ME}/x"].files.keys() == names | {".gitattributes"}
        assert "up to date" in stage(build, "push", **variables)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the key")
def test_a_signed_export_is_verified_by_the_key_s_other_half(build, tmp_path):
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    subprocess.run(
        ["openssl", "ec", "-in", key, "-pubout", "-out", tmp_path / "pub.pem"], check=True, capture_output=True
    )
    stage(build, "export", FORMAT="adapter", SIGNING_KEY=str(key), EXPORT_VENV=str(VENV))
    made = shutil.copytree(Run((build / "run").resolve()).folder / "export" / "adapter", tmp_path / "copy")
    verify = [
        VENV / "bin" / "python",
        "-m",
        "model_signing",
        "verify",
        "key",
        made,
        "--public_key",
        tmp_path / "pub.pem",
    ]
    verify += ["--signature", made / "model.sig"]
    assert subprocess.run(verify, capture_output=True).returncode == 0
    (made / "README.md").write_text("other", encoding="utf-8")
    assert subprocess.run(verify, capture_output=True).returncode != 0


@pytest.mark.parametrize("variable", ["FORMAT", "QUANT"])
def test_a_form_that_does_not_exist_is_named_with_those_that_do(build, variable):
    screen = stage(build, "export", status=2, EXPORT_VENV=str(VENV), **{variable: "safetensors"})
    assert variable in screen and ("gguf" in screen or "q4_k_m" in screen)


def test_without_the_venv_the_command_that_makes_it_is_named(build, tmp_path):
    screen = stage(build, "export", FORMAT="gguf", status=2, EXPORT_VENV=str(tmp_path / "none"))
    assert "make setup-export" in screen
