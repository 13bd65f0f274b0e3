"""make preview: the first rows as a person reads them, and as the model sees them.

The second view is XTuner's own: its template, its tokenisation, its labels. Tokens that are trained on are green on a
terminal and between ⟦ ⟧ elsewhere; all others are masked.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import sys

from lesson.core import cli
from lesson.core.layout import base_model, changed_rows
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.data import rows
from lesson.evaluation import talk

SETTINGS = ["PROFILE", "BUILD", "SRC", "ROWS"]
INDENT = "\n" + " " * 10  # under the text of a row's first line
GREEN, DIM, PLAIN = "\033[32m", "\033[2m", "\033[0m"


def preview(values: Values) -> int:
    changed = changed_rows(values.build)
    path = changed if changed.exists() else values.src
    print(tr(f"{path}, the first {values.rows} rows", f"{path} 的前 {values.rows} 行"))
    first = list(itertools.islice(rows.read(path), values.rows))
    for number, row in enumerate(first, 1):
        print(f"\n[{number}]")
        for turn in row["conversation"]:
            for key in ("system", "input", "output"):
                if turn.get(key):
                    print(f"  {key:<7} {visible(turn[key], INDENT)}")
    model = base_model(values.build)
    if not (model / "tokenizer_config.json").exists():
        raise UserError(
            model,
            tr("no base model, so no tokenizer", "没有基座模型，也就没有分词器"),
            tr("run make model", "请先运行 make model"),
        )
    talk.use_environment(values)
    as_model(first, model)
    return 0


def visible(text: str, indent: str = "\n") -> str:
    """`text` with control characters shown, not sent to the terminal; `indent` begins each further line."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text).replace("\n", indent)


def as_model(first: list[dict], model) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from transformers import AutoTokenizer
        from xtuner.dataset.map_fns import template_map_fn_factory
        from xtuner.dataset.utils import encode_fn
        from xtuner.utils import PROMPT_TEMPLATE

        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=True)
    template = template_map_fn_factory(PROMPT_TEMPLATE.internlm2_chat)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    start, end, rest = (GREEN, PLAIN + DIM, DIM) if colour else ("⟦", "⟧", "")
    print(
        tr("\nas the model sees it (trained tokens ", "\n模型看到的样子（训练的 token ")
        + f"{start}{tr('so', '如此')}{end}{PLAIN if colour else ''}"
        + tr(")", "）")
    )
    for number, row in enumerate(first, 1):
        turns = [dict(turn) for turn in row["conversation"]]
        encoded = encode_fn(template({"conversation": turns}), tokenizer, max_length=1 << 20)
        ids, labels = encoded["input_ids"], encoded["labels"]
        trained = sum(label >= 0 for label in labels)
        print(
            tr(
                f"\n[{number}] {len(ids)} tokens, {trained} trained",
                f"\n[{number}] {len(ids)} 个 token，训练其中 {trained} 个",
            )
        )
        pieces = []
        for is_trained, group in itertools.groupby(zip(ids, labels, strict=True), key=lambda pair: pair[1] >= 0):
            text = visible(tokenizer.decode([i for i, _ in group]))
            pieces.append(start + text + end if is_trained else text)
        print(rest + "".join(pieces).rstrip() + (PLAIN if colour else ""))


def main(arguments: list[str] | None = None) -> int:
    return cli.run("preview", __doc__, SETTINGS, preview, sys.argv[1:] if arguments is None else arguments)
