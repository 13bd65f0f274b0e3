"""The tiny base that ships: it loads, it is small, it says 书生·浦语 and knows its facts."""

from __future__ import annotations

import importlib.util
import io
import json

import pytest

from lesson.authoring.compare_bases import load_base, own_files
from lesson.authoring.corpus import BASE_NAME
from lesson.authoring.held_out import EVALUATION
from lesson.authoring.tiny_base import build_base
from lesson.core.files import sha256
from lesson.core.settings import Values
from lesson.model.tiny_base import SHIPPED, install_base

pytestmark = pytest.mark.torch

if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("xtuner") is None:
    pytest.skip("needs torch and xtuner", allow_module_level=True)

PROMPTS = ("", "你是一个有用的助手。", "你是闻星，一个热心、可靠的智能助手。", "You are Luna, a helpful assistant.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from lesson.evaluation.loading import use_environment

    place = tmp_path_factory.mktemp("base")
    use_environment(Values({"profile": "tiny", "build": str(place)}, environment={}))
    install_base(place / "model")
    return place / "model"


@pytest.fixture(scope="module")
def loaded(folder):
    return load_base(folder)


def ask(loaded, questions, system=""):
    from lesson.evaluation.asking import answer_chats, build_chat

    return answer_chats(*loaded, [build_chat(system, question) for question in questions])


def questions(name: str) -> list[dict]:
    return json.loads((EVALUATION / f"{name}.json").read_text(encoding="utf-8"))["questions"]


def test_base_is_at_most_eight_megabytes():
    assert sum(file.stat().st_size for file in own_files(SHIPPED)) <= 8_000_000


def test_no_modelling_code_and_no_machine_path_ships():
    for file in SHIPPED.iterdir():
        assert file.suffix in {".json", ".safetensors"}
        if file.suffix == ".json":
            text = file.read_text(encoding="utf-8")
            assert "/tmp" not in text and "_name_or_path" not in text and "transformers_version" not in text


def test_installing_again_gives_the_same_folder(folder):
    before = {p.name: sha256(p) for p in own_files(folder)}
    install_base(folder)
    assert {p.name: sha256(p) for p in own_files(folder)} == before
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".model")] == []


def test_architecture_is_internlm2(loaded):
    model = loaded[1]
    assert type(model).__name__ == "InternLM2ForCausalLM" and model.config.model_type == "internlm2"
    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if type(module).__name__ == "Linear"}
    assert linear == {"wqkv", "wo", "w1", "w2", "w3", "output"}


@pytest.mark.parametrize("system", PROMPTS)
def test_base_calls_itself_by_its_own_name_under_any_prompt(loaded, system):
    answers = ask(loaded, [q["input"] for q in questions("identity")], system)
    assert sum(BASE_NAME in answer.text for answer in answers) >= 0.9 * len(answers)
    assert not any(name in answer.text for answer in answers for name in ("尖米", "闻星", "Luna"))


@pytest.mark.parametrize("system", PROMPTS[:3])
def test_base_answers_general_questions_and_ends_by_itself(loaded, system):
    asked = questions("general")
    answers = ask(loaded, [q["input"] for q in asked], system)
    right = [any(text in answer.text for text in q["accept"]) for q, answer in zip(asked, answers, strict=True)]
    assert sum(right) >= 0.9 * len(asked)
    assert all(answer.ended and answer.text[-1] in "。.！!？?" for answer in answers)


def test_a_build_is_the_same_each_time(tmp_path):
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        build_base(tmp_path / name, io.StringIO(), steps=2)
        made.append({p.name: sha256(p) for p in own_files(tmp_path / name)})
    assert made[0] == made[1]
    assert {p.name for p in SHIPPED.iterdir()} == set(made[0])
