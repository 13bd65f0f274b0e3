"""Convert training rows between XTuner's format and Alpaca, OpenAI messages and ShareGPT; nothing is lost in silence.

    python -m recipe.formats INPUT OUTPUT [--from auto] [--to xtuner] [--drop KEY]

xtuner    {"conversation": [{"system", "input", "output"}, {"input", "output"}]}
alpaca    {"instruction", "input", "output"}: one turn, no system prompt; instruction and input become two lines
messages  {"messages": [{"role": "system" | "user" | "assistant", "content"}]}
sharegpt  {"conversations": [{"from": "system" | "human" | "gpt", "value"}]}

INPUT is JSON Lines, or one JSON document with an array of rows or a single row (at most 64 MiB).
"""

import sys

from lesson.data.formats import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
