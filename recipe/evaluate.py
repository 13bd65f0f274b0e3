"""make eval: did the assistant learn its name, and did it keep what it knew?

Greedy answers to questions that were not in the training data (data/eval/), under three system prompts: the persona
trained on, none, and a neutral one. Counted per prompt: answers that say the new name, the old one, the base's;
general questions that the base answers right and that are still right; answers that are whole sentences and end by
themselves. Output in the run folder: eval/evaluation.json, eval/answers.jsonl, eval/evaluation.png.
"""

import sys

from lesson.evaluation.evaluate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
