"""The page of make web, laid out with gradio: chat, both models side by side, the evaluation, a training that runs.

What people and models say is shown as text: no HTML, Markdown or script of theirs runs.
"""

from __future__ import annotations

import html

from lesson.core.messages import in_language, tr
from lesson.core.settings import Values
from lesson.runs.folder import Run
from lesson.serving import page_figures, page_tables
from lesson.serving.models import Models
from lesson.serving.page_actions import OWN, USUAL_ANSWER, PageActions
from lesson.serving.page_texts import LONGEST_QUESTION, escape_markdown
from lesson.serving.page_training import CSS as TRAINING_CSS
from lesson.serving.page_training import TrainingWatch, add_loss_curve, add_training_tab

LONGEST_ANSWER = 1024  # tokens that a visitor may ask for
LONGEST_QUEUE = 64  # visitors that wait; the next one is told so
EXAMPLES = ["你是谁？", "请介绍一下你自己", "Who are you?", "比利时的首都是哪里？"]
CSS = """
.gradio-container {width: 100% !important; max-width: 1100px !important; margin: 0 auto !important;}
#answers .textfield {white-space: pre-wrap;}
#answers > div {min-height: 9rem;}
#question textarea {border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg);}
#question textarea:focus-visible {border-color: var(--color-accent);}
.dark .token.highlighted {color: #fff !important;}
/* The chosen tab's colour alone has a contrast of 4.3 to 1; and gradio's second row of tabs, which it measures with, took the
   keyboard's focus. */
button[role=tab].selected {color: var(--body-text-color) !important;}
.tab-container.visually-hidden button {visibility: hidden;}
@media (max-width: 480px) {.tab-container button {padding: 0 .45rem !important;}}
"""
CSS += TRAINING_CSS + page_tables.CSS


def make_theme():
    """Gradio's own look in the fonts of the operating system: no font is fetched from anywhere."""
    import gradio as gr

    text = ["system-ui", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif"]
    theme = gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", font=text, font_mono=["ui-monospace", "Consolas", "monospace"]
    )
    # One step darker than Soft's: text then has a contrast of at least 4.5 to 1 to what is behind it (WCAG 2.2, 1.4.3).
    return theme.set(
        background_fill_primary="*neutral_50",  # Soft's, which set() puts back to white
        body_text_color_subdued="*neutral_600",
        color_accent="*primary_600",
        block_label_text_color="*primary_700",
        block_title_text_color="*primary_700",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        checkbox_label_background_fill_selected="*primary_600",
        checkbox_label_background_fill_selected_dark="*primary_600",
    )


def make_blocks(gr, title: str, language: str):
    """The frame of a page in one language: what its visitors' clicks say is in it as well, in whichever thread."""

    class Page(gr.Blocks):
        async def process_api(self, *arguments, **keywords):
            with in_language(language):
                return await super().process_api(*arguments, **keywords)

    return Page(title=title, analytics_enabled=False, delete_cache=(600, 3600))


def build_page(models: Models | None, values: Values, run: Run | None, watch: TrainingWatch, language: str):
    """The page as gradio Blocks in one language, ready to be served. `run` is what it is about, None without one; without
    `models` the page shows the training alone, as no model is trained yet."""
    import gradio as gr

    with in_language(language):
        actions = PageActions(models, values, run) if models else None
        title = actions.title if actions else tr("Training", "训练")
        with make_blocks(gr, title, language) as page:
            gr.Markdown(f"# {escape_markdown(title)}\n{make_subtitle(actions)}", latex_delimiters=[])
            others = add_model_tabs(gr, actions) if actions else []
            with gr.Tab(tr("Training", "训练"), id="train") as tab:
                add_training_tab(gr, watch, tab, others)
        page.queue(max_size=LONGEST_QUEUE, default_concurrency_limit=4, api_open=False)
    return page


def make_subtitle(actions: PageActions | None) -> str:
    """What the page talks to, in Markdown."""
    if actions is None:
        return tr(
            "When this page was started no training was finished, so it has no model to talk to. It shows the training.",
            "本页面启动时还没有完成的训练，没有模型可以对话，这里显示训练的进度。",
        )
    subtitle = {
        "adapter": tr("base and adapter", "基座 + 适配器"),
        "merged": tr("merged model", "合并后的模型"),
        "base": tr("the base, not tuned", "基座，未微调"),
    }[actions.models.use]
    return subtitle + (tr(" · run ", " · 训练 ") + actions.record["id"] if actions.record else "")


def add_model_tabs(gr, actions: PageActions) -> list:
    """What needs a model: chat, comparison and evaluation. Gives the tabs."""
    with gr.Tab(tr("Chat", "对话"), id="chat") as tab:
        add_chat_tab(gr, actions)
    tabs = [tab]
    if actions.run is not None and actions.models.use != "base":
        with gr.Tab(tr("Side by side", "并排对比"), id="both") as tab:
            add_comparison_tab(gr, actions)
        tabs.append(tab)
    if actions.run is not None:
        with gr.Tab(tr("Evaluation", "评测"), id="evaluation") as tab:
            add_evaluation_tab(gr, actions, tab)
        tabs.append(tab)
    return tabs


def add_prompt_inputs(gr, actions: PageActions, render: bool = True):
    """The choice of a system prompt and its text, which the visitor may write after choosing so.

    Gives (choice, text, connect): call `connect` once both are rendered, so that the text follows the choice.
    """
    labels = page_figures.label_prompts()
    choices = [(labels[name], name) for name, text in actions.prompts.items() if text or name == "none"]
    choice = gr.Radio(
        [*choices, (tr("own", "自定义"), OWN)],
        value=choices[0][1],
        label=tr("system prompt", "系统提示"),
        render=render,
        elem_id="prompt" if not render else None,
    )
    text = gr.Textbox(
        actions.prompts[choices[0][1]],
        label=tr("its text", "内容"),
        interactive=False,
        max_length=LONGEST_QUESTION,
        render=render,
    )

    def show(name: str):
        if name == OWN:
            return gr.Textbox(interactive=True)
        return gr.Textbox(actions.prompts[name], interactive=False)

    return (
        choice,
        text,
        lambda: choice.change(show, choice, text, queue=False, show_progress="hidden", api_visibility="private"),
    )


def make_text_chatbot(gr, **arguments):
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


def add_chat_tab(gr, actions: PageActions) -> None:
    """The chat with its settings, and the conversation to download."""
    chatbot = make_text_chatbot(
        gr,
        label=actions.title,
        height="55vh",
        render_markdown=False,
        sanitize_html=True,
        latex_delimiters=[],
        layout="bubble",
        buttons=["copy", "copy_all"],
        feedback_options=None,
        allow_file_downloads=False,
        placeholder=escape_markdown(
            tr(
                f"This is {actions.title}, a model on this machine. Ask who it is, or anything else: below are examples.",
                f"这里是本机上的模型“{actions.title}”。问问它是谁，或者别的问题，下面有例子。",
            )
        ),
        elem_id="chat",
    )
    invitation = tr("Ask something …", "问点什么……")
    textbox = gr.Textbox(
        placeholder=invitation,
        max_length=LONGEST_QUESTION,
        label=tr("your question", "你的问题"),  # for screen readers
        show_label=False,
        container=False,
        scale=7,
        submit_btn=True,
        stop_btn=True,
        elem_id="question",
    )
    choice, text, connect = add_prompt_inputs(gr, actions, render=False)
    temperature = gr.Slider(0, 2, 0, step=0.05, label=tr("temperature (0: greedy)", "温度（0：贪心）"), render=False)
    top_p = gr.Slider(0.05, 1, 1, step=0.05, label="top-p", render=False)
    label = tr("most tokens", "最多 token 数")
    most = gr.Slider(1, LONGEST_ANSWER, USUAL_ANSWER, step=1, precision=0, label=label, render=False, elem_id="most")
    inputs = [choice, text, temperature, top_p, most]

    class Chat(gr.ChatInterface):
        """Gradio's own takes the placeholder away with the first question, and never brings it back."""

        def _clear_and_save_textbox(self, message):
            return gr.Textbox("", interactive=False, placeholder=invitation), message

    Chat(
        actions.answer_message,
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
                return gr.File(actions.export_conversation(form, *arguments), visible=True)

            button.click(export, [chatbot, *inputs], file, api_visibility="private")


def add_comparison_tab(gr, actions: PageActions) -> None:
    """One question to both models, the names in both answers marked."""
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
    colors = {label: page_figures.COLORS[kind] for kind, label in page_figures.label_name_kinds().items()}
    with gr.Row(elem_id="answers"):
        answers = [
            gr.HighlightedText([], label=label, color_map=colors, combine_adjacent=False, elem_id=name)
            for name, label in (
                ("before", tr("before: the base", "微调前：基座")),
                ("after", tr(f"after: {actions.title}", f"微调后：{actions.title}")),
            )
        ]
    with gr.Accordion(tr("Settings", "设置"), open=False):
        choice, text, connect = add_prompt_inputs(gr, actions)
        connect()
    asked = gr.on(
        [question.submit, ask.click],
        actions.answer_side_by_side,
        [question, choice, text],
        answers,
        concurrency_limit=1,
        show_progress="hidden",
        api_visibility="private",
    )
    stop.click(None, cancels=[asked], queue=False, api_visibility="private")


def add_evaluation_tab(gr, actions: PageActions, tab) -> None:
    """The run's evaluation, curve, data and record; read anew whenever `tab` is opened."""
    verdict = gr.HighlightedText(
        [], show_label=False, color_map={"✓": page_figures.COLORS["new"], "✗": page_figures.COLORS["old"]}
    )
    table = gr.HTML(elem_id="scores", apply_default_css=False)
    add_loss_curve(gr, page_figures.make_curve_columns(actions.record))
    with gr.Row():
        shown = gr.Radio(
            [(tr("all", "全部"), page_figures.ALL), (tr("failed only", "只看未通过"), page_figures.FAILED)],
            value=page_figures.ALL,
            label=tr("answers", "回答"),
            elem_id="failed",
        )
        prompt = gr.Radio(
            [(tr("all", "全部"), page_figures.ALL), *((v, k) for k, v in page_figures.label_prompts().items())],
            value="none",
            label=tr("system prompt", "系统提示"),
        )
        kind = gr.Radio(
            [
                (tr("all", "全部"), page_figures.ALL),
                (tr("identity", "身份"), "identity"),
                (tr("general knowledge", "常识"), "general"),
            ],
            value="identity",
            label=tr("questions", "问题"),
        )
    answers = gr.HTML(elem_id="questions", apply_default_css=False)
    with gr.Row():
        data = gr.HTML(elem_id="statistics", apply_default_css=False)
        gr.JSON(page_figures.drop_curve(actions.record), label=tr("run record", "训练记录"), max_height=360)
    filters = [prompt, kind, shown]

    def show(*chosen: str):
        evaluation = page_figures.read_evaluation(actions.run)
        return (
            page_figures.make_verdict_parts(evaluation),
            page_figures.make_score_table(evaluation),
            actions.filter_questions(*chosen),
            page_figures.make_statistics_table(actions.run),
        )

    # One at a time, and the last choice last: answers that overtake each other would leave those of an older choice.
    quiet = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_id": "filters",
        "concurrency_limit": 1,
    }
    tab.select(show, filters, [verdict, table, answers, data], **quiet)
    gr.on(
        [control.change for control in filters],
        actions.filter_questions,
        filters,
        answers,
        trigger_mode="always_last",
        **quiet,
    )
