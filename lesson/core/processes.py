"""Processes that a stage starts."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT = "RECIPE_PARENT"  # environment variable: the process that started this one, without which it ends


def die_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent dies: a killed `make train` must not leave a trainer writing on."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # <sys/prctl.h>
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != int(os.environ.get(PARENT, os.getppid())):
            sys.exit(128 + signal.SIGTERM)  # it died before the request was made
