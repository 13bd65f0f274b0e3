"""A process in the venv of make setup-export: loads an exported model in another program and answers chats there.

It reads one JSON document a line from its standard input and writes one a line to its standard output; all that the
engine says goes to standard error. First line in: {"engine", "model", "threads", "context"}; first line out: {"engine":
name and version}, or {"error": why not}. Then {"chats": [{"messages", "tokens"}], "max_tokens"} gives {"answers":
[{"text", "ended", "own"}]}: `tokens` is the prompt as it was trained, which is what the engine is asked; `own` are the
tokens that the engine makes of `messages` by the template in the exported file (null where `messages` is null).
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

SLOTS = 4  # chats that llama.cpp answers side by side
TIMEOUT = 600  # seconds for one answer


def main() -> int:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # llama.cpp writes to file 1 from C

    def reply(document: dict) -> None:
        print(json.dumps(document, ensure_ascii=False), file=out, flush=True)

    job = json.loads(sys.stdin.readline())
    try:
        name, answer = {"llama.cpp": open_llama_cpp, "transformers": open_transformers}[job["engine"]](job)
    except Exception as error:  # the parent makes a line for the user of it
        reply({"error": f"{type(error).__name__}: {error}"})
        return 1
    reply({"engine": name})
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            reply({"answers": answer(asked["chats"], asked["max_tokens"])})
        except Exception as error:
            reply({"error": f"{type(error).__name__}: {error}"})
            return 1
    return 0


def post(address: str, path: str, document: dict) -> dict:
    """The JSON answer of llama.cpp's server. Raises RuntimeError with its words where it refuses."""
    body = json.dumps(document).encode()
    request = urllib.request.Request(address + path, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{path}: {error.code} {error.read(2000).decode('utf-8', 'replace')}") from None


def open_llama_cpp(job: dict) -> tuple[str, Callable]:
    """llama.cpp's own server, in this process, asked over HTTP on the loopback."""
    from importlib.metadata import version

    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = job["model"]
    parameters.n_ctx, parameters.n_parallel = job["context"] * SLOTS, SLOTS
    parameters.cpuparams.n_threads = job["threads"]
    parameters.port = 0  # any free one
    server = xllamacpp.Server(parameters)
    try:
        post(server.listening_address, "/apply-template", {"messages": [{"role": "user", "content": "?"}]})
    except RuntimeError:
        # Its Jinja stumbles over some templates (SmolLM2's); then it writes ChatML or Llama 3 by code of its own.
        parameters.use_jinja = False
        del server
        server = xllamacpp.Server(parameters)

    def answer_one(chat: dict, most: int) -> dict:
        own = None
        if chat["messages"] is not None:
            text = post(server.listening_address, "/apply-template", {"messages": chat["messages"]})["prompt"]
            # The server takes a first token that the tokenizer adds by itself out of the text: it comes back here.
            own = post(
                server.listening_address, "/tokenize", {"content": text, "add_special": True, "parse_special": True}
            )["tokens"]
        answer = post(
            server.listening_address,
            "/completion",
            {"prompt": chat["tokens"], "n_predict": most, "temperature": 0, "top_k": 1, "cache_prompt": False},
        )
        return {"text": answer["content"].strip(), "ended": answer["stop_type"] == "eos", "own": own}

    def answer_all(chats: list[dict], most: int) -> list[dict]:
        with ThreadPoolExecutor(SLOTS) as pool:
            return list(pool.map(lambda chat: answer_one(chat, most), chats))

    return f"llama.cpp (xllamacpp {version('xllamacpp')})", answer_all


def open_transformers(job: dict) -> tuple[str, Callable]:
    """Today's transformers, which runs no code that lies beside a model."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lesson.evaluation.asking import Sampling, continue_texts

    torch.set_num_threads(job["threads"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"], trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(job["model"], trust_remote_code=False, dtype="auto")
    if torch.cuda.is_available():
        model.to("cuda")
    elif model.dtype == torch.float16:  # what a CPU multiplies slowly
        model.to(torch.float32)
    model.eval()
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]

    def answer_all(chats: list[dict], most: int) -> list[dict]:
        texts = [chat["tokens"] for chat in chats]
        said = continue_texts(model, texts, Sampling(max_tokens=most), ends, pad)
        answers = []
        for chat, row in zip(chats, said, strict=True):
            stop = next((place for place, token in enumerate(row) if token in ends), None)
            own = None
            if chat["messages"] is not None:
                own = tokenizer.apply_chat_template(
                    chat["messages"], add_generation_prompt=True, tokenize=True, return_dict=False
                )
            text = tokenizer.decode(row[:stop], skip_special_tokens=True).strip()
            answers.append({"text": text, "ended": stop is not None, "own": own})
        return answers

    return f"transformers {transformers.__version__}", answer_all


if __name__ == "__main__":
    sys.exit(main())
