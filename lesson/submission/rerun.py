"""RERUN=1: load a submitted adapter onto the staff's own base, ask the staff's own questions, and count the answers.

This process (`python -m recipe.rerun`, from the full venv) is the only one of checking that imports torch. It reads a
line of JSON for each submission and answers with a line; make check and make check-all start it, give it time and
memory, and start another when it dies. Of the submission it takes the matrices, read by our own bounded parser, and
three things of the adapter's config that the checks have passed: rank, alpha and target modules. No code of it runs.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lesson.core.layout import base_model
from lesson.core.messages import UserError, language, set_language, tr
from lesson.core.settings import ROOT, Values
from lesson.core.strict_json import parse_strict_json
from lesson.core.text import fold_text, shorten
from lesson.data import rows
from lesson.data.questions import questions
from lesson.evaluation.asking import answer_chats, build_chat
from lesson.evaluation.loading import load_model, use_environment
from lesson.evaluation.questions import read_questions, read_system_prompts
from lesson.submission.archive import open_view
from lesson.submission.checks import rerun as _registered  # noqa: F401 (importing it registers its checks)
from lesson.submission.evidence import Broken, Evidence
from lesson.submission.registry import FAILED, PASSED, SKIPPED, UNJUDGED, Context, Unjudged, judge
from lesson.submission.scoring import clean, score

# Without these nothing is loaded: the file is sound, and rank, alpha, modules and sizes are what the checks expect.
BEFORE = ("opens", "adapter_format", "adapter_config", "adapter_shapes", "adapter_finite")
STARTING = {"tiny": 120, "7b": 900}  # seconds until the base is loaded; 15 GB may come from a slow disk
LONGEST = {"tiny": 120, "7b": 1200}  # seconds for one submission
MOST_MEMORY = {"tiny": 6 << 30, "7b": 96 << 30}  # bytes of data in this process
LONGEST_PERSONA = 2000  # characters of the submission's system prompt
SHOWN = 60  # answers that a report shows
# What would make another function of the same matrices; XTuner writes none of it.
PLAIN = {
    **dict.fromkeys(("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save"), None),
    **dict.fromkeys(("layers_to_transform", "layer_replication", "fan_in_fan_out", "lora_bias"), None),
    "bias": "none",
}


# --- on the side of the checker: no torch ------------------------------------------------------------------------------


def add(verdicts: Sequence[dict], paths: Sequence[str], rules: dict, values: Values, names: dict[str, str]) -> None:
    """Put the results of a rerun into each verdict and score it anew. Whatever goes wrong here is not the learner's."""
    questions = asked(values)  # a wrong QUESTIONS is told before anything is loaded
    workers: dict[str, Worker] = {}
    try:
        for verdict, path in zip(verdicts, paths, strict=True):
            status = {result["check"]: result["status"] for result in verdict["checks"]}
            missing = [
                result["title"]
                for result in verdict["checks"]
                if result["check"] in BEFORE and status[result["check"]] != PASSED
            ]
            verdict["rerun"] = {"base": "", "questions": len(questions), "seconds": 0.0, "answers": []}
            if missing:
                _all(verdict, SKIPPED, tr(f"needs: {missing[0]}", f"取决于：{missing[0]}"), "")
            else:
                profile = verdict["profile"] or "7b"
                try:
                    if profile not in workers:
                        workers[profile] = Worker(profile, values, questions)
                    found = workers[profile].judge(path, names)
                    own = {result["check"]: result for result in found["results"]}
                    verdict["checks"] = [own.get(result["check"], result) for result in verdict["checks"]]
                    verdict["rerun"] = found["rerun"]
                except Unjudged as error:
                    _all(verdict, UNJUDGED, str(error), error.remedy)
            clean(verdict["checks"])
            score(verdict, rules)
    finally:
        for worker in workers.values():
            worker.stop()


def _all(verdict: dict, status: str, found: str, remedy: str) -> None:
    for result in verdict["checks"]:
        if result["area"] == "rerun":
            result |= {"status": status, "found": found, "remedy": remedy}


def asked(values: Values) -> list[str]:
    """The staff's questions: QUESTIONS, else those of data/eval/identity.json. Raises UserError."""
    if values.questions:
        return questions(values.questions)
    return [question["input"] for question in read_questions("identity")]


def full_python() -> str:
    """The Python that has torch: this one, else the venv of make setup. Raises Unjudged."""
    import importlib.util

    if importlib.util.find_spec("torch"):
        return sys.executable
    python = Path(os.environ.get("VENV", ".venv")) / "bin" / "python"
    if python.exists():
        return str(python)
    raise Unjudged(tr("torch is not installed here", "这里没有安装 torch"), tr("run make setup", "请运行 make setup"))


class Worker:
    """The process that has the base of one profile loaded, and asks one submission after the other."""

    def __init__(self, profile: str, values: Values, questions: list[str]) -> None:
        build = values.text("BUILD") or f"build/{profile}"
        self.base = Path(values.model or base_model(Path(build)))
        self._profile, self._build, self._questions = profile, build, questions
        self._process: subprocess.Popen | None = None
        self._refused: Unjudged | None = None  # what is wrong with the base is wrong for all

    def judge(self, path: str, names: dict[str, str]) -> dict:
        """{"results": of the checks of a rerun, "rerun": what reports show}. Raises Unjudged."""
        if self._refused:
            raise self._refused
        if self._process is None:
            self._start()
        return self._said({"path": os.fspath(path), "names": names}, LONGEST[self._profile])

    def _start(self) -> None:
        remedy = tr("run make model, or set MODEL to the base's folder", "请运行 make model，或把 MODEL 设为基座目录")
        try:
            if not (self.base / "config.json").is_file():
                what = tr(f"{self.base}: no base model", f"{self.base}：没有基座模型")
                raise Unjudged(what, tr(f"{remedy} (PROFILE={self._profile})", f"{remedy}（PROFILE={self._profile}）"))
            python = full_python()
        except Unjudged as error:
            self._refused = error
            raise
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        found = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": found, "PYTHONUTF8": "1"}
        command = [python, "-m", "lesson.submission.rerun"]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        start = {"profile": self._profile, "build": self._build, "base": str(self.base), "language": language()}
        try:
            self._said(start | {"questions": self._questions}, STARTING[self._profile])
        except Unjudged as error:
            self._refused = error
            raise

    def _said(self, request: dict, seconds: float) -> dict:
        """One line there, one line back. Raises Unjudged when it does not come in time, or says that it cannot."""
        until = time.monotonic() + seconds
        line = b""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            pipe = self._process.stdout
            while not line.endswith(b"\n"):
                ready, _, _ = select.select([pipe], [], [], max(0, until - time.monotonic()))
                if not ready:
                    self.stop()
                    raise Unjudged(tr("asking took too long", "提问超时"), tr("try a faster machine", "请换更快的机器"))
                piece = os.read(pipe.fileno(), 1 << 16)
                if not piece:
                    break
                line += piece
        except BrokenPipeError:
            pass
        if not line.endswith(b"\n"):
            why = self._last_words()
            raise Unjudged(why, tr("make doctor tells what is missing", "make doctor 会指出缺少什么"))
        found = json.loads(line)
        if "unjudged" in found:
            raise Unjudged(*found["unjudged"])
        return found

    def _last_words(self) -> str:
        self.stop()
        self._errors.seek(0)
        said = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()
        return tr("the process that asks ended: ", "提问进程已结束：") + shorten(said[-1] if said else "?")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
            self._process = None


# --- on the side of the model ------------------------------------------------------------------------------------------


def matrices(evidence: Evidence) -> Iterator[tuple[str, str, object]]:
    """(module of the base, "A" or "B", tensor) of the adapter; A is (rank, inputs), B is (outputs, rank).

    Raises Broken for a file that is no safetensors, Unjudged for a name that is no LoRA matrix.
    """
    import torch

    from lesson.model import safetensors_file
    from lesson.submission.checks import adapter as check_adapter

    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    for tensor, data in safetensors_file.read_contents(evidence.view, evidence.parts["adapter"]):
        if not (check_adapter.MATRIX.fullmatch(tensor.name)):
            raise Broken(shorten(tensor.name))
        stem, _, side = tensor.name.removesuffix(".weight").removesuffix(".default").rpartition(".lora_")
        yield (
            stem.removeprefix("base_model.model."),
            side,
            torch.frombuffer(data, dtype=kinds[tensor.dtype]).reshape(tensor.shape),
        )


@contextlib.contextmanager
def adapted(model, evidence: Evidence) -> Iterator[None]:
    """The base with the submitted adapter beside its linear layers: output + alpha / rank × B A input, as LoRA has it.

    Forward hooks, taken off again afterwards, so that the base stays what it was for the next submission.
    Raises Unjudged for an adapter that is more than LoRA, or for another base.
    """
    config = evidence.adapter_config
    more = [
        key
        for key, plain in PLAIN.items()
        if (config.get(key) or None) != plain and not (key == "bias" and key not in config)
    ]
    if more:
        raise Unjudged(
            tr(f"the adapter is not plain LoRA: {more[0]}", f"不是普通的 LoRA：{more[0]}"),
            tr("ask it by hand", "请手动提问"),
        )
    scale = config["lora_alpha"] / config["r"]
    modules, pairs = dict(model.named_modules()), {}
    for name, side, tensor in matrices(evidence):
        base = modules.get(name)
        weight = getattr(base, "weight", None)
        if weight is None or weight.shape[side == "A"] != tensor.shape[side == "A"]:
            raise Unjudged(
                tr(f"{shorten(name)} does not fit the base here", f"{shorten(name)} 与这里的基座不符"),
                tr("set MODEL to the base that it was trained on", "请把 MODEL 设为训练所用的基座"),
            )
        pairs.setdefault(name, {})[side] = tensor.to(weight.device, weight.dtype)

    def hook(a, b):
        return lambda module, inputs, output: output + scale * (inputs[0] @ a.T) @ b.T

    hooks = [modules[name].register_forward_hook(hook(pair["A"], pair["B"])) for name, pair in pairs.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def trained_on(evidence: Evidence) -> set[str]:
    """The questions among the submitted rows, folded for comparison."""
    found = set()
    with evidence.view.open(evidence.parts["data"]) as stream:
        for _, line in rows.lines(stream):
            value = parse_strict_json((line or b"").decode(errors="replace"))[0] if line and line.strip() else None
            with contextlib.suppress(TypeError, KeyError):
                found |= {fold_text(turn["input"]) for turn in value["conversation"]}
    return found


def asked_again(tokenizer, model, path: str, names: dict[str, str], questions: list[str]) -> dict:
    """The results of the checks of a rerun on the submission at `path`, and what reports show of it."""
    started = time.perf_counter()
    with open_view(path) as view:
        evidence = Evidence(view, names)
        has_rows = "data" in evidence.parts
        known = trained_on(evidence) if has_rows else set()
        held = [question for question in questions if fold_text(question) not in known]
        persona = (evidence.data.persona if has_rows else None) or ""
        prompts = read_system_prompts(persona[:LONGEST_PERSONA])
        lines = [{"prompt": name, "input": question, "output": ""} for name in prompts for question in held]
        with adapted(model, evidence):
            chats = [build_chat(prompts[line["prompt"]], line["input"]) for line in lines]
            for line, answer in zip(lines, answer_chats(tokenizer, model, chats), strict=True):
                line["output"] = answer.text
        results = judge(evidence, Context(rerun=lines), ("rerun",))
        _other_base(results, evidence, Path(model.name_or_path))
    every = max(1, math.ceil(len(lines) / SHOWN))
    shown = [{"prompt": line["prompt"], "input": line["input"][:500], "output": line["output"][:500]} for line in lines]
    seconds = round(time.perf_counter() - started, 3)
    return {"results": results, "rerun": {"questions": len(held), "seconds": seconds, "answers": shown[::every]}}


def _other_base(results: list[dict], evidence: Evidence, folder: Path) -> None:
    """What failed on another base than the run's own says nothing: not judged then."""
    with contextlib.suppress(Broken, KeyError, OSError, ValueError, TypeError):
        theirs = evidence.record["inputs"]["base"]
        ours = json.loads(folder.with_name(folder.name + ".record.json").read_text(encoding="utf-8"))["output"]
        if theirs != ours:
            for result in results:
                if result["status"] == FAILED:
                    why = tr("the run was trained on another base than the one here: ", "训练所用基座与这里的不同：")
                    result |= {"status": UNJUDGED, "found": why + result["found"]}
                    result["remedy"] = tr("set MODEL to that base", "请把 MODEL 设为该基座")


def serve() -> int:
    """Read one request a line from stdin, write one answer a line. The first request names the base."""
    # Libraries print; what they print must not come between the lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(value: dict) -> None:
        out.write(json.dumps(value, allow_nan=False) + "\n")
        out.flush()

    start = json.loads(sys.stdin.readline())
    set_language(start["language"])
    profile, memory = start["profile"], MOST_MEMORY[start["profile"]]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    values = Values({"PROFILE": profile, "BUILD": start["build"]})
    use_environment(values)
    try:
        tokenizer, model = load_model(values, "base", folder=Path(start["base"]))
    except (UserError, OSError, ValueError, RuntimeError, ImportError) as error:
        remedy = getattr(error, "remedy", tr("run make model", "请运行 make model"))
        say({"unjudged": [f"{type(error).__name__}: {shorten(str(error))}", remedy]})
        return 0
    say({})

    for line in sys.stdin:
        request = json.loads(line)
        try:
            found = asked_again(tokenizer, model, request["path"], request["names"], start["questions"])
            found["rerun"]["base"] = start["base"]
            say(found)
        except Unjudged as error:
            say({"unjudged": [str(error), error.remedy]})
        except Exception as error:  # nothing in a submission may end the process for the next one
            what = f"{type(error).__name__}: {shorten(str(error))}"
            say({"unjudged": [what, tr("tell the staff", "请联系教师")]})
    return 0


if __name__ == "__main__":
    sys.exit(serve())
