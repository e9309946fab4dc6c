"""The virtual plant as a process of its own behind OPC UA, and how to start one."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from galenic.clock import SECOND, from_iso, to_iso
from galenic.connect.opcua.server import TagServer
from galenic.errors import ConnectionLost, DataError, GalenicError
from galenic.stages.manufacturing.plant.line import CONTROLS, TabletLine
from galenic.stages.manufacturing.plant.scenarios import NAMED

log = logging.getLogger(__name__)

ENDPOINT = "opc.tcp://127.0.0.1:48410/"
TRUTH_ENDPOINT = "opc.tcp://127.0.0.1:48411/"
_BEHIND = 1.0
_COMPLAIN_EVERY = 60.0


class PlantClock:
    """The time of the plant, for the time stamps of its server."""

    def __init__(self, line: TabletLine) -> None:
        self._line = line

    def now(self) -> int:
        return self._line.now

    async def sleep_until(self, ns: int) -> None:
        while self._line.now < ns:
            await asyncio.sleep(0.05)


class Pacer:
    """Says how far the plant should be; when it cannot keep up, the goal slips and it says so."""

    def __init__(self, start: int, speed: float) -> None:
        self.speed = speed
        self.slipped = 0.0
        self._start = start
        self._origin = time.monotonic()
        self._complained = -_COMPLAIN_EVERY
        self._slip_at_complaint = 0.0

    def goal(self) -> int:
        """Plant time that should have been reached [ns]."""
        wall = time.monotonic() - self._origin - self.slipped
        return self._start + int(wall * self.speed * SECOND)

    def check(self, reached: int) -> str:
        """Slip when more than a second of wall time behind; the complaint, or nothing."""
        behind = (self.goal() - reached) / SECOND / self.speed
        if behind <= _BEHIND:
            return ""
        self.slipped += behind
        now = time.monotonic() - self._origin
        if now - self._complained < _COMPLAIN_EVERY:
            return ""
        since = now - max(self._complained, 0.0)
        held = self.speed * max(0.0, 1.0 - (self.slipped - self._slip_at_complaint) / since)
        self._complained, self._slip_at_complaint = now, self.slipped
        return f"cannot hold {self.speed:g} times real time here; running at about {held:.3g}"


class PlantServer:
    """A plant, its OPC UA server, and a second server for the hidden truth.

    Parameters
    ----------
    line : TabletLine
        The plant.
    endpoint, truth : str
        Addresses; an empty ``truth`` serves none. Port 0 takes a free one.
    speed : float
        Plant time over wall time.
    history : float [s]
        How long the server keeps values for clients that read history after a gap.
    """

    def __init__(
        self,
        line: TabletLine,
        endpoint: str = ENDPOINT,
        truth: str = TRUTH_ENDPOINT,
        *,
        speed: float = 1.0,
        history: float = 600.0,
    ) -> None:
        if not speed > 0.0:
            raise DataError(f"speed {speed!r}", expected="a number above 0, as 1 or 20")
        self.line = line
        self.speed = speed
        clock = PlantClock(line)
        self.server = TagServer(
            line.tags(), endpoint, on_write=line.write, clock=clock, history=history,
            name="virtual tablet line",
        )  # fmt: skip
        self.truth: TagServer | None = None
        if truth:
            self.truth = TagServer(line.truth_tags(), truth, clock=clock, name="hidden truth")
        self.complaint = ""

    def facts(self) -> dict[str, Any]:
        """What somebody who wants to connect must know."""
        return {
            "plant": "tablet-line",
            "endpoint": self.server.endpoint,
            "truth": self.truth.endpoint if self.truth else "",
            "scenario": self.line.scenario.name,
            "seed": self.line.seed,
            "control": self.line.plc.control,
            "speed": self.speed,
            "start": self.line.now,
            "pid": os.getpid(),
        }

    async def run(
        self,
        start: int,
        *,
        stop: asyncio.Event,
        ready: Callable[[dict[str, Any]], None] = lambda facts: None,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        """Serve from plant time ``start`` [ns] until ``stop`` is set or ``alive`` is false."""
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.server)
            if self.truth is not None:
                await stack.enter_async_context(self.truth)
            await self._publish(start)
            ready(self.facts())
            pacer = Pacer(start, self.speed)
            while not stop.is_set() and alive():
                await self._follow(pacer)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(0.02, min(0.1, 0.5 / self.speed)))

    async def _follow(self, pacer: Pacer) -> None:
        goal = pacer.goal()
        budget = time.monotonic() + 0.5
        while self.line.now + SECOND <= goal and time.monotonic() < budget:
            await self._publish(self.line.now + SECOND)
            await asyncio.sleep(0)
        complaint = pacer.check(self.line.now)
        if complaint:
            self.complaint = complaint
            log.warning("%s", complaint)

    async def _publish(self, until: int) -> None:
        await self.server.publish(self.line.advance(until))
        if self.truth is not None:
            await self.truth.publish(self.line.truth_samples())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a virtual plant until SIGINT or SIGTERM; 0 when stopped so, 2 when it cannot start."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    try:
        start = from_iso(options.start) if options.start else time.time_ns()
        line = TabletLine(options.scenario, options.seed, control=options.control, keep=False)
        server = PlantServer(line, options.endpoint, options.truth, speed=options.speed)
        asyncio.run(_serve(server, start, options))
    except GalenicError as error:
        sys.stderr.write(json.dumps(error.to_dict()) + "\n" if options.json else f"{error}\n")
        return 2
    return 0


async def _serve(server: PlantServer, start: int, options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(facts: dict[str, Any]) -> None:
        sys.stdout.write((json.dumps(facts) if options.json else _sentence(facts)) + "\n")
        sys.stdout.flush()

    def alive() -> bool:
        return not options.parent or os.getppid() == options.parent

    await server.run(start, stop=stop, ready=ready, alive=alive)


def _sentence(facts: dict[str, Any]) -> str:
    truth = f", truth at {facts['truth']}" if facts["truth"] else ""
    return (
        f"Virtual tablet line ready at {facts['endpoint']}{truth}: scenario {facts['scenario']}, "
        f"seed {facts['seed']}, speed {facts['speed']:g}, from {to_iso(facts['start'])}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m galenic.stages.manufacturing.plant",
        description="A virtual tablet line behind an OPC UA server.",
    )
    add = parser.add_argument
    add("--endpoint", default=ENDPOINT, help="address of the plant (default: %(default)s)")
    add("--truth", default=TRUTH_ENDPOINT, help="address of the hidden truth; '' for none")
    add("--scenario", default="day", help=f"{', '.join(NAMED)}, or a .toml file")
    add("--seed", type=int, default=1, help="of noise and scenario (default: %(default)s)")
    add("--speed", type=float, default=1.0, help="plant time over wall time")
    add("--control", default="local", choices=CONTROLS, help="local control of the feeders")
    add("--start", default="", help="plant time at the start, ISO 8601 (default: now)")
    add("--parent", type=int, default=0, help="stop when this process is no longer the parent")
    add("--json", action="store_true", help="print the ready line, or the error, as JSON")
    return parser


@dataclass
class PlantProcess:
    """A running plant process; use it as a context manager, or call `stop`."""

    facts: dict[str, Any]
    process: subprocess.Popen[str]

    @property
    def endpoint(self) -> str:
        """OPC UA address of the plant."""
        return str(self.facts["endpoint"])

    @property
    def truth(self) -> str:
        """OPC UA address of the hidden truth, or nothing."""
        return str(self.facts["truth"])

    @property
    def start(self) -> int:
        """Plant time at which it became ready [ns]."""
        return int(self.facts["start"])

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def stop(self, patience: float = 10.0) -> int:
        """End it, by force after ``patience`` [s]; its exit code."""
        if self.is_running:
            self.process.terminate()
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        return code

    def __enter__(self) -> PlantProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_plant_process(
    endpoint: str = ENDPOINT,
    truth: str = TRUTH_ENDPOINT,
    *,
    scenario: str = "day",
    seed: int = 1,
    speed: float = 1.0,
    control: str = "local",
    start: int | None = None,
    patience: float = 30.0,
) -> PlantProcess:
    """Start a virtual plant in a process of its own and wait until it is ready.

    It stops with its parent, also when that dies. Port 0 in an address takes a free one. Where it
    does not get ready within ``patience`` [s] or stops at once, ConnectionLost is raised; what it
    said is on stderr, which it shares. From async code: ``await asyncio.to_thread(...)``.
    """
    command = [
        sys.executable, "-m", "galenic.stages.manufacturing.plant", "--json",
        "--endpoint", endpoint, "--truth", truth, "--scenario", scenario, "--seed", str(seed),
        "--speed", str(speed), "--control", control, "--parent", str(os.getpid()),
    ]  # fmt: skip
    if start is not None:
        command += ["--start", to_iso(start)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    line = _first_line(process, patience)
    if not line:
        PlantProcess({}, process).stop()
        raise ConnectionLost(
            "the virtual plant did not start",
            where=endpoint,
            expected=f"ready within {patience:g} s",
            hint="see what it wrote above; another program may use its port",
        )
    return PlantProcess(json.loads(line), process)


def _first_line(process: subprocess.Popen[str], patience: float) -> str:
    """The first line of its output; empty when it ends or stays silent for too long."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(patience) else ""
