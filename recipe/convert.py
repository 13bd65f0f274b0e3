"""make convert: XTuner's checkpoint as a Hugging Face adapter (safetensors, with a model card) in the run folder."""

import sys

from lesson.training.convert import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
