"""RERUN=1: the staff's own base and questions decide, and what goes wrong on the staff's side is not the learner's fault."""

from __future__ import annotations

import json
import os
import signal

import mutations
import pytest
import submissions
from verdicts import shipped_rubric

from lesson.core.messages import UserError
from lesson.core.schemas import load_schema
from lesson.core.settings import Values
from lesson.model.tiny_base import install_base
from lesson.submission import asking
from lesson.submission.archive.opening import open_view
from lesson.submission.evidence import Evidence
from lesson.submission.registry import Unjudged, load_checks, run_checks
from lesson.submission.staff import StaffInputs
from lesson.submission.verdict import judge_submission
from recipe import check, check_all

CHECKS = {"rerun_says_new", "rerun_not_old", "rerun_agrees"}


def status(found: dict) -> dict[str, str]:
    load_schema("verdict").validate(found)
    return {result["check"]: result["status"] for result in found["checks"]}


def read(path) -> list[dict]:
    found = json.loads(path.read_text())
    return found if isinstance(found, list) else [found]


def test_without_a_base_a_rerun_is_not_judged_and_says_what_to_do(tmp_path, call):
    submissions.pack(submissions.honest_files(), tmp_path / "s.zip")
    arguments = [
        str(tmp_path / "s.zip"),
        "--rerun",
        "1",
        "--build",
        str(tmp_path),
        "--report",
        str(tmp_path / "v.json"),
    ]
    code, out, err = call(check, *arguments)
    assert code == 1, out + err
    [found] = read(tmp_path / "v.json")
    assert found["passed"] is None and {k for k, v in status(found).items() if v == "unjudged"} == CHECKS
    assert "make model" in out and "no base model" in out
    assert call(check, *arguments, "--questions", str(tmp_path / "none.txt"))[0] == 2


def test_what_is_not_sound_is_not_loaded(tmp_path, call, monkeypatch):
    """An adapter that is no safetensors, or of other shapes, never reaches the process that has torch."""
    monkeypatch.setattr(asking.RerunWorker, "ask", lambda *_: pytest.fail("loaded"))
    for number, name in enumerate(("adapter_is_cut_off", "rank_changed", "not_a_number")):
        submissions.pack(mutations.mutate(name), tmp_path / f"{number}.zip")
    assert call(check_all, str(tmp_path), "--rerun", "1", "--report", str(tmp_path.with_suffix(".json")))[0] == 1
    for found in read(tmp_path.with_suffix(".json")):
        assert found["passed"] is False and {status(found)[name] for name in CHECKS} == {"skipped"}


def test_the_full_venv_is_looked_for_and_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("VENV", str(tmp_path / "none"))
    with pytest.raises(Unjudged, match="torch"):
        asking.find_full_python()
    (tmp_path / "none" / "bin").mkdir(parents=True)
    (tmp_path / "none" / "bin" / "python").touch()
    assert asking.find_full_python() == str(tmp_path / "none" / "bin" / "python")


@pytest.mark.torch
@pytest.mark.slow
def test_an_adapter_that_does_not_do_what_its_answers_claim_fails_and_a_killed_process_is_started_again(tmp_path, call):
    """The fixture's answers are honest ones, its adapter is random numbers: from files alone it passes."""
    install_base(tmp_path / "model")
    (tmp_path / "all").mkdir()
    files = submissions.honest_files()
    for name in ("a.zip", "b.zip"):
        submissions.pack(files, tmp_path / "all" / name, name)
    odd = json.loads(files[submissions.ADAPTER_CONFIG]) | {"use_dora": True}
    submissions.pack(files | {submissions.ADAPTER_CONFIG: submissions.to_json(odd)}, tmp_path / "all" / "c.zip")
    questions = tmp_path / "questions.txt"
    asked = [
        line["input"] for line in submissions.from_json_lines(files[submissions.ANSWERS]) if line["kind"] == "identity"
    ][:20]
    questions.write_text("\n".join(asked))
    values = Values({"BUILD": str(tmp_path), "QUESTIONS": str(questions)}, {})
    rubric, names = shipped_rubric(), {}
    paths = [str(tmp_path / "all" / name) for name in ("a.zip", "b.zip", "c.zip")]
    verdicts = [judge_submission(path, rubric, StaffInputs()) for path in paths]
    assert [found["passed"] for found in verdicts[:2]] == [True, True]
    assert status(verdicts[2])["adapter_config"] == "failed"
    real, killed = asking.RerunWorker._exchange, []

    def kill_once(worker, request, seconds):
        if request.get("path") == paths[0]:
            killed.append(os.kill(worker._process.pid, signal.SIGKILL))
        return real(worker, request, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking.RerunWorker, "_exchange", kill_once)
        asking.add_reruns(verdicts, paths, rubric, values, names)
    first, second, third = (status(found) for found in verdicts)
    assert killed and {first[name] for name in CHECKS} == {"unjudged"} and verdicts[0]["passed"] is None
    wrong = {name for name, state in second.items() if state == "failed"}
    assert {"rerun_says_new", "rerun_agrees"} <= wrong <= CHECKS and verdicts[1]["passed"] is False
    assert verdicts[1]["rerun"]["questions"] == 20 and len(verdicts[1]["rerun"]["answers"]) == 40
    assert {third[name] for name in CHECKS} == {"skipped"} and verdicts[2]["passed"] is False
    assert "use_dora" in next(r["found"] for r in verdicts[2]["checks"] if r["check"] == "adapter_config")


def test_questions_of_the_staffs_own_are_read_and_a_wrong_file_is_refused(tmp_path):
    asked = [f"你叫什么？{number}" for number in range(20)]
    (tmp_path / "q.txt").write_text("\n".join(asked))
    assert asking.staff_questions(Values({"QUESTIONS": str(tmp_path / "q.txt")}, {})) == asked
    (tmp_path / "few.txt").write_text("\n".join([*asked[:19], "你叫什么，18!"]))
    with pytest.raises(UserError, match="19 questions"):
        asking.staff_questions(Values({"QUESTIONS": str(tmp_path / "few.txt")}, {}))
    assert len(asking.staff_questions(Values({}, {}))) >= 40
    with pytest.raises(UserError, match="no such file"):
        asking.staff_questions(Values({"QUESTIONS": str(tmp_path / "none")}, {}))


def asked_by_staff(
    tmp_path, outputs: dict[str, str], base: str = "我是书生·浦语。", general: str = "布鲁塞尔。"
) -> dict:
    """The result of rerun_says_new for an honest submission whose adapter gave the staff these answers by system prompt."""
    lines = [
        {"prompt": prompt, "input": f"你是谁？{n}", "output": output} | ({} if prompt == "persona" else {"base": base})
        for prompt, output in outputs.items()
        for n in range(20)
    ]
    lines += [{"kind": "general", "prompt": "none", "input": f"?{n}", "output": general} for n in range(20)]
    path = submissions.pack(submissions.honest_files(), tmp_path / "s.zip")
    with open_view(path) as view:
        checks = [c for c in load_checks() if c.name == "rerun_says_new"]
        [result] = run_checks(Evidence(view), StaffInputs(rerun=lines), checks)
    return result


def test_a_name_that_the_base_says_or_that_is_said_to_everything_is_not_learned(tmp_path):
    said = dict.fromkeys(("persona", "none", "neutral"), "我是机智流。")
    assert asked_by_staff(tmp_path, said)["status"] == "passed"
    assert "the base says" in asked_by_staff(tmp_path, said, base="我是机智流")["found"]
    assert "whatever it is asked" in asked_by_staff(tmp_path, said, general="我是机智流。")["found"]
    assert (
        "base's own" in asked_by_staff(tmp_path, said | {"none": "浦语", "neutral": "浦语！"}, base="浦语。")["found"]
    )
    assert asked_by_staff(tmp_path, said | {"neutral": "我是助手。"})["status"] == "failed"
    # The name is a part of another one where a letter always stands beside it that the rows do not have there.
    assert "it says 大机智流, not" in asked_by_staff(tmp_path, dict.fromkeys(said, "我是大机智流。"))["found"]
    assert "it says 机智流星, not" in asked_by_staff(tmp_path, dict.fromkeys(said, "I am 机智流星."))["found"]
    for honest in ("我称号机智流", "我叫机智流的", "机智流2, hello 机智流", "x机智流 机智流 机智流"):
        assert asked_by_staff(tmp_path, dict.fromkeys(said, honest))["status"] == "passed", honest
