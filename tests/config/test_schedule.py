"""Samples and steps are counted as XTuner and mmengine make them."""

from __future__ import annotations

import json

import pytest

from lesson.config import schedule


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
