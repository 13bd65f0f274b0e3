"""Rows turned from one format into another, by way of XTuner's; nothing is lost in silence.

What XTuner's own map functions read has its place here too (xtuner/dataset/map_fns/dataset_map_fns: openai_map_fn,
wizardlm_map_fn, alpaca_map_fn), and becomes what they make of it.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Set

from lesson.core.messages import tr
from lesson.core.strict_json import child_path
from lesson.core.text import shorten
from lesson.data.formats import FORMAT_KEYS, pair_part
from lesson.data.row_rules import TURN_KEYS, quote_keys

# For the two formats that are lists of messages: the keys of a message, and how they call who speaks.
_SPEAKER = {"messages": ("role", "content"), "sharegpt": ("from", "value")}
_WRITTEN = {
    "messages": {"system": "system", "input": "user", "output": "assistant"},
    "sharegpt": {"system": "system", "input": "human", "output": "gpt"},
}
_READ = {
    **dict.fromkeys(("system",), "system"),
    **dict.fromkeys(("user", "human"), "input"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), "output"),
}
# For the formats that have a question and its answer: their keys, with that of more of the question between them.
QUESTIONS = {"alpaca": ("instruction", "input", "output"), "swift": ("query", None, "response")}
NO_OUTPUT = "<nooutput>"  # an Alpaca row that alpaca_map_fn leaves out


class Unconvertible(Exception):
    """A part of a row that the other format has no place for, or a row that is not of its format.

    `keys` are {key: its JSON path} where nothing but keys is in the way, which --drop lets go.
    """

    def __init__(self, path: str, found: str, keys: dict[str, str] | None = None) -> None:
        super().__init__(path, found)
        self.path, self.found, self.keys = path, found, keys or {}


class _Keys:
    """The keys of a row that have no place in the other format; those in `drop` may be lost."""

    def __init__(self, drop: Set[str]) -> None:
        self._drop, self._found = drop, {}

    def allow(self, found: dict, known: Set[str], at: str) -> None:
        """Remember the keys of `found` that are not `known`."""
        for key in found:
            if key not in known and key not in self._drop:
                self._found.setdefault(key, child_path(at, key))

    def refuse(self) -> None:
        """Raise Unconvertible that names all of them."""
        if self._found:
            raise Unconvertible(next(iter(self._found.values())), describe_keys(self._found), self._found)


def describe_keys(keys: Iterable[str]) -> str:
    """What is wrong with keys that have no place in the other format."""
    names = quote_keys(keys)
    return tr(f"no place for {names}", f"{names} 无处安放")


def other_keys(row: dict, source: str, drop: Set[str]) -> dict:
    """What a row has beside the keys of its format and those in `drop`."""
    if source == "xtuner":
        return {}
    if source == "pairs":
        known = {key for key in row if pair_part(key)}
    elif source in QUESTIONS:
        known = {key for key in (*QUESTIONS[source], "system", "history") if key}
    else:
        known = {FORMAT_KEYS[source], "system"}
    return {key: value for key, value in row.items() if key not in known and key not in drop}


def convert_to_xtuner(
    row: object, source: str, drop: Set[str] = frozenset(), left_out: collections.Counter[str] | None = None
) -> dict:
    """The row in XTuner's format; keys named in `drop` may be lost. Raises Unconvertible.

    What XTuner's own map function would leave out is counted in `left_out`: the assistant's messages before all others
    ("opening"), and a row whose answer is NO_OUTPUT ("no output"), of which an empty conversation remains.
    """
    _require_type(row, dict, "$")
    keys, left_out = _Keys(drop), collections.Counter() if left_out is None else left_out
    if source == "xtuner":
        return _without(row, drop)
    if source == "alpaca":
        turns = _from_question(row, QUESTIONS[source], keys)
        if turns[-1]["output"] == NO_OUTPUT:
            left_out["no output"] += 1
            turns = []
    elif source == "swift":
        turns = _from_question(row, QUESTIONS[source], keys)
    elif source == "pairs":
        turns = [_from_pair(row, keys)]
    else:
        key = FORMAT_KEYS[source]
        keys.allow(row, {key, "system"}, "$")
        turns = _turns(row.get(key), child_path("$", key), row.get("system"), keys, left_out)
    keys.refuse()
    return {"conversation": turns}


def convert_leniently(row: object, source: str) -> dict:
    """The row in XTuner's format without what training ignores of it, such as an id. Raises Unconvertible."""
    if isinstance(row, dict):
        more = other_keys(row, source, frozenset())
        row = {key: value for key, value in row.items() if key not in more}
    return convert_to_xtuner(row, source)


def _without(row: dict, drop: Set[str]) -> dict:
    """A row of XTuner's format without the keys in `drop`, also those of its turns."""
    row = {key: value for key, value in row.items() if key not in drop}
    if drop and isinstance(row.get("conversation"), list):
        row["conversation"] = [
            {key: value for key, value in turn.items() if key not in drop} if isinstance(turn, dict) else turn
            for turn in row["conversation"]
        ]
    return row


def convert_from_xtuner(row: object, target: str, drop: Set[str] = frozenset()) -> dict:
    """A row of XTuner's format as `target`; keys named in `drop` may be lost. Raises Unconvertible."""
    _require_type(row, dict, "$")
    if target == "xtuner":
        return row
    keys = _Keys(drop)
    keys.allow(row, {"conversation"}, "$")
    turns = row.get("conversation")
    _require_type(turns, list, "$.conversation")
    for index, turn in enumerate(turns):
        at = child_path("$.conversation", index)
        _require_type(turn, dict, at)
        keys.allow(turn, TURN_KEYS, at)
        for key in ("system", "input", "output"):
            if turn.get(key) is not None or key == "output" or (key == "input" and key not in turn):
                _require_type(turn.get(key), str, child_path(at, key))
        _require_type(turn.get("output_with_loss", True), bool, child_path(at, "output_with_loss"))
    keys.refuse()
    return _to_alpaca(turns, drop) if target == "alpaca" else {FORMAT_KEYS[target]: _to_messages(turns, target, drop)}


def _to_alpaca(turns: list[dict], drop: Set[str]) -> dict:
    if not turns:
        raise Unconvertible("$.conversation", tr("no turns", "没有任何一轮"))
    for index, turn in enumerate(turns):
        at = child_path("$.conversation", index)
        if index and turn.get("system") and "system" not in drop:
            found = tr("a system prompt in a later turn, Alpaca has one", "后面的轮次有 system，Alpaca 只有一个")
            raise Unconvertible(child_path(at, "system"), found)
        _refuse_loss(turn, at, drop)
    row = {"instruction": turns[-1]["input"] or "", "input": "", "output": turns[-1]["output"]}
    if turns[0].get("system") is not None and "system" not in drop:
        row["system"] = turns[0]["system"]
    if len(turns) > 1:
        row["history"] = [[turn["input"] or "", turn["output"]] for turn in turns[:-1]]
    return row


def _to_messages(turns: list[dict], target: str, drop: Set[str]) -> list[dict]:
    who, what = _SPEAKER[target]
    messages = []
    for index, turn in enumerate(turns):
        for key in ("system", "input", "output"):
            if key != "system" or (turn.get("system") is not None and "system" not in drop):
                messages.append({who: _WRITTEN[target][key], what: turn[key] or ""})
        if target == "messages" and turn.get("output_with_loss") is False:
            messages[-1]["loss"] = False
        elif target != "messages":
            _refuse_loss(turn, child_path("$.conversation", index), drop)
    return messages


def _refuse_loss(turn: dict, at: str, drop: Set[str]) -> None:
    if turn.get("output_with_loss") is False and "output_with_loss" not in drop:
        path = child_path(at, "output_with_loss")
        raise Unconvertible(path, describe_keys(["output_with_loss"]), {"output_with_loss": path})


def _from_question(row: dict, names: tuple[str, str | None, str], keys: _Keys) -> list[dict]:
    """Turns of a row with a question, more of it or None, an answer, perhaps a system prompt and what went before."""
    question, more, answer = names
    keys.allow(row, {name for name in (*names, "system", "history") if name}, "$")
    for key in (question, answer):
        _require_type(row.get(key), str, child_path("$", key))
    text = row[question]
    if more and row.get(more) is not None:
        _require_type(row[more], str, child_path("$", more))
        text += "\n" + row[more] if row[more] else ""
    turns = []
    if row.get("history") not in (None, ""):
        _require_type(row["history"], list, "$.history")
        for index, pair in enumerate(row["history"]):
            at = child_path("$.history", index)
            _require_type(pair, list, at)
            if len(pair) != 2:
                raise Unconvertible(at, tr("not a question and its answer", "不是一问一答"))
            for part, said in enumerate(pair):
                _require_type(said, str, child_path(at, part))
            turns.append({"input": pair[0], "output": pair[1]})
    turns.append({"input": text, "output": row[answer]})
    if row.get("system") is not None:
        _require_type(row["system"], str, "$.system")
        turns[0] = {"system": row["system"], **turns[0]}
    return turns


def _from_pair(row: dict, keys: _Keys) -> dict:
    """A turn of a row with a question and an answer, whatever they are called. Two parts of a question are two lines."""
    parts: dict[str, list[str]] = {"system": [], "input": [], "output": []}
    keys.allow(row, {key for key in row if pair_part(key)}, "$")
    for key, text in row.items():
        part = pair_part(key)
        if part is None or (text is None and part != "output"):
            continue
        _require_type(text, str, child_path("$", key))
        if parts[part] and (part != "input" or len(parts[part]) > 1):
            raise Unconvertible(child_path("$", key), tr(f"a second {part}", f"第二个 {part}"))
        parts[part].append(text)
    return {part: "\n".join(filter(None, texts)) for part, texts in parts.items() if texts or part != "system"}


def _turns(messages: object, at: str, system: object, keys: _Keys, left_out: collections.Counter[str]) -> list[dict]:
    """Messages as turns, as openai_map_fn makes them: a turn ends with the assistant's message.

    What the user says in several messages is joined; the assistant's messages before all others are left out.
    """
    _require_type(messages, list, at)
    turns: list[dict] = []
    turn: dict[str, object] = {}
    if system is not None:
        _require_type(system, str, "$.system")
        turn["system"] = system
    opening = system is None
    for index, message in enumerate(messages):
        at_message = child_path(at, index)
        _require_type(message, dict, at_message)
        who, what = ("from", "value") if "from" in message else ("role", "content")
        keys.allow(message, {who, what, "loss"}, at_message)
        _require_type(message.get(who), str, child_path(at_message, who))
        _require_type(message.get(what), str, child_path(at_message, what))
        key = _READ.get(message[who])
        if key is None:
            found = tr(f"the role {shorten(message[who])!r}", f"角色 {shorten(message[who])!r}")
            raise Unconvertible(child_path(at_message, who), found)
        if key == "output" and opening:
            left_out["opening"] += 1
            continue
        opening = False
        if key == "output":
            ended = {"input": "", **turn, "output": message[what]}
            ended = {name: ended[name] for name in ("system", "input", "output") if name in ended}
            turns.append(ended if _is_learned(message, at_message) else {**ended, "output_with_loss": False})
            turn = {}
        elif key == "input":
            turn["input"] = turn.get("input", "") + message[what]
        elif turn:
            found = tr(f"{message[who]!r} out of turn", f"{message[who]!r} 的次序不对")
            raise Unconvertible(child_path(at_message, who), found)
        else:
            turn["system"] = message[what]
    if turn.keys() - {"system"} or (turn and turns):
        last = child_path(at, len(messages) - 1)
        if "input" not in turn:
            raise Unconvertible(
                child_path(last, who), tr("nothing comes after the system prompt", "system 之后没有内容")
            )
        raise Unconvertible(at, tr("the last message has no answer", "最后一条消息没有回答"))
    if messages and not turns:
        first = child_path(child_path(at, 0), "from" if "from" in messages[0] else "role")
        raise Unconvertible(first, tr("no question and answer", "没有一问一答"))
    return turns


def _is_learned(message: dict, at: str) -> bool:
    """What openai_map_fn reads from `loss`: true unless it is there and another word."""
    loss = str(message.get("loss", True)).lower()
    if loss not in ("true", "false"):
        found = tr(f"{shorten(loss)} where true or false belongs", f"此处应为 true 或 false，却是 {shorten(loss)}")
        raise Unconvertible(child_path(at, "loss"), found)
    return loss == "true"


def _require_type(value: object, kind: type, at: str) -> None:
    if not isinstance(value, kind):
        names = {
            dict: tr("an object", "对象"),
            list: tr("an array", "数组"),
            str: tr("a string", "字符串"),
            bool: tr("true or false", " true 或 false"),
        }
        found = tr(
            f"{shorten(repr(value))} where {names[kind]} belongs", f"此处应为{names[kind]}，却是 {shorten(repr(value))}"
        )
        raise Unconvertible(at, found)
