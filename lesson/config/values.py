"""Values of training that work by themselves: chosen from the rows, the base and the number of processes.

The profile and the stock config say where to begin; what does not suit the rows is changed here, and each value has its
reason. Measured on a real 0.5B (an H100, learning rate 3e-4, 1,100 rows): 78 updates of 2048 tokens leave one answer in
eight with another name, 212 updates of 512 tokens two in a hundred, and more of what it knew is kept; 4 updates teach
nothing. 50 rows seen 40 times make the tiny base forget a fifth of what it knew, seen 100 times half. So the aim is many
short updates in few passes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from lesson.config.schedule import (
    STEP,
    DataMeasures,
    Schedule,
    fitting_warmup,
    plan_schedule,
    round_up,
    warmup_iterations,
)
from lesson.core.messages import UserError, tr

CHOSEN = ("MAX_LENGTH", "ACCUM", "EPOCHS", "LR", "WARMUP", "SAVE_STEPS")
FEWEST = 40  # updates


@dataclass(frozen=True)
class Aim:
    """How many updates are aimed at, and the tokens of a sample to begin with (None: what the profile says)."""

    least: int
    most: int
    length: int | None


REAL_SIZE = 1e8  # parameters from which a base is a real one
TINY_AIM, REAL_AIM = Aim(60, 150, None), Aim(150, 400, 512)
MOST_EPOCHS = 20  # few rows seen more often make the base forget
MOST_ACCUM = 16  # the stock configs'
# Tokens in an iteration that fit where the machine does not tell: 24 GB at 7B in 4 bits, 4 GB of host memory at tiny.
TOKENS_THAT_FIT = ((1e9, 8192), (math.inf, 4096))
# Peak learning rates of LoRA by parameters of the base; between them a straight line on logarithmic scales. On a real 0.5B
# make eval passed 5 of 6 trainings at 4e-4 (three names, three seeds) and 2 of 3 at 3e-4; what failed repeated an old name.
RATES = ((2e6, 2e-3), (1e8, 1e-3), (5e8, 4e-4), (7e9, 2e-4))


class BaseSizes(Protocol):
    """A base in numbers, as lesson/model/sizes.py reads them; None where that is not known."""

    parameters: int | None
    positions: int | None  # tokens that it can read at once
    tokenizer: Path | None  # its tokenizer.json
    tokens: int | None  # of an iteration, that this machine's memory is sure to hold


@dataclass(frozen=True)
class Setup:
    """What is not chosen here and counts: samples in a batch, packing, processes."""

    batch: int = 1
    pack: bool = True
    world_size: int = 1
    sequence_parallel: int = 1
    most_batch: int = 1  # samples that a step may take at once, where the global batch stays what it is


@dataclass(frozen=True)
class ChosenValues:
    """The values by variable, the reason of each that was not given, the training that they make, and what it lacks."""

    values: dict[str, object]
    reasons: dict[str, str]
    schedule: Schedule
    usual: Mapping[str, object]  # what the profile and the stock config say
    notes: list[str] = field(default_factory=list)  # what the user should know before training


def choose_values(
    data: DataMeasures, base: BaseSizes, usual: Mapping[str, object], given: Mapping[str, object], setup: Setup
) -> ChosenValues:
    """The values of CHOSEN: those `given`, else what suits; `usual` is what the profile and the stock config say.

    Raises UserError where no row would keep anything to train on.
    """
    choice = _Choice(data, base, usual, given, setup)
    choice.choose_length()
    choice.choose_passes()
    choice.choose_batch()
    choice.choose_rate()
    plan = choice.plan(choice.values["MAX_LENGTH"])
    choice.choose_warmup(plan)
    choice.choose_saving(plan)
    plan = choice.plan(choice.values["MAX_LENGTH"])
    return ChosenValues(choice.values, choice.reasons, plan, usual, [*choice.notes, *_lacks(data, plan, choice)])


class _Choice:
    """One choice in the making: `values` is filled step by step, each step uses those before."""

    def __init__(
        self,
        data: DataMeasures,
        base: BaseSizes,
        usual: Mapping[str, object],
        given: Mapping[str, object],
        setup: Setup,
    ) -> None:
        self.data, self.base, self.usual, self.given, self.setup = data, base, usual, given, setup
        self.values: dict[str, object] = {}
        self.reasons: dict[str, str] = {}
        self.notes: list[str] = []
        self.aim = TINY_AIM if (base.parameters or math.inf) < REAL_SIZE else REAL_AIM

    def take(self, name: str, value: object, reason: str) -> None:
        """Set a value, unless the user gave one."""
        self.values[name] = self.given.get(name, value)
        if name not in self.given:
            self.reasons[name] = reason

    def plan(self, length: int, epochs: int | None = None, accumulate: int | None = None) -> Schedule:
        """The training with this length; passes and accumulation as chosen so far, unless they are named."""
        epochs, accumulate = epochs or self.values["EPOCHS"], accumulate or self.values["ACCUM"]
        warmup = self.values.get("WARMUP", self.usual["WARMUP"])
        setup = self.setup
        return plan_schedule(
            self.data,
            length,
            setup.pack,
            setup.batch,
            accumulate,
            epochs,
            warmup,
            setup.world_size,
            setup.sequence_parallel,
        )

    def choose_length(self) -> None:
        """The longest row decides; few rows get shorter samples, so that there are more of them, many rows longer ones."""
        longest, usual = max(self.data.longest, 1), self.usual["MAX_LENGTH"]
        about = "" if self.data.exact else tr("about ", "约 ")
        whole = round_up(longest)
        most, limit = self._longest_possible()
        longest_usual = usual if most is None else min(usual, most)
        length = min(self.aim.length or usual, longest_usual)
        reason = tr(f"the longest row has {about}{longest} tokens", f"最长的行有 {about}{longest} 个词元")
        if longest > length:
            length = whole if most is None else min(whole, most)
            if whole > length:
                reason = limit
        elif self.setup.pack:
            start = length
            while length < longest_usual and self.plan(length, 1, 1).optimizer_steps > self.aim.most:
                length = min(2 * length, longest_usual)
            if length > start:
                reason = tr("many rows: longer samples are computed faster", "数据多：样本长一些，算得更快")
            elif self.aim.length:
                reason = tr(f"many short updates teach a name best; {reason}", f"更新多而短，名字学得最好；{reason}")
            shorter = self._shorter(length)
            if shorter < length:
                length = shorter
                reason = tr("few rows: shorter samples make more updates", "数据少：样本短一些，更新次数才够")
        self.take("MAX_LENGTH", length, reason)
        self._tell_cut(whole)

    def _longest_possible(self) -> tuple[int | None, str]:
        """What the base can read and memory holds, None for no limit, and in words which of them limits."""
        positions, batch = self.base.positions, self.setup.batch
        tokens = self.base.tokens or next(
            fit for size, fit in TOKENS_THAT_FIT if (self.base.parameters or math.inf) < size or size == math.inf
        )
        memory = max(tokens * self.setup.sequence_parallel // batch // STEP * STEP, STEP)
        # What the profile says is known to fit.
        memory = max(memory, self.usual["MAX_LENGTH"])
        if positions is not None and positions <= memory:
            return positions, tr(f"the base reads {positions} tokens at most", f"基座最多读 {positions} 个词元")
        return memory, tr(
            f"with BATCH={batch}, memory is sure to hold no longer samples",
            f"BATCH={batch} 时，更长的样本内存不一定放得下",
        )

    def _shorter(self, length: int) -> int:
        """The longest of length, length/2, … that makes enough updates; rows stay whole and are rarely cut in two."""
        mean = math.ceil(sum(self.data.lengths) / max(len(self.data.lengths), 1))
        least = min(max(round_up(self.data.longest), round_up(2 * mean)), length)
        # As with the usual passes: a user who gave EPOCHS or ACCUM did not ask for other samples.
        while length > least and self.plan(length, self.usual["EPOCHS"], 1).optimizer_steps < self.aim.least:
            length = max(length // 2 // STEP * STEP, least)
        return length

    def _tell_cut(self, whole: int) -> None:
        length = self.values["MAX_LENGTH"]
        cut, lost = self.data.count_cut(length)
        rows = len(self.data.lengths)
        if not cut:
            return
        positions = self.base.positions
        remedy = tr(f"MAX_LENGTH={whole} keeps them", f"MAX_LENGTH={whole} 可保留")
        if positions is not None and whole > positions:
            remedy = tr(
                f"shorten them: the base reads {positions} tokens at most", f"请缩短：基座最多读 {positions} 个词元"
            )
        if lost == rows:
            raise UserError(
                f"MAX_LENGTH={length}",
                tr(
                    f"nothing is left to train on: in each of the {rows} rows the question alone is longer",
                    f"没有可训练的内容：{rows} 行里，单是问题就超过这个长度",
                ),
                remedy,
            )
        self.notes.append(
            tr(
                f"{cut} of {rows} rows lose their end at MAX_LENGTH={length}, {lost} of them the whole answer; {remedy}",
                f"MAX_LENGTH={length} 时，{rows} 行中有 {cut} 行被截断，其中 {lost} 行没有回答；{remedy}",
            )
        )

    def choose_passes(self) -> None:
        """ACCUM and EPOCHS: as many updates as are aimed at."""
        length, usual = self.values["MAX_LENGTH"], self.usual["EPOCHS"]
        each = self.plan(length, 1, 1).iterations  # in one pass
        accumulate = 1
        if "EPOCHS" not in self.given:
            while accumulate < MOST_ACCUM and math.ceil(each / accumulate) > self.aim.most:
                accumulate *= 2
        self.take("ACCUM", accumulate, self._why_accumulate(each, accumulate))
        accumulate = self.values["ACCUM"]
        epochs = usual
        if math.ceil(each * epochs / accumulate) > self.aim.most:
            epochs = max(self.aim.most * accumulate // each, 1)
        if math.ceil(each * epochs / accumulate) < self.aim.least:
            enough = math.ceil(((self.aim.least - 1) * accumulate + 1) / each)
            epochs = max(min(enough, MOST_EPOCHS), min(usual, enough))
        updates = math.ceil(each * epochs / accumulate)
        self.take(
            "EPOCHS", epochs, tr(f"{each} steps a pass make {updates} updates", f"每轮 {each} 步，共 {updates} 次更新")
        )

    def choose_batch(self) -> None:
        """Samples at once instead of one after the other, as many as memory holds and ACCUM has: the same global batch."""
        most = min(self.setup.most_batch, (self.base.tokens or 0) // self.values["MAX_LENGTH"])
        if self.setup.batch > 1 or most < 2:
            return
        accumulate = self.values["ACCUM"]
        batch = max(n for n in range(1, most + 1) if accumulate % n == 0)
        if batch > 1 and "ACCUM" not in self.given:
            self.setup = replace(self.setup, batch=batch)
            self.values["BATCH"], self.values["ACCUM"] = batch, accumulate // batch
            self.reasons["BATCH"] = tr(
                f"at once, for ACCUM={accumulate} one after the other: as many to an update",
                f"同时算，代替 ACCUM={accumulate} 逐个累积：每次更新的样本数不变",
            )
            return
        self.notes.append(
            tr(
                f"memory holds {most} samples at once, but one makes an update (ACCUM={accumulate}): BATCH={most} is faster, with {most} times the global batch",
                f"显存可同时放 {most} 个样本，但每次更新只用 ACCUM={accumulate} 个：BATCH={most} 更快，总批量变为 {most} 倍",
            )
        )

    def _why_accumulate(self, each: int, accumulate: int) -> str:
        usual = self.usual["ACCUM"]
        epochs = self.given.get("EPOCHS", self.usual["EPOCHS"])
        if accumulate > 1:
            return tr(f"many rows: {each} steps a pass", f"数据多：每轮 {each} 步")
        if usual > 1:
            few = math.ceil(each * epochs / usual)
            return tr(f"ACCUM={usual} would make {few} updates", f"ACCUM={usual} 只有 {few} 次更新")
        return tr("each step is an update", "每一步都更新")

    def choose_rate(self) -> None:
        """LR by the size of the base."""
        parameters = self.base.parameters
        if parameters is None:
            self.take("LR", self.usual["LR"], tr("as in the profile", "来自配置"))
        else:
            size = name_size(parameters)
            self.take("LR", rate_for(parameters), tr(f"for a base of {size} parameters", f"适合 {size} 参数的基座"))

    def choose_warmup(self, plan: Schedule) -> None:
        """WARMUP of two steps at least: with one, mmengine never raises the rate."""
        ratio, per_epoch = fitting_warmup(plan, self.usual["WARMUP"]), plan.iterations_per_epoch
        steps = warmup_iterations(ratio, plan.iterations // per_epoch, per_epoch)
        self.take("WARMUP", ratio, tr(f"{steps} steps of {plan.iterations}", f"{plan.iterations} 步中的 {steps} 步"))

    def choose_saving(self, plan: Schedule) -> None:
        """SAVE_STEPS: at least one checkpoint before the end."""
        every = self.usual["SAVE_STEPS"]
        if every > 0.8 * plan.iterations:
            every = max(plan.iterations // 2, 1)
        count = (plan.iterations - 1) // every
        self.take(
            "SAVE_STEPS",
            every,
            tr(f"checkpoints before the end: {count}", f"结束前保存 {count} 次检查点"),
        )


def _lacks(data: DataMeasures, plan: Schedule, choice: _Choice) -> list[str]:
    """One line that says what is missing, where the updates are fewer than it takes."""
    if plan.optimizer_steps >= FEWEST:
        return []
    accumulate, setup, kept = choice.values["ACCUM"], choice.setup, data.kept_lengths(choice.values["MAX_LENGTH"])
    wanted = (FEWEST - 1) * accumulate + 1  # iterations
    epochs = math.ceil(wanted / plan.iterations_per_epoch)
    each = math.ceil(wanted / choice.given.get("EPOCHS", MOST_EPOCHS))  # iterations in a pass, with more rows
    ranks = max(setup.world_size // setup.sequence_parallel, 1)
    samples = (each - 1) * setup.batch * ranks + 1
    rows = math.ceil(samples * choice.values["MAX_LENGTH"] * len(kept) / sum(kept)) if setup.pack else samples
    more = max(rows - len(kept), 1)
    updates = plan.optimizer_steps
    return [
        tr(
            f"only {updates} updates, at least {FEWEST} are needed: bring about {more} more rows, or set EPOCHS={epochs} (more passes forget more)",
            f"只有 {updates} 次更新，至少需要 {FEWEST} 次：请增加约 {more} 行数据，或设 EPOCHS={epochs}（轮数多会遗忘更多）",
        )
    ]


def rate_for(parameters: float) -> float:
    """The learning rate for a base of that many parameters, to one digit."""
    smallest, largest = RATES[0], RATES[-1]
    if parameters <= smallest[0]:
        return smallest[1]
    if parameters >= largest[0]:
        return largest[1]
    (low, fast), (high, slow) = next(
        pair for pair in itertools.pairwise(RATES) if pair[0][0] <= parameters <= pair[1][0]
    )
    share = math.log(parameters / low) / math.log(high / low)
    return float(f"{fast * (slow / fast) ** share:.0e}")


def name_size(parameters: float) -> str:
    """A number of parameters for people: 2M, 0.5B, 7.7B."""
    if parameters < 1e8:
        return f"{parameters / 1e6:.0f}M"
    return f"{parameters / 1e9:.1f}B"


def lines_of(chosen: ChosenValues) -> list[str]:
    """What the user reads: each value with its reason, and what is missing."""
    width = max(len(f"{name}={show(value)}") for name, value in chosen.values.items())
    given = tr("given", "已指定")
    return [
        tr("values for these rows and this base:", "按这些数据和基座选定的值："),
        *(
            f"  {f'{name}={show(value)}':<{width}}  {chosen.reasons.get(name, given)}"
            for name, value in chosen.values.items()
        ),
        *chosen.notes,
    ]


def show(value: object) -> str:
    """A value as it is typed behind the variable's name."""
    return f"{value:g}" if isinstance(value, float) else str(value)
