"""The sizes of the base that a submission was trained on, by what names it."""

from __future__ import annotations

import pytest
from fakes import config_of, evidence_of

from lesson.config.parsed import Ref
from lesson.core.refusals import Broken
from lesson.model.known_bases import BASE_SIZES, SIZES_7B
from lesson.submission.base_shape import base_shape
from lesson.submission.registry import Unjudged
from lesson.submission.staff import StaffInputs

STAFF = object()


def shape(base=None, base_name=None, profile="7b", template: object = "internlm2_chat", shipped=False, staff=None):
    config = config_of() if template is None else config_of(template=template)
    given = {"on_shipped_base": shipped, "base": base, "base_name": base_name, "profile": profile, "config": config}
    return base_shape(evidence_of(**given), StaffInputs(base=staff))


def test_the_shipped_base_and_known_ones_have_their_sizes():
    assert shape(shipped=True, profile="tiny").parameters < 3_000_000
    key = ("qwen1_5", "0_5")
    assert shape(base=key, staff=STAFF).hidden == BASE_SIZES[key]["hidden_size"]
    assert shape(base=("mine", "3"), staff=STAFF) is STAFF and shape(profile="tiny", staff=STAFF) is STAFF


@pytest.mark.parametrize(
    ("profile", "template", "lessons"),
    [
        ("7b", "internlm2_chat", True),
        ("7b", Ref("xtuner.utils.PROMPT_TEMPLATE.internlm2_chat"), True),
        ("7b", None, True),
        ("7b", "qwen_chat", False),
        ("7b", Ref("xtuner.utils.PROMPT_TEMPLATE.qwen_chat"), False),
        ("small", "internlm2_chat", False),
        ("tiny", None, False),
    ],
)
def test_a_base_that_nothing_names_is_the_lesson_s_with_its_template_at_7b(profile, template, lessons):
    if lessons:
        assert shape(profile=profile, template=template).hidden == SIZES_7B["hidden_size"]
    else:
        with pytest.raises(Unjudged, match=r"^the sizes of the base, which nothing names, are not known here$"):
            shape(profile=profile, template=template)


def test_a_named_base_is_never_the_lesson_s():
    with pytest.raises(Unjudged, match=r"^the sizes of mine are not known here$"):
        shape(base_name="mine")
    with pytest.raises(Unjudged, match=r"^the sizes of qwen9-0.5B are not known here$"):
        shape(base=("qwen9", "0_5"))


@pytest.mark.parametrize(("profile", "lessons"), [("7b", True), ("small", False)])
def test_a_config_that_cannot_be_read_is_the_lesson_s_at_7b(profile, lessons):
    class Damaged:
        on_shipped_base, base, base_name = False, None, None

        @property
        def config(self):
            raise Broken("config.py: damaged")

    evidence = Damaged()
    evidence.profile = profile
    if lessons:
        assert base_shape(evidence, StaffInputs()).hidden == SIZES_7B["hidden_size"]
    else:
        with pytest.raises(Unjudged):
            base_shape(evidence, StaffInputs())
