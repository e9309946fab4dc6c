"""``galenic run``: virtual plant, twins, REST and pages of one project, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galenic.clock import SystemClock, nanoseconds, seconds
from galenic.errors import DataError
from galenic.twin.pace import PlantClock

if TYPE_CHECKING:
    from fastapi import FastAPI

    from galenic.twin.project import Project
    from galenic.twin.security import ServerRules

log = logging.getLogger(__name__)

GRACE = 3  # seconds that open requests get when the server stops
MESSAGE = 8 * 1024 * 1024  # bytes of the largest message over a WebSocket
SOON = 30  # days before its end at which a certificate is complained about
LONGEST = 30 * 86400.0  # seconds that a timer may take
Pages = Callable[["FastAPI"], None]


@dataclass
class Facts:
    """What a person must know who started a server."""

    site: str
    folder: str
    address: str
    password: str | None = None
    plant: dict[str, Any] | None = None
    name: str = "operator"
    head: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    twins: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the password."""
        return {key: value for key, value in vars(self).items() if key not in ("password", "name")}


@dataclass(frozen=True)
class Options:
    """How to run a project.

    Parameters
    ----------
    speed : float
        Plant time over wall time.
    duration : float [s], optional
        Plant time after which it stops; for ever if left out.
    models : paths
        Files of models that the operator offers.
    pages : callable, optional
        Adds pages to the web application; without it there is REST alone.
    """

    speed: float = 1.0
    duration: float | None = None
    models: tuple[str, ...] = ()
    pages: Pages | None = None


async def serve(
    project: Project,
    options: Options,
    ready: Callable[[Facts], None],
    stop: asyncio.Event | None = None,
) -> Facts:
    """Run everything until ``stop``, Ctrl-C, the duration or a failure; what there was at the end.

    ``ready`` is called once all is up.
    """
    from galenic.records import open_site
    from galenic.records.people import People
    from galenic.twin.runner import Runner

    stop = stop or asyncio.Event()
    clock = SystemClock() if options.speed == 1.0 else PlantClock(options.speed)
    site = project.site
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(_listening(site.address))
        address = _address(listening, project.security.server)
        store = open_site(
            site.folder, name=site.name, clock=clock, store=site.store, publish=site.heads
        )
        stack.callback(store.close)
        facts = Facts(site.name, str(site.folder), address)
        people = People(store, rules=project.security.access)
        facts.plant, facts.password, _ = await asyncio.gather(
            _plant(project, options.speed, stack),
            asyncio.to_thread(people.first_run),
            asyncio.to_thread(import_module, "galenic.app.api"),
        )
        runner = Runner(project, clock=clock, store=store, speed=options.speed)
        stack.push_async_callback(runner.stop)
        _stop_on_signals(stop, stack)
        await runner.start()
        with _session(store, runner, options, site.folder) as session:
            _report_incidents(people.attempts, runner.problems)
            _watch_certificate(project.security.server, runner.problems)
            async with _web(session, people, listening, address, options):
                ready(facts)
                await _until(stop, runner, options.duration)
                await _last_look(facts, runner, store)
    if runner.failure is not None:
        raise runner.failure
    return facts


@contextlib.contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    """The socket of the address; a taken one is an error that says so."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with made:
        try:
            made.bind((host.strip("[]"), int(port)))
            made.listen(128)
        except (OSError, OverflowError) as error:
            raise DataError(
                f"cannot listen at {address}: {getattr(error, 'strerror', None) or error}",
                expected="an address that no other program uses",
                hint="stop the other program, or change address under [site] of the project",
            ) from error
        yield made


def _address(listening: socket.socket, rules: ServerRules) -> str:
    """The address that people and programs here use."""
    host, port = listening.getsockname()[:2]
    scheme = "https" if rules.certificate else "http"
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://{f'[{local}]' if ':' in local else local}:{port}"


def _report_incidents(attempts: Any, problems: Any) -> None:
    """Show on every page, at once, what happens about access; called from any thread."""
    loop = asyncio.get_running_loop()

    def tell(incident: Any) -> None:
        name = f"access of {incident.subject}"
        if incident.severity == "journal":
            problems.solved(name)
            return
        problems.tell(name, incident.text)
        wait = seconds(incident.until - incident.time)
        if 0 < wait < LONGEST:
            loop.call_later(wait, problems.solved, name)

    attempts.listen(lambda incident: loop.call_soon_threadsafe(tell, incident))


def _watch_certificate(rules: ServerRules, problems: Any) -> None:
    """Say on every page when the server's certificate ends soon."""
    if rules.certificate is None:
        return
    from cryptography.x509 import load_pem_x509_certificate

    ends = load_pem_x509_certificate(rules.certificate.read_bytes()).not_valid_after_utc
    days = (ends - datetime.now(UTC)).days
    if days < SOON:
        problems.tell(
            "certificate", f"the server's certificate ends in {days} days, on {ends:%d %B %Y}"
        )


async def _plant(
    project: Project, speed: float, stack: contextlib.AsyncExitStack
) -> dict[str, Any] | None:
    """Start the virtual plant that the project names, as a process of its own."""
    if project.plant is None:
        return None
    from galenic.stages.manufacturing.plant.process import start_plant_process

    options = dict(project.plant)
    kind = options.pop("kind", "tablet-line")
    if kind != "tablet-line":
        raise DataError(f"there is no virtual plant {kind!r}", expected="tablet-line")
    options["speed"] = speed
    plant = await asyncio.to_thread(partial(start_plant_process, **options))
    stack.push_async_callback(asyncio.to_thread, plant.stop)
    return plant.facts


def _stop_on_signals(stop: asyncio.Event, stack: contextlib.AsyncExitStack) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
        stack.callback(loop.remove_signal_handler, number)


@contextlib.contextmanager
def _session(store: Any, runner: Any, options: Options, folder: Path) -> Iterator[Any]:
    from galenic.app.session import Session

    session = Session(
        store, runner, workers=2, models=options.models, site=str(folder), clock=runner.clock
    )
    session.warm()
    try:
        yield session
    finally:
        session.close()


@contextlib.asynccontextmanager
async def _web(
    session: Any, people: Any, listening: socket.socket, address: str, options: Options
) -> Any:
    """The web server, and ``server.json`` for other processes while it is up."""
    import uvicorn

    from galenic.app.api import create_app
    from galenic.app.api.epcis_push import Push
    from galenic.app.client import announce, withdraw
    from galenic.stages.supply.repository import repository_of

    class Web(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are ours: plant and twins must stop too

    rules = session.runner.project.security.server
    app = create_app(session, people)
    if options.pages is not None:
        options.pages(app)
    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=GRACE, ws="websockets-sansio",
        proxy_headers=False, server_header=False, ws_max_size=MESSAGE,
        ssl_certfile=rules.certificate, ssl_keyfile=rules.key,
    )  # fmt: skip
    server = Web(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    push = asyncio.create_task(Push(repository_of(session.store, session.clock)).run())
    folder = Path(session.store.folder)
    announce(folder, address, app.state.access.local_token, rules.certificate)
    try:
        yield app
    finally:
        withdraw(folder)
        push.cancel()
        await asyncio.gather(push, return_exceptions=True)
        session.runner.live.close()
        server.should_exit = True
        await task


async def _until(stop: asyncio.Event, runner: Any, duration: float | None) -> None:
    """Wait for the end: asked for, reached, or forced by a failure."""
    waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(runner.ended())]
    if duration is not None:
        until = runner.clock.now() + nanoseconds(duration)
        waits.append(asyncio.ensure_future(runner.clock.sleep_until(until)))
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _last_look(facts: Facts, runner: Any, store: Any) -> None:
    from galenic.twin import look

    facts.status = runner.status()
    facts.twins = {id: await runner.ask(id, look.status) for id in runner.twins}
    facts.head = store.head().to_dict()
