"""A run is found by what went in; a checkpoint is the last one that was written to its end."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core.settings import ROOT
from lesson.runs import folder as runs
from lesson.runs.folder import Run


def save(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", b"x")


def test_the_checkpoint_is_what_last_checkpoint_names_even_with_another_machine_s_path(tmp_path):
    save(tmp_path / "iter_50.pth")
    save(tmp_path / "iter_100.pth")
    (tmp_path / "last_checkpoint").write_text("/somewhere/else/iter_50.pth")
    assert runs.checkpoint(tmp_path).name == "iter_50.pth"


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    save(tmp_path / "iter_50.pth")
    (tmp_path / "iter_100.pth").write_bytes((tmp_path / "iter_50.pth").read_bytes()[:-10])
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_100.pth"))
    assert runs.checkpoint(tmp_path).name == "iter_50.pth"


def test_steps_are_compared_as_numbers(tmp_path):
    for step in (5, 50, 100, 9):
        save(tmp_path / f"iter_{step}.pth")
    assert runs.checkpoint(tmp_path).name == "iter_100.pth"


def test_a_deepspeed_checkpoint_is_a_folder_and_its_inside_is_not_listed(tmp_path):
    inside = tmp_path / "iter_20.pth"
    inside.mkdir()
    save(inside / "mp_rank_00_model_states.pt")
    save(inside / "iter_999.pth")
    assert runs.checkpoint(tmp_path) is None, "killed before the optimizer's part was written"
    optimizer = inside / "zero_pp_rank_0_mp_rank_00_optim_states.pt"
    save(optimizer)
    assert runs.checkpoint(tmp_path) == inside
    assert runs.checkpoint(tmp_path, processes=2) is None, "killed before the other process wrote its part"
    optimizer.write_bytes(optimizer.read_bytes()[:-5])
    assert runs.checkpoint(tmp_path) is None, "killed while it was written"


def test_last_checkpoint_cannot_lead_out_of_the_folder(tmp_path):
    save(tmp_path / "iter_7.pth")
    work = tmp_path / "work_dir"
    work.mkdir()
    (work / "last_checkpoint").write_text("../iter_7.pth")
    assert runs.checkpoint(work) is None


def test_no_checkpoint_in_an_empty_or_missing_folder(tmp_path):
    assert runs.checkpoint(tmp_path) is None
    assert runs.checkpoint(tmp_path / "nothing") is None


@given(st.dictionaries(st.sampled_from(["config", "data", "base"]), st.text(max_size=5)))
def test_a_run_s_id_depends_on_each_input_and_not_on_their_order(inputs):
    first = runs.run_id(**inputs)
    assert first == runs.run_id(**dict(reversed(inputs.items())))
    for key in inputs:
        assert runs.run_id(**{**inputs, key: inputs[key] + "x"}) != first


def test_the_link_to_the_last_run_moves(tmp_path):
    for name in ("a", "b", "a"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        runs.point_to(tmp_path, Run(folder))
        assert (tmp_path / "run").resolve() == folder.resolve()


@pytest.mark.parametrize("compiled", [False, True])
def test_packages_without_bytecode_are_compiled_once_below_build_and_not_beside_their_source(tmp_path, compiled):
    """A stage that may not write bytecode keeps it in its cache; where the packages have theirs, that is used."""
    child = """if True:
        import subprocess, sys
        from lesson.runs import folder as runs
        from lesson.core import settings
        environment = runs.engine_environment(settings.Values({}))
        subprocess.run([sys.executable, "-c", "import torch"], env=environment, check=True)
    """
    for name in ("torch", "transformers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        if compiled:
            py_compile.compile(str(tmp_path / name / "__init__.py"))
    cache = tmp_path / "build" / "cache"
    forbid = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    environment = os.environ | {"BUILD": str(tmp_path / "build"), **forbid}
    environment.pop("PYTHONPYCACHEPREFIX", None)
    before = set(tmp_path.glob("torch/**/*.pyc"))
    subprocess.run([sys.executable, "-c", child], env=environment, check=True)
    assert len(list(cache.rglob("torch/__init__*.pyc"))) == (0 if compiled else 1)
    assert set(tmp_path.glob("torch/**/*.pyc")) == before
