"""How much training a data file makes: tokens in each row, samples, steps. Standard library; `tokenizers` when at hand.

The counting follows XTuner: xtuner/dataset/utils.py (encode_fn, Packer), map_fns/template_map_fn.py, and mmengine's
EpochBasedTrainLoop. With the base model's tokenizer.json the token counts are exact, else they are estimated from
characters.
"""

from __future__ import annotations

import collections
import functools
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lesson.core.settings import Values
from lesson.data import rows
from lesson.data.persona import PersonaCounter
from lesson.data.self_names import claimed_name

# XTuner's templates of the supported families (xtuner/utils/templates.py; a test compares): system, instruction,
# suffix of the answer, separator, and whether an end-of-sequence token follows the answer.
TEMPLATE_TEXTS = {
    "default": ("<|System|>:{system}\n", "<|User|>:{input}\n<|Bot|>:", "", "\n", True),
    "internlm_chat": ("<|System|>:{system}\n", "<|User|>:{input}<eoh>\n<|Bot|>:", "<eoa>", "\n", False),
    "internlm2_chat": (
        "<|im_start|>system\n{system}<|im_end|>\n",
        "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
        "\n",
        False,
    ),
}
TEMPLATE_TEXTS["llama3_chat"] = (
    "<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>",
    "<|start_header_id|>user<|end_header_id|>\n\n{input}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "<|eot_id|>",
    "",
    False,
)
TEMPLATE_TEXTS["qwen_chat"] = TEMPLATE_TEXTS["internlm2_chat"]
# Tokenizers that XTuner begins no sequence of (get_bos_eos_token_ids), by tokenizer_class.
WITHOUT_BEGIN = ("QWenTokenizer", "Qwen2Tokenizer", "Qwen2TokenizerFast")
MOST_CLAIMS = 50  # different ways in which answers call the speaker, that are kept
STEP = 64  # MAX_LENGTH is chosen as a multiple: kernels are faster, and it divides by SEQ_PARALLEL
UNTRAINED = 1 << 62  # tokens before the first that is trained on, where none is: more than any max_length
MAP_BATCH = 1000  # rows that `datasets` hands the packer at a time


@dataclass(frozen=True)
class DataMeasures:
    """A data file in numbers. Lengths are in tokens, template included, before cutting to max_length."""

    lengths: tuple[int, ...]
    longest_line: int  # the file's line that holds the longest row
    persona: str | None
    rows_with: int  # rows that hold the old name
    bad_rows: int
    exact: bool  # counted with the model's tokenizer, not estimated
    prompts: tuple[int, ...] = ()  # of each row, the tokens before the first that is trained on; () is none
    claims: tuple[tuple[str, int], ...] = ()  # (what answers call the speaker, how often), the most frequent first

    @property
    def longest(self) -> int:
        return max(self.lengths, default=0)

    def kept_lengths(self, max_length: int) -> tuple[int, ...]:
        """The rows as XTuner trains on them: cut to max_length, those left out of which nothing trained remains."""
        prompts = self.prompts or (0,) * len(self.lengths)
        return tuple(min(n, max_length) for n, prompt in zip(self.lengths, prompts, strict=True) if prompt < max_length)

    def count_cut(self, max_length: int) -> tuple[int, int]:
        """(rows that lose their end, those among them that lose the whole answer and are left out)."""
        return sum(n > max_length for n in self.lengths), len(self.lengths) - len(self.kept_lengths(max_length))


def join_measures(parts: Sequence[DataMeasures]) -> DataMeasures:
    """The numbers of several data files that are trained on together."""
    longest = max(parts, key=lambda part: part.longest)
    return DataMeasures(
        tuple(itertools.chain.from_iterable(part.lengths for part in parts)),
        longest.longest_line,
        next((part.persona for part in parts if part.persona), None),
        sum(part.rows_with for part in parts),
        sum(part.bad_rows for part in parts),
        all(part.exact for part in parts),
        tuple(itertools.chain.from_iterable(part.prompts or (0,) * len(part.lengths) for part in parts)),
        tuple(sum((collections.Counter(dict(part.claims)) for part in parts), collections.Counter()).most_common()),
    )


def estimated_tokens(text: str) -> int:
    """Tokens of `text`, from characters: about 0.7 a character of Chinese, 0.3 of other text (InternLM2's tokenizer)."""
    wide = sum(c > "\u2e7f" for c in text)
    return math.ceil(0.7 * wide + 0.3 * (len(text) - wide))


def token_counter(tokenizer: Path | None) -> tuple[Callable[[str], int], bool]:
    """A function from text to its number of tokens, and whether it is exact. `tokenizer` is a tokenizer.json."""
    if tokenizer and tokenizer.is_file():
        try:
            from tokenizers import Tokenizer

            loaded = Tokenizer.from_file(str(tokenizer))
            return lambda text: len(loaded.encode(text, add_special_tokens=False).ids), True
        except Exception:  # the file is not ours: any failure (the library raises bare Exception) means estimating
            pass
    return estimated_tokens, False


def measure_file(path: Path, template: str, tokenizer: Path | None, old_name: str) -> DataMeasures:
    """The numbers of the data file at `path`. Rows that are no conversation are counted, not judged."""
    stat = path.stat()
    return _measure(path, stat.st_mtime_ns, stat.st_size, template, tokenizer, old_name)


@functools.lru_cache(maxsize=4)  # many configs are judged against the same data
def _measure(path: Path, _mtime: int, _size: int, template: str, tokenizer: Path | None, old_name: str) -> DataMeasures:
    with rows.open_bytes(path) as stream:
        return measure_stream(stream, template, tokenizer, old_name)


def measure_stream(stream: BinaryIO, template: str, tokenizer: Path | None, old_name: str) -> DataMeasures:
    """The numbers of rows that are no file here, such as a member of a submission."""
    count, exact = token_counter(tokenizer)
    count = functools.lru_cache(maxsize=4096)(count)  # personas and questions repeat
    begin = _begin_tokens(tokenizer if exact else None, template)
    lengths, prompts, personas, claims = [], [], PersonaCounter(), collections.Counter()
    longest = longest_line = bad = with_old = 0
    for number, block in rows.read_blocks(stream):
        for offset, line in enumerate(rows.split_lines(block) if block else [b"{"]):
            try:
                turns = json.loads(line)["conversation"] if line.strip() else None
                if turns is None:
                    continue
                prompt, length = _row_tokens(turns, template, count, begin)
                personas.count_row(turns)
                claims.update(filter(None, (claimed_name(turn.get("output") or "") for turn in turns)))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                bad += 1
                continue
            if length > longest:
                longest, longest_line = length, number + offset
            lengths.append(length)
            prompts.append(prompt)
            with_old += old_name.encode() in line
    persona, said = personas.most_frequent(), tuple(claims.most_common(MOST_CLAIMS))
    return DataMeasures(tuple(lengths), longest_line, persona, with_old, bad, exact, tuple(prompts), said)


def _begin_tokens(tokenizer: Path | None, template: str) -> int:
    """How many tokens XTuner begins a sequence with: 1, but 0 for Qwen's tokenizers."""
    if tokenizer is None:
        return 0 if template == "qwen_chat" else 1
    try:
        settings = json.loads(tokenizer.with_name("tokenizer_config.json").read_text(encoding="utf-8"))
        return 0 if settings["tokenizer_class"] in WITHOUT_BEGIN else 1
    except (OSError, ValueError, LookupError, TypeError):
        return 1


def _row_tokens(turns: list[dict], template: str, count: Callable[[str], int], begin: int) -> tuple[int, int]:
    """(tokens before the first that is trained on, all tokens) of a conversation (encode_fn)."""
    system_form, form, suffix, separator, end = TEMPLATE_TEXTS.get(template, TEMPLATE_TEXTS["internlm2_chat"])
    prompt, total, begins = None, 0, True
    for turn in turns:
        system = turn.get("system")
        text = system_form.replace("{system}", system) if system else ""
        text += form.replace("{input}", turn.get("input") or "")
        total += count(text) + (begin if begins else 0)
        if prompt is None and turn.get("output_with_loss", True):
            prompt = total
        total += count((turn.get("output") or "") + suffix) + count(separator) + end
        begins = end  # after an end-of-sequence token the next turn begins a sequence again
    return UNTRAINED if prompt is None else prompt, total


def count_samples(lengths: tuple[int, ...], max_length: int, pack: bool) -> int:
    """Samples that XTuner makes of rows of these lengths (`kept_lengths`), with one worker (map_num_proc=None).

    Packing joins rows, cut to max_length each, and cuts the stream; what is left at the end is dropped. A batch of
    rows shorter than one sample becomes a short sample. (Rows are shuffled before; beyond 1000 rows, rare short batches
    could shift the count by one.)
    """
    if not pack:
        return len(lengths)
    made = rest = 0
    for start in range(0, len(lengths), MAP_BATCH):
        total = rest + sum(min(n, max_length) for n in lengths[start : start + MAP_BATCH])
        made += max(total // max_length, 1)
        rest = total % max_length if total >= max_length else 0
    return made


@dataclass(frozen=True)
class Schedule:
    """Training in steps. An iteration is one forward and backward pass; the optimizer moves every `accumulate` of them."""

    samples: int
    iterations_per_epoch: int
    iterations: int
    optimizer_steps: int
    effective_batch: int  # samples per optimizer step, all GPUs together
    warmup_iterations: int
    tokens: int  # trained on in all, padding and masked ones included
    tokens_per_iteration: int  # on all GPUs together


def plan_schedule(
    data: DataMeasures,
    max_length: int,
    pack: bool,
    batch: int,
    accumulate: int,
    epochs: int,
    warmup_ratio: float,
    world_size: int = 1,
    sequence_parallel: int = 1,
) -> Schedule:
    """The schedule on `world_size` GPUs, of which each `sequence_parallel` work on one sequence together."""
    ranks = max(world_size // max(sequence_parallel, 1), 1)
    kept = data.kept_lengths(max_length)
    made = count_samples(kept, max_length, pack)
    per_epoch = math.ceil(math.ceil(made / ranks) / batch)
    iterations = per_epoch * epochs
    mean = max_length if pack else sum(kept) / max(len(kept), 1)
    return Schedule(
        made,
        per_epoch,
        iterations,
        math.ceil(iterations / accumulate),
        batch * accumulate * ranks,
        warmup_iterations(warmup_ratio, epochs, per_epoch),
        round(made * mean * epochs),
        round(batch * ranks * mean),
    )


def fitting_warmup(plan: Schedule, usual: float) -> float:
    """`usual` where it makes a warm-up of two iterations or more, else the smallest ratio that does, to two digits.

    `usual` as well where only half of the training or more would do: there are too few iterations for a warm-up.
    """
    per_epoch, epochs = plan.iterations_per_epoch, plan.iterations // plan.iterations_per_epoch
    smallest = [math.ceil(2 / plan.iterations * 10**places) / 10**places for places in (2, 3)]
    for ratio in (usual, *smallest):
        if ratio < 0.5 and warmup_iterations(ratio, epochs, per_epoch) >= 2:
            return ratio
    return usual


def round_up(tokens: int) -> int:
    """`tokens` rounded up to a multiple of STEP."""
    return -(-tokens // STEP) * STEP


def warmup_iterations(ratio: float, epochs: int, per_epoch: int) -> int:
    """Iterations in which the rate rises (mmengine's convert_to_iter_based, with end=warmup_ratio * max_epochs)."""
    return int(ratio * epochs * per_epoch)


def world_size(values: Values) -> int:
    """Processes of the training, all nodes together."""
    return values.nproc_per_node * values.nnodes
