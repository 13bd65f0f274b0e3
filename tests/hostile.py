"""Hostile submissions: archives, documents and weights that attack the checker; each is built at test time."""

from __future__ import annotations

import os
import pickle
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from mutations import LAYER, change_header, change_json, drop, mutate, set_all_answers
from submissions import (
    ADAPTER,
    ADAPTER_CONFIG,
    ANSWERS,
    CONFIG,
    DATA,
    EVALUATION,
    LOG,
    RECORD,
    SCALARS,
    honest_files,
    link_hashes,
    pack,
    random_adapter,
    with_training,
)

HOSTILE: dict[str, Callable[[Path, Path], Path]] = {}  # name: (folder to build in, canary) → the submission


def hostile(function: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    HOSTILE[function.__name__] = function
    return function


class _Touch:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (open, (str(self.canary), "w"))


@hostile
def config_that_runs(folder: Path, canary: Path) -> Path:
    files = honest_files()
    files[CONFIG] += f"\nimport pathlib\npathlib.Path({str(canary)!r}).touch()\n".encode()
    return pack(link_hashes(files), folder / "s.zip")


@hostile
def pickles(folder: Path, canary: Path) -> Path:
    data = pickle.dumps(_Touch(canary))
    files = drop(ADAPTER)(honest_files())
    files |= {"work_dir/iter_1.pth": data, "adapter/adapter_model.bin": data, "x.pkl": data}
    return pack(files, folder / "s")


@hostile
def pickle_named_safetensors(folder: Path, canary: Path) -> Path:
    return pack(honest_files() | {ADAPTER: pickle.dumps(_Touch(canary))}, folder / "s.zip")


@hostile
def zip_bomb(folder: Path, canary: Path) -> Path:
    path = folder / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("data.jsonl", "w") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    return path


@hostile
def zip_that_lies_about_its_size(folder: Path, canary: Path) -> Path:
    path = zip_bomb(folder, canary)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<L", 300 << 20), struct.pack("<L", 1000)))
    return path


@hostile
def tar_bomb(folder: Path, canary: Path) -> Path:
    path = folder / "s.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("data.jsonl")
        info.size = 300 << 20
        with open("/dev/zero", "rb") as zero:
            archive.addfile(info, zero)
    return path


@hostile
def zip_slip(folder: Path, canary: Path) -> Path:
    path = pack(honest_files(), folder / "s.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../" * 9 + str(canary).lstrip("/"), "x")
        archive.writestr(str(canary), "x")
        archive.writestr("submission\\..\\..\\canary", "x")
    return path


@hostile
def zip_with_a_link(folder: Path, canary: Path) -> Path:
    path = pack(honest_files(), folder / "s.zip")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("submission/passwd")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return path


@hostile
def zip_with_too_many_files(folder: Path, canary: Path) -> Path:
    path = folder / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}", "")
    return path


@hostile
def names_that_clash(folder: Path, canary: Path) -> Path:
    return pack(honest_files() | {"Config.py": b"", "CONFIG.PY": b""}, folder / "s.zip")


@hostile
def tar_slip_and_links(folder: Path, canary: Path) -> Path:
    path = folder / "s.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, target in (
            ("../canary", tarfile.REGTYPE, ""),
            ("/etc/canary", tarfile.REGTYPE, ""),
            ("link", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard", tarfile.LNKTYPE, "/etc/passwd"),
            ("device", tarfile.CHRTYPE, ""),
            ("pipe", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return path


@hostile
def tar_with_a_huge_header(folder: Path, canary: Path) -> Path:
    path = folder / "s.tar"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 50 << 20
    path.write_bytes(info.tobuf() + b"9" * (50 << 20))
    return path


@hostile
def folder_with_links_and_pipes(folder: Path, canary: Path) -> Path:
    path = pack(honest_files(), folder / "s")
    (path / "passwd").symlink_to("/etc/passwd")
    (path / "root").symlink_to("/")
    os.mkfifo(path / "pipe.log")
    (path / "data.jsonl").unlink()
    (path / "data.jsonl").symlink_to("/dev/zero")
    return path


@hostile
def a_line_of_two_gigabytes(folder: Path, canary: Path) -> Path:
    path = pack(honest_files(), folder / "s")
    with open(path / DATA, "wb") as file:
        file.truncate(2 << 30)
    return path


@hostile
def a_line_of_900_megabytes(folder: Path, canary: Path) -> Path:
    path = pack(honest_files(), folder / "s")
    for name in (DATA, LOG):
        with open(path / name, "wb") as file:
            file.truncate(450 << 20)
    return path


@hostile
def deep_json(folder: Path, canary: Path) -> Path:
    deep = b"[" * 100_000 + b"]" * 100_000
    files = honest_files() | {
        RECORD: deep,
        EVALUATION: deep,
        ADAPTER_CONFIG: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    }
    files |= {DATA: deep + b"\n", ANSWERS: deep + b"\n", SCALARS: deep + b"\n", "submission.json": deep}
    return pack(files, folder / "s.zip")


@hostile
def long_numbers(folder: Path, canary: Path) -> Path:
    number = b"9" * 900_000
    return pack(
        honest_files() | {RECORD: number, DATA: number + b"\n", ADAPTER_CONFIG: b'{"r": ' + number + b"}"},
        folder / "s.zip",
    )


@hostile
def safetensors_length_lies(folder: Path, canary: Path) -> Path:
    return pack(honest_files() | {ADAPTER: struct.pack("<Q", 2**63) + random_adapter()[8:]}, folder / "s.zip")


@hostile
def safetensors_offsets_lie(folder: Path, canary: Path) -> Path:
    files = change_header(lambda h: h[LAYER].__setitem__("data_offsets", [-5, 2**62]))(honest_files())
    return pack(files, folder / "s.zip")


@hostile
def safetensors_shape_overflows(folder: Path, canary: Path) -> Path:
    files = change_header(lambda h: h[LAYER].__setitem__("shape", [2**39, 2**39, 2**39]))(honest_files())
    return pack(files, folder / "s.zip")


@hostile
def weights_that_are_no_numbers(folder: Path, canary: Path) -> Path:
    return pack(mutate("not_a_number"), folder / "s.zip")


@hostile
def escapes_and_scripts(folder: Path, canary: Path) -> Path:
    evil = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script><img src=x onerror=alert(1)>\u202e机智流 ::error::x\n::set-output name=a::b"
    files = set_all_answers(evil)(honest_files())
    return pack(link_hashes(files), folder / "s.zip", who="<b>\x1b[31m</b>'\"")


@hostile
def impossible_speed(folder: Path, canary: Path) -> Path:
    return pack(with_training(honest_files(), "tiny", seconds=0.0001), folder / "s.zip")


@hostile
def a_name_that_is_a_regular_expression(folder: Path, canary: Path) -> Path:
    files = honest_files()
    for name in (RECORD, EVALUATION):
        files = change_json(files, name, lambda v: v.__setitem__("names", {"old": "(a+)+$" * 10, "new": ".*" * 30}))
    return pack(files, folder / "s.zip")


@hostile
def not_an_archive(folder: Path, canary: Path) -> Path:
    path = folder / "s.zip"
    path.write_bytes(b"PK\x03\x04" + os.urandom(5000))
    return path


@hostile
def empty_file(folder: Path, canary: Path) -> Path:
    path = folder / "s.zip"
    path.write_bytes(b"")
    return path
