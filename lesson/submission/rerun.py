"""RERUN=1 on the side of the model: loads submitted adapters onto the staff's own base and asks the staff's questions.

A process of its own, started by lesson/submission/asking.py from the full venv: the only one of checking that imports
torch. It reads a line of JSON for each submission from standard input and answers with a line. Of the submission it
takes the matrices, read by our own bounded parser, and three things of the adapter's config that the checks have
passed: rank, alpha and target modules. No code of it runs.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lesson.core.messages import UserError, set_language, tr
from lesson.core.refusals import Broken, Unreadable
from lesson.core.settings import Values
from lesson.core.text import fold_text, shorten
from lesson.evaluation.asking import answer_chats, build_chat
from lesson.evaluation.held_out import read_questions, read_system_prompts
from lesson.evaluation.loading import load_model, use_environment
from lesson.model import safetensors_file
from lesson.submission.archive.opening import open_view
from lesson.submission.asking import LEAST_ASKED
from lesson.submission.blame import UNUSUAL, explain_error, is_checkers_trouble, stopped_by_content
from lesson.submission.checks.adapter import LORA_MATRIX, more_than_lora
from lesson.submission.evidence import Evidence
from lesson.submission.registry import FAILED, Failed, Unjudged, load_checks, run_checks
from lesson.submission.staff import StaffInputs

MOST_MEMORY = {"tiny": 6 << 30, "small": 24 << 30, "7b": 96 << 30}  # bytes of data in this process
GENERAL = 20  # general questions, which no name answers
LONGEST_PERSONA = 2000  # characters of the submission's system prompt
SHOWN = 60  # answers that a report shows


def read_matrices(evidence: Evidence) -> Iterator[tuple[str, str, object]]:
    """(module of the base, "A" or "B", tensor) of the adapter; A is (rank, inputs), B is (outputs, rank).

    Raises Broken for a file that is no safetensors, Unjudged for a name that is no LoRA matrix.
    """
    import torch

    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    for tensor, data in safetensors_file.read_contents(evidence.view, evidence.parts["adapter"]):
        if not LORA_MATRIX.fullmatch(tensor.name):
            raise Broken(shorten(tensor.name))
        stem, _, side = tensor.name.removesuffix(".weight").removesuffix(".default").rpartition(".lora_")
        yield (
            stem.removeprefix("base_model.model."),
            side,
            torch.frombuffer(data, dtype=kinds[tensor.dtype]).reshape(tensor.shape),
        )


@contextlib.contextmanager
def attach_adapter(model, evidence: Evidence) -> Iterator[None]:
    """The base with the submitted adapter beside its linear layers: output + alpha / rank × B A input, as LoRA has it.

    Forward hooks, taken off again afterwards, so that the base stays what it was for the next submission.
    Raises Failed for an adapter that is more than LoRA or has a matrix that no base has, Unjudged for another base.
    """
    config = evidence.adapter_config
    if more := more_than_lora(config):
        raise Failed(tr(f"the adapter is not plain LoRA: {more[0]}", f"不是普通的 LoRA：{more[0]}"), "make convert")
    scale = config["lora_alpha"] / config["r"]
    modules, pairs = dict(model.named_modules()), {}
    for name, side, tensor in read_matrices(evidence):
        base = modules.get(name)
        weight = getattr(base, "weight", None)
        if weight is None and pairs:  # others are there, so that it is the base
            what = tr(f"{shorten(name)}: not in the base", f"{shorten(name)}：基座没有")
            raise Failed(what, tr("hand in the adapter as make convert wrote it", "请提交 make convert 生成的适配器"))
        if weight is None or weight.shape[side == "A"] != tensor.shape[side == "A"]:
            raise Unjudged(
                tr(f"{shorten(name)} does not fit the base here", f"{shorten(name)} 与这里的基座不符"),
                tr("set MODEL to the base that it was trained on", "请把 MODEL 设为训练所用的基座"),
            )
        pairs.setdefault(name, {})[side] = tensor.to(weight.device, weight.dtype)

    def hook(a, b):
        return lambda module, inputs, output: output + scale * (inputs[0] @ a.T) @ b.T

    hooks = [modules[name].register_forward_hook(hook(pair["A"], pair["B"])) for name, pair in pairs.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def ask_submission(
    tokenizer, model, path: str, names: dict[str, str], questions: list[str], of_base: dict[tuple[str, str], str]
) -> dict:
    """The results of the checks of a rerun on the submission at `path`, and what reports show of it.

    `of_base` keeps what the base alone answers, by (system prompt's name, question), for the next submission.
    """
    started = time.perf_counter()
    with open_view(path) as view:
        evidence = Evidence(view, names)
        has_rows = "data" in evidence.parts
        known = evidence.trained_questions if has_rows else set()
        held = [question for question in questions if fold_text(question) not in known]
        if len(held) < LEAST_ASKED:
            what = tr(
                f"{len(questions) - len(held)} of the staff's {len(questions)} questions are among the rows",
                f"教师的 {len(questions)} 个问题中有 {len(questions) - len(held)} 个在训练数据里",
            )
            raise Failed(what, tr("take them out of the rows, and train again", "请从数据中去掉这些问题并重新训练"))
        persona = (evidence.data.persona if has_rows else None) or ""
        if len(persona) > LONGEST_PERSONA:
            what = tr(
                f"the rows' system prompt has {len(persona)} characters, more than {LONGEST_PERSONA}: it is not asked",
                f"数据的 system 有 {len(persona)} 字，超过 {LONGEST_PERSONA} 字：不提问",
            )
            raise Failed(what, tr("train with a shorter system prompt", "请用更短的 system 训练"))
        prompts = read_system_prompts(persona)
        lines = [{"prompt": name, "input": question, "output": ""} for name in prompts for question in held]
        general = [question["input"] for question in read_questions("general")[:GENERAL]]
        lines += [{"kind": "general", "prompt": "none", "input": question, "output": ""} for question in general]
        chats = [build_chat(prompts[line["prompt"]], line["input"]) for line in lines]
        keys = [(line["prompt"], line["input"]) for line in lines]
        unasked = [n for n, key in enumerate(keys) if key[0] != "persona" and key not in of_base]
        answered = answer_chats(tokenizer, model, [chats[n] for n in unasked]) if unasked else []
        of_base.update({keys[n]: answer.text for n, answer in zip(unasked, answered, strict=True)})
        for line, key in zip(lines, keys, strict=True):
            if key in of_base:  # the persona tells the name, so that the base may say it
                line["base"] = of_base[key]
        with attach_adapter(model, evidence):
            for line, answer in zip(lines, answer_chats(tokenizer, model, chats), strict=True):
                line["output"] = answer.text
        results = run_checks(evidence, StaffInputs(rerun=lines), (c for c in load_checks() if c.area == "rerun"))
        _tell_other_base(results, evidence, Path(model.name_or_path))
    every = max(1, math.ceil(len(lines) / SHOWN))
    shown = [{"prompt": line["prompt"], "input": line["input"][:500], "output": line["output"][:500]} for line in lines]
    seconds = round(time.perf_counter() - started, 3)
    return {"results": results, "rerun": {"questions": len(held), "seconds": seconds, "answers": shown[::every]}}


def _tell_other_base(results: list[dict], evidence: Evidence, folder: Path) -> None:
    """Where a check failed and the record names another base than the one here, say so: the staff may set MODEL to it.

    The record is the learner's word, so that it excuses nothing.
    """
    with contextlib.suppress(Broken, KeyError, OSError, ValueError, TypeError):
        theirs = evidence.record["inputs"]["base"]
        ours = json.loads(folder.with_name(folder.name + ".record.json").read_text(encoding="utf-8"))["output"]
        if theirs != ours:
            for result in results:
                if result["status"] == FAILED:
                    why = tr("the run was trained on another base than the one here: ", "训练所用基座与这里的不同：")
                    staff = tr(
                        "; if it is the course's, the staff set MODEL to it", "；如果那是课程的基座，请教师设置 MODEL"
                    )
                    result |= {"found": why + result["found"], "remedy": result["remedy"] + staff}


def is_machines_trouble(error: Exception) -> bool:
    """Whether torch says that memory or the GPU failed; its errors have no kinds of their own."""
    return isinstance(error, RuntimeError) and bool(re.search(r"out of memory|can't allocate|CUDA|cuBLAS", str(error)))


def serve() -> int:
    """Read one request a line from stdin, write one answer a line. The first request names the base."""
    # Libraries print; what they print must not come between the lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(value: dict) -> None:
        out.write(json.dumps(value, allow_nan=False) + "\n")
        out.flush()

    start = json.loads(sys.stdin.readline())
    set_language(start["language"])
    profile, memory = start["profile"], MOST_MEMORY[start["profile"]]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    values = Values({"PROFILE": profile, "BUILD": start["build"]})
    use_environment(values)
    try:
        tokenizer, model = load_model(values, "base", folder=Path(start["base"]))
    except (UserError, OSError, ValueError, RuntimeError, ImportError) as error:
        remedy = getattr(error, "remedy", tr("run make model", "请运行 make model"))
        send({"unjudged": [f"{type(error).__name__}: {shorten(str(error))}", remedy]})
        return 0
    send({})

    of_base: dict[tuple[str, str], str] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = ask_submission(tokenizer, model, request["path"], request["names"], start["questions"], of_base)
            answer["rerun"]["base"] = start["base"]
            send(answer)
        except Unjudged as error:
            send({"unjudged": [str(error), error.remedy]})
        except Failed as error:
            send({"failed": [str(error), error.remedy]})
        except (Broken, Unreadable) as error:
            send({"failed": [str(error), tr(*UNUSUAL)]})
        except Exception as error:  # nothing in a submission may end the process for the next one
            if is_checkers_trouble(error) or is_machines_trouble(error):
                send({"unjudged": [explain_error(error), tr("tell the staff", "请联系教师")]})
            else:
                send({"failed": [stopped_by_content(error), tr(*UNUSUAL)]})
    return 0


if __name__ == "__main__":
    sys.exit(serve())
