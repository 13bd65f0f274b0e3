"""A base model's folder, looked at without running anything of it: its sizes, chat template, name, licence, weights."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from lesson.core.files import read_json, sha256
from lesson.core.messages import UserError, tr
from lesson.core.refusals import Broken
from lesson.model import safetensors_file
from lesson.model.known_bases import known_license

# What a chat template writes where a turn begins -> the form's name here.
TURN_MARKS = {"<|im_start|>": "chatml", "<|start_header_id|>": "llama3"}
# A folder of huggingface_hub's own cache tells its name and commit.
HUB_CACHE = re.compile(r"/models--([^/]+?)--([^/]+)/snapshots/([0-9a-f]{40})/?$")
LFS_POINTER = b"version https://git-lfs"
MOST_README = 20_000  # characters of a card that are looked at


@dataclass(frozen=True)
class BaseFolder:
    """A folder with a config.json. `chat_form` is chatml, llama3, other (a template of another form) or none."""

    folder: Path
    config: dict
    chat_form: str

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type"))

    @property
    def card(self) -> str:
        """The beginning of the folder's README.md; empty without one."""
        path = self.folder / "README.md"
        return path.read_text(encoding="utf-8", errors="replace")[:MOST_README] if path.is_file() else ""

    @property
    def hub_name(self) -> tuple[str, str] | None:
        """(OWNER/NAME, commit) where the folder lies in huggingface_hub's cache."""
        match = HUB_CACHE.search(self.folder.resolve().as_posix())
        return (f"{match[1]}/{match[2]}", match[3]) if match else None


def read_base_folder(folder: Path, remedy: str) -> BaseFolder:
    """The base in `folder`. Raises UserError when it is no folder, or its config.json is missing or broken."""
    if not folder.is_dir():
        raise UserError(folder, tr("not a folder", "不是目录"), remedy)
    path = folder / "config.json"
    config = read_json(path, remedy)
    if not isinstance(config, dict) or not isinstance(config.get("architectures"), list):
        raise UserError(
            f"{path}: $.architectures", tr("not a list: no model's config", "不是列表：不是模型的配置"), remedy
        )
    return BaseFolder(folder, config, chat_form_of(folder))


def chat_form_of(folder: Path) -> str:
    """The form of the tokenizer's chat template: chatml, llama3, other, or none."""
    text = _chat_template(folder)
    return next((form for mark, form in TURN_MARKS.items() if mark in text), "other" if text else "none")


def _chat_template(folder: Path) -> str:
    """The template's text, from where transformers reads it; of several, all of them. Empty without one."""
    text = ""
    for name in ("tokenizer_config.json", "chat_template.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8")).get("chat_template")
        except (OSError, ValueError, AttributeError):
            continue
        text += found if isinstance(found, str) else json.dumps(found) if found else ""
    jinja = folder / "chat_template.jinja"
    return text + (jinja.read_text(encoding="utf-8", errors="replace") if jinja.is_file() else "")


def license_of(base: BaseFolder, name: str) -> str | None:
    """The licence in the front matter of the base's card, else of the published base called `name`."""
    front = re.match(r"---\s*\n(.*?)\n---", base.card, re.DOTALL)
    found = re.search(r"^license:\s*[\"']?([\w.-]+)", front[1], re.MULTILINE) if front else None
    return found[1] if found else known_license(name)


def check_shards(folder: Path, remedy: str) -> str:
    """Check that each tensor of the index lies whole in its shard; returns a hash over config and shard headers.

    Hashing 15 GB takes a minute: headers and lengths of the shards stand for them. Raises UserError.
    """
    again = tr("download the model again", "请重新下载模型")
    digest = hashlib.sha256(sha256(folder / "config.json").encode())
    index = folder / "model.safetensors.index.json"
    if index.exists():
        document = read_json(index, again)
        weight_map = document.get("weight_map") if isinstance(document, dict) else None
        if not isinstance(weight_map, dict) or not weight_map:
            raise UserError(index, tr("no weight_map", "缺少 weight_map"), again)
    elif (folder / "model.safetensors").exists():
        weight_map = None
    else:
        raise UserError(folder, _why_no_weights(folder), remedy)
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


def _why_no_weights(folder: Path) -> str:
    pickled = next(iter(sorted([*folder.glob("*.bin"), *folder.glob("*.pth"), *folder.glob("*.pt")])), None)
    if pickled:
        return tr(
            f"the weights are a pickle ({pickled.name}), which runs code when it is loaded; only safetensors are taken",
            f"权重是 pickle 文件（{pickled.name}），加载时会执行代码；只接受 safetensors",
        )
    return tr(
        "no model.safetensors and no model.safetensors.index.json",
        "没有 model.safetensors，也没有 model.safetensors.index.json",
    )


def safetensors_header(path: Path, remedy: str) -> dict:
    """The header of a shard, after checking that the tensors it names fill the file. Raises UserError."""
    try:
        with open(path, "rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise UserError(
                    path,
                    tr("a Git LFS pointer, not the weights", "这是 Git LFS 指针，不是权重"),
                    tr(f"run git lfs pull in {path.parent}", f"请在 {path.parent} 中运行 git lfs pull"),
                )
            file.seek(0)
            header, _, _ = safetensors_file.read_header(file, path.stat().st_size, "", safetensors_file.SHARD)
    except Broken as error:
        raise UserError(path, str(error).removeprefix(": "), remedy) from None
    return header
