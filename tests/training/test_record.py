"""What a run's record says of the training."""

from __future__ import annotations

import json

from jsonschema import Draft7Validator

from lesson.core.settings import ROOT, Values
from lesson.training.record import read_names


def test_the_schemas_of_runs_and_evaluations_are_schemas():
    for name in ("run", "evaluation"):
        Draft7Validator.check_schema(json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text()))


def test_names_come_from_the_record_of_the_rows_before_the_variables(tmp_path):
    data = tmp_path / "rows.jsonl"
    values = Values({"NEW_NAME": "甲", "OLD_NAME": "乙"}, {})
    assert read_names(values, data) == {"old": "乙", "new": "甲"}
    record = {"inputs": {}, "parameters": {"replaced": [["尖米", "闻星"], ["某人", "我"]]}, "output": ""}
    (tmp_path / "rows.jsonl.record.json").write_text(json.dumps(record))
    assert read_names(values, data) == {"old": "尖米", "new": "闻星"}
