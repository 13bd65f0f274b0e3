"""An evaluation as people read it: lines for the terminal, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.evaluation.advice import advise
from lesson.evaluation.choices import describe_choices
from lesson.evaluation.intervals import wilson_interval
from lesson.runs.pictures import draw_picture
from lesson.runs.trained_with import TrainedWith

# label, count, count that it is a share of, colour: the figures that the verdict is made of
BARS = (
    ("says the new name", "new", "questions", "tab:blue"),
    ("says the old name", "old", "answers", "tab:red"),
    ("says the base's name", "base", "answers", "tab:orange"),
    ("general knowledge kept", "general_kept", "general_base_right", "tab:green"),
    ("whole sentences", "whole", "answers", "tab:gray"),
)


def make_lines(
    result: dict,
    answers: list[dict],
    folder: Path,
    base_names_asked: bool = False,
    trained: TrainedWith = TrainedWith(),  # noqa: B008  it cannot change
) -> list[str]:
    """The report of make eval. `result` is evaluation.json, `answers` are the lines of answers.jsonl, both in `folder`;
    `base_names_asked` says whether the base's names were found in its own answers, `trained` what the advice counts from.
    """
    new, old = result["names"]["new"], result["names"]["old"]
    base = result["base_names"][0] if result["base_names"] else "–"
    lines = [
        tr(
            f"says {new} (new), {old} (old), {base} (base)",
            f"自称 {new}（新）、{old}（旧）、{base}（基座）",
        ),
        tr(
            "prompt     new name     old    base   general kept   whole answers",
            "提示        新名字       旧名    基座名   常识保留       完整回答",
        ),
    ]
    for counts in result["prompts"]:
        share = counts["new"] / counts["questions"] if counts["questions"] else 0
        lines.append(
            f"{counts['prompt']:<9}{counts['new']:>4}/{counts['questions']:<3}{share:>5.0%}"
            f"{counts['old']:>7}{counts['base']:>8}"
            f"{counts['general_kept']:>9}/{counts['general_base_right']:<4}{counts['whole']:>10}/{counts['answers']}"
        )
    lines += _describe_shares(result)
    if len(result["base_names"]) > 1 or base_names_asked:
        found = ", ".join(result["base_names"]) or tr("none", "无")
        how = tr(", found in its own answers", "，取自它自己的回答") if base_names_asked else ""
        lines.append(tr(f"the base's names: {found}{how}", f"基座的名字：{found}{how}"))
    if all(counts["prompt"] != "default" for counts in result["prompts"]):
        lines.append(
            tr(
                "the base's chat template has no system prompt of its own: default is none",
                "基座的对话模板没有自带系统提示：default 即 none",
            )
        )
    for prompt in ("persona", "none"):
        first = next(line for line in answers if line["prompt"] == prompt and line["kind"] == "identity")
        lines.append(f"  [{prompt}] {first['input']} → {first['output']}")
    if "choices" in result:
        lines += describe_choices(result["choices"])
    for missed in result["failures"]:
        if missed["bar"] == "choices":
            lines.append(
                tr(
                    f"missed: {missed['prompt']}: {missed['share']:.1%} of the questions lost, the whole interval beyond "
                    f"{missed['limit']:.0%}",
                    f"未达标：{missed['prompt']}：{missed['share']:.1%} 的题不再答对，整个区间都超过 {missed['limit']:.0%}",
                )
            )
            continue
        lines.append(
            tr(
                f"missed: {missed['bar']} under {missed['prompt']}: {missed['share']:.1%}, bar {missed['limit']:.0%}",
                f"未达标：{missed['prompt']} 下的 {missed['bar']}：{missed['share']:.1%}，标准 {missed['limit']:.0%}",
            )
        )
    if result["passed"]:
        lines.append(tr(f"passed: the assistant calls itself {new}", f"通过：助手自称{new}"))
    else:
        lines.append(tr("failed: ", "未通过：") + tr("; ", "；").join(advise(result["failures"], trained, new)))
    lines.append(
        tr(
            f"answers: {folder / 'answers.jsonl'}  figures: {folder / 'evaluation.json'}",
            f"回答：{folder / 'answers.jsonl'}  数据：{folder / 'evaluation.json'}",
        )
    )
    return lines


def _describe_shares(result: dict) -> list[str]:
    """Per system prompt, the new name's share with its 95% interval, by language and by kind; then what was drawn."""

    def share(counts: dict, interval: list[float]) -> str:
        return f"{counts['new']}/{counts['questions']} ({interval[0]:.0%}–{interval[1]:.0%})"

    lines = []
    for counts in result["prompts"]:
        parts = [share(counts, counts["intervals"]["new"])]
        parts += [
            f"{name} {share(group, group['interval'])}"
            for groups in (counts["languages"], counts["kinds"])
            if len(groups) > 1
            for name, group in groups.items()
        ]
        low, high = counts["general_change"]
        unasked = f"{counts['polluted']}/{counts['general']}"
        lines.append(
            tr(
                f"  {counts['prompt']}: new name, 95% interval: {', '.join(parts)}; knowledge {low:+.0%} to {high:+.0%}; "
                f"named unasked {unasked}",
                f"  {counts['prompt']}：新名字及 95% 区间：{'，'.join(parts)}；常识变化 {low:+.0%} 到 {high:+.0%}；"
                f"没人问却报名字 {unasked}",
            )
        )
    lines += [
        tr(
            f"  sampled, seed {drawn['seed']}, {drawn['prompt']}: {share(drawn, drawn['interval'])}",
            f"  采样，种子 {drawn['seed']}，{drawn['prompt']}：{share(drawn, drawn['interval'])}",
        )
        for drawn in result["sampled"]
    ]
    return lines


def draw_evaluation(result: dict, path: Path, values: Values) -> None:
    """The evaluation as a PNG at `path`: per system prompt, the shares that the verdict is made of, with 95% intervals."""
    with draw_picture(path, values) as axes:
        for k, (label, count, of, color) in enumerate(BARS):
            pairs = [(counts[count], counts[of]) for counts in result["prompts"]]
            shares = [part / max(1, whole) for part, whole in pairs]
            drawn = axes.bar(
                [i + (k - 2) * 0.16 for i in range(len(shares))],
                shares,
                0.15,
                label=label,
                color=color,
                yerr=measure_whiskers(pairs),
                error_kw={"elinewidth": 0.8, "capsize": 2, "ecolor": "black"},
            )
            axes.bar_label(drawn, [f"{share:.0%}" for share in shares], fontsize=7)
        prompts = [f"system prompt: {counts['prompt']}" for counts in result["prompts"]]
        axes.set_xticks(range(len(prompts)), prompts)
        axes.set(ylim=(0, 1.4), ylabel="share of answers, with 95% Wilson intervals")
        axes.legend(ncols=2, fontsize=8, loc="upper center")


def measure_whiskers(pairs: Sequence[tuple[int, int]]) -> tuple[list[float], list[float]]:
    """(below, above): how far the 95% Wilson interval of each share reaches, for (part, whole) counts; 0 where nothing was
    asked."""
    below, above = [], []
    for part, whole in pairs:
        low, high = wilson_interval(part, whole) if whole else (0.0, 0.0)
        share = part / whole if whole else 0.0
        below.append(max(0.0, share - low))  # not -1e-17, which matplotlib refuses
        above.append(max(0.0, high - share))
    return below, above
