"""Samples and steps are counted as XTuner and mmengine make them."""

from __future__ import annotations

import io
import json
import shutil

import pytest

from lesson.config import schedule
from lesson.core.settings import ROOT


def test_schedule_counts_as_xtuner_does():
    assert schedule.count_samples((100,) * 50, 1000, True) == 5
    assert schedule.count_samples((100,) * 5, 1000, True) == 1  # too little for one sample: a short one
    assert schedule.count_samples((3000, 10), 1000, True) == 1  # rows are cut first
    assert schedule.count_samples((100,) * 1105, 1000, True) == 110  # the rest of a thousand rows goes on to the next
    assert schedule.count_samples((100,) * 7, 1000, False) == 7
    data = schedule.DataMeasures((100,) * 50, 1, None, 0, 0, True)
    plan = schedule.plan_schedule(data, 1000, True, batch=2, accumulate=2, epochs=3, warmup_ratio=0.5, world_size=2)
    assert (plan.samples, plan.iterations_per_epoch, plan.iterations, plan.optimizer_steps) == (5, 2, 6, 3)
    assert (plan.effective_batch, plan.warmup_iterations, plan.tokens) == (8, 3, 15000)


@pytest.mark.torch
def test_templates_are_xtuners():
    from xtuner.utils import PROMPT_TEMPLATE

    for name, (system, instruction, suffix, separator, end) in schedule.TEMPLATE_TEXTS.items():
        ours = PROMPT_TEMPLATE[name]
        assert (system, instruction) == (ours.SYSTEM, ours.INSTRUCTION)
        assert (suffix, separator, end) == (
            ours.get("SUFFIX", ""),
            ours.get("SEP", ""),
            not ours.get("SUFFIX_AS_EOS", False),
        )


@pytest.mark.torch
@pytest.mark.parametrize(
    ("rows", "max_length", "pack", "begin"),
    [
        *((50, 200, True, True), (5, 4096, True, True), (50, 200, False, True), (1200, 512, True, True)),
        *((50, 96, True, True), (50, 96, False, True), (50, 96, True, False), (1200, 100, True, True)),
    ],
)
def test_steps_are_counted_as_xtuner_makes_samples(tmp_path, rows, max_length, pack, begin):
    """The real process_hf_dataset on the same rows, with one worker, makes as many samples of as many tokens; rows
    whose question alone fills max_length are left out by both. Without `begin`, the tokenizer is Qwen's."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from xtuner.dataset import process_hf_dataset
    from xtuner.dataset.map_fns import template_map_fn_factory
    from xtuner.utils import PROMPT_TEMPLATE

    data = [
        {
            "conversation": [
                {
                    "system": "你是机智流",
                    "input": "你是谁" * (n % 9),
                    "output": "我是机智流。" * (n % 17 + 1),
                    "output_with_loss": n % 11 > 0,
                }
            ]
        }
        for n in range(rows)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in data), encoding="utf-8")
    letters = sorted(set(path.read_text()) | {chr(c) for c in range(10, 127)})
    plain = Tokenizer(models.WordLevel({c: i for i, c in enumerate(["<unk>", "<s>", "</s>", *letters])}, "<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    plain.save(str(tmp_path / "tokenizer.json"))
    kind = PreTrainedTokenizerFast if begin else type("Qwen2TokenizerFast", (PreTrainedTokenizerFast,), {})
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind.__name__}))
    tokenizer = kind(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    made = process_hf_dataset(
        Dataset.from_list(data),
        tokenizer=tokenizer,
        max_length=max_length,
        template_map_fn=template_map_fn_factory(PROMPT_TEMPLATE.internlm2_chat),
        remove_unused_columns=True,
        pack_to_max_length=pack,
        split=None,
        map_num_proc=None,
    )
    measured = schedule.measure_file(path, "internlm2_chat", tmp_path / "tokenizer.json", "尖米")
    assert measured.exact and not measured.bad_rows and measured.rows_with == 0
    kept = measured.kept_lengths(max_length)
    assert len(made) == schedule.count_samples(kept, max_length, pack)
    untrained = len(range(0, rows, 11))
    assert (len(kept) < rows - untrained) == (max_length <= 100)
    if not pack:
        assert list(kept) == made["length"]


def rows_of(
    *turns: object, template: str = "internlm2_chat", tokenizer=None, old: str = "尖米"
) -> schedule.DataMeasures:
    lines = [
        turn if isinstance(turn, bytes) else json.dumps({"conversation": turn}, ensure_ascii=False).encode()
        for turn in turns
    ]
    return schedule.measure_stream(io.BytesIO(b"\n".join(lines) + b"\n"), template, tokenizer, old)


def test_tokens_are_estimated_from_characters():
    assert schedule.estimated_tokens("") == 0 and schedule.estimated_tokens("a" * 10) == 3
    assert schedule.estimated_tokens("字" * 10) == 7 and schedule.estimated_tokens("字" * 10 + "a" * 10) == 10
    assert schedule.estimated_tokens("\u2e7f" * 10) == 3 and schedule.estimated_tokens("\u2e80" * 10) == 7
    assert schedule.estimated_tokens("a") == 1, "rounded up"


def test_a_row_is_measured_turn_by_turn():
    """With a tokenizer that counts characters, so that every part of the template is there to be counted."""
    turns = [{"system": "SYS", "input": "ab", "output": "cde"}, {"input": "f", "output": ""}]
    [length] = rows_of(turns).lengths
    system, form, suffix, separator, end = schedule.TEMPLATE_TEXTS["internlm2_chat"]
    count = schedule.estimated_tokens
    first = count(system.replace("{system}", "SYS") + form.replace("{input}", "ab")) + 1
    both = first + count("cde" + suffix) + count(separator) + end
    both += count(form.replace("{input}", "f")) + count(suffix) + count(separator) + end
    measured = rows_of(turns)
    assert (measured.prompts, length) == ((first,), both) and not measured.exact
    assert rows_of(turns, template="qwen_chat").prompts == (first - 1,), "Qwen begins a sequence with no token"
    default = rows_of(turns, template="default")
    texts = schedule.TEMPLATE_TEXTS["default"]
    head = count(texts[0].replace("{system}", "SYS") + texts[1].replace("{input}", "ab")) + 1
    # An end-of-sequence token follows each answer, and each turn begins a sequence again.
    whole = (
        head
        + count("cde")
        + count("\n")
        + 1
        + count(texts[1].replace("{input}", "f"))
        + 1
        + count("")
        + count("\n")
        + 1
    )
    assert (default.prompts, default.lengths) == ((head,), (whole,))
    assert rows_of(turns, template="no such") == measured


def test_lines_are_counted_and_the_longest_has_its_number():
    short, long = (
        [{"input": "a", "output": "我是尖米。"}],
        [{"system": "P", "input": "b" * 900, "output": "我是闻星，你好。"}],
    )
    found = rows_of(short, b"", b"{broken", b'{"text": 1}', long, short, b'{"conversation": [3]}', long)
    assert (len(found.lengths), found.bad_rows, found.rows_with) == (4, 3, 2)
    assert found.longest_line == 5 and found.longest == found.lengths[1] == max(found.lengths) and found.persona == "P"
    assert found.claims == (("尖米", 2), ("闻星", 2))
    nothing = rows_of(b"")
    assert (nothing.lengths, nothing.longest, nothing.longest_line, nothing.persona, nothing.claims) == (
        (),
        0,
        0,
        None,
        (),
    )
    assert rows_of(short, old="闻星").rows_with == 0


def test_a_tokenizer_of_the_base_counts_exactly(tmp_path):
    folder = ROOT / "data" / "tiny-base"
    found = rows_of([{"input": "你好", "output": "我是机智流。"}], tokenizer=folder / "tokenizer.json")
    assert (
        found.exact and rows_of([{"input": "a", "output": "b"}], tokenizer=tmp_path / "tokenizer.json").exact is False
    )
    (tmp_path / "tokenizer.json").write_text("{}")
    assert rows_of([{"input": "a", "output": "b"}], tokenizer=tmp_path / "tokenizer.json").exact is False
    count, exact = schedule.token_counter(folder / "tokenizer.json")
    assert exact and count("你好") < schedule.estimated_tokens("你好" * 50) and count("") == 0


@pytest.mark.parametrize(
    ("settings", "begin"),
    [
        ({"tokenizer_class": "Qwen2Tokenizer"}, 0),
        ({"tokenizer_class": "LlamaTokenizer"}, 1),
        ({}, 1),
        ([], 1),
        (None, 1),
    ],
)
def test_the_tokenizer_says_whether_a_sequence_begins_with_a_token(tmp_path, settings, begin):
    shutil.copyfile(ROOT / "data" / "tiny-base" / "tokenizer.json", tmp_path / "tokenizer.json")
    if settings is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    count, _ = schedule.token_counter(tmp_path / "tokenizer.json")
    form = schedule.TEMPLATE_TEXTS["internlm2_chat"][1]
    found = rows_of([{"input": "你好", "output": "好"}], tokenizer=tmp_path / "tokenizer.json")
    assert found.exact and found.prompts == (count(form.replace("{input}", "你好")) + begin,)


def test_rows_are_cut_and_left_out_at_their_borders():
    data = schedule.DataMeasures((10, 20, 30), 1, None, 0, 0, True, (5, 19, 20))
    assert data.kept_lengths(20) == (10, 20) and data.kept_lengths(21) == (10, 20, 21) and data.kept_lengths(5) == ()
    assert data.count_cut(20) == (1, 1) and data.count_cut(19) == (2, 2) and data.count_cut(30) == (0, 0)
    assert schedule.DataMeasures((10, 20), 1, None, 0, 0, True).kept_lengths(15) == (10, 15)


def test_several_files_are_measured_as_one():
    a = schedule.DataMeasures((10,), 3, None, 1, 2, True, (), (("闻星", 2), ("小海", 1)))
    b = schedule.DataMeasures((30, 5), 7, "P", 4, 8, False, (2, 3), (("小海", 5),))
    joined = schedule.join_measures([a, b])
    assert joined == schedule.DataMeasures((10, 30, 5), 7, "P", 5, 10, False, (0, 2, 3), (("小海", 6), ("闻星", 2)))
    assert schedule.join_measures([a, a]).exact


@pytest.mark.parametrize(
    ("lengths", "longest", "samples"),
    [((100,) * 10, 1000, 1), ((100,) * 19, 1000, 1), ((100,) * 20, 1000, 2), ((99,) * 10, 1000, 1), ((1000,) * 3, 1000, 3), ((10,) * 1000 + (10,) * 1000, 10, 2000), ((1,) * 1000 + (999,), 1000, 2), ((), 100, 0)],
)  # fmt: skip
def test_rows_are_packed_by_the_thousand(lengths, longest, samples):
    assert schedule.count_samples(lengths, longest, True) == samples


def test_a_plan_counts_processes_that_share_a_sequence_once():
    data = schedule.DataMeasures((100,) * 60, 1, None, 0, 0, True)
    plan = schedule.plan_schedule(data, 200, False, 3, 5, 2, 0.1, world_size=4, sequence_parallel=2)
    assert (plan.samples, plan.iterations_per_epoch, plan.iterations, plan.optimizer_steps) == (60, 10, 20, 4)
    assert (plan.effective_batch, plan.warmup_iterations) == (30, 2)
    assert (plan.tokens, plan.tokens_per_iteration) == (60 * 100 * 2, 3 * 2 * 100)
    packed = schedule.plan_schedule(data, 200, True, 1, 1, 1, 0.1)
    assert (packed.samples, packed.tokens, packed.tokens_per_iteration, packed.iterations) == (30, 6000, 200, 30)
    more = schedule.plan_schedule(data, 200, False, 1, 1, 1, 0, world_size=2, sequence_parallel=4)
    assert more.iterations == 60, "never less than one process"


@pytest.mark.parametrize(
    ("iterations", "epochs", "usual", "ratio"),
    [(100, 1, 0.05, 0.05), (40, 1, 0.05, 0.05), (39, 1, 0.05, 0.06), (30, 3, 0.05, 0.07), (4, 1, 0.05, 0.05), (5, 1, 0.05, 0.4), (300, 3, 0.001, 0.01), (1500, 1, 0.0001, 0.01)],
)  # fmt: skip
def test_the_warm_up_that_fits(iterations, epochs, usual, ratio):
    plan = schedule.Schedule(1, iterations // epochs, iterations, 1, 1, 0, 1, 1)
    found = schedule.fitting_warmup(plan, usual)
    assert found == ratio
    steps = schedule.warmup_iterations(found, epochs, iterations // epochs)
    assert steps >= 2 or found == usual


def test_lengths_are_rounded_up_to_the_step():
    assert [schedule.round_up(n) for n in (1, 63, 64, 65, 128)] == [64, 64, 64, 128, 128]
    assert [schedule.warmup_iterations(0.05, 1, n) for n in (19, 20, 39, 40)] == [0, 1, 1, 2]


def test_only_the_default_template_ends_a_turn_with_a_token():
    assert {name: texts[4] for name, texts in schedule.TEMPLATE_TEXTS.items()} == {
        "default": True, "internlm_chat": False, "internlm2_chat": False, "llama3_chat": False, "qwen_chat": False,
    }  # fmt: skip


def test_a_tokenizer_s_own_marks_are_not_counted(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    plain = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "a": 2}, "<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    plain.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    plain.save(str(tmp_path / "tokenizer.json"))
    count, exact = schedule.token_counter(tmp_path / "tokenizer.json")
    assert exact and count("aaa") == 3


def test_a_row_without_anything_to_train_on_is_left_out_at_any_length():
    turns = [{"input": "a", "output": "b", "output_with_loss": False}]
    found = rows_of(turns)
    assert found.kept_lengths(10**9) == () and found.count_cut(10**9) == (0, 1)
    both = rows_of([*turns, {"input": "c", "output": "d"}])
    assert both.prompts[0] > rows_of([{"input": "a", "output": "b"}]).prompts[0] and len(both.kept_lengths(10**9)) == 1


def test_the_fifty_names_that_are_said_most_are_kept():
    said = [
        [{"input": "q", "output": f"我是小{chr(0x4E00 + 40 * n)}，很高兴认识你。"}]
        for n in range(60)
        for _ in range(1 + (n < 5))
    ]
    claims = rows_of(*said).claims
    assert len(claims) == 50 and [count for _, count in claims[:6]] == [2, 2, 2, 2, 2, 1]
