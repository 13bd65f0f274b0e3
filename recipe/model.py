"""make model: the base model at BUILD/model, checked before anything is trained on it.

At `tiny` it is the base that ships in data/tiny-base, with the modelling files of the installed xtuner. At `7b` it is
a link to MODEL=, after its config.json proved to be InternLM2 of the expected sizes and every shard to be there with
its full length. Nothing of the model is executed here.
"""

import sys

from lesson.model.link import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
