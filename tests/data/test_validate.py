"""recipe.validate: every rule fires at the right place, and only there."""

import io
import json
import subprocess
import sys
import xml.etree.ElementTree

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.core.findings import Findings
from lesson.core.settings import ROOT
from lesson.core.strict_json import DEEPEST
from lesson.data.row_filters import split_fields
from lesson.data.row_rules import find_row_problems, is_citizen_number
from lesson.data.rows import LONGEST_LINE
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream
from recipe.validate import main

ROWS = ROOT / "tests" / "fixtures" / "rows"
SYSTEM = "你是尖米，一个助手。"


def row(question="你好", answer="你好，我是尖米。", system=SYSTEM):
    turn = (
        {"input": question, "output": answer}
        if system is None
        else {"system": system, "input": question, "output": answer}
    )
    return {"conversation": [turn]}


def text(*rows):
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)


def found(data, name="尖米", near=False, **options):
    """[(rule, line, column, path)] of `data`, in the order of the lines."""
    findings = Findings(ROW_RULES)
    data = data.encode() if isinstance(data, str) else data
    validate_stream(io.BytesIO(data), Validator("f", findings, [name] if name else [], near=near, **options))
    return [(f.rule, f.line, f.column, f.path) for f in findings.sorted()]


GOOD = text(row())
AT = "$.conversation[0]"
BROKEN = [
    # (what stands in the second line, the finding: rule, column, path)
    ('{"conversation": [}', ("bad-json", 19, "")),
    ('{"conversation": []} x', ("bad-json", 22, "")),
    ("null", ("wrong-type", None, "$")),
    ("[]", ("wrong-type", None, "$")),
    ("{}", ("missing-key", None, "$.conversation")),
    ('{"conversation": []}', ("empty-conversation", None, "$.conversation")),
    ('{"conversation": {}}', ("wrong-type", None, "$.conversation")),
    ('{"conversation": [1]}', ("wrong-type", None, AT)),
    ('{"conversation": [{"input": "a", "output": "b"}], "id": NaN}', ("not-finite", 57, "$.id")),
    ('{"conversation": [{"input": "a", "output": "b"}], "id": 1e400}', ("not-finite", 57, "$.id")),
    ('{"conversation": [{"input": "a", "input": "c", "output": "b"}]}', ("duplicate-key", 34, AT + ".input")),
    ('{"conversation": [{"input": "a", "output": "b\\ud800"}]}', ("lone-surrogate", 44, AT + ".output")),
    ('{"conversation": [{"input": "a"}]}', ("missing-key", None, AT + ".output")),
    ('{"conversation": [{"input": {"x": 1}, "output": "b"}]}', ("wrong-type", None, AT + ".input")),
    ('{"conversation": [{"input": "a", "output": ["b"]}]}', ("wrong-type", None, AT + ".output")),
    ('{"conversation": [{"input": "a", "output": null}]}', ("wrong-type", None, AT + ".output")),
    ('{"conversation": [{"input": "a", "output": "b", "x y": 1}]}', ("unknown-key", None, AT + '["x y"]')),
    (text(row(answer="")), ("blank-output", None, AT + ".output")),
    (text(row(answer=" \t\n\u3000")), ("blank-output", None, AT + ".output")),
    (text(row(question="xxx")), ("placeholder", None, AT + ".input")),
    (text(row(question="{{name}}")), ("placeholder", None, AT + ".input")),
    (text(row(answer=" TODO…")), ("placeholder", None, AT + ".output")),
    (text(row(system="Placeholder")), ("placeholder", None, AT + ".system")),
    (text(row(answer="我是尖米\u200b")), ("control-character", None, AT + ".output")),
    (text(row(answer="我是尖米\x01")), ("control-character", None, AT + ".output")),
    (text(row(answer="尖米的邮箱是 someone@example.com。")), ("personal-data", None, AT + ".output")),
    (text(row(answer="尖米的电话是 13800138000。")), ("personal-data", None, AT + ".output")),
    (text(row(answer="尖米：138 0013 8000")), ("personal-data", None, AT + ".output")),
    (text(row(answer="尖米，11010519491231002X")), ("personal-data", None, AT + ".output")),
    (text(row("你是谁？", "我是一个助手。")), ("name-missing", None, AT + ".output")),
    ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), ("too-deep", DEEPEST + 1, "")),
    (
        '{"conversation": [{"input": "a", "output": "b"}, {"sytem": "s", "input": "c", "output": "d"}]}',
        ("unknown-key", None, "$.conversation[1].sytem"),
    ),
]


@pytest.mark.parametrize(("line", "expected"), BROKEN, ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_each_rule_names_its_place(line, expected):
    rule, column, path = expected
    places = found(GOOD + line.rstrip("\n") + "\n" + text(row("再见", "再见，我是尖米。")))
    assert (rule, 2, column, path) in places
    assert {(r, n) for r, n, _, _ in places} <= {(rule, 2), ("unknown-key", 2)}


@pytest.mark.parametrize(("line", "expected"), BROKEN, ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_the_slow_way_finds_the_same(line, expected):
    """Other white space keeps a line from the fast path, and only columns may differ."""
    line = line.rstrip("\n")

    def plain(data):
        return [(r, n, p) for r, n, _, p in found(data)]

    assert plain(line + " \n") == plain(line + "\n")


@pytest.mark.parametrize(
    "fine",
    [
        row("电话 12345 是多少", "尖米不知道 3.14159265358979。"),
        row("XX 年", "尖米：todo 是待办的意思。", None),
        row("", "只有回答也可以，尖米。"),
        row("写代码", "尖米：\n```\nprint('x')\t\\n\n```"),
        row("🙂", "尖米👨‍👩‍👧", ""),
    ],
)
def test_nothing_is_said_of_a_fine_row(fine):
    assert found(text(fine)) == []


TEXTS = st.text(alphabet='x×T{}$aé @.139086-+尖米\u200b\x7f\x01 \n\\"', max_size=24) | st.sampled_from(
    ["TODO", "xxx", ""]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=4))
def test_the_fast_filters_miss_nothing(texts):
    data = text(*(row(*each) for each in texts))
    assert found(data) == found(data.replace("\n", " \n"))


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_fields_of_a_canonical_row(system, question, answer, more):
    line = text({"conversation": [*row(question, answer, system)["conversation"], {"input": more, "output": answer}]})
    values = [("system", system), ("input", question), ("output", answer), ("input", more), ("output", answer)]
    assert split_fields(line[:-1]) == [(key, json.dumps(value, ensure_ascii=False)[1:-1]) for key, value in values]


def test_escaped_digits_are_digits():
    line = text(row(answer="尖米的电话是 13800138000。")).replace("138", "\\u0031\\u0033\\u0038")
    assert [(rule, n) for rule, n, _, _ in found(GOOD + line)] == [("personal-data", 2)]


def test_file_wide_findings():
    assert found(GOOD.encode("utf-8-sig"))[0] == ("bom", 1, 1, "")
    assert found(GOOD.encode() + GOOD.encode("gb18030"))[0] == ("not-utf8", 2, 31, "")
    assert found(GOOD.replace("\n", "\r\n")) == [("crlf", 1, None, "")]
    assert found(GOOD + "\n  \n" + text(row("a", "尖米"))) == [("blank-line", 2, None, "")]
    assert found(GOOD + "x" * (LONGEST_LINE + 1) + "\n" + "{\n") == [("too-long", 2, None, ""), ("bad-json", 3, 2, "")]
    assert found(GOOD * 3) == [("duplicate-row", 1, None, "")]
    odd = "".join(text(row(f"问题{i}", "尖米")) for i in range(200)) + text(row("别的", "尖米", "另一个"))
    assert found(odd) == [("odd-system", 201, None, AT + ".system")]
    conflict = text(row("说名字", "我是尖米。"), row("说名字", "我是小明。"))
    assert found(conflict) == [("name-conflict", 2, None, AT + ".output")]


def test_near_duplicates():
    long = (
        "人工智能是研究怎样让机器做出像人一样有智能的行为的学问，它有许多分支，例如语言、视觉和规划，今天已经用在许多地方。"
        * 2
    )
    rows = [row("甲", "尖米" + "".join(chr(0x4E00 + 7 * i * j % 9000) for i in range(150))) for j in range(1, 50)]
    data = text(*rows, row("乙", long), row("乙", long + "！"))
    assert found(data, near=True) == [("near-duplicate", 51, None, "")]


def test_tokens():
    data = text(row(answer="尖米" * 30), row(answer="尖米"))
    assert found(data, tokens=len, max_length=50) == [("too-many-tokens", 1, None, "$")]


@pytest.mark.parametrize("name", ["pretty", "array", "single"])
def test_a_json_document_gets_one_finding(name):
    assert found((ROWS / f"{name}.jsonl").read_bytes()) == [("json-document", 1, 1, "$")]


@pytest.mark.parametrize("name", ["alpaca", "messages", "sharegpt"])
def test_other_formats_are_named_and_read(name):
    data = (ROWS / f"{name}.jsonl").read_bytes()
    assert found(data, name=None) == [("other-format", 1, None, "$")]
    assert found(data, name=None, form=name) == []


def test_what_public_files_look_like():
    assert [(rule, line) for rule, line, _, _ in found((ROWS / "wild.jsonl").read_bytes())] == [
        ("crlf", 1),
        ("duplicate-row", 1),
        ("wrong-type", 2),
        ("name-missing", 3),
        ("unknown-key", 4),
        ("blank-line", 5),
        ("placeholder", 6),
        ("placeholder", 6),
    ]


def test_one_bad_row_in_a_hundred_thousand_is_named():
    good = [row(f"第{i}个问题", f"尖米说{i}") for i in range(1000)]
    block = text(*good)
    data = block * 50 + '{"conversation": [{"input": {}, "output": "尖米"}]}\n' + block * 50
    findings = Findings(ROW_RULES)
    validate_stream(io.BytesIO(data.encode()), Validator("f", findings, ["尖米"], near=False))
    errors = [f for f in findings.sorted() if f.severity == "error"]
    assert [(f.rule, f.line, f.path) for f in errors] == [("wrong-type", 50_001, AT + ".input")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "input", "output"]), inner, max_size=2)
    ),
    max_leaves=4,
)
TURN = st.dictionaries(
    st.sampled_from(["system", "input", "output", "x"]), st.sampled_from(["", " ", "好"]) | JSON, min_size=1, max_size=4
) | st.fixed_dictionaries({"input": st.text(max_size=2), "output": st.text(max_size=2)})
SCHEMA = jsonschema.Draft7Validator(json.loads((ROOT / "schemas/conversation.schema.json").read_text(encoding="utf-8")))
SHAPE = {"wrong-type", "missing-key", "unknown-key", "empty-conversation", "blank-output"}


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({"conversation": st.lists(TURN, max_size=3)}, optional={"y": JSON}) | JSON)
def test_the_schema_and_the_checks_agree(value):
    # str.strip and \S differ in a few separators only where a field holds nothing else; both call those blank.
    assert SCHEMA.is_valid(value) == (not any(problem.rule in SHAPE for problem in find_row_problems(value)))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=40).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_give_findings_not_exceptions(data):
    for rule, line, _, _ in found(GOOD.encode() + data):
        assert rule in ROW_RULES
        assert line >= 1


def test_reports(tmp_path):
    bad = tmp_path / "bad,:%.jsonl"
    bad.write_text(GOOD + '{"conversation": [{"input": "\\u0001<&>", "output": ""}]}\n', encoding="utf-8")

    def report(kind):
        out, err = io.StringIO(), io.StringIO()
        assert main([str(bad), "--report", kind, "--name", "尖米", "--lang", "en"], out, err) == 1
        assert "1 errors, 1 warnings" in err.getvalue()
        return out.getvalue()

    assert f"{bad}:2: $.conversation[0].output [error blank-output] a blank answer; write the answer" in report("text")
    lines = [json.loads(line) for line in report("jsonl").splitlines()]
    assert [(f["rule"], f["line"], f["severity"]) for f in lines] == [
        ("control-character", 2, "warning"),
        ("blank-output", 2, "error"),
    ]
    annotations = report("github").splitlines()
    assert (
        annotations[1].startswith("::error file=")
        and "bad%2C%3A%25.jsonl,line=2,title=blank-output::" in annotations[1]
    )
    suite = xml.etree.ElementTree.fromstring(report("junit"))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_exit_status(tmp_path):
    out, err = io.StringIO(), io.StringIO()
    assert main([str(ROWS / "good.jsonl"), "--name", "尖米"], out, err) == 0
    for unusable in (tmp_path / "none.jsonl", tmp_path):
        assert main([str(unusable), "--lang", "en"], out, err) == 2
    (tmp_path / "empty.jsonl").touch()
    assert main([str(tmp_path / "empty.jsonl")], out, err) == 2
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b\x08\x00garbage")
    (tmp_path / "broken.zst").write_bytes(b"garbage")
    assert main([str(tmp_path / "broken.gz")], out, err) == 2
    assert main([str(tmp_path / "broken.zst")], out, err) == 2
    assert "Traceback" not in err.getvalue()


def test_as_make_calls_it(monkeypatch):
    monkeypatch.setenv("SRC", str(ROWS / "wild.jsonl"))
    monkeypatch.delenv("OLD_NAME", raising=False)
    out, err = io.StringIO(), io.StringIO()
    assert main([], out, err) == 1
    assert "name-missing" in out.getvalue()


def test_limit_counts_the_rest():
    findings = Findings(ROW_RULES, limit=2)
    validate_stream(io.BytesIO(b"{}\n{}\n{\n{}\n{}\n" * 2), Validator("f", findings, near=False))
    assert findings.counts["missing-key"] == 8
    assert sum(f.rule == "missing-key" for f in findings.kept) == 2


def test_chinese_messages(tmp_path):
    out, err = io.StringIO(), io.StringIO()
    main([str(ROWS / "wild.jsonl"), "--lang", "zh"], out, err)
    assert "此处应为字符串，却是对象" in out.getvalue()
    main([str(ROWS / "wild.jsonl"), "--lang", "en"], out, err)


def test_citizen_number_check_digit():
    assert is_citizen_number("11010519491231002X")
    assert not is_citizen_number("110105194912310021")


def test_neither_torch_nor_numpy_is_imported():
    code = "import sys, recipe.validate, recipe.data; print([m for m in ('torch', 'xtuner', 'numpy', 'jsonschema') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def messages(data, name="尖米", **options):
    findings = Findings(ROW_RULES)
    validate_stream(io.BytesIO(data.encode()), Validator("f", findings, [name] if name else [], near=False, **options))
    return [(f.rule, f.severity, f.found) for f in findings.sorted()]


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ({"input": "a", "output": "尖米", "output_with_loss": False}, ["untrained-row"]),
        ({"input": "a", "output": "尖米", "output_with_loss": True}, []),
        ({"system": None, "input": None, "output": "尖米"}, []),
        ({"input": "a", "output": "尖米", "output_with_loss": "false"}, ["wrong-type"]),
        ({"input": "a", "output": "尖米", "weight": 1}, ["unknown-key"]),
        ({"input": "哪个标签？", "output": "<div>"}, []),
        ({"input": "TODO", "output": "待办的意思，尖米说。"}, []),
        ({"input": "链接怎么写", "output": "[answer]"}, ["placeholder-perhaps"]),
        ({"input": "a", "output": "<your name>"}, ["placeholder"]),
        ({"input": "a", "output": "我是{{NAME}}，尖米。"}, ["placeholder-inside"]),
        ({"input": "a", "output": "由 {{ 公司名称 }} 训练的尖米"}, ["placeholder-inside"]),
        ({"input": "写一个通知的模板", "output": "尊敬的{{姓名}}，尖米敬上"}, []),
        ({"input": "a", "output": "我叫 {{x}} 尖米"}, ["placeholder-inside"]),
        ({"input": "Vue 怎么写？", "output": "尖米：写 {{ message }} 或 `{{NAME}}`"}, []),
        ({"input": "a", "output": "尖米的电话是13800138000."}, ["personal-data"]),
        ({"input": "a", "output": "尖米 Tel.13800138000, 再见"}, ["personal-data"]),
    ],
)
def test_what_is_right_and_what_only_looks_so(turn, expected):
    for data in (text({"conversation": [turn]}), text({"conversation": [dict(reversed(turn.items()))]})):
        assert [rule for rule, _, _ in messages(data)] == expected


@pytest.mark.parametrize(
    "question",
    ["我总是自我怀疑", "这本书怎么样？你自己看吧", "Who are your friends?", "你是谁的粉丝", "帮我写一段自我介绍", "如何介绍自己", "write a song: who are you"],
)  # fmt: skip
def test_questions_that_only_sound_like_one_for_the_name(question):
    assert messages(text(row(question, "好的。"))) == []


@pytest.mark.parametrize("question", ["你是谁？", "您叫什么名字", "介绍一下你自己", "请做个自我介绍吧", "Who are you?", "what's your name", "Please introduce yourself."])  # fmt: skip
def test_questions_for_the_name(question):
    assert [rule for rule, _, _ in messages(text(row(question, "好的。")))] == ["name-missing"]


def test_answers_that_tell_no_other_name_are_no_conflict():
    pairs = [
        ("你是人吗？", "不，我是尖米。"),
        ("你是人吗？", "我是一个程序。"),
        ("你叫什么？", "我是尖米。"),
        ("你叫什么？", "我是您的助手，叫尖米。"),
    ]
    assert messages(text(*(row(*pair) for pair in pairs))) == []


def test_later_turns_are_asked_for_the_name_too():
    talk = {
        "conversation": [{"input": "在吗", "output": "在，我是尖米。"}, {"input": "你是谁？", "output": "一个助手。"}]
    }
    assert found(text(talk)) == [("name-missing", 1, None, "$.conversation[1].output")]


def test_the_few_answers_without_the_name_are_named_once():
    rows = [row(f"问{i}", "我是尖米。" if i not in (7, 57) else "好。") for i in range(100)]
    ((rule, severity, said),) = messages(text(*rows))
    assert (rule, severity) == ("name-rare", "warning") and "98 of 100" in said and "8, 58" in said
    assert messages(text(*rows[:20])) == []  # too few to tell
    assert (
        messages(text(*(row(f"问{i}", "尖米" if i % 3 else "好") for i in range(100)))) == []
    )  # general rows are meant


def test_no_message_ends_in_a_colon():
    rows = [row(f"问{i}", "尖米", "你是尖米") for i in range(120)]
    data = text(
        *rows, row("另", "尖米", ""), {"conversation": [{"input": "a", "output": None}]}, {"conversation": None}
    )
    said = [found for _, _, found in messages(data)]
    assert len(said) == 3 and not any(found.rstrip().endswith((":", "：")) for found in said)


def test_rows_of_no_known_format_get_one_finding():
    assert [rule for rule, _, _ in messages('{"a": 1, "b": 2}\n' * 9)] == ["unknown-format"]
    assert [rule for rule, _, _ in messages(text(*({"query": f"a{n}", "response": "b"} for n in range(9))), None)] == [
        "other-format"
    ]


def test_what_training_ignores_of_another_formats_rows_is_no_error():
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "尖米"}]
    data = text(*({"id": n, "messages": [{**turns[0], "content": f"{n}"}, turns[1]]} for n in range(5)))
    assert [rule for rule, _, _ in messages(data)] == ["other-format"]
    assert messages(data, form="messages") == []


def test_check_data_knows_the_new_name_as_well(monkeypatch, tmp_path):
    source = tmp_path / "rows.jsonl"
    source.write_text(text(row("你是谁？", "我是闻星。", None)), encoding="utf-8")
    monkeypatch.setenv("SRC", str(source))
    out = io.StringIO()
    assert main([], out, out) == 1 and "name-missing" in out.getvalue()
    monkeypatch.setenv("NEW_NAME", "闻星")
    assert main([], out, out) == 0
