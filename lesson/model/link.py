"""The base model at BUILD/model: the tiny base that ships, or a link to the one named, looked at before training."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from lesson.core.files import Record, read_json, record_path, replace_link, sha256, sha256_tree, write_json
from lesson.core.layout import base_model
from lesson.core.messages import UserError, tr
from lesson.core.refusals import Broken
from lesson.core.settings import Values
from lesson.model import safetensors_file
from lesson.model.known_bases import SIZES_7B
from lesson.model.tiny_base import SHIPPED, install_base


@dataclass(frozen=True)
class BaseModel:
    """The base model at `folder`: `origin` says in words where it came from, `warnings` what may be wrong with it."""

    folder: Path
    origin: str
    warnings: list[str] = field(default_factory=list)


def provide_base(values: Values) -> BaseModel:
    """Put the base model at BUILD/model. Raises UserError when MODEL is not a whole InternLM2 of the 7B sizes."""
    target = base_model(values.build)
    if values.profile == "tiny" and not values.model:
        return install_shipped(target, values.force)
    return link_base(target, values)


def install_shipped(target: Path, force: bool) -> BaseModel:
    """Copy the tiny base that ships to `target`, where it is not up to date."""
    shipped = sha256_tree(SHIPPED)
    record = Record(target, {"shipped": shipped}, {"profile": "tiny"})
    if record.up_to_date():
        return BaseModel(target, tr("up to date", "已是最新"))
    if target.is_symlink():
        target.unlink()
    record.guard(force)
    install_base(target)
    record.write()
    return BaseModel(target, tr("the tiny base that ships", "随仓库附带的小模型"))


def link_base(target: Path, values: Values) -> BaseModel:
    """Make `target` a link to the folder MODEL, after looking at its config and its shards."""
    remedy = tr(
        "set MODEL= to the folder of InternLM2.5-7B-Chat that you downloaded",
        "请用 MODEL= 指定下载好的 InternLM2.5-7B-Chat 目录",
    )
    if not values.model:
        if target.is_symlink() and target.exists():
            return BaseModel(target, tr("linked before", "之前已链接"))
        raise UserError("MODEL", tr("no base model is named", "没有指定基座模型"), remedy)
    folder = Path(values.model)
    if not folder.is_dir():
        raise UserError(folder, tr("not a folder", "不是目录"), remedy)
    check_sizes(folder, remedy)
    shards = check_shards(folder, remedy)
    if target.exists() and not target.is_symlink():
        raise UserError(
            target, tr("is a folder, not a link of ours", "是目录，不是我们建的链接"), tr("move it away", "请先移走")
        )
    replace_link(target, folder.resolve())
    # Hashing 15 GB takes a minute: headers and lengths of the shards stand for them.
    write_json(record_path(target), {"inputs": {}, "parameters": {"profile": values.profile}, "output": shards})
    return BaseModel(
        target, tr(f"link to {folder}", f"链接到 {folder}"), generation_warnings(folder, values.base_config)
    )


def check_sizes(folder: Path, remedy: str) -> None:
    """Raise UserError when config.json is not InternLM2 of the 7B sizes, naming the key, found and expected."""
    path = folder / "config.json"
    config = read_json(path, remedy)
    architectures = config.get("architectures") if isinstance(config, dict) else None
    if architectures != ["InternLM2ForCausalLM"]:
        raise UserError(
            f"{path}: $.architectures",
            tr(f"{architectures} instead of InternLM2ForCausalLM", f"是 {architectures}，应为 InternLM2ForCausalLM"),
            remedy,
        )
    for key, expected in SIZES_7B.items():
        if config.get(key) != expected:
            raise UserError(
                f"{path}: $.{key}",
                tr(f"{config.get(key)} instead of {expected}", f"是 {config.get(key)}，应为 {expected}"),
                remedy,
            )


def check_shards(folder: Path, remedy: str) -> str:
    """Check that each tensor of the index lies whole in its shard; returns a hash over config and shard headers."""
    import hashlib

    again = tr("download the model again", "请重新下载模型")
    digest = hashlib.sha256(sha256(folder / "config.json").encode())
    index = folder / "model.safetensors.index.json"
    if index.exists():
        weight_map = read_json(index, again).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise UserError(index, tr("no weight_map", "缺少 weight_map"), again)
    elif (folder / "model.safetensors").exists():
        weight_map = None
    else:
        raise UserError(
            folder,
            tr(
                "no model.safetensors and no model.safetensors.index.json",
                "没有 model.safetensors，也没有 model.safetensors.index.json",
            ),
            remedy,
        )
    for name in sorted(set(weight_map.values())) if weight_map else ["model.safetensors"]:
        shard = folder / name
        if Path(name).name != name:
            raise UserError(index, tr(f"a shard outside the folder: {name!r}", f"分片不在目录内：{name!r}"), again)
        if not shard.is_file():
            raise UserError(shard, tr("this shard is missing", "缺少这个分片"), again)
        header = safetensors_header(shard, again)
        missing = [key for key, where in (weight_map or {}).items() if where == name and key not in header]
        if missing:
            raise UserError(shard, tr(f"tensor {missing[0]} is missing", f"缺少张量 {missing[0]}"), again)
        digest.update(json.dumps([name, shard.stat().st_size, header], sort_keys=True).encode())
    return digest.hexdigest()


def safetensors_header(path: Path, remedy: str) -> dict:
    """The header of a shard, after checking that the tensors it names fill the file. Raises UserError."""
    try:
        with open(path, "rb") as file:
            header, _, _ = safetensors_file.read_header(file, path.stat().st_size, "", safetensors_file.SHARD)
    except Broken as error:
        raise UserError(path, str(error).removeprefix(": "), remedy) from None
    return header


def generation_warnings(folder: Path, base_config: str) -> list[str]:
    """A warning when the folder looks like InternLM2-Chat while the config is InternLM2.5's: same sizes, other model."""
    wants = "internlm2_5" in base_config
    card = folder / "README.md"
    text = (
        card.read_text(encoding="utf-8", errors="replace")[:20000].lower()
        if card.is_file()
        else folder.resolve().name.lower()
    )
    is_25 = any(mark in text for mark in ("internlm2_5", "internlm2.5"))
    if wants and not is_25:
        return [
            tr(
                f"{folder} does not call itself InternLM2.5, which {base_config} means",
                f"{folder} 看起来不是 InternLM2.5，而 {base_config} 需要它",
            )
        ]
    return []
