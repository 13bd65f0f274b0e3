"""The journal of answers: what was written is there again, whatever else stands in the file."""

import contextlib

from lesson.authoring.journal import Journal


def test_journal_survives_garbage(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(
        b'\xff\n[]\n{"question": 1, "answer": ""}\n{"model": "m", "question": "a", "answer": "b"}\n{"quest'
    )
    with contextlib.closing(Journal(path, "m")) as journal:
        assert journal.answers == {"a": "b"}
        journal.write_answer("c", "d")
    with contextlib.closing(Journal(path, "m")) as journal:
        assert journal.answers == {"a": "b", "c": "d"}
    with contextlib.closing(Journal(path, "another")) as journal:
        assert journal.answers == {}
