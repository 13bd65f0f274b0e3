"""A step of PROFILE=small beside one of a plain PEFT loop in bfloat16, as one would write it without XTuner.

    python -m lesson.bench.plain_peft --config RUN/config.py --data ROWS.jsonl --rounds 6 --out FILE

Both models train on the same packed rows in one process, a step of the one and a step of the other in turn, so that
whatever else the machine does slows both. The plain one is transformers' model, PEFT's LoRA on every linear layer and
torch's AdamW. FILE gets {"plain" and "small": {"seconds", "cpu_seconds", "loss": of each step}, "tokens": of a step,
"plain_peak_memory": bytes}.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.files import write_json
from lesson.core.machine import multiplies_bfloat16

RATE = 2e-4


def list_tokens(tokenizer, path: Path) -> Iterator[tuple[int, int]]:
    """(token, label) of the rows, one behind the other; a label is the token itself in an answer, else -100."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            messages, before = [], 0
            for turn in json.loads(line)["conversation"]:
                if turn.get("system"):
                    messages.append({"role": "system", "content": turn["system"]})
                messages.append({"role": "user", "content": turn["input"] or ""})
                asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
                messages.append({"role": "assistant", "content": turn["output"]})
                whole = tokenizer.apply_chat_template(messages)
                labels = [-100] * len(asked) + whole[len(asked) :]
                yield from zip(whole[before:], labels[before:], strict=True)
                before = len(whole)


class Trainer:
    """One of the two: its model, its optimizer, and what its steps took."""

    def __init__(self, model, loss_of) -> None:
        import torch

        self.model, self.loss_of = model.train(), loss_of
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=RATE, fused=True)
        self.steps: dict[str, list[float]] = {"seconds": [], "cpu_seconds": [], "loss": []}

    def step(self, ids, labels) -> None:
        """A step on ids and labels (batch, length)."""
        import torch

        started, worked = time.perf_counter(), time.process_time()
        loss = self.loss_of(self.model, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps["loss"].append(loss.item())
        self.steps["seconds"].append(time.perf_counter() - started)
        self.steps["cpu_seconds"].append(time.process_time() - worked)


def build_plain(model: str, rank: int, device: str) -> Trainer:
    """The base in the folder `model` as one would train it with transformers and PEFT."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if multiplies_bfloat16() else torch.float32
    base = AutoModelForCausalLM.from_pretrained(model, trust_remote_code=True, torch_dtype=dtype).to(device)
    lora = LoraConfig(r=rank, lora_alpha=16, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
    return Trainer(
        get_peft_model(base, lora),
        lambda model, ids, labels: model(input_ids=ids, labels=labels, attention_mask=torch.ones_like(ids)).loss,
    )


def build_small(config: Path, device: str) -> Trainer:
    """What the run's config trains, computed by lesson/training/small.py."""
    from mmengine.config import Config
    from xtuner.registry import BUILDER

    from lesson.training.patches import patch_all_tools

    patch_all_tools()
    model = BUILDER.build(Config.fromfile(str(config)).model).to(device)  # a config of our own run, not of a stranger
    return Trainer(model, lambda model, ids, labels: model.compute_loss({"input_ids": ids, "labels": labels})["loss"])


def measure_rounds(config: Path, data: Path, rounds: int) -> dict:
    """What FILE gets, of `rounds` steps of each."""
    import torch
    from transformers import AutoTokenizer

    summary = summary_of(config)
    length, batch = summary["max_length"], summary["batch_size"]
    tokenizer = AutoTokenizer.from_pretrained(summary["model_path"], trust_remote_code=True)
    pairs = itertools.cycle(list(list_tokens(tokenizer, data)))
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def next_batch() -> tuple[torch.Tensor, torch.Tensor]:
        cells = torch.tensor(list(itertools.islice(pairs, batch * length)), device=device)
        return tuple(cells.view(batch, length, 2).unbind(-1))

    torch.manual_seed(0)
    plain = build_plain(summary["model_path"], summary["lora_r"], device)
    plain.step(*next_batch())  # alone, so that its peak is its own
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux: KiB
    small = build_small(config, device)
    for _ in range(rounds):
        cells = next_batch()
        for trainer in (small, plain):
            trainer.step(*cells)
    return {
        "tokens": batch * length,
        "plain": {name: values[1:] for name, values in plain.steps.items()},
        "small": small.steps,
        "plain_peak_memory": memory,
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, kind in (("config", Path), ("data", Path), ("rounds", int), ("out", Path)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    options = parser.parse_args(arguments)
    write_json(options.out, measure_rounds(options.config, options.data, options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
