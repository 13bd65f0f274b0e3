"""Whatever goes beyond configuring is an error, where it stands, run or not."""

from __future__ import annotations

import pytest
from configs import DONE, broken_rules, supported_stock_configs

from lesson.config.check import check_config_bytes
from lesson.config.context import ConfigContext
from lesson.config.reading import parse_config, read_config
from lesson.config.trust import TRUSTED_OBJECTS

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
    "from xtuner.model import InternVL_V1_5\nx = dict(type=InternVL_V1_5, model_path='some/body')",
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
    assert broken_rules(DONE + "\n" + source + "\n") == []


def test_known_objects_cover_the_supported_configs():
    for name, path in supported_stock_configs().items():
        assert set(read_config(path).imports.values()) <= TRUSTED_OBJECTS, name


@pytest.mark.parametrize(
    "source",
    [
        "from torch.utils.data import BatchSampler\nx = dict(batch_sampler=dict(type=BatchSampler, batch_size=1))",
        "from mmengine.visualization import Visualizer, WandbVisBackend\n"
        "x = dict(type=Visualizer, vis_backends=[dict(type=WandbVisBackend)])",
        "x = dict(trust_remote_code=True, pretrained_model_name_or_path='OpenGVLab/InternVL2-2B')",
        "from xtuner.model import InternVL_V1_5\nx = dict(type=InternVL_V1_5, model_path='OpenGVLab/InternVL2-2B')",
    ],
)
def test_what_xtuners_configs_are_known_to_use_is_trusted(source):
    rules = broken_rules(DONE + "\n" + source, ConfigContext(files=False))
    assert not [rule for rule in rules if rule.startswith("trust")]


def test_imports_are_known_by_the_name_that_they_bind():
    found = parse_config(b"import a.b.c\nimport d.e as f\nfrom . import g\nfrom ..h import i as j, k", "x")
    assert found.imports == {"a": "a.b.c", "f": "d.e", "g": "..g", "j": "..h.i", "k": "..h.k"}
    assert [(p.kind, p.line) for p in found.problems] == [("trust-import", n) for n in (1, 2, 3, 4, 4)]


def test_problems_are_told_up_to_a_number():
    for count in (49, 50, 51, 500):
        problems = parse_config("\n".join(f"import m{n}" for n in range(count)).encode(), "x").problems
        assert len(problems) == min(count, 50), count
    assert [p.line for p in problems] == sorted(p.line for p in problems)


@pytest.mark.parametrize(
    ("load_from", "found"), [("None", []), ("''", []), ("'a.pth'", [("loads-pickle", 3, "a.pth")])]
)
def test_a_checkpoint_that_is_loaded_is_told_at_its_line(load_from, found):
    problems = parse_config(f"x = 1\n\nload_from = {load_from}".encode(), "x").problems
    assert [(p.kind, p.line, p.found) for p in problems] == found


@pytest.mark.parametrize(
    ("value", "told"),
    [("os.path", 1), ("os", 0), ("os.path is a module", 0), ("code review", 0), ("codes.x", 0), ("a.os.b", 0)],
)
def test_a_text_that_names_a_dangerous_module_is_told_and_a_sentence_is_not(value, told):
    assert len(parse_config(f"x = {value!r}".encode(), "x").problems) == told


def problems(source: str) -> list[tuple[str, int, str]]:
    return [(p.kind, p.line, p.found) for p in parse_config(source.encode(), "x.py").problems]


def test_what_is_found_is_shown_up_to_its_border():
    long = "a" * 300
    assert problems(f"import {long}") == [("trust-import", 1, f"import {long}"[:200])]
    assert problems("\nx = '{{" + long + "'") == [("trust-template", 2, ("{{" + long)[:200])]
    assert problems(f"\nx = dict(type='{long}')") == [("trust-type", 2, f"type={long[:100]!r}")]
    assert problems(f"\nx = dict(type='os.{long}')") == [("trust-type", 2, f"type={('os.' + long)[:100]!r}")]
    assert problems(f"x = 1\ny = dict(a='os.{long}')") == [("trust-type", 2, f"a={('os.' + long)[:100]!r}")]
    name = "_" * 2 + "b" * 300 + "_" * 2
    assert problems(f"{name} = 1") == [("trust-name", 1, f"{name} = …"[:200])]


def test_no_more_than_fifty_problems_are_told():
    assert len(problems("import os\n" * 50)) == len(problems("import os\n" * 51)) == 50
    assert len(problems("import os\n" * 49)) == 49


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import a.b as c", [("trust-import", 1, "import a.b")]),
        ("\nfrom ..a import b as c", [("trust-import", 2, "from ..a import b")]),
        ("x = eval", [("trust-name", 1, "eval")]),
        ("x = unknown_name", [("undefined", 1, "unknown_name")]),
        ("print = 1", [("trust-name", 1, "print = …")]),
        ("__x__ = 1", [("trust-name", 1, "__x__ = …")]),
        ("__x = 1\nx__ = 2\n_y_ = 3", []),
        ("x = len('a')", []),
        ("x = dict\ny = len", []),
        ("import torch\nx = dict(a=torch)", [("trust-attribute", 2, "torch")]),
        ("import torch\nx = torch.load", [("trust-attribute", 2, "torch.load")]),
        ("x = (1).real", [("trust-attribute", 1, "(1).real")]),
        ("x = dict(path='pandas')", [("trust-type", 1, "path='pandas'")]),
        ("x = dict(other='pandas')", []),
        ("x = dict(a='os.system now')", []),
        ("x = dict(a='os')", []),
        ("x = dict(a='os.system')", [("trust-type", 1, "a='os.system'")]),
        ("custom_imports = 1", [("trust-import", 1, "custom_imports")]),
        ("x = 1\nload_from = 'a.pth'", [("loads-pickle", 2, "a.pth")]),
        ("load_from = None", []),
        ("model_resource = None", []),
        ("\nmodel_resource = dict(a=1)", [("trust-type", 2, "model_resource")]),
    ],
)
def test_each_problem_has_its_kind_line_and_text(source, found):
    assert problems(source) == found
