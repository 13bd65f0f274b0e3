"""The page's tab about a training while it runs, or where it stopped: figures, curve, sample answers and what to type.

It only looks: nothing here starts, stops or writes anything.
"""

from __future__ import annotations

import html
import json
import math
import threading
import time

from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs import watching
from lesson.runs.watching import Training, find_watched_run, look_at_training
from lesson.serving.page_tables import make_table

INTERVAL = 3.0  # seconds between two looks of a visitor's browser
FRESH = 1.0  # seconds that a look at the files is good for: many visitors cost no more than one
CSS = """
#training .figures {display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: .75rem 0;}
#training .figures div {border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg); padding: .6rem .8rem;}
#training dt {font-size: var(--text-sm);}
#training dd {margin: 0; font-size: var(--text-xl); font-variant-numeric: tabular-nums;}
#training progress {appearance: none; width: 100%; height: .8rem; border: 0; border-radius: 1rem; overflow: hidden;
  background: var(--border-color-primary);}
#training progress::-webkit-progress-bar {background: var(--border-color-primary);}
#training progress::-webkit-progress-value {background: var(--color-accent);}
#training progress::-moz-progress-bar {background: var(--color-accent);}
#training code {font-family: var(--font-mono);}
"""


class TrainingWatch:
    """What all visitors see of the training: looked up at most once in FRESH seconds."""

    def __init__(self, values: Values) -> None:
        self._values, self._lock = values, threading.Lock()
        self._until, self._seen = 0.0, Training()

    def look(self) -> Training:
        """The training that RUN names, or the one that is written now or was last."""
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    self._seen = look_at_training(find_watched_run(self._values))
                except UserError:  # the folder that RUN names went away
                    self._seen = Training()
                self._until = time.monotonic() + FRESH
            return self._seen


def format_duration(seconds: float) -> str:
    """Seconds in the two largest units: 42 s, 3 min 5 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return tr(f"{whole} s", f"{whole} 秒")
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return tr(f"{minutes} min {rest} s", f"{minutes} 分 {rest} 秒")
    hours, minutes = divmod(minutes, 60)
    return tr(f"{hours} h {minutes} min", f"{hours} 小时 {minutes} 分")


def describe_state(training: Training) -> str:
    """Where the training stands, in a sentence."""
    where = f"{training.step}/{training.total}" if training.total else str(training.step)
    name = training.run.folder.name if training.run else ""
    return {
        watching.NONE: tr("no training yet", "还没有训练"),
        watching.STARTING: tr(f"run {name}: loading the model", f"训练 {name}：正在加载模型"),
        watching.TRAINING: tr(f"run {name}: training", f"训练 {name}：进行中"),
        watching.STOPPED: tr(f"run {name}: stopped at step {where}", f"训练 {name}：停在第 {where} 步"),
        watching.DIVERGED: tr(f"run {name}: diverged at step {where}", f"训练 {name}：在第 {where} 步发散"),
        watching.FINISHED: tr(f"run {name}: finished", f"训练 {name}：已完成"),
    }[training.state]


def list_figures(training: Training) -> list[tuple[str, str]]:
    """[(what it is, its value)] of the training; `–` for what is not known (yet)."""

    def text(value: float | None, form) -> str:
        return "–" if value is None else form(value)

    def format_loss(loss: float) -> str:
        return tr("not a number", "不是数值") if math.isnan(loss) else f"{loss:.3f}"

    steps = f"{training.step} / {training.total}" if training.total else text(training.step or None, str)
    return [
        (tr("steps", "步数"), steps),
        (tr("loss", "损失"), text(training.loss, format_loss)),
        (tr("loss, mean of 10 steps", "损失（10 步平均）"), text(training.mean_loss, format_loss)),
        (tr("tokens/s", "词元/秒"), text(training.tokens_per_second or None, lambda x: f"{x:,.0f}")),
        (tr("time left", "剩余时间"), text(training.left, format_duration)),
        (
            tr("last step", "最近一步"),
            text(training.age, lambda x: tr(f"{format_duration(x)} ago", f"{format_duration(x)}前")),
        ),
    ]


def list_commands(training: Training, talks: bool) -> list[str]:
    """What to type now, as lines in which commands stand between backticks. `talks`: whether the page has a model."""
    at = training.checkpoint
    stop = tr("To stop: Ctrl-C in the terminal of `make train`.", "停止：在 `make train` 的终端按 Ctrl-C。")
    again = tr(
        "To go on after a stop: the same `make train` again, with the same variables. ",
        "停止后继续：用同样的变量再次运行 `make train`。",
    )
    again += (
        tr(f"It goes on from the last checkpoint, step {at}.", f"它从最近的检查点（第 {at} 步）继续。")
        if at
        else tr("There is no checkpoint yet, so it would begin anew.", "还没有检查点，会从头开始。")
    )
    finished = tr(
        "To talk to it: end this page with Ctrl-C in its terminal, and start `make web` again.",
        "与它对话：在本页面的终端按 Ctrl-C 结束，再运行 `make web`。",
    )
    evaluated = training.run is not None and (training.run.evaluation / "evaluation.json").is_file()
    following = "make submission NAME=…" if evaluated else "make eval"
    tested = tr(f"Next: `{following}`", f"下一步：`{following}`")
    return {
        watching.NONE: [tr("To start one: `make data NEW_NAME=…`, then `make train`.", "开始训练：先 `make data NEW_NAME=…`，再 `make train`。")],
        watching.STARTING: [stop, again],
        watching.TRAINING: [stop, again],
        watching.STOPPED: [again],
        watching.DIVERGED: [tr("Train with a smaller rate: `make train LR=…`", "用更小的学习率训练：`make train LR=…`")],
        watching.FINISHED: [tested] if talks else [finished, tested],
    }[training.state]  # fmt: skip


def make_figures_html(training: Training, talks: bool) -> str:
    """State, progress, figures and commands as HTML; whatever stands in files is escaped."""
    state = html.escape(describe_state(training))
    bar = ""
    if training.total:
        done = min(training.step, training.total)
        bar = f'<progress max="{training.total}" value="{done}" aria-label="{html.escape(tr("steps done", "已完成的步数"))}"></progress>'
    figures = "".join(
        f"<div><dt>{html.escape(what)}</dt><dd>{html.escape(value)}</dd></div>"
        for what, value in list_figures(training)
    )
    lines = []
    for line in list_commands(training, talks):
        parts = html.escape(line).split("`")
        lines.append("<p>" + "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts)) + "</p>")
    return f'<p><strong>{state}</strong></p>{bar}<dl class="figures">{figures}</dl>{"".join(lines)}'


def make_curve_columns(training: Training) -> dict[str, list]:
    """The loss curve as columns: training step, and loss in nats per token."""
    return {
        tr("step", "步"): [step for step, _ in training.curve],
        tr("loss", "损失"): [loss for _, loss in training.curve],
    }


def list_sample_headings() -> list[str]:
    """The headings of make_sample_rows."""
    return [tr("after step", "第几步之后"), tr("question", "问题"), tr("sample answer", "示例回答")]


def make_sample_rows(training: Training) -> list[list[str]]:
    """One row per sample answer, the latest first; where there is none, a row that says when there will be."""
    if not training.samples:
        soon = tr(
            "none yet: XTuner asks at each checkpoint, with PROFILE=small at the end",
            "还没有：XTuner 在每个检查点提问，PROFILE=small 时在结束时提问",
        )
        return [["–", "–", soon]]
    before = tr("before training", "训练前")
    return [
        [str(sample.step) if sample.step else before, sample.question or "–", sample.answer]
        for sample in training.samples
    ]


def make_samples_html(training: Training) -> str:
    """The sample answers as an HTML table; what the model said is escaped."""
    return make_table(tr("sample answers", "示例回答"), list_sample_headings(), make_sample_rows(training))


def add_loss_curve(gr, columns: dict[str, list]):
    """The plot of a loss curve; `columns` are two: training step, and loss in nats per token."""
    import pandas

    steps, losses = columns
    return gr.LinePlot(
        pandas.DataFrame(columns),
        x=steps,
        y=losses,
        title=tr("training loss, nats per token", "训练损失（每 token 的 nat）"),
        height=260,
        buttons=[],
    )


def add_training_tab(gr, watch: TrainingWatch, tab, others: list) -> None:
    """Everything about the training, read anew when a visitor opens `tab`, and then every INTERVAL seconds until they open
    one of `others`, which need a model."""
    import pandas

    now, talks = watch.look(), bool(others)
    figures = gr.HTML(make_figures_html(now, talks), elem_id="training")
    curve = add_loss_curve(gr, make_curve_columns(now))
    samples = gr.HTML(make_samples_html(now), elem_id="samples")
    shown = gr.State(None)

    def show(before: object):
        """Curve and answers are sent anew only where they changed: a table that is drawn anew loses its place."""
        training = watch.look()
        drawn = [training.curve[-1:], len(training.curve), make_sample_rows(training)]
        same = before == drawn
        return (
            make_figures_html(training, talks),
            gr.skip() if same else pandas.DataFrame(make_curve_columns(training)),
            gr.skip() if same else make_samples_html(training),
            drawn,
        )

    timer = gr.Timer(INTERVAL)
    gr.on(
        [timer.tick, tab.select],
        show,
        shown,
        [figures, curve, samples, shown],
        queue=False,  # the queue is for questions, and its places are counted
        show_progress="hidden",
        api_visibility="private",
    )
    # In the browser: asking the server at each click is what this saves, and late answers would come in another order.
    for each in (tab, *others):
        switch = f"() => ({{__type__: 'update', active: {json.dumps(each is tab)}}})"
        each.select(None, None, timer, js=switch, show_progress="hidden", api_visibility="private")
