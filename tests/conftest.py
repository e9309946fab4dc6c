"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same cases in every run, so that a red run is about the change; `HYPOTHESIS_PROFILE=search`
# looks for new ones.
settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def mosquitto() -> tuple[str, int]:
    """Address of an MQTT broker on this machine, started if need be; skipped where none is there.

    It is shared: a test uses topics of its own.
    """
    address = ("127.0.0.1", 1883)
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not _listens(address):
        if program is None:
            pytest.skip("no MQTT broker on 127.0.0.1:1883, and mosquitto is not installed")
        subprocess.run([program, "-d", "-c", "/etc/mosquitto/mosquitto.conf"], check=False)
        until = time.monotonic() + 5
        while not _listens(address):
            if time.monotonic() > until:
                pytest.skip("mosquitto does not start with /etc/mosquitto/mosquitto.conf")
            time.sleep(0.05)
    return address


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """Address of a PostgreSQL server for tests; they skip where none can be reached."""
    psycopg = pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    address = os.environ.get("GALENIC_POSTGRES", "postgresql://127.0.0.1:5432/postgres")
    try:
        psycopg.connect(address, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {address}, set GALENIC_POSTGRES: {error}")
    return address


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """Where a site may keep its tables: a schema of its own, dropped afterwards."""
    import psycopg

    schema = f"galenic_test_{uuid.uuid4().hex[:12]}"
    yield f"{postgres_server}?schema={schema}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; tests that need them skip where it is absent."""
    folder = Path(os.environ.get("GALENIC_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set GALENIC_SHARED to its parent")
    return folder
