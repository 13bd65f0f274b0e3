"""make mutants: what is drawn, what counts as found, and what the table excuses; cosmic-ray itself is not installed here."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import sqlite3
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import jsonschema
import pytest

from lesson.bench import mutants
from lesson.bench.mutants import Mutant, draw, judging_modules, lines_of, read_session, share_found
from lesson.core.messages import UserError
from lesson.core.settings import ROOT

TABLE = json.loads(mutants.TABLE_FILE.read_text("utf-8"))
DIFF = (
    "--- mutation diff ---\n--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n def f(a):\n-    return a + 1\n+    return a - 1\n"
)


def session(path: Path, places: int, each: tuple[str, ...]) -> Path:
    """A session as cosmic-ray 8.7 writes it: at each place a change by each operator."""
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE work_items (job_id VARCHAR NOT NULL, PRIMARY KEY (job_id))")
        base.execute(
            "CREATE TABLE mutation_specs (module_path VARCHAR, operator_name VARCHAR, operator_args JSON, occurrence INTEGER,"
            " start_pos_row INTEGER, start_pos_col INTEGER, end_pos_row INTEGER, end_pos_col INTEGER,"
            " definition_name VARCHAR, job_id VARCHAR NOT NULL, PRIMARY KEY (job_id))"
        )
        base.execute(
            "CREATE TABLE work_results (worker_outcome VARCHAR(9), output TEXT, test_outcome VARCHAR(11), diff TEXT,"
            " job_id VARCHAR NOT NULL, PRIMARY KEY (job_id))"
        )
        for place in range(places):
            for operator in each:
                job = f"{place}-{operator}"
                base.execute("INSERT INTO work_items VALUES (?)", [job])
                row = ("x.py", operator, "{}", 0, place, 4, place, 5, "f", job)
                base.execute(f"INSERT INTO mutation_specs VALUES ({','.join('?' * 10)})", row)
    return path


def jobs(path: Path) -> list[str]:
    with sqlite3.connect(path) as base:
        items = [job for (job,) in base.execute("SELECT job_id FROM work_items ORDER BY job_id")]
        assert items == [job for (job,) in base.execute("SELECT job_id FROM mutation_specs ORDER BY job_id")]
    return items


OPERATORS = ("core/NumberReplacer", "core/ReplaceComparisonOperator_Eq_NotEq", "core/ReplaceComparisonOperator_Eq_Is")


def test_a_place_is_drawn_once_by_the_seed_and_operators_that_change_nothing_are_left_out(tmp_path):
    drawn = [session(tmp_path / f"{n}", 20, OPERATORS) for n in range(3)]
    for path, seed in zip(drawn, (1, 1, 2), strict=True):
        draw(path, 5, random.Random(seed))
    first, again, other = map(jobs, drawn)
    assert first == again != other and len({job.partition("-")[0] for job in first}) == len(first) == 5
    assert not [job for job in first if job.endswith("_Is")]
    every = session(tmp_path / "all", 20, OPERATORS)
    draw(every, 0, random.Random(1))
    assert len(jobs(every)) == 40


@pytest.mark.parametrize(("outcome", "found"), [("SURVIVED", False), ("KILLED", True), ("INCOMPETENT", True)])
def test_a_change_is_found_when_a_test_fails(tmp_path, outcome, found):
    path = session(tmp_path / "s", 2, OPERATORS[:1])
    with sqlite3.connect(path) as base:
        base.execute("INSERT INTO work_results VALUES ('NORMAL', '', ?, ?, '1-core/NumberReplacer')", [outcome, DIFF])
        base.execute("INSERT INTO work_results VALUES ('SKIPPED', '', NULL, NULL, '0-core/NumberReplacer')")
    assert list(read_session(path)) == [Mutant("x.py", 1, "return a + 1", "return a - 1", found)]


def test_the_share_leaves_out_what_has_a_reason(monkeypatch):
    known = {"file": "x.py", "before": "a", "after": "b", "why": "the same number in any case"}
    monkeypatch.setitem(mutants._TABLE, "survivors", [known])
    excused, found, missed = (
        Mutant("x.py", 1, "a", after, found) for after, found in (("b", False), ("c", True), ("c", False))
    )
    assert share_found([excused, found]) == 1 and share_found([excused, found, missed]) == 0.5 and share_found([]) == 1
    lines = lines_of([excused, found, missed])
    assert lines == ["1 of 3 changes found, 1 with a reason: 50%", "  x.py:1: a  →  c"]


def test_a_kind_of_change_is_excused_wherever_it_stands_but_not_together_with_another(monkeypatch):
    monkeypatch.setitem(mutants._TABLE, "survivors", [])
    monkeypatch.setitem(mutants._TABLE, "kinds", [{"before": "is None", "after": "== None", "why": "the same"}])
    line = "if a is None and b is None and c > 1:"
    for after, why in (
        ("if a == None and b is None and c > 1:", "the same"),
        ("if a is None and b == None and c > 1:", "the same"),
        ("if a == None and b == None and c > 1:", None),
        ("if a is None and b is None and c > 2:", None),
        ("if a == None and b is None and c > 2:", None),
    ):
        assert Mutant("x.py", 1, line, after, False).excused == why


def test_the_table_has_the_form_of_its_schema_and_names_files_that_there_are():
    schema = json.loads((ROOT / "schemas" / "mutants.schema.json").read_text("utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(TABLE)
    for pattern in TABLE["modules"] + list(TABLE["tests"]):
        assert list(ROOT.glob(pattern)), pattern
    for name in (name for names in TABLE["tests"].values() for name in names):
        assert (ROOT / name).is_file(), name
    assert TABLE["least_found"] >= 0.9


def test_each_reason_is_for_a_line_that_is_there():
    """A reason whose line was edited would excuse nothing any more, or another change."""
    for entry in TABLE["survivors"]:
        lines = " ".join(line.strip() for line in (ROOT / entry["file"]).read_text("utf-8").splitlines())
        assert entry["before"] in lines and entry["after"] != entry["before"], entry


def test_the_copy_is_the_working_tree_and_keeps_what_was_compiled(tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    monkeypatch.setattr(mutants, "ROOT", root)
    (root / "a" / "x.py").write_text("1")
    (root / "a" / "gone.py").write_text("1")
    (root / ".gitignore").write_text("*.log")
    (root / "x.log").write_text("1")
    tree = mutants.copy_tree(tmp_path)
    (tree / "a" / "__pycache__").mkdir()
    (tree / "a" / "__pycache__" / "x.pyc").write_text("compiled")
    (tree / "a" / "x.py").write_text("a change that a kill left")
    (tree / "a" / "made.txt").write_text("what a test left")
    (root / "a" / "gone.py").unlink()
    assert mutants.copy_tree(tmp_path) == tree
    files = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert files == {".gitignore", "a/x.py", "a/__pycache__/x.pyc"} and (tree / "a" / "x.py").read_text() == "1"
    assert (tree / "a" / "x.py").stat().st_mtime == (root / "a" / "x.py").stat().st_mtime


def test_tests_that_pass_without_a_change_are_not_asked_again_and_one_that_fails_ends_it(tmp_path, monkeypatch):
    ran, fails = [], ""

    def run(command, folder):
        ran.append(list(map(str, command)))
        if ran[-1][1] == "init":
            session(Path(ran[-1][-1]), 3, OPERATORS[:1])
        if fails and fails in ran[-1]:
            raise UserError("pytest", "failed", "mend it")

    monkeypatch.setattr(mutants, "_run", run)
    passed: dict[str, float] = {}
    for module in ("lesson/data/replace.py", "lesson/data/residue.py"):
        mutants.try_mutants(module, 2, 1, tmp_path, tmp_path, tmp_path, passed)
    rooms = [command for command in ran if "tests/data" in command]
    own = [command for command in ran if "tests/data/test_residue.py" in command]
    assert len(rooms) == len(own) == 1 and [c[1] for c in ran].count("exec") == 2
    mutants.try_mutants("lesson/data/residue.py", 2, 1, tmp_path, tmp_path, tmp_path, {})
    assert ran[-1][1] == "exec" and ran[-2][1] == "exec"  # the same call goes on
    fails = "tests/core"
    for _ in range(2):
        with pytest.raises(UserError):
            mutants.try_mutants("lesson/core/files.py", 2, 1, tmp_path, tmp_path, tmp_path, passed)
        assert "tests/core" in ran[-1]


@pytest.mark.parametrize(("seconds", "timeout"), [(1.0, 120.0), (100.0, 1800.0)])
def test_a_change_that_runs_for_ever_is_ended_after_some_times_what_its_tests_take(
    tmp_path, monkeypatch, seconds, timeout
):
    """It was 15 minutes for each: one such change was longer than all others of its room."""

    def run(command, folder):
        if command[1] == "init":
            session(Path(command[-1]), 3, OPERATORS[:1])

    monkeypatch.setattr(mutants, "_run", run)
    monkeypatch.setattr(mutants, "tests_of", lambda module: (["a", "b"], "room"))
    monkeypatch.setattr(mutants, "session_file", lambda *arguments: tmp_path / "s.sqlite")
    passed = {shlex.join(command): seconds for command in mutants._commands("lesson/a.py")}
    mutants.try_mutants("lesson/a.py", 2, 1, tmp_path, tmp_path, tmp_path, passed)
    assert tomllib.loads((tmp_path / "s.toml").read_text())["cosmic-ray"]["timeout"] == timeout


def test_each_module_draw_and_text_has_a_session_of_its_own(tmp_path, monkeypatch):
    """Two modules of one room once shared a session: the second was never tried, and counted as the first."""
    monkeypatch.setitem(mutants._TABLE, "tests", {})
    for name in ("lesson/data/a.py", "lesson/data/b.py", "tests/data/test_a.py", "tests/data/test_b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("pass\n")
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    draws = [(module, count, seed) for module in ("a", "b") for count in (1, 2) for seed in (1, 2)]
    draws = [(f"lesson/data/{module}.py", *rest) for module, *rest in draws]
    sessions = {draw: mutants.session_file(*draw, tmp_path) for draw in draws}
    assert len(set(sessions.values())) == len(draws) and {path.suffix for path in sessions.values()} == {".sqlite"}
    assert {draw: mutants.session_file(*draw, tmp_path) for draw in draws} == sessions
    (tmp_path / "tests/data/test_a.py").write_text("assert True\n")  # a new test may find what was not found before
    assert not {mutants.session_file(*draw, tmp_path) for draw in draws} & set(sessions.values())


def test_every_judging_module_has_tests_and_a_part_of_a_path_chooses(tmp_path):
    modules = judging_modules()
    for module in modules:
        first, room = mutants.tests_of(module)
        assert all((ROOT / name).is_file() for name in first) and (ROOT / room).is_dir()
    assert judging_modules(["config/folding"]) == ["lesson/config/folding.py"]
    assert {"lesson/data/replace.py", "lesson/submission/scoring.py", "lesson/runs/loss_band.py"} <= set(modules)
    with pytest.raises(UserError, match="MODULES=nothing"):
        judging_modules(["nothing"])


@pytest.mark.slow
def test_the_tests_of_a_change_run_in_their_order_until_one_fails(tmp_path):
    note = "import sys; open('ran', 'a').write(sys.argv[1]); sys.exit(int(sys.argv[1]) > 1)"
    commands = tmp_path / "c.json"
    for last, status in ((3, 1), (2, 1), (1, 0)):
        numbers = [n for n in (0, 1, 2, 3) if n <= last]
        commands.write_text(json.dumps([[sys.executable, "-c", note, str(n)] for n in numbers]))
        done = subprocess.run(
            [sys.executable, "-m", "lesson.bench.mutant_tests", commands],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == status
    assert (tmp_path / "ran").read_text() == "012" + "012" + "01"


@pytest.mark.slow
def test_a_killed_run_leaves_no_test_running(tmp_path):
    """The tool starts the tests in a process group of their own: once the last of them ran on for its five minutes."""
    note = "import os, subprocess, sys, time; open('pid%s' % len(sys.argv), 'w').write(str(os.getpid()))"
    sleep = f"{note}; time.sleep(60)"
    nested = f"{note}; subprocess.run([sys.executable, '-c', {sleep!r}])"
    (tmp_path / "c.json").write_text(json.dumps([[sys.executable, "-c", nested, "x"]]))
    tool = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-m', 'lesson.bench.mutant_tests', 'c.json'], start_new_session=True).wait()"
    )
    run = f"import sys; from pathlib import Path; from lesson.bench import mutants; mutants._run([sys.executable, '-c', {tool!r}], Path('.'))"
    ours = subprocess.Popen([sys.executable, "-c", run], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    files = [tmp_path / "pid2", tmp_path / "pid1"]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    pids = [int(file.read_text()) for file in files]
    assert all(map(runs, pids))
    ours.kill()
    ours.wait()
    wait_until(lambda: not any(map(runs, pids)))


def runs(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def wait_until(happened, most: float = 30) -> None:
    end = time.monotonic() + most
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)
