"""The lesson's script (change_script.py) as one would type it: what the replacement of names is held against.

python lesson/bench/published_script.py IN OUT OLD NEW
"""

import io
import json
import sys

SCRIPT = __file__  # to run it as a process


def replace(value, old, new):
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, list):
        return [replace(item, old, new) for item in value]
    if isinstance(value, dict):
        return {key: replace(item, old, new) for key, item in value.items()}
    return value


def replace_lines(lines, out, old, new):
    for line in lines:
        out.write(json.dumps(replace(json.loads(line), old, new), ensure_ascii=False) + "\n")


def replace_bytes(data: bytes, old: str, new: str) -> bytes:
    """What the script writes for a file that holds `data`. Raises ValueError or RecursionError where it stops."""
    out = io.StringIO()
    # Universal newlines, as open() has them.
    replace_lines(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"), out, old, new)
    return out.getvalue().encode("utf-8")


if __name__ == "__main__":
    source, target, old, new = sys.argv[1:]
    with open(source, encoding="utf-8") as file, open(target, "w", encoding="utf-8") as out:
        replace_lines(file, out, old, new)
