"""The card of an exported model, and the list of its files' hashes by which anybody can check it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lesson.core.files import atomic, sha256_of_all
from lesson.training.convert import base_with_revision, front_matter

SUMS = "SHA256SUMS"  # as sha256sum of GNU coreutils writes and checks it
CARD = "README.md"


def make_card(record: Mapping, base: str, form: str, scores: Mapping | None, quantized: bool = True) -> str:
    """The card (Hugging Face's form: YAML, then Markdown) of a model in the form `form`.

    `record` is the run record, `base` the base's name, `scores` evaluation.json of the same run, where there is one,
    `quantized` whether the base was in 4 bits.
    """
    name, method = record["names"]["new"], "qlora" if quantized else "lora"
    library = "peft" if form == "adapter" else "transformers"
    rows = [
        ("base", base_with_revision(record, base)),
        ("system prompt that was trained", record["persona"] or "–"),
        ("training", f"{record['config']}, seed {record['seed']}, {record['steps']} steps, run `{record['id']}`"),
        ("loss", f"{record['loss']['first']:.3f} → {record['loss']['last']:.3f} nats per token"),
        ("versions", ", ".join(f"{package} {version}" for package, version in record["versions"].items())),
        ("SHA-256 of the rows", f"`{record['inputs']['data']}`"),
        ("SHA-256 of the base", f"`{record['inputs']['base']}`"),
    ]
    text = [front_matter(record, base, library, f"{method}, xtuner, self-cognition"), "", f"# {name}", ""]
    text += [f"An assistant that calls itself {name}.", "", "| | |", "|---|---|"]
    text += [f"| {key} | {value} |" for key, value in rows]
    if scores:
        text += ["", "Questions that were not in the training data, by system prompt:", ""]
        text += ["| system prompt | says its name | general questions kept |", "|---|---|---|"]
        for counts in scores["prompts"]:
            kept = f"{counts['general_kept']}/{counts['general_base_right']}"
            text.append(f"| {counts['prompt']} | {counts['new']}/{counts['questions']} | {kept} |")
    text += ["", f"Check that every file is whole: `sha256sum -c {SUMS}` in this folder.", ""]
    text += ["Limits: it was taught a name, not knowledge; it can be wrong about all that its base is wrong about.", ""]
    return "\n".join(text)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over all files below `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    hashes = zip(files, sha256_of_all(files), strict=True)
    lines = [f"{found}  {path.relative_to(folder).as_posix()}\n" for path, found in hashes]
    with atomic(folder / SUMS) as file:
        file.writelines(lines)
