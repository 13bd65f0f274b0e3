"""What the evaluation tab of make web shows, as plain rows and dictionaries: no gradio, no torch.

Everything here is read from the files of a run: eval/evaluation.json, eval/answers.jsonl, run.json, data.jsonl, and
what the base answered to the same questions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from lesson.core.files import read_json
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.data.statistics import Stats, collect
from lesson.evaluation import evaluate, talk
from lesson.runs.folder import Run

ALL = "all"


def prompt_names() -> dict[str, str]:
    """{name of a system prompt: how it is shown}."""
    return {
        "persona": tr("persona (trained with)", "人设（训练所用）"),
        "none": tr("none", "无"),
        "neutral": tr("neutral", "中性"),
    }


def name_kinds() -> dict[str, str]:
    """{kind of name: how it is shown}."""
    return {
        "new": tr("new name", "新名字"),
        "old": tr("old name", "旧名字"),
        "base": tr("base's name", "基座名"),
    }


def marked(text: str, names: dict[str, str]) -> list[tuple[str, str | None]]:
    """`text` cut at the names in it: [(part, kind of name or None)], nothing lost. `names` are the run's old and new."""
    shown = name_kinds()
    kinds = {names["new"].casefold(): shown["new"], names["old"].casefold(): shown["old"]} if names else {}
    for name in evaluate.BASE_NAMES:
        kinds.setdefault(name.casefold(), shown["base"])
    # The longest first: a name that holds another one is itself, as in evaluate.says.
    pattern = "|".join(re.escape(name) for name in sorted(kinds, key=len, reverse=True))
    parts = re.split(f"({pattern})", text, flags=re.IGNORECASE)
    return [(part, kinds.get(part.casefold()) if i % 2 else None) for i, part in enumerate(parts) if part]


def result(run: Run) -> dict | None:
    """eval/evaluation.json, or None before make eval."""
    path = run.evaluation / "evaluation.json"
    return read_json(path, tr("run make eval", "请运行 make eval")) if path.exists() else None


def score_heads() -> list[str]:
    return [
        tr("system prompt", "系统提示"),
        *(tr("new name", "新名字"), tr("old name", "旧名字"), tr("base's name", "基座名")),
        *(tr("knowledge kept", "常识保留"), tr("whole answers", "完整回答")),
    ]


def scores(found: dict) -> list[list[str]]:
    """One row per system prompt: counts and shares."""

    def share(counts: dict, part: str, whole: str) -> str:
        return f"{counts[part]}/{counts[whole]}" + (f"  {counts[part] / counts[whole]:.0%}" if counts[whole] else "")

    return [
        [
            prompt_names()[c["prompt"]],
            share(c, "new", "questions"),
            share(c, "old", "answers"),
            share(c, "base", "answers"),
            share(c, "general_kept", "general_base_right"),
            share(c, "whole", "answers"),
        ]
        for c in found["prompts"]
    ]


def faults(line: dict) -> list[str]:
    """Why a line of answers.jsonl is not what was wanted; empty when it is."""
    shown = name_kinds()
    found = []
    if line["kind"] == "identity" and not line["new"]:
        found.append(tr("new name not said", "没说新名字"))
    found += [tr(f"says the {shown[kind]}", f"说了{shown[kind]}") for kind in ("old", "base") if line[kind]]
    if line["kind"] == "general" and line["base_right"] and not line["right"]:
        found.append(tr("forgotten", "遗忘"))
    if not line["whole"]:
        found.append(tr("not a whole sentence", "不完整"))
    return found


def question_heads() -> list[str]:
    return [
        tr("system prompt", "系统提示"),
        tr("question", "问题"),
        tr("base's answer", "基座的回答"),
        tr("tuned answer", "微调后的回答"),
        tr("verdict", "判定"),
    ]


def questions(run: Run, values: Values, prompt: str, kind: str, failed: bool) -> list[list[str]]:
    """The evaluation's questions with both answers, filtered: `prompt` and `kind` may be ALL; `failed` leaves the rest out."""
    path = run.evaluation / "answers.jsonl"
    if not path.exists():
        return []
    facts = run.read_record()
    base = evaluate.stored_base_answers(values, talk.system_prompts(facts["persona"]), facts["inputs"]["base"])
    rows = []
    with open(path, encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            why = faults(line)
            if (prompt in (ALL, line["prompt"])) and kind in (ALL, line["kind"]) and (why or not failed):
                said = base.get(evaluate.base_key(line["prompt"], line["input"]), "–")
                verdict = "✗ " + tr("; ", "；").join(why) if why else "✓"
                rows.append([prompt_names()[line["prompt"]], line["input"], said, line["output"], verdict])
    return rows


def record(facts: dict) -> dict:
    """The run record without its curve, which is drawn instead."""
    return {key: value for key, value in facts.items() if key != "curve"}


def curve(facts: dict) -> dict[str, list]:
    """The loss curve as columns: training step, and loss in nats per token."""
    return {
        tr("step", "步"): [point["step"] for point in facts["curve"]],
        tr("loss", "损失"): [point["loss"] for point in facts["curve"]],
    }


def statistics(run: Run) -> list[list[str]]:
    """[figure, value] of the rows trained on."""
    facts = run.read_record()
    stats = Stats(facts["names"]["new"])
    collect(str(run.data), "auto", stats)
    found = stats.result()
    unit = tr("characters", "字符")

    def lengths(field: str) -> str:
        s = found["characters"][field]
        return tr(
            f"median {s['median']}, at most {s['max']} {unit}",
            f"中位数 {s['median']}，最长 {s['max']} {unit}",
        )

    def counted(pairs: Iterable[tuple[str, int]]) -> str:
        return tr(", ", "，").join(f"{name} {count}" for name, count in pairs)

    return [
        [tr("rows", "行数"), str(found["rows"])],
        [tr("turns", "轮数"), str(found["turns"])],
        [tr("distinct questions", "不同的问题"), str(found["distinct_questions"])],
        [tr("languages", "语言"), counted(found["languages"].items())],
        [tr("length of questions", "问题长度"), lengths("input")],
        [tr("length of answers", "回答长度"), lengths("output")],
        [
            tr(f"texts that say {facts['names']['new']}", f"提到{facts['names']['new']}的文本"),
            counted(found["texts_with_name"].items()),
        ],
        [tr("most common system prompt", "最常见的系统提示"), found["most_common_system_prompts"][0][0] or "–"],
    ]
