"""Where a server listens: who can reach it there, and whether the port is free."""

from __future__ import annotations

import ipaddress
import os
import socket

from lesson.core.messages import UserError, tr


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def format_address(host: str, port: int) -> str:
    """`http://HOST:PORT`, an IPv6 address in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def require_free_port(host: str, port: int) -> None:
    """Raise UserError when nothing can listen on `host` and `port`: asked before the model is loaded."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UserError(
            f"HOST={host} PORT={port}",
            tr(f"cannot listen there: {error.strerror}", f"无法监听：{error.strerror}"),
            tr("choose another PORT, or stop what uses it", "请换一个 PORT，或停止占用它的程序"),
        ) from None


def keep_proxy_off_loopback() -> None:
    """Keep requests to this machine away from a proxy that the environment names (gradio asks its own server once)."""
    for key in ("no_proxy", "NO_PROXY"):
        os.environ[key] = ",".join(filter(None, [os.environ.get(key), "127.0.0.1", "localhost"]))
