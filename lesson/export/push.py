"""make push: an export to a repository on Hugging Face's hub, only what stands in its SHA256SUMS, private unless asked.

The token comes from HF_TOKEN alone: one that another program has stored is not used. Files that the hub has already are
not sent again, so that the same command goes on after a break and ends at once when nothing changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lesson.core.files import read_json, readable
from lesson.core.locks import lock_output
from lesson.core.messages import UserError, tr
from lesson.core.records import find_record
from lesson.core.settings import Values
from lesson.export.card import SUMS
from lesson.export.make import ADAPTER, SIGNATURE, choose_quant, export_folder
from lesson.model.hub import find_endpoint, is_encrypted, limit_silence, network_error, shorten_error
from lesson.runs.chosen import find_chosen_run
from lesson.runs.folder import Run

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import CommitOperationAdd, ModelInfo

SILENCE = 120.0  # seconds; a hub may think that long over a commit of many gigabytes
SUM = re.compile(r"([0-9a-f]{64})  (.+)")
OF_THE_HUB = (".gitattributes",)  # files of a repository that the hub itself puts there


@dataclass(frozen=True)
class Pushed:
    """A repository that holds the export now: its address, its commit, whether this call changed it, and the files in it
    that are not of this export."""

    url: str
    commit: str
    changed: bool
    others: tuple[str, ...]


def push_export(values: Values, form: str, report: Callable[[str], None], progress: TextIO) -> Pushed:
    """Upload the export in the form `form` of the run trained last to the repository REPO.

    `report` gets what is going to be uploaded, and where, before anything is. Bars go to `progress`. Raises UserError when
    there is no such export, a file of it changed, or the hub does not take it.
    """
    repo, token, endpoint = require_repo(values), require_token(), require_encrypted(find_endpoint())
    run = find_chosen_run(values)
    folder = export_folder(run, form, choose_quant(values))
    command = f"make export FORMAT={form}" + (f" QUANT={choose_quant(values)}" if folder.name != form else "")
    if not folder.is_dir():
        raise UserError(folder, tr("not there yet", "还没有"), tr(f"run {command}", f"请先运行 {command}"))
    with lock_output(folder, shared=True):
        sums = read_sums(folder, command)
        require_current(run, folder, form, command)
        with hub_errors(repo, endpoint):
            api = open_hub(endpoint, token, progress)
            require_owner(api, repo)
            there = find_repository(api, repo, values.public)
            for line in describe_upload(folder, sums, repo, endpoint, there, values.public):
                report(line)
            report(tr(f"comparing the files with {SUMS}", f"正在与 {SUMS} 比较"))
            operations = check_files(folder, sums, command)
            if there is None:
                create_repository(api, repo, values.public)
            before = api.model_info(repo).sha
            made = commit_files(api, repo, operations, f"Upload {folder.name}", before)
            now = api.model_info(repo, revision=made, files_metadata=True)
    require_arrived(now, operations, repo)
    others = {file.rfilename for file in now.siblings or []} - sums.keys() - {*OF_THE_HUB}
    return Pushed(f"{endpoint}/{repo}", made, made != before, tuple(sorted(others)))


def require_repo(values: Values) -> str:
    """REPO. Raises UserError without it, or in another form than owner/name."""
    if not values.text("REPO"):
        raise UserError(
            "REPO", tr("not set", "没有设置"), tr("make push REPO=OWNER/NAME", "请用 make push REPO=OWNER/NAME")
        )
    return values.repo


def require_token() -> str:
    """The token in HF_TOKEN. Raises UserError without one, or for text that is none."""
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token or not re.fullmatch(r"[\x21-\x7e]+", token):
        found = tr("is no token", "不是令牌") if token else tr("not set", "没有设置")
        raise UserError(
            "HF_TOKEN",
            found,
            tr(
                "create a token with write permission in the settings of your account on the hub, then: "
                "read -rs HF_TOKEN; export HF_TOKEN",
                "请在模型仓库的账号设置里建立有写权限的令牌，然后运行：read -rs HF_TOKEN; export HF_TOKEN",
            ),
        )
    return token


def require_encrypted(endpoint: str) -> str:
    """`endpoint`. Raises UserError for one where the token would go over the network in plain text."""
    if not is_encrypted(endpoint):
        safe = f"https://{endpoint.partition('://')[2] or endpoint}"
        raise UserError(
            f"HF_ENDPOINT={endpoint}",
            tr("your token would go there unencrypted", "令牌会以明文传到那里"),
            tr(f"set HF_ENDPOINT={safe}, or unset it", f"请设 HF_ENDPOINT={safe}，或取消该变量"),
        )
    return endpoint


def read_sums(folder: Path, command: str) -> dict[str, str]:
    """{file: SHA-256} of what goes up: all of SHA256SUMS, in `folder`. Raises UserError when it is missing or no such list.

    The list itself and its signature are not in it; they are added where they lie, without a hash.
    """
    remedy = tr(f"run {command} FORCE=1", f"请运行 {command} FORCE=1")
    lines = readable(folder / SUMS, remedy).read_text(encoding="utf-8").splitlines()
    found = {match[2]: match[1] for match in map(SUM.fullmatch, lines) if match}
    if not found or len(found) != len(lines):
        raise UserError(folder / SUMS, tr("not a list of hashes", "不是哈希列表"), remedy)
    return (
        found
        | {SUMS: ""}
        | ({SIGNATURE: ""} if (find_record(folder) or {}).get("parameters", {}).get("signed") else {})
    )


def require_current(run: Run, folder: Path, form: str, command: str) -> None:
    """Raise UserError when the adapter or the merged model was made again since `folder` was exported."""
    record = find_record(folder) or {}
    source = find_record(run.adapter if form == ADAPTER else run.merged) or {}
    if record.get("inputs", {}).get("model") != source.get("output"):
        raise UserError(
            folder,
            tr("the model was made again since this export", "导出之后模型又重新生成过"),
            tr(f"run {command}", f"请先运行 {command}"),
        )


def open_hub(endpoint: str, token: str, progress: TextIO) -> HfApi:
    """The hub's client, with this token for every request and an end to every silence."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    if not progress.isatty():
        disable_progress_bars()
    limit_silence(SILENCE)
    return HfApi(endpoint=endpoint, token=token)


def require_owner(api: HfApi, repo: str) -> None:
    """Raise UserError when the token's owner is neither the owner of `repo` nor in that organisation."""
    who = api.whoami()
    names = [who["name"], *(organisation["name"] for organisation in who.get("orgs", []))]
    owner = repo.split("/")[0]
    if owner.lower() not in (name.lower() for name in names):
        shown = ", ".join(names)
        raise UserError(
            f"REPO={repo}",
            tr(f"belongs to {owner}; HF_TOKEN is of {shown}", f"属于 {owner}；HF_TOKEN 属于 {shown}"),
            tr(f"set REPO={names[0]}/{repo.split('/')[1]}", f"请设 REPO={names[0]}/{repo.split('/')[1]}"),
        )


def find_repository(api: HfApi, repo: str, public: bool) -> ModelInfo | None:
    """What the hub has under this name, None without one. Raises UserError for a public one, unless `public`."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        there = api.model_info(repo)
    except RepositoryNotFoundError:
        return None
    if not there.private and not public:
        raise UserError(
            f"REPO={repo}",
            tr("is public: everybody would see the upload", "是公开的：所有人都能看到上传的内容"),
            tr("add PUBLIC=1, or name another REPO", "请加 PUBLIC=1，或换一个 REPO"),
        )
    return there


def describe_upload(
    folder: Path, sums: Mapping[str, str], repo: str, endpoint: str, there: ModelInfo | None, public: bool
) -> Iterator[str]:
    """What is going to be uploaded, and where, as lines."""
    if there is None:
        seen = tr("public", "公开") if public else tr("private", "私有")
        state = tr(f"a new repository, {seen}", f"新建仓库，{seen}")
    elif there.private:
        state = tr("there already, private", "已有的仓库，私有")
    else:
        state = tr("there already, public", "已有的仓库，公开")
    sizes = {name: (folder / name).lstat().st_size if os.path.lexists(folder / name) else 0 for name in sums}
    total = f"{sum(sizes.values()) / 2**20:.1f} MiB"
    yield tr(
        f"uploading {folder} ({total}) to {endpoint}/{repo} ({state}):",
        f"即将把 {folder}（{total}）上传到 {endpoint}/{repo}（{state}）：",
    )
    for name, size in sizes.items():
        yield f"  {name}  {size / 2**20:.1f} MiB"
    files = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    if left := [name for name in files if name not in sums]:
        names = ", ".join(left[:5]) + (", …" if len(left) > 5 else "")
        yield tr(f"not in {SUMS}, stays here: {names}", f"不在 {SUMS} 中，不上传：{names}")
    config = folder / "adapter_config.json"
    if config.is_file():
        base = str(read_json(config, "").get("base_model_name_or_path"))
        if base.startswith("/"):
            yield tr(
                f"note: the adapter names its base by a path of this machine, which others will read: {base}",
                f"注意：适配器用本机路径指明基座，别人会看到：{base}",
            )


def check_files(folder: Path, sums: Mapping[str, str], command: str) -> list[CommitOperationAdd]:
    """The files of `sums` as they are uploaded. Raises UserError for one that is not what its hash says."""
    from huggingface_hub import CommitOperationAdd

    operations = []
    for name, expected in sums.items():
        path = folder / name
        outside = not path.resolve().is_relative_to(folder.resolve())
        if outside or path.is_symlink() or not path.is_file():
            wrong = tr("is not a file of the export", "不是导出的文件")
        else:
            operation = CommitOperationAdd(name, path)
            operations.append(operation)
            if not expected or operation.upload_info.sha256.hex() == expected:
                continue
            wrong = tr("was changed since it was exported", "导出后被修改过")
        raise UserError(
            path,
            wrong,
            tr(f"nothing was uploaded; run {command} FORCE=1", f"没有上传任何内容；请运行 {command} FORCE=1"),
        )
    return operations


def require_arrived(now: ModelInfo, operations: list[CommitOperationAdd], repo: str) -> None:
    """Raise UserError where the commit has not each file as it lies here (a .gitignore there leaves files out)."""
    from huggingface_hub.utils.sha import git_hash

    there = {file.rfilename: file for file in now.siblings or []}
    for operation in operations:
        file = there.get(operation.path_in_repo)
        if file is not None and file.lfs:
            same = file.lfs.sha256 == operation.upload_info.sha256.hex()
        elif file is not None and file.blob_id:
            with operation.as_file() as here:
                same = file.blob_id == git_hash(here.read())
        else:
            same = file is not None and file.size == operation.upload_info.size
        if not same:
            raise UserError(
                f"REPO={repo}: {operation.path_in_repo}",
                tr("did not arrive", "没有到达"),
                tr(
                    "remove the .gitignore in that repository, or name another REPO",
                    "请删除该仓库中的 .gitignore，或换一个 REPO",
                ),
            )


def create_repository(api: HfApi, repo: str, public: bool) -> None:
    """A new repository on the hub. A mirror's answer may name another host, which huggingface_hub takes for an error
    (ValueError) although the repository is there: then the hub is asked for it."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(repo, private=not public, exist_ok=True)
    except HfHubHTTPError:
        raise
    except ValueError:
        if find_repository(api, repo, public) is None:
            raise


def commit_files(api: HfApi, repo: str, operations: list[CommitOperationAdd], message: str, before: str) -> str:
    """Upload the files and make one commit of them, after the commit `before`; returns its hash. A mirror's answer may
    name another host, as in `create_repository`: then the hub is asked which commit it has."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return api.create_commit(repo, operations, commit_message=message).oid
    except HfHubHTTPError:
        raise
    except ValueError:
        if (now := api.model_info(repo).sha) == before:
            raise
        return now


@contextmanager
def hub_errors(repo: str, endpoint: str) -> Iterator[None]:
    """Errors of huggingface_hub in the block as UserError, each with what can be done."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise UserError(
            "HF_HUB_OFFLINE=1", tr("uploads are switched off", "已关闭上传"), tr("unset it", "请取消该变量")
        ) from None
    except (network_error(), RuntimeError, ValueError, OSError) as error:
        causes = [error]
        while causes[-1].__cause__ is not None:
            causes.append(causes[-1].__cause__)
        answered = [e for e in causes if getattr(e, "response", None) is not None]
        if answered:
            raise refusal_of(repo, endpoint, answered[-1].response.status_code, shorten_error(error)) from None
        if isinstance(error, OSError) and not isinstance(error, network_error()):
            raise  # of the disk here
        raise UserError(
            endpoint,
            tr(f"the upload broke off ({shorten_error(causes[-1])})", f"上传中断（{shorten_error(causes[-1])}）"),
            tr(
                "check the network and HF_ENDPOINT, then run the same command again: files that arrived are not sent again",
                "请检查网络和 HF_ENDPOINT，再运行同一命令：已到达的文件不会重传",
            ),
        ) from None


def refusal_of(repo: str, endpoint: str, status: int, said: str) -> UserError:
    """The error for an answer of the hub with an HTTP status from 400; `said` is its text."""
    if status == 401:
        return UserError(
            "HF_TOKEN",
            tr(f"{endpoint} does not know this token (HTTP 401)", f"{endpoint} 不认识这个令牌（HTTP 401）"),
            tr("set a valid one; tokens expire and can be revoked", "请换一个有效的令牌；令牌会过期，也会被撤销"),
        )
    if status in (403, 404):
        return UserError(
            f"REPO={repo}",
            tr(
                f"{endpoint} does not let this token write there (HTTP {status})",
                f"{endpoint} 不允许这个令牌写入（HTTP {status}）",
            ),
            tr("give the token write permission, or name a REPO of your own", "请给令牌写权限，或换成自己的 REPO"),
        )
    return UserError(
        endpoint,
        f"HTTP {status} ({said})",
        tr("run the same command again later", "请稍后再次运行同一命令"),
    )


def lines_of(pushed: Pushed) -> list[str]:
    """What the user reads afterwards."""
    lines = []
    if pushed.others:
        names = ", ".join(pushed.others[:5]) + (", …" if len(pushed.others) > 5 else "")
        lines.append(tr(f"also there, not of this export: {names}", f"仓库中还有不属于这次导出的文件：{names}"))
    if pushed.changed:
        lines.append(
            tr(f"uploaded: {pushed.url} @ {pushed.commit[:12]}", f"已上传：{pushed.url} @ {pushed.commit[:12]}")
        )
    else:
        lines.append(
            tr(f"up to date: {pushed.url} @ {pushed.commit[:12]}", f"已是最新：{pushed.url} @ {pushed.commit[:12]}")
        )
    return lines
