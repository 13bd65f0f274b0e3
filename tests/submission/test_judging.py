"""make check: what is asked for and cannot be is refused; importing it loads little."""

from __future__ import annotations

import subprocess
import sys

from lesson.core.settings import ROOT, Values
from recipe import check


def test_a_rubric_that_names_no_check_is_refused(tmp_path, call):
    (tmp_path / "r.toml").write_text("threshold = 50\nrequired = []\n[points]\nnonsense = 1\n")
    status, _, err = call(check, str(tmp_path), "--rubric", str(tmp_path / "r.toml"))
    assert status == 2 and "nonsense: no such check" in err
    assert call(check)[0] == 2 and call(check, "/no/such/file")[0] == 2
    assert call(check, str(tmp_path), "--report", "x.pdf")[0] == 2


def test_importing_the_checker_loads_few_modules_of_ours_and_no_check():
    """What tests/test_architecture.py reads from the imports, seen at run time."""
    code = (
        "import recipe.check, sys;"
        "ours = [name for name, module in sys.modules.items() if name.split('.')[0] in ('lesson', 'recipe')"
        " and not module.__file__.endswith('__init__.py')];"
        "print(*ours)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert "recipe.check" in modules and len(modules) <= 20, sorted(modules)
    assert not [name for name in modules if name.startswith("lesson.submission.checks.")]


def test_a_sketch_is_made_for_those_alone_who_compare(monkeypatch):
    from lesson.submission import judging, verdict

    asked = []
    monkeypatch.setattr(verdict, "judge_submission", lambda *given: asked.append(given) or {})
    for more in ({}, {"with_sketch": True}):
        judging.make_judge({"threshold": 70}, Values({}), **more)("x")
    assert [given[0] for given in asked] == ["x", "x"] and [given[-1] for given in asked] == [False, True]
