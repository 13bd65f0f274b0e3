"""The checks of how a submission is packed, at their borders."""

from __future__ import annotations

import hashlib

import pytest
from fakes import evidence_of, fails, passes, skips, unjudged, view_of

from lesson.submission.archive.view import LARGEST, Entry
from lesson.submission.checks import package
from lesson.submission.parts import NEEDED

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"


def test_what_opens_is_counted_and_what_does_not_is_told():
    view = view_of({"a": b"x" * (3 << 20), "b": b"x" * (1 << 19)})
    assert passes(package.opens, evidence_of(view=view)) == "2 files, 3.5 MiB"
    view.add_problem("first")
    view.add_problem("second")
    assert fails(package.opens, evidence_of(view=view), "^first$") == ["first", "second"]


def complete(parts=NEEDED, files=(), **given):
    names = {part: f"{part}.file" for part in parts}
    view = view_of(dict.fromkeys([*names.values(), *files], b"some"))
    return evidence_of(**({"view": view, "parts": names, "missing_data": [], "pointers": [], "more_data": []} | given))


def test_all_parts_that_are_needed_are_there():
    found = passes(package.complete, complete(more_data=["b.jsonl", "c.jsonl"]))
    assert found == ", ".join(f"{part}: {part}.file" for part in sorted(NEEDED)) + ", b.jsonl, c.jsonl"
    for part in NEEDED:
        left = [name for name in NEEDED if name != part]
        fails(package.complete, complete(left), r"^missing: [^,]+ \(\S+\)$")
    fails(package.complete, complete([]), "^missing: training config .config.py., training data .data.jsonl., ")
    fails(package.complete, complete(missing_data=["x.jsonl"]), r"^missing: training data \(x.jsonl\)$")


def test_a_pointer_of_git_lfs_is_told_where_it_plays_a_part_or_something_is_missing():
    evidence = complete(pointers=["weights"])
    passes(package.complete, evidence)
    missing = complete(NEEDED[1:], pointers=["weights"])
    assert fails(package.complete, missing, "^weights is a pointer of Git LFS")[1:] == ["weights"]
    played = complete()
    played.view.entries["data.file"] = view_of({"data.file": POINTER}).entries["data.file"]
    assert fails(package.complete, played, "^data.file is a pointer") == ["data.file"]


@pytest.mark.parametrize("name", ["a.parquet", "B.CSV", "a.arrow"])
def test_rows_that_are_not_read_are_unjudged_where_no_others_are(name):
    left = [part for part in NEEDED if part != "data"]
    assert unjudged(package.complete, complete(left, [name]), f"^{name}: rows in this format are not read$")
    passes(package.complete, complete(NEEDED, [name]))


def test_the_manifest_says_whose_it_is():
    assert passes(package.manifest, evidence_of(manifest_error=None, manifest={"who": "me"})) == "handed in by me"
    skips(package.manifest, evidence_of(manifest_error=None))
    fails(package.manifest, evidence_of(manifest_error="broken"), "^broken$")


def manifested(files: dict[str, bytes], **entries: bytes):
    """Evidence of files, and a manifest that lists what `entries` hold."""
    listed = [
        {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in entries.items()
    ]
    return evidence_of(view=view_of(files), manifest={"files": listed})


def test_what_is_listed_is_there_and_nothing_else():
    files = {"a": b"1", "b": b"2", "submission.json": b"{}"}
    assert passes(package.listed, manifested(files, a=b"1", b=b"2")) == "2 files"
    assert fails(package.listed, manifested(files, a=b"1"), "^not listed: b$") == ["not listed: b"]
    assert fails(package.listed, manifested(files, a=b"", b=b"", d=b"", c=b"")) == ["missing: c", "missing: d"]
    both = ["missing: z", "not listed: a", "not listed: b"]
    assert fails(package.listed, manifested(files, z=b"")) == both


def test_a_file_that_was_changed_is_told_whether_its_size_is_or_not():
    files = {"a": b"1", "b": b"2", "c": b"3"}
    assert passes(package.hashes, manifested(files, a=b"1", b=b"2", gone=b"9")) == "2 equal"
    assert fails(package.hashes, manifested(files, a=b"1", b=b"x", c=b"yy"), "^b was changed") == ["b", "c"]
    for sum_ in ("0" * 64, "f" * 64):  # whichever of the two sorts first
        evidence = manifested(files, a=b"1")
        evidence.manifest["files"][0]["sha256"] = sum_
        assert fails(package.hashes, evidence) == ["a"]
    evidence = manifested(files, a=b"1")
    evidence.manifest["files"][0]["bytes"] = 2
    assert fails(package.hashes, evidence) == ["a"]


def test_no_more_is_hashed_than_a_submission_may_hold():
    evidence = manifested({"a": b"1", "b": b"2"}, a=b"1", b=b"2")
    evidence.view.sha256 = lambda name: hashlib.sha256(b"1").hexdigest()
    for size, fine in ((LARGEST - 1, True), (LARGEST, False)):
        evidence.view.entries["b"] = Entry("b", size, None)
        evidence.manifest["files"][1] |= {"bytes": size, "sha256": hashlib.sha256(b"1").hexdigest()}
        if fine:
            passes(package.hashes, evidence)
    fails(
        package.hashes,
        _with_size(evidence, LARGEST + (1 << 20) - 1),
        "^1025 MiB are listed, at most 1024 can be$|^1024 MiB",
    )


def _with_size(evidence, size: int):
    evidence.view.entries["b"] = Entry("b", size, None)
    return evidence


def test_pickles_beside_an_adapter_are_told_and_without_one_refused():
    assert passes(package.no_pickle, evidence_of(pickles=[])) == "none there"
    many = [f"{n}.pth" for n in range(6)]
    found = passes(package.no_pickle, evidence_of(pickles=many, parts={"adapter": "a"}))
    assert found == "not opened: 0.pth, 1.pth, 2.pth, 3.pth, 4.pth"
    assert fails(package.no_pickle, evidence_of(pickles=many), "never opened: 0.pth$") == many
