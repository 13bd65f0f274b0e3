"""make golden-loss: a run's curve becomes the golden of its machine; the shipped ones are whole."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft7Validator

from lesson.core.settings import ROOT, Values
from lesson.runs.golden_loss import golden_path, hash_config
from lesson.runs.loss_curve import read_loss_curve
from recipe import golden_loss, loss


@pytest.fixture
def compared(call, build_of_curves):
    return lambda *more: call(loss, "--profile", "tiny", "--build", str(build_of_curves), *more)


def test_a_golden_is_written_for_the_run_s_machine_and_found_again_without_naming_it(compared, call, build_of_curves):
    status, _, err = compared()
    assert status == 2 and "make golden-loss" in err
    status, out, _ = call(golden_loss, "--profile", "tiny", "--build", str(build_of_curves))
    path = build_of_curves / "golden" / "tiny-some-cpu-1-2-3-avx2.json"
    assert status == 0 and str(path) in out
    status, out, _ = compared()
    assert status == 0 and "identical" in out and "not the same" not in out
    changed = json.loads(path.read_text())
    changed["seed"], changed["curve"][1]["loss"] = 43, 2.0625
    path.write_text(json.dumps(changed))
    status, out, _ = compared()
    assert status == 0 and "first difference at step 2, largest 0.0625 at step 2" in out
    assert "not the same: seed" in out and "within the band" in out
    changed["inputs"]["base"] = "0" * 64  # a golden of another base is none
    path.write_text(json.dumps(changed))
    status, _, err = compared()
    assert status == 2 and "no golden for" in err


def test_the_fast_variant_has_a_golden_of_its_own(make_record):
    paths = [golden_path(make_record(**more)).name for more in ({}, {"speed": "stock"}, {"speed": "fast"})]
    assert paths == ["tiny-some-cpu-1-2-3-avx2.json"] * 2 + ["tiny-fast-some-cpu-1-2-3-avx2.json"]


def test_several_ranks_have_a_golden_of_their_own(make_record):
    """Each computes a part of the batch, and their gradients are summed in another order."""
    paths = [golden_path(make_record(processes=n, speed="fast")).name for n in (1, 2)]
    assert paths == ["tiny-fast-some-cpu-1-2-3-avx2.json", "tiny-fast-2-ranks-some-cpu-1-2-3-avx2.json"]


def test_every_shipped_golden_is_valid_has_its_name_and_is_as_long_as_it_says():
    rules = json.loads((ROOT / "schemas" / "loss.schema.json").read_text())
    Draft7Validator.check_schema(rules)
    shipped = sorted((ROOT / "golden" / "loss").glob("*.json"))
    assert shipped
    for path in shipped:
        document = json.loads(path.read_text())
        Draft7Validator(rules).validate(document)
        assert golden_path(document).name == path.name
        assert [point["step"] for point in document["curve"]] == list(range(1, document["steps"] + 1))
        assert len(read_loss_curve(str(path), Values({}, {})).points) == document["steps"]


def test_a_config_s_hash_does_not_depend_on_where_build_is_and_does_on_anything_else(tmp_path):
    golden = (ROOT / "golden" / "configs" / "tiny" / "internlm2_5_chat_7b_qlora_alpaca_e3.py").read_text()
    texts = [
        golden,
        golden.replace("'build/tiny/", "'/another/place/"),
        golden.replace("lr = 0.002", "lr = 0.003"),
    ]
    assert len(set(texts)) == 3
    hashes = []
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.py").write_text(text)
        hashes.append(hash_config(tmp_path / f"{number}.py"))
    assert hashes[0] == hashes[1] != hashes[2]
