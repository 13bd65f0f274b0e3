"""A tiny base beside the one that ships: which files differ, by how much the weights do, and how many answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lesson.authoring.held_out import read_evaluation_questions
from lesson.core.files import sha256
from lesson.core.messages import tr
from lesson.evaluation.asking import answer_chats, build_chat
from lesson.model.tiny_base import CODE, SHIPPED, copy_files, modelling_files


def own_files(folder: Path) -> list[Path]:
    """The files of a model folder that are ours: all but the code from xtuner and its caches."""
    return sorted(p for p in folder.iterdir() if p.is_file() and p.name not in CODE)


def compare_bases(folder: Path, shipped: Path = SHIPPED) -> list[str]:
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
    found = [tr(f"differs from {shipped.name}: {', '.join(unlike)}", f"与 {shipped.name} 不同：{'、'.join(unlike)}")]
    if "model.safetensors" in unlike:
        found.append(_compare_weights(folder, shipped))
        found.append(_compare_answers(folder, shipped))
    return found


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
    questions = read_evaluation_questions()
    answers = []
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for number, place in enumerate((folder, shipped)):
            loadable = Path(scratch) / f"base{number}"
            copy_files([*own_files(place), *modelling_files()], loadable)
            tokenizer, model = load_base(loadable)
            answers.append(answer_chats(tokenizer, model, [build_chat("", question) for question in questions]))
    same = sum(a == b for a, b in zip(*answers, strict=True))
    return tr(f"answers: {same} of {len(questions)} the same", f"回答：{len(questions)} 个中有 {same} 个相同")


def load_base(folder: Path):
    """(tokenizer, model in float32, ready to answer) of a loadable folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, torch_dtype=torch.float32)
    return AutoTokenizer.from_pretrained(folder), model.eval()
