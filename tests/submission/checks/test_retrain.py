"""The check of what the staff trained again, at its borders, on curves and adapters made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import altered
import pytest
from fakes import evidence_of, fails, passes, skips, unjudged, view_of

from lesson.runs.loss_band import LARGEST, MEAN
from lesson.submission.checks import retrain
from lesson.submission.evidence import Evidence
from lesson.submission.staff import StaffInputs
from lesson.submission.trained_again import Retrained

MACHINE = {"type": "cpu-x", "cores": 2, "gpu": None}
VERSIONS = {"torch": "2", "xtuner": "0.2"}
STEPS = 20


def losses(shift: float = 0.0, at: int = 0) -> dict[int, float]:
    """A falling curve; `shift` at one step, or at all for 0."""
    return {step: 4.0 - step / 10 + (shift if at in (0, step) else 0.0) for step in range(1, STEPS + 1)}


def points(told: dict[int, float], total: int = STEPS) -> list[SimpleNamespace]:
    return [SimpleNamespace(step=step, loss=loss, total=total) for step, loss in told.items()]


def record(**change: object) -> dict:
    curve = [{"step": step, "loss": loss} for step, loss in losses().items()]
    return {
        "machine": MACHINE,
        "versions": VERSIONS,
        "deepspeed": None,
        "curve": curve,
        "inputs": {"base": "b1"},
    } | change


def handed_in(told: dict[int, float] | None = None, parts=("curve",), same: bool = True, total: int = STEPS, **given):
    told = losses() if told is None else told
    found = {"parts": {part: f"{part}.x" for part in parts}, "curve": points(told), "profile": "tiny"}
    found["log"] = SimpleNamespace(points=points(told, total))
    return evidence_of(**(found | {"sound_record": record() if same else None} | given))


def again(told: dict[int, float] | None = None, **change: object) -> StaffInputs:
    given = {"losses": losses() if told is None else told, "total": STEPS, "machine": MACHINE, "versions": VERSIONS}
    return StaffInputs(retrained=Retrained(**(given | {"base": "b1", "seconds": 1.0, "adapter": None} | change)))


def test_nothing_was_trained_or_the_same_came_out():
    skips(retrain.retrained, handed_in())
    assert passes(retrain.retrained, handed_in(), again()) == "losses of 20 of 20 steps equal (same type of machine)"
    elsewhere = "losses of 20 of 20 steps equal (another machine or software)"
    assert passes(retrain.retrained, handed_in(same=False), again()) == elsewhere


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"processes": 1}, True),
        ({"processes": 2}, False),
        ({"deepspeed": "deepspeed_zero2"}, False),
        ({"machine": MACHINE | {"type": "cpu-y"}}, False),
        ({"machine": MACHINE | {"cores": 3}}, False),
        ({"machine": MACHINE | {"gpu": "x"}}, True),
        ({"versions": {"torch": "2"}}, True),
        ({"versions": VERSIONS | {"torch": "3"}}, False),
        ({"versions": VERSIONS | {"peft": "1"}}, False),
    ],
)
def test_the_same_machine_is_told_by_type_cores_and_software(change, same):
    evidence = handed_in(sound_record=record(**change))
    assert retrain._on_same_machine(evidence, again().retrained) is same
    assert passes(retrain.retrained, evidence, again()).endswith("(same type of machine)") is same


def test_a_machine_without_a_type_is_no_machine():
    unknown = {"type": None, "cores": 2}
    evidence = handed_in(sound_record=record(machine=unknown))
    assert not retrain._on_same_machine(evidence, again(machine=unknown).retrained)


def test_every_bit_counts_on_the_same_machine_and_the_band_elsewhere():
    for shift, same, elsewhere in (
        (1e-12, False, True),
        (LARGEST["tiny"], False, True),
        (LARGEST["tiny"] + 1e-6, False, False),
    ):
        told = losses(shift, at=7)
        for evidence, fine in ((handed_in(told), same), (handed_in(told, same=False), elsewhere)):
            if fine:
                assert passes(retrain.retrained, evidence, again()).startswith(
                    "losses within the band: losses of 20 of 20 steps differ by up to "
                )
            else:
                fails(
                    retrain.retrained,
                    evidence,
                    r"^losses of 20 of 20 steps differ by up to \S+ \(step 7\), \S+% in the mean",
                    again(),
                )
    level = sum(losses().values()) / STEPS
    inside = losses(level * MEAN * 0.99)
    passes(retrain.retrained, handed_in(inside, same=False), again())
    fails(retrain.retrained, handed_in(losses(level * MEAN * 1.04), same=False), None, again())


def test_the_band_is_the_profile_s():
    told = losses(0.7, at=7)
    fails(retrain.retrained, handed_in(told, same=False), None, again())
    passes(retrain.retrained, handed_in(told, same=False, profile="7b"), again())
    fails(retrain.retrained, handed_in(told, same=False, profile="small"), None, again())


def test_another_length_and_missing_steps_fail():
    fails(retrain.retrained, handed_in(total=21), "^21 steps, 20 when trained again$", again())
    told = {step: loss for step, loss in losses().items() if step not in (3, 4)}
    fails(retrain.retrained, handed_in(told), "^2 of 20 steps are missing$", again())
    fails(retrain.retrained, handed_in({99: 1.0}), "^20 of 20 steps are missing$", again())


def test_only_the_first_steps_are_compared_where_only_they_were_trained():
    first = {step: loss for step, loss in losses().items() if step <= 5}
    told = losses(1.0, at=6)
    assert passes(retrain.retrained, handed_in(told), again(first)).startswith("losses of 5 of 20 steps equal")


def test_another_base_is_told_where_the_record_names_it():
    told, end = losses(1.0), "; the record names another base than the one here$"
    fails(retrain.retrained, handed_in(told), end, again(base="b2"))
    for staff in (again(), again(base=None)):
        fails(retrain.retrained, handed_in(told), "in the mean$", staff)
    fails(retrain.retrained, handed_in(told, same=False), "in the mean$", again(base="b2"))


def test_the_record_s_losses_are_taken_without_a_curve():
    evidence = handed_in(losses(1.0), parts=["record"])
    assert passes(retrain.retrained, evidence, again()).startswith("losses of 20 of 20 steps equal")


def logged(shift: float = 0.0, every: int = 5) -> dict[int, float]:
    """What mmengine logs: each line the mean of the last ten losses, with four decimals."""
    told = losses()
    means = {step: sum(told[s] for s in range(max(1, step - 9), step + 1)) / min(step, 10) for step in told}
    return {step: round(mean + shift, 4) for step, mean in means.items() if step % every == 0}


def test_a_log_alone_is_compared_by_its_means_as_far_as_its_decimals_go():
    def evidence(told: dict[int, float], same: bool = False):
        found = handed_in(told, parts=["log"], sound_record=None)
        if same:
            found.sound_record = record(curve=[])
        return found

    assert passes(retrain.retrained, evidence(logged()), again()).startswith("losses of 20 of 20 steps equal")
    assert passes(retrain.retrained, evidence(logged(), same=True), again()).startswith(
        "losses of 20 of 20 steps equal"
    )
    within = passes(retrain.retrained, evidence(logged(2e-4)), again())
    assert within.startswith("losses within the band: ")
    fails(retrain.retrained, evidence(logged(2e-4), same=True), None, again())
    fails(retrain.retrained, evidence(logged(1.0)), None, again())
    few = again({step: loss for step, loss in losses().items() if step < 5})
    unjudged(retrain.retrained, evidence(logged()), "^no step of the log was trained again$", few)
    assert passes(retrain.retrained, evidence(logged()), again({s: x for s, x in losses().items() if s <= 5}))


def test_the_means_of_mmengine_s_log():
    means = retrain._means({step: float(step) for step in range(1, 13)})
    assert means[1] == 1 and means[2] == 1.5 and means[10] == 5.5 and means[11] == 6.5 and means[12] == 7.5


@pytest.fixture
def with_adapter(tmp_path):
    """(evidence, staff) of a submitted adapter beside the staff's own."""

    def make(submitted: bytes | None, own: bytes, same: bool = True):
        path = tmp_path / "adapter_model.safetensors"
        path.write_bytes(own)
        found = Evidence(view_of({"adapter.x": submitted} if submitted else {}))
        told = handed_in(same=same)
        for name in ("curve", "profile", "log", "sound_record"):
            setattr(found, name, getattr(told, name))
        found.parts = {"curve": "curve.x"} | ({"adapter": "adapter.x"} if submitted else {})
        return found, again(adapter=path)

    return make


def recast(data: bytes, noise: float = 0.0, dtype: str = "F32") -> bytes:
    import numpy

    chance, matrices = numpy.random.default_rng(1), altered.matrices_of(data)
    return altered.pack_matrices(
        {
            name: m + noise * chance.standard_normal(m.shape).astype(m.dtype) * abs(m).mean()
            for name, m in matrices.items()
        },
        dtype,
    )


def test_the_adapter_is_the_staff_s_in_every_bit_or_alike(with_adapter):
    mine = altered.small_adapter(1)
    assert "adapter equal in every bit (same" in passes(retrain.retrained, *with_adapter(mine, mine))
    renamed = altered.pack_matrices(
        {
            name.removeprefix("base_model.model.").replace(".weight", ".default.weight"): m
            for name, m in altered.matrices_of(mine).items()
        }
    )
    assert "adapter equal in every bit" in passes(retrain.retrained, *with_adapter(renamed, mine))
    fails(retrain.retrained, with_adapter(None, mine)[0], "^no adapter$", with_adapter(None, mine)[1])


def test_another_number_format_is_rounding_on_the_same_machine_and_noise_is_not(with_adapter):
    mine = altered.small_adapter(1)
    half, noisy = recast(mine, dtype="F16"), recast(mine, 0.02)
    assert "; adapter alike: 1 (same" in passes(retrain.retrained, *with_adapter(half, mine))
    for same, fine in ((True, False), (False, True)):
        evidence, staff = with_adapter(noisy, mine, same)
        if fine:
            assert "adapter alike: 0.99" in passes(retrain.retrained, evidence, staff)
        else:
            fails(retrain.retrained, evidence, "^the adapter is another: likeness 0.99", staff)
    for given in (recast(mine, 0.05, "F16"), altered.small_adapter(2)):
        evidence, staff = with_adapter(given, mine)
        fails(retrain.retrained, evidence, "^the adapter is another", staff)


@pytest.mark.parametrize(("alike", "fine"), [(retrain.LEAST_ELSEWHERE, True), (retrain.LEAST_ELSEWHERE - 1e-6, False)])
def test_elsewhere_the_median_of_the_modules_decides(with_adapter, monkeypatch, alike, fine):
    monkeypatch.setattr(retrain, "product_cosines", lambda ours, theirs: [0.0, alike, 1.0])
    evidence, staff = with_adapter(altered.small_adapter(1), altered.small_adapter(2), same=False)
    passes(retrain.retrained, evidence, staff) if fine else fails(retrain.retrained, evidence, "another", staff)


@pytest.mark.parametrize(("alike", "fine"), [(0.9999, True), (0.9998, False)])
def test_what_was_only_rounded_has_four_nines(with_adapter, monkeypatch, alike, fine):
    mine = altered.small_adapter(1)
    monkeypatch.setattr(retrain, "product_cosines", lambda ours, theirs: [alike])
    evidence, staff = with_adapter(recast(mine, dtype="F16"), mine)
    passes(retrain.retrained, evidence, staff) if fine else fails(retrain.retrained, evidence, "another", staff)
