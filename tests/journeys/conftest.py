"""The example project of the tablet line, on ports of its own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "examples" / "tablet_line.toml"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def free_port() -> int:
    return _free_ports(1)[0]


@pytest.fixture
def example() -> str:
    """The text of the example project."""
    return PROJECT.read_text()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The example project in a folder of its own, on free ports."""
    path = tmp_path_factory.mktemp("project") / "line.toml"
    text = PROJECT.read_text()
    for old, new in zip(("8090", "48410", "48411"), _free_ports(3), strict=True):
        text = text.replace(old, str(new))
    path.write_text(text)
    return path
