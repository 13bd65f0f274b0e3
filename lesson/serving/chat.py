"""make chat: talk to the assistant in the terminal; words appear as they are made.

Commands: /reset forgets the conversation, /system TEXT changes the system prompt (alone: none), /history shows all
turns, /help, /exit. USE=merged|adapter|base chooses the model, PROMPT=persona|none|neutral the first system prompt.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.layout import last_run_link
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.evaluation import talk
from lesson.runs.folder import find_last_run

SETTINGS = ["PROFILE", "BUILD", "USE", "PROMPT"]
LONGEST_INPUT = 4000  # characters of one question
# Characters that could drive the terminal: C0 but tab and newline, DEL, C1.
CONTROL = dict.fromkeys({*range(32), *range(0x7F, 0xA0)} - {9, 10})


def chat(values: Values) -> int:
    talk.use_environment(values)
    run = None if values.use == "base" and not last_run_link(values.build).exists() else find_last_run(values)
    persona = run.read_record()["persona"] if run else ""
    system = talk.system_prompts(persona)[values.prompt]
    print(tr(f"loading {values.use} …", f"正在加载 {values.use} …"), file=sys.stderr, flush=True)
    tokenizer, model = talk.load(values, values.use, run)
    print(tr("type a question; /help shows the commands, /exit ends", "请输入问题；/help 查看命令，/exit 退出"))
    if system:
        print(tr(f"system: {system}", f"系统提示：{system}"))
    turns: list[str] = []
    while (line := ask()) is not None:
        command, _, rest = line.partition(" ")
        if command in ("/exit", "/quit"):
            break
        if command == "/reset":
            turns.clear()
            print(tr("the conversation is forgotten", "已清空对话"))
        elif command == "/system":
            system = rest.strip()
            turns.clear()
            print(
                tr(
                    f"system prompt: {system or 'none'}; the conversation is forgotten",
                    f"系统提示：{system or '无'}；已清空对话",
                )
            )
        elif command == "/history":
            for message in talk.messages(system, *turns):
                print(f"{message['role']}: {message['content']}")
        elif command.startswith("/"):
            print(tr("/reset  /system TEXT  /history  /exit", "/reset 清空  /system 文本  /history 历史  /exit 退出"))
        elif len(line) > LONGEST_INPUT:
            print(tr(f"at most {LONGEST_INPUT} characters", f"最多 {LONGEST_INPUT} 个字符"))
        elif line:
            turns += [line, stream(tokenizer, model, talk.messages(system, *turns, line))]
    print(tr("bye", "再见"))
    return 0


def ask() -> str | None:
    """The next line typed, or None at the end of input."""
    try:
        return input("> ").strip()
    except EOFError:
        print()
        return None


def stream(tokenizer, model, messages: list[dict[str, str]]) -> str:
    """Print the greedy answer as it is made and return it. Ctrl-C ends the answer, not the chat."""
    said = []
    with talk.Reply(tokenizer, model, messages) as reply:
        try:
            for piece in reply:
                said.append(piece)
                print(piece.translate(CONTROL), end="", flush=True)
        except KeyboardInterrupt:
            pass
    print()
    return "".join(said).strip()


def main(arguments: list[str] | None = None) -> int:
    return cli.run("chat", __doc__, SETTINGS, chat, sys.argv[1:] if arguments is None else arguments)
