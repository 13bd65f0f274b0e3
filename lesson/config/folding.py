"""Folding: the few statements that a config needs, computed the way Python would, with every size bounded.

What is not followed becomes an Unknown. Nothing is called but the functions of BUILTINS, on folded scalars. Where Python
would stop, as at 1 / 0, or compute without end, as at 10**10**8, the config gets a Problem.
"""

from __future__ import annotations

import ast
import operator
import re

from lesson.config.parsed import FoldedDict, ParsedConfig, Problem, Ref, Unknown
from lesson.config.syntax import BUILTINS, PYTHON_NAMES, SourceText, bound_names

LARGEST_RESULT = 20_000  # folded values in all; a stock config has 200
LONGEST_SEQUENCE = 10_000  # characters or elements that folding may build
LARGEST_NUMBER = 2**64
_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
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
_WIDE = re.compile(r"\d{5,}|\*")  # in a format: a width that fills memory


class ConstantFolder:
    """Runs the few statements that configure, over folded values, in order."""

    def __init__(self, config: ParsedConfig, text: SourceText) -> None:
        self.config, self.source = config, text
        self.env: dict[str, object] = {name: Ref(full) for name, full in config.imports.items()}

    def stop(self, node: ast.AST, error: Exception) -> None:
        """Python stops at `node` when it loads the config."""
        message = str(error).replace(FoldedDict.__name__, "dict")
        found = f"{self.source(node)}: {type(error).__name__}: {message}"
        self.config.problems.append(Problem("cannot-load", node.lineno, found[:200]))

    def refuse_size(self, node: ast.AST) -> None:
        """Loading the config would take more time or memory than any config needs."""
        self.config.problems.append(Problem("trust-size", node.lineno, self.source(node)))

    def fold_block(self, statements: list[ast.stmt]) -> None:
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
                    if lists and not _too_large(op, old, new):
                        old += new  # in place, as Python does it
                    else:
                        self.bind(name, self.binary(op, old, new, statement), statement.lineno)
                case ast.If(test=test, body=body, orelse=orelse):
                    known = self.truth(self.value(test))
                    if known is None:
                        for name in {n for s in statement.body + orelse for w in ast.walk(s) for n in bound_names(w)}:
                            self.bind(name, Unknown(self.source(statement)), statement.lineno)
                    else:
                        self.fold_block(body if known else orelse)

    def bind(self, name: str, value: object, line: int) -> None:
        self.env[name] = value
        self.config.values[name] = value
        self.config.lines[name] = line

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
            case ast.Name(id=name) if name not in PYTHON_NAMES:
                self.config.problems.append(Problem("undefined", node.lineno, self.source(node)))
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
                return self.builtin(node, name, self.value(argument))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                inner = self.value(operand)
                if isinstance(op, ast.Not):
                    known = self.truth(inner)
                    return None if known is None else (not known,)
                if isinstance(inner, Unknown | Ref):
                    return None
                try:
                    return (_UNARY[type(op)](inner),)
                except TypeError as error:
                    return self.stop(node, error)
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
                return self.compare(node, op, self.value(left), self.value(right))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                known = self.truth(self.value(test))
                return None if known is None else (self.value(body if known else orelse),)
            case ast.Subscript(value=inner, slice=index):
                return self.item(node, self.value(inner), self.value(index))
            case ast.JoinedStr(values=parts):
                return self.text(node, parts)
        return None

    def dict(self, pairs: list[tuple[ast.expr | None, ast.expr]]) -> tuple[object] | None:
        result = FoldedDict()
        for key_node, value_node in pairs:
            value = self.value(value_node)
            if key_node is None:  # `**other`, or dict(other)
                if not isinstance(value, FoldedDict):
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
                line = self.config.lines.get(value_node.id, line)
            result.lines[key] = line
        return (result,)

    def builtin(self, node: ast.Call, name: str, argument: object) -> tuple[object] | None:
        if isinstance(argument, (*_SCALAR, list, tuple)) and (name == "len" or isinstance(argument, _SCALAR)):
            try:
                return (BUILTINS[name](argument),)
            except (ValueError, TypeError, OverflowError) as error:
                self.stop(node, error)
        return None

    def binary(self, op: ast.operator, left: object, right: object, node: ast.AST) -> object:
        unknown = Unknown(self.source(node))
        known = all(isinstance(side, (*_SCALAR, list, tuple, FoldedDict)) for side in (left, right))
        if type(op) not in _BINARY or not known:
            return unknown
        if _too_large(op, left, right):
            self.refuse_size(node)
            return unknown
        nested = isinstance(op, ast.Mod) and isinstance(left, str) and isinstance(right, list | tuple | dict)
        if nested or (isinstance(left, dict) and isinstance(right, dict)):
            return unknown  # a text of what may be nested; two dicts made one
        try:
            result = _BINARY[type(op)](left, right)
        except (ArithmeticError, TypeError, ValueError) as error:
            self.stop(node, error)
            return unknown
        if isinstance(result, int) and abs(result) > LARGEST_NUMBER:
            self.refuse_size(node)
            return unknown
        return unknown if isinstance(result, complex) else result

    def compare(self, node: ast.Compare, op: ast.cmpop, left: object, right: object) -> tuple[object] | None:
        # Two lists are not compared: what they share may be counted many times over.
        scalar = isinstance(left, (*_SCALAR, Ref)) or isinstance(right, (*_SCALAR, Ref))
        known = not isinstance(left, Unknown) and not isinstance(right, Unknown)
        if scalar and known and type(op) in _COMPARE:
            try:
                return (_COMPARE[type(op)](left, right),)
            except TypeError as error:
                return None if isinstance(left, Ref) or isinstance(right, Ref) else self.stop(node, error)
        listed = isinstance(right, list | tuple) and all(isinstance(x, (*_SCALAR, Ref)) for x in right)
        if isinstance(op, ast.In | ast.NotIn) and isinstance(left, (*_SCALAR, Ref)) and listed:
            return ((left in right) == isinstance(op, ast.In),)
        return None

    def item(self, node: ast.Subscript, container: object, index: object) -> tuple[object] | None:
        try:
            if isinstance(container, str | list | tuple | FoldedDict) and isinstance(index, str | int):
                return (container[index],)
        except (LookupError, TypeError) as error:
            self.stop(node, error)
        return None

    def text(self, node: ast.JoinedStr, parts: list[ast.expr]) -> tuple[object] | None:
        result = ""
        for part in parts:
            if len(result) > LONGEST_SEQUENCE:
                return self.refuse_size(node)
            match part:
                case ast.Constant(value=str() as text):
                    result += text
                case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                    folded = self.value(value)
                    if not isinstance(folded, _SCALAR):
                        return None
                    result += str(folded)
                case ast.FormattedValue(format_spec=spec) if spec and _WIDE.search(ast.unparse(spec)):
                    return self.refuse_size(node)
                case _:
                    return None
        return (result,) if len(result) <= LONGEST_SEQUENCE else self.refuse_size(node)


def _too_large(op: ast.operator, left: object, right: object) -> bool:
    """Whether the result of an operation would be far beyond what a config holds: told before it is computed."""
    sizes = [len(side) if isinstance(side, str | list | tuple) else None for side in (left, right)]
    if all(isinstance(side, int) for side in (left, right)):
        if isinstance(op, ast.Pow):
            return max(abs(left).bit_length() - 1, 0) * right > 64  # of 0 and 1 every power is small
        return isinstance(op, ast.LShift) and left != 0 and right > 64
    match op:
        case ast.Add():
            return None not in sizes and sum(sizes) > LONGEST_SEQUENCE
        case ast.Mult():
            for size, times in zip(sizes, (right, left), strict=True):
                if size is not None and isinstance(times, int) and size * times > LONGEST_SEQUENCE:
                    return True
        case ast.Mod() if isinstance(left, str):
            return bool(_WIDE.search(left)) or (isinstance(right, str) and len(right) * len(left) > LONGEST_SEQUENCE)
    return False


def merge_values(below: dict, above: dict) -> dict:
    """mmengine's rule: dicts merge key by key unless the upper one says `_delete_=True`; all else is replaced."""
    result = FoldedDict() if isinstance(below, FoldedDict) else {}
    result.update(below)
    if isinstance(below, FoldedDict) and isinstance(above, FoldedDict):
        result.lines = below.lines | above.lines
    for key, value in above.items():
        if isinstance(value, FoldedDict) and isinstance(below.get(key), FoldedDict) and not value.get("_delete_"):
            value = merge_values(below[key], value)
        result[key] = value
    return result


def count_values(value: object, limit: int = LARGEST_RESULT) -> int:
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
