"""Two machines, imitated by two network namespaces of this one that are joined by a cable: needs root and the command ip."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

ADDRESSES = ("10.213.77.1", "10.213.77.2")


@dataclass(frozen=True)
class Host:
    """A machine: what a command line begins with to run there, and its address."""

    command: tuple[str, ...]
    address: str


class NotPermitted(Exception):
    """This machine has no network namespaces for us; says why."""


@contextlib.contextmanager
def two_hosts() -> Iterator[list[Host]]:
    """Two hosts that reach each other and nothing else, until the end of the block. Raises NotPermitted."""
    if os.geteuid() or not shutil.which("ip"):
        raise NotPermitted("two network namespaces need root and the command ip")
    names = [f"lesson-{os.getpid()}-{n}" for n in range(2)]
    ends = [f"le{os.getpid()}x{n}" for n in range(2)]  # at most 15 characters
    try:
        try:
            for name in names:
                call("netns", "add", name)
            peer = ("peer", "name", ends[1], "netns", names[1])
            call("link", "add", ends[0], "netns", names[0], "type", "veth", *peer)
            for name, end, address in zip(names, ends, ADDRESSES, strict=True):
                call("-n", name, "address", "add", f"{address}/24", "dev", end)
                for device in ("lo", end):
                    call("-n", name, "link", "set", device, "up")
        except subprocess.CalledProcessError as refused:
            raise NotPermitted(f"no network namespaces here: {refused.stderr.strip()}") from None
        commands = [("ip", "netns", "exec", name) for name in names]
        yield [Host(command, address) for command, address in zip(commands, ADDRESSES, strict=True)]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@functools.cache
def are_permitted() -> bool:
    with contextlib.suppress(NotPermitted), two_hosts():
        return True
    return False


def call(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
