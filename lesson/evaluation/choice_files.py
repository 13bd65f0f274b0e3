"""Public multiple-choice questions in the user's own files: ARC's JSON Lines, C-Eval's and CMMLU's tables.

Nothing is downloaded. ARC as AllenAI publishes it (allenai.org/data/arc): {"question": {"stem", "choices": [{"text",
"label"}]}, "answerKey"}; as Hugging Face exports it (allenai/ai2_arc): {"question", "choices": {"text": [], "label": []},
"answerKey"}. C-Eval (hkust-nlp/ceval) has the columns id, question, A, B, C, D, answer, and explanation in dev; CMMLU
(haonan-li/CMMLU) an unnamed one, Question, A, B, C, D, Answer. Rows of JSON with these columns are read as well.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.core.files import readable
from lesson.core.messages import UserError, tr
from lesson.core.strict_json import BROKEN
from lesson.core.text import is_unicode, shorten
from lesson.data.sources import LARGEST_DOCUMENT, read_bytes
from lesson.evaluation.held_out import HAN

ENDINGS = (".jsonl", ".csv", ".tsv", ".json")  # of the files in a folder that are read; the first of a name wins
LETTERS = "ABCD"
MOST_SETS = 16
MOST_FILES = 1000  # of a folder; CMMLU has 134
MOST_QUESTIONS = 100_000  # of a set; CMMLU has 11,582
MOST_OPTIONS = 26
LONGEST_QUESTION = 20_000  # characters with its options; C-Eval's longest have about 1,000
LARGEST_SET = 64 << 20  # characters
SEED = 0  # of the sample


class Unsuitable(Exception):
    """A row that is no question: at which JSON path or column, and what was found."""

    def __init__(self, at: str, found: str) -> None:
        super().__init__(f"{at}: {found}")


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question, its options, and the index of the right one. `rule` says how it is scored (choice_scoring): "letter"
    or "text". It stands in `file` at `line`, from 1."""

    text: str
    options: tuple[str, ...]
    answer: int
    rule: str
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class ChoiceSet:
    """Questions that are counted together: a sample of `found`, all of one `rule`. `chinese` says which word stands
    before the answer."""

    name: str
    found: int
    rule: str
    chinese: bool
    questions: tuple[ChoiceQuestion, ...]


def read_choice_sets(paths: str, limit: int) -> list[ChoiceSet]:
    """The sets that CHOICES= names, of each at most `limit` questions, drawn by SEED.

    `paths` are files and folders, a comma between two. A file is a set; of a folder, the files that stand side by side
    are one. Raises UserError, with file and line, for what cannot be read or is no question with one right answer.
    """
    sets = []
    for name, files in _find_sets(paths):
        by_rule: dict[str, list[ChoiceQuestion]] = {}
        size = 0
        for count, question in enumerate((q for file in files for q in read_questions(file)), 1):
            size += len(question.text) + sum(map(len, question.options))
            if count > MOST_QUESTIONS or size > LARGEST_SET:
                found = tr(f"more than {MOST_QUESTIONS} questions or 64 MiB", f"超过 {MOST_QUESTIONS} 题或 64 MiB")
                raise UserError(f"CHOICES: {name}", found, tr("name a part of it", "请只指定其中一部分"))
            by_rule.setdefault(question.rule, []).append(question)
        for rule, questions in by_rule.items():
            shown = name if len(by_rule) == 1 else f"{name} ({rule})"
            sets.append(_draw_set(shown, rule, questions, limit))
    return sets


def _draw_set(name: str, rule: str, questions: Sequence[ChoiceQuestion], limit: int) -> ChoiceSet:
    chinese = any(HAN.search(question.text) for question in questions)
    chosen = range(len(questions))
    if len(questions) > limit:
        chosen = sorted(random.Random(SEED).sample(chosen, limit))
    return ChoiceSet(name, len(questions), rule, chinese, tuple(questions[i] for i in chosen))


def _find_sets(paths: str) -> list[tuple[str, list[Path]]]:
    """[(name of a set, its files)]; the names are ends of their paths, the second of a name is NAME (2)."""
    found: dict[Path, list[Path]] = {}
    for text in [paths] if os.path.lexists(paths) else [part.strip() for part in paths.split(",")]:
        if not text:
            continue
        path = Path(text).expanduser()
        for place, files in (_find_in_folder(path) if os.path.isdir(path) else {path: [path]}).items():
            found[place.absolute()] = files
    if len(found) > MOST_SETS:
        raise UserError(
            f"CHOICES={shorten(paths)}",
            tr(f"{len(found)} sets, at most {MOST_SETS} are asked", f"有 {len(found)} 组题目，最多评测 {MOST_SETS} 组"),
            tr("name fewer files or folders", "请少指定一些文件或目录"),
        )
    if not found:
        raise UserError("CHOICES", tr("names no file", "没有指定文件"), tr("name one", "请指定文件"))
    names: dict[str, list[Path]] = {}
    for place, files in found.items():
        name = shorten(place.name if files == [place] else "/".join(place.parts[-2:]))
        same = sum(known == name or known.startswith(f"{name} (") for known in names)
        names[f"{name} ({same + 1})" if same else name] = files
    return list(names.items())


def _find_in_folder(folder: Path) -> dict[Path, list[Path]]:
    """{folder: the files in it}, for each folder below that has some. Hidden files are left out."""
    found, count = {}, 0
    remedy = tr(
        "name files of ARC (.jsonl), C-Eval or CMMLU (.csv), or a folder of them",
        "请指定 ARC（.jsonl）、C-Eval 或 CMMLU（.csv）的文件或目录",
    )
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        by_stem: dict[str, str] = {}  # ARC's archive has each file as .jsonl and as .csv: the same questions
        for ending in ENDINGS:
            for name in sorted(names):
                if name.lower().endswith(ending) and not name.startswith("."):
                    by_stem.setdefault(name[: -len(ending)], name)
        if by_stem:
            found[Path(place)] = [Path(place, name) for name in sorted(by_stem.values())]
        count += len(by_stem)
        if count > MOST_FILES:
            raise UserError(folder, tr(f"more than {MOST_FILES} files", f"超过 {MOST_FILES} 个文件"), remedy)
    if not found:
        raise UserError(folder, tr("no .jsonl and no .csv in it", "里面没有 .jsonl 和 .csv"), remedy)
    return found


def read_questions(path: Path) -> Iterator[ChoiceQuestion]:
    """The questions of a file, in order. Raises UserError with file and line."""
    remedy = tr("set CHOICES to files of ARC, C-Eval or CMMLU", "请把 CHOICES 设为 ARC、C-Eval 或 CMMLU 的文件")
    path = readable(path, remedy)
    if not path.is_file():
        raise UserError(path, tr("not a file", "不是文件"), remedy)
    with open(path, "rb") as file:
        data = file.read(LARGEST_DOCUMENT + 1)
    if len(data) > LARGEST_DOCUMENT:
        raise UserError(path, tr("more than 64 MiB", "超过 64 MiB"), tr("name a part of it", "请只指定其中一部分"))
    empty, name = True, str(path) if is_unicode(str(path)) else ascii(str(path))[1:-1]
    for row in read_bytes(data, path.name, str(path)):
        empty, line = False, row.find_place("$")[0]
        try:
            if row.value is BROKEN or row.problems:
                problem = row.problems[0]
                line = row.find_place(problem.path, problem.column)[0]
                raise Unsuitable(problem.path or "JSON", problem.found)
            text, options, answer, rule = parse_question(row.value)
        except Unsuitable as wrong:
            raise UserError(
                f"{path}:{line}", str(wrong), tr("mend the file, or name another one", "请修正文件，或换一个文件")
            ) from None
        yield ChoiceQuestion(text, options, answer, rule, name, line)
    if empty:
        raise UserError(path, tr("no question in it", "里面没有题目"), remedy)


def parse_question(row: object) -> tuple[str, tuple[str, ...], int, str]:
    """(question, options, index of the right one, rule) of a row. Raises Unsuitable."""
    if not isinstance(row, dict):
        raise Unsuitable("$", tr("not an object", "不是对象"))
    if "choices" in row or isinstance(row.get("question"), dict):
        text, options, answer = _parse_arc(row)
        rule = "text"
    else:
        text, options, answer = _parse_columns(row)
        rule = "letter"
    if len(text) + sum(map(len, options)) > LONGEST_QUESTION:
        raise Unsuitable("$", tr(f"more than {LONGEST_QUESTION} characters", f"超过 {LONGEST_QUESTION} 个字符"))
    return text, options, answer, rule


def _parse_arc(row: dict) -> tuple[str, tuple[str, ...], int]:
    question, at = row.get("question"), "$.choices"
    choices = row.get("choices")
    if isinstance(question, dict):
        text, choices, at = (
            _text(question.get("stem"), "$.question.stem"),
            question.get("choices"),
            "$.question.choices",
        )
    else:
        text = _text(question, "$.question")
    if isinstance(choices, dict):
        texts, labels = choices.get("text"), choices.get("label")
        if not (isinstance(texts, list) and isinstance(labels, list) and len(texts) == len(labels)):
            raise Unsuitable(at, tr("no lists text and label of one length", "缺少等长的 text 和 label 列表"))
        places = [(f"{at}.text[{i}]", f"{at}.label[{i}]") for i in range(len(texts))]
    elif isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        texts, labels = [c.get("text") for c in choices], [c.get("label") for c in choices]
        places = [(f"{at}[{i}].text", f"{at}[{i}].label") for i in range(len(texts))]
    else:
        raise Unsuitable(at, tr("not the choices of a question", "不是题目的选项"))
    if not 2 <= len(texts) <= MOST_OPTIONS:
        raise Unsuitable(at, tr(f"{len(texts)} options, not 2 to 26", f"{len(texts)} 个选项，应为 2 到 26 个"))
    options = tuple(_text(option, place) for option, (place, _) in zip(texts, places, strict=True))
    labels = [_text(label, place) for label, (_, place) in zip(labels, places, strict=True)]
    if len(set(labels)) < len(labels):
        raise Unsuitable(at, tr("a label twice", "标签重复"))
    return text, options, _find_answer(row.get("answerKey"), labels, "$.answerKey")


def _parse_columns(row: dict) -> tuple[str, tuple[str, ...], int]:
    cells = {}
    for key, cell in row.items():
        name = key.strip().casefold()
        if name in cells and name:
            raise Unsuitable(shorten(key), tr("a column twice", "列名重复"))
        cells[name] = cell
    missing = [name for name in ("question", *LETTERS, "answer") if name.casefold() not in cells]
    if missing:
        have = ", ".join(shorten(key) for key in list(row)[:10] if key.strip())
        unanswered = missing == ["answer"]
        found = tr(f"no {missing[0]}, but {have}", f"没有 {missing[0]}，只有 {have}")
        if unanswered:
            found += tr("; C-Eval's test files have no answers, val has", "；C-Eval 的 test 没有答案，val 有")
        raise Unsuitable(tr("columns", "列"), found)
    options = tuple(_text(cells[letter.casefold()], letter, empty=True) for letter in LETTERS)
    if sum(map(bool, options)) < 2:
        raise Unsuitable("A", tr("fewer than two options", "选项不足两个"))
    return (
        _text(cells["question"], "question"),
        options,
        _find_answer(cells["answer"], LETTERS, "answer"),
    )


def _text(value: object, at: str, empty: bool = False) -> str:
    """A text without white space around it."""
    if not isinstance(value, str):
        raise Unsuitable(at, tr("not a text", "不是文本"))
    if not value.strip() and not empty:
        raise Unsuitable(at, tr("empty", "为空"))
    return value.strip()


def _find_answer(value: object, labels: Sequence[str], at: str) -> int:
    answer = _text(value, at)
    if answer not in labels:
        raise Unsuitable(
            at,
            tr(
                f"{shorten(answer)!r}, which is none of {', '.join(labels)}",
                f"{shorten(answer)!r} 不是 {'、'.join(labels)} 之一",
            ),
        )
    return list(labels).index(answer)
