"""What a config says, found without running it: parsed with `ast`, folded to values, judged for trust.

A config is Python that mmengine executes. Here it is only read: assignments, `dict(...)`, arithmetic, augmented
assignments and if-statements on known values are folded the way Python would; everything else becomes an Unknown.
Whatever goes beyond configuring (imports outside a short list, calls, attribute chains, loops) becomes a Problem.

The source may be hostile: its size, nesting, numbers, sequences and the size of the folded result are all bounded.
Standard library only; neither torch nor xtuner is imported.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lesson.config.diff import ast_hash

LARGEST_SOURCE = 64 * 1024  # bytes; XTuner's longest stock config has 20 KB
LARGEST_RESULT = 20_000  # folded values in all; a stock config has 200
LONGEST_SEQUENCE = 10_000  # characters or elements that folding may build
LARGEST_NUMBER = 2**64
MOST_PROBLEMS = 50

# What XTuner's stock fine-tuning configs import, and what the recipe adds to them.
_KNOWN = {
    "bitsandbytes.optim": ["AdamW8bit", "PagedAdamW32bit", "PagedAdamW8bit"],
    "datasets": ["load_dataset"],
    "mmengine.dataset": ["DefaultSampler"],
    "mmengine.hooks": ["CheckpointHook", "DistSamplerSeedHook", "IterTimerHook", "LoggerHook", "ParamSchedulerHook"],
    "mmengine.optim": ["AmpOptimWrapper", "CosineAnnealingLR", "LinearLR", "OptimWrapper"],
    "mmengine.visualization": ["TensorboardVisBackend", "Visualizer"],
    "openmind": ["OmDataset"],
    "openmind_hub": ["snapshot_download"],
    "peft": ["LoraConfig", "TaskType"],
    "torch.optim": ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"],
    "transformers": ["AutoModelForCausalLM", "AutoTokenizer", "BitsAndBytesConfig"],
    "xtuner.dataset": ["ConcatDataset", "process_hf_dataset"],
    "xtuner.dataset.collate_fns": ["default_collate_fn"],
    "xtuner.dataset.map_fns": [
        "alpaca_map_fn",
        "alpaca_zh_map_fn",
        "arxiv_map_fn",
        "code_alpaca_map_fn",
        "colors_map_fn",
        "crime_kg_assitant_map_fn",
        "default_map_fn",
        "law_reference_map_fn",
        "medical_map_fn",
        "msagent_react_map_fn",
        "oasst1_map_fn",
        "openai_map_fn",
        "openorca_map_fn",
        "pretrain_map_fn",
        "sql_map_fn",
        "stack_exchange_map_fn",
        "template_map_fn_factory",
        "tiny_codes_map_fn",
        "wizardlm_map_fn",
    ],
    "xtuner.dataset.samplers": ["LengthGroupedSampler"],
    "xtuner.engine": ["DatasetInfoHook", "EvaluateChatHook", "ThroughputHook", "VarlenAttnArgsToMessageHubHook"],
    "xtuner.engine.hooks": [
        "DatasetInfoHook",
        "EvaluateChatHook",
        "HFCheckpointHook",
        "ThroughputHook",
        "VarlenAttnArgsToMessageHubHook",
    ],
    "xtuner.engine.runner": ["TrainLoop"],
    "recipe.dequantised": ["DequantisedFinetune"],
    "recipe.fast": ["FastFinetune"],
    "lesson.training.dequantised": ["DequantisedFinetune"],
    "lesson.training.fast": ["FastFinetune"],
    "xtuner.model": ["SupervisedFinetune"],
    "xtuner.parallel.sequence": ["SequenceParallelSampler"],
    "xtuner.utils": ["PROMPT_TEMPLATE", "SYSTEM_TEMPLATE"],
}
KNOWN = frozenset({f"{module}.{name}" for module, names in _KNOWN.items() for name in names} | {"torch"})
# Attributes that may be taken of them.
CHAINS = re.compile(
    r"torch\.(float16|bfloat16|float32|float64|half|float|int8|uint8)"
    r"|transformers\.(AutoModelForCausalLM|AutoTokenizer)\.from_pretrained"
    r"|peft\.TaskType\.CAUSAL_LM"
    r"|openmind\.OmDataset\.load_dataset"
    r"|xtuner\.utils\.(PROMPT|SYSTEM)_TEMPLATE\.[a-z][a-z0-9_]*"
)
# Keys whose text mmengine or XTuner looks up as an object to call.
LOOKED_UP = (
    *("type", "dataset_map_fn", "template_map_fn", "collate_fn", "template", "prompt_template", "fn", "function"),
    *("constructor", "runner_type", "batch_sampler", "worker_init_fn"),
)
DANGEROUS = re.compile(
    r"(os|posix|sys|subprocess|builtins|importlib|runpy|pickle|marshal|shutil|socket|ctypes|pty|code|pdb|site|types)\b"
)
BUILTINS: dict[str, Callable] = {"int": int, "float": float, "str": str, "bool": bool, "len": len, "abs": abs}


@dataclass(frozen=True)
class Ref:
    """An object that the config imports, by its full name: never imported here."""

    name: str


@dataclass(frozen=True)
class Unknown:
    """An expression that folding does not follow, as source."""

    source: str


class Dict(dict):
    """A folded dict that remembers the line of each key; a key that holds a variable has the variable's line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[object, int] = {}


@dataclass(frozen=True)
class Problem:
    """Something in the source that a config has no use for. `kind` is the id of a rule of lesson/config/check.py."""

    kind: str
    line: int
    found: str


@dataclass
class Facts:
    """One config: `values` of its variables, `lines` of their assignments, `problems`, and what it imports."""

    file: str
    sha256: str = ""
    source: str | None = None  # None when it is not Python
    base: list[str] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def get(self, path: str, default: object = None) -> object:
        """The value at a dotted path below the config's variables, or `default`."""
        node: object = self.values
        for key in path.split("."):
            if not isinstance(node, dict) or key not in node:
                return default
            node = node[key]
        return node

    def line(self, path: str) -> int:
        """The line that decides the value at `path`: the innermost key that is there, or its variable's assignment."""
        first, *rest = path.split(".")
        node, line = self.values.get(first), self.lines.get(first, 1)
        for key in rest:
            if not isinstance(node, Dict) or key not in node:
                break
            line, node = node.lines.get(key, line), node[key]
        return line

    def ast_sha256(self) -> str | None:
        """The hash of the normalised source; None when it is not Python, or nested too deep to be written again."""
        try:
            return None if self.source is None else ast_hash(self.source)
        except RecursionError:
            return None

    def document(self) -> dict:
        """As JSON, valid against schemas/config.schema.json."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "ast_sha256": self.ast_sha256(),
            "base": self.base,
            "imports": self.imports,
            "values": {name: plain(value) for name, value in self.values.items()},
            "lines": self.lines,
            "summary": summary(self),
            "problems": [vars(p) for p in self.problems],
        }


def plain(value: object) -> object:
    """A folded value as JSON: {"ref": name} for an imported object, {"unknown": source} for what was not folded."""
    match value:
        case Ref(name):
            return {"ref": name}
        case Unknown(source):
            return {"unknown": source}
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case str():  # a lone surrogate can be folded, not written
            return value.encode("utf-8", "backslashreplace").decode()
        case float() if value != value or abs(value) == float("inf"):
            return {"unknown": repr(value)}
    return value


# --- reading -----------------------------------------------------------------------------------------------------------


def read(path: str | Path) -> Facts:
    """The facts of the file at `path`. Raises OSError when it cannot be read; all else becomes a Problem."""
    with open(path, "rb") as file:
        return of_bytes(file.read(LARGEST_SOURCE + 1), str(path), Path(path).parent)


def of_bytes(data: bytes, file: str, folder: Path | None = None, _depth: int = 0) -> Facts:
    """The facts of a config given as bytes. `_base_` files are followed inside `folder` only, and nowhere without it."""
    facts = Facts(file, hashlib.sha256(data).hexdigest())
    if len(data) > LARGEST_SOURCE:
        facts.problems.append(Problem("trust-size", 1, f"> {LARGEST_SOURCE} bytes"))
        return facts
    try:
        source = data.decode("utf-8")  # as mmengine does: a coding cookie is a comment to it
        tree, text = ast.parse(source), _Text(source)
        facts.source = source
        _judge(tree, source, text, facts)
        _fold(tree, text, facts, folder, _depth)
    except SyntaxError as error:
        facts.problems.append(Problem("syntax", error.lineno or 1, error.msg))
    except UnicodeDecodeError as error:
        facts.problems.append(Problem("syntax", data.count(b"\n", 0, error.start) + 1, f"UTF-8: {error.reason}"))
    except (RecursionError, MemoryError, ValueError) as error:  # ValueError: a null byte, an integer of 5000 digits
        facts.problems.append(Problem("trust-size", 1, f"{type(error).__name__}: {error}".strip(": ")))
    facts.problems = list(dict.fromkeys(facts.problems))[:MOST_PROBLEMS]
    return facts


# --- trust -------------------------------------------------------------------------------------------------------------

_STATEMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If, ast.Import, ast.ImportFrom, ast.Pass)
_EXPRESSIONS = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp),
    *(ast.Subscript, ast.Slice, ast.JoinedStr, ast.FormattedValue, ast.Name, ast.Attribute, ast.Call),
)
_PYTHON_BUILTINS = frozenset(dir(builtins))


class _Text:
    """Excerpts of the source by node, at most 200 characters: ast.unparse on every level would take quadratic time."""

    def __init__(self, source: str) -> None:
        self.lines = [line.encode() for line in re.split(r"\r\n|\r|\n", source)]

    def __call__(self, node: ast.AST) -> str:
        line = self.lines[node.lineno - 1][node.col_offset :]
        if node.end_lineno == node.lineno:
            line = line[: node.end_col_offset - node.col_offset]
        return line.decode(errors="ignore").strip()[:200] + ("" if node.end_lineno == node.lineno else " …")


def _judge(tree: ast.Module, source: str, text: _Text, facts: Facts) -> None:
    """Add a Problem for every node that a config has no use for. Nodes are judged where they stand, run or not."""

    def problem(kind: str, node: ast.AST, found: str | None = None) -> None:
        if len(facts.problems) < MOST_PROBLEMS:
            facts.problems.append(Problem(kind, node.lineno, text(node) if found is None else found[:200]))

    # mmengine puts other text in place of {{ … }} before it parses: what is read here would not be what is run.
    if match := re.search(r"\{\{.*", source):
        line = source.count("\n", 0, match.start()) + 1
        facts.problems.append(Problem("trust-template", line, match.group()[:200]))
    nodes = list(ast.walk(tree))
    for node in nodes:
        _judge_import(node, facts, problem)
    bound = {name for node in nodes for name in _bound(node)}
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
                _judge_chain(node, chained, facts, problem)
            case ast.Name(id=name, ctx=ast.Load()) if name not in bound:
                if name not in _PYTHON_BUILTINS:
                    problem("undefined", node)
                elif name not in ("dict", *BUILTINS):
                    problem("trust-name", node)
        for name in _bound(node):
            if name in _PYTHON_BUILTINS or (name.startswith("__") and name.endswith("__")):
                problem("trust-name", node, f"{name} = …")


def _judge_import(node: ast.AST, facts: Facts, problem: Callable) -> None:
    match node:
        case ast.Import(names=names):
            for alias in names:
                facts.imports[(alias.asname or alias.name).split(".")[0]] = alias.name
                if alias.name not in KNOWN:
                    problem("trust-import", node, f"import {alias.name}")
        case ast.ImportFrom(module=module, names=names, level=level):
            origin = "." * level + (module or "")
            for alias in names:
                facts.imports[alias.asname or alias.name] = f"{origin}.{alias.name}"
                if f"{origin}.{alias.name}" not in KNOWN:
                    problem("trust-import", node, f"from {origin} import {alias.name}")


def _judge_chain(node: ast.Attribute, chained: set[ast.AST], facts: Facts, problem: Callable) -> None:
    """Judge a.b.c as a whole: only a chain from an import to a known object configures something."""
    names, inner = [], node
    while isinstance(inner, ast.Attribute):
        names.append(inner.attr)
        inner = inner.value
        chained.add(inner)
    if isinstance(inner, ast.Name) and inner.id in facts.imports:
        full = ".".join([facts.imports[inner.id], *reversed(names)])
        if full in KNOWN or CHAINS.fullmatch(full):
            return
    problem("trust-attribute", node)


def _bound(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from ((a.asname or a.name).split(".")[0] for a in names)
        case ast.ImportFrom(names=names):
            yield from (a.asname or a.name for a in names)
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name


# --- folding -----------------------------------------------------------------------------------------------------------

_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}
_SCALAR = (str, int, float, bool, type(None))


class _Folder:
    """Runs the few statements that configure, over folded values, in order."""

    def __init__(self, facts: Facts, text: _Text) -> None:
        self.facts, self.source = facts, text
        self.env: dict[str, object] = {name: Ref(full) for name, full in facts.imports.items()}

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Assign(targets=targets, value=value):
                    folded = self.value(value)
                    for target in targets:
                        if isinstance(target, ast.Name):
                            self.bind(target.id, folded, statement.lineno)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.bind(name, self.value(value), statement.lineno)
                case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                    old, new = self.env.get(name, Unknown(name)), self.value(value)
                    lists = isinstance(old, list) and isinstance(new, list) and isinstance(op, ast.Add)
                    if lists and len(old) + len(new) <= LONGEST_SEQUENCE:
                        old += new  # in place, as Python does it
                    else:
                        self.bind(name, self.binary(op, old, new, statement), statement.lineno)
                case ast.If(test=test, body=body, orelse=orelse):
                    known = self.truth(self.value(test))
                    if known is None:
                        for name in {n for s in statement.body + orelse for w in ast.walk(s) for n in _bound(w)}:
                            self.bind(name, Unknown(self.source(statement)), statement.lineno)
                    else:
                        self.block(body if known else orelse)

    def bind(self, name: str, value: object, line: int) -> None:
        self.env[name] = value
        self.facts.values[name] = value
        self.facts.lines[name] = line

    @staticmethod
    def truth(value: object) -> bool | None:
        return None if isinstance(value, Unknown) else bool(value) if not isinstance(value, Ref) else True

    def value(self, node: ast.expr) -> object:
        folded = self._value(node)
        return Unknown(self.source(node)) if folded is None else folded[0]

    def _value(self, node: ast.expr) -> tuple[object] | None:
        """The value in a tuple; None when it is not known."""
        match node:
            case ast.Constant(value=value) if isinstance(value, _SCALAR):
                return (value,)
            case ast.Name(id=name) if name in self.env:
                return (self.env[name],)
            case ast.Attribute(value=inner, attr=attribute):
                base = self.value(inner)
                return (Ref(f"{base.name}.{attribute}"),) if isinstance(base, Ref) else None
            case ast.List(elts=elements):
                return ([self.value(e) for e in elements],)
            case ast.Tuple(elts=elements):
                return (tuple(self.value(e) for e in elements),)
            case ast.Dict(keys=keys, values=values):
                return self.dict([(k, v) for k, v in zip(keys, values, strict=True)])
            case ast.Call(func=ast.Name(id="dict"), args=args, keywords=keywords) if "dict" not in self.env:
                pairs = [(None, a) for a in args]
                return self.dict([*pairs, *((k.arg and ast.Constant(k.arg), k.value) for k in keywords)])
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in BUILTINS:
                return self.builtin(name, self.value(argument))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                inner = self.value(operand)
                if isinstance(op, ast.Not):
                    known = self.truth(inner)
                    return None if known is None else (not known,)
                return (_UNARY[type(op)](inner),) if isinstance(inner, int | float) else None
            case ast.BinOp(left=left, op=op, right=right):
                result = self.binary(op, self.value(left), self.value(right), node)
                return None if isinstance(result, Unknown) else (result,)
            case ast.BoolOp(op=op, values=values):
                for item in values:
                    folded = self.value(item)
                    known = self.truth(folded)
                    if known is None:
                        return None
                    if known == isinstance(op, ast.Or):
                        return (folded,)
                return (folded,)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.compare(op, self.value(left), self.value(right))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                known = self.truth(self.value(test))
                return None if known is None else (self.value(body if known else orelse),)
            case ast.Subscript(value=inner, slice=index):
                return self.item(self.value(inner), self.value(index))
            case ast.JoinedStr(values=parts):
                return self.text(parts)
        return None

    def dict(self, pairs: list[tuple[ast.expr | None, ast.expr]]) -> tuple[object] | None:
        result = Dict()
        for key_node, value_node in pairs:
            value = self.value(value_node)
            if key_node is None:  # `**other`, or dict(other)
                if not isinstance(value, Dict):
                    return None
                result.update(value)
                result.lines.update(value.lines)
                continue
            key = self.value(key_node)
            if not isinstance(key, _SCALAR):
                return None
            result[key] = value
            line = value_node.lineno
            if isinstance(value_node, ast.Name):
                line = self.facts.lines.get(value_node.id, line)
            result.lines[key] = line
        return (result,)

    @staticmethod
    def builtin(name: str, argument: object) -> tuple[object] | None:
        if isinstance(argument, (*_SCALAR, list, tuple)) and (name == "len" or isinstance(argument, _SCALAR)):
            try:
                return (BUILTINS[name](argument),)
            except (ValueError, TypeError, OverflowError):
                return None
        return None

    def binary(self, op: ast.operator, left: object, right: object, node: ast.AST) -> object:
        unknown = Unknown(self.source(node))
        if type(op) not in _BINARY:
            return unknown
        numbers = all(isinstance(x, int | float) for x in (left, right))
        if isinstance(op, ast.Pow) and not (numbers and abs(right) <= 64 and abs(left) <= 2**16):
            return unknown
        if not numbers:
            sequences = type(left) is type(right) and isinstance(left, str | list | tuple)
            if not (sequences and isinstance(op, ast.Add) and len(left) + len(right) <= LONGEST_SEQUENCE):
                return unknown
        try:
            result = _BINARY[type(op)](left, right)
        except (ArithmeticError, TypeError, ValueError):
            return unknown
        if isinstance(result, complex) or (isinstance(result, int) and abs(result) > LARGEST_NUMBER):
            return unknown
        return result

    @staticmethod
    def compare(op: ast.cmpop, left: object, right: object) -> tuple[object] | None:
        scalars = isinstance(left, (*_SCALAR, Ref)) and isinstance(right, (*_SCALAR, Ref))
        if scalars and type(op) in _COMPARE:
            try:
                return (_COMPARE[type(op)](left, right),)
            except TypeError:
                return None
        listed = isinstance(right, list | tuple) and all(isinstance(x, (*_SCALAR, Ref)) for x in right)
        if isinstance(op, ast.In | ast.NotIn) and isinstance(left, (*_SCALAR, Ref)) and listed:
            return ((left in right) == isinstance(op, ast.In),)
        return None

    @staticmethod
    def item(container: object, index: object) -> tuple[object] | None:
        try:
            if isinstance(container, str | list | tuple | Dict) and isinstance(index, str | int):
                return (container[index],)
        except (LookupError, TypeError):
            pass
        return None

    def text(self, parts: list[ast.expr]) -> tuple[object] | None:
        result = ""
        for part in parts:
            match part:
                case ast.Constant(value=str() as text):
                    result += text
                case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                    folded = self.value(value)
                    if not isinstance(folded, str | int | float):
                        return None
                    result += str(folded)
                case _:
                    return None
        return (result,) if len(result) <= LONGEST_SEQUENCE else None


def _fold(tree: ast.Module, text: _Text, facts: Facts, folder: Path | None, depth: int) -> None:
    _Folder(facts, text).block(tree.body)
    base = facts.values.pop("_base_", [])
    facts.base = [b for b in ([base] if isinstance(base, str) else base or []) if isinstance(b, str)]
    for name in facts.base:
        _inherit(facts, name, folder, depth)
    if _size(facts.values) > LARGEST_RESULT:
        facts.problems.append(Problem("trust-size", 1, f"> {LARGEST_RESULT} values"))
        facts.values = {}
        return
    _judge_values(facts)


def _inherit(facts: Facts, name: str, folder: Path | None, depth: int) -> None:
    """Merge the values of the `_base_` file `name` below those of `facts`, when it lies inside `folder`."""
    line = facts.lines.get("_base_", 1)
    path = (folder / name).resolve() if folder else None
    if path is None or depth >= 4 or not path.is_relative_to(folder.resolve()) or not path.is_file():
        facts.problems.append(Problem("base", line, name))
        return
    with open(path, "rb") as file:
        below = of_bytes(file.read(LARGEST_SOURCE + 1), name, folder, depth + 1)
    facts.problems += [Problem(p.kind, line, f"{name}:{p.line}: {p.found}") for p in below.problems]
    facts.imports = below.imports | facts.imports
    facts.lines = dict.fromkeys(below.lines, line) | facts.lines
    facts.values = _merged(below.values, facts.values)


def _merged(below: dict, above: dict) -> dict:
    """mmengine's rule: dicts merge key by key unless the upper one says `_delete_=True`; all else is replaced."""
    result = Dict() if isinstance(below, Dict) else {}
    result.update(below)
    if isinstance(below, Dict) and isinstance(above, Dict):
        result.lines = below.lines | above.lines
    for key, value in above.items():
        if isinstance(value, Dict) and isinstance(below.get(key), Dict) and not value.get("_delete_"):
            value = _merged(below[key], value)
        result[key] = value
    return result


def _size(value: object, limit: int = LARGEST_RESULT) -> int:
    """How many values there are inside `value`, shared ones counted as often as they stand; stops above `limit`."""
    count, stack = 0, [value]
    while stack and count <= limit:
        item = stack.pop()
        count += 1
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return count


def _judge_values(facts: Facts) -> None:
    """Judge what folding found: objects by their full name, and texts that are looked up as objects."""
    short = {name.rpartition(".")[2] for name in KNOWN}
    told = any(p.kind in ("trust-import", "trust-attribute") for p in facts.problems)  # already, where it is written
    for key, value, line in walk(facts):
        match value:
            case Ref(name) if not told and (name == "torch" or not (name in KNOWN or CHAINS.fullmatch(name))):
                facts.problems.append(Problem("trust-attribute", line, name))
            case str() if (
                key in LOOKED_UP and value not in KNOWN and value not in short and not CHAINS.fullmatch(value)
            ):
                facts.problems.append(Problem("trust-type", line, f"{key}={value[:100]!r}"))
            case str() if re.fullmatch(r"[\w.]+", value) and "." in value and DANGEROUS.match(value):
                facts.problems.append(Problem("trust-type", line, f"{key}={value[:100]!r}"))
            case str() if key == "path" and value in ("pandas", "webdataset"):
                facts.problems.append(Problem("trust-type", line, f"{key}={value!r}"))
            case Unknown(source) if key in LOOKED_UP:
                facts.problems.append(Problem("trust-type", line, f"{key}={source[:100]}"))
    resource = facts.values.get("model_resource")  # XTuner calls its `fn` as soon as it has loaded the config
    if resource and resource != {"fn": Ref("openmind_hub.snapshot_download"), "args": {}}:
        facts.problems.append(Problem("trust-type", facts.lines.get("model_resource", 1), "model_resource"))
    if "custom_imports" in facts.values:  # mmengine imports what it lists
        facts.problems.append(Problem("trust-import", facts.lines.get("custom_imports", 1), "custom_imports"))
    if facts.values.get("load_from"):
        facts.problems.append(
            Problem("loads-pickle", facts.lines.get("load_from", 1), str(plain(facts.values["load_from"])))
        )


def walk(facts: Facts) -> Iterator[tuple[object, object, int]]:
    """(key, value, line) of every value, dicts and lists included; what stands in a list has the list's key."""
    stack = [(key, value, facts.lines.get(key, 1)) for key, value in facts.values.items()]
    while stack:
        key, value, line = stack.pop()
        yield key, value, line
        if isinstance(value, Dict):
            stack.extend((k, v, value.lines.get(k, line)) for k, v in value.items())
        elif isinstance(value, list | tuple):
            stack.extend((key, item, line) for item in value)


# --- what the rules and the estimate ask for ---------------------------------------------------------------------------


def dataset(facts: Facts) -> tuple[str, Dict] | None:
    """(path, dict) of the data set that is trained on: the dataloader's, or the first of its ConcatDataset."""
    path = "train_dataloader.dataset"
    found = facts.get(path)
    if isinstance(found, Dict) and isinstance(found.get("datasets"), list):
        inner = found["datasets"]
        return (path, inner[0]) if inner and isinstance(inner[0], Dict) else None
    return (path, found) if isinstance(found, Dict) else None


SUMMARY = {
    "model_path": "model.llm.pretrained_model_name_or_path",
    "tokenizer_path": "tokenizer.pretrained_model_name_or_path",
    "template": "train_dataloader.dataset.template_map_fn.template",
    "dataset_type": "train_dataloader.dataset.dataset.type",
    "dataset_path": "train_dataloader.dataset.dataset.path",
    "data_files": "train_dataloader.dataset.dataset.data_files",
    "dataset_map_fn": "train_dataloader.dataset.dataset_map_fn",
    "max_length": "train_dataloader.dataset.max_length",
    "pack_to_max_length": "train_dataloader.dataset.pack_to_max_length",
    "use_varlen_attn": "model.use_varlen_attn",
    "sequence_parallel_size": "sequence_parallel_size",
    "batch_size": "train_dataloader.batch_size",
    "dataloader_num_workers": "train_dataloader.num_workers",
    "accumulative_counts": "optim_wrapper.accumulative_counts",
    "max_epochs": "train_cfg.max_epochs",
    "warmup_ratio": "warmup_ratio",
    "optimizer": "optim_wrapper.optimizer.type",
    "lr": "optim_wrapper.optimizer.lr",
    "betas": "optim_wrapper.optimizer.betas",
    "weight_decay": "optim_wrapper.optimizer.weight_decay",
    "max_norm": "optim_wrapper.clip_grad.max_norm",
    "optim_wrapper": "optim_wrapper.type",
    "loss_scale": "optim_wrapper.loss_scale",
    "amp_dtype": "optim_wrapper.dtype",
    "torch_dtype": "model.llm.torch_dtype",
    "load_in_4bit": "model.llm.quantization_config.load_in_4bit",
    "compute_dtype": "model.llm.quantization_config.bnb_4bit_compute_dtype",
    "lora_r": "model.lora.r",
    "lora_alpha": "model.lora.lora_alpha",
    "lora_dropout": "model.lora.lora_dropout",
    "save_steps": "default_hooks.checkpoint.interval",
    "save_total_limit": "default_hooks.checkpoint.max_keep_ckpts",
    "system": "custom_hooks[EvaluateChatHook].system",
    "evaluation_inputs": "custom_hooks[EvaluateChatHook].evaluation_inputs",
    "seed": "randomness.seed",
}


def lookup(facts: Facts, name: str) -> tuple[object, int]:
    """(value, line) of an entry of SUMMARY, read where training reads it; (None, line) when it is absent."""
    path = SUMMARY[name]
    if "[" in path:
        list_name, kind, key = re.fullmatch(r"(\w+)\[(\w+)\]\.(\w+)", path).groups()
        for item in _dicts(facts.values.get(list_name)):
            if isinstance(item.get("type"), Ref) and item["type"].name.endswith(f".{kind}") and key in item:
                return item[key], item.lines.get(key, facts.lines.get(list_name, 1))
        return None, facts.lines.get(list_name, 1)
    found = dataset(facts)
    if found and path.startswith(found[0] + "."):
        probe = Facts("", values={"x": found[1]}, lines={"x": facts.line(found[0])})
        inner = "x" + path[len(found[0]) :]
        return probe.get(inner), probe.line(inner)
    return facts.get(path), facts.line(path)


def _dicts(value: object) -> list[Dict]:
    return [item for item in value if isinstance(item, Dict)] if isinstance(value, list | tuple) else []


def data_file(facts: Facts) -> str | None:
    """The one local file that is trained on: `data_files` as a text, a list of one or a dict of one. Else None."""
    found = lookup(facts, "data_files")[0]
    while isinstance(found, dict | list | tuple) and len(found) == 1:
        found = next(iter(found.values() if isinstance(found, dict) else found))
    return found if isinstance(found, str) else None


def summary(facts: Facts) -> dict[str, object]:
    """The settings of the lesson's table, as JSON, read from where training reads them, and `data_file`."""
    return {name: plain(lookup(facts, name)[0]) for name in SUMMARY} | {"data_file": plain(data_file(facts))}


def facts_of(path: str | Path) -> dict[str, object]:
    """The summary of the config at `path`, for stages that train with it."""
    return summary(read(path))
