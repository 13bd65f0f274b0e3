"""What a config says, found without running it: parsed with `ast`, folded to values, judged for trust.

A config is Python that mmengine executes. Here it is only read: assignments, `dict(...)`, arithmetic, augmented
assignments and if-statements on known values are folded the way Python would; everything else becomes an Unknown.
Whatever goes beyond configuring (imports outside a short list, calls, attribute chains, loops) becomes a Problem.

The source may be hostile: its size, nesting, numbers, sequences and the size of the folded result are all bounded.
Standard library only; neither torch nor xtuner is imported.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from pathlib import Path

from lesson.config.folding import LARGEST_RESULT, ConstantFolder, count_values, merge_values
from lesson.config.names import resolve_names
from lesson.config.parsed import ParsedConfig, Problem
from lesson.config.syntax import SourceText
from lesson.config.trust import MOST_PROBLEMS, judge_syntax, judge_values

# Names that mmengine keeps for itself (mmengine/config/config.py, RESERVED_KEYS): Config.fromfile raises KeyError.
RESERVED = ("filename", "text", "pretty_text", "env_variables")
LARGEST_SOURCE = 64 * 1024  # bytes; XTuner's longest stock config has 20 KB


def read_config(path: str | Path) -> ParsedConfig:
    """The config in the file at `path`. Raises OSError when it cannot be read; all else becomes a Problem."""
    with open(path, "rb") as file:
        return parse_config(file.read(LARGEST_SOURCE + 1), str(path), Path(path).parent)


def parse_config(data: bytes, file: str, folder: Path | None = None, _depth: int = 0) -> ParsedConfig:
    """The config in `data`, called `file` in what is said of it. `_base_` files are followed inside `folder` only, and nowhere without it."""
    config = ParsedConfig(file, hashlib.sha256(data).hexdigest())
    if len(data) > LARGEST_SOURCE:
        config.problems.append(Problem("trust-size", 1, f"> {LARGEST_SOURCE} bytes"))
        return config
    try:
        source = data.decode("utf-8")  # as mmengine does: a coding cookie is a comment to it
        tree, text = ast.parse(source), SourceText(source)
        _compile(tree)
        config.source = source
        judge_syntax(tree, source, text, config)
        _fold(tree, text, config, folder, _depth)
    except SyntaxError as error:
        config.problems.append(Problem("syntax", error.lineno or 1, error.msg))
    except UnicodeDecodeError as error:
        config.problems.append(Problem("syntax", data.count(b"\n", 0, error.start) + 1, f"UTF-8: {error.reason}"))
    except (RecursionError, MemoryError, ValueError) as error:  # ValueError: a null byte, an integer of 5000 digits
        config.problems.append(Problem("trust-size", 1, f"{type(error).__name__}: {error}".strip(": ")))
    config.problems = list(dict.fromkeys(config.problems))[:MOST_PROBLEMS]
    return config


def _compile(tree: ast.Module) -> None:
    """Raise SyntaxError for what only Python's compiler refuses, as a keyword that stands twice in a call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compile(tree, "config", "exec", dont_inherit=True)


def _fold(tree: ast.Module, text: SourceText, config: ParsedConfig, folder: Path | None, depth: int) -> None:
    """Fold the statements into `config.values`, with those of its `_base_` files below, and judge the values."""
    ConstantFolder(config, text).fold_block(tree.body)
    base = config.values.pop("_base_", [])
    config.base = [b for b in ([base] if isinstance(base, str) else base or []) if isinstance(b, str)]
    for name in config.base:
        _inherit(config, name, folder, depth)
    for name in filter(config.values.__contains__, RESERVED):
        found = f"{name}: KeyError: {name} is reserved for config file"
        config.problems.append(Problem("cannot-load", config.lines.get(name, 1), found))
    if count_values(config.values) > LARGEST_RESULT:
        config.problems.append(Problem("trust-size", 1, f"> {LARGEST_RESULT} values"))
        config.values = {}
        return
    resolve_names(config)
    judge_values(config)


def _inherit(config: ParsedConfig, name: str, folder: Path | None, depth: int) -> None:
    """Merge the values of the `_base_` file `name` below those of `config`, when it lies inside `folder`."""
    line = config.lines.get("_base_", 1)
    path = (folder / name).resolve() if folder else None
    if path is None or depth >= 4 or not path.is_relative_to(folder.resolve()) or not path.is_file():
        config.problems.append(Problem("base", line, name))
        return
    with open(path, "rb") as file:
        below = parse_config(file.read(LARGEST_SOURCE + 1), name, folder, depth + 1)
    config.problems += [Problem(p.kind, line, f"{name}:{p.line}: {p.found}") for p in below.problems]
    config.imports = below.imports | config.imports
    config.lines = dict.fromkeys(below.lines, line) | config.lines
    config.values = merge_values(below.values, config.values)
