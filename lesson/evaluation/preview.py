"""Show rows as a person reads them, and as the model sees them: XTuner's template, tokens and labels."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

from lesson.core.layout import base_model, changed_rows
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.data import rows
from lesson.evaluation.loading import use_environment
from lesson.model.base_record import recorded_base
from lesson.model.patches import patch_first_tokens

INDENT = "\n" + " " * 10  # under the text of a row's first line
GREEN, DIM, PLAIN = "\033[32m", "\033[2m", "\033[0m"


def preview_rows(values: Values, colour: bool = False) -> Iterator[str]:
    """Lines about the first ROWS rows: those to train on where make data has written them, else those of SRC.

    First the texts, then the tokens; `colour` marks the trained tokens with a terminal's colours. Raises UserError, the
    texts given, when there is no base model and so no tokenizer.
    """
    changed = changed_rows(values.build)
    path = changed if changed.exists() else values.src
    yield tr(f"{path}, the first {values.rows} rows", f"{path} 的前 {values.rows} 行")
    first = list(itertools.islice(rows.read_rows(path), values.rows))
    yield from show_texts(first)
    model = base_model(values.build)
    if not (model / "tokenizer_config.json").exists():
        raise UserError(
            model,
            tr("no base model, so no tokenizer", "没有基座模型，也就没有分词器"),
            tr("run make model", "请先运行 make model"),
        )
    use_environment(values)
    template = values.prompt_template or str(recorded_base(values.build).get("template") or "internlm2_chat")
    yield from show_tokens(first, model, colour, template)


def show_texts(some_rows: list[dict]) -> Iterator[str]:
    """The rows as a person reads them, line by line."""
    for number, row in enumerate(some_rows, 1):
        yield f"\n[{number}]"
        for turn in row["conversation"]:
            for key in ("system", "input", "output"):
                if turn.get(key):
                    yield f"  {key:<7} {show_controls(turn[key], INDENT)}"


def show_controls(text: str, indent: str = "\n") -> str:
    """`text` with control characters shown, not sent to the terminal; `indent` begins each further line."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text).replace("\n", indent)


def show_tokens(some_rows: list[dict], model: Path, colour: bool, template: str) -> Iterator[str]:
    """The rows as the model in the folder `model` sees them, in XTuner's template of that name.

    Trained tokens are green, or between ⟦ ⟧ without colour.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from transformers import AutoTokenizer
        from xtuner.dataset.map_fns import template_map_fn_factory
        from xtuner.dataset.utils import encode_fn
        from xtuner.utils import PROMPT_TEMPLATE

        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=True)
    patch_first_tokens()
    in_template = template_map_fn_factory(getattr(PROMPT_TEMPLATE, template))
    start, end, rest = (GREEN, PLAIN + DIM, DIM) if colour else ("⟦", "⟧", "")
    yield (
        tr("\nas the model sees it (trained tokens ", "\n模型看到的样子（训练的 token ")
        + f"{start}{tr('so', '如此')}{end}{PLAIN if colour else ''}"
        + tr(")", "）")
    )
    for number, row in enumerate(some_rows, 1):
        turns = [dict(turn) for turn in row["conversation"]]
        encoded = encode_fn(in_template({"conversation": turns}), tokenizer, max_length=1 << 20)
        ids, labels = encoded["input_ids"], encoded["labels"]
        trained = sum(label >= 0 for label in labels)
        yield tr(
            f"\n[{number}] {len(ids)} tokens, {trained} trained",
            f"\n[{number}] {len(ids)} 个 token，训练其中 {trained} 个",
        )
        pieces = []
        for is_trained, group in itertools.groupby(zip(ids, labels, strict=True), key=lambda pair: pair[1] >= 0):
            text = show_controls(tokenizer.decode([i for i, _ in group]))
            pieces.append(start + text + end if is_trained else text)
        yield rest + "".join(pieces).rstrip() + (PLAIN if colour else "")
