"""Two loss curves: what identical, within the band and outside mean, and where curves are read from."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from lesson.core.settings import ROOT, Values
from lesson.runs import golden_loss
from lesson.runs import loss_band as loss
from lesson.runs.loss_band import IDENTICAL, LARGEST, MEAN, OUTSIDE, WITHIN, compare

losses = st.lists(st.floats(0.01, 12, allow_nan=False), min_size=1, max_size=60)


def points(values) -> list[tuple[int, float | None]]:
    return list(enumerate(values, 1))


@given(losses, losses)
def test_the_comparison_is_symmetric(a, b):
    assert compare(points(a), points(b)) == compare(points(b), points(a))


@given(losses)
def test_a_curve_is_identical_to_itself_in_any_order_of_its_points(a):
    result = compare(points(a), points(a)[::-1])
    assert (result.verdict, result.first, result.largest, result.share) == (IDENTICAL, None, 0, 0)
    assert result.steps == len(a)


@given(losses, st.data())
def test_one_loss_that_differs_in_its_last_bit_is_not_identical_and_its_step_is_named(a, data):
    where = data.draw(st.integers(0, len(a) - 1))
    other = [*a[:where], math.nextafter(a[where], math.inf), *a[where + 1 :]]
    result = compare(points(a), points(other))
    assert result.verdict == WITHIN
    assert result.first == result.largest_at == where + 1


@given(losses, st.floats(1.001, 4))
def test_a_curve_shifted_beyond_the_band_is_outside(a, factor):
    """By more than LARGEST everywhere, or by more than the share MEAN everywhere: either limit alone is enough."""
    assert compare(points(a), points([x + LARGEST["tiny"] * factor for x in a])).verdict == OUTSIDE
    share = MEAN * factor
    assert compare(points(a), points([x * (1 + share) / (1 - share) for x in a])).verdict == OUTSIDE


@given(losses, st.floats(0, 0.99))
def test_a_curve_shifted_by_less_than_both_limits_is_within(a, factor):
    shift = min(LARGEST["tiny"], MEAN * sum(a) / len(a)) * factor
    assert compare(points(a), points([x + shift for x in a])).verdict in (IDENTICAL, WITHIN)


@given(losses, st.data())
def test_a_truncated_curve_is_outside_however_equal_the_rest(a, data):
    kept = data.draw(st.integers(0, len(a) - 1))
    result = compare(points(a), points(a)[:kept])
    assert result.verdict == OUTSIDE
    assert (result.steps, result.missing, result.first) == (kept, len(a) - kept, None)


@given(losses, st.data())
def test_a_loss_that_was_no_number_in_one_curve_only_is_outside(a, data):
    where = data.draw(st.integers(0, len(a) - 1))
    broken = [*a[:where], None, *a[where + 1 :]]
    assert compare(points(a), points(broken)).verdict == OUTSIDE
    assert compare(points(broken), points(broken)).verdict == IDENTICAL


def test_no_curve_at_all_is_not_identical():
    assert compare([], []).verdict == OUTSIDE


def record(**changed) -> dict:
    return {
        "profile": "tiny",
        "names": {"old": "尖米", "new": "闻星"},
        "deepspeed": None,
        "seed": 42,
        "versions": {"torch": "2"},
        "samples": 3,
        "steps": 3,
        "inputs": {"config": "a" * 64, "data": "b" * 64, "base": "c" * 64},
        "machine": {"type": "some-cpu-1-2-3-avx2", "processor": "Some CPU", "cores": 2, "memory": 9, "gpu": None},
        "curve": [{"step": i, "loss": 4.0 / i, "lr": 0.1} for i in (1, 2, 3)],
        **changed,
    }


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A BUILD folder with one finished run, 0123456789ab, and one unfinished, 02…; goldens go to its folder golden."""
    monkeypatch.setattr(loss, "GOLDEN", tmp_path / "golden")
    monkeypatch.setattr(loss, "ROOT", tmp_path)
    run, unfinished = tmp_path / "runs" / "0123456789ab", tmp_path / "runs" / "02ffffffffff"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(record()))
    (run / "config.py").write_text(f"pretrained_model_name_or_path = '{tmp_path}/model'\n")
    (unfinished / "work_dir").mkdir(parents=True)
    (unfinished / "work_dir" / "curve.jsonl").write_text('{"total": 3}\n{"step": 1, "loss": 4.0}\n{"st')
    (tmp_path / "run").symlink_to("runs/0123456789ab")
    return tmp_path


@pytest.fixture
def compared(call, build):
    return lambda *more: call(loss, "--profile", "tiny", "--build", str(build), *more)


def test_the_same_run_by_id_by_its_beginning_by_folder_and_by_file_is_identical_with_a_picture(compared, build):
    run = build / "runs" / "0123456789ab"
    for name in ("0123456789ab", "01", str(run), str(run / "run.json")):
        status, out, _ = compared("--a", name, "--b", "0123456789ab")
        assert status == 0 and "\nidentical\n" in out
    assert (build / "compare-loss.png").read_bytes().startswith(b"\x89PNG")


def test_an_unfinished_run_is_outside_and_the_missing_steps_are_counted(compared):
    status, out, _ = compared("--a", "01", "--b", "02")
    assert status == 1
    assert "1 steps in both, 2 in one only" in out and "outside the band" in out
    status, out, _ = compared("--a", "01", "--b", "02", "--format", "json")
    assert (status, json.loads(out)["missing"]) == (1, 2)


@pytest.mark.parametrize(
    ("name", "said"),
    [("0", "is the beginning of 0123456789ab, 02ffffffffff"), ("7", "no such run"), ("0123456789abc", "no such run")],
)
def test_a_run_that_is_none_or_two_is_refused(compared, name, said):
    status, _, err = compared("--a", name, "--b", "01")
    assert status == 2 and said in err and "make runs" in err


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"curve": []}',
        '{"curve": [1]}',
        '{"curve": [{"step": 1}]}',
        '{"curve": [{"step": 1, "loss": NaN}]}',
    ],
)
def test_a_document_without_a_curve_is_refused_in_one_line(compared, tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    status, _, err = compared("--a", str(path), "--b", "01")
    assert status == 2 and "no loss curve" in err and err.count("\n") == 1


def test_a_golden_is_written_for_the_run_s_machine_and_found_again_without_naming_it(compared, call, build):
    status, _, err = compared()
    assert status == 2 and "make golden-loss" in err
    status, out, _ = call(golden_loss, "--profile", "tiny", "--build", str(build))
    path = build / "golden" / "tiny-some-cpu-1-2-3-avx2.json"
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


def test_the_fast_variant_has_a_golden_of_its_own():
    paths = [loss.golden_path(record(**more)).name for more in ({}, {"speed": "stock"}, {"speed": "fast"})]
    assert paths == ["tiny-some-cpu-1-2-3-avx2.json"] * 2 + ["tiny-fast-some-cpu-1-2-3-avx2.json"]


def test_every_shipped_golden_is_valid_has_its_name_and_is_as_long_as_it_says():
    rules = json.loads((ROOT / "schemas" / "loss.schema.json").read_text())
    Draft7Validator.check_schema(rules)
    shipped = sorted((ROOT / "golden" / "loss").glob("*.json"))
    assert shipped
    for path in shipped:
        document = json.loads(path.read_text())
        Draft7Validator(rules).validate(document)
        assert loss.golden_path(document).name == path.name
        assert [point["step"] for point in document["curve"]] == list(range(1, document["steps"] + 1))
        assert len(loss.load(str(path), Values({}, {})).points) == document["steps"]


def test_at_7b_fast_is_within_its_band_of_stock():
    """The shipped goldens of 7b, measured on one GPU: within 7b's band, which is wider in single steps than tiny's."""
    curves = []
    for name in ("7b", "7b-fast"):
        document = json.loads((ROOT / "golden" / "loss" / f"{name}-nvidia-h100-80gb-hbm3.json").read_text())
        curves.append([(point["step"], point["loss"]) for point in document["curve"]])
        assert loss.limit(document) == LARGEST["7b"]
    assert compare(*curves, LARGEST["7b"]).verdict == WITHIN
    assert compare(*curves, LARGEST["tiny"]).verdict == OUTSIDE
    assert loss.limit({}) == loss.limit({"profile": ["7b"]}) == LARGEST["tiny"]


def test_a_config_s_hash_does_not_depend_on_where_build_is_and_does_on_anything_else(tmp_path):
    golden = (ROOT / "golden" / "configs" / "tiny" / "internlm2_5_chat_7b_qlora_alpaca_e3.py").read_text()
    texts = [golden, golden.replace("'build/tiny/", "'/another/place/"), golden.replace("lr = 0.002", "lr = 0.003")]
    assert len(set(texts)) == 3
    hashes = []
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.py").write_text(text)
        hashes.append(golden_loss.config_hash(tmp_path / f"{number}.py"))
    assert hashes[0] == hashes[1] != hashes[2]
