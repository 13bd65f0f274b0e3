"""What the processes that load torch are told through their environment."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys

import pytest

from lesson.core.settings import ROOT


@pytest.mark.parametrize("compiled", [False, True])
def test_packages_without_bytecode_are_compiled_once_below_build_and_not_beside_their_source(tmp_path, compiled):
    """A stage that may not write bytecode keeps it in its cache; where the packages have theirs, that is used."""
    child = """if True:
        import subprocess, sys
        from lesson.runs.environment import engine_environment
        from lesson.core import settings
        environment = engine_environment(settings.Values({}))
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
