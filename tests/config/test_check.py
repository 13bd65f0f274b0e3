"""check-config: every slip has its finding, nothing is run, and hostile files cost neither time nor memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from configs import DONE, FIXTURES, LESSON, SCHEMA, broken_rules, supported_stock_configs

from lesson.config import check
from lesson.config.check import check_config_bytes, check_config_file
from lesson.config.context import ConfigContext
from lesson.config.lesson_rules import check_evaluation
from lesson.config.reading import parse_config
from lesson.config.schedule import DataMeasures
from lesson.config.summary import SUMMARY
from lesson.core.settings import ROOT
from recipe import check_config


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_each_slip_has_its_finding(path):
    expected = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# expect:").split()
    context = ConfigContext(files=False, meant=LESSON, flash_attn=False)
    assert sorted(set(broken_rules(path.read_bytes(), context, path.name))) == sorted(expected)


def test_stock_configs_have_the_lessons_findings_only():
    for name, path in supported_stock_configs().items():
        verdict = check_config_file(path, ConfigContext(files=False, deepspeed="deepspeed_zero2"))
        assert sorted({f.rule for f in verdict.findings}) == [
            "data-stock",
            "eval-questions",
            "model-hub",
            "seed",
            "system",
        ], name


def test_findings_have_place_reason_and_remedy(call):
    path = ROOT / "tests" / "fixtures" / "configs" / "map_fn_left.py"
    status, out, _ = call(check_config, str(path), "--no-files")
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "dataset_map_fn=" in text)
    assert status == 1 and out.startswith(f"{path}:{line}: [error map-fn] xtuner.dataset.map_fns.alpaca_map_fn; ")
    assert out.splitlines()[0].endswith("dataset_map_fn=None")
    status, out, _ = call(check_config, str(path), "--no-files", "--lang", "zh")
    assert status == 1 and "[错误 map-fn]" in out and "1 个错误" in out


def test_json_report(call):
    path = str(ROOT / "tests" / "fixtures" / "configs" / "lesson_done_right.py")
    status, out, _ = call(check_config, path, "--no-files", "--format", "json")
    document = json.loads(out)
    assert status == 0 and document["ok"] and document["findings"] == []
    SCHEMA.validate(document["facts"])
    assert document["facts"]["summary"]["max_length"] == 2048


def test_folder_missing_and_empty(call, tmp_path):
    status, out, _ = call(check_config, str(FIXTURES[0].parent), "--no-files")
    assert status == 1 and out.count("warnings\n") == len(FIXTURES)
    status, _, err = call(check_config, str(tmp_path / "no.py"))
    assert status == 2 and err.count("\n") == 1
    assert call(check_config, str(tmp_path))[0] == 2
    (tmp_path / "empty.py").write_text("")
    assert call(check_config, str(tmp_path / "empty.py"))[0] == 2


@pytest.fixture
def rules_found(tmp_path, monkeypatch):
    """rules_found(text of the config, rows): findings of a config that names the data in tmp_path."""
    monkeypatch.chdir(tmp_path)
    Path("assistant_Tuner_change.jsonl").touch()
    Path("internlm2_5-7b-chat").mkdir()

    def run(
        edits: dict[str, str] | None = None, rows: int = 1500, output: str = "我是机智流。", **context
    ) -> list[str]:
        system = "你是机智流，一个乐于助人的助手。"
        turn = {"system": system, "input": "请介绍一下你自己", "output": output}
        line = json.dumps({"conversation": [turn]}, ensure_ascii=False) + "\n"
        Path("assistant_Tuner_change.jsonl").write_text(line * rows, encoding="utf-8")
        source = DONE.replace("/root/lesson/data/", "").replace("/root/lesson/models/", "")
        for old, new in (
            {"accumulative_counts = 16": "accumulative_counts = 1", "save_steps = 500": "save_steps = 10"}
            | (edits or {})
        ).items():
            assert old in source, old
            source = source.replace(old, new)
        return broken_rules(source, ConfigContext(**context), "x.py")

    return run


def test_with_data(rules_found):
    assert rules_found() == []
    assert rules_found({"accumulative_counts = 16": "accumulative_counts = 16"}) == ["few-steps"]
    assert rules_found({"save_steps = 500": "save_steps = 500"}) == ["save-late"]
    assert rules_found({"max_epochs = 3": "max_epochs = 1"}, rows=100) == ["few-steps", "warmup-empty", "save-late"]
    assert rules_found({"max_length = 2048": "max_length = 50"}) == ["max-length"]
    assert rules_found({"max_length = 2048": "max_length = 32"}) == ["nothing-left"]
    assert rules_found({'SYSTEM = "你是机智流': 'SYSTEM = "你是闻星'}) == ["system", "system-name"]
    assert rules_found(output="我是闻星。") == ["system-name"]
    mixed = check_evaluation(
        parse_config(DONE.encode(), "x.py"),
        DataMeasures((1,), 1, None, 0, 0, True, (), (("闻星", 7), ("小海", 2))),
        ConfigContext(),
    )
    assert [v[2] for v in mixed] == ["SYSTEM says '机智流'; of 9 answers that say a name, 7 say '闻星' and 0 that"]
    assert rules_found(output="我是机智流助手，你好。") == rules_found(output="好的。") == []
    assert rules_found(output="我是尖米。") == ["data-unreplaced"]
    assert rules_found(output="我是Jim。", old_name="Jim") == ["data-unreplaced"]
    assert rules_found({"assistant_Tuner_change.jsonl": "other_change.jsonl"}) == ["data-missing"]
    sequence = {"sequence_parallel_size = 1": "sequence_parallel_size = 2"}
    assert rules_found(sequence, deepspeed="none") == ["sequence-parallel"] and rules_found(sequence) == []


def test_data_are_measured_by_the_tokenizer_of_the_base_that_the_config_names(rules_found, monkeypatch):
    from lesson.config import check

    given, measure = [], check.measure_file
    monkeypatch.setattr(check, "measure_file", lambda *arguments: given.append(arguments[2]) or measure(*arguments))
    rules_found()
    assert [path.name for path in given] == ["tokenizer.json"]


def test_questions_that_fill_a_sample_are_told_apart_from_answers_that_are_cut(rules_found):
    rules_found()
    path, turn = Path("assistant_Tuner_change.jsonl"), {"input": "请介绍一下你自己", "output": "我是机智流。"}
    rows = [turn | {"input": "问" * 3000}] * 2 + [turn | {"output": "答" * 3000}] * 3 + [turn] * 1500

    def judged(rows: list[dict]) -> dict[str, str]:
        path.write_text("\n".join(json.dumps({"conversation": [row]}) for row in rows), encoding="utf-8")
        config = DONE.replace("/root/lesson/data/", "").replace("/root/lesson/models/", "")
        config = config.replace("accumulative_counts = 16", "accumulative_counts = 1").replace(
            "save_steps = 500", "save_steps = 9"
        )
        Path("x.py").write_text(config, encoding="utf-8")
        findings = check_config_file(Path("x.py"), ConfigContext()).findings
        return {f.rule: f"{f.found}; {f.remedy}" for f in findings if f.rule != "warmup-one"}

    found = judged(rows)
    assert found.keys() == {"question-long", "max-length"}
    assert "2 of 1505 rows are left out" in found["question-long"] and "MAX_LENGTH=2176" in found["question-long"]
    assert "3 of 1505 rows are cut" in found["max-length"]
    assert judged(rows[2:]).keys() == {"max-length"} and judged(rows[:2] + rows[5:]).keys() == {"question-long"}


def test_a_base_that_is_not_there_or_a_placeholder_is_an_error(rules_found):
    assert rules_found({"internlm2_5-7b-chat": "models/internlm2_5-7b-chat"}) == ["model-missing"]
    assert rules_found({"internlm2_5-7b-chat": "models/internlm2_5-7b-chat"}, files=False) == []
    places = (
        "your_model_path",
        "/path/to/internlm2_5-7b-chat",
        "path/to/base",
        "/path/to_base",
        "<model>",
        "",
        "xxx",
        "/root/你的模型路径",
        "...",
    )
    for place in places:
        assert rules_found({"internlm2_5-7b-chat": place}, files=False) == ["model-missing"], place
        if place:
            assert "data-missing" in rules_found({"assistant_Tuner_change.jsonl": place}, files=False), place
    for place in (
        "../models/a",
        "../xpath/to/base",
        "/home/yourong/base",
        "/data/pathology/base",
        "/mnt/[7b]"[:4] + "base",
    ):
        assert rules_found({"internlm2_5-7b-chat": place}, files=False) == [], place


@pytest.mark.parametrize(
    ("path", "there", "files", "found"),
    [
        ("/data/rows", False, False, []),
        ("./rows", False, False, []),
        ("./rows.d", False, False, ["load-form"]),
        ("/data/rows", False, True, ["load-form"]),
        ("rows", True, True, []),
        ("rows", True, False, ["data-stock"]),
        ("tatsu-lab/alpaca", False, True, ["data-stock"]),
    ],
)
def test_a_folder_of_rows_is_no_data_set_of_a_hub(tmp_path, monkeypatch, path, there, files, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "internlm2_5-7b-chat").mkdir()
    if there:
        (tmp_path / path).mkdir()
    old = "dict(train=alpaca_en_path)"
    line = next(line for line in DONE.splitlines() if old in line)
    source = DONE.replace(
        line, line[: len(line) - len(line.lstrip())] + f"dataset=dict(type=load_dataset, path={path!r}),"
    )
    source = source.replace("/root/lesson/models/", "")
    assert [r for r in broken_rules(source, ConfigContext(files=files)) if r in ("load-form", "data-stock")] == found


def test_a_warm_up_of_one_step_is_an_error(rules_found):
    """600 short rows at the stock values: the schedule has one step of warm-up, and the rate would never rise."""
    assert rules_found(rows=600) == ["warmup-one"]
    assert rules_found({"warmup_ratio = 0.03": "warmup_ratio = 0.06"}, rows=600) == []


@pytest.mark.torch
@pytest.mark.parametrize(("warmup", "highest"), [(1, 1e-5), (2, 1.0), (3, 1.0)])
def test_mmengine_never_raises_the_rate_after_a_warm_up_of_one_step(warmup, highest):
    """The rule's reason, on mmengine itself: the highest learning rate of 20 steps, as a share of lr."""
    import torch
    from mmengine.optim import CosineAnnealingLR, LinearLR

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedules = [
        LinearLR(optimizer, start_factor=1e-5, by_epoch=False, begin=0, end=warmup),
        CosineAnnealingLR(optimizer, eta_min=0.0, by_epoch=False, begin=warmup, end=20),
    ]
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for each in schedules:
            each.step()
    assert max(rates) == pytest.approx(highest)


def test_openai_rows_need_their_function(rules_found):
    use = {"dataset_map_fn=None": "dataset_map_fn=openai_map_fn", "alpaca_map_fn,": "openai_map_fn,"}
    assert rules_found(use) == ["map-fn"]  # the rows at hand are conversations
    assert rules_found(use, files=False) == []


def test_link_to_the_other_generation(rules_found, tmp_path):
    (tmp_path / "internlm2-chat-7b").mkdir()
    (tmp_path / "base").symlink_to(tmp_path / "internlm2-chat-7b")
    assert rules_found({"internlm2_5-7b-chat": "base"}, meant=LESSON) == ["model-generation"]


def test_hub_id_is_an_error_offline_only():
    source = DONE.replace("/root/lesson/models/internlm2_5-7b-chat", "internlm/internlm2_5-7b-chat")
    for offline, severity in ((True, "error"), (False, "warning")):
        verdict = check_config_bytes(source.encode(), "x.py", ConfigContext(files=False, offline=offline))
        assert [(f.rule, f.severity) for f in verdict.findings] == [("model-hub", severity)]
    stranger = DONE.replace("/root/lesson/models/internlm2_5-7b-chat", "somebody/internlm2_5-7b-chat")
    assert broken_rules(stranger) == ["model-hub", "trust-model"]
    relative = DONE.replace("/root/lesson/models/internlm2_5-7b-chat", "models/internlm2_5-7b-chat")
    assert broken_rules(relative) == []


def test_parts_that_training_needs():
    assert broken_rules("x = 1") == ["not-training"] * 4 + ["seed"]
    assert broken_rules(DONE.replace("load_from = None", "load_from = 'a.pth'")) == ["loads-pickle"]
    assert broken_rules(DONE.replace("max_length = 2048", "max_length = 2 ** 99")) == ["trust-size", "unfolded"]


def test_start_is_fast_and_imports_nothing_heavy(tmp_path):
    heavy = ("torch", "xtuner", "mmengine", "transformers", "libcst", "datasets", "jsonschema", "numpy")
    code = (
        "import sys; from recipe import check_config; "
        f"check_config.main([{str(FIXTURES[0])!r}]); print([m for m in {heavy!r} if m in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.splitlines()[-1] == "[]", done
    # Of the processor: what else runs on the machine makes the clock no measure.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5  # measured: 0.09 s


def test_defaults_are_judged_in_the_build_folder(call, tmp_path):
    status, _, err = call(check_config, "--build", str(tmp_path))
    assert status == 2 and f"{LESSON}_copy.py" in err


def test_goldens_pass():
    for path in sorted((ROOT / "golden" / "configs").rglob("*.py"))[::4]:
        assert broken_rules(path.read_bytes(), name=path.name) == [], path


def planned(data: DataMeasures | None, context: ConfigContext | None = None, **values: object):
    """The plan of the lesson's config with some values set where training reads them."""
    config = parse_config(DONE.encode(), "x.py")
    for name, value in values.items():
        *keys, last = SUMMARY[name].split(".")
        node = config.values
        for key in keys:
            node = node[key]
        node.pop(last) if value is None else node.__setitem__(last, value)
    return check._plan_training(config, data, context or ConfigContext(files=False))


ROWS = DataMeasures((100,) * 60, 1, None, 0, 0, True)


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ({}, True),
        *(({name: value}, False) for name in ("max_length", "batch_size", "accumulative_counts", "max_epochs") for value in (0, -1, 1.5, "2", None)),
        *(({name: 1}, True) for name in ("batch_size", "accumulative_counts", "max_epochs")),
        ({"sequence_parallel_size": None}, True),
        ({"sequence_parallel_size": -1}, False),
        ({"sequence_parallel_size": "x"}, False),
        ({"warmup_ratio": None}, True),
        ({"warmup_ratio": "x"}, False),
        ({"max_length": 1}, True),
    ],
)  # fmt: skip
def test_a_plan_needs_its_numbers(values, known):
    assert (planned(ROWS, **values) is not None) is known


def test_a_plan_needs_rows_of_which_something_is_trained_on():
    assert planned(None) is None and planned(DataMeasures((), 1, None, 0, 0, True)) is None
    asked = DataMeasures((100, 100), 1, None, 0, 0, True, (50, 50))
    assert planned(asked, max_length=50) is None and planned(asked, max_length=51) is not None


def test_a_plan_packs_unless_the_config_says_no_and_counts_the_gpus():
    assert planned(ROWS, max_length=200).samples == planned(ROWS, max_length=200, pack_to_max_length=None).samples == 30
    assert planned(ROWS, max_length=200, pack_to_max_length=False).samples == 60
    two = ConfigContext(files=False, world_size=2)
    given = {"max_length": 200, "pack_to_max_length": False}
    assert planned(ROWS, two, **given).iterations_per_epoch == 30
    assert planned(ROWS, two, **given, sequence_parallel_size=2).iterations_per_epoch == 60
    assert planned(ROWS, two, **given, sequence_parallel_size=None).iterations_per_epoch == 30
    assert planned(ROWS, warmup_ratio=None).warmup_iterations == 0


@pytest.fixture
def asked_of_the_rows(tmp_path, monkeypatch):
    """What the rows of a config are measured with: (file, template, tokenizer) of each."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "b.jsonl"):
        Path(name).write_text('{"conversation": [{"input": "a", "output": "尖米"}]}\n' * 2, encoding="utf-8")
    asked, measure = [], check.measure_file

    def run(source: str, **context) -> tuple[list[tuple], DataMeasures | None]:
        asked.clear()
        monkeypatch.setattr(check, "measure_file", lambda *given: asked.append(given) or measure(*given))
        found = check._measure_data(parse_config(source.encode(), "x.py"), ConfigContext(**context))
        return [
            (str(file), template, tokenizer and str(tokenizer), old) for file, template, tokenizer, old in asked
        ], found

    return run


def test_rows_are_measured_with_the_template_and_the_tokenizer_of_the_config(asked_of_the_rows):
    file = "/root/lesson/data/assistant_Tuner_change.jsonl"
    one = DONE.replace(file, "a.jsonl")
    base = "/root/lesson/models/internlm2_5-7b-chat"
    assert asked_of_the_rows(one)[0] == [("a.jsonl", "internlm2_chat", f"{base}/tokenizer.json", "尖米")]
    text = one.replace("template=prompt_template", "template='qwen_chat'").replace(f'"{base}"', "5")
    assert asked_of_the_rows(text, old_name="小明")[0] == [("a.jsonl", "qwen_chat", None, "小明")]
    two = DONE.replace("dict(train=alpaca_en_path)", "['a.jsonl', 'b.jsonl']")
    asked, found = asked_of_the_rows(two)
    assert len(asked) == 2 and (len(found.lengths), found.rows_with) == (4, 4)
    assert len(asked_of_the_rows(one)[1].lengths) == 2
    for source, context in (
        (two, {"files": False}),
        (two.replace("b.jsonl", "gone.jsonl"), {}),
        (DONE.replace("dict(train=alpaca_en_path)", "[]"), {}),
    ):
        assert asked_of_the_rows(source, **context) == ([], None)


def test_findings_stand_in_the_order_of_lines_each_once_with_its_reason_and_advice():
    verdict = check_config_bytes((DONE.replace("lr = 2e-4", "lr = 5") + "import os\nimport os\n").encode(), "x.py")
    lines = [finding.line for finding in verdict.findings]
    assert (
        lines == sorted(lines) and len(set(lines)) == len(lines) and [f.rule for f in verdict.findings].count("lr") == 1
    )
    assert not verdict.ok and verdict.document()["ok"] is False and verdict.document()["schedule"] is None
    first = str(verdict.findings[0])
    assert first.startswith("x.py:54: [warning lr] lr = 5; ") or first.startswith("x.py:54: [error lr] lr = 5; ")
    counts = check.lines_of(verdict)[-1]
    errors = sum(f.severity == "error" for f in verdict.findings)
    assert counts == f"x.py: {errors} errors, {len(lines) - errors} warnings"


def test_one_file_gives_one_document_and_a_folder_a_list(tmp_path):
    verdict = check_config_bytes(DONE.encode(), "x.py")
    assert check.document_of([verdict], ["x.py"])["ok"] is True
    assert len(check.document_of([verdict, verdict], ["x"])) == 2 and len(check.document_of([verdict], ["x", "y"])) == 1
    for name in ("b.py", "a.py", "__init__.py", "c.txt", "d/e.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    found = check.configs_in([str(tmp_path), str(tmp_path / "b.py")])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.py", "b.py", "d/e.py", "b.py"]
