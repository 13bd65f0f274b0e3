"""make web: the assistant on a page of one's own: chat, base and tuned side by side, the evaluation, and sharing.

A Gradio page on HOST:PORT (127.0.0.1:7860). USE=adapter (the default here: one base in memory gives both answers),
merged or base. The model is loaded once and answers one visitor at a time; the others wait in a queue of bounded
length. Stopping an answer, or leaving the page, frees the model. What people and models say is shown as text: no HTML,
Markdown or script of theirs runs. The page asks no host but this one, and nothing is reported to anybody.
"""

import sys

from lesson.serving.page import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
