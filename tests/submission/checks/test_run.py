"""The checks of the run at their borders, on evidence made by hand: what just passes, and what just fails."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from fakes import config_of, evidence_of, fails, passes, skips

from lesson.config.schedule import DataMeasures
from lesson.submission.checks import run
from lesson.submission.training_log import Point, TrainingLog

START = datetime(2026, 11, 24, 15)


def log_of(steps, total=None, loss=None, seconds=1.0, lr=1e-4, **more) -> TrainingLog:
    steps = list(steps)
    total = total if total is not None else steps[-1]
    losses = loss or [4.0 / (index + 1) for index in range(len(steps))]
    points = [
        Point(step, value, lr, seconds, START + timedelta(seconds=step), total)
        for step, value in zip(steps, losses, strict=True)
    ]
    return TrainingLog(points, **({"sessions": 1, "samples": None, "gpus": 1} | more))


def record_of(losses: list[float], **more: object) -> dict:
    curve = [{"step": n, "loss": loss, "lr": 1e-4} for n, loss in enumerate(losses, 1)]
    return {"steps": len(losses), "curve": curve, "resumed_at": 0} | more


def test_a_log_has_steps_of_one_total():
    assert passes(run.log, evidence_of(log=log_of([10, 20, 30]))) == "3 lines, 30 steps"
    fails(run.log, evidence_of(log=TrainingLog([], 1, None, 1)), "no line")
    log = log_of([10, 20])
    other = dataclasses.replace(log.points[0], total=21)
    fails(
        run.log,
        evidence_of(log=dataclasses.replace(log, points=[other, log.points[1]])),
        r"two totals of steps: \[20, 21\]",
    )


@pytest.mark.parametrize(
    ("steps", "total", "said"),
    [
        ([10, 20, 30], 30, None),
        ([10, 20, 30], 39, None),
        ([10, 20, 30], 40, "the log ends at step 30 of 40"),
        ([10, 20, 40], 40, None),  # one line is missing
        ([10, 20, 41], 41, "no line between the steps 20 and 41, where there is one every 10"),
        ([1], 1, None),
        ([1], 2, "the log ends at step 1 of 2"),
        ([7], 13, None),
        ([10, 21, 31, 42], 42, None),  # by epochs of 21 steps
    ],
)
def test_a_training_is_finished_when_its_last_lines_are_there(steps, total, said):
    evidence = evidence_of(log=log_of(steps, total))
    if said:
        fails(run.finished, evidence, said)
    else:
        assert passes(run.finished, evidence).startswith(f"step {steps[-1]} of {total}")


def test_the_record_of_a_finished_training_has_every_step():
    log = log_of([1, 2, 3])
    good = record_of([3.0, 2.0, 1.0])
    passes(run.finished, evidence_of(log=log, sound_record=good))
    for bad in (
        record_of([3.0, 2.0]),
        good | {"steps": 4},
        good | {"curve": good["curve"][:2]},
        good | {"curve": good["curve"][:2] + good["curve"][:1]},
        good | {"curve": [*good["curve"][:2], {**good["curve"][2], "step": 4}]},
        good | {"curve": [*good["curve"], good["curve"][2]]},
    ):
        fails(run.finished, evidence_of(log=log, sound_record=bad), "the record has")


def measures(count: int, length: int, exact: bool = True) -> DataMeasures:
    return DataMeasures((length,) * count, 1, None, 0, 0, exact)


@pytest.mark.parametrize(
    ("count", "exact", "files", "packed", "off", "sound"),
    [
        (100, True, 1, True, 2, True),
        (100, True, 1, True, 3, False),
        (100, True, 1, True, -2, True),
        (100, True, 3, True, 4, True),
        (100, True, 3, True, 5, False),
        (2500, True, 1, True, 4, True),
        (2500, True, 1, True, 5, False),
        (100, False, 1, True, 5, True),  # 0.35 of 10
        (100, False, 1, True, 6, False),
        (100, True, 1, False, 0, True),
        (100, True, 3, False, 1, False),
    ],
)
def test_the_samples_follow_from_the_rows(count, exact, files, packed, off, sound):
    expected = count // 10 if packed else count
    evidence = evidence_of(
        config=config_of(max_length=100, pack_to_max_length=packed),
        data=measures(count, 10, exact),
        row_files=["x"] * files,
        log=log_of([1], samples=expected + off),
    )
    if sound:
        assert f"expected {expected}" in passes(run.samples, evidence)
    else:
        fails(run.samples, evidence, f"^{expected + off} in the log, {expected} from {count} rows")


def test_the_samples_of_the_record_are_those_of_the_log():
    config, data = config_of(max_length=100), measures(100, 10)
    evidence = evidence_of(config=config, data=data, log=log_of([1], samples=11), sound_record={"samples": 11})
    passes(run.samples, evidence)
    evidence.sound_record = {"samples": 10}
    fails(run.samples, evidence, "^11 in the log, 10 from")
    skips(run.samples, evidence_of(config=config, data=data, log=log_of([1])))
    for length in (None, 0, True, "9", 1.5):
        skips(run.samples, evidence_of(config=config_of(max_length=length), data=data, log=log_of([1], samples=1)))


@pytest.mark.parametrize(
    ("samples", "batch", "epochs", "gpus", "parallel", "processes", "total"),
    [
        (100, 4, 3, 1, 1, None, 75),
        (101, 4, 3, 1, 1, None, 78),
        (100, 4, 3, 2, 1, None, 39),
        (100, 4, 3, 4, 2, None, 39),
        (100, 4, 3, 1, 2, None, 75),  # fewer GPUs than work together: one rank
        (100, 4, 3, 1, None, 2, 39),  # of CPUs the record alone tells
        (100, 4, 3, 2, 0, 1, 39),
    ],
)
def test_the_steps_follow_from_samples_batch_and_epochs(samples, batch, epochs, gpus, parallel, processes, total):
    config = config_of(batch_size=batch, max_epochs=epochs, sequence_parallel_size=parallel)
    record = None if processes is None else {"processes": processes}
    for found in (total - 1, total, total + 1):
        log = log_of([1], found, samples=samples, gpus=gpus)
        evidence = evidence_of(config=config, log=log, sound_record=record)
        if found == total:
            assert passes(run.steps, evidence) == f"{samples} / {batch} × {epochs} = {total}"
        else:
            fails(run.steps, evidence, f"^{found} steps, .*make {total}$")
    skips(run.steps, evidence_of(config=config, log=log_of([1])))


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([4.0, 1.0], None),
        ([1.0, 0.7], None),
        ([1.0, 0.71], "loss 1.000 → 0.710"),
        ([0.3, 0.25], None),  # it knew the rows
        ([0.3, 0.26], "0.260"),
        ([2.0], None),
        ([4.0, 9.0, 9.0, 9.0, 1.0, 1.0], None),  # three lines each
        ([4.0, 4.0, 4.0, 1.0, 1.0, 6.3], None),  # their mean is below 2.8
        ([4.0, 4.0, 4.0, 1.0, 1.0, 6.5], "loss 4.000"),
        ([9.0, 1.0, 9.0, 1.0, 9.0, 1.0, 1.0, 1.0], None),
        ([2.0, 3.0, 4.0, 1.0, 1.0], None),  # two of five
        ([2.0, 3.0, 1.0, 1.0, 2.6], "loss 2.500 → 1.800"),
        ([4.0, math.nan, 1.0], "no finite loss at step 2"),
        ([4.0, 1.0, math.inf], "no finite loss at step 3"),
        ([4.0, -0.1], "no finite loss at step 2"),
        ([4.0, 0.0], None),
    ],
)
def test_the_loss_is_finite_and_fell(losses, said):
    evidence = evidence_of(log=log_of(range(1, len(losses) + 1), loss=losses))
    if said:
        fails(run.fell, evidence, said)
    else:
        assert "→" in passes(run.fell, evidence)


LOSSES = [4.0 - 0.1 * n for n in range(30)]


def agreeing(**more: object) -> SimpleNamespace:
    """A log of every tenth step whose losses are means of the last ten, vis_data, a curve and a record."""
    means = [sum(LOSSES[n - 10 : n]) / 10 for n in (10, 20, 30)]
    log = log_of([10, 20, 30], loss=means)
    curve = [Point(n, loss, 1e-4, 1.0) for n, loss in enumerate(LOSSES, 1)]
    record = record_of(LOSSES, loss={"window": 10, "first": means[0], "last": means[2]})
    given = {"log": log, "scalars": list(log.points), "curve": curve, "sound_record": record, "record": record}
    return evidence_of(**({"parts": {"scalars": "s", "curve": "c"}} | given | more))


def test_the_files_of_one_run_agree():
    assert passes(run.agree, agreeing()) == "log, vis_data, curve, record"
    assert passes(run.agree, agreeing(parts={})) == "log, record"
    assert passes(run.agree, agreeing(sound_record=None)) == "log, vis_data, record"
    assert passes(run.agree, agreeing(parts={}, sound_record=None)) == "log"


@pytest.mark.parametrize(
    ("field", "by", "sound"),
    [
        ("loss", 5e-5, True),
        ("loss", 7e-5, False),
        ("seconds", 5e-5, True),
        ("seconds", -7e-5, False),
        ("lr", 0.9e-8, True),
        ("lr", 1.2e-8, False),
        ("loss", math.nan, False),
        ("loss", math.inf, False),
    ],
)
def test_vis_data_says_what_the_log_says_but_for_rounding(field, by, sound):
    evidence = agreeing()
    point = evidence.scalars[1]
    evidence.scalars[1] = dataclasses.replace(point, **{field: getattr(point, field) + by})
    if sound:
        passes(run.agree, evidence)
    else:
        assert len(fails(run.agree, evidence, "1 contradictions, the first: step 20")) == 1


def test_steps_that_one_file_has_alone_are_named():
    evidence = agreeing()
    evidence.scalars.pop()
    assert fails(run.agree, evidence) == ["vis_data: 30"]
    evidence = agreeing()
    evidence.curve.pop()
    assert fails(run.agree, evidence)[0] == "run.json ≠ curve.jsonl: step 29"
    evidence = agreeing()
    evidence.curve[4] = dataclasses.replace(evidence.curve[4], lr=2e-4)
    assert fails(run.agree, evidence) == ["run.json ≠ curve.jsonl: step 5"]
    evidence = agreeing(sound_record=None)
    del evidence.curve[19]
    assert fails(run.agree, evidence)[0] == "step 20"


@pytest.mark.parametrize(("key", "place"), [("first", "loss.first"), ("last", "loss.last")])
def test_the_records_own_means_are_those_of_its_curve(key, place):
    for by, sound in ((1e-6, True), (1e-5, False)):
        evidence = agreeing()
        evidence.record["loss"][key] += by
        if sound:
            passes(run.agree, evidence)
        else:
            assert [p.split(" = ")[0] for p in fails(run.agree, evidence)] == [f"run.json: {place}"]


def test_the_log_smooths_over_ten_steps_and_over_fewer_after_a_resume():
    for by, sound in ((2e-4, True), (6e-4, False)):
        evidence = agreeing(parts={})
        evidence.log.points[1] = dataclasses.replace(evidence.log.points[1], loss=evidence.log.points[1].loss + by)
        if sound:
            passes(run.agree, evidence)
        else:
            assert len(fails(run.agree, evidence)) == 1
    short = dataclasses.replace(agreeing().log.points[1], loss=sum(LOSSES[15:20]) / 5)  # the last five alone
    for more in ({"sessions": 2}, {"resumed": 15}, {}):
        evidence = agreeing(parts={})
        evidence.log.points[1] = short
        evidence.log = dataclasses.replace(evidence.log, sessions=more.get("sessions", 1))
        evidence.sound_record["resumed_at"] = more.get("resumed", 0)
        if more:
            passes(run.agree, evidence)
        else:
            assert len(fails(run.agree, evidence)) == 1


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [
        (1.0, 1.0, False),
        (1.0, 1.25, False),
        (1.0, 1.26, True),
        (math.nan, math.nan, False),
        (math.nan, 1.0, True),
        (math.inf, math.inf, False),
        (math.inf, -math.inf, True),
        (1.0, math.inf, True),
    ],
)
def test_two_numbers_differ_beyond_what_rounding_allows(a, b, differ):
    assert run._differ(a, b, 0.25) is differ and run._differ(b, a, 0.25) is differ
    assert not run._differ(2.5, 2.0, 0.25, 0.125) and run._differ(2.51, 2.0, 0.25, 0.125)


def test_the_rate_rises_then_falls_as_mmengine_makes_it():
    rates = [run.scheduled_rate(step, 10, 3, 1.0) for step in range(1, 11)]
    assert rates[0] == pytest.approx(1e-5) and rates[2] == rates[3] == pytest.approx(1.0)
    assert rates[1] == pytest.approx(0.500005) and rates[-1] == pytest.approx((1 + math.cos(math.pi * 6 / 7)) / 2)
    assert run.scheduled_rate(1, 1, 1, 1.0) == pytest.approx(1e-5) and run.scheduled_rate(1, 1, 0, 1.0) == 1.0
    assert run.scheduled_rate(4, 3, 3, 1.0) == 1.0


def test_each_rate_of_the_log_follows_the_config():
    config = config_of(lr=1e-3, warmup_ratio=0.1, max_epochs=2)
    log = log_of(range(1, 21))
    points = [dataclasses.replace(p, lr=run.scheduled_rate(p.step, 20, 2, 1e-3)) for p in log.points]
    for by, sound in ((0.9e-7, True), (8e-7, False)):
        moved = [*points[:9], dataclasses.replace(points[9], lr=points[9].lr + by), *points[10:]]
        evidence = evidence_of(config=config, log=dataclasses.replace(log, points=moved))
        if sound:
            assert passes(run.rates, evidence) == "lr 0.001"
        else:
            fails(run.rates, evidence, "at step 10")
    for odd in ({"lr": None}, {"warmup_ratio": math.inf}, {"max_epochs": 3}, {"max_epochs": 0}):
        config = config_of(**({"lr": 1e-3, "warmup_ratio": 0.1, "max_epochs": 2} | odd))
        skips(run.rates, evidence_of(config=config, log=dataclasses.replace(log, points=points)))


def moved(log: TrainingLog, **seconds: float) -> TrainingLog:
    """The log with the times of its points (p0, p1, …) so many seconds after the start."""
    points = [
        dataclasses.replace(p, at=START + timedelta(seconds=seconds[f"p{n}"])) if f"p{n}" in seconds else p
        for n, p in enumerate(log.points)
    ]
    return dataclasses.replace(log, points=points)


def test_times_go_forward_and_add_up():
    log = log_of([10, 20, 30])
    assert passes(run.times, evidence_of(log=log)) == "20 s"
    passes(run.times, evidence_of(log=moved(log, p1=10)))
    fails(run.times, evidence_of(log=moved(log, p1=9)), "time goes back at step 20")
    passes(run.times, evidence_of(log=moved(log, p0=0, p1=0, p2=13)))  # 0.8 of 20, less 3
    fails(run.times, evidence_of(log=moved(log, p0=0, p1=0, p2=12)), "^12 s between .* add up to 20 s")
    passes(run.times, evidence_of(log=dataclasses.replace(moved(log, p0=0, p1=0, p2=1), sessions=2)))
    passes(run.times, evidence_of(log=moved(log_of([10, 20, 30], seconds=math.nan), p0=0, p1=0, p2=1)))
    now = datetime.now()
    for hours, sound in ((20, True), (60, False)):
        log = dataclasses.replace(
            log_of([10]), points=[dataclasses.replace(log_of([10]).points[0], at=now + timedelta(hours=hours))]
        )
        if sound:
            passes(run.times, evidence_of(log=log))
        else:
            fails(run.times, evidence_of(log=log), "in the future")


def test_the_record_ends_when_the_log_does_and_has_the_curves_seconds():
    log = log_of([10, 20, 30])
    end = log.points[-1].at

    def evidence(at: datetime, curve: float = 30.0, dated: bool = True) -> SimpleNamespace:
        record = {"finished": at.isoformat() + "+00:00", "seconds": {"steps": 30.0}}
        points = [Point(1, 1.0, 1.0, curve / 2)] * 2
        log_here = dataclasses.replace(log, dated=dated)
        return evidence_of(log=log_here, sound_record=record, curve=points, parts={"curve": "c"})

    for sign in (1, -1):
        passes(run.times, evidence(end + sign * timedelta(days=1)))
        fails(run.times, evidence(end + sign * timedelta(days=1, seconds=1)), "the log ends")
        passes(run.times, evidence(end + sign * timedelta(days=9), dated=False))
        passes(run.times, evidence(end, 30 + sign * 1.25))
        fails(run.times, evidence(end, 30 + sign * 1.4), "not the curve's")


def tensor(name: str, *shape: int) -> SimpleNamespace:
    return SimpleNamespace(name=name, shape=shape)


def test_the_parameters_of_an_unknown_base_are_those_beside_the_adapter(monkeypatch):
    shape = SimpleNamespace(parameters=1000, vocabulary=10, hidden=20)
    monkeypatch.setattr(run, "base_shape", lambda evidence, staff: shape)
    assert run._multiplied_parameters(evidence_of(), None) == 800

    def refuse(evidence, staff):
        raise run.Unjudged("", "")

    monkeypatch.setattr(run, "base_shape", refuse)
    with pytest.raises(run.Unjudged):
        run._multiplied_parameters(evidence_of(), None)
    tensors = [tensor("a.lora_A.weight", 8, 30), tensor("a.lora_B.weight", 50, 8), tensor("b.lora_A.weight", 8, 7)]
    tensors += [tensor("c.lora_A.weight", 8), tensor("c.lora_B.weight", 9, 8)]
    assert run._multiplied_parameters(evidence_of(parts={"adapter": "x"}, tensors=tensors), None) == 1500


@pytest.mark.parametrize(
    ("profile", "pack", "seconds", "sound"),
    [
        ("tiny", True, 1.61, True),
        ("tiny", True, 1.59, False),
        ("tiny", True, 1.6, False),
        ("small", True, 0.00641, True),
        ("7b", True, 0.00639, False),
        ("tiny", False, 0.17, True),  # the shortest row has a tenth
        ("tiny", False, 0.15, False),
        ("tiny", True, math.nan, False),
    ],
)
def test_no_step_is_faster_than_the_fastest_machine(monkeypatch, profile, pack, seconds, sound):
    monkeypatch.setattr(run, "_multiplied_parameters", lambda evidence, staff: 10**9)
    evidence = evidence_of(
        config=config_of(batch_size=8, max_length=1000, pack_to_max_length=pack),
        profile=profile,
        data=DataMeasures((100, 500), 1, None, 0, 0, True),
        parts={"data": "d"},
        log=log_of([10, 20], seconds=seconds),
    )
    if sound:
        length = 1000 if pack else 100
        assert passes(run.speed, evidence).startswith(f"{8 * length / seconds:.0f} tokens/s")
    else:
        fails(run.speed, evidence, "operations take at least")


def test_manifest_run_and_evaluation_speak_of_the_same_names():
    names = {"old": "机智流", "new": "闻星"}
    record, evaluation = {"names": names, "id": "1"}, {"names": names, "run": "1"}
    given = {"record": record, "evaluation": evaluation, "manifest": {"names": names}, "parts": {"evaluation": "e"}}
    assert passes(run.names, evidence_of(**given)) == "机智流→闻星"
    assert passes(run.names, evidence_of(record=record)) == "机智流→闻星"
    for key, other in (("old", "x"), ("new", "y")):
        for part in ("evaluation", "manifest"):
            fails(run.names, evidence_of(**(given | {part: {**given[part], "names": names | {key: other}}})), other)
    fails(run.names, evidence_of(**(given | {"evaluation": evaluation | {"run": "2"}})), "another run: 2")
