"""Trust: what a config may import, name and call. Whatever goes beyond configuring becomes a Problem.

The table trust.json (schemas/config_trust.schema.json) holds what XTuner's stock fine-tuning configs import, and what
the recipe adds to them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path

from lesson.config.parsed import ParsedConfig, Problem, Ref, Unknown, as_json, walk_values
from lesson.config.syntax import BUILTINS, PYTHON_NAMES, SourceText, bound_names

MOST_PROBLEMS = 50  # of one config; what comes after them is not told
_TABLE = json.loads(Path(__file__).with_name("trust.json").read_text(encoding="utf-8"))
# What may be imported, by full name.
TRUSTED_OBJECTS = frozenset(
    [f"{module}.{name}" for module, names in _TABLE["imports"].items() for name in names] + _TABLE["modules"]
)
# Attributes that may be taken of them.
TRUSTED_ATTRIBUTES = re.compile(
    "|".join(
        [f"{re.escape(owner)}\\.({'|'.join(names)})" for owner, names in _TABLE["attributes"].items()]
        + [rf"{re.escape(owner)}\.[a-z][a-z0-9_]*" for owner in _TABLE["any_attribute"]]
    )
)
LOOKED_UP = frozenset(_TABLE["looked_up"])  # keys whose text mmengine or XTuner looks up as an object to call
DANGEROUS_MODULES = re.compile(f"({'|'.join(_TABLE['dangerous_modules'])})\\b")
DANGEROUS_DATASETS = frozenset(_TABLE["dangerous_datasets"])  # what load_dataset takes for a loader that unpickles
HUB_OWNERS = frozenset(_TABLE["hub_owners"])  # who publishes the base models of XTuner's stock configs
_STATEMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If, ast.Import, ast.ImportFrom, ast.Pass)
_EXPRESSIONS = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp),
    *(ast.Subscript, ast.Slice, ast.JoinedStr, ast.FormattedValue, ast.Name, ast.Attribute, ast.Call),
)


def judge_syntax(tree: ast.Module, source: str, text: SourceText, config: ParsedConfig) -> None:
    """Add a Problem for every node that a config has no use for. Nodes are judged where they stand, run or not."""

    def problem(kind: str, node: ast.AST, found: str | None = None) -> None:
        if len(config.problems) < MOST_PROBLEMS:
            config.problems.append(Problem(kind, node.lineno, text(node) if found is None else found[:200]))

    # mmengine puts other text in place of {{ … }} before it parses: what is read here would not be what is run.
    if match := re.search(r"\{\{.*", source):
        line = source.count("\n", 0, match.start()) + 1
        config.problems.append(Problem("trust-template", line, match.group()[:200]))
    nodes = list(ast.walk(tree))
    for node in nodes:
        _judge_import(node, config, problem)
    bound = {name for node in nodes for name in bound_names(node)}
    chained: set[ast.AST] = set()  # inner nodes of attribute chains, which are judged as a whole
    for node in nodes:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case ast.stmt() if not isinstance(node, _STATEMENTS):
                problem("trust-statement", node)
            case ast.Assign(targets=targets) if not all(isinstance(t, ast.Name) for t in targets):
                problem("trust-statement", node)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target) if not isinstance(target, ast.Name):
                problem("trust-statement", node)
            case ast.expr() if not isinstance(node, _EXPRESSIONS):
                problem("trust-statement", node)
            case ast.Call(func=func) if not (isinstance(func, ast.Name) and func.id in ("dict", *BUILTINS)):
                problem("trust-call", node)
            case ast.Attribute() if node not in chained:
                _judge_chain(node, chained, config, problem)
            case ast.Name(id=name, ctx=ast.Load()) if name not in bound:
                if name not in PYTHON_NAMES:
                    problem("undefined", node)
                elif name not in ("dict", *BUILTINS):
                    problem("trust-name", node)
        for name in bound_names(node):
            if name in PYTHON_NAMES or (name.startswith("__") and name.endswith("__")):
                problem("trust-name", node, f"{name} = …")


def _judge_import(node: ast.AST, config: ParsedConfig, problem: Callable) -> None:
    match node:
        case ast.Import(names=names):
            for alias in names:
                config.imports[(alias.asname or alias.name).split(".")[0]] = alias.name
                if alias.name not in TRUSTED_OBJECTS:
                    problem("trust-import", node, f"import {alias.name}")
        case ast.ImportFrom(module=module, names=names, level=level):
            origin = "." * level + (module or "")
            for alias in names:
                config.imports[alias.asname or alias.name] = f"{origin}.{alias.name}"
                if f"{origin}.{alias.name}" not in TRUSTED_OBJECTS:
                    problem("trust-import", node, f"from {origin} import {alias.name}")


def _judge_chain(node: ast.Attribute, chained: set[ast.AST], config: ParsedConfig, problem: Callable) -> None:
    """Judge a.b.c as a whole: only a chain from an import to a known object configures something."""
    names, inner = [], node
    while isinstance(inner, ast.Attribute):
        names.append(inner.attr)
        inner = inner.value
        chained.add(inner)
    if isinstance(inner, ast.Name) and inner.id in config.imports:
        full = ".".join([config.imports[inner.id], *reversed(names)])
        if full in TRUSTED_OBJECTS or TRUSTED_ATTRIBUTES.fullmatch(full):
            return
    problem("trust-attribute", node)


def judge_values(config: ParsedConfig) -> None:
    """Judge what folding found: objects by their full name, and texts that are looked up as objects."""
    short = {name.rpartition(".")[2] for name in TRUSTED_OBJECTS}
    # Where an import or an attribute is a problem already, it has been reported where it is written.
    reported = any(p.kind in ("trust-import", "trust-attribute") for p in config.problems)
    for key, value, line in walk_values(config):
        match value:
            case Ref(name) if not reported and (
                name == "torch" or not (name in TRUSTED_OBJECTS or TRUSTED_ATTRIBUTES.fullmatch(name))
            ):
                config.problems.append(Problem("trust-attribute", line, name))
            case str() if (
                key in LOOKED_UP
                and value not in TRUSTED_OBJECTS
                and value not in short
                and not TRUSTED_ATTRIBUTES.fullmatch(value)
            ):
                config.problems.append(Problem("trust-type", line, f"{key}={value[:100]!r}"))
            case str() if re.fullmatch(r"[\w.]+", value) and "." in value and DANGEROUS_MODULES.match(value):
                config.problems.append(Problem("trust-type", line, f"{key}={value[:100]!r}"))
            case str() if key == "path" and value in DANGEROUS_DATASETS:
                config.problems.append(Problem("trust-type", line, f"{key}={value!r}"))
            case Unknown(source) if key in LOOKED_UP:
                config.problems.append(Problem("trust-type", line, f"{key}={source[:100]}"))
    resource = config.values.get("model_resource")  # XTuner calls its `fn` as soon as it has loaded the config
    if resource and resource != {"fn": Ref("openmind_hub.snapshot_download"), "args": {}}:
        config.problems.append(Problem("trust-type", config.lines.get("model_resource", 1), "model_resource"))
    if "custom_imports" in config.values:  # mmengine imports what it lists
        config.problems.append(Problem("trust-import", config.lines.get("custom_imports", 1), "custom_imports"))
    if config.values.get("load_from"):
        config.problems.append(
            Problem("loads-pickle", config.lines.get("load_from", 1), str(as_json(config.values["load_from"])))
        )
