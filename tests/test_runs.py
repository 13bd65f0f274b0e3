"""A run is found by what went in; a checkpoint is the last one that was written to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

from hypothesis import given
from hypothesis import strategies as st

from recipe import runs
from recipe.runs import Run
from recipe.settings import ROOT, Values


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


def test_where_python_may_not_write_bytecode_it_is_kept_below_build(tmp_path):
    """A stage under PYTHONDONTWRITEBYTECODE compiles each module once, not in every process, and nothing beside its source."""
    child = """if True:
        import subprocess, sys
        from recipe import runs, settings
        environment = runs.engine_environment(settings.Values({}))
        subprocess.run([sys.executable, "-c", "import this_one"], env=environment, check=True)
    """
    (tmp_path / "this_one.py").write_text("")
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    environment = os.environ | {"BUILD": str(tmp_path / "build"), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", child], env=environment, check=True)
    kept = [p.relative_to(tmp_path / "build" / "cache" / "bytecode") for p in tmp_path.rglob("this_one*.pyc")]
    assert len(kept) == 1


def test_where_bytecode_lies_beside_its_source_that_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert "PYTHONPYCACHEPREFIX" not in runs.engine_environment(Values({"BUILD": str(tmp_path)}))
