"""A base by its name on a hub, downloaded into BUILD/bases: only the files that are needed, of one commit, resumable.

Hugging Face's hub through huggingface_hub, which respects HF_ENDPOINT and HF_TOKEN, or ModelScope's through its own
package. What is there whole is not asked for again, so that training goes on without a network and on the same weights.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from lesson.core.files import sha256, write_json
from lesson.core.layout import downloaded_base
from lesson.core.messages import UserError, tr
from lesson.core.records import make_alone, record_path
from lesson.core.settings import Values

NEEDED = (
    *("config.json", "generation_config.json", "README.md", "*.safetensors", "model.safetensors.index.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template*"),
)
CODE = ("configuration_*.py", "modeling_*.py", "tokenization_*.py")
# Architectures that transformers has no code of its own for; no other base's code is fetched, and so none is run.
CODE_OWNERS = ("internlm", "Shanghai_AI_Laboratory")
ATTEMPTS = 5
PAUSE = 1.0  # seconds before another attempt
SILENCE = 20.0  # seconds without a byte after which a hub is given up; huggingface_hub waits for ever in some places


@dataclass(frozen=True)
class Download:
    """A base that was downloaded to `folder`: its name, the hub's, and the commit (ModelScope: the revision asked for)."""

    folder: Path
    name: str
    hub: str
    revision: str


def is_hub_name(text: str) -> bool:
    """Whether `text` has the form OWNER/NAME of a hub, and is no path."""
    return bool(re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", text)) and not Path(text).exists()


def is_needed(file: str, name: str) -> bool:
    """Whether a repository's file belongs to what is downloaded of the base called `name`."""
    patterns = [*NEEDED, *(CODE if name.split("/")[0] in CODE_OWNERS else ())]
    return "/" not in file and any(fnmatchcase(file, pattern) for pattern in patterns)


def download_base(values: Values, report: Callable[[str], None]) -> Download:
    """The base that MODEL names, whole, in a folder below BUILD. `report` gets a line before anything is fetched.

    FORCE=1 asks the hub again what REVISION is. Raises UserError; the same call goes on where a broken one stopped.
    """
    name, hub, asked = values.model, values.hub, values.revision
    folder = downloaded_base(values.build, name)
    with make_alone(folder):
        return _download_base(values, folder, name, hub, asked, report)


def _download_base(
    values: Values, folder: Path, name: str, hub: str, asked: str, report: Callable[[str], None]
) -> Download:
    found = None if values.force else _whole(folder, name, hub, asked)
    if found:
        return Download(folder, name, hub, found)
    fetch = _from_modelscope if hub == "modelscope" else _from_huggingface
    revision = fetch(name, asked, folder, report)
    files = {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.is_file()}
    asked_for = {"name": name, "hub": hub, "asked": asked}
    write_json(record_path(folder), {**asked_for, "revision": revision, "files": files})
    return Download(folder, name, hub, revision)


def _whole(folder: Path, name: str, hub: str, asked: str) -> str | None:
    """The revision of what was downloaded to `folder` before, where it is what is asked for and all of it is there."""
    try:
        record = json.loads(record_path(folder).read_text(encoding="utf-8"))
        same = (record["name"], record["hub"]) == (name, hub) and asked in (record["asked"], record["revision"])
        whole = all((folder / file).stat().st_size == size for file, size in record["files"].items())
        return record["revision"] if same and whole else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _remove_broken_notes(folder: Path) -> None:
    """Remove what huggingface_hub noted of a file and a kill cut off: commit, ETag and time, a line each.

    Version 0.36 removes such a note too, and then stops with UnboundLocalError in read_download_metadata.
    """
    for note in (folder / ".cache" / "huggingface" / "download").glob("*.metadata"):
        try:
            _, _, time = note.read_text(encoding="utf-8").splitlines()
            float(time)
        except ValueError:
            note.unlink(missing_ok=True)


def _from_huggingface(name: str, asked: str, folder: Path, report: Callable[[str], None]) -> str:
    """Download from Hugging Face's hub, or from HF_ENDPOINT; returns the commit."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    endpoint = find_endpoint()
    token = None if is_encrypted(endpoint) else False  # a stored one too would be sent in plain text
    limit_silence(SILENCE)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            info = HfApi(endpoint=endpoint, token=token).model_info(name, revision=asked, files_metadata=True)
            files = [file for file in info.siblings or [] if is_needed(file.rfilename, name)]
            _require_room(folder, sum(file.size or 0 for file in files))
            report(
                tr(
                    f"downloading {name} @ {info.sha[:12]} from {endpoint} to {folder}",
                    f"正在从 {endpoint} 下载 {name} @ {info.sha[:12]} 到 {folder}",
                )
            )
            _remove_broken_notes(folder)
            snapshot_download(
                name,
                revision=info.sha,
                endpoint=endpoint,
                token=token,
                local_dir=folder,
                allow_patterns=[file.rfilename for file in files],
                max_workers=4,
            )
            _verify(folder, {file.rfilename: file.lfs.sha256 for file in files if file.lfs})
            return info.sha
        except HfHubHTTPError as error:
            if (status := getattr(error.response, "status_code", None)) and status < 500 and status not in (408, 429):
                raise _refused(name, asked, endpoint, status) from None
            broken: Exception = error
        except OfflineModeIsEnabled:
            raise UserError(
                "HF_HUB_OFFLINE=1",
                tr("downloads are switched off", "已关闭下载"),
                tr("unset it, or set MODEL= to a folder", "请取消该变量，或用 MODEL= 指定目录"),
            ) from None
        except (OSError, network_error(), LocalEntryNotFoundError) as error:
            if isinstance(error, OSError) and error.errno and not isinstance(error, network_error()):
                raise  # of the disk, not of the network
            broken = error
        if attempt < ATTEMPTS:
            time.sleep(PAUSE)
    raise UserError(
        f"MODEL={name}",
        tr(
            f"the download from {endpoint} broke off ({shorten_error(broken)})",
            f"从 {endpoint} 下载中断（{shorten_error(broken)}）",
        ),
        tr(
            "run the same command again: it goes on where it stopped; HF_ENDPOINT names a mirror, HUB=modelscope the other hub",
            "再次运行同一命令即可续传；HF_ENDPOINT 可指定镜像，HUB=modelscope 换用另一个仓库",
        ),
    )


def find_endpoint() -> str:
    """The address of the hub that is asked: HF_ENDPOINT, else Hugging Face's."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def is_encrypted(endpoint: str) -> bool:
    """Whether nobody on the way reads what is sent to `endpoint`: over HTTPS, or to this machine itself."""
    address = urlsplit(endpoint)
    return address.scheme == "https" or address.hostname in ("localhost", "127.0.0.1", "::1")


def limit_silence(seconds: float) -> None:
    """Let every request of huggingface_hub that names no timeout have one: asking what a revision is names none."""
    import huggingface_hub
    from huggingface_hub.utils import _http

    if not hasattr(huggingface_hub, "configure_http_backend"):  # from 1.0 on; it has no requests, but HTTPX

        def start_client(factory=_http.default_client_factory):
            client = factory()
            client.timeout = seconds
            return client

        huggingface_hub.set_client_factory(start_client)
        return

    def start_session(factory=_http._default_backend_factory):
        session = factory()
        send = session.send
        session.send = lambda request, **options: send(
            request, **{**options, "timeout": options.get("timeout") or seconds}
        )
        return session

    huggingface_hub.configure_http_backend(start_session)


def network_error() -> type[Exception]:
    """The class of all that goes wrong on the network in this huggingface_hub: of requests, from 1.0 on of HTTPX."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(kind for kind in reversed(HfHubHTTPError.__mro__) if kind.__name__ in ("RequestException", "HTTPError"))


def _from_modelscope(name: str, asked: str, folder: Path, report: Callable[[str], None]) -> str:
    """Download from ModelScope through its package; returns the revision asked for, as it tells no commit."""
    try:
        from modelscope import snapshot_download
    except ImportError:
        raise UserError(
            "HUB=modelscope",
            tr("the package modelscope is not installed", "未安装 modelscope 包"),
            tr(
                "install it into the venv (pip install modelscope), or leave HUB out",
                "请在 venv 中安装它（pip install modelscope），或去掉 HUB",
            ),
        ) from None
    revision = "master" if asked == "main" else asked
    report(tr(f"downloading {name} @ {revision} from ModelScope", f"正在从 ModelScope 下载 {name} @ {revision}"))
    patterns = [*NEEDED, *(CODE if name.split("/")[0] in CODE_OWNERS else ())]
    try:
        snapshot_download(name, revision=revision, local_dir=str(folder), allow_patterns=patterns)
    except Exception as error:  # the package has errors of its own, of many kinds
        raise UserError(
            f"MODEL={name}",
            tr(
                f"the download from ModelScope failed ({shorten_error(error)})",
                f"从 ModelScope 下载失败（{shorten_error(error)}）",
            ),
            tr("run the same command again, or check the name", "请再次运行同一命令，或检查名字"),
        ) from None
    return revision


def _require_room(folder: Path, size: int) -> None:
    """Raise UserError where the disk has no room for `size` bytes, less what is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if free + there < size:
        raise UserError(
            folder,
            tr(f"{free >> 20} MiB free, {size >> 20} MiB needed", f"剩余 {free >> 20} MiB，需要 {size >> 20} MiB"),
            tr("free some disk space or set BUILD to another disk", "请清理磁盘，或把 BUILD 设到别的磁盘"),
        )


def _verify(folder: Path, hashes: dict[str, str]) -> None:
    """Hold each large file against the SHA-256 that the hub tells. A file that differs is deleted. Raises UserError."""
    for file, expected in hashes.items():
        if sha256(folder / file) != expected:
            (folder / file).unlink()
            raise UserError(
                folder / file,
                tr("differs from what the hub has", "与仓库中的文件不同"),
                tr("run the same command again: it is fetched anew", "再次运行同一命令会重新下载它"),
            )


def _refused(name: str, asked: str, endpoint: str, status: int) -> UserError:
    """The error of a hub that has nothing of that name, or does not give it."""
    if status in (401, 403):
        return UserError(
            f"MODEL={name}",
            tr(
                f"{endpoint} does not give it (HTTP {status}): there is none of that name, or its licence must be accepted",
                f"{endpoint} 拒绝提供（HTTP {status}）：没有这个名字，或需要先同意其许可",
            ),
            tr(
                f"check the name; accept the licence at {endpoint}/{name} and set HF_TOKEN",
                f"请检查名字；在 {endpoint}/{name} 同意许可并设置 HF_TOKEN",
            ),
        )
    return UserError(
        f"MODEL={name}",
        tr(
            f"neither a folder here nor a model with REVISION={asked} at {endpoint} (HTTP {status})",
            f"这里没有这个目录，{endpoint} 上也没有 REVISION={asked} 的这个模型（HTTP {status}）",
        ),
        tr("check the name and REVISION", "请检查名字和 REVISION"),
    )


def shorten_error(error: BaseException) -> str:
    """Its kind and its text on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]
