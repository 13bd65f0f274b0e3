"""Every path below BUILD, spelled once: stages write there, and later ones read what they find.

What belongs to one run is in its folder (lesson/runs/folder.py). `build` is the folder BUILD throughout.
"""

from __future__ import annotations

from pathlib import Path


def config_file(build: Path, base_config: str) -> Path:
    """Where make config writes: BUILD/config/<BASE_CONFIG>_copy.py, the name that `xtuner copy-cfg` gives."""
    return config_folder(build) / f"{base_config}_copy.py"


def config_folder(build: Path) -> Path:
    return build / "config"


def base_model(build: Path) -> Path:
    """The base model's folder, or the link to it, as the config names it; make model puts it there."""
    return build / "model"


def downloaded_base(build: Path, name: str) -> Path:
    """Where a base of that name on a hub (OWNER/NAME) is downloaded to."""
    return build / "bases" / name.replace("/", "--")


def changed_rows(build: Path) -> Path:
    """The rows to train on, as the config names them; make data writes them."""
    return build / "data" / "assistant_Tuner_change.jsonl"


def synthetic_rows(build: Path) -> Path:
    """Where make synth writes."""
    return build / "data" / "synth.jsonl"


def asked_rows(build: Path) -> Path:
    """Where make ask writes."""
    return build / "data" / "asked.jsonl"


def asked_journal(build: Path) -> Path:
    """The answers that make ask has so far: the same command goes on from there."""
    return build / "data" / "asked.journal.jsonl"


def statistics_file(build: Path, form: str) -> Path:
    """Where make stats writes; `form` is json or html."""
    return build / "data" / f"stats.{form}"


def runs_folder(build: Path) -> Path:
    """The folder of all runs, one folder each, named by its id."""
    return build / "runs"


def last_run_link(build: Path) -> Path:
    """The link to the folder of the run that was trained last."""
    return build / "run"


def base_answers_file(build: Path) -> Path:
    """The base model's answers to the evaluation's questions: several runs share one base."""
    return build / "base-answers.json"


def base_choices_file(build: Path) -> Path:
    """What the base chooses of the multiple-choice questions that CHOICES= names."""
    return build / "base-choices.json"


def loss_comparison(build: Path) -> Path:
    """The picture of make compare-loss."""
    return build / "compare-loss.png"


def submission_archive(build: Path) -> Path:
    """What make submission writes when OUT names nothing else."""
    return build / "submission.zip"


def release_notes(build: Path, version: str) -> Path:
    """The notes of a version, which make bump writes for its tag."""
    return build / f"notes-{version}.md"


def cache_folder(build: Path) -> Path:
    """The caches of the libraries: nothing of theirs is written into the user's home."""
    return build / "cache"


def trained_base(build: Path) -> Path:
    """The tiny base, trained anew by make base."""
    return build / "base"


def random_base(build: Path) -> Path:
    """A base of the 7B model's shape with random weights, for measuring."""
    return build / "random-7b"


def bench_folder(build: Path, name: str) -> Path:
    """The BUILD of the runs that a bench starts; `name` is smoke, bench-gpu, …"""
    return build / name
