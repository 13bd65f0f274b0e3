"""Checks of how a submission is packed: it opens, is complete, and its files are those that were listed."""

from __future__ import annotations

from lesson.core.messages import tr
from lesson.core.text import shorten
from lesson.submission.archive.view import LARGEST
from lesson.submission.candidates import is_lfs_pointer
from lesson.submission.evidence import Evidence
from lesson.submission.parts import MANIFEST, NEEDED, PARTS
from lesson.submission.registry import Failed, Skipped, Unjudged, define_check
from lesson.submission.staff import StaffInputs

PACK_AGAIN = "make submission"


@define_check("package")
def opens(evidence: Evidence, staff: StaffInputs) -> str:
    """it opens safely: no paths outside, no bombs, no links that lead out | 可安全打开：没有越界路径、压缩炸弹和指向外面的链接"""
    view = evidence.view
    if view.problems:
        raise Failed(
            view.problems[0],
            tr("pack only regular files, below one folder", "请只打包同一目录下的普通文件"),
            view.problems,
        )
    return tr(
        f"{len(view.entries)} files, {view.total / 2**20:.1f} MiB",
        f"{len(view.entries)} 个文件，{view.total / 2**20:.1f} MiB",
    )


@define_check("package")
def complete(evidence: Evidence, staff: StaffInputs) -> str:
    """nothing is missing: config, data, log, adapter, answers | 内容齐全：配置、数据、日志、适配器、回答"""
    missing = [tr(*PARTS[part][1:]) + f" ({PARTS[part][0]})" for part in NEEDED if part not in evidence.parts]
    missing += [f"{tr(*PARTS['data'][1:])} ({shorten(name)})" for name in evidence.missing_data]
    played = [name for name in evidence.parts.values() if is_lfs_pointer(evidence.view, name)]
    pointers = played or (evidence.pointers if missing else [])
    if pointers:
        raise Failed(
            tr(
                f"{shorten(pointers[0])} is a pointer of Git LFS, the file itself is not there",
                f"{shorten(pointers[0])} 只是 Git LFS 指针，没有文件本身",
            ),
            tr("git lfs pull, then pack it again", "请先 git lfs pull，再重新打包"),
            [*missing, *pointers],
        )
    tables = [name for name in evidence.view.entries if name.lower().endswith((".parquet", ".arrow", ".csv"))]
    if tables and "data" not in evidence.parts:
        raise Unjudged(
            tr(
                f"{shorten(tables[0])}: rows in this format are not read", f"{shorten(tables[0])}：不读取这种格式的数据"
            ),
            tr("ask for the rows as JSON Lines", "请让学员另交 JSON Lines 格式的数据"),
        )
    if missing:
        raise Failed(
            tr("missing: ", "缺少：") + ", ".join(missing),
            tr(f"{PACK_AGAIN} packs all of them from a finished run", f"{PACK_AGAIN} 会从训练结果中打包全部内容"),
        )
    more = "".join(f", {shorten(name)}" for name in evidence.more_data)
    return ", ".join(f"{part}: {shorten(name)}" for part, name in sorted(evidence.parts.items())) + more


@define_check("package")
def manifest(evidence: Evidence, staff: StaffInputs) -> str:
    """submission.json is valid | submission.json 有效"""
    if evidence.manifest_error:
        raise Failed(evidence.manifest_error, PACK_AGAIN)
    if evidence.manifest is None:
        raise Skipped(tr("a plain folder, told by content", "没有 submission.json：按内容识别文件"))
    return tr(f"handed in by {shorten(evidence.manifest['who'])}", f"提交者：{shorten(evidence.manifest['who'])}")


@define_check("package", after=("manifest",))
def listed(evidence: Evidence, staff: StaffInputs) -> str:
    """every listed file is there, and no other | 清单与文件一一对应"""
    named = {entry["path"] for entry in evidence.manifest["files"]}
    there = set(evidence.view.entries) - {MANIFEST}
    if named != there:
        places = [tr(f"missing: {n}", f"缺少：{n}") for n in sorted(named - there)]
        places += [tr(f"not listed: {shorten(n)}", f"清单外：{shorten(n)}") for n in sorted(there - named)]
        raise Failed(places[0], PACK_AGAIN, places)
    return tr(f"{len(named)} files", f"{len(named)} 个文件")


@define_check("package", after=("manifest",))
def hashes(evidence: Evidence, staff: StaffInputs) -> str:
    """the files are those that were packed (SHA-256) | 文件与打包时一致（SHA-256）"""
    entries = evidence.view.entries
    listed_files = [entry for entry in evidence.manifest["files"] if entry["path"] in entries]
    total = sum(entries[entry["path"]].size for entry in listed_files)
    if total > LARGEST:  # checkpoints are not counted where nothing opens them; here they would be read
        raise Failed(
            tr(
                f"{total >> 20} MiB are listed, at most {LARGEST >> 20} can be",
                f"清单共 {total >> 20} MiB，最多 {LARGEST >> 20}",
            ),
            PACK_AGAIN,
        )
    changed = [
        entry["path"]
        for entry in listed_files
        if entries[entry["path"]].size != entry["bytes"] or evidence.view.sha256(entry["path"]) != entry["sha256"]
    ]
    if changed:
        raise Failed(
            tr(f"{changed[0]} was changed after it was packed", f"{changed[0]} 在打包后被修改"), PACK_AGAIN, changed
        )
    return tr(f"{len(listed_files)} equal", f"{len(listed_files)} 个一致")


@define_check("package")
def no_pickle(evidence: Evidence, staff: StaffInputs) -> str:
    """no file that runs code when loaded (.pth, .bin, .pkl) is needed | 不依赖加载时会执行代码的文件（.pth、.bin、.pkl）"""
    if not evidence.pickles:
        return tr("none there", "没有")
    if "adapter" in evidence.parts:  # XTuner's checkpoints beside an adapter: told, not opened, not wrong
        return tr("not opened: ", "未打开：") + ", ".join(map(shorten, evidence.pickles[:5]))
    raise Failed(
        tr("the weights are a pickle, which is never opened: ", "权重是 pickle，不会打开：")
        + shorten(evidence.pickles[0]),
        tr("convert with --safe-serialization (make convert)", "请用 --safe-serialization 转换（make convert）"),
        evidence.pickles,
    )
