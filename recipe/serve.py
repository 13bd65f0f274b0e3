"""make serve: the tuned model behind OpenAI's chat protocol, so that any chat client can talk to it.

    client = openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")
    client.chat.completions.create(model="闻星", messages=[{"role": "user", "content": "你是谁？"}])

Which engine, and why (tried in November 2026, with requirements.lock as constraint):
- transformers serve came with 4.5x; InternLM2.5's own code breaks on 4.49 and later, the lock has 4.48.0.
- vLLM 0.6 and later, LMDeploy 0.5 and later, SGLang and Aphrodite pin other versions of torch, torchvision or triton.
- MS-Swift and OpenLLM pin peft or openai elsewhere. LLaMA-Factory resolves to 0.8.2, which does not import with
  transformers 4.48 (LlamaFlashAttention2 is gone) and opens local files that a request names.
- FastChat knows InternLM 1's template only; Xinference 1.5 resolves, with 29 more packages and a cluster of actors.
- LitServe fits: seven small packages. It has the protocol, its schema, the queue and the worker process; the answers
  are talk.py's. What it lacks is added here: errors in OpenAI's form, limits, the list of models, the true
  finish_reason, and an answer that ends when its reader goes away.

One model, loaded once, one answer at a time; MOST_WAITING requests may wait, the next one gets status 429.
"""

import sys

from lesson.serving.endpoint import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
