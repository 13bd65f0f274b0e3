"""What all tests share: the language is English, nothing is written outside the test's own folder, and the lesson is
done for real once."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

from lesson.core import messages as say
from lesson.core.machine import has_nvidia_driver

if not has_nvidia_driver():
    # Triton's kernels run on the CPU. It is read where triton is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    """Without torch, a file whose tests all need it is not even imported: what it imports takes seconds."""
    if "not torch" in config.option.markexpr and collection_path.suffix == ".py":
        text = collection_path.read_text(encoding="utf-8")
        if re.search(r"^pytestmark = \[?pytest\.mark\.torch\b", text, re.MULTILINE):
            return True
    return None


# The files that need the trained lesson: with xdist they are one group, so that it is trained once.
WITH_LESSON = (
    *(f"tests/serving/test_{name}.py" for name in ("endpoint", "models", "page")),
    "tests/whole/test_export.py",
    "tests/whole/test_export_faults.py",
    "tests/whole/test_lesson.py",
    "tests/whole/test_forgeries.py",
)


def pytest_collection_modifyitems(config, items) -> None:
    """Refuse a test that needs the lesson in another file: two processes would train it, each for itself."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        if "lesson" in item.fixturenames and file not in WITH_LESSON:
            raise pytest.UsageError(
                f"{item.nodeid} needs the lesson: name its file in WITH_LESSON of tests/conftest.py"
            )


def pytest_xdist_make_scheduler(config, log):
    """For --dist loadscope: a file is a group, and what needs the lesson is one group. (Groups by xdist's own marker are
    lost between xdist 3.8 and pytest 9.2.)"""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class FilesAndLesson(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "lesson" if file in WITH_LESSON else file

    return FilesAndLesson(config, log)


@pytest.fixture(autouse=True)
def english(monkeypatch):
    """Messages in English and no variable of the caller's environment reaches a stage, except where a test sets it."""
    from lesson.core.settings import SETTINGS

    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    say.set_language("en")
    yield
    say.set_language(None)


@pytest.fixture
def call():
    """call(module, *arguments) → (exit status, stdout, stderr) of a stage's main, without a process."""
    import contextlib

    def run(module, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = module.main(list(arguments))
        return status, out.getvalue(), err.getvalue()

    return run


@pytest.fixture(scope="session")
def lesson(tmp_path_factory):
    """A BUILD folder in which the lesson has been done, up to the evaluation. Tests must leave it as it is.

    LESSON=build/tiny takes one that is there (make screenshots does).
    """
    from servers import NAME, stage

    if os.environ.get("LESSON"):
        return Path(os.environ["LESSON"]).resolve()
    build = tmp_path_factory.mktemp("lesson")
    stage(build, "data", NEW_NAME=NAME)
    for module in ("config", "model", "train", "convert", "merge"):
        stage(build, module)
    return build


@pytest.fixture(scope="session")
def evaluated(lesson) -> str:
    """What make eval says about the lesson, whose folder then holds the evaluation, multiple-choice questions among it."""
    from servers import stage

    return stage(lesson, "evaluate", CHOICES=str(Path(__file__).parent / "fixtures" / "choices"))


@pytest.fixture(scope="session")
def endless(evaluated, lesson, tmp_path_factory):
    """The lesson's BUILD with a merged model that never ends an answer, and hostile text wherever one can come from.

    The output rows of the end tokens are zeroed, so that other tokens always win; the tokenizer decodes each comma to
    HOSTILE; the run's new name and one answer of the evaluation are markup too.
    """
    import json
    import shutil

    from safetensors.torch import load_file, save_file
    from servers import HOSTILE, HOSTILE_NAME

    build = tmp_path_factory.mktemp("endless") / "build"
    shutil.copytree(lesson, build, symlinks=True, ignore=shutil.ignore_patterns("cache", "work_dir", "*.home"))
    run = (build / "run").resolve()
    weights = load_file(run / "merged" / "model.safetensors")
    tokenizer = json.loads((run / "merged" / "tokenizer.json").read_text(encoding="utf-8"))
    ends = [t["id"] for t in tokenizer["added_tokens"] if t["content"] in ("</s>", "<|im_end|>")]
    assert len(ends) == 2
    weights["output.weight"][ends] = 0
    save_file(weights, run / "merged" / "model.safetensors", metadata={"format": "pt"})
    tokenizer["decoder"]["decoders"].append({"type": "Replace", "pattern": {"String": "，"}, "content": HOSTILE})
    (run / "merged" / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    for path in (run / "run.json", run / "eval" / "evaluation.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        document["names"]["new"] = HOSTILE_NAME
        path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    lines = [json.loads(line) for line in (run / "eval" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    first = next(line for line in lines if line["prompt"] == "none" and line["kind"] == "identity")
    first["output"] = HOSTILE
    (run / "eval" / "answers.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
    )
    return build
