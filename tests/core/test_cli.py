"""One way to give a value, one form of an error, one set of exit statuses."""

from __future__ import annotations

import errno
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core import cli, settings
from lesson.core import messages as say
from lesson.core.files import atomic
from lesson.core.messages import UserError, tr
from lesson.core.settings import SETTINGS, Values


def stage_that(action, arguments=(), names=("NEW_NAME",)):
    out, err = io.StringIO(), io.StringIO()
    status = cli.run("stage", "A stage.", list(names), action, list(arguments), out, err)
    return status, out.getvalue(), err.getvalue()


def test_a_flag_wins_over_the_environment_and_that_over_the_default(monkeypatch):
    seen = []
    stage_that(lambda v: seen.append(v.new_name) or 0)
    monkeypatch.setenv("NEW_NAME", "闻星")
    stage_that(lambda v: seen.append(v.new_name) or 0)
    stage_that(lambda v: seen.append(v.new_name) or 0, ["--new-name", "奶龙"])
    assert seen == ["机智流", "闻星", "奶龙"]


def test_a_user_error_is_one_line_and_status_2():
    def stage(values):
        raise UserError("a.jsonl:3", "no name", "write one")

    assert stage_that(stage) == (2, "", "error: a.jsonl:3: no name; write one\n")


def test_the_details_of_an_error_stand_above_its_line():
    def stage(values):
        raise UserError("train", "exit status 1", "read the lines above", details="Traceback\nOSError")

    assert stage_that(stage) == (2, "", "Traceback\nOSError\nerror: train: exit status 1; read the lines above\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_an_error_of_the_file_system_is_one_line_that_names_the_place(number):
    def stage(values):
        raise OSError(number, "words of the system", "/some/place")

    status, _, err = stage_that(stage)
    assert status == 2
    assert err.startswith("error: /some/place: words of the system; ")
    assert err.count("\n") == 1


def test_a_full_disk_is_reported_with_the_file_that_did_not_fit(tmp_path):
    def copy(values):
        raise OSError(errno.ENOSPC, "full", "/from/here", None, "/to/there")

    def write(values):
        with atomic(tmp_path / "result.json") as file:
            file.write("half")
            raise OSError(errno.ENOSPC, "full")

    assert stage_that(copy)[2].startswith("error: /to/there: full; free some disk space")
    assert f"{tmp_path / 'result.json'}: full" in stage_that(write)[2]


def test_ctrl_c_is_status_130_and_says_that_the_same_command_goes_on():
    def stage(values):
        raise KeyboardInterrupt

    status, _, err = stage_that(stage)
    assert status == 130
    assert "same command" in err


def test_an_unknown_flag_is_status_2():
    assert stage_that(lambda v: 0, ["--nonsense"])[0] == 2


def test_messages_follow_lang_and_the_flag_wins(monkeypatch):
    def stage(values):
        raise UserError("x", tr("english", "中文"), "")

    say.set_language(None)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "错误：x: 中文" in stage_that(stage)[2]
    assert "error: x: english" in stage_that(stage, ["--lang", "en"])[2]


@pytest.mark.parametrize("name", ["", " ", " 机智流", "机智流\n", "a\x1b[31m", "<|im_end|>", "长" * 65, "\ud800"])
def test_a_name_that_would_spoil_training_is_refused_by_name(name):
    with pytest.raises(UserError, match="NEW_NAME"):
        _ = Values({"NEW_NAME": name}, {}).new_name


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Zs", "Zl", "Zp")), min_size=1, max_size=20)
)
def test_any_plain_word_is_a_name(name):
    if "<|" not in name and "[UNUSED_TOKEN" not in name and name == name.strip():
        assert Values({"NEW_NAME": name}, {}).new_name == name


@given(st.text(max_size=12))
def test_a_number_is_in_range_or_refused_with_the_range(text):
    setting = SETTINGS["ROWS"]
    try:
        value = setting.parse(text)
    except UserError as error:
        assert "from 1 to 100000" in str(error)
    else:
        assert 1 <= value <= 100_000


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "x", ""])
def test_a_number_that_is_none_is_refused(text):
    with pytest.raises(ValueError):
        settings.number(0, 1)(text)


def test_every_setting_has_help_in_both_languages_and_a_default_that_passes_its_own_check():
    for setting in SETTINGS.values():
        assert setting.en and setting.zh
        if setting.default:
            setting.parse(setting.default)


def test_build_follows_the_profile():
    assert str(Values({}, {"PROFILE": "tiny"}).build) == "build/tiny"
    assert str(Values({}, {"PROFILE": "7b"}).build) == "build/7b"
    assert str(Values({"BUILD": "x"}, {"PROFILE": "7b"}).build) == "x"
    with pytest.raises(UserError, match="tiny, small, 7b"):
        _ = Values({"PROFILE": "13b"}, {}).profile
