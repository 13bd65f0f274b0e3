"""An evaluation as people read it: lines for the terminal, and a picture."""

from __future__ import annotations

from pathlib import Path

from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.evaluation.judging import BASE_NAMES
from lesson.runs.pictures import draw_picture

# label, count, count that it is a share of, colour: the figures that the verdict is made of
BARS = (
    ("says the new name", "new", "questions", "tab:blue"),
    ("says the old name", "old", "answers", "tab:red"),
    ("says the base's name", "base", "answers", "tab:orange"),
    ("general knowledge kept", "general_kept", "general_base_right", "tab:green"),
    ("whole sentences", "whole", "answers", "tab:gray"),
)


def make_lines(result: dict, answers: list[dict], folder: Path) -> list[str]:
    """The report of make eval. `result` is evaluation.json, `answers` are the lines of answers.jsonl, both in `folder`."""
    new, old = result["names"]["new"], result["names"]["old"]
    lines = [
        tr(
            f"says {new} (new), {old} (old), {BASE_NAMES[0]} (base)",
            f"自称 {new}（新）、{old}（旧）、{BASE_NAMES[0]}（基座）",
        ),
        tr(
            "prompt     new name     old    base   general kept   whole answers",
            "提示        新名字       旧名    基座名   常识保留       完整回答",
        ),
    ]
    for counts in result["prompts"]:
        share = counts["new"] / counts["questions"]
        lines.append(
            f"{counts['prompt']:<9}{counts['new']:>4}/{counts['questions']:<3}{share:>5.0%}"
            f"{counts['old']:>7}{counts['base']:>8}"
            f"{counts['general_kept']:>9}/{counts['general_base_right']:<4}{counts['whole']:>10}/{counts['answers']}"
        )
    for prompt in ("persona", "none"):
        first = next(line for line in answers if line["prompt"] == prompt and line["kind"] == "identity")
        lines.append(f"  [{prompt}] {first['input']} → {first['output']}")
    for missed in result["failures"]:
        lines.append(
            tr(
                f"missed: {missed['bar']} under {missed['prompt']}: {missed['share']:.1%}, bar {missed['limit']:.0%}",
                f"未达标：{missed['prompt']} 下的 {missed['bar']}：{missed['share']:.1%}，标准 {missed['limit']:.0%}",
            )
        )
    if result["passed"]:
        lines.append(tr(f"passed: the assistant calls itself {new}", f"通过：助手自称{new}"))
    else:
        lines.append(
            tr("failed: train longer (EPOCHS=) or look at the answers", "未通过：请延长训练（EPOCHS=）或查看回答")
        )
    lines.append(
        tr(
            f"answers: {folder / 'answers.jsonl'}  figures: {folder / 'evaluation.json'}",
            f"回答：{folder / 'answers.jsonl'}  数据：{folder / 'evaluation.json'}",
        )
    )
    return lines


def draw_evaluation(result: dict, path: Path, values: Values) -> None:
    """The evaluation as a PNG at `path`: per system prompt, the shares of the bars that the verdict is made of."""
    with draw_picture(path, values) as axes:
        for k, (label, count, of, color) in enumerate(BARS):
            shares = [counts[count] / max(1, counts[of]) for counts in result["prompts"]]
            drawn = axes.bar([i + (k - 2) * 0.16 for i in range(len(shares))], shares, 0.15, label=label, color=color)
            axes.bar_label(drawn, [f"{share:.0%}" for share in shares], fontsize=7)
        prompts = [f"system prompt: {counts['prompt']}" for counts in result["prompts"]]
        axes.set_xticks(range(len(prompts)), prompts)
        axes.set(ylim=(0, 1.35), ylabel="share of answers")
        axes.legend(ncols=2, fontsize=8, loc="upper center")
