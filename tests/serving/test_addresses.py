"""Where a server listens, and what is said when it cannot."""

from __future__ import annotations

import os
import socket

import pytest

from lesson.core.messages import UserError
from lesson.serving.addresses import format_address, is_loopback, keep_proxy_off_loopback, require_free_port


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
    ],
)
def test_only_this_machine_reaches_a_loopback_address(host, expected):
    assert is_loopback(host) is expected


def test_an_ipv6_address_stands_in_brackets():
    assert format_address("::1", 80) == "http://[::1]:80"
    assert format_address("127.0.0.1", 80) == "http://127.0.0.1:80"


def test_a_port_that_is_taken_is_said_before_the_model_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"PORT={port}: cannot listen there"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)


def test_requests_to_this_machine_go_past_a_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.delenv("NO_PROXY", raising=False)
    keep_proxy_off_loopback()
    assert os.environ["no_proxy"] == "example.org,127.0.0.1,localhost"
    assert os.environ["NO_PROXY"] == "127.0.0.1,localhost"
