"""The tiny base that ships: it loads, it is small, its tokenizer writes any text, it says 书生·浦语 and knows its facts."""

from __future__ import annotations

import importlib.util
import json

import pytest

from lesson.authoring import corpus
from lesson.authoring import tiny_base as base
from lesson.core.settings import Values
from lesson.model.tiny_base import SHIPPED, install_base, modelling_files

pytestmark = pytest.mark.torch

if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("xtuner") is None:
    pytest.skip("needs torch and xtuner", allow_module_level=True)

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

PROMPTS = ("", "你是一个有用的助手。", "你是闻星，一个热心、可靠的智能助手。", "You are Luna, a helpful assistant.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from lesson.evaluation import talk

    place = tmp_path_factory.mktemp("base")
    talk.use_environment(Values({"profile": "tiny", "build": str(place)}, environment={}))
    install_base(place / "model")
    return place / "model"


@pytest.fixture(scope="module")
def loaded(folder):
    return base.load(folder)


@pytest.fixture(scope="module")
def tokenizer(loaded):
    return loaded[0]


def ask(loaded, questions, system=""):
    from lesson.evaluation import talk

    return talk.answers(*loaded, [talk.messages(system, question) for question in questions])


def questions(name: str) -> list[dict]:
    return json.loads((corpus.EVALUATION / f"{name}.json").read_text(encoding="utf-8"))["questions"]


def test_base_is_at_most_eight_megabytes():
    assert sum(file.stat().st_size for file in base.own_files(SHIPPED)) <= 8_000_000


def test_no_modelling_code_and_no_machine_path_ships():
    for file in SHIPPED.iterdir():
        assert file.suffix in {".json", ".safetensors"}
        if file.suffix == ".json":
            text = file.read_text(encoding="utf-8")
            assert "/tmp" not in text and "_name_or_path" not in text and "transformers_version" not in text


def test_installing_again_gives_the_same_folder(folder):
    before = {p.name: base.sha256(p) for p in base.own_files(folder)}
    install_base(folder)
    assert {p.name: base.sha256(p) for p in base.own_files(folder)} == before
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".model")] == []


def test_architecture_is_internlm2(loaded):
    model = loaded[1]
    assert type(model).__name__ == "InternLM2ForCausalLM" and model.config.model_type == "internlm2"
    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if type(module).__name__ == "Linear"}
    assert linear == {"wqkv", "wo", "w1", "w2", "w3", "output"}


@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_tokenizer_gives_any_text_back(tokenizer, text):
    hypothesis.assume(not any(special in text for special in base.SPECIAL))
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id not in ids


def test_tokenizer_has_internlm2s_special_tokens(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(base.SPECIAL)) == [0, 1, 2, 3, 4]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<s>", "</s>", "</s>")
    assert len(tokenizer.encode("<|im_start|><|im_end|>", add_special_tokens=False)) == 2


@pytest.mark.parametrize("system", ["", "你是闻星。"])
def test_chat_template_gives_the_tokens_that_xtuner_trains_on(tokenizer, system):
    row = {
        "conversation": [
            {"system": system, "input": "你是谁？", "output": "我是 Luna-7。"},
            {"input": "Hello, 几点了", "output": "I see."},
        ]
    }
    ids, _ = base.encode(tokenizer, row)
    roles = [("user", "你是谁？"), ("assistant", "我是 Luna-7。"), ("user", "Hello, 几点了"), ("assistant", "I see.")]
    messages = [
        {"role": role, "content": content} for role, content in ([("system", system)] if system else []) + roles
    ]
    assert tokenizer.apply_chat_template(messages, tokenize=True) == ids
    asked = tokenizer.apply_chat_template(messages[:-1], tokenize=True, add_generation_prompt=True)
    assert asked == ids[: len(asked)]


def test_rows_are_encoded_by_the_template_that_xtuner_uses():
    # The file alone: importing all of xtuner takes seconds.
    path = modelling_files()[0].parents[3] / "utils" / "templates.py"
    spec = importlib.util.spec_from_file_location("xtuner_templates", path)
    templates = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(templates)
    template = templates.PROMPT_TEMPLATE.internlm2_chat
    assert template["SYSTEM"].format(system="S") == "<|im_start|>system\nS<|im_end|>\n"
    assert template["INSTRUCTION"].format(input="U") == "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    assert (template["SUFFIX"], template["SUFFIX_AS_EOS"], template["SEP"]) == ("<|im_end|>", True, "\n")


@pytest.mark.parametrize("system", PROMPTS)
def test_base_calls_itself_by_its_own_name_under_any_prompt(loaded, system):
    answers = ask(loaded, [q["input"] for q in questions("identity")], system)
    assert sum(corpus.BASE_NAME in answer.text for answer in answers) >= 0.9 * len(answers)
    assert not any(name in answer.text for answer in answers for name in ("尖米", "闻星", "Luna"))


@pytest.mark.parametrize("system", PROMPTS[:3])
def test_base_answers_general_questions_and_ends_by_itself(loaded, system):
    asked = questions("general")
    answers = ask(loaded, [q["input"] for q in asked], system)
    right = [any(text in answer.text for text in q["accept"]) for q, answer in zip(asked, answers, strict=True)]
    assert sum(right) >= 0.9 * len(asked)
    assert all(answer.ended and answer.text[-1] in "。.！!？?" for answer in answers)


def test_equal_bases_are_said_to_be_equal(folder):
    assert base.differences(folder) == [base.tr("equal to tiny-base, file by file", "与 tiny-base 逐个文件相同")]


def test_other_weights_are_named_with_their_difference(folder, tmp_path, monkeypatch):
    from safetensors.numpy import load_file, save_file

    other = tmp_path / "other"
    install_base(other)
    weights = load_file(other / "model.safetensors")
    weights["output.weight"][0, 0] += 0.5
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    said = base.differences(other)
    assert "model.safetensors" in said[0] and "0.5" in said[1] and len(said) == 3


def test_a_build_is_the_same_each_time(tmp_path):
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        base.build(tmp_path / name, steps=2)
        made.append({p.name: base.sha256(p) for p in base.own_files(tmp_path / name)})
    assert made[0] == made[1]
    assert {p.name for p in SHIPPED.iterdir()} == set(made[0])
