"""A wrong base model is found before training, and the message names the file, the key and the remedy."""

from __future__ import annotations

import json
import struct

import pytest

from lesson.config.stock import is_supported, stock_configs
from lesson.core.refusals import Broken
from lesson.core.settings import Values
from lesson.model import safetensors_file
from lesson.model.base_folder import read_base_folder, safetensors_header
from lesson.model.choice import chosen_base_config
from lesson.model.families import CONFIG_FAMILIES, choose_config_by_name
from lesson.model.known_bases import SIZES_7B
from lesson.model.link import describe_base
from lesson.training.base import read_base_hash
from recipe import model as recipe_model


def shard(path, tensors: dict[str, int]):
    """Write a safetensors file of float32 vectors {name: length}."""
    header, at = {}, 0
    for name, length in tensors.items():
        header[name] = {"dtype": "F32", "shape": [length], "data_offsets": [at, at + 4 * length]}
        at += 4 * length
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))


@pytest.fixture
def folder(tmp_path):
    """A folder that passes for InternLM2.5-7B-Chat: right config, two whole shards (of small tensors)."""
    folder = tmp_path / "internlm2_5-7b-chat"
    folder.mkdir()
    config = {"architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", **SIZES_7B}
    (folder / "config.json").write_text(json.dumps(config))
    shard(folder / "model-1.safetensors", {"a": 3, "b": 5})
    shard(folder / "model-2.safetensors", {"c": 7})
    weight_map = {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.fixture
def link(call, tmp_path):
    return lambda folder: call(
        recipe_model, "--profile", "7b", "--build", str(tmp_path / "build"), "--model", str(folder)
    )


def test_a_right_folder_is_linked_and_recorded(link, folder, tmp_path):
    status, _, err = link(folder)
    assert (status, err) == (0, "")
    target = tmp_path / "build" / "model"
    assert target.is_symlink() and target.resolve() == folder
    record = json.loads((tmp_path / "build" / "model.record.json").read_text())
    assert len(record["output"]) == 64
    assert link(folder)[0] == 0, "again is fine"


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path, by):
    path.write_bytes(path.read_bytes()[:-by])


def bin_only(folder):
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda f: edit(f, model_type="mistral"), "mistral"),
        (lambda f: edit(f, architectures="InternLM2ForCausalLM"), "architectures"),
        (lambda f: edit(f, model_type="llama"), "ChatML"),
        (lambda f: edit(f, vocab_size=None), "vocab_size"),
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json:1:2"),
        (lambda f: (f / "config.json").write_text("[]"), "architectures"),
        (lambda f: (f / "model-2.safetensors").unlink(), "model-2.safetensors"),
        (lambda f: cut(f / "model-2.safetensors", 1), "cut off"),
        (lambda f: cut(f / "model-1.safetensors", 40), "model-1.safetensors"),
        (
            lambda f: (f / "model-2.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
            "git lfs pull",
        ),
        (bin_only, "pickle"),
        (lambda f: (f / "model-2.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}"), "model-2.safetensors"),
        (lambda f: (f / "model-2.safetensors").write_bytes(struct.pack("<Q", 4) + b"[[]]"), "model-2.safetensors"),
        (lambda f: shard(f / "model-2.safetensors", {"d": 7}), "tensor c"),
        (lambda f: (f / "model.safetensors.index.json").unlink(), "model.safetensors"),
        (lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x"}}'), "outside"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{}"), "weight_map"),
    ],
)
def test_each_way_to_be_wrong_is_one_line_that_names_it_and_links_nothing(link, folder, tmp_path, spoil, named):
    spoil(folder)
    status, _, err = link(folder)
    assert status == 2
    assert named in err
    assert err.count("\n") == 1
    assert not (tmp_path / "build" / "model").exists()


def test_a_missing_folder_and_an_unset_model_are_errors(link, tmp_path, call):
    assert link(tmp_path / "nowhere")[0] == 2
    status, _, err = call(recipe_model, "--profile", "7b", "--build", str(tmp_path / "b"))
    assert status == 2 and "MODEL" in err


def test_internlm2_chat_in_place_of_2_5_is_warned_of(link, folder):
    (folder / "README.md").write_text("# InternLM2-Chat-7B\n")
    status, _, err = link(folder)
    assert status == 0
    assert err.startswith("warning: ") and "InternLM2.5" in err


def test_a_wrong_model_leaves_the_earlier_link_alone(link, folder, tmp_path):
    link(folder)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    assert link(wrong)[0] == 2
    assert (tmp_path / "build" / "model").resolve() == folder


def test_shards_may_have_any_format_where_an_adapter_may_not_and_neither_may_have_gaps(tmp_path):
    """One reader, two bounds: a base quantized to bytes is read, the same file as an adapter is refused."""

    def written(header: dict, size: int):
        text = json.dumps(header).encode()
        path = tmp_path / "x.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
        return path

    def read(path, bounds):
        with open(path, "rb") as file:
            return safetensors_file.read_header(file, path.stat().st_size, path.name, bounds)

    packed = {"a": {"dtype": "U8", "shape": [6], "data_offsets": [0, 6]}}
    assert safetensors_header(written(packed, 6), "") == packed
    with pytest.raises(Broken, match="U8"):
        read(written(packed, 6), safetensors_file.ADAPTER)
    for bounds in (safetensors_file.ADAPTER, safetensors_file.SHARD):
        gap = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}
        with pytest.raises(Broken, match="begins at 4"):
            read(written(gap, 8), bounds)
        lies = {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 8]}}
        with pytest.raises(Broken):
            read(written(lies, 8), bounds)


SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 500,
}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SIZES}
QWEN = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **SIZES}
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}{% endfor %}"
LLAMA3 = "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{% endfor %}"


@pytest.fixture
def base(tmp_path):
    """base(config, template, name) → a folder of such a base."""

    def make(config: dict, template: str | None = CHATML, name: str = "some-chat"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template} if template else {}))
        shard(folder / "model.safetensors", {"a": 3})
        return folder

    return make


@pytest.mark.parametrize(
    ("config", "template", "chosen", "xtuner"),
    [
        (LLAMA, CHATML, "qwen1_5_0_5b_chat_qlora_alpaca_e3", "qwen_chat"),
        (LLAMA, LLAMA3, "llama3_8b_instruct_qlora_alpaca_e3", "llama3_chat"),
        (QWEN, CHATML, "qwen1_5_0_5b_chat_qlora_alpaca_e3", "qwen_chat"),
        (QWEN, None, "qwen1_5_0_5b_chat_qlora_alpaca_e3", "qwen_chat"),
    ],
)
def test_the_base_chooses_the_stock_config_and_the_screen_says_which_and_why(
    link, base, config, template, chosen, xtuner
):
    status, out, err = link(base(config, template))
    assert (status, err) == (0, "")
    assert f"BASE_CONFIG={chosen} with the template {xtuner}" in out and config["model_type"] in out


def test_of_configs_alike_the_one_of_the_nearest_size_is_chosen(tmp_path):
    for name, chosen in {
        "Qwen/Qwen2.5-0.5B-Instruct": "qwen1_5_0_5b_chat_qlora_alpaca_e3",
        "Qwen/Qwen2.5-7B-Instruct": "qwen1_5_7b_chat_qlora_alpaca_e3",
        "Qwen/Qwen2.5-32B-Instruct": "qwen1_5_72b_chat_qlora_alpaca_e3",
        "internlm/internlm2_5-1_8b-chat": "internlm2_5_chat_7b_qlora_alpaca_e3",
        "internlm/internlm2_5-20b-chat": "internlm2_5_chat_20b_qlora_alpaca_e3",
        "internlm/internlm2-chat-1_8b": "internlm2_chat_1_8b_qlora_alpaca_e3",
        "meta-llama/Llama-3.2-1B-Instruct": "llama3_8b_instruct_qlora_alpaca_e3",
        "HuggingFaceTB/SmolLM2-135M-Instruct": "qwen1_5_0_5b_chat_qlora_alpaca_e3",
    }.items():
        assert choose_config_by_name(name)[0] == chosen, name
        assert chosen_base_config(Values({"MODEL": name, "BUILD": str(tmp_path)}, {})) == chosen
    assert choose_config_by_name("somebody/something") is None


def test_every_config_that_is_chosen_is_one_of_xtuners():
    names = [name for family in CONFIG_FAMILIES for name, _ in family.choices]
    assert set(names) <= set(stock_configs()) and all(is_supported(name) for name in names)


def test_a_base_that_does_not_go_with_base_config_is_refused_with_the_configs_that_fit(call, base, tmp_path):
    def model(folder, config, *more):
        flags = ("--profile", "7b", "--build", str(tmp_path / "b"), "--model", str(folder), "--base-config", config)
        return call(recipe_model, *flags, *more)

    status, _, err = model(base(QWEN, name="q"), "internlm2_5_chat_7b_qlora_alpaca_e3")
    assert status == 2 and "Qwen2ForCausalLM" in err and "qwen1_5_0_5b_chat_qlora_alpaca_e3" in err
    llama = base(LLAMA, LLAMA3, "l")
    status, _, err = model(llama, "qwen1_5_7b_chat_qlora_alpaca_e3")
    assert status == 2 and "Llama 3" in err and "llama3_8b_instruct_qlora_alpaca_e3" in err
    assert model(llama, "qwen1_5_7b_chat_qlora_alpaca_e3", "--prompt-template", "llama3_chat")[0] == 0


def test_the_tiny_base_is_not_trained_under_another_familys_config(call, tmp_path):
    flags = ("--profile", "tiny", "--build", str(tmp_path / "b"), "--base-config", "qwen1_5_0_5b_chat_qlora_alpaca_e3")
    status, _, err = call(recipe_model, *flags)
    assert status == 2 and "MODEL=" in err and not (tmp_path / "b" / "model").exists()


def test_at_tiny_a_linked_base_stays_until_force_puts_the_tiny_one_back(call, base, tmp_path):
    flags = ("--profile", "tiny", "--build", str(tmp_path / "b"))
    assert call(recipe_model, *flags)[0] == 0
    folder = base(QWEN)
    assert call(recipe_model, *flags, "--model", str(folder))[0] == 0
    assert (tmp_path / "b" / "model").resolve() == folder
    assert "FORCE=1" in call(recipe_model, *flags)[1]
    assert (tmp_path / "b" / "model").resolve() == folder
    assert call(recipe_model, *flags, "--force", "1")[0] == 0
    assert not (tmp_path / "b" / "model").is_symlink()


def test_the_base_that_a_config_of_ones_own_names_is_checked_where_it_lies(call, base, tmp_path):
    folder = base(QWEN, name="mymodel")
    config = tmp_path / "my.py"
    source = stock_configs()["qwen1_5_0_5b_chat_qlora_alpaca_e3"].read_text()
    config.write_text(source.replace("Qwen/Qwen1.5-0.5B-Chat", str(folder)))
    flags = ("--profile", "7b", "--build", str(tmp_path / "b"), "--config", str(config))
    status, out, err = call(recipe_model, *flags)
    assert (status, err) == (0, "") and str(folder) in out and not (tmp_path / "b" / "model").exists()
    before = read_base_hash(folder)
    shard(folder / "model.safetensors", {"a": 5})
    assert read_base_hash(folder) != before
    (folder / "model.safetensors").unlink()
    assert call(recipe_model, *flags)[0] == 2


def test_a_folder_of_the_hubs_cache_tells_its_name_and_commit(base, tmp_path):
    folder = base(QWEN)
    place = tmp_path / "models--Qwen--Qwen2.5-0.5B-Instruct" / "snapshots" / ("a" * 40)
    place.parent.mkdir(parents=True)
    folder.rename(place)
    described = describe_base(read_base_folder(place, ""))
    assert described["name"] == "Qwen/Qwen2.5-0.5B-Instruct" and described["revision"] == "a" * 40
    assert described["license"] == "apache-2.0", "of the published one"
    (place / "README.md").write_text("---\nlicense: mit\nlanguage:\n- en\n---\n# x\n")
    assert describe_base(read_base_folder(place, ""))["license"] == "mit"
