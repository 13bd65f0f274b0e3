"""The commands: recipe/NAME.py is make NAME."""

import os
import sys

if sys.version_info < (3, 9):  # noqa: UP036  before anything is imported that such a Python cannot read
    found = "Python " + ".".join(map(str, sys.version_info[:2]))
    if os.environ.get("LANG", "").lower().startswith("zh"):
        line = "错误：" + found + "：需要 3.11 或 3.12；请安装后指定它：make setup PYTHON=python3.12"
    else:
        line = "error: " + found + ": 3.11 or 3.12 is needed; install it and name it: make setup PYTHON=python3.12"
    sys.stderr.write(line + "\n")
    sys.exit(2)
