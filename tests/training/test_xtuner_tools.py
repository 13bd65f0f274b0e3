"""Converting and merging make a folder whole or not at all, and a tool that fails is not believed."""

from __future__ import annotations

import pytest

from lesson.core.messages import UserError
from lesson.core.processes import FinishedProcess
from lesson.core.records import Record
from lesson.core.settings import Values
from lesson.runs.folder import Run
from lesson.training import xtuner_tools
from lesson.training.xtuner_tools import describe_folder, make_folder, require_files, run_xtuner_tool


def test_a_folder_is_made_once_and_again_when_its_inputs_change(tmp_path):
    def fill(folder) -> None:
        (folder / "weights").write_text("12345")

    first = make_folder(Record(tmp_path / "adapter", {"checkpoint": "a"}, {}), fill, force=False)
    assert (first.size, (first.path / "weights").stat().st_mode & 0o777) == (5, 0o644)
    again = make_folder(Record(tmp_path / "adapter", {"checkpoint": "a"}, {}), fill, force=False)
    assert again.size is None and "up to date" in describe_folder(again, "adapter", "make merge")[0]
    assert make_folder(Record(tmp_path / "adapter", {"checkpoint": "b"}, {}), fill, force=False).size == 5
    (first.path / "weights").write_text("mine")
    with pytest.raises(UserError, match="FORCE=1"):
        make_folder(Record(tmp_path / "adapter", {"checkpoint": "c"}, {}), fill, force=False)
    assert make_folder(Record(tmp_path / "adapter", {"checkpoint": "c"}, {}), fill, force=True).size == 5


def test_a_folder_that_lacks_a_file_is_not_left_behind(tmp_path):
    def fill(folder) -> None:
        (folder / "adapter_config.json").write_text("{}")
        require_files(folder, "adapter_config.json", "adapter_model.safetensors")

    with pytest.raises(UserError, match=r"adapter_model\.safetensors"):
        make_folder(Record(tmp_path / "adapter", {}, {}), fill, force=False)
    assert list(tmp_path.iterdir()) == []


def test_a_tool_that_fails_shows_the_end_of_its_log(tmp_path, monkeypatch):
    screen = "".join(f"line {number}\n" for number in range(20))
    failed = FinishedProcess(["python"], 1, screen, 0.1, 0.1, 0)
    monkeypatch.setattr(xtuner_tools, "run_process", lambda *_, **__: failed)
    values = Values({"PROFILE": "tiny", "BUILD": str(tmp_path)}, {})
    with pytest.raises(UserError, match="exit status 1") as caught:
        run_xtuner_tool(values, Run(tmp_path), "convert", [])
    assert caught.value.details.splitlines() == [f"line {number}" for number in range(12, 20)]
