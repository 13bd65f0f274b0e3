"""The reference pages in docs/, settings and commands in both languages, made from the settings, profiles and Makefile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lesson.core.settings import GPUS, SETTINGS, TRAINING, Setting
from lesson.install.help import ALWAYS_TAKEN, read_targets

LANGUAGES = {"en": "", "zh": ".zh-CN"}  # language -> what stands before .md in the file's name
MODULE = re.compile(r"^([a-z0-9-]+):.*\n\t@\S+ -m recipe\.(\w+(?: \w+)*)$", re.MULTILINE)
FALLBACK = "–"  # in a table: nothing to say here

# Profiles that the table of training parameters shows: (file in profiles/, heading).
SHOWN_PROFILES = (("tiny", "tiny"), ("small_fast", "small"), ("7b", "7b"), ("7b_fast", "7b, SPEED=fast"))

# (variable, default, English, Chinese): variables of the Makefile itself, which no Python code reads from the table.
MAKE_VARIABLES = (
    ("PYTHON", "python3", "the Python that makes the venv, 3.11 or 3.12", "用来建立 venv 的 Python，3.11 或 3.12"),
    ("VENV", ".venv", "folder of the venv of `make setup`", "`make setup` 建立的 venv 所在目录"),
    (
        "CHECK_VENV",
        ".venv-check",
        "folder of the venv of `make setup-check`",
        "`make setup-check` 建立的 venv 所在目录",
    ),
    (
        "MUTANTS_VENV",
        ".venv-mutants",
        "folder of the venv that `make mutants` makes for its tool",
        "`make mutants` 为其工具建立的 venv 所在目录",
    ),
    (
        "EXPORT_VENV",
        ".venv-export",
        "folder of the venv of `make setup-export`",
        "`make setup-export` 建立的 venv 所在目录",
    ),
    (
        "PY",
        "$(VENV)/bin/python",
        "the Python that runs the stages, for a machine that has all packages already",
        "运行各步骤的 Python，用于已装好全部软件包的机器",
    ),
)

# (module in recipe/, arguments, English, Chinese): commands that no target runs, or that take more than the target does.
COMMANDS = (
    (
        "replace",
        "IN OUT --old_text OLD --new_text NEW",
        "replace names in rows; the published script's command line, and its output byte for byte. `--map OLD=NEW` may be repeated; `-` is standard input or output",
        "替换数据里的名字；命令行与课程原脚本相同，输出逐字节相同。`--map 旧=新` 可重复；`-` 是标准输入或输出",
    ),
    (
        "validate",
        "[FILE…] [--name NAME] [--report text\\|jsonl\\|github\\|junit]",
        "check rows of any files; what `make check-data` runs",
        "检查任意数据文件；`make check-data` 运行的就是它",
    ),
    (
        "formats",
        "INPUT OUTPUT [--from FORMAT] [--to FORMAT]",
        "convert files of other kinds (Excel, CSV, JSON, Alpaca, messages, ShareGPT) to rows, and rows back",
        "把其他类型的文件（Excel、CSV、JSON、Alpaca、messages、ShareGPT）转成数据行，或转回去",
    ),
    (
        "stats",
        "[FILE] [--name NAME] [--format text\\|json\\|html]",
        "statistics of any file of rows; what `make stats` runs",
        "任意数据文件的统计；`make stats` 运行的就是它",
    ),
    (
        "check_config",
        "FILE_OR_FOLDER… [--format json]",
        "judge any XTuner configs; what `make check-config` runs",
        "判断任意 XTuner 配置；`make check-config` 运行的就是它",
    ),
    (
        "check",
        "PATH… [--report FILES]",
        "a verdict on each submission; what `make check` runs",
        "检查每份提交；`make check` 运行的就是它",
    ),
    (
        "check_all",
        "DIR [--jobs N] [--report FILES]",
        "verdicts on a folder of submissions; what `make check-all` runs",
        "检查整个目录的提交；`make check-all` 运行的就是它",
    ),
    (
        "ci",
        "data\\|config [--since COMMIT] [FILE…]",
        "check the rows or configs that a commit changed; for the pre-commit hooks and the GitHub Action",
        "检查某次提交改动的数据或配置；供 pre-commit 钩子和 GitHub Action 使用",
    ),
    (
        "published",
        "SUBMISSION… [--out FOLDER]",
        "keep fingerprints of published runs, so that nobody can hand them in",
        "保存已公布训练的指纹，使它们不能被当作提交",
    ),
    (
        "golden",
        "[KIND…] [--check]",
        "write the golden files again; `--check` only says what differs",
        "重新生成 golden 文件；`--check` 只说明有何不同",
    ),
    (
        "command_line",
        "TARGETS VARIABLES",
        "what make asks before it runs anything: does each target exist, and use these variables?",
        "make 运行前先问它：每个目标是否存在，是否使用这些变量",
    ),
    (
        "signatures",
        "[--check]",
        "write what the installed packages accept in a config again; `--check` only says what differs",
        "重新记录已安装的包在配置里接受什么；`--check` 只说明有何不同",
    ),
    (
        "docs",
        "[--check]",
        "write these pages again; `--check` only says which differ",
        "重新生成本页和设置页；`--check` 只说明哪些不同",
    ),
    (
        "base",
        "[--update]",
        "train the tiny base from scratch; `--update` puts it into `data/tiny-base`",
        "从头训练 tiny 基座；`--update` 把结果放进 `data/tiny-base`",
    ),
    (
        "source",
        "",
        "write the course's source rows, `data/assistant_Tuner.jsonl`, again",
        "重新生成课程源数据 `data/assistant_Tuner.jsonl`",
    ),
)

# (module in recipe/, English, Chinese): what configs import by this name; not commands.
IMPORTED = (
    ("fast", "the model class of `SPEED=fast` at 7b", "7b 的 `SPEED=fast` 所用的模型类"),
    ("dequantised", "the model class of `SPEED=fast` at tiny", "tiny 的 `SPEED=fast` 所用的模型类"),
)


def reference_pages(makefile: str, profiles: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """{path in the repository: text} of both pages in both languages.

    `makefile` is the Makefile's text, `profiles` the parameters of each profile named in SHOWN_PROFILES.
    """
    pages = {}
    for language, suffix in LANGUAGES.items():
        pages[f"docs/settings{suffix}.md"] = settings_page(language, makefile, profiles)
        pages[f"docs/commands{suffix}.md"] = commands_page(language, makefile)
    return pages


def outdated_pages(pages: Mapping[str, str], root: Path) -> list[str]:
    """The paths below `root` whose file is missing or holds another text."""
    return [
        path
        for path, text in pages.items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def settings_page(language: str, makefile: str, profiles: Mapping[str, Mapping[str, object]]) -> str:
    """Every variable: what it means, its default, which targets take it."""
    users = targets_by_variable(makefile)
    training = {setting.name for setting in TRAINING}
    common = [SETTINGS[name] for name in ALWAYS_TAKEN]
    others = [s for s in SETTINGS.values() if s.name not in training and s.name not in ALWAYS_TAKEN]
    zh = language == "zh"
    unset = "不设" if zh else "not set"

    def default(setting: Setting) -> str:
        return f"`{setting.default}`" if setting.default else unset

    def targets_of(name: str) -> str:
        return ", ".join(f"`{target}`" for target in users.get(name, [])) or FALLBACK

    columns = [heading for _, heading in SHOWN_PROFILES]
    parts = [
        _head("设置" if zh else "Settings", language, "settings"),
        _paragraphs(_SETTINGS_INTRO[language]),
        "## " + ("所有目标都接受" if zh else "Taken by every target"),
        _table(
            ("变量", "含义") if zh else ("variable", "meaning"),
            ((f"`{s.name}`", s.zh if zh else s.en) for s in common),
        ),
        "## " + ("变量" if zh else "Variables"),
        _table(
            ("变量", "含义", "默认", "目标") if zh else ("variable", "meaning", "default", "targets"),
            ((f"`{s.name}`", s.zh if zh else s.en, default(s), targets_of(s.name)) for s in others),
        ),
        (_GPUS[language] + ("、" if zh else ", ").join(f"{name} ({gb} GB)" for name, gb in GPUS.items()))
        + ("。" if zh else "."),
        "## " + ("训练参数" if zh else "Training"),
        _paragraphs(_TRAINING_INTRO[language]),
        _table(
            (("变量", "含义") if zh else ("variable", "meaning")) + tuple(columns),
            (
                (f"`{s.name}`", s.zh if zh else s.en, *(_value(profiles[name], s.name) for name, _ in SHOWN_PROFILES))
                for s in TRAINING
            ),
        ),
        "## " + ("Makefile 的变量" if zh else "Variables of the Makefile"),
        _table(
            ("变量", "含义", "默认", "目标") if zh else ("variable", "meaning", "default", "targets"),
            ((f"`{name}`", cn if zh else en, f"`{value}`", targets_of(name)) for name, value, en, cn in MAKE_VARIABLES),
        ),
        "## " + ("只来自环境" if zh else "From the environment only"),
        _paragraphs(_ENVIRONMENT[language]),
    ]
    return "\n\n".join(parts) + "\n"


def commands_page(language: str, makefile: str) -> str:
    """Every target with what it runs, then the commands that have no target, then the exit statuses."""
    zh = language == "zh"
    modules = dict(MODULE.findall(makefile))
    link = f"[{'训练参数' if zh else 'training'}](settings{LANGUAGES[language]}.md#{'训练参数' if zh else 'training'})"

    def target_rows() -> Iterator[tuple[str, ...]]:
        module = f"`python -m recipe.{modules['help']}`"
        yield "`make`", "列出所有目标和变量" if zh else "print every target and variable", module, FALLBACK
        for name, en, cn, variables in read_targets(makefile):
            taken = ", ".join(link if v == "training" else f"`{v}`" for v in variables) or FALLBACK
            module = f"`python -m recipe.{modules[name]}`" if name in modules else FALLBACK
            yield f"`make {name}`", cn if zh else en, module, taken

    parts = [
        _head("命令" if zh else "Commands", language, "commands"),
        _paragraphs(_COMMANDS_INTRO[language]),
        "## " + ("make 的目标" if zh else "Targets of make"),
        _table(
            ("目标", "作用", "运行", "变量") if zh else ("target", "what it does", "runs", "variables"), target_rows()
        ),
        "## " + ("直接运行的命令" if zh else "Commands to run directly"),
        _table(
            ("命令", "作用") if zh else ("command", "what it does"),
            (
                (f"`python -m recipe.{module} {arguments}".strip() + "`", cn if zh else en)
                for module, arguments, en, cn in COMMANDS
            ),
        ),
        "## " + ("配置导入的模块" if zh else "Modules that configs import"),
        _table(
            ("模块", "内容") if zh else ("module", "what it holds"),
            ((f"`recipe.{module}`", cn if zh else en) for module, en, cn in IMPORTED),
        ),
        "## " + ("退出码" if zh else "Exit statuses"),
        _table(("退出码", "含义") if zh else ("status", "meaning"), _EXIT_STATUSES[language]),
    ]
    return "\n\n".join(parts) + "\n"


def targets_by_variable(makefile: str) -> dict[str, list[str]]:
    """{variable: targets that take it}, in the order of the Makefile."""
    users: dict[str, list[str]] = {}
    for name, _, _, variables in read_targets(makefile):
        for variable in variables:
            users.setdefault(variable, []).append(name)
    return users


def _value(parameters: Mapping[str, object], name: str) -> str:
    if name not in parameters:
        return FALLBACK
    value = parameters[name]
    return f"`{int(value) if isinstance(value, bool) else value}`"


def _head(title: str, language: str, page: str) -> str:
    other, label = ("zh", "中文") if language == "en" else ("en", "English")
    note = "<!-- Written by `make docs`: edit lesson/install/reference.py, the settings or the Makefile instead. -->"
    return f"# {title}\n\n{note}\n\n[{label}]({page}{LANGUAGES[other]}.md)"


def _paragraphs(texts: Sequence[str]) -> str:
    return "\n\n".join(texts)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


_SETTINGS_INTRO = {
    "en": (
        "Set a variable behind the target, as in `make data NEW_NAME=闻星`. The commands take the same values as options, "
        "as in `python -m recipe.data --new-name 闻星`. An option wins over a variable. A variable wins over the default.",
        "A value that is not accepted stops the command with exit status 2. The error names what is accepted.",
    ),
    "zh": (
        "变量写在目标后面，例如 `make data NEW_NAME=闻星`。直接运行命令时写成选项，例如 `python -m recipe.data --new-name 闻星`。"
        "选项优先于变量，变量优先于默认值。",
        "不接受的值会让命令停止，退出码为 2，错误信息会说明可以用什么值。",
    ),
}
_GPUS = {
    "en": "`GPU` knows these names, and shares of them such as A100-30%: ",
    "zh": "`GPU` 认识这些名称，也可以写份额，如 A100-30%：",
}
_TRAINING_INTRO = {
    "en": (
        "`make config` writes these into the config, so `make train` takes them too. The columns show the value that each "
        f"profile sets. {FALLBACK} means that XTuner's stock config decides. Where rows or base ask for others, `MAX_LENGTH`, "
        "`ACCUM`, `EPOCHS`, `LR`, `WARMUP` and `SAVE_STEPS` are chosen, and the screen says why.",
    ),
    "zh": (
        "`make config` 把这些值写进配置，所以 `make train` 也接受它们。各列是配置档设定的值，"
        f"{FALLBACK} 表示沿用 XTuner 自带配置的值。`MAX_LENGTH`、`ACCUM`、`EPOCHS`、`LR`、`WARMUP`、`SAVE_STEPS` "
        "会按数据和基座调整，屏幕上会说明理由。",
    ),
}
_ENVIRONMENT = {
    "en": (
        "`OPENAI_API_KEY` is the key that `make ask` sends. It is read from the environment only. It is never written to a "
        "file and never printed.",
    ),
    "zh": ("`OPENAI_API_KEY` 是 `make ask` 使用的密钥，只从环境读取，不会写入文件，也不会显示。",),
}
_COMMANDS_INTRO = {
    "en": (
        "Most targets run one small script in `recipe/`. `python -m recipe.NAME --help` shows the options of a script. "
        "`make` alone prints the targets and variables in the terminal.",
        "Some targets run others first. `train` runs `config` and `model`. `merge` runs `convert`. `eval`, `chat` and "
        "`serve` run `merge`. `web` runs `convert`. What is up to date is not made again. A target also takes the variables of "
        "the targets that it runs.",
        "The variables are explained on the page [Settings](settings.md). Every target also takes `PROFILE`, `BUILD` and "
        "`LANG`.",
    ),
    "zh": (
        "多数目标运行 `recipe/` 里的一个小脚本。`python -m recipe.NAME --help` 显示脚本的选项。"
        "只输入 `make` 会在终端列出目标和变量。",
        "有些目标会先运行别的目标：`train` 先运行 `config` 和 `model`，`merge` 先运行 `convert`，"
        "`eval`、`chat`、`serve` 先运行 `merge`，`web` 先运行 `convert`。已是最新的不会重做。目标也接受它所运行目标的变量。",
        "变量的说明见[设置](settings.zh-CN.md)。每个目标还接受 `PROFILE`、`BUILD` 和 `LANG`。",
    ),
}
_EXIT_STATUSES = {
    "en": (
        ("0", "done"),
        ("1", "judged, and not good enough: evaluation, doctor, check, a loss that did not fall"),
        ("2", "input that cannot be used; one line names the place and the remedy"),
        ("130", "stopped by Ctrl-C; the same command goes on"),
    ),
    "zh": (
        ("0", "完成"),
        ("1", "评判未通过：评测、doctor、检查，或损失没有下降"),
        ("2", "输入不可用；用一行说明位置和解决办法"),
        ("130", "被 Ctrl-C 停止；再次运行同一命令可继续"),
    ),
}
