"""Every path below BUILD is spelled in lesson/core/layout.py, and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

from lesson.core import layout
from lesson.core.settings import ROOT


def spelled_below_build(path: Path) -> list[str]:
    """`build / "…"` and `values.build / "…"`, f-strings too, as they stand in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left, text = node.left, isinstance(node.right, ast.Constant | ast.JoinedStr)
            name = left.id if isinstance(left, ast.Name) else left.attr if isinstance(left, ast.Attribute) else None
            if text and name == "build":
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_no_other_file_spells_a_path_below_build():
    files = [*ROOT.glob("lesson/**/*.py"), *ROOT.glob("recipe/*.py")]
    assert [line for path in files if path.name != "layout.py" for line in spelled_below_build(path)] == []


def test_no_two_things_have_one_path():
    build = Path("build/tiny")
    paths = [
        *(layout.config_file(build, "a"), layout.base_model(build), layout.changed_rows(build)),
        *(layout.synthetic_rows(build), layout.asked_rows(build), layout.statistics_file(build, "json")),
        *(layout.runs_folder(build), layout.last_run_link(build), layout.base_answers_file(build)),
        *(layout.loss_comparison(build), layout.submission_archive(build), layout.cache_folder(build)),
        *(layout.trained_base(build), layout.random_base(build), layout.bench_folder(build, "smoke")),
        layout.release_notes(build, "0.1.0"),
    ]
    assert len(set(paths)) == len(paths) and all(path.is_relative_to(build) for path in paths)
