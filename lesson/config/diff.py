"""What differs between two configs, told statement by statement: by syntax tree, so that layout and comments do not count.

Standard library only. Sources are parsed, never run.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
from dataclasses import dataclass


def normalise_source(source: str) -> str:
    """`source` as ast.unparse writes it, with one keyword argument of a top-level `dict(...)` per line.

    Two sources with the same syntax tree give the same text, whatever formatter wrote them.
    """
    lines = []
    for statement in ast.parse(source).body:
        lines.extend(_lines(statement))
    return "\n".join(lines) + "\n"


def _lines(statement: ast.stmt) -> list[str]:
    text = ast.unparse(statement).splitlines()
    if not (isinstance(statement, ast.Assign) and _is_dict(statement.value)):
        return text
    head = ast.unparse(ast.Module([ast.Assign(statement.targets, ast.Constant(None), lineno=0)], []))
    return [head.removesuffix("None") + "dict(", *_arguments(statement.value, 1), ")"]


def _arguments(call: ast.Call, depth: int) -> list[str]:
    indent, lines = "    " * depth, []
    for keyword in call.keywords:
        name = f"{keyword.arg}=" if keyword.arg else "**"
        if _is_dict(keyword.value) and keyword.arg:
            lines += [f"{indent}{name}dict(", *_arguments(keyword.value, depth + 1), f"{indent}),"]
        else:
            lines.append(f"{indent}{name}{ast.unparse(keyword.value)},")
    return lines


def _is_dict(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args


def ast_hash(source: str) -> str:
    """SHA-256, in hex, of the normalised source: equal for equal syntax trees, on every Python version."""
    return hashlib.sha256(normalise_source(source).encode()).hexdigest()


def unified_diff(before: str, after: str, name_before: str, name_after: str) -> str:
    """The unified diff of the two normalised sources; empty when the syntax trees are equal."""
    return "".join(
        difflib.unified_diff(
            normalise_source(before).splitlines(keepends=True),
            normalise_source(after).splitlines(keepends=True),
            name_before,
            name_after,
            n=1,
        )
    )


@dataclass(frozen=True)
class Change:
    """One changed place: dotted `path`, source before and after; None where it is absent."""

    path: str
    before: str | None
    after: str | None
    line: int | None = None  # in the later source, or in the earlier one where the place is gone

    def headline(self) -> str:
        """As `alpaca_en.dataset_map_fn: alpaca_map_fn → None`; + for an added place, - for a removed one."""
        if self.before is None:
            return f"+ {self.path}: {self.after}" if self.after != "..." else f"+ {self.path}"
        if self.after is None:
            return f"- {self.path}: {self.before}" if self.before != "..." else f"- {self.path}"
        return f"{self.path}: {self.before} → {self.after}"


def list_changes(before: str, after: str) -> list[Change]:
    """All changed places, in the order of the later source, removed ones last."""
    return list(_compare(_statements(before), _statements(after), ""))


def _statements(source: str) -> dict[str, ast.AST]:
    """Top-level statements by a name that survives edits: a variable, `from m import n`, or the source itself."""
    result: dict[str, ast.AST] = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                key, node = name, value
            case ast.AugAssign(target=ast.Name(id=name)):
                key, node = f"{name} (augmented)", statement
            case ast.ImportFrom(module=module, names=names, level=level):
                for alias in names:
                    text = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
                    result[f"from {'.' * level}{module or ''} import {text}"] = ast.copy_location(
                        ast.Constant(...), statement
                    )
                continue
            case ast.Import() | ast.Expr():
                key, node = ast.unparse(statement), ast.copy_location(ast.Constant(...), statement)
            case ast.If(test=test):
                key, node = f"if {ast.unparse(test)}", statement
            case _:
                key, node = ast.unparse(statement).splitlines()[0], statement
        while key in result:  # a second assignment to the same name is a place of its own
            key += " (again)"
        result[key] = node
    return result


def _compare(before: dict[str, ast.AST], after: dict[str, ast.AST], prefix: str):
    for key, new in after.items():
        old = before.get(key)
        if old is None:
            yield Change(prefix + key, None, _text(new), new.lineno)
        elif ast.dump(old) != ast.dump(new):
            old_parts, new_parts = _parts(old), _parts(new)
            if old_parts is not None and new_parts is not None and old_parts.keys() & new_parts.keys():
                yield from _compare(old_parts, new_parts, f"{prefix}{key}.")
            else:
                yield Change(prefix + key, _text(old), _text(new), new.lineno)
    for key, old in before.items():
        if key not in after:
            yield Change(prefix + key, _text(old), None, old.lineno)


def _parts(node: ast.AST) -> dict[str, ast.AST] | None:
    """The keyword arguments of `dict(...)`, or the elements of a list of dicts by their type; None for a leaf."""
    if _is_dict(node) and all(k.arg for k in node.keywords):
        return {k.arg: k.value for k in node.keywords}
    if isinstance(node, ast.List) and node.elts and all(_is_dict(e) for e in node.elts):
        result = {}
        for index, element in enumerate(node.elts):
            kind = next((ast.unparse(k.value) for k in element.keywords if k.arg == "type"), str(index))
            result[f"[{kind}]" if f"[{kind}]" not in result else f"[{index}]"] = element
        return result
    return None


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split("\n"))
