"""Where curves are read from: what is no curve, or no one run's, is refused in one line."""

from __future__ import annotations

import pytest

from recipe import loss


@pytest.fixture
def compared(call, build_of_curves):
    return lambda *more: call(loss, "--profile", "tiny", "--build", str(build_of_curves), *more)


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
