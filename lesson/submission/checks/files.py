"""Checks of a submission's package, data and config. No code of it is run."""

from __future__ import annotations

import json

from lesson.config.check import ConfigFinding, apply_rules
from lesson.config.context import ConfigContext
from lesson.config.rules import ERROR
from lesson.config.summary import data_file, lookup
from lesson.core.findings import Findings
from lesson.core.messages import tr
from lesson.core.text import shorten
from lesson.data import rows
from lesson.data.replace import Replacer
from lesson.data.residue import Residue, scan
from lesson.data.rows import Block, blocks
from lesson.data.rules import ROW_RULES
from lesson.data.validate import Validator
from lesson.runs.folder import run_id
from lesson.submission.evidence import MANIFEST, NEEDED, PARTS, Broken, Evidence
from lesson.submission.registry import SHOWN, Context, Failed, Skipped, check

AGAIN = "make submission"

# --- package -------------------------------------------------------------------------------------------------------------


@check("package")
def opens(evidence: Evidence, context: Context) -> str:
    """it opens safely: no links, no paths outside, no bombs | 可安全打开：没有链接、越界路径和压缩炸弹"""
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


@check("package")
def complete(evidence: Evidence, context: Context) -> str:
    """nothing is missing: config, data, log, adapter, answers | 内容齐全：配置、数据、日志、适配器、回答"""
    missing = [tr(*PARTS[part][1:]) + f" ({PARTS[part][0]})" for part in NEEDED if part not in evidence.parts]
    if missing:
        raise Failed(
            tr("missing: ", "缺少：") + ", ".join(missing),
            tr(f"{AGAIN} packs all of them from a finished run", f"{AGAIN} 会从训练结果中打包全部内容"),
        )
    return ", ".join(f"{part}: {shorten(name)}" for part, name in sorted(evidence.parts.items()))


@check("package")
def manifest(evidence: Evidence, context: Context) -> str:
    """submission.json is valid | submission.json 有效"""
    if evidence.manifest_error:
        raise Failed(evidence.manifest_error, AGAIN)
    if evidence.manifest is None:
        raise Skipped(tr("a plain folder, told by content", "没有 submission.json：按内容识别文件"))
    return tr(f"handed in by {shorten(evidence.manifest['who'])}", f"提交者：{shorten(evidence.manifest['who'])}")


@check("package", after=("manifest",))
def listed(evidence: Evidence, context: Context) -> str:
    """every listed file is there, and no other | 清单与文件一一对应"""
    named = {entry["path"] for entry in evidence.manifest["files"]}
    there = set(evidence.view.entries) - {MANIFEST}
    if named != there:
        places = [tr(f"missing: {n}", f"缺少：{n}") for n in sorted(named - there)]
        places += [tr(f"not listed: {shorten(n)}", f"清单外：{shorten(n)}") for n in sorted(there - named)]
        raise Failed(places[0], AGAIN, places)
    return tr(f"{len(named)} files", f"{len(named)} 个文件")


@check("package", after=("manifest",))
def hashes(evidence: Evidence, context: Context) -> str:
    """the files are those that were packed (SHA-256) | 文件与打包时一致（SHA-256）"""
    entries = evidence.view.entries
    listed_files = [entry for entry in evidence.manifest["files"] if entry["path"] in entries]
    changed = [
        entry["path"]
        for entry in listed_files
        if entries[entry["path"]].size != entry["bytes"] or evidence.view.sha256(entry["path"]) != entry["sha256"]
    ]
    if changed:
        raise Failed(
            tr(f"{changed[0]} was changed after it was packed", f"{changed[0]} 在打包后被修改"), AGAIN, changed
        )
    return tr(f"{len(listed_files)} equal", f"{len(listed_files)} 个一致")


@check("package")
def no_pickle(evidence: Evidence, context: Context) -> str:
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


# --- data ----------------------------------------------------------------------------------------------------------------


@check("data", "data")
def data_rules(evidence: Evidence, context: Context) -> str:
    """the rows are valid conversations | 数据行都是有效的对话"""
    name = evidence.parts["data"]
    findings = Findings(ROW_RULES)
    names = [n for n in (evidence.new_name,) if n]
    validator = Validator(name, findings, names, near=False)
    with evidence.view.open(name) as stream:
        for number, block in blocks(stream):
            validator.block(number, block and Block(block))
    validator.close()
    errors = [f for f in findings.sorted() if f.severity == ERROR]
    if errors:
        what = tr(f"{findings.errors} errors, the first: ", f"{findings.errors} 个错误，第一个：") + str(errors[0])
        raise Failed(what, errors[0].remedy, [str(f) for f in errors[:SHOWN]])
    if not validator.rows:
        raise Failed(tr("no rows", "没有数据行"), "make data")
    return next(iter(validator.facts()))


@check("data", "data", after=("data_rules",))
def replaced(evidence: Evidence, context: Context) -> str:
    """nothing is left of the old name | 旧名字已全部替换"""
    name, old = evidence.parts["data"], evidence.old_name
    findings = Findings(ROW_RULES)
    residues = [Residue(old, *filter(None, [evidence.new_name]))]
    with evidence.view.open(name) as stream:
        for number, block in blocks(stream):
            text = block.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
            scan(residues, findings, name, number, text)
    left = [f for f in findings.sorted() if f.severity == ERROR]
    if left:
        what = tr(f"{old} is left in {len(left)} places", f"还有 {len(left)} 处 {old}")
        raise Failed(what, tr("make data, then train again", "请运行 make data 后重新训练"), [str(f) for f in left])
    return tr(f"no {old}", f"没有 {old}")


@check("data", "data", after=("replaced",))
def named(evidence: Evidence, context: Context) -> str:
    """the rows say the new name | 数据里有新名字"""
    new = evidence.new_name
    if not new:
        raise Skipped(tr("no new name is declared", "没有声明新名字"))
    encoded, count = (new.encode(), json.dumps(new)[1:-1].encode()), 0
    with evidence.view.open(evidence.parts["data"]) as stream:
        for _, line in rows.lines(stream):
            count += line is not None and any(form in line for form in encoded)
    if count == 0:
        raise Failed(
            tr(f"no row says {shorten(new)}", f"没有一行提到 {shorten(new)}"), f"make data NEW_NAME={shorten(new)}"
        )
    return tr(f"{count} rows say {shorten(new)}", f"{count} 行提到 {shorten(new)}")


@check("data", "data", after=("data_rules",))
def source(evidence: Evidence, context: Context) -> str:
    """the rows are the course's, with only the name changed | 数据即课程数据，只改了名字"""
    if context.source is None:
        raise Skipped(tr("SOURCE is not given", "没有给出 SOURCE"))
    if not evidence.new_name:
        raise Skipped(tr("no new name is declared", "没有声明新名字"))
    replacer = Replacer([(evidence.old_name, evidence.new_name)])
    with rows.open_bytes(context.source) as stream:
        expected = [
            line
            for number, block in blocks(stream)
            if block is not None
            for line in replacer.block(Block(block), context.source, number).splitlines()
        ]
    with evidence.view.open(evidence.parts["data"]) as stream:
        found = [line for _, line in rows.lines(stream) if line is None or line.strip()]
    different = [i for i, (a, b) in enumerate(zip(expected, found, strict=False), 1) if a != b]
    if different or len(expected) != len(found):
        places = [f"{i}: {shorten((found[i - 1] or b'').decode(errors='replace'))}" for i in different[:SHOWN]]
        what = tr(
            f"{len(different)} rows differ from the replaced source, {len(found)} rows instead of {len(expected)}",
            f"{len(different)} 行与替换结果不同，共 {len(found)} 行，应为 {len(expected)} 行",
        )
        raise Failed(what, tr("make data from the course's source", "请用课程源数据运行 make data"), places)
    return tr(f"{len(found)} rows equal", f"{len(found)} 行一致")


# --- config --------------------------------------------------------------------------------------------------------------


def _config_findings(evidence: Evidence) -> list[ConfigFinding]:
    try:
        stock = evidence.record["config"] if "record" in evidence.parts else None
    except Broken:  # the check `record` says so
        stock = None
    context = ConfigContext(files=False, meant=stock, old_name=evidence.old_name)
    return [f for f in apply_rules(evidence.config, context).findings if f.severity == ERROR]


def _is_trust(rule: str) -> bool:
    return rule.startswith("trust-") or rule in ("syntax", "undefined", "base")


def _report(found: list[ConfigFinding], pass_text: str) -> str:
    if found:
        raise Failed(f"{found[0].found}; {found[0].why}", found[0].remedy, [str(f) for f in found])
    return pass_text


@check("config", "config")
def config_only(evidence: Evidence, context: Context) -> str:
    """the config only configures, and can be read without running it | 配置只含配置，不运行即可读懂"""
    return _report([f for f in _config_findings(evidence) if _is_trust(f.rule)], tr("nothing else", "没有其他内容"))


@check("config", "config", after=("config_only",))
def config_rules(evidence: Evidence, context: Context) -> str:
    """the config is the lesson's: its data, map function, base and questions | 配置符合课程：数据、映射函数、基座、问题"""
    found = [f for f in _config_findings(evidence) if not _is_trust(f.rule)]
    return _report(found, tr("no error", "没有错误"))


@check("config", "config", "data", after=("config_only",))
def config_data(evidence: Evidence, context: Context) -> str:
    """the config's system prompt is the data's | 配置里的 system 与数据一致"""
    system, line = lookup(evidence.config, "system")
    persona = evidence.data.persona
    if isinstance(system, str) and persona and system != persona:
        raise Failed(
            f"{evidence.parts['config']}:{line}: {shorten(system)} ≠ {shorten(persona)}",
            tr("make config after make data", "请在 make data 之后运行 make config"),
        )
    return shorten(str(data_file(evidence.config)))


@check("config", "config", "adapter_config", after=("config_only",))
def config_base(evidence: Evidence, context: Context) -> str:
    """config and adapter name the same base model | 配置与适配器指向同一基座"""
    path = lookup(evidence.config, "model_path")[0]
    names = {"config": path, "adapter": evidence.adapter_config.get("base_model_name_or_path")}
    if evidence.manifest:
        names["manifest"] = evidence.manifest["base"]
    if len({str(name).rstrip("/") for name in names.values()}) > 1:
        said = ", ".join(f"{key}: {shorten(str(name))}" for key, name in names.items())
        raise Failed(said, tr("convert the run that this config trained", "请转换该配置训练出的结果"))
    return shorten(str(path))


# --- run record ----------------------------------------------------------------------------------------------------------


@check("run", "record")
def record(evidence: Evidence, context: Context) -> str:
    """the run record is valid | 训练记录有效"""
    found = evidence.record
    return tr(f"run {found['id']}, {found['steps']} steps", f"训练 {found['id']}，{found['steps']} 步")


@check("run", "record", "config", "data", after=("record",))
def inputs(evidence: Evidence, context: Context) -> str:
    """what was trained is what was handed in: config and data by hash | 训练所用即所提交：配置与数据的哈希一致"""
    found = evidence.record
    wrong = [
        f"{part}: {evidence.parts[part]}"
        for part in ("config", "data")
        if evidence.view.sha256(evidence.parts[part]) != found["inputs"][part]
    ]
    if not wrong and found["id"] != run_id(found["inputs"], found["deepspeed"], found.get("processes", 1)):
        wrong = [f"id: {found['id']}"]
    if wrong:
        raise Failed(
            tr("not what the run was made from: ", "与训练时不同：") + ", ".join(wrong),
            tr("hand in the run that these files made", "请提交由这些文件训练出的结果"),
        )
    return found["id"]


@check("run", "record", after=("record",))
def names(evidence: Evidence, context: Context) -> str:
    """manifest, run and evaluation speak of the same names | 清单、训练记录与评测的名字一致"""
    said = {"record": evidence.record["names"]}
    if evidence.manifest:
        said["manifest"] = evidence.manifest["names"]
    if "evaluation" in evidence.parts:
        said["evaluation"] = evidence.evaluation["names"]
        if evidence.evaluation["run"] != evidence.record["id"]:
            raise Failed(
                tr("the evaluation is of another run: ", "评测属于另一次训练：") + evidence.evaluation["run"],
                "make eval",
            )
    if len({(n["old"], n["new"]) for n in said.values()}) > 1:
        shown = ", ".join(f"{key}: {shorten(n['old'])}→{shorten(n['new'])}" for key, n in said.items())
        raise Failed(shown, AGAIN)
    first = said["record"]
    return f"{shorten(first['old'])}→{shorten(first['new'])}"
