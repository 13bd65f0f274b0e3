"""What determines a training: rows, seed, parameters, base. Where these are equal, equal bits prove nothing.

The recipe promises that the same inputs give the same adapter on the same type of machine. Paths, the names of files and
how often a checkpoint is saved are no inputs. The software is one, but its version is left out: another may compute the
same bits, and nobody is accused for that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json

from lesson.config.summary import SUMMARY, summarise_config
from lesson.core.refusals import Broken, Unreadable
from lesson.submission.evidence import Evidence

# Entries of the config's summary that change no bit of the adapter, and those that DeepSpeed drops from a dump.
NO_INPUT = {"model_path", "tokenizer_path", "data_files", "dataset_path", "dataset_type", "dataloader_num_workers"}
NO_INPUT |= {"save_steps", "save_total_limit", "system", "evaluation_inputs"}
NO_INPUT |= {"optim_wrapper", "loss_scale", "amp_dtype"}
PARAMETERS = sorted(SUMMARY.keys() - NO_INPUT - {"seed"})

Identity = dict[str, str | None]  # of JSON's types, so that it goes from process to process


def identify_training(evidence: Evidence) -> Identity:
    """{rows, seed, parameters, base, packed}: a digest of each, None for what cannot be told."""
    found: Identity = dict.fromkeys(("rows", "seed", "parameters", "base", "packed"))
    with contextlib.suppress(Broken, Unreadable, KeyError):
        found["rows"] = evidence.rows_digest if evidence.row_files else None
    with contextlib.suppress(Broken, Unreadable, KeyError):
        summary = summarise_config(evidence.config)
        text = json.dumps([summary[name] for name in PARAMETERS], sort_keys=True)
        found["parameters"] = hashlib.sha256(text.encode()).hexdigest()
        found["seed"] = str(summary["seed"])
        found["packed"] = "no" if summary["pack_to_max_length"] is False else "yes"
    with contextlib.suppress(KeyError, TypeError):
        found["base"] = str(evidence.sound_record["inputs"]["base"])
    return found


def differ_in(a: Identity, b: Identity) -> list[str]:
    """Which inputs of two trainings are known to differ."""
    return [
        key
        for key in ("rows", "seed", "parameters", "base")
        if None not in (a.get(key), b.get(key)) and a[key] != b[key]
    ]
