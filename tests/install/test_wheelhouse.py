"""make wheelhouse: what a machine without a network lacks, told from the lock and from what it has."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

from lesson.core.messages import UserError
from lesson.install import wheelhouse
from lesson.install.setup import LOCK, parse_lock

TEXT = LOCK.read_text(encoding="utf-8")


def versions() -> dict[str, str]:
    return {name: block.split("==")[1].split()[0] for name, block in parse_lock(TEXT).items()}


def test_without_knowing_the_other_machine_everything_is_brought():
    """With no list of what is there, every package of the lock is brought."""
    assert wheelhouse.missing_packages(TEXT, {}, "3.11").keys() == parse_lock(TEXT).keys()


def test_only_what_is_missing_or_of_another_version_is_brought():
    """A package in the locked version stays away; in another version it is brought, except for torch's own family."""
    locked = versions()
    have = {"jsonschema": locked["jsonschema"], "numpy": "1.0.0", "torch": "2.11.0", "triton": "3.6.0"}
    brought = wheelhouse.missing_packages(TEXT, have, "3.12")
    assert "numpy" in brought and "xtuner" in brought
    assert brought.keys().isdisjoint({"jsonschema", "torch", "triton", "torchvision", "nvidia-cublas"})
    assert all("--hash=sha256:" in block for block in brought.values())


@pytest.mark.parametrize(("text", "version"), [("3.12", "3.12"), ("python3.11", "3.11")])
def test_the_python_may_be_a_version_or_a_command(monkeypatch, text, version):
    """PYTHON=3.12 and PYTHON=python3.11 both name a version."""
    monkeypatch.setenv("PYTHON", text)
    assert wheelhouse.target_python() == version


def test_a_python_that_the_lock_does_not_serve_is_refused(monkeypatch):
    """PYTHON=3.9 is refused before anything is downloaded."""
    monkeypatch.setenv("PYTHON", "3.9")
    with pytest.raises(UserError, match=r"3\.11 or 3\.12"):
        wheelhouse.target_python()


def test_a_missing_list_is_named_with_what_to_do(tmp_path):
    """A HAVE file that is not there is an error that says which command makes it."""
    with pytest.raises(UserError, match="no such file"):
        wheelhouse.read_installed(str(tmp_path / "there.txt"))


def test_a_slim_wheel_keeps_one_cuda_version_and_installs(tmp_path):
    """Of bitsandbytes' wheel only the named CUDA's and the CPU's library stay, and its record lists just these."""
    info = "bitsandbytes-1.0.dist-info"
    files = {f"bitsandbytes/libbitsandbytes_{name}.so": name for name in ("cuda118", "cuda130", "cpu")}
    files |= {f"{info}/METADATA": "Metadata-Version: 2.1\nName: bitsandbytes\nVersion: 1.0\n"}
    files |= {f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    for name, text in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(
        [sys.executable, "-m", "wheel", "pack", str(tmp_path / "tree"), "--dest-dir", str(tmp_path)], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    wheelhouse.keep_one_cuda(wheel, "130")
    with zipfile.ZipFile(wheel) as file:
        names = [n for n in file.namelist() if n.endswith(".so")]
        assert sorted(names) == ["bitsandbytes/libbitsandbytes_cpu.so", "bitsandbytes/libbitsandbytes_cuda130.so"]
        assert "cuda118" not in file.read(f"{info}/RECORD").decode()
    with pytest.raises(UserError, match="no library"):
        wheelhouse.keep_one_cuda(wheel, "999")
