"""A checkpoint is the last one that was written to its end."""

from __future__ import annotations

import zipfile

from lesson.runs.checkpoint import find_checkpoint


def save(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", b"x")


def test_the_checkpoint_is_what_last_checkpoint_names_even_with_another_machine_s_path(tmp_path):
    save(tmp_path / "iter_50.pth")
    save(tmp_path / "iter_100.pth")
    (tmp_path / "last_checkpoint").write_text("/somewhere/else/iter_50.pth")
    assert find_checkpoint(tmp_path).name == "iter_50.pth"


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    save(tmp_path / "iter_50.pth")
    (tmp_path / "iter_100.pth").write_bytes((tmp_path / "iter_50.pth").read_bytes()[:-10])
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_100.pth"))
    assert find_checkpoint(tmp_path).name == "iter_50.pth"


def test_steps_are_compared_as_numbers(tmp_path):
    for step in (5, 50, 100, 9):
        save(tmp_path / f"iter_{step}.pth")
    assert find_checkpoint(tmp_path).name == "iter_100.pth"


def test_a_deepspeed_checkpoint_is_a_folder_and_its_inside_is_not_listed(tmp_path):
    inside = tmp_path / "iter_20.pth"
    inside.mkdir()
    save(inside / "mp_rank_00_model_states.pt")
    save(inside / "iter_999.pth")
    assert find_checkpoint(tmp_path) is None, "killed before the optimizer's part was written"
    optimizer = inside / "zero_pp_rank_0_mp_rank_00_optim_states.pt"
    save(optimizer)
    assert find_checkpoint(tmp_path) == inside
    assert find_checkpoint(tmp_path, processes=2) is None, "killed before the other process wrote its part"
    optimizer.write_bytes(optimizer.read_bytes()[:-5])
    assert find_checkpoint(tmp_path) is None, "killed while it was written"


def test_last_checkpoint_cannot_lead_out_of_the_folder(tmp_path):
    save(tmp_path / "iter_7.pth")
    work = tmp_path / "work_dir"
    work.mkdir()
    (work / "last_checkpoint").write_text("../iter_7.pth")
    assert find_checkpoint(work) is None


def test_no_checkpoint_in_an_empty_or_missing_folder(tmp_path):
    assert find_checkpoint(tmp_path) is None
    assert find_checkpoint(tmp_path / "nothing") is None
