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
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import libcst as cst

from lesson.core.messages import UserError, tr


@dataclass(frozen=True)
class Edit:
    name: str
    target: str = ""
    value: str = ""  # Python source: constants, lists, tuples, dicts, dict(...) and names that the config binds
    op: str = "set"


class EditMisfit(Exception):
    """The edit does not fit the config; the text says how."""


def apply_edits(source: str, edits: Iterable[Edit], where: str) -> str:
    """`source` after all `edits`, in their order. Raises UserError naming the edit and `where` (the config)."""
    try:
        config = _Config(cst.parse_module(source), *_names(source))
    except (cst.ParserSyntaxError, SyntaxError) as error:
        line = getattr(error, "raw_line", None) or getattr(error, "lineno", 1)
        raise UserError(
            f"{where}:{line}",
            tr("is not Python", "不是合法的 Python"),
            tr("restore the stock config", "请恢复自带配置"),
        ) from None
    for edit in edits:
        try:
            _OPERATIONS[edit.op](config, edit)
        except EditMisfit as problem:
            raise UserError(
                where,
                tr(f"edit “{edit.name}” does not fit: {problem}", f"修改“{edit.name}”不适用：{problem}"),
                tr(
                    "use a config of the supported families, or limit the edit to other configs in the profile",
                    "请换用受支持系列的配置，或在 profile 里把该修改限定到其他配置",
                ),
            ) from None
    return config.module.code


@dataclass
class _Config:
    module: cst.Module
    imports: dict[str, str]  # name -> full origin
    assigned: set[str]  # variables, anywhere in the file

    def expression(self, source: str) -> cst.BaseExpression:
        """`source` as a node, after checking that it only builds values out of names that the config binds."""
        try:
            tree = ast.parse(source, mode="eval").body
        except (SyntaxError, ValueError):
            raise EditMisfit(tr(f"{source!r} is not a Python expression", f"{source!r} 不是 Python 表达式")) from None
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name) if name != "dict" and name not in self.imports and name not in self.assigned:
                    raise EditMisfit(tr(f"{name} in {source!r} is not bound", f"{source!r} 里的 {name} 未定义"))
                case ast.Call() if not (isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args):
                    raise EditMisfit(
                        tr(f"{source!r} calls more than dict(...)", f"{source!r} 调用了 dict(...) 以外的东西")
                    )
                case ast.Attribute(attr=attribute) if attribute.startswith("_"):
                    raise EditMisfit(tr(f"{source!r} reaches for {attribute}", f"{source!r} 取用了 {attribute}"))
                case ast.Name() | ast.Call() | ast.Attribute() | ast.Constant() | ast.List() | ast.Tuple() | ast.Dict():
                    pass
                case ast.UnaryOp() | ast.USub() | ast.Load() | ast.keyword():
                    pass
                case _:
                    raise EditMisfit(tr(f"{source!r} computes", f"{source!r} 含有计算"))
        return cst.parse_expression(source, self.module.config_for_parsing)

    def change(self, target: str, change: Callable[[cst.BaseExpression], cst.BaseExpression]) -> None:
        """Put change(value) in place of the one value at `target`; only the nodes above it are made anew."""
        first, *rest = re.findall(r"[^.\[\]]+|\[[^\]]+\]", target)
        index = self.statement(first)
        line = self.module.body[index]
        value = _changed(line.body[0].value, rest, change, first)
        body = list(self.module.body)
        body[index] = line.with_changes(body=[line.body[0].with_changes(value=value)])
        self.module = self.module.with_changes(body=body)

    def statement(self, name: str) -> int:
        """The index of the one top-level assignment to `name`."""
        return _only([i for i, s in enumerate(self.module.body) if _assigns(s, name)], name, "")


def _changed(
    node: cst.BaseExpression, segments: list[str], change: Callable[[cst.BaseExpression], cst.BaseExpression], done: str
) -> cst.BaseExpression:
    if not segments:
        return change(node)
    segment, *rest = segments
    if segment.startswith("["):
        field, parts = "elements", list(node.elements) if isinstance(node, cst.List) else []
        found = [i for i, e in enumerate(parts) if _kind(e.value) == segment[1:-1]]
    else:
        field, parts = "args", list(node.args) if _is_dict(node) else []
        found = _keyword(parts, segment)
    index = _only(found, segment, done)
    parts[index] = parts[index].with_changes(value=_changed(parts[index].value, rest, change, f"{done}.{segment}"))
    return node.with_changes(**{field: parts})


def _only(found: list[int], what: str, where: str) -> int:
    if len(found) == 1:
        return found[0]
    place = where or tr("the config", "配置")
    if found:
        raise EditMisfit(tr(f"{what} stands {len(found)} times in {place}", f"{place}里有 {len(found)} 处 {what}"))
    raise EditMisfit(tr(f"there is no {what} in {place}", f"{place}里没有 {what}"))


def _set(config: _Config, edit: Edit) -> None:
    value = config.expression(edit.value)
    config.change(edit.target, lambda old: value)


def _add(config: _Config, edit: Edit) -> None:
    parent, _, key = edit.target.rpartition(".")
    no_space = cst.SimpleWhitespace("")
    new = cst.Arg(config.expression(edit.value), cst.Name(key), equal=cst.AssignEqual(no_space, no_space))

    def change(call: cst.BaseExpression) -> cst.BaseExpression:
        if not _is_dict(call):
            raise EditMisfit(tr(f"{parent} is not dict(...)", f"{parent} 不是 dict(...)"))
        args = list(call.args)
        if _keyword(args, key):
            raise EditMisfit(tr(f"{edit.target} is there already", f"{edit.target} 已存在"))
        if not args:
            return call.with_changes(args=[new])
        last = args[-1]
        args[-1] = last.with_changes(comma=cst.Comma(whitespace_after=_separator(call)))
        return call.with_changes(
            args=[*args, new.with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg)]
        )

    config.change(parent, change)


def _separator(call: cst.Call) -> cst.BaseParenthesizableWhitespace:
    """The white space between two arguments of `call`, without the comment that may stand in it."""
    space = call.args[0].comma.whitespace_after if len(call.args) > 1 else call.whitespace_before_args
    if isinstance(space, cst.ParenthesizedWhitespace):
        return cst.ParenthesizedWhitespace(cst.TrailingWhitespace(), indent=space.indent, last_line=space.last_line)
    return cst.SimpleWhitespace(" ")


def _remove(config: _Config, edit: Edit) -> None:
    parent, _, key = edit.target.rpartition(".")
    if not parent:
        body = list(config.module.body)
        del body[config.statement(edit.target)]
        config.module = config.module.with_changes(body=body)
        return

    def change(call: cst.BaseExpression) -> cst.BaseExpression:
        args = list(call.args) if _is_dict(call) else []
        index = _only(_keyword(args, key), key, parent)
        gone = args.pop(index)
        if index:  # what followed the argument (white space, a comment on the next one) follows the one before
            args[index - 1] = args[index - 1].with_changes(
                comma=gone.comma, whitespace_after_arg=gone.whitespace_after_arg
            )
        return call.with_changes(args=args)

    config.change(parent, change)


def _import(config: _Config, edit: Edit) -> None:
    match = re.fullmatch(r"from ([A-Za-z_][\w.]*) import ([A-Za-z_]\w*)", edit.value)
    if not match:
        raise EditMisfit(tr(f"{edit.value!r} is not “from … import …”", f"{edit.value!r} 不是 from … import …"))
    origin, name = match.groups()
    full = f"{origin}.{name}"
    if config.imports.get(name) == full:
        return
    if name in config.imports or name in config.assigned:
        holds = config.imports.get(name, tr("a variable", "变量"))
        raise EditMisfit(tr(f"{name} is already {holds}", f"{name} 已是 {holds}"))
    body = list(config.module.body)
    last = max((i for i, s in enumerate(body) if _is_import(s)), default=-1)
    body.insert(last + 1, cst.parse_statement(edit.value, config.module.config_for_parsing))
    config.module = config.module.with_changes(body=body)
    config.imports[name] = full


_OPERATIONS = {"set": _set, "add": _add, "remove": _remove, "import": _import}


def _names(source: str) -> tuple[dict[str, str], set[str]]:
    imports, assigned = {}, set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            imports |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            imports |= {(a.asname or a.name).split(".")[0]: a.name for a in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            assigned.add(node.id)
    return imports, assigned


def _assigns(statement: cst.CSTNode, name: str) -> bool:
    """Whether `statement` is a line `name = value` and nothing else."""
    match statement:
        case cst.SimpleStatementLine(body=[cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=found))])]):
            return found == name
    return False


def _is_import(statement: cst.CSTNode) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[0], cst.Import | cst.ImportFrom)


def _is_dict(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "dict"


def _keyword(args: list[cst.Arg], key: str) -> list[int]:
    return [i for i, a in enumerate(args) if a.keyword is not None and a.keyword.value == key]


def _kind(node: cst.BaseExpression) -> str | None:
    """X of a `dict(type=X, ...)`."""
    if _is_dict(node):
        for index in _keyword(node.args, "type"):
            if isinstance(node.args[index].value, cst.Name):
                return node.args[index].value.value
    return None
