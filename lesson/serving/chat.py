"""Talk to the assistant line by line: commands, turns, and answers that appear as they are made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from lesson.core.files import atomic
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.evaluation.asking import Chat, Reply, build_chat
from lesson.evaluation.base_names import describe_base_of
from lesson.evaluation.held_out import read_system_prompts
from lesson.evaluation.loading import load_model, use_environment
from lesson.evaluation.rendering import find_default_prompt
from lesson.runs.chosen import find_run_to_talk_about

LONGEST_INPUT = 4000  # characters of one question
# Characters that could drive the terminal: C0 but tab and newline, DEL, C1.
CONTROL = dict.fromkeys({*range(32), *range(0x7F, 0xA0)} - {9, 10})
SHOWN = {code: f"\\x{code:02x}" for code in CONTROL}
# What keys and pasted text can bring beside characters: a terminal's sequences (ECMA-48), single controls, and bytes that
# were no UTF-8 (Python keeps them as half surrogates).
NO_TEXT = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO?.?|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
COMMANDS = (
    "/reset  /system TEXT  /history  /save FILE  /exit",
    "/reset 清空  /system 文本  /history 历史  /save 文件  /exit 退出",
)

Ask = Callable[[str], str]  # shows its argument and gives the next line; raises EOFError at the end, as input() does


def chat_with_model(values: Values, ask: Ask, out: TextIO, progress: TextIO) -> None:
    """Load the model that USE names and talk to it until /exit or the end of the input.

    Questions come from `ask`; all that is said goes to `out`, and that the model is being loaded to `progress`. Raises
    UserError when there is no model.
    """
    use_environment(values)
    run = find_run_to_talk_about(values, values.use)
    print(tr(f"loading {values.use} …", f"正在加载 {values.use} …"), file=progress, flush=True)
    tokenizer, model = load_model(values, values.use, run)
    default = find_default_prompt(tokenizer, describe_base_of(values, run))
    persona = run.read_record()["persona"] if run else ""
    system = read_system_prompts(persona, default).get(values.prompt, "")
    converse(lambda chat: Reply(tokenizer, model, chat), system, ask, out)


def converse(answer: Callable[[Chat], Reply], system: str, ask: Ask, out: TextIO) -> None:
    """The conversation itself, under the system prompt `system` at first (empty: none, not the template's own);
    `answer` begins the answer to a chat."""
    print(
        tr("type a question; /help shows the commands, /exit ends", "请输入问题；/help 查看命令，/exit 退出"), file=out
    )
    if system:
        print(tr(f"system: {system}", f"系统提示：{system}"), file=out)
    turns: list[str] = []
    while (line := read_line(ask, out)) is not None:
        command, _, rest = line.partition(" ")
        if command in ("/exit", "/quit"):
            break
        if command == "/reset":
            turns.clear()
            print(tr("the conversation is forgotten", "已清空对话"), file=out)
        elif command == "/system":
            system = rest.strip()
            turns.clear()
            print(
                tr(
                    f"system prompt: {system or 'none'}; the conversation is forgotten",
                    f"系统提示：{system or '无'}；已清空对话",
                ),
                file=out,
            )
        elif command == "/history":
            for message in build_chat(system, *turns):
                print(f"{message['role']}: {message['content'].translate(SHOWN)}", file=out)
        elif command == "/save":
            print(save_conversation(Path(rest.strip()), system, turns), file=out)
        elif command.startswith("/"):
            print(tr(*COMMANDS), file=out)
        elif len(line) > LONGEST_INPUT:
            print(tr(f"at most {LONGEST_INPUT} characters", f"最多 {LONGEST_INPUT} 个字符"), file=out)
        elif line:
            turns += [line, print_reply(answer(build_chat(system, *turns, line)), out)]
    print(tr("bye", "再见"), file=out)


def read_line(ask: Ask, out: TextIO) -> str | None:
    """The next line typed, without what is no text in it, which is told; None at the end of input."""
    try:
        typed = ask("> ")
    except EOFError:
        print(file=out)
        return None
    line = NO_TEXT.sub("", typed)
    if line != typed:
        shown = typed.translate(SHOWN).encode(errors="backslashreplace").decode()
        print(tr(f"control characters left out of: {shown}", f"已去掉控制字符：{shown}"), file=out)
    return line.strip()


def save_conversation(file: Path, system: str, turns: list[str]) -> str:
    """Write the conversation as one row of JSON Lines, as the lesson's rows are; returns what to tell. Nothing that is
    there is overwritten."""
    if not turns:
        return tr("nothing was said yet", "还没有对话")
    if file == Path():
        return tr("/save FILE: name a file", "/save 文件：请给出文件名")
    if file.exists() or file.is_symlink():
        return tr(f"{file} is there already: name another file", f"{file} 已存在：请换一个文件名")
    pairs = [{"input": turns[i], "output": turns[i + 1]} for i in range(0, len(turns), 2)]
    row = {"conversation": [{"system": system, **pairs[0]}, *pairs[1:]]}
    try:
        with atomic(file) as out:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    except (OSError, UserError) as error:
        return tr(f"{file} could not be written: {error}", f"无法写入 {file}：{error}")
    return tr(f"written: {file}", f"已写出：{file}")


def print_reply(reply: Reply, out: TextIO) -> str:
    """Print the answer as it is made and return it. Ctrl-C ends the answer, not the chat."""
    pieces = []
    with reply:
        try:
            for piece in reply:
                pieces.append(piece)
                print(piece.translate(CONTROL), end="", flush=True, file=out)
        except KeyboardInterrupt:
            pass
    print(file=out)
    return "".join(pieces).strip()
