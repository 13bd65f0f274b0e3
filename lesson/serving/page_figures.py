"""What the evaluation tab of the page shows, as plain rows and dictionaries: no gradio, no torch.

Everything here is read from the files of a run: eval/evaluation.json, eval/answers.jsonl, run.json, data.jsonl, and
what the base answered to the same questions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from lesson.core.messages import tr
from lesson.core.schemas import read_document
from lesson.core.settings import Values
from lesson.data.statistics import RowStatistics, collect_statistics
from lesson.evaluation.base_answers import answer_key, read_base_answers
from lesson.evaluation.held_out import read_system_prompts
from lesson.evaluation.intervals import wilson_interval
from lesson.evaluation.judging import BASE_NAMES
from lesson.runs.folder import Run
from lesson.serving.page_tables import make_table

ALL, FAILED = "all", "failed"
# gradio lays them over the block's colour at half strength and writes the name in black; the page's CSS makes that white
# in the dark theme. The small label beside it is white on the whole colour. Each has a contrast of at least 4.5 to 1 (WCAG
# 2.2, 1.4.3).
COLORS = {"new": "#15803d", "old": "#b91c1c", "base": "#c2410c"}


def label_prompts() -> dict[str, str]:
    """{name of a system prompt: how it is shown}."""
    return {
        "persona": tr("persona (trained with)", "人设（训练所用）"),
        "none": tr("none", "无"),
        "neutral": tr("neutral", "中性"),
        "default": tr("the base's default", "基座默认"),
    }


def label_name_kinds() -> dict[str, str]:
    """{kind of name: how it is shown}."""
    return {
        "new": tr("new name", "新名字"),
        "old": tr("old name", "旧名字"),
        "base": tr("base's name", "基座名"),
    }


def label_bar(bar: str) -> str:
    """How a bar of evaluation.json is shown: `new`, `polluted`, or `new.en` and the like."""
    name, _, part = bar.partition(".")
    shown = {
        **label_name_kinds(),
        "other": tr("another assistant's name", "其他助手的名字"),
        "general_kept": tr("knowledge kept", "常识保留"),
        "polluted": tr("name said unasked", "没人问却报名字"),
        "whole": tr("whole answers", "完整回答"),
        "choices": tr("multiple-choice questions lost", "不再答对的选择题"),
        "identity_whole": tr("whole answers about itself", "完整的自我介绍"),
    }
    parts = {
        "zh": tr("Chinese", "中文"),
        "en": tr("English", "英文"),
        "old": tr("asked by the old name", "用旧名字问"),
        "other": tr("asked by another's name", "用别的名字问"),
        "pressed2": tr("pressed twice", "追问两轮"),
        "pressed3": tr("pressed three times", "追问三轮"),
    }
    return shown.get(name, name) + (f" ({parts.get(part, part)})" if part else "")


def mark_names(
    text: str, names: dict[str, str], base_names: Sequence[str] = BASE_NAMES
) -> list[tuple[str, str | None]]:
    """`text` cut at the names in it: [(part, kind of name or None)], nothing lost.

    `names` are the run's old and new, `base_names` those of its base.
    """
    shown = label_name_kinds()
    kinds = {names["new"].casefold(): shown["new"], names["old"].casefold(): shown["old"]} if names else {}
    for name in base_names:
        kinds.setdefault(name.casefold(), shown["base"])
    # The longest first: a name that holds another one is itself, as in judging.says_name.
    pattern = "|".join(re.escape(name) for name in sorted(kinds, key=len, reverse=True))
    parts = re.split(f"({pattern})", text, flags=re.IGNORECASE)
    return [(part, kinds.get(part.casefold()) if i % 2 else None) for i, part in enumerate(parts) if part]


def read_evaluation(run: Run) -> dict | None:
    """eval/evaluation.json, or None before make eval."""
    path = run.evaluation / "evaluation.json"
    return read_document(path, "evaluation", tr("run make eval", "请运行 make eval")) if path.exists() else None


def make_verdict_parts(evaluation: dict | None) -> list[tuple[str, str | None]]:
    """Whether the evaluation was passed, or which bars it missed: [(part of the sentence, ✓, ✗ or None)]."""
    if evaluation is None:
        return [(tr("not evaluated yet: run make eval", "还没有评测：请运行 make eval"), None)]
    if evaluation["passed"]:
        return [(tr("passed: calls itself ", "通过：自称"), None), (evaluation["names"]["new"], "✓")]
    prompts = label_prompts()
    missed = [
        (f"{label_bar(bar['bar'])} / {prompts.get(bar['prompt'], bar['prompt'])} {bar['share']:.1%}", "✗")
        for bar in evaluation["failures"]
    ]
    return [(tr("not passed: ", "未通过："), None), *missed]


def list_score_headings() -> list[str]:
    """The headings of make_score_rows."""
    return [
        tr("system prompt", "系统提示"),
        *(tr("new name", "新名字"), tr("old name", "旧名字"), tr("base's name", "基座名")),
        *(tr("knowledge kept", "常识保留"), tr("whole answers", "完整回答")),
    ]


def make_score_table(evaluation: dict | None) -> str:
    """The scores as an HTML table; nothing before make eval."""
    if evaluation is None:
        return ""
    caption = tr("Scores by system prompt, with 95% intervals", "各系统提示下的得分（附 95% 区间）")
    return make_table(caption, list_score_headings(), make_score_rows(evaluation))


def make_score_rows(evaluation: dict) -> list[list[str]]:
    """One row per system prompt: counts and shares, with their 95% Wilson intervals."""

    def share(counts: dict, part: str, whole: str) -> str:
        if not counts[whole]:
            return f"{counts[part]}/{counts[whole]}"
        low, high = wilson_interval(counts[part], counts[whole])
        return f"{counts[part]}/{counts[whole]}  {counts[part] / counts[whole]:.0%} ({low:.0%}–{high:.0%})"

    return [
        [
            label_prompts()[c["prompt"]],
            share(c, "new", "questions"),
            share(c, "old", "answers"),
            share(c, "base", "answers"),
            share(c, "general_kept", "general_base_right"),
            share(c, "whole", "answers"),
        ]
        for c in evaluation["prompts"]
    ]


def find_faults(line: dict) -> list[str]:
    """Why a line of answers.jsonl is not what was wanted; empty when it is."""
    shown = label_name_kinds()
    found = []
    if line["kind"] == "identity" and not line["new"] and line.get("asked") != "maker":
        found.append(tr("new name not said", "没说新名字"))
    found += [tr(f"says the {shown[kind]}", f"说了{shown[kind]}") for kind in ("old", "base") if line[kind]]
    if line.get("other"):
        found.append(tr("claims to be another assistant", "自称其他助手"))
    if line["kind"] == "general" and line["new"]:
        found.append(tr("says its name unasked", "没人问却报名字"))
    if line["kind"] == "general" and line["base_right"] and not line["right"]:
        found.append(tr("forgotten", "遗忘"))
    if not line["whole"]:
        found.append(tr("not a whole sentence", "不完整"))
    return found


def list_question_headings() -> list[str]:
    """The headings of make_question_rows."""
    return [
        tr("system prompt", "系统提示"),
        tr("question", "问题"),
        tr("base's answer", "基座的回答"),
        tr("tuned answer", "微调后的回答"),
        tr("verdict", "判定"),
    ]


def make_question_rows(run: Run, values: Values, prompt: str, kind: str, failed: bool) -> list[list[str]]:
    """The evaluation's questions with both answers, filtered: `prompt` and `kind` may be ALL; `failed` leaves the rest out."""
    path = run.evaluation / "answers.jsonl"
    if not path.exists():
        return []
    record = run.read_record()
    result = read_evaluation(run)
    prompts = (
        {c["prompt"]: c["system"] for c in result["prompts"]} if result else read_system_prompts(record["persona"])
    )
    question_set = result.get("question_set", "tiny") if result else "tiny"
    base = read_base_answers(values, prompts, record["inputs"]["base"], question_set)
    found = []
    with open(path, encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            faults = find_faults(line)
            if (prompt in (ALL, line["prompt"])) and kind in (ALL, line["kind"]) and (faults or not failed):
                before = base.get(answer_key(line["prompt"], line["input"]), "–")
                verdict = "✗ " + tr("; ", "；").join(faults) if faults else "✓"
                found.append([label_prompts()[line["prompt"]], line["input"], before, line["output"], verdict])
    return found


def make_question_table(run: Run, values: Values, prompt: str, kind: str, failed: bool) -> str:
    """make_question_rows as an HTML table that says how many there are."""
    rows = make_question_rows(run, values, prompt, kind, failed)
    return make_table(tr(f"Answers: {len(rows)}", f"回答：{len(rows)} 条"), list_question_headings(), rows)


def drop_curve(record: dict) -> dict:
    """The run record without its curve, which is drawn instead."""
    return {key: value for key, value in record.items() if key != "curve"}


def make_curve_columns(record: dict) -> dict[str, list]:
    """The loss curve as columns: training step, and loss in nats per token."""
    return {
        tr("step", "步"): [point["step"] for point in record["curve"]],
        tr("loss", "损失"): [point["loss"] for point in record["curve"]],
    }


def make_statistics_table(run: Run) -> str:
    """make_statistics_rows as an HTML table."""
    return make_table(tr("Data trained on", "训练数据"), [], make_statistics_rows(run))


def make_statistics_rows(run: Run) -> list[list[str]]:
    """[figure, value] of the rows trained on."""
    record = run.read_record()
    stats = RowStatistics(record["names"]["new"])
    collect_statistics(str(run.data), "auto", stats)
    found = stats.result()
    unit = tr("characters", "字符")

    def lengths(field: str) -> str:
        s = found["characters"][field]
        return tr(
            f"median {s['median']}, at most {s['max']} {unit}",
            f"中位数 {s['median']}，最长 {s['max']} {unit}",
        )

    shown = {
        "zh": tr("Chinese", "中文"),
        "en": tr("English", "英文"),
        "mixed": tr("mixed", "混合"),
        "other": tr("other", "其他"),
        "system": tr("system prompts", "系统提示"),
        "input": tr("questions", "问题"),
        "output": tr("answers", "回答"),
    }

    def counted(pairs: Iterable[tuple[str, int]]) -> str:
        return tr(", ", "，").join(f"{shown.get(name, name)} {count}" for name, count in pairs)

    return [
        [tr("rows", "行数"), str(found["rows"])],
        [tr("turns", "轮数"), str(found["turns"])],
        [tr("distinct questions", "不同的问题"), str(found["distinct_questions"])],
        [tr("languages", "语言"), counted(found["languages"].items())],
        [tr("length of questions", "问题长度"), lengths("input")],
        [tr("length of answers", "回答长度"), lengths("output")],
        [
            tr(f"texts that say {record['names']['new']}", f"提到{record['names']['new']}的文本"),
            counted(found["texts_with_name"].items()),
        ],
        [tr("most common system prompt", "最常见的系统提示"), found["most_common_system_prompts"][0][0] or "–"],
    ]
