"""check-config: every slip has its finding, nothing is run, and hostile files cost neither time nor memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.config import schedule
from lesson.config.check import check_config_bytes, check_config_file
from lesson.config.context import ConfigContext
from lesson.config.reading import parse_config, read_config
from lesson.config.rules import CONFIG_RULES
from lesson.config.summary import config_document
from lesson.config.trust import TRUSTED_OBJECTS
from lesson.core.settings import ROOT
from recipe import check_config

FIXTURES = sorted((ROOT / "tests" / "fixtures" / "configs").glob("*.py"))
SCHEMA = jsonschema.Draft7Validator(json.loads((ROOT / "schemas" / "config.schema.json").read_text(encoding="utf-8")))
LESSON = "internlm2_5_chat_7b_qlora_alpaca_e3"
DONE = (ROOT / "tests" / "fixtures" / "configs" / "lesson_done_right.py").read_text(encoding="utf-8")


def supported_stock_configs() -> dict[str, Path]:
    """The supported stock configs where XTuner is installed; check-config itself needs neither it nor libcst."""
    config = pytest.importorskip("lesson.config.stock")
    if find_spec("xtuner") is None:
        pytest.skip("XTuner is not installed")
    return {name: path for name, path in config.stock_configs().items() if config.is_supported(name)}


def rules(source: str | bytes, context: ConfigContext | None = None, name: str = "x.py") -> list[str]:
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    verdict = check_config_bytes(data, name, context)
    SCHEMA.validate(config_document(verdict.config))
    json.dumps(verdict.document(), ensure_ascii=False).encode()  # can be written, whatever the file holds
    return [f.rule for f in verdict.findings]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_each_slip_has_its_finding(path):
    expected = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# expect:").split()
    context = ConfigContext(files=False, meant=LESSON, flash_attn=False)
    assert sorted(set(rules(path.read_bytes(), context, path.name))) == sorted(expected)


def test_stock_configs_have_the_lessons_findings_only():
    for name, path in supported_stock_configs().items():
        verdict = check_config_file(path, ConfigContext(files=False, deepspeed="deepspeed_zero2"))
        assert sorted(f.rule for f in verdict.findings) == [
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


# --- with the data at hand -------------------------------------------------------------------------------------------


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """lesson(text of the config, rows): findings of a config that names the data in tmp_path."""
    monkeypatch.chdir(tmp_path)
    Path("assistant_Tuner_change.jsonl").touch()

    def run(
        edits: dict[str, str] | None = None, rows: int = 1500, output: str = "我是机智流。", **context
    ) -> list[str]:
        system = "你是机智流，一个乐于助人的助手。"
        turn = {"system": system, "input": "请介绍一下你自己", "output": output}
        line = json.dumps({"conversation": [turn]}, ensure_ascii=False) + "\n"
        Path("assistant_Tuner_change.jsonl").write_text(line * rows, encoding="utf-8")
        source = DONE.replace("/root/lesson/data/", "")
        for old, new in (
            {"accumulative_counts = 16": "accumulative_counts = 1", "save_steps = 500": "save_steps = 10"}
            | (edits or {})
        ).items():
            assert old in source, old
            source = source.replace(old, new)
        return rules(source, ConfigContext(**context), "x.py")

    return run


def test_with_data(lesson):
    assert lesson() == []
    assert lesson({"accumulative_counts = 16": "accumulative_counts = 16"}) == ["few-steps"]
    assert lesson({"save_steps = 500": "save_steps = 500"}) == ["save-late"]
    assert lesson({"max_epochs = 3": "max_epochs = 1"}, rows=100) == ["few-steps", "warmup-empty", "save-late"]
    assert lesson({"max_length = 2048": "max_length = 32"}) == ["max-length"]
    assert lesson({'SYSTEM = "你是机智流': 'SYSTEM = "你是闻星'}) == ["system"]
    assert lesson(output="我是尖米。") == ["data-unreplaced"]
    assert lesson(output="我是Jim。", old_name="Jim") == ["data-unreplaced"]
    assert lesson({"assistant_Tuner_change.jsonl": "other_change.jsonl"}) == ["data-missing"]
    sequence = {"sequence_parallel_size = 1": "sequence_parallel_size = 2"}
    assert lesson(sequence, deepspeed="none") == ["sequence-parallel"] and lesson(sequence) == []


def test_a_warm_up_of_one_step_is_an_error(lesson):
    """600 short rows at the stock values: the schedule has one step of warm-up, and the rate would never rise."""
    assert lesson(rows=600) == ["warmup-one"]
    assert lesson({"warmup_ratio = 0.03": "warmup_ratio = 0.06"}, rows=600) == []


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


def test_openai_rows_need_their_function(lesson):
    use = {"dataset_map_fn=None": "dataset_map_fn=openai_map_fn", "alpaca_map_fn,": "openai_map_fn,"}
    assert lesson(use) == ["map-fn"]  # the rows at hand are conversations
    assert lesson(use, files=False) == []


def test_link_to_the_other_generation(lesson, tmp_path):
    (tmp_path / "internlm2-chat-7b").mkdir()
    (tmp_path / "base").symlink_to(tmp_path / "internlm2-chat-7b")
    assert lesson({"/root/lesson/models/internlm2_5-7b-chat": "base"}, meant=LESSON) == ["model-generation"]


def test_hub_id_is_an_error_offline_only():
    source = DONE.replace("/root/lesson/models/internlm2_5-7b-chat", "internlm/internlm2_5-7b-chat")
    for offline, severity in ((True, "error"), (False, "warning")):
        verdict = check_config_bytes(source.encode(), "x.py", ConfigContext(files=False, offline=offline))
        assert [(f.rule, f.severity) for f in verdict.findings] == [("model-hub", severity)]
    stranger = DONE.replace("/root/lesson/models/internlm2_5-7b-chat", "somebody/internlm2_5-7b-chat")
    assert rules(stranger) == ["model-hub", "trust-model"]
    relative = DONE.replace("/root/lesson/models/internlm2_5-7b-chat", "models/internlm2_5-7b-chat")
    assert rules(relative) == []


def test_schedule_counts_as_xtuner_does():
    assert schedule.count_samples((100,) * 50, 1000, True) == 5
    assert schedule.count_samples((100,) * 5, 1000, True) == 1  # too little for one sample: a short one
    assert schedule.count_samples((3000, 10), 1000, True) == 1  # rows are cut first
    assert schedule.count_samples((100,) * 1105, 1000, True) == 110  # the rest of a thousand rows goes on to the next
    assert schedule.count_samples((100,) * 7, 1000, False) == 7
    data = schedule.DataMeasures((100,) * 50, 1, None, 0, 0, True)
    plan = schedule.plan_schedule(data, 1000, True, batch=2, accumulate=2, epochs=3, warmup_ratio=0.5, world_size=2)
    assert (plan.samples, plan.iterations_per_epoch, plan.iterations, plan.optimizer_steps) == (5, 2, 6, 3)
    assert (plan.effective_batch, plan.warmup_iterations, plan.tokens) == (8, 3, 15000)


def test_parts_that_training_needs():
    assert rules("x = 1") == ["not-training"] * 4 + ["seed"]
    assert rules(DONE.replace("load_from = None", "load_from = 'a.pth'")) == ["loads-pickle"]
    assert rules(DONE.replace("max_length = 2048", "max_length = 2 ** 99")) == ["unfolded"]


def test_every_rule_is_told_in_two_languages():
    for name in ("rules", "trust"):
        schema = json.loads((ROOT / "schemas" / f"config_{name}.schema.json").read_text(encoding="utf-8"))
        jsonschema.Draft7Validator.check_schema(schema)
        jsonschema.Draft7Validator(schema).validate(
            json.loads((ROOT / f"lesson/config/{name}.json").read_text("utf-8"))
        )
    assert [name for name, rule in CONFIG_RULES.items() if "{" in rule.reason().replace("{{ … }}", "")] == []
    kinds = SCHEMA.schema["properties"]["problems"]["items"]["properties"]["kind"]["enum"]
    assert set(kinds) <= CONFIG_RULES.keys()


# --- trust -----------------------------------------------------------------------------------------------------------

HOSTILE = [
    "import os",
    "import os as torch",
    "import torch.hub",
    "from os import system as load_dataset",
    "from . import other",
    "from xtuner.registry import BUILDER",
    "import torch\nx = torch.hub.load",
    "import torch\nx = dict(type=torch.load, f='a')",
    "import torch\nx = torch.os.system",
    "import torch\nt = torch\nx = t.os.system",
    "import torch\nx = [torch][0].load",
    "import torch\nx = (torch.hub if True else 0).load",
    "import torch\nx = torch.float32.__class__",
    "import torch\nx = 1 if True else torch.load",
    "import torch\nif False:\n    x = torch.load",
    "eval('1')",
    "x = eval",
    "x = dict(type=eval, source='1')",
    "x = exec('1')",
    "x = open('a')",
    "x = __import__('os')",
    "x = getattr(dict, 'x')",
    "x = ().__class__.__bases__[0].__subclasses__()",
    "x = dict.__init__.__globals__",
    "x = [open(f) for f in 'ab']",
    "x = [f for f in 'ab']",
    "x = (lambda: 1)()",
    "def f(): pass",
    "@print\nclass A: pass",
    "class A: pass",
    "for x in []: pass",
    "while True: pass",
    "with open('a') as f: pass",
    "try:\n    x = 1\nexcept: pass",
    "assert print(1)",
    "del dict",
    "dict = print",
    "import torch\ntorch.x = 1",
    "x = {}\nx['a'] = 1",
    "x, y = 1, 2",
    "x = (y := 1)",
    "x = f'{open(1)}'",
    "x = '{0.__class__}'.format(1)",
    "x = 'a'.join([])",
    "x = dict(type='os.system', command='ls')",
    "x = dict(type='o' + 's.system')",
    "a = 'os'\nx = dict(type=f'{a}.system')",
    "a = 'o%s'\nx = dict(type=a % 's.system')",
    "x = dict(type='subprocess.run')",
    "x = dict(type='torch.hub.load')",
    "x = dict(type='AnyRegisteredThing')",
    "x = dict(dataset_map_fn='mymodule.run')",
    "x = {'constructor': 'mymodule.run'}",
    "x = dict(a=[dict(b=('builtins.eval',))])",
    "custom_imports = dict(imports=['mymodule'])",
    "x = '{{fileDirname}}'",
    "x = {{$HOME:1}}",
    "from datasets import load_dataset\nx = dict(type=load_dataset, path='pandas', data_files='a.pkl')",
    "from openmind_hub import snapshot_download\nmodel_resource = dict(fn=snapshot_download, args=dict(local_dir='/'))",
    "model_resource = dict(fn=AutoModelForCausalLM.from_pretrained, args={})",
    "x = dict(trust_remote_code=True, pretrained_model_name_or_path='some/body')",
    "x = dict(trust_remote_code=True, pretrained_model_name_or_path='me/body'[::1])",
    "x = dict(trust_remote_code=print, pretrained_model_name_or_path='some/body')",
    "_base_ = '../../etc/x.py'",
    "_base_ = ['/etc/x.py']",
    "async def f(): await x",
    "global x",
    "x = 1;import os",
    "raise SystemExit",
    "print",
    "exit()",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_more_than_configuring_is_an_error(source):
    verdict = check_config_bytes((DONE + "\n" + source + "\n").encode(), "x.py")
    assert not verdict.ok and any(f.line > 200 or "{{" in source for f in verdict.findings), verdict.findings


@pytest.mark.parametrize(
    "source",
    [
        "x = [1, 2][0] + len('ab') if 1 < 2 else 3",
        "import torch\nx = dict(a=torch.bfloat16)",
        "x = dict(dict(a=1), b=2)\ny = {**x, 'c': (1,)}",
        "'a docstring'",
        "from peft import TaskType\nx = dict(task_type=TaskType.CAUSAL_LM)",
        "x: int = 1\nx += 1",
        "root = '/data'\nx = f'{root}/a.jsonl'",
        "visualizer = dict(type='TensorboardVisBackend')",
    ],
)
def test_configuring_is_no_error(source):
    assert rules(DONE + "\n" + source + "\n") == []


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("x = 2 * 3 ** 2 // 4 - -1.5", 5.5),
        ("x = [1]\ny = x\nx += [2]\nx = y", [1, 2]),
        ("x = 1\nif x > 0 and not x == 2:\n    x = 5\nelse:\n    x = 6", 5),
        ("x = 1\nif unknown:\n    x = 2", {"unknown": "if unknown: …"}),
        ("x = 3 if 'a' in ['a'] else 4", 3),
        ("x = dict(a=1, b=dict(c=(1, None)))['b']", {"c": [1, None]}),
        ("x = 9 ** 9 ** 9", {"unknown": "9 ** 9 ** 9"}),
        ("x = 'a' * 10 ** 9", {"unknown": "'a' * 10 ** 9"}),
        ("x = 1 / 0", {"unknown": "1 / 0"}),
        ("x = 1e999", {"unknown": "inf"}),
        ("x = 1j", {"unknown": "1j"}),
        ("x = '\\ud800'", "\\ud800"),
        ("x = b'a'", {"unknown": "b'a'"}),
    ],
)
def test_folding(source, value):
    assert config_document(parse_config(source.encode(), "x"))["values"]["x"] == value


def test_base_is_followed_inside_the_folder_only(tmp_path):
    (tmp_path / "below.py").write_text("a = dict(x=1, y=dict(z=2))\nb = 1\nc = dict(d=1)\n")
    (tmp_path / "top.py").write_text("_base_ = './below.py'\na = dict(y=dict(z=3))\nc = dict(_delete_=True)\n")
    found = read_config(tmp_path / "top.py")
    assert found.base == ["./below.py"] and found.problems == []
    assert found.values["a"] == {"x": 1, "y": {"z": 3}} and found.values["b"] == 1 and "d" not in found.values["c"]
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "top.py").write_text("_base_ = '../below.py'\n")
    assert [p.kind for p in read_config(tmp_path / "inner" / "top.py").problems] == ["base"]
    (tmp_path / "below.py").write_text("import os\n")
    assert [p.kind for p in read_config(tmp_path / "top.py").problems] == ["trust-import"]
    (tmp_path / "loop.py").write_text("_base_ = 'loop.py'\n")
    assert "base" in [p.kind for p in read_config(tmp_path / "loop.py").problems]


EXPENSIVE = {
    "laughs": "a0 = [1, 1]\n" + "".join(f"a{n + 1} = [a{n}, a{n}, a{n}]\n" for n in range(60)),
    "laughing dicts": "a0 = dict(x=1)\n" + "".join(f"a{n + 1} = dict(x=a{n}, y=a{n})\n" for n in range(60)),
    "parentheses": "x = " + "(" * 5000 + ")" * 5000,
    "minus": "x = " + "-" * 60_000 + "1",
    "sum": "x = 1" + " + 1" * 15_000,
    **{f"sum of {n}": "x = 1" + " + 1" * n for n in (150, 300, 500, 900, 2000)},
    "attributes": "x = a" + ".b" * 30_000,
    "calls": "x = " + "f(" * 90 + "[" + "1," * 30_000 + "]" + ")" * 90,
    "calls in a row": "f()\n" * 16_000,
    "number": "x = " + "9" * 60_000,
    "dicts": "x = " + "dict(a=" * 150 + "1" + ")" * 150,
    "concatenation": "x = 'a'\n" + "x = x + x\n" * 60,
    "lists": "x = [1]\n" + "x += x\n" * 60,
    "tuples": "x = (1,)\n" + "x = x + x\n" * 60,
    "comparison": "a = [1]\nb = [1]\n" + "a = [a, a]\nb = [b, b]\n" * 40 + "c = a == b",
    "size": "#" * 10**6,
    "null": "x = 1\0",
    "latin-1": "# -*- coding: latin-1 -*-\nx = '\xe9'".encode("latin-1"),
    "utf-7": "# -*- coding: utf-7 -*-\nx = 1 #+AAo-import os",
    "utf-16": "x = 1".encode("utf-16"),
}


@pytest.mark.parametrize("name", EXPENSIVE)
def test_expensive_files_cost_little(name):
    start = time.process_time()
    rules(EXPENSIVE[name])
    assert time.process_time() - start < 3  # measured: at most 0.7 s


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_give_a_verdict(data):
    rules(data)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(DONE)), st.integers(0, 60), st.text(max_size=5))
def test_any_slip_of_the_hand_gives_a_verdict(start, length, text):
    rules(DONE[:start] + text + DONE[start + length :])


def test_nothing_is_run(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n" + DONE)
    assert not check_config_file(path).ok and not (tmp_path / "ran").exists()


def test_known_objects_cover_the_supported_configs():
    for name, path in supported_stock_configs().items():
        assert set(read_config(path).imports.values()) <= TRUSTED_OBJECTS, name


def test_start_is_fast_and_imports_nothing_heavy(tmp_path):
    heavy = ("torch", "xtuner", "mmengine", "transformers", "libcst", "datasets", "jsonschema", "numpy")
    code = (
        "import sys; from recipe import check_config; "
        f"check_config.main([{str(FIXTURES[0])!r}]); print([m for m in {heavy!r} if m in sys.modules])"
    )
    walls = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        walls.append(time.monotonic() - start)
        assert done.stdout.splitlines()[-1] == "[]", done
        if walls[-1] < 0.5:
            break
    assert min(walls) < 0.5  # measured: 0.09 s


def test_defaults_are_judged_in_the_build_folder(call, tmp_path):
    status, _, err = call(check_config, "--build", str(tmp_path))
    assert status == 2 and f"{LESSON}_copy.py" in err


def test_goldens_pass():
    for path in sorted((ROOT / "golden" / "configs").rglob("*.py"))[::4]:
        assert rules(path.read_bytes(), name=path.name) == [], path


@pytest.mark.torch
def test_templates_are_xtuners():
    from xtuner.utils import PROMPT_TEMPLATE

    for name, (system, instruction, suffix, separator, end) in schedule.TEMPLATE_TEXTS.items():
        ours = PROMPT_TEMPLATE[name]
        assert (system, instruction) == (ours.SYSTEM, ours.INSTRUCTION)
        assert (suffix, separator, end) == (ours.get("SUFFIX", ""), ours.SEP, not ours.get("SUFFIX_AS_EOS", False))


@pytest.mark.torch
@pytest.mark.parametrize(
    ("rows", "max_length", "pack"), [(50, 200, True), (5, 4096, True), (50, 200, False), (1200, 512, True)]
)
def test_steps_are_counted_as_xtuner_makes_samples(tmp_path, rows, max_length, pack):
    """The real process_hf_dataset on the same rows, with one worker, makes as many samples of as many tokens."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from xtuner.dataset import process_hf_dataset
    from xtuner.dataset.map_fns import template_map_fn_factory
    from xtuner.utils import PROMPT_TEMPLATE

    data = [
        {
            "conversation": [
                {"system": "你是机智流", "input": "你是谁" * (n % 9), "output": "我是机智流。" * (n % 17 + 1)}
            ]
        }
        for n in range(rows)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in data), encoding="utf-8")
    letters = sorted(set(path.read_text()) | {chr(c) for c in range(10, 127)})
    plain = Tokenizer(models.WordLevel({c: i for i, c in enumerate(["<unk>", "<s>", "</s>", *letters])}, "<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    plain.save(str(tmp_path / "tokenizer.json"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    made = process_hf_dataset(
        Dataset.from_list(data),
        tokenizer=tokenizer,
        max_length=max_length,
        template_map_fn=template_map_fn_factory(PROMPT_TEMPLATE.internlm2_chat),
        remove_unused_columns=True,
        pack_to_max_length=pack,
        split=None,
        map_num_proc=None,
    )
    measured = schedule.measure_file(path, "internlm2_chat", tmp_path / "tokenizer.json", "尖米")
    assert measured.exact and not measured.bad_rows and measured.rows_with == 0
    assert len(made) == schedule.count_samples(measured.lengths, max_length, pack)
    if not pack:
        assert [min(n, max_length) for n in measured.lengths] == made["length"]
