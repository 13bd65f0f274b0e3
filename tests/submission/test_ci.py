"""The GitHub Action, the pre-commit hooks and the workflow example: the very commands they hold, run on good and bad files."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import mutations
import pytest
import submissions
import yaml

from lesson.core.settings import ROOT
from lesson.submission.ci import NOTHING, changed_files

ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
EXAMPLE = yaml.safe_load((ROOT / "examples" / "github-workflow.yml").read_text(encoding="utf-8"))
GOOD = ROOT / "golden" / "configs" / "tiny" / "internlm2_5_chat_7b_qlora_alpaca_e3.py"
BAD_ROW = '{"conversation": [{"system": "", "input": "你是谁？"}]}\n'


def bash(command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    # What runs these tests may be make, or a workflow: their variables are not the learner's.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "MAKE", "MFLAGS"))}
    environment |= {"LANG": "C.UTF-8"}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command]  # as GitHub runs `shell: bash`
    return subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True)


@pytest.fixture
def venv(tmp_path) -> str:
    """A folder that looks like the small venv and runs this Python."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return str(tmp_path / "venv")


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository of a learner's: one commit with a good file of each kind, and a Python file that is no config."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "rows.jsonl").write_bytes(b"".join(submissions.honest_files()[submissions.DATA].splitlines(True)[:5]))
    (folder / "config.py").write_bytes(GOOD.read_bytes())
    (folder / "tool.py").write_text("import os\nos.system('touch canary')\n")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    git = "git -c user.name=t -c user.email=t@example.org"
    done = bash(f"git init -q . && git add -A && {git} commit -qm x", folder)
    assert done.returncode == 0, done.stderr


def filled(text: str, inputs: dict[str, str]) -> str:
    """A value of the action with its expressions put in, as the runner does."""

    def value(match: re.Match) -> str:
        name = match[1].strip()
        return str(ROOT) if name == "github.action_path" else inputs[name.removeprefix("inputs.")]

    return re.sub(r"\$\{\{(.*?)\}\}", value, text)


def run_action(folder: Path, venv: str, since: str) -> list[subprocess.CompletedProcess]:
    inputs = {name: given["default"] for name, given in ACTION["inputs"].items()} | {"since": since}
    done = []
    for step in ACTION["runs"]["steps"]:
        assert step["shell"] == "bash" and "${{" not in step["run"], "an input in the script's text would be run"
        variables = {key: filled(text, inputs) for key, text in step["env"].items()}
        done.append(bash(step["run"], folder, GITHUB_ACTIONS="true", CHECK_VENV=venv, **variables))
    return done


@pytest.mark.slow
def test_the_actions_commands_pass_good_files_and_annotate_bad_ones_at_their_lines(repository, venv):
    for done in run_action(repository, venv, "0"):
        assert done.returncode == 0 and "::error" not in done.stdout, done
        assert "1 files" in done.stderr
    with open(repository / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write(BAD_ROW)
    text = GOOD.read_text(encoding="utf-8").replace("dataset_map_fn=None", "dataset_map_fn=alpaca_map_fn")
    (repository / "config.py").write_text(text + "import os\nos.system('touch canary')\n", encoding="utf-8")
    rows, configs = run_action(repository, venv, "HEAD")
    assert rows.returncode == configs.returncode == 1
    assert re.search(r"^::error file=rows.jsonl,line=6,title=missing-key::", rows.stdout, re.M), rows
    assert re.search(r"^::error file=config.py,line=\d+,title=trust-", configs.stdout, re.M), configs
    assert not (repository / "canary").exists()
    commit(repository)
    assert [done.returncode for done in run_action(repository, venv, "HEAD")] == [0, 0], "nothing changed since"
    [rows, _] = run_action(repository, venv, "1234567890abcdef")
    assert rows.returncode == 2 and "fetch-depth: 0" in rows.stderr


def test_inputs_of_the_action_are_words_never_commands(repository, venv):
    (repository / "; touch canary;.jsonl").write_text(BAD_ROW)
    (repository / "a\n::set-output name=x::y.jsonl").write_text(BAD_ROW)
    commit(repository)
    inputs = {
        "HERE": str(ROOT),
        "IN_LANG": "en",
        "NAME": "$(touch canary)",
        "SINCE": "0",
        "DATA": "*.jsonl $(touch canary)",
    }
    done = bash(ACTION["runs"]["steps"][0]["run"], repository, GITHUB_ACTIONS="true", CHECK_VENV=venv, **inputs)
    assert done.returncode == 1 and done.stdout.count("::error") == 2, done
    assert "\n::set-output" not in done.stdout and not (repository / "canary").exists()
    done = bash(ACTION["runs"]["steps"][0]["run"], repository, CHECK_VENV=venv, **inputs | {"SINCE": "--output=canary"})
    assert done.returncode == 2 and not (repository / "canary").exists()


def test_the_hooks_commands_pass_good_files_and_fail_on_bad_ones(repository, venv):
    (repository / "bad.jsonl").write_text(BAD_ROW)
    (repository / "bad.py").write_bytes(
        GOOD.read_bytes().replace(b"dataset_map_fn=None", b"dataset_map_fn=alpaca_map_fn")
    )
    known = {"lesson-data": ("rows.jsonl", "bad.jsonl"), "lesson-config": ("config.py tool.py", "bad.py")}
    assert {hook["id"] for hook in HOOKS} == set(known)
    for hook in HOOKS:
        good, bad = known[hook["id"]]
        assert hook["language"] == "script" and (ROOT / hook["entry"].split()[0]).stat().st_mode & 0o111
        assert all(re.search(hook.get("files", ""), name) for name in (*good.split(), bad))
        done = bash(f"{ROOT}/{hook['entry']} {good}", repository, CHECK_VENV=venv)
        assert done.returncode == 0, done
        done = bash(f"{ROOT}/{hook['entry']} {good} {bad}", repository, CHECK_VENV=venv)
        assert done.returncode == 1 and "::error" not in done.stdout and f"{bad}:" in done.stdout, done


def test_the_small_venv_is_made_on_first_use(tmp_path):
    """hooks/check without a venv calls make setup-check's own module; here a Python that only says so stands for it."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@ into $CHECK_VENV" >&2\nexit 3\n')
    python.chmod(0o755)
    done = bash(f"{ROOT}/hooks/check data", tmp_path, PYTHON=str(python), CHECK_VENV=str(tmp_path / "new"))
    assert done.returncode == 3 and done.stderr.strip() == f"-m recipe.setup check into {tmp_path}/new"


@pytest.mark.slow
def test_the_example_workflow_uses_the_action_as_it_is_and_its_command_gives_a_verdict(tmp_path, venv):
    rows, submission = EXAMPLE["jobs"]["rows-and-configs"]["steps"], EXAMPLE["jobs"]["submission"]["steps"]
    assert rows[0]["with"]["fetch-depth"] == 0
    assert set(rows[1]["with"]) <= set(ACTION["inputs"])
    (tmp_path / "recipe").symlink_to(ROOT, target_is_directory=True)
    submissions.pack(submissions.honest_files(), tmp_path / "learner" / "submission")
    command = next(step["run"] for step in submission if "run" in step).replace("make -C recipe setup-check && ", "")
    variables = {"CHECK_VENV": venv, "VENV": str(tmp_path / "none"), "GITHUB_ACTIONS": "true", "PROFILE": "tiny"}
    done = bash(command, tmp_path, **variables)
    assert done.returncode == 0 and "::error" not in done.stdout, done
    assert (tmp_path / "verdict.html").exists() and (tmp_path / "verdict.xml").exists()
    submissions.pack(mutations.mutate("b_zeroed"), tmp_path / "learner" / "submission")
    done = bash(command, tmp_path, **variables)
    assert done.returncode != 0 and "::error file=" in done.stdout


def test_files_are_told_from_a_commit_below_the_folder_that_the_caller_stands_in(repository, monkeypatch):
    (repository / "deep").mkdir()
    (repository / "deep" / "数据.jsonl").write_text(BAD_ROW)
    (repository / "rows.jsonl").unlink()
    bash("git add -A", repository)
    monkeypatch.chdir(repository)
    assert changed_files("HEAD", ["*.jsonl"]) == ["deep/数据.jsonl"]
    monkeypatch.chdir(repository / "deep")
    assert changed_files("HEAD", ["*.jsonl"]) == ["数据.jsonl"] == changed_files(NOTHING, ["*.jsonl"])


@pytest.mark.parametrize("name", ["$(shell touch {canary}).zip", "${{shell touch {canary}}}", "$$(touch {canary})"])
def test_the_name_of_a_submission_is_never_run_by_make(tmp_path, name):
    canary = tmp_path / "canary"
    name, python = name.format(canary=canary), tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf %s "$SUBMISSION"\n')
    python.chmod(0o755)
    venv = {"VENV": str(tmp_path / "none"), "CHECK_VENV": str(tmp_path)}
    (tmp_path / "bin").mkdir()
    python.rename(tmp_path / "bin" / "python")
    done = bash(f"make check SUBMISSION={shlex.quote(name)}", ROOT, **venv)
    assert done.returncode == 2 and "SUBMISSION: make would run" in done.stderr and not canary.exists(), done
    done = bash("make check", ROOT, SUBMISSION=name, **venv)
    assert done.returncode == 0 and done.stdout == name and not canary.exists(), done
