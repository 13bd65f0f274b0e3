"""check-all: who copied is told from who repeated a run honestly, and from one learner's two uploads."""

from __future__ import annotations

import functools
import json

import pytest
import submissions
from submissions import ADAPTER, CONFIG, DATA, LOG, RECORD, Files, honest_files, with_times
from verdicts import shipped_rubric

from lesson.submission.copies import copied_parts, is_one_learner, mark_copies
from lesson.submission.staff import StaffInputs
from lesson.submission.verdict import judge_submission


def judged(tmp_path, *all_files: Files, who: str = "甲乙丙") -> list[dict]:
    """Verdicts on packed submissions, compared with each other."""
    rubric = shipped_rubric()
    found = []
    for number, files in enumerate(all_files):
        path = submissions.pack(files, tmp_path / f"s{number}", who[number])
        found.append(judge_submission(path, rubric, StaffInputs(), with_sketch=True))
    mark_copies(found, rubric)
    assert not any({"sketch", "identity"} & verdict.keys() for verdict in found)
    return found


def own(verdict: dict) -> dict:
    return next(r for r in verdict["checks"] if r["check"] == "own")


@functools.cache
def elsewhere() -> Files:
    """The same run by another learner: other folders (BUILD=, MODEL=), another clock, other times of each step."""
    files = honest_files()
    config = files[CONFIG].replace(b"build/tiny/data", b"my/build/data").replace(b"build/tiny/model", b"models/base")
    rows = b"".join(
        json.dumps(json.loads(line), ensure_ascii=False).encode() + b"\r\n" for line in files[DATA].splitlines()
    )
    adapter = json.loads(files[submissions.ADAPTER_CONFIG]) | {"base_model_name_or_path": "models/base"}
    files |= {CONFIG: config, DATA: rows, submissions.ADAPTER_CONFIG: submissions.to_json(adapter)}
    return submissions.link_hashes(with_times(files, seed=5))


def test_who_chose_the_same_name_and_seed_is_not_accused(tmp_path):
    a, b = judged(tmp_path, honest_files(), elsewhere())
    assert a["passed"] is True and b["passed"] is True
    assert "s1's, which an equal name and seed explains" in own(a)["found"]
    assert "s0's" in own(b)["found"] and own(b)["status"] == "passed"


@pytest.mark.slow
def test_in_a_class_of_honest_learners_nobody_is_accused(tmp_path):
    """Three share rows and seed, two of these on other folders; two train unpacked rows alike; others have other names."""

    def named(name: str, seed: int) -> Files:
        files = submissions.with_training(submissions.with_name(name), "tiny", seed=seed)
        return files | {ADAPTER: submissions.random_adapter("tiny", seed)}

    unpacked = honest_files()
    unpacked[CONFIG] = unpacked[CONFIG].replace(b"pack_to_max_length = True", b"pack_to_max_length = False")
    unpacked = submissions.with_training(unpacked, "tiny", seed=9) | {ADAPTER: submissions.random_adapter("tiny", 9)}
    near = [
        line["seconds"] * (1 + 1e-4 * n)
        for n, line in enumerate(submissions.from_json_lines(unpacked[submissions.CURVE]))
    ]
    learners = [honest_files(), elsewhere(), with_times(honest_files(), seed=6), unpacked, with_times(unpacked, near)]
    learners += [named("闻星", 1), named("晨星", 2), named("Luna", 3)]
    found = judged(tmp_path, *learners, who="甲乙丙丁戊己庚辛")
    assert [v["passed"] for v in found] == [True] * len(learners), [own(v) for v in found]
    explained = ["explains" in own(v)["found"] for v in found]
    assert explained == [True] * 5 + [False] * 3


def test_an_adapter_under_other_inputs_is_a_copy_and_so_is_a_log(tmp_path):
    other_seed = with_times(honest_files(), seed=5)
    other_seed[CONFIG] = other_seed[CONFIG].replace(b"seed=42", b"seed=43")
    assert b"seed=43" in other_seed[CONFIG]
    a, b = judged(tmp_path / "seed", honest_files(), submissions.link_hashes(other_seed))
    assert a["passed"] is False and b["passed"] is False and "adapter = s1" in own(a)["places"]
    same_log = elsewhere() | {LOG: honest_files()[LOG]}
    a, b = judged(tmp_path / "log", honest_files(), same_log)
    assert own(b)["status"] == "failed" and "log = s0" in own(b)["places"]


def test_two_uploads_of_one_learner_are_one_learners(tmp_path):
    a, b, c = judged(tmp_path, honest_files(), honest_files(), elsewhere(), who="甲甲乙")
    assert [v["passed"] for v in (a, b, c)] == [True, True, True]
    assert "s2" in own(a)["found"] and "s1" not in own(a)["found"]


@pytest.mark.parametrize(
    "names, same",
    [
        (("zhang.zip", "zhang (1).zip"), True),
        (("zhang.zip", "zhang_v2.tar.gz"), True),
        (("张三.zip", "张三（2）.zip"), True),
        (("张三.zip", "张三 - 副本.zip"), True),
        (("s1.zip", "s2.zip"), False),
        (("zhang.zip", "li.zip"), False),
    ],
)
def test_files_without_a_manifest_are_one_learners_by_their_names(names, same):
    a, b = ({"who": None, "submission": f"/in/{name}"} for name in names)
    assert is_one_learner(a, b) is same
    assert not is_one_learner(a, b | {"who": "x"})


def fake(name: str, failed: str | None = None) -> dict:
    checks = [{"check": check, "area": "run", "status": "passed", "found": "", "places": [], "remedy": ""}
              for check in ("own", "rerun_says_new")]  # fmt: skip
    for result in checks:
        result["status"] = "failed" if result["check"] == failed else "passed"
    found = {"who": name, "submission": name, "fingerprints": {"adapter": "1"}, "checks": checks, "rerun": {}}
    return found | {"identity": {"rows": name, "parameters": "p", "base": "b", "packed": "yes"}, "sketch": {}}


def test_whose_adapter_does_not_say_its_name_copied_it_and_the_other_is_not_accused():
    rubric = {"points": {"own": 5, "rerun_says_new": 5}, "required": ["rerun_says_new"], "threshold": 80}
    honest, copy = fake("honest"), fake("copy", "rerun_says_new")
    mark_copies([honest, copy], rubric)
    assert own(honest)["status"] == "passed" and own(copy)["status"] == "failed" and copy["passed"] is False
    both = [fake("a"), fake("b")]
    mark_copies(both, rubric)
    assert [own(v)["status"] for v in both] == ["failed", "failed"] and both[0]["passed"] is False


def test_whom_a_training_again_proves_is_not_accused():
    rubric = {"points": {"own": 5}, "required": [], "threshold": 80}
    honest, copy = fake("honest"), fake("copy")
    for verdict, status in ((honest, "passed"), (copy, "skipped")):
        verdict["checks"].append(dict(verdict["checks"][1], check="retrained", status=status))
    mark_copies([honest, copy], rubric)
    assert own(honest)["status"] == "passed" and own(copy)["status"] == "failed"


SAME = {"rows": "r", "seed": "1", "parameters": "p", "base": "b", "packed": "yes"}


@pytest.mark.parametrize(
    "parts, change, copied",
    [
        ({"adapter", "losses", "answers"}, {}, set()),
        ({"adapter", "losses", "answers"}, {"base": None}, set()),
        ({"adapter", "losses", "answers"}, {"rows": "q"}, {"adapter", "losses"}),
        ({"answers"}, {"rows": "q"}, set()),
        ({"losses", "answers"}, {"rows": "q"}, set()),
        ({"losses"}, {"seed": "2"}, {"losses"}),
        ({"adapter", "losses", "the very losses"}, {"parameters": "q"}, set()),
        ({"losses", "equal losses"}, {"parameters": "q"}, {"losses"}),
        ({"adapter", "losses", "equal adapter"}, {"parameters": "q"}, {"adapter"}),
        ({"losses", "the very losses"}, {"rows": "q"}, {"losses"}),
        ({"losses", "times"}, {"rows": "q"}, {"losses", "times"}),
        ({"adapter", "times"}, {}, {"adapter", "times"}),
        ({"adapter", "times"}, {"packed": "no"}, set()),
        ({"adapter", "log"}, {"packed": "no"}, {"adapter", "log"}),
    ],
)
def test_what_cannot_be_honest(parts, change, copied):
    assert copied_parts(parts, SAME, SAME | change) == copied


def test_who_is_accused_does_not_pass_though_own_is_not_required(tmp_path):
    assert "own" not in shipped_rubric()["required"]
    files = {name: data for name, data in honest_files().items() if name not in (ADAPTER, RECORD)}
    (alone,) = judged(tmp_path, files)
    assert own(alone)["status"] == "passed"
