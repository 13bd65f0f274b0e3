"""Documents of our own are believed only when they have the form that their schema says."""

from __future__ import annotations

import json

import pytest

from lesson.core.messages import UserError
from lesson.core.schemas import load_schema, read_document
from lesson.core.settings import ROOT


def test_every_schema_is_one():
    for path in (ROOT / "schemas").glob("*.schema.json"):
        schema = load_schema(path.name.removesuffix(".schema.json"))
        schema.check_schema(schema.schema)


def test_what_has_another_form_is_named_with_its_place(tmp_path):
    path = tmp_path / "run.json"
    for content in ([], {"format": 1}, None):
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"run\.json: \$: .*; train again"):
            read_document(path, "run", "train again")
