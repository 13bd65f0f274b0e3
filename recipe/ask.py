"""make ask: obtain training rows by asking a model at any OpenAI-compatible endpoint (BASE_URL, MODEL_NAME, QUESTIONS).

The official client, CONCURRENCY questions at a time, retries with back-off. Each answer goes at once into a journal
beside the output, so that the same command goes on after any stop and asks no answered question again; when it ends, the
rows are written in the order of the questions. The key comes from the environment (OPENAI_API_KEY) and is never written
or printed.
"""

import sys

from lesson.authoring.ask import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
