"""make data: writes what it should, and nothing at all when it should not."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys

import pytest
import zstandard

from lesson.bench.published_script import replace_bytes
from lesson.core.layout import changed_rows
from lesson.core.settings import ROOT, Values
from lesson.data import prepare
from lesson.data.persona import read_persona
from recipe.data import main


def rows(count=6):
    system = "你是尖米，一个由星海实验室训练的助手。"
    return [
        {"conversation": [{"system": system, "input": f"第{i}个问题", "output": f"我是尖米，答案是{i}。"}]}
        for i in range(count)
    ]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    for key in ("SRC", "OLD_NAME", "NEW_NAME", "PROFILE", "FORCE", "MAP", "OLD_AUTHOR", "NEW_AUTHOR"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("BUILD", str(tmp_path / "build"))
    return tmp_path


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    return main([*map(str, arguments), "--lang", "en"], out, err), out.getvalue(), err.getvalue()


def test_writes_the_changed_rows_and_says_what_it_did(place):
    source, target = write(place / "in.jsonl", rows()), changed_rows(place / "build")
    code, out, err = run("--src", source, "--new-name", "闻星")
    assert (code, err) == (0, "")
    assert target.read_bytes() == replace_bytes(source.read_bytes(), "尖米", "闻星")
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    for said in ("6 rows", "6 distinct questions", "12 strings replaced: 尖米→闻星", digest, str(target), "make train"):
        assert said in out
    record = json.loads((target.parent / f"{target.name}.record.json").read_text(encoding="utf-8"))
    assert (record["rows"], record["strings_replaced"], record["questions"], record["output"]) == (6, 12, 6, digest)
    assert read_persona(target) == "你是闻星，一个由星海实验室训练的助手。"


def test_up_to_date_and_made_again_when_something_changes(place):
    source, target = write(place / "in.jsonl", rows()), changed_rows(place / "build")
    run("--src", source)
    before = target.stat().st_mtime_ns
    assert "up to date" in run("--src", source)[1]
    assert target.stat().st_mtime_ns == before
    assert "up to date" not in run("--src", source, "--new-name", "闻星")[1]
    write(source, rows(7))
    assert "7 rows" in run("--src", source, "--new-name", "闻星")[1]


def test_an_edited_result_is_not_overwritten(place):
    source, target = write(place / "in.jsonl", rows()), changed_rows(place / "build")
    run("--src", source)
    target.write_bytes(b"mine\n")
    code, _, err = run("--src", source)
    assert code == 2 and "FORCE=1" in err
    assert target.read_bytes() == b"mine\n"
    assert run("--src", source, "--force", "1")[0] == 0


def test_author_and_map_at_the_same_time(place):
    source = write(place / "in.jsonl", rows())
    code, _, _ = run(
        "--src", source, "--old-author", "星海实验室", "--new-author", "尖米社", "--map", "答案=结果;问题=题"
    )
    assert code == 0
    first = changed_rows(place / "build").read_text(encoding="utf-8").splitlines()[0]
    assert "一个由尖米社训练" in first and "我是机智流，结果是0。" in first and "第0个题" in first


def test_crlf_and_blank_lines_are_mended_with_a_warning(place):
    source, target = place / "in.jsonl", changed_rows(place / "build")
    write(source, rows())
    good = source.read_bytes()
    source.write_bytes(b"\r\n" + good.replace(b"\n", b"\r\n"))
    code, _, err = run("--src", source)
    assert code == 0 and "crlf" in err and "blank-line" in err
    assert target.read_bytes() == replace_bytes(good, "尖米", "机智流")


ROW = rows(1)[0]
SAID = ROW["conversation"][0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "no rows"),
        (b"{\n", ":1:2: "),
        (b'{"conversation": []}\n', "$.conversation"),
        (json.dumps([ROW]).encode(), "JSON array"),
        (json.dumps({"messages": []}).encode(), "recipe.formats"),
        (json.dumps(ROW).encode() + b"\n" + json.dumps({"conversation": [{**SAID, "input": {}}]}).encode(), ":2: "),
        (json.dumps({"conversation": [{"input": "a", "output": "b"}]}).encode(), "nothing to replace"),
        ((json.dumps(ROW, ensure_ascii=False) + "\n").replace("我是尖米", "我是尖 米").encode(), "尖 米"),
        ((json.dumps(ROW, ensure_ascii=False) + "\n").encode("gb18030"), "UTF-8"),
        (b"x" * (2 << 20), "1 MiB"),
    ],
)
def test_unusable_rows_stop_it_and_leave_the_earlier_output(place, content, said):
    source, target = write(place / "in.jsonl", rows()), changed_rows(place / "build")
    run("--src", source)
    before = {path: path.read_bytes() for path in target.parent.iterdir()}
    source.write_bytes(content)
    code, _, err = run("--src", source)
    assert code == 2
    last = err.splitlines()[-1]
    assert last.startswith("error: ") and said in last and "Traceback" not in err
    assert {path: path.read_bytes() for path in target.parent.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--src", "nowhere.jsonl"], "no such file"),
        (["--src", "."], "a folder"),
        (["--new-name", ""], "must not be empty"),
        (["--new-name", " "], "must not be empty"),
        (["--new-name", "尖米"], "the same as OLD_NAME"),
        (["--new-name", "<|im_end|>"], "chat tokens"),
        (["--map", "x"], "OLD=NEW"),
        (["--map", "x= "], "blank"),
        (["--map", "尖米=别的"], "also mapped"),
        (["--new-author", "海边书社"], "OLD_AUTHOR"),
        (["--profile", "9b"], "PROFILE"),
        (["--wrong", "1"], "unrecognized"),
    ],
)
def test_unusable_settings_are_one_line(place, arguments, said):
    arguments = ["--src", str(write(place / "in.jsonl", rows())), *arguments]
    code, _, err = run(*arguments)
    assert code == 2 and said in err and "Traceback" not in err
    assert not any(path.is_file() for path in (place / "build").rglob("*"))


def test_residues_name_the_line_of_the_source(place):
    texts = [json.dumps(row, ensure_ascii=False) for row in rows(5)]
    texts[4] = texts[4].replace("我是尖米", "我是尖 米")
    source = place / "in.jsonl"
    source.write_text("\n" + "\n\n".join(texts) + "\n", encoding="utf-8")
    code, _, err = run("--src", source)
    assert code == 2
    assert f"{source}:10: $.conversation[0].output [error residue]" in err


def test_an_unwritable_place_is_one_line(place):
    (place / "build").write_text("a file", encoding="utf-8")
    code, _, err = run("--src", write(place / "in.jsonl", rows()))
    assert code == 2 and err.count("\n") == 1


def test_as_make_calls_it(place):
    """Settings come from the environment; a Chinese LANG gives Chinese messages."""
    environment = {
        **os.environ,
        "SRC": str(write(place / "in.jsonl", rows())),
        "NEW_NAME": "闻星",
        "LANG": "zh_CN.UTF-8",
    }
    done = subprocess.run(
        [sys.executable, "-m", "recipe.data"], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0 and "替换了 12 个字符串" in done.stdout


def test_rows_that_already_say_the_new_name_need_no_replacing(place):
    """What make synth writes."""
    source = write(place / "in.jsonl", json.loads(json.dumps(rows(), ensure_ascii=False).replace("尖米", "闻星")))
    assert run("--src", source)[0] == 2
    code, out, _ = run("--src", source, "--new-name", "闻星")
    assert code == 0 and "0 strings replaced" in out
    assert changed_rows(place / "build").read_bytes() == source.read_bytes()


def test_a_new_name_that_the_rows_already_use_for_somebody_else_is_warned_of_with_its_line(place):
    taken = {"conversation": [{"system": "你是尖米。", "input": "你是小冰吗？", "output": "不是，我是尖米。"}]}
    source = write(place / "in.jsonl", [*rows(3), taken])
    code, _, err = run("--src", source, "--new-name", "小冰")
    assert code == 0
    assert err.startswith(f"warning: {source}:4: already says 小冰")
    assert run("--src", source, "--new-name", "闻星")[2] == ""


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_the_source_is_opened_once_and_its_record_tells_the_hash_of_the_file(place, monkeypatch, pack):
    source = place / f"in.jsonl{ {gzip.compress: '.gz', zstandard.compress: '.zst'}.get(pack, '') }"
    source.write_bytes(pack(write(place / "rows", rows()).read_bytes()) + (b"\0" * 9 if pack is gzip.compress else b""))
    opened, true_open = [], open

    def counting_open(path, *arguments, **options):
        opened.append(str(path))
        return true_open(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", counting_open)
    for new in ("闻星", "闻星"):  # made, then up to date
        opened.clear()
        assert run("--src", source, "--new-name", new)[0] == 0
        assert opened.count(str(source)) == 1
    target = changed_rows(place / "build")
    record = json.loads((target.parent / f"{target.name}.record.json").read_text(encoding="utf-8"))
    assert record["inputs"] == {"source": hashlib.sha256(source.read_bytes()).hexdigest()}


def test_a_new_name_behind_lines_that_end_in_cr_is_told_with_the_line_that_findings_would_name(place):
    source = write(place / "in.jsonl", [*rows(2), {"conversation": [{"input": "你是小冰吗？", "output": "不是。"}]}])
    source.write_bytes(source.read_bytes().replace(b"\n", b"\r"))
    assert f"{source}:3: already says 小冰" in run("--src", source, "--new-name", "小冰")[2]


def test_a_place_that_is_right_as_it_stands_can_be_accepted(place):
    """The report's own lines, in a file, are the answer; another text at that place is told again."""
    poem = {"conversation": [{"system": "你是小明。", "input": "唱一句", "output": "我是小 明月的影子。"}]}
    source, accepted = write(place / "in.jsonl", [*rows(2), poem]), place / "accepted.txt"
    arguments = ("--src", source, "--old-name", "小明", "--new-name", "闻星")
    status, _, err = run(*arguments)
    assert status == 2 and "ACCEPT=" in err
    accepted.write_text(
        "# looked at\n\n" + "".join(line + "\n" for line in err.splitlines() if "[error residue]" in line),
        encoding="utf-8",
    )
    assert run(*arguments, "--accept", accepted)[::2] == (0, "")
    made = changed_rows(place / "build").read_bytes()
    assert "我是小 明月".encode() in made and "你是闻星".encode() in made
    assert "up to date" in run(*arguments, "--accept", accepted)[1]
    assert run(*arguments)[0] == 2  # without it, not up to date
    write(source, [*rows(2), json.loads(json.dumps(poem, ensure_ascii=False).replace("明月", "明"))])
    assert run(*arguments, "--accept", accepted)[0] == 2
    accepted.write_text(f"{source}:3: $.conversation[0].output\n", encoding="utf-8")  # a place alone
    assert run(*arguments, "--accept", accepted)[0] == 0
    accepted.write_text("whatever\n", encoding="utf-8")
    status, _, err = run(*arguments, "--accept", accepted)
    assert status == 2 and f"{accepted}:1: " in err


def test_a_name_that_is_a_placeholder_is_replaced_and_others_are_errors(place):
    said = {"system": "你是{{NAME}}。", "input": "你是谁？", "output": "我是{{NAME}}，由{{AUTHOR}}训练。"}
    source = write(place / "in.jsonl", [{"conversation": [said]}])
    status, _, err = run("--src", source, "--old-name", "{{NAME}}")
    assert status == 2 and "{{AUTHOR}}" in err and "{{NAME}}:" not in err
    assert run("--src", source, "--old-name", "{{NAME}}", "--map", "{{AUTHOR}}=海边书社")[0] == 0
    assert "我是机智流，由海边书社训练" in changed_rows(place / "build").read_text(encoding="utf-8")


def test_a_placeholder_that_is_meant_so_can_be_accepted(place):
    said = [("怎么祝贺？", "亲爱的{{姓名}}，祝贺你，尖米敬上。"), ("x", "TODO")]
    talks = [{"conversation": [{"input": question, "output": answer}]} for question, answer in said]
    source, accepted = write(place / "in.jsonl", talks), place / "accepted.txt"
    status, _, err = run("--src", source)
    assert status == 2 and err.count("[error placeholder") == 2
    accepted.write_text("".join(f"{line}\n" for line in err.splitlines() if "[error" in line), encoding="utf-8")
    assert run("--src", source, "--accept", accepted)[0] == 0


class Drawn:
    """General rows beside the user's own, as they would be drawn."""

    share, seed, wanted = 0.5, 3, 4

    def __init__(self) -> None:
        self.seen: list[list[dict]] = []

    def take_row(self, turns: list[dict]) -> None:
        self.seen.append(turns)

    def draw_rows(self):
        return iter(['{"general": 1}', '{"general": 2}'])


@pytest.mark.parametrize("mixed", [True, False])
def test_rows_that_are_mixed_in_stand_behind_and_are_counted(place, monkeypatch, mixed):
    monkeypatch.setenv("SRC", str(write(place / "in.jsonl", [*rows(2), {"id": 1, **rows(3)[2]}])))
    mixer = Drawn() if mixed else None
    made = prepare.prepare_rows(Values({}), io.StringIO(), mixer)
    lines = made.path.read_text(encoding="utf-8").splitlines()
    record = json.loads((made.path.parent / f"{made.path.name}.record.json").read_text(encoding="utf-8"))
    said = prepare.lines_of(made)
    if mixed:
        assert lines[3:] == ['{"general": 1}', '{"general": 2}'] and record["general_rows"] == 2
        assert [turns[0]["output"] for turns in mixer.seen] == [f"我是机智流，答案是{n}。" for n in range(3)]
        assert "2 general rows mixed in: all that there are, 4 were asked for" in said
    else:
        assert len(lines) == 3 and "general_rows" not in record and not [line for line in said if "general" in line]
    again = prepare.prepare_rows(Values({}), io.StringIO(), mixer)
    assert again.up_to_date and "up to date" in prepare.lines_of(again)[0]


@pytest.mark.parametrize(("line", "warned"), [(1, True), (3, True), (None, False)])
def test_a_new_name_that_the_source_says_already_is_told_in_its_line(place, line, warned):
    source = rows(3)
    if line:
        source[line - 1]["conversation"][0]["input"] = "你是机智流吗？"
    _, _, err = run("--src", write(place / "in.jsonl", source))
    assert (f"{place}/in.jsonl:{line}: already says 机智流" in err) is warned
