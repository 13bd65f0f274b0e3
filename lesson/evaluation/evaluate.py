"""make eval: did the assistant learn its name, and did it keep what it knew?

Greedy answers to questions that were not in the training data (data/eval/), under three system prompts: the persona
trained on, none, and a neutral one. Counted per prompt: answers that say the new name, the old one, the base's;
general questions that the base answers right and that are still right; answers that are whole sentences and end by
themselves. Output in the run folder: eval/evaluation.json, eval/answers.jsonl, eval/evaluation.png.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from lesson.core import cli
from lesson.core.files import atomic, read_json, sha256, write_json
from lesson.core.layout import base_answers_file
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.core.text import fold_text
from lesson.data import rows
from lesson.evaluation import talk
from lesson.runs import pictures as plots
from lesson.runs.folder import find_last_run

SETTINGS = ["PROFILE", "BUILD", "USE", "FORMAT"]
QUESTIONS = ROOT / "data" / "eval"
BASE_NAMES = ("书生·浦语", "书生浦语", "浦语", "InternLM")

# The bars of the lesson: shares of the answers under one system prompt.
LEAST_NEW = 0.95
MOST_WRONG = {"persona": 0.0, "none": 0.02, "neutral": 0.02}
LEAST_KEPT = 0.90
LEAST_WHOLE = 0.90
ENDS = '。！？.!?…）)」』”"~～'


def evaluate(values: Values) -> int:
    talk.use_environment(values)
    run = find_last_run(values)
    if values.use == "base":
        raise UserError(
            "USE=base",
            tr("the base is what the others are compared with", "基座是比较的对象"),
            tr("use merged or adapter", "请用 merged 或 adapter"),
        )
    facts = run.read_record()
    identity, general = questions("identity"), questions("general")
    held_out(identity, run.data)
    prompts = talk.system_prompts(facts["persona"])
    base = base_answers(values, identity, general, prompts, facts["inputs"]["base"])
    tokenizer, model = talk.load(values, values.use, run)
    asked = [
        (kind, prompt, q)
        for prompt in prompts
        for kind, qs in (("identity", identity), ("general", general))
        for q in qs
    ]
    said = ask_all(tokenizer, model, [talk.messages(prompts[p], q["input"]) for _, p, q in asked], values.use)
    lines = [
        judged(kind, prompt, question, answer, facts["names"], base[base_key(prompt, question["input"])])
        for (kind, prompt, question), answer in zip(asked, said, strict=True)
    ]
    result = summary(lines, prompts, facts, values.use)
    run.evaluation.mkdir(exist_ok=True)
    with atomic(run.evaluation / "answers.jsonl") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_json(run.evaluation / "evaluation.json", result)
    draw(result, run.evaluation / "evaluation.png", values)
    if values.format == "json":
        print(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        print_table(result, lines, run.evaluation)
    return 0 if result["passed"] else 1


def questions(kind: str) -> list[dict]:
    """The questions of data/eval/KIND.json: {"input": str} and, for general ones, "accept": [str]."""
    return read_json(QUESTIONS / f"{kind}.json", tr("restore it from git", "请从 git 恢复"))["questions"]


def held_out(identity: list[dict], data: Path) -> None:
    """Raise UserError when an evaluation question was trained on: the score would be the training's own."""
    trained = {fold_text(turn["input"]) for row in rows.read(data) for turn in row["conversation"]}
    for question in identity:
        if fold_text(question["input"]) in trained:
            raise UserError(
                data,
                tr(
                    f"trains on the evaluation question {question['input']!r}",
                    f"训练数据含评测问题 {question['input']!r}",
                ),
                tr("take that row out of SRC and run make data train", "请从 SRC 去掉该行，再运行 make data train"),
            )


def base_answers(
    values: Values, identity: list[dict], general: list[dict], prompts: dict[str, str], base: str
) -> dict[str, str]:
    """{base_key(prompt name, question): what the base answers}, asked once per base, questions and prompts."""
    stored = stored_base_answers(values, prompts, base)
    if stored:
        return stored
    tokenizer, model = talk.load(values, "base")
    asked = [(name, q["input"]) for name in prompts for q in [*identity, *general]]
    said = ask_all(tokenizer, model, [talk.messages(prompts[name], q) for name, q in asked], "base")
    answers = {base_key(name, q): answer.text for (name, q), answer in zip(asked, said, strict=True)}
    write_json(base_answers_file(values.build), {"key": answers_key(prompts, base), "answers": answers})
    return answers


def stored_base_answers(values: Values, prompts: dict[str, str], base: str) -> dict[str, str]:
    """What base_answers found out before, or {} where nothing is stored for this base, these questions and prompts."""
    try:
        stored = json.loads((base_answers_file(values.build)).read_text(encoding="utf-8"))
        return stored["answers"] if stored["key"] == answers_key(prompts, base) else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def base_key(prompt: str, question: str) -> str:
    return f"{prompt}\n{question}"


def answers_key(prompts: dict[str, str], base: str) -> dict:
    """What the base's answers depend on."""
    asked = {kind: sha256(QUESTIONS / f"{kind}.json") for kind in ("identity", "general")}
    return {"base": base, "questions": asked, "prompts": prompts}


def ask_all(tokenizer, model, chats: list, what: str) -> list[talk.Answer]:
    plain = not sys.stderr.isatty()
    if plain:
        print(
            tr(f"asking {what}: {len(chats)} questions", f"向 {what} 提问：{len(chats)} 个问题"),
            file=sys.stderr,
            flush=True,
        )
    with tqdm(total=len(chats), unit="q", desc=what, disable=plain) as bar:
        return talk.answers(tokenizer, model, chats, tick=bar.update)


def accepted(text: str, accept: Iterable[str]) -> bool:
    """True when one of the accepted strings occurs in the answer; case and width do not matter."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return any(unicodedata.normalize("NFKC", a).casefold() in text for a in accept)


def says(text: str, name: str, other_than: str = "") -> bool:
    """True when `text` says `name`, occurrences inside `other_than` (a longer name that contains it) not counted."""
    if name in other_than:
        text = text.replace(other_than, "\0")
    return name.casefold() in text.casefold()


def whole(answer: talk.Answer) -> bool:
    """True for an answer that ended by itself, ends like a sentence, has no broken character and does not loop."""
    text = answer.text
    looping = any(text[i : i + n] * 3 in text for n in (3, 4, 6) for i in range(0, max(0, len(text) - 3 * n + 1)))
    return answer.ended and len(text) >= 2 and text[-1] in ENDS and "\ufffd" not in text and not looping


def judged(kind: str, prompt: str, question: dict, answer: talk.Answer, names: dict, base_said: str) -> dict:
    """One line of answers.jsonl; `base_said` is the base's answer to the same question."""
    new, old = names["new"], names["old"]
    line = {"kind": kind, "prompt": prompt, "input": question["input"], "output": answer.text, "whole": whole(answer)}
    line["new"] = says(answer.text, new)
    line["old"] = says(answer.text, old, new)
    line["base"] = any(says(answer.text, name, new) for name in BASE_NAMES)
    if kind == "general":
        right, base_right = (accepted(text, question["accept"]) for text in (answer.text, base_said))
        line |= {"right": right, "base_right": base_right}
    return line


def summary(lines: list[dict], prompts: dict[str, str], facts: dict, use: str) -> dict:
    """Counts per prompt and the verdict, as schemas/evaluation.schema.json has it."""
    result = {"format": 1, "run": facts["id"], "use": use, "names": facts["names"], "prompts": [], "failures": []}
    for name, text in prompts.items():
        own = [line for line in lines if line["prompt"] == name]
        identity = [line for line in own if line["kind"] == "identity"]
        knew = [line for line in own if line["kind"] == "general" and line["base_right"]]
        counts = {
            "prompt": name,
            "system": text,
            "questions": len(identity),
            "new": sum(line["new"] for line in identity),
            "old": sum(line["old"] for line in own),
            "base": sum(line["base"] for line in own),
            "general_base_right": len(knew),
            "general_kept": sum(line["right"] for line in knew),
            "answers": len(own),
            "whole": sum(line["whole"] for line in own),
        }
        result["prompts"].append(counts)
        result["failures"] += failures(counts)
    result["passed"] = not result["failures"]
    return result


def failures(counts: dict) -> list[dict]:
    """The bars that these counts miss: [{prompt, bar, share, limit}]."""
    name = counts["prompt"]
    bars = [
        ("new", counts["new"], counts["questions"], LEAST_NEW, False),
        ("old", counts["old"], counts["answers"], MOST_WRONG[name], True),
        ("base", counts["base"], counts["answers"], MOST_WRONG[name], True),
        ("general_kept", counts["general_kept"], counts["general_base_right"], LEAST_KEPT, False),
        ("whole", counts["whole"], counts["answers"], LEAST_WHOLE, False),
    ]
    missed = []
    for bar, count, of, limit, at_most in bars:
        # Nothing to keep (a base that knew nothing) is nothing lost; no question asked is no evidence.
        share = count / of if of else (0.0 if at_most or bar == "new" else 1.0)
        if (share > limit) if at_most else (share < limit):
            missed.append({"prompt": name, "bar": bar, "share": round(share, 4), "limit": limit})
    return missed


def print_table(result: dict, lines: list[dict], folder: Path) -> None:
    new, old = result["names"]["new"], result["names"]["old"]
    print(
        tr(
            f"says {new} (new), {old} (old), {BASE_NAMES[0]} (base)",
            f"自称 {new}（新）、{old}（旧）、{BASE_NAMES[0]}（基座）",
        )
    )
    head = tr(
        "prompt     new name     old    base   general kept   whole answers",
        "提示        新名字       旧名    基座名   常识保留       完整回答",
    )
    print(head)
    for c in result["prompts"]:
        share = c["new"] / c["questions"]
        print(
            f"{c['prompt']:<9}{c['new']:>4}/{c['questions']:<3}{share:>5.0%}{c['old']:>7}{c['base']:>8}"
            f"{c['general_kept']:>9}/{c['general_base_right']:<4}{c['whole']:>10}/{c['answers']}"
        )
    for prompt in ("persona", "none"):
        line = next(line for line in lines if line["prompt"] == prompt and line["kind"] == "identity")
        print(f"  [{prompt}] {line['input']} → {line['output']}")
    for failure in result["failures"]:
        print(
            tr(
                f"missed: {failure['bar']} under {failure['prompt']}: {failure['share']:.1%}, bar {failure['limit']:.0%}",
                f"未达标：{failure['prompt']} 下的 {failure['bar']}：{failure['share']:.1%}，标准 {failure['limit']:.0%}",
            )
        )
    if result["passed"]:
        print(tr(f"passed: the assistant calls itself {new}", f"通过：助手自称{new}"))
    else:
        print(tr("failed: train longer (EPOCHS=) or look at the answers", "未通过：请延长训练（EPOCHS=）或查看回答"))
    print(
        tr(
            f"answers: {folder / 'answers.jsonl'}  figures: {folder / 'evaluation.json'}",
            f"回答：{folder / 'answers.jsonl'}  数据：{folder / 'evaluation.json'}",
        )
    )


def draw(result: dict, path: Path, values: Values) -> None:
    """The evaluation as a PNG: per system prompt, the shares of the bars that the verdict is made of."""
    bars = [
        ("says the new name", "new", "questions", "tab:blue"),
        ("says the old name", "old", "answers", "tab:red"),
        ("says the base's name", "base", "answers", "tab:orange"),
        ("general knowledge kept", "general_kept", "general_base_right", "tab:green"),
        ("whole sentences", "whole", "answers", "tab:gray"),
    ]
    with plots.picture(path, values) as axes:
        for k, (label, count, of, color) in enumerate(bars):
            shares = [c[count] / max(1, c[of]) for c in result["prompts"]]
            drawn = axes.bar([i + (k - 2) * 0.16 for i in range(len(shares))], shares, 0.15, label=label, color=color)
            axes.bar_label(drawn, [f"{share:.0%}" for share in shares], fontsize=7)
        axes.set_xticks(range(len(result["prompts"])), [f"system prompt: {c['prompt']}" for c in result["prompts"]])
        axes.set(ylim=(0, 1.35), ylabel="share of answers")
        axes.legend(ncols=2, fontsize=8, loc="upper center")


def main(arguments: list[str] | None = None) -> int:
    return cli.run("evaluate", __doc__, SETTINGS, evaluate, sys.argv[1:] if arguments is None else arguments)
