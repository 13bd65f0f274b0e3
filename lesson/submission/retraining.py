"""RETRAIN=: the staff train again from a submission's rows and figures, with their own recipe on their own base.

Of the submission go in: its rows, byte for byte, and the figures of its config (training_facts.py), as settings. The
stages run as processes of their own (python -m recipe.config, recipe.train, …) in a folder that is thrown away. Nothing of
the submission is executed. What comes out is held against what was handed in by checks/retrain.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.layout import base_model, changed_rows, config_file, runs_folder
from lesson.core.machine import describe_machine, has_nvidia_driver
from lesson.core.messages import language, tr
from lesson.core.settings import ROOT, SETTINGS, Values
from lesson.core.text import shorten
from lesson.runs.curve import CURVE, read_curve
from lesson.submission.asking import find_full_python
from lesson.submission.processes import JudgingProcess
from lesson.submission.registry import PASSED, SKIPPED, UNJUDGED, Unjudged
from lesson.submission.scoring import award_points, bound_texts
from lesson.submission.trained_again import Retrained
from lesson.submission.training_facts import compared_figures

# Without these nothing is trained: rows and config are sound, and are about the run that was handed in.
BEFORE = ("opens", "data_rules", "replaced", "config_only", "finished", "adapter_format", "adapter_shapes")
STEPS = {"tiny": 0, "small": 0, "7b": 20}  # trained again where STEPS is not given; 0: all
LONGEST = {"tiny": 1800, "small": 4 * 3600, "7b": 4 * 3600}  # seconds of one training
PREPARING = 1800  # seconds of any other stage; 15 GB are hashed
MOST_MEMORY = {"tiny": 8 << 30, "small": 48 << 30, "7b": 192 << 30}  # bytes of data of a stage


def add_retrainings(
    verdicts: list[dict], paths: Sequence[str], rubric: dict, values: Values, names: dict[str, str], draw: bool
) -> None:
    """Train again and put the results into the verdicts: of all, or with `draw` of RETRAIN of those that may pass yet,
    drawn by a seed that the verdicts tell. What goes wrong on the staff's side is not the learner's."""
    chosen, seed = list(range(len(paths))), None
    if draw:
        seed = int(values.text("DRAW")) if values.given("DRAW") else secrets.randbelow(10**9)
        open_yet = [n for n in chosen if verdicts[n]["passed"] is not False]
        chosen = sorted(random.Random(seed).sample(open_yet, min(values.retrain, len(open_yet))))
    known: dict[str, Retrained | Unjudged] = {}  # the same rows and figures are trained once
    with tempfile.TemporaryDirectory(prefix="retrain.") as scratch:
        for index in chosen:
            verdict = verdicts[index]
            verdict["retrain"] = {"steps": 0, "of": 0, "seconds": 0.0, "seed": seed}
            missing = [r["title"] for r in verdict["checks"] if r["check"] in BEFORE and r["status"] != PASSED]
            if missing:
                _set_result(verdict, SKIPPED, tr(f"needs: {missing[0]}", f"取决于：{missing[0]}"), "")
            else:
                try:
                    _retrain_one(verdict, paths[index], Path(scratch), rubric, values, names, known)
                except Unjudged as error:
                    _set_result(verdict, UNJUDGED, str(error), error.remedy)
            bound_texts(verdict["checks"])
            award_points(verdict, rubric)


def _set_result(verdict: dict, status: str, found: str, remedy: str) -> None:
    for result in verdict["checks"]:
        if result["area"] == "retrain":
            result |= {"status": status, "found": found, "remedy": remedy}


def _retrain_one(
    verdict: dict,
    path: str,
    scratch: Path,
    rubric: dict,
    values: Values,
    names: dict[str, str],
    known: dict[str, Retrained | Unjudged],
) -> None:
    from lesson.submission.checks.retrain import check_retrained, read_task  # with all that judging needs

    build = Path(tempfile.mkdtemp(dir=scratch))
    task = JudgingProcess(path, lambda _: read_task(path, names, changed_rows(build))).wait(rubric)
    if "settings" not in task:  # the process did not come back, or a figure is none of this recipe's
        why = task.get("unjudged") or [task["checks"][0]["found"], tr("look at it by hand", "请人工查看")]
        raise Unjudged(*why)
    key = hashlib.sha256(json.dumps([task["rows"], task["settings"]], sort_keys=True).encode()).hexdigest()
    if key not in known:
        try:
            known[key] = train_again(task["settings"], task["figures"], build, values)
        except Unjudged as error:
            known[key] = error
    done = known[key]
    if isinstance(done, Unjudged):
        raise done
    found = JudgingProcess(path, lambda _: check_retrained(path, names, done)).wait(rubric)
    results = {result["check"]: result for result in found.get("results", [])}
    if not results:
        raise Unjudged(found["checks"][0]["found"], tr("tell the staff", "请联系教师"))
    verdict["checks"] = [results.get(result["check"], result) for result in verdict["checks"]]
    verdict["retrain"] |= {"steps": len(done.losses), "of": done.total, "seconds": round(done.seconds, 1)}


def train_again(settings: dict[str, str], figures: dict, build: Path, values: Values) -> Retrained:
    """Make base, config and training from the rows in `build` by `settings`; the config must have the `figures`.

    Raises Unjudged when the base is missing, a stage fails or takes too long, or the recipe makes other figures.
    """
    profile = settings["PROFILE"]
    if profile == "7b" and not has_nvidia_driver():
        raise Unjudged(tr("7B is trained on a GPU, and none is here", "7B 需要显卡训练，这里没有"), "PROFILE=7b")
    run = _Stages(settings, build, values)
    run.stage("model", PREPARING)
    run.stage("config", PREPARING)
    made = compared_figures(summary_of(config_file(build, settings["BASE_CONFIG"])))
    different = [name for name, value in figures.items() if made.get(name) != value]
    if different:
        shown = ", ".join(
            f"{name}: {shorten(str(figures[name]))} ≠ {shorten(str(made.get(name)))}" for name in different
        )
        what = tr(f"this recipe makes another training: {shown}", f"这里只能做出另一种训练：{shown}")
        raise Unjudged(what, tr("look at it by hand", "请人工查看"))
    return run.train(int(values.text("STEPS") or STEPS[profile]))


class _Stages:
    """The stages of this recipe as processes, in a BUILD folder of their own."""

    def __init__(self, settings: dict[str, str], build: Path, values: Values) -> None:
        self._build, self._profile, self._python = build, settings["PROFILE"], find_full_python()
        inherited = {key: value for key, value in os.environ.items() if key not in SETTINGS}
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environment = {**inherited, "PYTHONPATH": path, "PYTHONUTF8": "1", "LANG": f"{language()}.UTF-8"}
        self._environment |= {**settings, "BUILD": str(build)} | self._base_of(values)

    def _base_of(self, values: Values) -> dict[str, str]:
        """MODEL: the staff's base; empty for the tiny one that ships. Raises Unjudged where there is none."""
        folder = Path(values.model or base_model(Path(values.text("BUILD") or f"build/{self._profile}")))
        if not values.model and self._profile == "tiny":
            return {}
        if not (folder / "config.json").is_file():
            remedy = tr(
                "run make model, or set MODEL to the base's folder", "请运行 make model，或把 MODEL 设为基座目录"
            )
            raise Unjudged(
                tr(f"{folder}: no base model", f"{folder}：没有基座模型"), f"{remedy} (PROFILE={self._profile})"
            )
        return {"MODEL": str(folder.resolve())}

    def _start(self, name: str, output: object, *arguments: str) -> subprocess.Popen:
        import resource

        memory = MOST_MEMORY[self._profile]
        return subprocess.Popen(
            [self._python, "-m", f"recipe.{name}", *arguments],
            **{"env": self._environment, "cwd": ROOT, "stdin": subprocess.DEVNULL, "stdout": output},
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (memory, memory)),
        )

    def stage(self, name: str, seconds: float, *arguments: str) -> str:
        """What recipe.NAME prints. Raises Unjudged when it fails or takes longer."""
        with tempfile.TemporaryFile() as output:
            self._wait(self._start(name, output, *arguments), name, seconds, output, lambda: False)
            output.seek(0)
            return output.read().decode(errors="replace")

    def _wait(
        self, process: subprocess.Popen, name: str, seconds: float, output: object, enough: Callable[[], bool]
    ) -> None:
        """Wait for the end, or until it is `enough`. Raises Unjudged for a failure or after `seconds`."""
        until = time.monotonic() + seconds
        try:
            while process.poll() is None:
                if enough():
                    return
                if time.monotonic() > until:
                    what = tr(f"make {name} took more than {seconds:g} s", f"make {name} 超过 {seconds:g} 秒")
                    raise Unjudged(what, tr("set STEPS= to fewer steps", "请用 STEPS= 减少步数"))
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode != 0:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
            raise Unjudged(f"make {name}: {shorten(lines[-1] if lines else str(process.returncode))}", "make doctor")

    def train(self, steps: int) -> Retrained:
        """Train the first `steps` steps; 0, or all there are: to the end, with the adapter."""
        started = time.monotonic()

        def curve() -> list[dict]:
            files = list(runs_folder(self._build).glob(f"*/work_dir/{CURVE}"))
            return read_curve(files[0]) if files else []

        def enough() -> bool:
            head = curve()
            return bool(steps and head and steps < head[0]["total"] and len(head) > steps)

        with tempfile.TemporaryFile() as output:
            self._wait(self._start("train", output), "train", LONGEST[self._profile], output, enough)
        head, *found = curve()
        losses = {line["step"]: line["loss"] for line in found[: steps or None]}
        adapter = None
        if len(losses) == head["total"]:
            self.stage("convert", PREPARING)
            [adapter] = runs_folder(self._build).glob("*/adapter/adapter_model.safetensors")
        machine = describe_machine(with_gpu=self._profile != "tiny")
        seconds = time.monotonic() - started
        return Retrained(losses, head["total"], machine, self._versions(), self._base_hash(), seconds, adapter)

    def _versions(self) -> dict[str, str]:
        """{package: version} of the Python that trained, and its own."""
        code = (
            "import json, platform; from importlib.metadata import distributions as d;"
            "print(json.dumps({x.metadata['Name'].lower(): x.version for x in d()} | {'python': platform.python_version()}))"
        )
        done = subprocess.run(
            [self._python, "-c", code], capture_output=True, text=True, env=self._environment, check=True
        )
        return json.loads(done.stdout)

    def _base_hash(self) -> str | None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            folder = base_model(self._build)
            return json.loads(folder.with_name(folder.name + ".record.json").read_text(encoding="utf-8"))["output"]
        return None
