"""make fuzz: mutated rows through validation, all reports, conversion, statistics and replacement.

    python -m recipe.fuzz [-runs=1000000] [-seed=1]

With the package atheris installed (pip install atheris; it is not in requirements.lock) this is coverage-guided
libFuzzer and takes its flags; without it, a mutator of our own runs on the same corpus, tests/fixtures/fuzz. Anything
other than findings and UserError is a crash, and so is output that differs from the published script's where that
script accepts the input. A run that hangs for ten seconds is one too.
"""

from __future__ import annotations

import argparse
import contextlib
import sys

try:
    import atheris
except ImportError:
    atheris = None

with atheris.instrument_imports(include=["lesson"]) if atheris else contextlib.nullcontext():
    from lesson.bench import fuzz
    from lesson.core import cli
    from lesson.core.messages import set_language
    from lesson.core.settings import ROOT

CORPUS = (ROOT / "tests" / "fixtures" / "fuzz", ROOT / "tests" / "fixtures" / "rows")


def main(arguments: list[str]) -> int:
    """Exit status: 0 no crash; a crash ends with its own exception."""
    set_language("en")
    if atheris:
        CORPUS[0].mkdir(exist_ok=True)
        folders = [] if any(not a.startswith("-") for a in arguments) else list(map(str, CORPUS))
        flags = [f"-timeout={fuzz.HANG}", "-max_len=2000", *arguments]
        atheris.Setup([sys.argv[0], *flags, *folders], fuzz.check_input)
        atheris.Fuzz()
    parser = argparse.ArgumentParser(prog="python -m recipe.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("-runs", type=int, default=1_000_000)
    parser.add_argument("-seed", type=int, default=1)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # 0 after --help, 2 after a wrong flag
        return stop.code
    fuzz.fuzz_by_mutation(options.runs, options.seed, fuzz.read_corpus(CORPUS), cli.show_line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
