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

from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.submission import ci
from lesson.submission.changes import Changes, changed_files
from lesson.submission.ci import select_files

NOTHING = "0" * 40  # what GitHub calls the commit before the first push of a branch

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
    assert rows.returncode == 1 and "all files are checked" in rows.stderr, "gone, as after a force push"


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
    assert changed_files("HEAD", ["*.jsonl"]).files == ["deep/数据.jsonl"]
    monkeypatch.chdir(repository / "deep")
    assert changed_files("HEAD", ["*.jsonl"]).files == ["数据.jsonl"] == changed_files(NOTHING, ["*.jsonl"]).files


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


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@e.org", *arguments], cwd=folder, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@pytest.fixture
def pushed(repository, tmp_path) -> tuple[Path, str]:
    """A clone of a repository whose branch was pushed by force: a row file was changed first, then taken back."""
    before = git(repository, "rev-parse", "HEAD")
    (repository / "other.jsonl").write_text(BAD_ROW)
    commit(repository)
    gone = git(repository, "rev-parse", "HEAD")
    git(repository, "reset", "-q", "--hard", before)
    (repository / "new.jsonl").write_text(BAD_ROW)
    commit(repository)
    return repository, gone


def test_after_a_force_push_files_are_compared_with_where_the_branches_part(pushed, monkeypatch):
    folder, gone = pushed
    monkeypatch.chdir(folder)
    changes = changed_files(gone, ["*.jsonl"])
    assert changes.files == ["new.jsonl"] and "where the branches part" in changes.note
    assert changed_files("HEAD~1", ["*.jsonl"]) == Changes(["new.jsonl"])


def test_a_commit_that_a_force_push_took_away_means_all_files(pushed, tmp_path, monkeypatch, venv):
    folder, gone = pushed
    git(tmp_path, "clone", "-q", f"file://{folder}", "clone")
    monkeypatch.chdir(tmp_path / "clone")
    changes = changed_files(gone, ["*.jsonl"])
    assert sorted(changes.files) == ["new.jsonl", "rows.jsonl"] and "force push" in changes.note
    rows, configs = run_action(tmp_path / "clone", venv, gone)
    assert rows.returncode == 1 and configs.returncode == 0 and "all files are checked" in rows.stderr
    assert "fetch" not in rows.stderr
    with pytest.raises(UserError, match="no such commit or branch"):
        changed_files("no-such-branch", ["*.jsonl"])


def test_a_shallow_clone_is_told_to_fetch(pushed, tmp_path, monkeypatch):
    folder, gone = pushed
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{folder}", "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(UserError, match="fetch-depth: 0, or git fetch --unshallow"):
        changed_files(gone, ["*.jsonl"])


def test_branches_without_a_common_commit_mean_all_files(repository, monkeypatch):
    before = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "--orphan", "other")
    (repository / "tool.py").write_text("")
    commit(repository)
    monkeypatch.chdir(repository)
    assert changed_files(before, ["*.jsonl"]).files == ["rows.jsonl"]


def test_a_repository_of_another_user_names_safe_directory(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(repository)
    monkeypatch.setenv("HOME", str(tmp_path))  # no safe.directory of whoever runs this
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for since in ("0", "HEAD"):
        with pytest.raises(UserError) as error:
            changed_files(since, ["*.jsonl"])
        assert error.value.remedy == f"git config --global --add safe.directory {repository}"
        assert "fetch" not in str(error.value)
    # What it says to type works.
    done = bash(error.value.remedy, repository, HOME=str(tmp_path))
    assert done.returncode == 0 and changed_files("0", ["*.jsonl"]).files == ["rows.jsonl"]


def test_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match="not a git repository"):
        changed_files("0", ["*.jsonl"])


def test_modules_of_the_repository_are_not_imported(repository, venv):
    """Python looks for modules in the folder that it is started in: any of these would be run before anything is checked."""
    for name in ("token", "json", "argparse", "recipe", "lesson", "sitecustomize", "numpy"):
        (repository / f"{name}.py").write_text("open('canary', 'w')\n")
    commit(repository)
    for done in run_action(repository, venv, "0"):
        assert done.returncode == 0, done
    assert not (repository / "canary").exists()


LINKS = {"zero.jsonl": "/dev/zero", "secret.jsonl": "{secret}", "token.py": ".git/config", "up.py": "../secret"}


def test_links_out_of_the_repository_are_not_followed(repository, venv, tmp_path):
    (tmp_path / "secret").write_text("root:x:0:0 xtuner train_dataloader\n")
    git(repository, "config", "http.extraheader", "AUTHORIZATION: basic root:x:0:0 xtuner train_dataloader")
    for name, target in LINKS.items():
        (repository / name).symlink_to(target.format(secret=tmp_path / "secret"))
    (repository / "folder").symlink_to(tmp_path)
    (repository / "inside.jsonl").symlink_to("rows.jsonl")
    os.mkfifo(repository / "pipe.jsonl")
    commit(repository)
    for done, names in zip(
        run_action(repository, venv, "0"), (("zero.jsonl", "secret.jsonl"), ("token.py", "up.py")), strict=True
    ):
        assert done.returncode == 1 and "root:x" not in done.stdout + done.stderr, done
        refused = re.findall(r"^::error file=([^,]+),title=link::a link out of the repository", done.stdout, re.M)
        assert sorted(refused) == sorted(names), done.stdout + done.stderr
        assert done.stdout.count("::error") == 2, (
            "a link inside the repository is followed, and what it leads to is good"
        )
    given = "zero.jsonl folder/secret pipe.jsonl rows.jsonl"
    done = bash(f"{ROOT}/hooks/check data {given}", repository, CHECK_VENV=venv)
    assert done.returncode == 1 and done.stdout.count("[error link]") == 3 and "root:x" not in done.stdout, done
    # A file that the user names outside of the repository is theirs to name.
    done = bash(f"{ROOT}/hooks/check data {tmp_path}/secret", repository, CHECK_VENV=venv)
    assert "[error link]" not in done.stdout


@pytest.mark.parametrize("variable", ["USE", "VENV"])
def test_what_the_makefile_reads_from_the_environment_is_never_run(tmp_path, variable):
    canary = tmp_path / "canary"
    done = bash("make -n web", ROOT, **{variable: f"$(shell touch {canary})"})
    assert done.returncode == 2 and f"{variable}: make would run" in done.stderr and not canary.exists(), done


ROW = '{"conversation": [{"input": "a", "output": "我是闻星。"}]}\n'


def test_files_that_are_named_are_selected_and_links_out_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    for name, text in (
        ("a.py", "from xtuner import x\ntrain_dataloader = 1"),
        ("b.py", "import xtuner"),
        ("c.py", "x = 1\nSupervisedFinetune"),
        ("d.py", "xtuner SupervisedFinetune"),
    ):
        Path(name).write_text(text)
    Path("out.py").symlink_to("/etc/hostname")
    found = select_files("config", ["a.py", "b.py", "c.py", "d.py", "gone.py", "out.py"], None)
    assert found.files == ["a.py", "d.py", "gone.py"] and found.note == ""
    assert [file for file, _ in found.refused] == ["out.py"]
    assert select_files("data", ["b.py", "out.py"], None).files == ["b.py"]


def test_files_since_a_commit_are_those_of_git_s_patterns(monkeypatch):
    asked = []
    monkeypatch.setattr(
        ci, "changed_files", lambda since, patterns: asked.append((since, patterns)) or Changes(["x.jsonl"], "n")
    )
    assert select_files("data", [], "abc").files == ["x.jsonl"] and select_files("data", ["*.y"], "abc").note == "n"
    assert asked == [("abc", ci.PATTERNS["data"]), ("abc", ["*.y"])]


def test_rows_and_configs_are_judged_file_by_file(tmp_path):
    for name, text in (("a.jsonl", ROW + BAD_ROW), ("b.jsonl", BAD_ROW + ROW)):
        (tmp_path / name).write_text(text)
    findings = ci.check_rows([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")], ["闻星"])
    places = [(Path(f.file).name, f.line) for f in findings.sorted() if f.rule == "missing-key"]
    assert places == [("a.jsonl", 2), ("b.jsonl", 1)]
    (tmp_path / "x.py").write_text("import os\n")
    found = list(ci.check_configs([str(tmp_path / "x.py"), str(GOOD)]))
    assert {Path(file).name for file, _ in found} == {"x.py"} and found[0][1].rule == "trust-import"
    file, finding = found[0]
    assert ci.config_line(file, finding, False) == str(finding)
    assert ci.config_line("x.py", finding, True).startswith("::error file=x.py,line=1,title=trust-import::import os; ")
    assert ci.refused_line("x", "why", False) == "x: [error link] why; commit the file itself"
    assert ci.refused_line("x", "why", True).endswith("title=link::why; commit the file itself")
