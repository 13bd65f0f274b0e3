"""make web: the assistant on a page of one's own: chat, base and tuned side by side, the evaluation, and sharing.

A Gradio page on HOST:PORT (127.0.0.1:7860). USE=adapter (the default here: one base in memory gives both answers),
merged or base. The model is loaded once and answers one visitor at a time; the others wait in a queue of bounded
length. Stopping an answer, or leaving the page, frees the model. What people and models say is shown as text: no HTML,
Markdown or script of theirs runs. The page asks no host but this one, and nothing is reported to anybody.
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from lesson.core import cli
from lesson.core.files import atomic
from lesson.core.layout import cache_folder, last_run_link
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.evaluation import talk
from lesson.runs.folder import Run, find_last_run
from lesson.serving import page_figures as web_figures
from lesson.serving import request_limits as limits

SETTINGS = ["PROFILE", "BUILD", "USE", "HOST", "PORT"]
PORT = 7860
LONGEST_QUESTION = 4000  # characters
LONGEST_CONVERSATION = 100_000  # characters
LONGEST_ANSWER = 1024  # tokens that a visitor may ask for
USUAL_ANSWER = 256
LONGEST_QUEUE = 64  # visitors that wait; the next one is told so
OWN = "own"  # the system prompt that the visitor writes
EXAMPLES = ["你是谁？", "请介绍一下你自己", "Who are you?", "比利时的首都是哪里？"]
COLORS = {"new": "#16a34a", "old": "#dc2626", "base": "#f97316"}


def web(values: Values) -> int:
    use_environment(values)
    use = values.use if values.given("USE") else "adapter"
    run = None if use == "base" and not last_run_link(values.build).exists() else find_last_run(values)
    host, port = values.host, values.port or PORT
    limits.can_listen(host, port)
    print(tr(f"loading {use} …", f"正在加载 {use} …"), file=sys.stderr, flush=True)
    models = talk.Models(values, use, run)
    models.warm()
    demo = page(models, values, run)
    demo.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,  # would need Node.js
        pwa=False,
        footer_links=[],
        max_file_size=1,  # byte: the page takes no files
        theme=theme(),
        css=CSS,
        app_kwargs={"middleware": limits.middleware(host), "docs_url": None, "redoc_url": None},
    )
    if not limits.loopback(host):
        print(tr("anybody who reaches this machine can use the page", "能访问本机的任何人都可以使用此页面"))
    shown = f"[{host}]" if ":" in host else host
    print(tr(f"open http://{shown}:{port}  (Ctrl-C ends)", f"请打开 http://{shown}:{port}（Ctrl-C 结束）"), flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        demo.close(verbose=False)
        print(tr("bye", "再见"))
    return 0


def use_environment(values: Values) -> None:
    """As talk has it, and gradio's own: no reports, its files under BUILD. Call before importing gradio."""
    talk.use_environment(values)
    limits.direct_loopback()
    files = cache_folder(values.build.resolve()) / "gradio"
    files.mkdir(parents=True, exist_ok=True)
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(files), GRADIO_ALLOWED_PATHS="")
    os.environ.pop("GRADIO_SHARE", None)
    warnings.filterwarnings("ignore", message="'HTTP_422")  # gradio's own, on every click


# --- what people said ------------------------------------------------------------------------------------------------


def turns(history: list[dict]) -> list[dict[str, str]]:
    """Chat messages from what gradio hands over; anything but text of a user or an assistant is left out."""
    result = []
    for message in history:
        parts = message["content"] if isinstance(message["content"], list) else [message["content"]]
        texts = [part if isinstance(part, str) else part.get("text") for part in parts]
        text = "".join(part for part in texts if isinstance(part, str))
        if text and message["role"] in ("user", "assistant"):
            result.append({"role": message["role"], "content": text})
    return result


def bounded(*texts: str) -> None:
    """Raise UserError when a question or a system prompt, or all of a conversation, is longer than the page takes."""
    longest, total = max(map(len, texts)), sum(map(len, texts))
    if longest > LONGEST_QUESTION or total > LONGEST_CONVERSATION:
        limit = LONGEST_QUESTION if longest > LONGEST_QUESTION else LONGEST_CONVERSATION
        raise UserError(
            tr("too long", "过长"),
            tr(f"at most {limit} characters", f"最多 {limit} 个字符"),
            tr("shorten it, or begin a new conversation", "请缩短，或清空对话"),
        )


def markdown(text: str) -> str:
    """`text` as Markdown that shows it as it is: CommonMark takes a backslash before any ASCII punctuation."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def exported(form: str, conversation: list[dict[str, str]], facts: dict) -> str:
    """The conversation as a document: `json`, or `md` with each text in a fence that nothing in it can close."""
    if form == "json":
        return json.dumps({"format": 1, **facts, "messages": conversation}, ensure_ascii=False, indent=2) + "\n"
    title = facts["name"] or facts["use"]
    lines = [f"# {markdown(tr(f'A conversation with {title}', f'与{title}的对话'))}", ""]
    lines += [f"- {key}: {markdown(str(value))}" for key, value in facts.items() if value not in ("", None)]
    who = {"user": tr("User", "用户"), "assistant": markdown(title), "system": tr("System prompt", "系统提示")}
    for message in conversation:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", message["content"])), default=0))
        lines += ["", f"**{who[message['role']]}**", "", f"{fence}text", message["content"], fence]
    return "\n".join(lines) + "\n"


# --- the page --------------------------------------------------------------------------------------------------------

CSS = """
.gradio-container {width: 100% !important; max-width: 1100px !important; margin: 0 auto !important;}
#answers .textfield {white-space: pre-wrap;}
#answers > div {min-height: 9rem;}
"""


def theme():
    """Gradio's own look in the fonts of the operating system: no font is fetched from anywhere."""
    import gradio as gr

    text = ["system-ui", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif"]
    return gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", font=text, font_mono=["ui-monospace", "Consolas", "monospace"]
    )


class Page:
    """The event handlers: what a visitor's click does, with the models and the run that the page is about."""

    def __init__(self, models: talk.Models, values: Values, run: Run | None) -> None:
        self.models, self.values, self.run = models, values, run
        self.facts = run.read_record() if run else None
        self.names = self.facts["names"] if self.facts else {}
        self.prompts = talk.system_prompts(self.facts["persona"] if self.facts else "")

    @property
    def title(self) -> str:
        return self.names["new"] if self.names and self.models.use != "base" else talk_base_name()

    def system(self, choice: str, own: str) -> str:
        return own.strip() if choice == OWN else self.prompts[choice]

    def stream(self, chat: list[dict[str, str]], sampling: talk.Sampling, base: bool = False) -> Iterator[str]:
        """The answer so far, again and again; a UserError becomes gradio's own message box."""
        import gradio as gr

        try:
            bounded(*(message["content"] for message in chat))
            with self.models.ask(chat, sampling, base) as reply:
                said = ""
                for piece in reply:
                    said += piece
                    yield said.lstrip()
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def chat(
        self, message: str, history: list[dict], choice: str, own: str, heat: float, top_p: float, most: float
    ) -> Iterator[str]:
        """ChatInterface's function: a question and what was said before; yields the answer so far."""
        asked = talk.messages(self.system(choice, own)) + turns(history) + talk.messages("", message)
        yield from self.stream(asked, talk.Sampling(heat, top_p, int(most)))

    def side_by_side(self, question: str, choice: str, own: str) -> Iterator[tuple[list, list]]:
        """Both answers to one question, greedy, their names marked: the base's first, as it was before training."""
        asked = talk.messages(self.system(choice, own), question)
        sampling = talk.Sampling(max_tokens=USUAL_ANSWER)
        before, after = [], []
        yield before, after
        for said in self.stream(asked, sampling, base=True):
            before = web_figures.marked(said, self.names)
            yield before, after
        for said in self.stream(asked, sampling):
            after = web_figures.marked(said, self.names)
            yield before, after

    def export(
        self, form: str, history: list[dict], choice: str, own: str, heat: float, top_p: float, most: float
    ) -> str:
        """Write the conversation to a file of its own and give its path, for the visitor to download."""
        conversation = talk.messages(self.system(choice, own)) + turns(history)
        facts = {
            "name": self.title,
            "run": self.facts["id"] if self.facts else None,
            "use": self.models.use,
            "temperature": heat,
            "top_p": top_p,
            "max_tokens": int(most),
        }
        folder = Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"]))
        path = folder / f"conversation.{form}"
        with atomic(path) as file:
            file.write(exported(form, conversation, facts))
        return str(path)

    def questions(self, prompt: str, kind: str, failed: str) -> list[list[str]]:
        return web_figures.questions(self.run, self.values, prompt, kind, failed == "failed")


def talk_base_name() -> str:
    return web_figures.evaluate.BASE_NAMES[0]


def page(models: talk.Models, values: Values, run: Run | None):
    """The page as gradio Blocks, ready to launch."""
    import gradio as gr

    own = Page(models, values, run)
    with gr.Blocks(title=own.title, analytics_enabled=False, delete_cache=(600, 3600)) as demo:
        subtitle = {
            "adapter": tr("base and adapter", "基座 + 适配器"),
            "merged": tr("merged model", "合并后的模型"),
            "base": tr("the base, not tuned", "基座，未微调"),
        }[models.use]
        gr.Markdown(
            f"# {markdown(own.title)}\n{subtitle}" + (f" · run {own.facts['id']}" if own.facts else ""),
            latex_delimiters=[],
        )
        with gr.Tab(tr("Chat", "对话"), id="chat"):
            chat_tab(gr, own)
        if run is not None and models.use != "base":
            with gr.Tab(tr("Side by side", "并排对比"), id="both"):
                both_tab(gr, own)
        if run is not None:
            with gr.Tab(tr("Evaluation", "评测"), id="evaluation") as tab:
                evaluation_tab(gr, own, tab)
    demo.queue(max_size=LONGEST_QUEUE, default_concurrency_limit=4, api_open=False)
    return demo


def prompt_inputs(gr, own: Page, render: bool = True):
    """The choice of a system prompt and its text, which the visitor may write after choosing so."""
    choices = [(label, name) for name, label in web_figures.prompt_names().items()]
    if not own.prompts["persona"]:
        choices = choices[1:]
    choice = gr.Radio(
        [*choices, (tr("own", "自定义"), OWN)],
        value=choices[0][1],
        label=tr("system prompt", "系统提示"),
        render=render,
        elem_id="prompt" if not render else None,
    )
    text = gr.Textbox(
        own.prompts[choices[0][1]],
        label=tr("its text", "内容"),
        interactive=False,
        max_length=LONGEST_QUESTION,
        render=render,
    )

    def show(name: str):
        if name == OWN:
            return gr.Textbox(interactive=True)
        return gr.Textbox(own.prompts[name], interactive=False)

    return (
        choice,
        text,
        lambda: choice.change(show, choice, text, queue=False, show_progress="hidden", api_visibility="private"),
    )


def text_chatbot(gr, **arguments):
    """A gradio Chatbot whose messages are text and nothing else.

    Gradio's own, with render_markdown=False, still hands a message to the browser as HTML (sanitized, so that tags
    vanish and images of other hosts load), and takes files and components from a client. Here text leaves escaped and
    comes back unescaped; anything else is dropped.
    """
    from gradio.components.chatbot import TextMessage

    chatbot = gr.Chatbot(**arguments)
    made_of = chatbot._postprocess_content  # not a subclass: gradio writes a .pyi file beside every one

    def leaving(message):
        made = made_of(message) if isinstance(message, str | dict) else None
        text = made.text if isinstance(made, TextMessage) else ""
        return TextMessage(text=html.escape(text, quote=False).replace("\n", "<br>"))

    def coming(message):
        text = message.text if isinstance(message, TextMessage) else ""
        return {"type": "text", "text": html.unescape(text.replace("<br>", "\n"))}

    chatbot._postprocess_content, chatbot._preprocess_content = leaving, coming
    return chatbot


def chat_tab(gr, own: Page) -> None:
    chatbot = text_chatbot(
        gr,
        label=own.title,
        height="55vh",
        render_markdown=False,
        sanitize_html=True,
        latex_delimiters=[],
        layout="bubble",
        buttons=["copy", "copy_all"],
        feedback_options=None,
        allow_file_downloads=False,
        elem_id="chat",
    )
    textbox = gr.Textbox(
        placeholder=tr("Ask something …", "问点什么……"),
        max_length=LONGEST_QUESTION,
        show_label=False,
        container=False,
        scale=7,
        submit_btn=True,
        stop_btn=True,
        elem_id="question",
    )
    choice, text, connect = prompt_inputs(gr, own, render=False)
    heat = gr.Slider(0, 2, 0, step=0.05, label=tr("temperature (0: greedy)", "温度（0：贪心）"), render=False)
    top_p = gr.Slider(0.05, 1, 1, step=0.05, label="top-p", render=False)
    label = tr("most tokens", "最多 token 数")
    most = gr.Slider(1, LONGEST_ANSWER, USUAL_ANSWER, step=1, precision=0, label=label, render=False, elem_id="most")
    inputs = [choice, text, heat, top_p, most]
    gr.ChatInterface(
        own.chat,
        chatbot=chatbot,
        textbox=textbox,
        additional_inputs=inputs,
        additional_inputs_accordion=gr.Accordion(tr("Settings", "设置"), open=False, render=False),
        examples=[[example] for example in EXAMPLES],
        cache_examples=False,
        concurrency_limit=1,
        analytics_enabled=False,
        flagging_mode="never",
        show_progress="hidden",
        api_name="chat",
    )
    connect()
    with gr.Accordion(tr("Share the conversation", "分享对话"), open=False):
        with gr.Row():
            buttons = {"md": gr.Button("Markdown"), "json": gr.Button("JSON")}
        file = gr.File(label=tr("download", "下载"), visible=False)
        for form, button in buttons.items():

            def export(*arguments, form=form):
                return gr.File(own.export(form, *arguments), visible=True)

            button.click(export, [chatbot, *inputs], file, api_visibility="private")


def both_tab(gr, own: Page) -> None:
    with gr.Row(equal_height=True):
        question = gr.Textbox(
            EXAMPLES[0],
            label=tr("one question to both", "同一个问题"),
            max_length=LONGEST_QUESTION,
            scale=6,
            elem_id="both",
        )
        with gr.Column(scale=1, min_width=120):
            ask = gr.Button(tr("Ask both", "同时提问"), variant="primary", size="md")
            stop = gr.Button(tr("Stop", "停止"), size="md")
    gr.Examples(EXAMPLES, question, label=tr("examples", "示例"))
    colors = {label: COLORS[kind] for kind, label in web_figures.name_kinds().items()}
    with gr.Row(elem_id="answers"):
        answers = [
            gr.HighlightedText([], label=label, color_map=colors, combine_adjacent=False, elem_id=name)
            for name, label in (
                ("before", tr("before: the base", "微调前：基座")),
                ("after", tr(f"after: {own.title}", f"微调后：{own.title}")),
            )
        ]
    with gr.Accordion(tr("Settings", "设置"), open=False):
        choice, text, connect = prompt_inputs(gr, own)
        connect()
    asked = gr.on(
        [question.submit, ask.click],
        own.side_by_side,
        [question, choice, text],
        answers,
        concurrency_limit=1,
        show_progress="hidden",
        api_visibility="private",
    )
    stop.click(None, cancels=[asked], queue=False, api_visibility="private")


def evaluation_tab(gr, own: Page, tab) -> None:
    import pandas

    verdict = gr.HighlightedText([], show_label=False, color_map={"✓": COLORS["new"], "✗": COLORS["old"]})
    table = gr.Dataframe(
        headers=web_figures.score_heads(), datatype="str", interactive=False, wrap=True, elem_id="scores"
    )
    steps, losses = web_figures.curve(own.facts)
    gr.LinePlot(
        pandas.DataFrame(web_figures.curve(own.facts)),
        x=steps,
        y=losses,
        title=tr("training loss, nats per token", "训练损失（每 token 的 nat）"),
        height=260,
        buttons=[],
    )
    with gr.Row():
        shown = gr.Radio(
            [(tr("all", "全部"), web_figures.ALL), (tr("failed only", "只看未通过"), "failed")],
            value=web_figures.ALL,
            label=tr("answers", "回答"),
            elem_id="failed",
        )
        prompt = gr.Radio(
            [(tr("all", "全部"), web_figures.ALL), *((v, k) for k, v in web_figures.prompt_names().items())],
            value="none",
            label=tr("system prompt", "系统提示"),
        )
        kind = gr.Radio(
            [
                (tr("all", "全部"), web_figures.ALL),
                (tr("identity", "身份"), "identity"),
                (tr("general knowledge", "常识"), "general"),
            ],
            value="identity",
            label=tr("questions", "问题"),
        )
    answers = gr.Dataframe(
        headers=web_figures.question_heads(),
        datatype="str",
        interactive=False,
        wrap=True,
        max_height=520,
        elem_id="questions",
        column_widths=["14%", "24%", "24%", "24%", "14%"],
    )
    with gr.Row():
        data = gr.Dataframe(
            headers=[tr("data trained on", "训练数据"), ""],
            datatype="str",
            interactive=False,
            wrap=True,
            elem_id="statistics",
        )
        gr.JSON(web_figures.record(own.facts), label=tr("run record", "训练记录"), max_height=360)
    filters = [prompt, kind, shown]

    def show(*chosen: str):
        found = web_figures.result(own.run)
        if found is None:
            said = [(tr("not evaluated yet: run make eval", "还没有评测：请运行 make eval"), None)]
        elif found["passed"]:
            said = [(tr("passed: calls itself ", "通过：自称"), None), (own.names["new"], "✓")]
        else:
            said = [(tr("not passed: ", "未通过："), None)]
            said += [(f"{f['bar']} / {f['prompt']} {f['share']:.1%}", "✗") for f in found["failures"]]
        return said, web_figures.scores(found) if found else [], own.questions(*chosen), web_figures.statistics(own.run)

    tab.select(show, filters, [verdict, table, answers, data], show_progress="hidden", api_visibility="private")
    for control in filters:
        control.change(own.questions, filters, answers, show_progress="hidden", api_visibility="private")


def main(arguments: list[str] | None = None) -> int:
    return cli.run("web", __doc__, SETTINGS, web, sys.argv[1:] if arguments is None else arguments)
