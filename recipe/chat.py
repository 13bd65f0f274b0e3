"""make chat: talk to the assistant in the terminal; words appear as they are made.

Commands: /reset forgets the conversation, /system TEXT changes the system prompt (alone: none), /history shows all
turns, /help, /exit. USE=merged|adapter|base chooses the model, PROMPT=persona|none|neutral the first system prompt.
"""

import sys

from lesson.serving.chat import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
