"""What was typed after `make`, judged before anything runs: targets that there are, variables that they use.

Standard library only, and for any Python 3: `make` asks before it is known which Python is there.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from lesson.core.messages import tr
from lesson.core.settings import SETTINGS, TRAINING
from lesson.install.help import ALWAYS_TAKEN, TARGET, read_targets

# The Makefile's own, for every target.
OF_MAKE = ("PYTHON", "VENV", "CHECK_VENV", "MUTANTS_VENV", "PY", "CHECK_PY", "COMPILE", "SHELL", "MAKE", "MAKEFLAGS")
# Variables of the libraries and of the system, which make hands on to them.
OF_OTHERS = re.compile(
    r"(CUDA|HF|NCCL|OMP|MKL|OPENBLAS|TORCH|PYTORCH|TRANSFORMERS|PYTHON|XTUNER|WANDB|SWANLAB|TOKENIZERS|PIP|UV|TRITON|DS|DEEPSPEED"
    r"|MODELSCOPE|XDG|PYTEST|HYPOTHESIS|SLURM|BNB|GRADIO|GIT|SSL|REQUESTS|CURL|LC|LD|GLOO|ATEN|DNNL|NVIDIA)_\w+"
    r"|(HTTPS?|NO|ALL|https?|no|all)_(PROXY|proxy)|TMPDIR|HOME|PATH|USER|TERM|COLUMNS|NO_COLOR|TZ|CI|CC|CXX|DISPLAY|PYTHON\w+"
    r"|GITHUB_\w+|SCREENSHOTS"
)
# What people type who know other tools.
ALIASES = {
    "NAME": ("NEW_NAME",),
    "WANDB": ("TRACKER",),
    "SWANLAB": ("TRACKER",),
    "LEARNINGRATE": ("LR",),
    "BATCHSIZE": ("BATCH",),
    "ACCUMULATION": ("ACCUM",),
    "ACCUMULATIVECOUNTS": ("ACCUM",),
    "LENGTH": ("MAX_LENGTH",),
    "NUMWORKERS": ("WORKERS",),
    "WARMUPRATIO": ("WARMUP",),
    "GPUS": ("NPROC_PER_NODE",),
    "DATA": ("SRC",),
    "DATASET": ("SRC",),
    "BASE": ("MODEL",),
    "OUTPUT": ("OUT", "BUILD"),
    "WORKDIR": ("BUILD",),
}


def uses_of_targets(makefile: str) -> dict[str, set[str]]:
    """{target: variables that it or a target that it runs before uses}, for every target of the Makefile."""
    taken = {target.name: set(target.variables) for target in read_targets(makefile)}
    runs: dict[str, set[str]] = {name: set() for name in taken}
    current = ""
    for line in makefile.splitlines():
        if match := TARGET.match(line):
            current = match[1]
            runs[current] |= set(re.findall(r"[a-z][a-z0-9-]*", line.partition(":")[2].partition("##")[0]))
        elif line.startswith("\t") and "$(MAKE)" in line:
            runs[current] |= set(re.findall(r"\$\(MAKE\)[^&]* ([a-z][a-z0-9-]*)", line))

    def collect(name: str, seen: set[str]) -> set[str]:
        before = runs[name] & taken.keys() - seen
        return taken[name].union(*(collect(other, seen | {name}) for other in before))

    training = {setting.name for setting in TRAINING}
    uses = {name: collect(name, {name}) for name in taken}
    return {name: used - {"training"} | (training if "training" in used else set()) for name, used in uses.items()}


def judge_command_line(
    makefile: str, goals: Sequence[str], given: Sequence[str], environment: Mapping[str, str]
) -> str | None:
    """What is wrong with the targets `goals`, the variables `given` after make, or nearly one in the environment.

    None when nothing is. The text is one line: what, and what to type instead.
    """
    uses = uses_of_targets(makefile)
    known = {*uses, "help"}
    goals = [goal for goal in goals if "/" not in goal or goal in known or "＝" in goal]  # a path is a file to make
    for goal in goals:
        if goal not in known:
            return _unknown_goal(goal, [g for g in goals if g not in known], given, known)
    used = set().union(*(uses.get(goal, set()) for goal in goals)) | set(ALWAYS_TAKEN)
    for name in given:
        if name in OF_MAKE or OF_OTHERS.fullmatch(name) or name in used:
            continue
        if name in SETTINGS:
            if goals and goals != ["help"]:
                return _unused(name, goals, uses, used)
        else:
            return _unknown_variable(name, used)
    for name in environment:
        close = next((s for s in sorted(used) if "_" in s and s != name and _letters(s) == _letters(name)), None)
        if close and name not in SETTINGS and close not in environment:
            found = tr(f"{name} in the environment is no variable", f"环境变量 {name} 不是本项目的变量")
            return found + tr("; ", "；") + tr(f"set {close}, or unset {name}", f"请设 {close}，或 unset {name}")
    return None


def _letters(name: str) -> str:
    """A name without what people vary: width, case, hyphens."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", name)).upper()


def _unknown_goal(goal: str, unknown: list[str], given: Sequence[str], known: Iterable[str]) -> str:
    if "＝" in goal or "﹦" in goal:
        typed = re.sub("[＝﹦]", "=", goal)
        found = tr(f"{goal}: the sign is full-width", f"{goal}：等号是全角的")
        return found + tr("; ", "；") + tr(f"type {typed}", f"请输入 {typed}")
    close = difflib.get_close_matches(goal.lower().replace("_", "-"), known, 1, 0.6)
    found = tr(f"{goal}: no such target", f"{goal}：没有这个目标")
    if close:
        return found + tr("; ", "；") + tr(f"did you mean make {close[0]}?", f"是不是 make {close[0]}？")
    if given:
        typed = f"{given[-1]}='… {' '.join(unknown)}'"
        quote = tr(f"a value with a space needs quotes: {typed}", f"含空格的值要加引号：{typed}")
        return found + tr("; ", "；") + quote
    return found + tr("; ", "；") + tr("make lists them", "运行 make 可列出全部目标")


def _unknown_variable(name: str, used: set[str]) -> str:
    """A variable that nothing reads: the nearest of those that the targets use comes first."""
    found = tr(f"{name}=…: no such variable", f"{name}=…：没有这个变量")
    return found + tr("; ", "；") + _nearest(name, used)


def _nearest(name: str, used: set[str]) -> str:
    letters = _letters(name)
    for names in (used, set(SETTINGS)):
        by_letters = {_letters(known): known for known in sorted(names)}
        meant = [known for known in ALIASES.get(letters, ()) if known in names]
        close = [by_letters[found] for found in difflib.get_close_matches(letters, by_letters, 1, 0.7)]
        parts = [by_letters[k] for k in by_letters if min(len(k), len(letters)) > 2 and (letters in k or k in letters)]
        for found in (*meant, *close, *parts):
            return tr(f"did you mean {found}=?", f"是不是 {found}=？")
    return tr("make lists the variables", "运行 make 可列出全部变量")


def _unused(name: str, goals: Sequence[str], uses: Mapping[str, set[str]], used: set[str]) -> str:
    """A variable that other targets use, and none of these."""
    others = [target for target, taken in uses.items() if name in taken]
    shown = ", ".join(others[:6]) + (", …" if len(others) > 6 else "")
    goal = " ".join(goals)
    found = tr(f"{name}=…: make {goal} does not use it", f"{name}=…：make {goal} 不用它")
    where = tr(f"it belongs to {shown}", f"它用于 {shown}") if others else tr("no target does", "没有目标用它")
    letters = _letters(name)
    near = [known for known in ALIASES.get(letters, ()) if known in used]
    near += [known for known in sorted(used) if len(letters) > 2 and letters in _letters(known)]
    if near:
        where += tr(f"; did you mean {near[0]}=?", f"；是不是 {near[0]}=？")
    return found + tr("; ", "；") + where
