"""Named edits on a config's source through LibCST: comments and layout stay, and nothing is run.

An edit is data (see profiles/ and schemas/profile.schema.json). Its target is a dotted path: a top-level variable, then
keyword arguments of nested `dict(...)` calls; `custom_hooks[EvaluateChatHook].system` picks the dict of that `type`
from a list. Operations:

    set     replace the value of a place that is there (the default)
    add     append a keyword argument that must not be there
    remove  take a keyword argument or a top-level assignment away
    import  `from module import name`; nothing to do where that very import stands already

An edit that finds no place, or two, is an error.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable
from dataclasses import dataclass

import libcst as cst

from recipe.say import UserError, tr


@dataclass(frozen=True)
class Edit:
    name: str
    target: str = ""
    value: str = ""  # Python source: constants, lists, tuples, dicts, dict(...) and names that the config binds
    op: str = "set"


class _Nothing(Exception):
    """The edit does not fit the config; the text says how."""


def apply(source: str, edits: Iterable[Edit], where: str) -> str:
    """`source` after all `edits`, in their order. Raises UserError naming the edit and `where` (the config)."""
    try:
        module = cst.parse_module(source)
    except cst.ParserSyntaxError as error:
        raise UserError(
            f"{where}:{error.raw_line}",
            tr("is not Python", "不是合法的 Python"),
            tr("restore the stock config", "请恢复自带配置"),
        ) from None
    for edit in edits:
        try:
            module = _OPERATIONS[edit.op](module, edit)
        except _Nothing as problem:
            raise UserError(
                where,
                tr(f"edit “{edit.name}” does not fit: {problem}", f"修改“{edit.name}”不适用：{problem}"),
                tr(
                    "use a config of the supported families, or limit the edit to other configs in the profile",
                    "请换用受支持系列的配置，或在 profile 里把该修改限定到其他配置",
                ),
            ) from None
    return module.code


def _set(module: cst.Module, edit: Edit) -> cst.Module:
    place = _find(module, edit.target)
    return module.with_deep_changes(place, value=_expression(module, edit.value))


def _add(module: cst.Module, edit: Edit) -> cst.Module:
    parent, _, key = edit.target.rpartition(".")
    place = _find(module, parent)
    call = place.value
    if not _is_dict(call):
        raise _Nothing(tr(f"{parent} is not dict(...)", f"{parent} 不是 dict(...)"))
    if _keyword(call, key):
        raise _Nothing(tr(f"{edit.target} is there already", f"{edit.target} 已存在"))
    new = cst.Arg(
        _expression(module, edit.value),
        cst.Name(key),
        equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
    )
    args = list(call.args)
    if args:
        last, between = args[-1], _separator(call)
        args[-1] = last.with_changes(comma=cst.Comma(whitespace_after=between))
        new = new.with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)
    return module.with_deep_changes(call, args=[*args, new])


def _separator(call: cst.Call) -> cst.BaseParenthesizableWhitespace:
    """The white space between two arguments of `call`, without the comment that may stand in it."""
    space = call.args[0].comma.whitespace_after if len(call.args) > 1 else call.whitespace_before_args
    if isinstance(space, cst.ParenthesizedWhitespace):
        return cst.ParenthesizedWhitespace(cst.TrailingWhitespace(), indent=space.indent, last_line=space.last_line)
    return cst.SimpleWhitespace(" ")


def _remove(module: cst.Module, edit: Edit) -> cst.Module:
    parent, _, key = edit.target.rpartition(".")
    if not parent:
        _find(module, edit.target)  # exactly one
        body = [s for s in module.body if _assignment(s, edit.target) is None]
        return module.with_changes(body=body)
    call = _find(module, parent).value
    index = next((i for i, a in enumerate(call.args) if a.keyword and a.keyword.value == key), None)
    if not _is_dict(call) or index is None:
        raise _Nothing(tr(f"there is no {edit.target}", f"没有 {edit.target}"))
    args = list(call.args)
    gone = args.pop(index)
    if index:  # the white space after the argument, with a comment on the next one, now follows the one before
        args[index - 1] = args[index - 1].with_changes(comma=gone.comma, whitespace_after_arg=gone.whitespace_after_arg)
    return module.with_deep_changes(call, args=args)


def _import(module: cst.Module, edit: Edit) -> cst.Module:
    match = re.fullmatch(r"from ([A-Za-z_][\w.]*) import ([A-Za-z_]\w*)", edit.value)
    if not match:
        raise _Nothing(tr(f"{edit.value!r} is not “from module import name”", f"{edit.value!r} 不是 from … import …"))
    origin, name = match.groups()
    imports = _imports(module)
    if name in imports:
        if imports[name] == f"{origin}.{name}":
            return module
        raise _Nothing(tr(f"{name} is already {imports[name]}", f"{name} 已是 {imports[name]}"))
    if name in _assigned(module):
        raise _Nothing(tr(f"{name} is a variable already", f"{name} 已是变量"))
    last = max((i for i, s in enumerate(module.body) if _import_statement(s)), default=-1)
    body = list(module.body)
    body.insert(last + 1, cst.parse_statement(edit.value, module.config_for_parsing))
    return module.with_changes(body=body)


_OPERATIONS = {"set": _set, "add": _add, "remove": _remove, "import": _import}


def _find(module: cst.Module, target: str) -> cst.Assign | cst.Arg | cst.Element:
    """The one node whose `value` is at `target`."""
    segments = re.findall(r"[^.\[\]]+|\[[^\]]+\]", target)
    found = [a for s in module.body if (a := _assignment(s, segments[0]))] if segments else []
    if len(found) != 1:
        raise _Nothing(
            tr(f"{segments[0]} is assigned {len(found)} times", f"{segments[0]} 被赋值 {len(found)} 次")
            if found
            else tr(f"there is no {target}", f"没有 {target}")
        )
    node, done = found[0], segments[0]
    for segment in segments[1:]:
        if segment.startswith("["):
            steps = _elements(node.value, segment[1:-1])
        else:
            steps = _keyword(node.value, segment) if _is_dict(node.value) else []
        if len(steps) != 1:
            raise _Nothing(
                tr(f"{segment} stands twice in {done}", f"{done} 里有两处 {segment}")
                if steps
                else tr(f"there is no {segment} in {done}", f"{done} 里没有 {segment}")
            )
        node, done = steps[0], f"{done}.{segment}"
    return node


def _assignment(statement: cst.CSTNode, name: str) -> cst.Assign | None:
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        small = statement.body[0]
        if isinstance(small, cst.Assign) and len(small.targets) == 1:
            target = small.targets[0].target
            if isinstance(target, cst.Name) and target.value == name:
                return small
    return None


def _is_dict(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "dict"


def _keyword(call: cst.Call, key: str) -> list[cst.Arg]:
    return [a for a in call.args if a.keyword is not None and a.keyword.value == key]


def _elements(node: cst.BaseExpression, kind: str) -> list[cst.Element]:
    """The elements of a list that are `dict(type=kind, ...)`."""
    if not isinstance(node, cst.List):
        return []
    return [
        e
        for e in node.elements
        if _is_dict(e.value)
        for t in _keyword(e.value, "type")
        if isinstance(t.value, cst.Name) and t.value.value == kind
    ]


def _import_statement(statement: cst.CSTNode) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[0], cst.Import | cst.ImportFrom)


def _imports(module: cst.Module) -> dict[str, str]:
    """Names bound by top-level imports, each with its full origin."""
    result = {}
    for node in ast.parse(module.code).body:
        if isinstance(node, ast.ImportFrom):
            result |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            result |= {(a.asname or a.name).split(".")[0]: a.name for a in node.names}
    return result


def _assigned(module: cst.Module) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(module.code)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


_LITERALS = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Load, ast.UnaryOp, ast.USub, ast.keyword)


def _expression(module: cst.Module, source: str) -> cst.BaseExpression:
    """`source` as a node, after checking that it only builds values out of names that the config binds."""
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError):
        raise _Nothing(tr(f"{source!r} is not a Python expression", f"{source!r} 不是 Python 表达式")) from None
    known = _imports(module).keys() | _assigned(module) | {"dict"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if node.id not in known:
                kind = tr("a builtin", "内置函数") if hasattr(builtins, node.id) else tr("not bound", "未定义")
                raise _Nothing(tr(f"{node.id} in {source!r} is {kind}", f"{source!r} 里的 {node.id} 是{kind}"))
        elif isinstance(node, ast.Call):
            if not (isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args):
                raise _Nothing(tr(f"{source!r} calls more than dict(...)", f"{source!r} 调用了 dict(...) 以外的东西"))
        elif not isinstance(node, (*_LITERALS, ast.Attribute)):
            raise _Nothing(tr(f"{source!r} computes", f"{source!r} 含有计算"))
    return cst.parse_expression(source, module.config_for_parsing)
