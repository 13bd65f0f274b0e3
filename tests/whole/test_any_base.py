"""Every stage on bases of the families that the lesson takes, with random weights: the stages run, the score is nobody's."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, use_in_this_process
from random_bases import make_base
from servers import valid
from sessions import Sessions, assert_same, session, steps

from lesson.core.settings import ROOT, Values
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run, find_last_run
from recipe import config, convert, data, estimate, merge, model, preview, train

pytestmark = [pytest.mark.torch, pytest.mark.slow]

ROWS = 60  # of the shipped ones: a few steps
KINDS = {
    "internlm2": ("internlm2_5_chat_7b_qlora_alpaca_e3", {"wqkv", "wo", "w1", "w2", "w3", "output"}),
    "llama": (
        "qwen1_5_0_5b_chat_qlora_alpaca_e3",
        {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    ),
}
KINDS["qwen2"] = KINDS["llama"]
NAME = "Somebody/Some-Chat"  # of the base that is downloaded


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """XTuner's tools, which start in no time: one process has imported them, and forks for each call."""
    values = Values({"PROFILE": "tiny", "BUILD": str(tmp_path_factory.mktemp("cache"))}, {})
    with Sessions(engine_environment(values)) as started:
        yield started


@pytest.fixture
def forked(sessions, monkeypatch, tmp_path):
    """The stages' calls of XTuner go to `sessions`."""
    from lesson.training import convert, launch, merge

    def run_engine(arguments, console):
        sessions.start(arguments, console)
        assert sessions.wait() == 0, console.read_text(encoding="utf-8")

    def train(command, environment, run, display):
        run_engine(command[command.index("train") :], run.console)

    def tool(values, run, name, arguments):
        run_engine([name, *arguments], run.folder / f"{name}.log")

    monkeypatch.setattr(launch, "watch_engine", train)
    monkeypatch.setattr(convert, "run_xtuner_tool", tool)
    monkeypatch.setattr(merge, "run_xtuner_tool", tool)


@pytest.mark.parametrize(
    ("kind", "profile"), [*((kind, "tiny") for kind in KINDS), ("internlm2", "small"), ("qwen2", "small")]
)
def test_every_stage_runs(kind, profile, forked, sessions, call, tmp_path, monkeypatch):
    chosen, targets = KINDS[kind]
    build, base = tmp_path / "build", make_base(kind, tmp_path / "some-chat")
    with open(ROOT / "data" / "assistant_Tuner.jsonl", encoding="utf-8") as file:
        (tmp_path / "few.jsonl").write_text("".join(itertools.islice(file, ROWS)), encoding="utf-8")
    flags = ("--profile", profile, "--build", str(build))

    def stage(module, *more):
        status, out, err = call(module, *flags, *more)
        assert status in (0, 1) and "Traceback" not in err, err
        return out

    stage(data, "--src", str(tmp_path / "few.jsonl"), "--new-name", "闻星")
    by_name = (kind, profile) == (
        "qwen2",
        "small",
    )  # from a hub, and MODEL= stands before every stage, as with make all
    name, hub, revision = str(base), None, None
    if by_name:
        name, hub, revision = NAME, "huggingface", COMMIT
        monkeypatch.setenv("MODEL", NAME)
        with Hub(NAME, {path.name: path for path in base.iterdir()}) as server:
            monkeypatch.setenv("HF_ENDPOINT", server.url)
            use_in_this_process(monkeypatch)
            assert f"BASE_CONFIG={chosen}" in stage(model)
    else:
        assert f"BASE_CONFIG={chosen}" in stage(model, "--model", str(base))
    assert "⟦" in stage(preview)
    stage(config, "--max-length", "256", "--epochs", "2", "--warmup", "0.4", "--batch", "2")
    assert "parameters" in stage(estimate)
    if (
        kind == "qwen2" and not by_name
    ):  # a config of one's own, which names the base where it lies: BUILD/model is not needed
        made = build / "config" / f"{chosen}_copy.py"
        own = tmp_path / "my.py"
        own.write_text(made.read_text(encoding="utf-8").replace(f"'{build / 'model'}'", f"'{base}'"), encoding="utf-8")
        (build / "model").unlink()
        (build / "model.record.json").unlink()
        chosen = own.stem
        assert str(base) in stage(model, "--config", str(own))
        stage(train, "--config", str(own))
    else:
        stage(train)
    run = find_last_run(Values({"PROFILE": profile, "BUILD": str(build)}, {}))
    if profile == "small":
        assert_killed_goes_on(run, sessions, tmp_path)
    record = valid(run.record, "run")
    assert record["base"] == {
        **{"name": name, "hub": hub, "revision": revision, "license": None},
        "model_type": json.loads((base / "config.json").read_text())["model_type"],
    }
    assert record["config"].startswith(chosen)
    stage(convert)
    adapter = json.loads((run.adapter / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == name and set(adapter["target_modules"]) == targets
    assert f"`{name}`" in (run.adapter / "README.md").read_text(encoding="utf-8")
    assert "differ from the base's" in stage(merge)

    monkeypatch.chdir(tmp_path)  # the adapter names a base that is found from any folder
    from peft import AutoPeftModelForCausalLM

    from lesson.evaluation.asking import Reply, answer_chats, build_chat, encode_chat
    from lesson.evaluation.loading import load_model

    if kind != "internlm2" and not by_name:
        AutoPeftModelForCausalLM.from_pretrained(run.adapter)
    for use in ("adapter", "merged"):
        tokenizer, loaded = load_model(Values({"PROFILE": profile, "BUILD": str(build)}, {}), use, run)
        chats = [build_chat("你是闻星。", "你是谁"), build_chat("", "Who are you, and what is your name?")]
        assert len(answer_chats(tokenizer, loaded, chats)) == 2
        with Reply(tokenizer, loaded, chats[0]) as reply:
            assert next(iter(reply), "") is not None
    with open(run.data, encoding="utf-8") as file:
        assert starts_as_asked(json.loads(file.readline())["conversation"], tokenizer, encode_chat)


def assert_killed_goes_on(run: Run, sessions: Sessions, folder: Path) -> None:
    """kill -9 of a trainer after a random step: a second one goes on, and leaves the same curve and the same LoRA weights
    as `run`, which was never stopped, in every bit."""
    killed, last = Run(folder / "killed"), steps(run)
    moment = random.SystemRandom().randrange(1, last)
    process = session(run.config, sessions, killed)
    deadline = time.monotonic() + 100
    while steps(killed) < moment and time.monotonic() < deadline:
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    assert sessions.wait() == -signal.SIGKILL, killed.console.read_text(encoding="utf-8")
    assert moment <= steps(killed) < last
    session(run.config, sessions, killed)
    assert sessions.wait() == 0, killed.console.read_text(encoding="utf-8")
    assert_same(killed, run)


def starts_as_asked(turns: list[dict], tokenizer, encode_chat) -> bool:
    """Whether XTuner's training sample begins with the tokens that the base is asked with."""
    from xtuner.dataset import utils
    from xtuner.dataset.map_fns import template_map_fn_factory
    from xtuner.utils import PROMPT_TEMPLATE

    from lesson.evaluation.asking import build_chat
    from lesson.model.patches import patch_first_tokens

    patch_first_tokens()
    asked = encode_chat(tokenizer, build_chat(turns[0].get("system", ""), turns[0]["input"]))
    sample = template_map_fn_factory(PROMPT_TEMPLATE.qwen_chat)({"conversation": [dict(turns[0])]})
    return utils.encode_fn(sample, tokenizer, 4096)["input_ids"][: len(asked)] == asked
