"""The tiny base that ships, as it is installed, is the one that run records are compared with."""

from __future__ import annotations

import importlib.util

import pytest

from lesson.core.files import sha256_tree
from lesson.model.tiny_base import SHIPPED_HASH, install_base


@pytest.mark.skipif(importlib.util.find_spec("xtuner") is None, reason="XTuner is not installed")
def test_the_hash_of_the_installed_base_is_the_one_that_the_checker_knows(tmp_path):
    install_base(tmp_path / "base")
    assert sha256_tree(tmp_path / "base") == SHIPPED_HASH
