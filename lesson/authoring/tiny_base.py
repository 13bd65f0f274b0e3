"""make base: rebuild the tiny base model from scratch, from text of our own, and compare it with the one that ships.

The base is InternLM2's architecture in small, through the modelling files of the installed xtuner. It is trained on the
conversations of lesson/authoring/corpus.py in the very form in which XTuner feeds rows to a model: packed one after another, and
also alone, as at inference. `python -m recipe.base --update` puts the result into data/tiny-base.
"""

from __future__ import annotations

import collections
import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lesson.authoring import corpus
from lesson.core import cli, layout
from lesson.core.files import atomic_folder, sha256, write_json
from lesson.core.messages import tr
from lesson.core.settings import ROOT, Values
from lesson.model.tiny_base import CODE, SHIPPED, copy_files, modelling_files

SETTINGS = ["PROFILE", "BUILD"]

SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")  # ids 0 to 4; the first three as in InternLM2
VOCABULARY = 2500
CHARACTERS = 1000  # single characters with a token of their own; any other is written in its UTF-8 bytes
TOKENIZER_ROWS = 30000
# InternLM2's own template (internlm/internlm2_5-7b-chat, tokenizer_config.json).
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 160,
    "intermediate_size": 448,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SEED = 20241
STEPS = 1400
PEAK_LR, WARMUP_STEPS = 2.5e-3, 60
PACKED = (6, 512)  # sequences in a batch, tokens in each: rows one after another
ALONE = (54, 80)  # rows in a batch, most tokens of each: a row by itself, from <s>
THREADS = 2  # fixed, since sums in another order differ in their last bits


# --- a loadable folder -------------------------------------------------------------------------------------------


# --- tokenizer and batches ---------------------------------------------------------------------------------------


def make_tokenizer(folder: Path):
    """Train the BPE tokenizer, save it in `folder` and return it. Like InternLM2's, it falls back to bytes."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    stream = corpus.Corpus(SEED)
    texts = [text for _ in range(TOKENIZER_ROWS) for turn in stream.row()["conversation"] for text in turn.values()]
    ascii_ = ["\n", *map(chr, range(32, 127))]
    counted = collections.Counter("".join(texts))
    common = sorted(set(counted) - set(ascii_), key=lambda character: (-counted[character], character))
    alphabet = [*ascii_, *common[: CHARACTERS - len(ascii_)]]  # the trainer's own choice breaks ties by hash
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    # Scripts apart, so that a Latin name in a Chinese sentence keeps its tokens, and digits one by one.
    words = Regex(r" ?[A-Za-z]+|\p{Han}+|\p{N}|\s+|[^\s\p{L}\p{N}]| ?\p{L}+")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(words, "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=2 * VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        max_token_length=8,
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, "system\nuser\nassistant\n" * 1000], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(_with_bytes(json.loads(tokenizer.to_str())))),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
    fast.save_pretrained(folder)
    return fast


def _with_bytes(trained: dict) -> dict:
    """The tokenizer's JSON with the 256 byte tokens after the special ones, and no Chinese token over two characters:
    whole phrases as tokens would tie the model to the phrases it was trained on."""
    model = trained["model"]
    tokens = [
        token
        for token in sorted(model["vocab"], key=model["vocab"].get)[len(SPECIAL) :]
        if len(token) <= 2 or token.isascii()
    ]
    kept = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *tokens][:VOCABULARY]
    model["vocab"] = {token: number for number, token in enumerate(kept)}
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) in model["vocab"]]
    return trained


def encode(tokenizer, row: dict) -> tuple[list[int], list[bool]]:
    """Token ids of a row and which of them are trained, as xtuner.dataset.utils.encode_fn makes them."""
    ids, trained = [tokenizer.bos_token_id], [False]
    for turn in row["conversation"]:
        system = f"<|im_start|>system\n{turn['system']}<|im_end|>\n" if turn.get("system") else ""
        asked = f"{system}<|im_start|>user\n{turn['input']}<|im_end|>\n<|im_start|>assistant\n"
        for text, learn in ((asked, False), (turn["output"] + "<|im_end|>", True), ("\n", False)):
            piece = tokenizer.encode(text, add_special_tokens=False)
            ids += piece
            trained += [learn] * len(piece)
    return ids, trained


def batches(tokenizer, seed: int) -> Iterator[tuple[list[list[int]], list[list[bool]]]]:
    """Endless batches of (ids, trained): one of packed rows, then one of rows alone, padded at the end."""
    stream = corpus.Corpus(seed)
    random_ = random.Random(seed)
    rest: tuple[list[int], list[bool]] = ([], [])
    while True:
        count, length = PACKED
        while len(rest[0]) < count * length:
            ids, trained = encode(tokenizer, stream.row())
            rest[0].extend(ids)
            rest[1].extend(trained)
        yield tuple([part[i * length : (i + 1) * length] for i in range(count)] for part in rest)
        # A new batch starts at the start of a row again, as often as in the middle of one.
        rest = ([], []) if random_.random() < 0.5 else tuple(part[count * length :] for part in rest)
        count, length = ALONE
        rows = []
        while len(rows) < count:
            ids, trained = encode(tokenizer, stream.row())
            if len(ids) <= length:
                rows.append((ids, trained))
        width = max(len(ids) for ids, _ in rows)
        pad = tokenizer.pad_token_id
        yield (
            [ids + [pad] * (width - len(ids)) for ids, _ in rows],
            [trained + [False] * (width - len(trained)) for _, trained in rows],
        )


# --- training ----------------------------------------------------------------------------------------------------


def build(folder: Path, steps: int = STEPS) -> None:
    """Train tokenizer and model from scratch into `folder` (a new one): all files of data/tiny-base and the code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    for file in modelling_files():
        shutil.copyfile(file, folder / file.name)
    tokenizer = make_tokenizer(folder)
    write_config(folder, len(tokenizer))
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True, attn_implementation="sdpa")
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
    train(model, tokenizer, steps)
    model.half().save_pretrained(folder, safe_serialization=True)
    write_config(folder, len(tokenizer))  # save_pretrained wrote its own, with versions in it


def write_config(folder: Path, vocabulary: int) -> None:
    """config.json and generation_config.json, in one stable form."""
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    write_json(
        folder / "config.json",
        {
            "architectures": ["InternLM2ForCausalLM"],
            "auto_map": {
                "AutoConfig": "configuration_internlm2.InternLM2Config",
                "AutoModel": "modeling_internlm2.InternLM2ForCausalLM",
                "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM",
            },
            "model_type": "internlm2",
            **SIZES,
            "vocab_size": vocabulary,
            "bias": False,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "pretraining_tp": 1,
            **tokens,
            "torch_dtype": "float16",
            "use_cache": True,
        },
    )
    write_json(
        folder / "generation_config.json",
        {"do_sample": False, "max_new_tokens": 128, **tokens, "eos_token_id": [2, SPECIAL.index("<|im_end|>")]},
    )


def train(model, tokenizer, steps: int) -> None:
    """AdamW on answers only, learning rate rising for WARMUP_STEPS and then falling along a cosine to 2 %."""
    import torch
    from torch.nn.functional import cross_entropy
    from tqdm import tqdm

    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        lr=PEAK_LR,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / WARMUP_STEPS, 0.02 + 0.49 * (1 + math.cos(math.pi * min(1, step / steps)))),
    )
    model.train()
    source = batches(tokenizer, SEED + 1)
    terminal = sys.stderr.isatty()
    start = time.monotonic()
    with tqdm(total=steps, unit="step", desc="base", disable=not terminal) as bar:
        for step in range(1, steps + 1):
            ids, trained = (torch.tensor(part) for part in next(source))
            hidden = model.model(input_ids=ids, use_cache=False)[0]
            chosen = trained[:, 1:]  # the state before a trained token predicts it; other states need no logits
            loss = cross_entropy(model.output(hidden[:, :-1][chosen]).float(), ids[:, 1:][chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            if not terminal and (step % 50 == 0 or step == steps):
                left = (time.monotonic() - start) / step * (steps - step)
                print(tr(f"step {step}/{steps}  loss {loss.item():.3f}  {left:.0f} s left", f"第 {step}/{steps} 步  loss {loss.item():.3f}  剩余 {left:.0f} 秒"), file=sys.stderr, flush=True)  # fmt: skip


# --- make base ---------------------------------------------------------------------------------------------------


def rebuild(values: Values, update: bool = False) -> int:
    """Train into BUILD/base, then say how it compares with data/tiny-base; with `update`, replace that one."""
    from lesson.evaluation import talk

    talk.use_environment(values)
    target = layout.trained_base(values.build)
    with atomic_folder(target) as folder:
        build(folder)
    size = sum(file.stat().st_size for file in own_files(target))
    print(tr(f"{target}: {size / 2**20:.1f} MiB", f"{target}：{size / 2**20:.1f} MiB"))
    if update:
        copy_files(own_files(target), SHIPPED)
        print(tr(f"put into {SHIPPED.relative_to(ROOT)}", f"已写入 {SHIPPED.relative_to(ROOT)}"))
        return 0
    for line in differences(target):
        print(line)
    return 0


def own_files(folder: Path) -> list[Path]:
    """The files of a model folder that are ours: all but the code from xtuner and its caches."""
    return sorted(p for p in folder.iterdir() if p.is_file() and p.name not in CODE)


def differences(folder: Path, shipped: Path = SHIPPED) -> list[str]:
    """What tells `folder` from the shipped base, in sentences; the same machine is expected to make the same bytes."""
    names = sorted({file.name for place in (folder, shipped) for file in own_files(place)})
    unlike = [
        name
        for name in names
        if not ((folder / name).is_file() and (shipped / name).is_file())
        or sha256(folder / name) != sha256(shipped / name)
    ]
    if not unlike:
        return [tr(f"equal to {shipped.name}, file by file", f"与 {shipped.name} 逐个文件相同")]
    said = [tr(f"differs from {shipped.name}: {', '.join(unlike)}", f"与 {shipped.name} 不同：{'、'.join(unlike)}")]
    if "model.safetensors" in unlike:
        said.append(_compare_weights(folder, shipped))
        said.append(_compare_answers(folder, shipped))
    return said


def _compare_weights(folder: Path, shipped: Path) -> str:
    from safetensors.numpy import load_file

    ours, theirs = (load_file(place / "model.safetensors") for place in (folder, shipped))
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        return tr("the weights have other names or shapes", "权重的名称或形状不同")
    largest = max(float(abs(ours[k].astype("float32") - theirs[k].astype("float32")).max()) for k in ours)
    return tr(
        f"weights: largest difference {largest:.3g} (small ones are expected on another processor, which adds in another order)",
        f"权重：最大差异 {largest:.3g}（换处理器后求和顺序不同，会有微小差异）",
    )


def _compare_answers(folder: Path, shipped: Path) -> str:
    from lesson.evaluation import talk

    questions = [
        question["input"]
        for name in ("identity", "general")
        for question in json.loads((corpus.EVALUATION / f"{name}.json").read_text(encoding="utf-8"))["questions"]
    ]
    said = []
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for number, place in enumerate((folder, shipped)):
            loadable = Path(scratch) / f"base{number}"
            copy_files([*own_files(place), *modelling_files()], loadable)
            tokenizer, model = load(loadable)
            said.append(talk.answers(tokenizer, model, [talk.messages("", question) for question in questions]))
    same = sum(a == b for a, b in zip(*said, strict=True))
    return tr(f"answers: {same} of {len(questions)} the same", f"回答：{len(questions)} 个中有 {same} 个相同")


def load(folder: Path):
    """(tokenizer, model in float32, ready to answer) of a loadable folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, torch_dtype=torch.float32)
    return AutoTokenizer.from_pretrained(folder), model.eval()


def main(arguments: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    update = "--update" in arguments  # for those who keep this repository; not a setting of the lesson
    if update:
        arguments.remove("--update")
    return cli.run("base", __doc__, SETTINGS, lambda values: rebuild(values, update), arguments)
