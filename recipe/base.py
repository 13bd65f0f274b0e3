"""make base: rebuild the tiny base model from scratch, from text of our own, and compare it with the one that ships.

The base is InternLM2's architecture in small, through the modelling files of the installed xtuner. It is trained on the
conversations of lesson/authoring/corpus.py in the very form in which XTuner feeds rows to a model: packed one after another, and
also alone, as at inference. `python -m recipe.base --update` puts the result into data/tiny-base.
"""

import sys

from lesson.authoring.tiny_base import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
