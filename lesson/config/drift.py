"""Whether XTuner's stock configs are still those that golden/configs was made from."""

from __future__ import annotations

import difflib
import json

from lesson.config import diff as config_diff
from lesson.config.profiles import computes_fast, load_profile, patch_config
from lesson.core.layout import base_model, changed_rows
from lesson.core.settings import ROOT, Values

GOLDEN = ROOT / "golden"
# Configs that have a golden at `tiny`: the base that ships is an InternLM2, so the lesson's two.
TINY = ("internlm2_5_chat_7b_qlora_alpaca_e3", "internlm2_chat_7b_qlora_alpaca_e3")
# Configs that have one at `small`: what bases of less than 1B choose.
SMALL = ("qwen1_5_0_5b_chat_qlora_alpaca_e3",)
PERSONA = "PERSONA"  # stands for the data's persona, which a config is not responsible for


def default_values(profile: str) -> dict[str, object]:
    """What `make config` gives to the edits with no variable set: default paths and seed, and the stand-in persona."""
    values = Values({"PROFILE": profile.removesuffix("_fast")}, environment={})
    given = dict(load_profile(profile)["parameters"])
    return given | {
        "MODEL_DIR": base_model(values.build).as_posix(),
        "DATA_FILE": changed_rows(values.build).as_posix(),
        "PERSONA": PERSONA,
        "SEED": values.seed,
        "DETERMINISTIC": values.deterministic,
    }


def patch_by_default(name: str, source: str, profile: str) -> str:
    """The stock config `source` called `name` as `make config PROFILE=…` makes it with no variable set."""
    return patch_config(name, source, load_profile(profile), default_values(profile))


def profiles_of(name: str) -> list[str]:
    """The files in profiles/ that apply to the stock config `name`."""
    fast = ["7b_fast"] if computes_fast(name) else []
    tiny, small = ["tiny", "tiny_fast"], ["small", "small_fast"]
    return ["7b", *fast, *(tiny if name in TINY else []), *(small if name in SMALL else [])]


def list_stock_changes(name: str, source: str, profile: str) -> list[str]:
    """Headlines of what differs between the stock config `source` and the one that golden/ was made from; [] if equal.

    Also [] where golden/ does not have the config. Changed statements that the edits leave alone show in the patched
    result; those that they replace show in the headlines.
    """
    known = json.loads((GOLDEN / "configs" / "stock.json").read_text(encoding="utf-8")).get(name)
    if known is None or known["ast_sha256"] == config_diff.ast_hash(source):
        return []
    profile = profile if profile in known["changes"] else "7b"
    golden = (GOLDEN / "configs" / profile / f"{name}.py").read_text(encoding="utf-8")
    result = patch_by_default(name, source, profile)
    headlines = [c.headline() for c in config_diff.list_changes(source, result)]
    before_and_after = difflib.ndiff(known["changes"][profile], headlines)
    return [c.headline() for c in config_diff.list_changes(golden, result)] + [
        line for line in before_and_after if line.startswith(("- ", "+ "))
    ]
