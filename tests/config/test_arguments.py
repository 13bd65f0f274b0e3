"""Values of a wrong type and keywords that nothing takes: each mutation of a stock config's scalars is reported."""

from __future__ import annotations

import ast
import difflib
import itertools
import json
import random
from collections.abc import Iterator
from fnmatch import fnmatchcase

import jsonschema
import pytest
from configs import DONE, LESSON, supported_stock_configs

from lesson.config.arguments import (
    ARGUMENTS_FILE,
    SIGNATURES,
    SIGNATURES_FILE,
    Argument,
    arguments_of,
    check_arguments,
    is_known,
    object_name,
)
from lesson.config.check import check_config_bytes
from lesson.config.context import ConfigContext
from lesson.config.parsed import Ref, Unknown
from lesson.config.reading import parse_config
from lesson.core.messages import set_language
from lesson.core.settings import ROOT, SETTINGS

# map-fn judges what stands for dataset_map_fn, whatever it is; dict(x=…) for loss_scale is a keyword of GradScaler.
REPORTED = ("cannot-load", "value-type", "keyword", "map-fn")
# Any path may stand there; where it leads is for the rules of the model and of the rows.
FREE = ("pretrained_model_name_or_path", "alpaca_en_path")


def scalars(source: str) -> Iterator[tuple[str, ast.Constant]]:
    """(name, constant) of the source: values of variables, of keywords, and of lists that are variables."""
    for node in ast.walk(ast.parse(source)):
        pairs = []
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            pairs = [(node.targets[0].id, node.value)]
        elif isinstance(node, ast.keyword):
            pairs = [(node.arg, node.value)]
        for name, value in pairs:
            inner = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
            # A text over several lines is left alone: `replaced` works in one.
            yield from ((name, i) for i in inner if isinstance(i, ast.Constant) and i.lineno == i.end_lineno)


def replaced(source: str, node: ast.Constant, text: str) -> str:
    lines = source.encode().split(b"\n")
    line = lines[node.lineno - 1]
    lines[node.lineno - 1] = line[: node.col_offset] + text.encode() + line[node.end_col_offset :]
    return b"\n".join(lines).decode()


def mutations(value: object) -> list[str]:
    """Texts that are of another type than `value`, or of its type and impossible."""
    shown = repr(value)
    if isinstance(value, bool):
        return [repr(shown), f"({shown},)", f"[{shown}]", "2.5", f"dict(x={shown})"]
    if isinstance(value, int | float):
        whole = ["0.5", f"{shown}.0" if isinstance(value, int) else "True"]
        return [repr(shown), f"({shown},)", f"[{shown}]", f"dict(x={shown})", "float('nan')", "-7", *whole]
    if isinstance(value, str):
        return ["7", "2.5", f"({shown},)", f"[{shown}]", f"dict(x={shown})"]
    return ["'None'", "(None,)", "'x'", "dict(x=None)", "[0.5]"]


# (name, mutation) that are another right value.
RIGHT = {
    ("weight_decay", "0.5"), ("weight_decay", "0.0"), ("max_norm", "0.5"), ("max_norm", "1.0"), ("lora_alpha", "0.5"),
    ("lora_alpha", "16.0"), ("warmup_ratio", "0.5"), ("lr", "0.5"), ("start_factor", "0.5"), ("eta_min", "0.5"),
    ("begin", "0.5"), ("begin", "0.0"), ("lora_dropout", "0.5"), ("betas", "0.5"), ("llm_int8_threshold", "0.5"),
    ("llm_int8_threshold", "-7"), ("llm_int8_threshold", "float('nan')"), ("lr", "True"), ("visualizer", "dict(x=None)"),
    ("load_from", "'None'"), ("load_from", "'x'"), ("loss_scale", "7"), ("loss_scale", "2.5"),
    ("warmup_ratio", "True"),  # 1: warmup-long says so
}  # fmt: skip


def unreported(source: str, choose: random.Random | None = None, each: int = 99) -> list[tuple[str, str]]:
    """(name, mutation) of the scalars of a config that no rule of types reports; `each` drawn of every scalar's."""
    missed = []
    for name, node in scalars(source):
        if name in FREE:
            continue
        # One question may stand alone, or in a list or a tuple.
        alone = name == "evaluation_inputs" and isinstance(node.value, str)
        texts = [text for text in mutations(node.value) if not (alone and text[0] in "([")]
        for text in texts if choose is None else choose.sample(texts, min(each, len(texts))):
            findings = check_config_bytes(replaced(source, node, text).encode(), "x.py").findings
            if not any(f.rule in REPORTED for f in findings) and (name, text) not in RIGHT:
                missed.append((name, text))
    return missed


@pytest.mark.slow
def test_every_mutation_of_the_lessons_scalars_is_reported():
    assert unreported(supported_stock_configs()[LESSON].read_text(encoding="utf-8")) == []
    assert unreported(DONE, random.Random(1), 2) == []


@pytest.mark.slow
def test_mutations_of_any_stock_configs_scalars_are_reported():
    paths = supported_stock_configs()
    assert len(paths) >= 53
    choose = random.Random(7)
    for name in choose.sample(sorted(paths), 6):
        assert unreported(paths[name].read_text(encoding="utf-8"), choose, 1) == [], name


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (
            "lr = 2e-4",
            "lr = 2e-4,",
            "lr = (0.0002,) (the comma makes it a tuple), AdamW: a number > 0; LR=2e-4, or lr = 2e-4",
        ),
        ("lr = 2e-4", "lr = '2e-4'", "LR=2e-4"),
        ("max_length = 2048", "max_length = '2048'", "max_length = '2048', process_hf_dataset: a whole number ≥ 1"),
        ("batch_size = 1 ", "batch_size = 0 ", "BATCH=1, or batch_size = 1"),
        ("max_epochs = 3", "max_epochs = 0.5", "EPOCHS=3, or max_epochs = 3"),
    ],
)
def test_a_wrong_value_is_told_with_the_variable_and_a_value_that_works(old, new, found):
    assert old in DONE
    [finding] = [
        f for f in check_config_bytes(DONE.replace(old, new).encode(), "x.py").findings if f.rule == "value-type"
    ]
    assert finding.severity == "error" and DONE.splitlines()[finding.line - 1].startswith(old.strip())
    text = f"{finding.found}; {finding.remedy}"
    assert all(part in text for part in found.split("; ")), text


MISSPELT = {
    "max_length=max_length": "max_lenght=max_length",
    "batch_size=batch_size": "batchsize=batch_size",
    "pack_to_max_length=pack": "pack_to_maxlength=pack",
    "lora_dropout=0.1": "lora_drop_out=0.1",
    "weight_decay=weight_decay": "weightdecay=weight_decay",
    "max_norm=max_norm": "maxnorm=max_norm",
    "load_in_4bit=": "load_in_4bits=",
    "trust_remote_code=": "trust_remotecode=",
    "torch_dtype=": "torch_dtpye=",
    "every_n_iters=": "every_n_iter=",
    "max_keep_ckpts=": "max_keep_ckpt=",
    "deterministic=": "determinstic=",
    "max_epochs=": "max_epoch=",
    "cudnn_benchmark=": "cudnn_benchmarks=",
    "custom_hooks = [": "custom_hook = [",
    "default_hooks = dict": "default_hook = dict",
    "randomness = dict": "randomnes = dict",
}


@pytest.mark.parametrize("right", MISSPELT)
def test_a_misspelt_keyword_is_told_with_the_right_one(right):
    assert right in DONE, right
    verdict = check_config_bytes(DONE.replace(right, MISSPELT[right]).encode(), "x.py")
    told = [f for f in verdict.findings if f.rule == "keyword"]
    assert told and all(f.severity == "error" and right.split("=")[0].strip() in f.remedy for f in told), (
        verdict.findings
    )


def test_no_config_that_xtuner_ships_has_a_wrong_value_or_keyword():
    from lesson.config.stock import stock_configs

    supported_stock_configs()  # skips where XTuner is not installed
    for name, path in stock_configs().items():
        config = parse_config(path.read_bytes(), name)
        assert list(check_arguments(config, None, ConfigContext())) == [], name
        # One of XTuner's own scripts stands among the configs.
        assert not {p.kind for p in config.problems} & {"cannot-load"}, name


def test_what_xtuner_dumps_is_judged_as_what_it_came_from():
    """In a work_dir objects are texts: their full names."""
    source = (
        "optim_wrapper = dict(type='mmengine.optim.AmpOptimWrapper', optimizer=dict(type='torch.optim.AdamW', lr='1'))"
    )
    assert [v.rule for v in check_arguments(parse_config(source.encode(), "x"), None, ConfigContext())] == [
        "value-type"
    ]
    short = source.replace("torch.optim.AdamW", "AdamW").replace("'1'", "1, beta=3")
    assert [v.rule for v in check_arguments(parse_config(short.encode(), "x"), None, ConfigContext())] == ["keyword"]


def test_the_tables_have_the_form_of_their_schemas_and_their_values_are_accepted():
    for file in (SIGNATURES_FILE, ARGUMENTS_FILE):
        schema = json.loads(
            (ROOT / "schemas" / f"config_{file.name.replace('.json', '.schema.json')}").read_text("utf-8")
        )
        jsonschema.Draft7Validator.check_schema(schema)
        jsonschema.Draft7Validator(schema).validate(json.loads(file.read_text("utf-8")))
    table = json.loads(ARGUMENTS_FILE.read_text("utf-8"))
    for entry in table["values"]:
        for given in entry.get("setting", "").split():
            name, _, text = given.partition("=")
            SETTINGS[name].parse(text)
    assert all(is_known(owner) for owner in table["places"].values())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_accepted_is_told_for_every_keyword(language):
    set_language(language)
    try:
        for owner in SIGNATURES:
            for name, argument in arguments_of(owner)[0].items():
                assert not argument.kinds or argument.wanted(), (owner, name)
    finally:
        set_language(None)


@pytest.mark.torch
@pytest.mark.slow
def test_the_signatures_are_those_of_the_installed_packages():
    from lesson.install.signatures import signatures_text

    kept, now = SIGNATURES_FILE.read_text("utf-8").splitlines(), signatures_text().splitlines()
    assert list(itertools.islice(difflib.unified_diff(kept, now, n=0), 9)) == []


def keyword(entry: dict) -> Argument:
    """The argument of the first object that an entry of the table is about."""
    owners = [o for o in (*SIGNATURES, "env_cfg", "mp_cfg", "dist_cfg") if fnmatchcase(o, entry["of"])]
    owners = [owner for owner in owners if entry["name"] in arguments_of(owner)[0]]
    assert owners, entry
    return arguments_of(owners[0])[0][entry["name"]]


@pytest.mark.parametrize(
    "entry", json.loads(ARGUMENTS_FILE.read_text("utf-8"))["values"], ids=lambda e: f"{e['of']}.{e['name']}"
)
def test_each_range_of_the_table_holds_at_its_border(entry):
    argument, whole = keyword(entry), "int" in entry["kinds"]

    def stands(value: float) -> object:
        return (value, value) if entry["kinds"] == ["pair"] else value

    if "range" in entry:
        low, high = (int(n) if whole else n for n in entry["range"])
        step = 1 if whole else max(abs(low), 1e-3) * 1e-3
        assert argument.accepts(stands(low)) and argument.accepts(stands(high))
        assert not argument.accepts(stands(low - step)) and not argument.accepts(stands(high + max(1, high * 1e-3)))
    if "above" in entry:
        assert not argument.accepts(entry["above"]) and argument.accepts(entry["above"] + 1e-9)
    for value in entry.get("not", ()):
        assert not argument.accepts(value)
    for choice in entry.get("choices", ()):
        assert argument.accepts(choice) and not argument.accepts(choice + "x")
    assert argument.accepts(None) == ("none" in entry["kinds"])
    assert argument.accepts(Unknown("f()")) and argument.example


VALUES = {
    "none": None, "bool": True, "int": 7, "float": 0.5, "str": "x", "list": [0], "tuple": (0,), "dict": {}, "texts": ["a", "b"],
    "pair": (0.5, 1), "dtype": Ref("torch.bfloat16"), "ref": Ref("peft.TaskType"),
}  # fmt: skip
# What a kind accepts besides its own value.
ALSO = {
    "float": {"int"}, "list": {"tuple", "texts", "pair"}, "tuple": {"list", "texts", "pair"}, "ref": {"dtype"},
}  # fmt: skip


@pytest.mark.parametrize("kind", VALUES)
def test_each_kind_accepts_its_own_values_only(kind):
    argument = Argument((kind,))
    assert {name for name, value in VALUES.items() if argument.accepts(value)} == {kind} | ALSO.get(kind, set())
    assert argument.wanted()


def test_what_stands_between_the_kinds():
    assert Argument(("bool",)).accepts(0) and Argument(("bool",)).accepts(1) and not Argument(("bool",)).accepts(2)
    assert not Argument(("int",)).accepts(True) and not Argument(("float",)).accepts(True)
    assert Argument(("str",)).accepts(Ref("xtuner.utils.SYSTEM_TEMPLATE.alpaca")) and not Argument(("str",)).accepts(
        Ref("torch.x")
    )
    assert Argument(("dtype",)).accepts("bfloat16") and not Argument(("dtype",)).accepts("float17")
    assert not Argument(("pair",)).accepts((1, 2, 3)) and not Argument(("pair",)).accepts((1, "2"))
    assert Argument(("pair",)).accepts([1, Unknown("x")]) and Argument(("texts",)).accepts([Unknown("x"), "a"])
    assert not Argument(("texts",)).accepts(["a", 1]) and not Argument(("float",)).accepts("1")
    assert not Argument(("float",), lowest=0).accepts(float("nan")) and Argument(()).accepts(object())
    with pytest.raises(ValueError, match="complex"):
        Argument(("complex",)).accepts(1)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        (Argument(("int",), lowest=1), "a whole number ≥ 1"),
        (Argument(("float",), above=0), "a number > 0"),
        (Argument(("int", "none"), lowest=-1, forbidden=(0,)), "a whole number or None ≥ -1, ≠ 0"),
        (Argument(("str",), choices=("left", "right")), "one of left, right"),
        (Argument(("str", "float"), above=0, choices=("dynamic",)), "one of dynamic"),
        (Argument(("list", "tuple", "none")), "a list or None"),
    ],
)
def test_what_is_accepted_in_words(argument, text):
    assert argument.wanted() == text


def violations(source: str) -> list[tuple[str, int]]:
    return [(v.rule, v.line) for v in check_arguments(parse_config(source.encode(), "x.py"), None, ConfigContext())]


def test_a_variable_that_is_used_three_times_is_told_of_once_and_two_faults_twice():
    loader = "n = '1'\nx = dict(type='torch.utils.data.DataLoader', batch_size=n, num_workers=n)\ntrain_dataloader = dict(batch_size=n)"
    assert violations(loader) == [("value-type", 1)]
    assert violations(loader.replace("num_workers=n", "num_workers='2'")) == [("value-type", 1), ("value-type", 2)]


def test_what_takes_any_keyword_is_told_of_a_near_one_only():
    model = "m = dict(type='transformers.AutoModelForCausalLM.from_pretrained', {}=True)"
    assert violations(model.format("some_keyword_of_its_own")) == []
    assert violations(model.format("trust_remote_cod")) == [("keyword", 1)]
    assert violations("o = dict(type='torch.optim.AdamW', some_keyword_of_its_own=1)") == [("keyword", 1)]
    assert violations("o = dict(type='torch.optim.AdamW', _delete_=True, lr=1)") == []
    assert violations("o = dict(type='no.such.thing', lr='1')\np = dict(lr='1')") == []


def test_dicts_without_a_type_are_told_by_their_place():
    assert violations(
        "env_cfg = dict(mp_cfg=dict(opencv_num_threads='0'), dist_cfg=dict(backend='nccl', timeout=3))"
    ) == [("value-type", 1)]
    assert (
        violations("randomness = dict(seed=-1)")
        == violations("log_processor = dict(window_size='a')")
        == [("value-type", 1)]
    )
    assert violations("optim_wrapper = dict(clip_grad=dict(max_norm=0))") == [("value-type", 1)]
    assert violations("train_cfg = dict(by_epoch=True, max_epochs='3', val_interval=1)") == [("value-type", 1)]
    assert violations("elsewhere = dict(clip_grad=dict(max_norm=0))") == []
    assert violations("custom_hooks = [dict(type='mmengine.hooks.LoggerHook', interval=0, priority=3)]") == [
        ("value-type", 1)
    ]


def test_variables_of_the_runner():
    assert violations("resume = 'yes'\nlog_level = 'LOUD'\nlauncher = 'none'") == [("value-type", 1), ("value-type", 2)]
    assert violations("work_dir = None\ndefault_scope = None\nload_from = None\nexperiment_name = None") == []
    assert violations("custom_hook = []") == [("keyword", 1)]
    assert violations("custom_hook = []\nx = custom_hook") == [], "read by the file itself"
    assert violations("train_something = 1") == []


def test_names_of_objects():
    assert object_name("AdamW") == "torch.optim.AdamW" and object_name(Ref("torch.optim.AdamW")) == "torch.optim.AdamW"
    assert object_name("no.such") == "no.such" and object_name(3) is None and object_name(None) is None


def test_values_of_the_table_are_taken_where_any_keyword_is_or_where_mmengine_reads_a_dict():
    from lesson.config import arguments

    for owner in [*SIGNATURES, *arguments._PLAIN]:
        known, is_open = arguments.arguments_of(owner)
        assert arguments.is_known(owner)
        signature = SIGNATURES.get(owner, {"open": False, "parameters": {}})
        assert is_open is signature["open"]
        own = set(signature["parameters"])
        more = {
            key
            for pattern, keys in arguments._TABLE["also_taken"].items()
            if arguments.fnmatchcase(owner, pattern)
            for key in keys
        }
        told = {entry["name"] for entry in arguments._TABLE["values"] if arguments.fnmatchcase(owner, entry["of"])}
        assert set(known) == own | more | (told if is_open or owner in arguments._PLAIN else set()), owner
    assert not arguments.is_known(None) and not arguments.is_known("some.thing")
