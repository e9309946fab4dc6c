"""The runner: everything that is not pure. Connectors, clock, workers, journal, ledger, writes.

Each event is journalled before anything else looks at it, then applied to its twins in a thread of
its own, then what they decided is committed, and only then is it carried out and shown. Events
are committed in groups (at most 1,000, or what came within a few milliseconds).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

from galenic.clock import Clock, SystemClock, nanoseconds, seconds, to_iso
from galenic.errors import ConnectionLost, DataError, GalenicError, StorageError, UnknownName
from galenic.records import Checkpoint, open_site
from galenic.signals import (
    Action,
    Command,
    Compute,
    Computed,
    Correction,
    Effect,
    Event,
    Quality,
    Receipt,
    Record,
    Sample,
    Tick,
    Write,
)
from galenic.twin import look, resume, writer
from galenic.twin.binding import MANUAL, Binding
from galenic.twin.live import Live
from galenic.twin.pace import Pace, PlantClock
from galenic.twin.project import Project, connector_of
from galenic.twin.twin import Twin
from galenic.twin.workers import ProcessWorkers, Workers, plain

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST = 1000
LINGER = 0.01
SAVE_EVERY = 300.0
SEAL_EVERY = 3600.0
FORECAST_EVERY = 10.0
RETRY = 1.0
CLOCK = "clock"


@dataclass
class Item:
    """An event on its way in: where it came from, and who waits for its effects."""

    event: Event
    source: str = ""
    twin: str = ""
    done: asyncio.Future[list[Effect]] | None = None


class Runner:
    """Runs the twins of one project.

    Parameters
    ----------
    project : Project
    clock : Clock, optional
        The system clock, or at another speed one that follows the plant's time stamps.
    store : Store, optional
        The project's own folder when not given; one that is given stays open at the end.
    connectors : mapping of name to Connector, optional
        Used instead of those that the project names.
    workers : Workers, optional
        One process when not given.
    speed : float
        Plant time over wall time.
    """

    def __init__(
        self,
        project: Project,
        *,
        clock: Clock | None = None,
        store: Any = None,
        connectors: Mapping[str, Any] | None = None,
        workers: Workers | None = None,
        speed: float = 1.0,
    ) -> None:
        self.project = project
        self.speed = speed
        self.clock = clock or (SystemClock() if speed == 1.0 else PlantClock(speed))
        self.pace = Pace(speed)
        self.live = Live()
        self.twins: dict[str, Twin] = {}
        self.connectors: dict[str, Any] = dict(connectors or {})
        self.store: Any = store
        self.problems: dict[str, str] = {}
        self.failure: BaseException | None = None
        self.running = False
        self._owns_store = store is None
        self._workers = workers
        self._ledgers: dict[str, resume.Decisions] = {}
        self._routes: dict[tuple[str, str], list[str]] = {}
        self._inbox: asyncio.Queue[Item] = asyncio.Queue(maxsize=20_000)
        self._writes: dict[str, asyncio.Queue[tuple[str, Write]]] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._jobs: set[asyncio.Task[Any]] = set()
        self._fold = ThreadPoolExecutor(1, "galenic-fold")
        self._disk = ThreadPoolExecutor(1, "galenic-disk")
        self._compute = ThreadPoolExecutor(4, "galenic-compute")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._due: dict[str, int] = {}
        self._tick_waiting = False
        self._orphans: list[Item] = []
        self._plant_time: int | None = None
        self._forecasting: set[str] = set()
        self._views: Workers = workers or ProcessWorkers()
        self._waiting: set[asyncio.Future[list[Effect]]] = set()

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the records, bring the twins back, connect, and begin to tick."""
        self._loop = asyncio.get_running_loop()
        if self.store is None:
            site = self.project.site
            self.store = await self._on(
                self._disk, partial(open_site, site.folder, name=site.name, clock=self.clock)
            )
        self._workers = self._workers or ProcessWorkers()
        for spec in self.project.connections:
            if spec.name not in self.connectors:
                self.connectors[spec.name] = connector_of(spec, self.project, self.clock)
            self._writes[spec.name] = asyncio.Queue()
        self.running = True
        await asyncio.gather(*(self._connect(name) for name in self.connectors))
        await self._on(self._fold, self._bring_back)
        self._spawn(self._work())
        for item in self._orphans:
            await self._inbox.put(item)
        await self._reconcile()
        for name in self.connectors:
            self._spawn(self._listen(name))
            self._spawn(self._perform_writes(name))
        self._spawn(self._tick())

    def _bring_back(self) -> None:
        """Make the twins: from the records where they have been before."""
        now = self.clock.now()
        if self._plant_time is not None:  # a plant that lags must not be too late from the start
            now = min(now, self._plant_time)
        for spec in self.project.twins:
            back = resume.bring_back(self.store, spec, now)
            self.twins[spec.id], self._ledgers[spec.id] = back.twin, back.decisions
            look.at_now(back.twin, back.twin.now + nanoseconds(1.0))  # compiles before time counts
            self._orphans += [Item(receipt, twin=spec.id) for receipt in back.receipts]
            with self.store.transaction() as tx:
                for record in back.records:
                    tx.ledger(record)
                tx.put(resume.DECISIONS, spec.id, back.decisions.to_dict())
        self._make_routes()

    def _make_routes(self) -> None:
        known = {*self.connectors, MANUAL}
        for twin in self.twins.values():
            for channel in twin.channels.values():
                binding = channel.binding
                if binding.connection not in known:
                    raise UnknownName.among(
                        "connection", binding.connection, known, where=f"binding {binding.tag}"
                    )
                if binding.readable:
                    self._routes.setdefault((binding.connection, binding.tag), []).append(twin.id)

    async def stop(self, reason: str = "stopped") -> None:
        """Apply what has arrived, save, disconnect, end the workers. May be called twice."""
        if not self.running:
            return
        self.running = False
        for connector in self.connectors.values():
            await self._quietly(connector.close())
        if self.failure is None:
            await self._quietly(asyncio.wait_for(self._inbox.join(), 10.0))
        await self._cancelled([*self._tasks, *self._jobs])
        await self._quietly(self._save(reason))
        self.live.close()
        if self._workers is not None:
            await asyncio.to_thread(self._workers.close)
            await asyncio.to_thread(self._views.close)
        if self._owns_store and self.store is not None:
            await self._on(self._disk, self.store.close)
        for pool in (self._fold, self._disk, self._compute):
            pool.shutdown(wait=False, cancel_futures=True)
        self._ended.set()

    async def run(self, duration: float | None = None) -> None:
        """Start, run for a while of plant time [s] (for ever, when not given), stop.

        Raises what made it stop early: a wrong tag, a damaged store.
        """
        try:
            await self.start()
            if duration is None:
                await self.ended()
            else:
                until = self.clock.now() + nanoseconds(duration)
                await self._first(self.clock.sleep_until(until), self.ended())
        finally:
            await self.stop()
        if self.failure is not None:
            raise self.failure

    async def ended(self) -> None:
        """Return when the run is over: stopped, or failed (see ``failure``)."""
        await self._ended.wait()

    @staticmethod
    async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
        """End tasks; asked again, because wait_for in Python 3.11 can swallow a cancellation."""
        waiting = set(tasks)
        while waiting:
            for task in waiting:
                task.cancel()
            _, waiting = await asyncio.wait(waiting, timeout=0.5)

    @staticmethod
    async def _first(*waits: Awaitable[Any]) -> None:
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    @staticmethod
    async def _quietly(what: Awaitable[Any]) -> None:
        """Await a step of stopping; a failure is logged and does not keep the others."""
        try:
            await what
        except (GalenicError, OSError, TimeoutError) as error:
            log.warning("while stopping: %s", error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._watched)
        self._tasks.append(task)

    def _watched(self, task: asyncio.Task[Any]) -> None:
        """A loop that ends by an error ends the run and is told to whoever waits for it."""
        if not task.cancelled() and task.exception() is not None and self.running:
            self.failure = task.exception()
            log.error("stopping: %s", self.failure)
            self._ended.set()
            for waiting in list(self._waiting):
                if not waiting.done():
                    waiting.set_exception(ConnectionLost(f"the runner stopped: {self.failure}"))

    def _on(self, pool: ThreadPoolExecutor, function: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(pool, function)

    # --- what others call --------------------------------------------------------------------

    def twin(self, id: str) -> Twin:
        """A twin by its id. Change nothing on it; for a consistent look use ``look``."""
        if id not in self.twins:
            raise UnknownName.among("twin", id, self.twins)
        return self.twins[id]

    async def submit(self, event: Event, twin: str = "") -> list[Effect]:
        """Bring an event in; its effects, once they are recorded.

        A Sample of a manual binding finds its twins by its tag; everything else names its twin,
        unless there is only one.
        """
        if not self.running or self.failure is not None:
            raise ConnectionLost("the runner is not running", hint=str(self.failure or ""))
        item = Item(event, MANUAL, self._addressed(event, twin))
        item.done = asyncio.get_running_loop().create_future()
        self._waiting.add(item.done)
        item.done.add_done_callback(self._waiting.discard)
        await self._inbox.put(item)
        return await item.done

    def submit_from_thread(
        self, event: Event, twin: str = "", timeout: float = 30.0
    ) -> list[Effect]:
        """The same from another thread (services run in threads)."""
        if self._loop is None:
            raise ConnectionLost("the runner is not running")
        future = asyncio.run_coroutine_threadsafe(self.submit(event, twin), self._loop)
        return future.result(timeout)

    async def command(
        self, twin: str, name: str, who: str, reason: str, **arguments: Any
    ) -> list[Effect]:
        """A Command by a person, now; see ``galenic.twin.commands`` for names and arguments."""
        event = Command(name, self.clock.now(), who, reason, arguments)
        return await self.submit(event, twin)

    async def enter(
        self, tag: str, value: float, unit: str, time: int, key: str = "", twin: str = ""
    ) -> list[Effect]:
        """A manual entry: a value that was true at ``time`` [ns]. ``key`` is for corrections."""
        event = Sample(tag, value, unit, time, self.clock.now(), source_key=key)
        return await self.submit(event, twin)

    def look(self, twin: str, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """``function(twin, ...)`` between two events; blocks, so not from the event loop."""
        return self._fold.submit(partial(function, self.twin(twin), *args, **options)).result()

    async def ask(self, twin: str, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """The same from the event loop: ``await runner.ask("line-1", look.forecast)``."""
        return await self._on(self._fold, partial(function, self.twin(twin), *args, **options))

    def status(self) -> dict[str, Any]:
        """Connections, pace, queues, and what is wrong."""
        return {
            "site": self.project.site.name,
            "running": self.running,
            "time": to_iso(self.clock.now()),
            "now": self.clock.now(),
            "speed": self.pace.to_dict(),
            "queue": self._inbox.qsize(),
            "listeners": self.live.listeners,
            "problems": dict(self.problems),
            "connections": {n: _plain(c.status) for n, c in self.connectors.items()},
            "twins": {
                id: {"level": t.level.word, "health": t.health.state, "words": t.health.words}
                for id, t in self.twins.items()
            },
        }

    def _addressed(self, event: Event, twin: str) -> str:
        if twin:
            return self.twin(twin).id
        if isinstance(event, Sample):
            if (MANUAL, event.tag) not in self._routes:
                tags = [tag for connection, tag in self._routes if connection == MANUAL]
                raise UnknownName.among("manual entry", event.tag, tags)
            return ""
        if isinstance(event, Correction):
            return self._owner(event)
        if len(self.twins) == 1:
            return next(iter(self.twins))
        raise DataError(f"a {event.kind} for which twin?", expected=", ".join(self.twins))

    def _owner(self, correction: Correction) -> str:
        for id, twin in self.twins.items():
            if correction.amends in twin._seen:
                return id
        return next(iter(self.twins)) if len(self.twins) == 1 else ""

    # --- events in -----------------------------------------------------------------------------

    async def _connect(self, name: str) -> None:
        """Open a connection and compare its tags with the bindings; not there is not fatal."""
        connector = self.connectors[name]
        try:
            await connector.open()
            await self._check_tags(name)
            await self._align(name)
        except ConnectionLost as error:
            self._problem(name, str(error))

    async def _align(self, name: str) -> None:
        """Learn the plant's time; at another speed than real time our clock is set by it."""
        tags = [binding.tag for binding in self._bindings(name) if binding.readable]
        samples = await self.connectors[name].read(tags) if tags else []
        times = [sample.source_time for sample in samples if sample.quality != Quality.BAD]
        if times:
            self._plant_time = max(self._plant_time or 0, *times)
            if isinstance(self.clock, PlantClock):
                self.clock.align(self._plant_time)

    def _bindings(self, name: str) -> list[Binding]:
        twins = [twin.definition for twin in self.project.twins]
        return [b for twin in twins for b in twin.bindings if b.connection == name]

    async def _check_tags(self, name: str) -> None:
        offered = {info.tag: info for info in await self.connectors[name].browse()}
        bound = {(binding.tag, binding.writable) for binding in self._bindings(name)}
        for tag, writable in sorted(bound):
            if tag not in offered:
                raise UnknownName.among("tag", tag, offered, where=f"connection {name}")
            if writable and not offered[tag].writable:
                raise DataError(f"{tag} cannot be written", where=f"connection {name}")
        self._solved(name)

    async def _listen(self, name: str) -> None:
        tags = [tag for connection, tag in self._routes if connection == name]
        connector = self.connectors[name]
        while self.running and tags:
            try:
                if name in self.problems:
                    await connector.open()
                    await self._check_tags(name)
                    await self._align(name)
                async for batch in connector.subscribe(tags):
                    for sample in batch:
                        await self._inbox.put(Item(_as_journalled(sample), name))
                if getattr(connector, "ends", False):
                    return
            except ConnectionLost as error:
                self._problem(name, str(error))
            await asyncio.sleep(RETRY)

    async def _tick(self) -> None:
        every = nanoseconds(min((t.definition.tick for t in self.twins.values()), default=1.0))
        due = self.clock.now()  # at once: until then a twin lives where its history begins
        while self.running:
            await self.clock.sleep_until(due)
            now = self.clock.now()
            if self._tick_waiting:
                self.pace.skipped += 1
            else:
                self._tick_waiting = True
                await self._inbox.put(Item(Tick(now), CLOCK))
            due = max(due + every, now + every // 2)
            self._check_connections()

    def _check_connections(self) -> None:
        if not self.running:
            return
        for name, connector in self.connectors.items():
            status = connector.status
            if not status.connected:
                self._problem(name, status.reason or "not connected")
            elif name in self.problems and self.problems[name] != "tags":
                self._solved(name)

    def _problem(self, name: str, words: str) -> None:
        if name not in self.problems:
            log.warning("connection %s: %s", name, words)
        if self.problems.get(name) != words:
            self.problems[name] = words
            self.live.publish({"type": "runner", "problems": dict(self.problems)})

    def _solved(self, name: str) -> None:
        if self.problems.pop(name, None) is not None:
            log.info("connection %s is back", name)
            self.live.publish({"type": "runner", "problems": dict(self.problems)})

    # --- events through ------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            items = [await self._inbox.get()]
            await asyncio.sleep(LINGER if self.speed <= 1.0 else LINGER / 4.0)
            while len(items) < MOST and not self._inbox.empty():
                items.append(self._inbox.get_nowait())
            try:
                await self._process(items)
            finally:
                for _ in items:
                    self._inbox.task_done()

    async def _process(self, items: list[Item]) -> None:
        """Journal, apply, commit, carry out. While the store refuses, nothing is applied."""
        await self._durably(partial(self._journal, items))
        results = await self._on(self._fold, partial(self._accept, items))
        await self._durably(partial(self._commit, results))
        for item, id, effects in results:
            self._carry_out(id, effects)
            if item.done is not None and not item.done.done():
                item.done.set_result(effects)
        for item in items:
            if item.done is not None and not item.done.done():
                item.done.set_result([])
        self._show_samples([item.event for item in items if isinstance(item.event, Sample)])
        if any(isinstance(item.event, Tick) for item in items):
            self._tick_waiting = False
            await self._after_tick()

    async def _durably(self, work: Callable[[], None]) -> None:
        """Try until the store takes it; a full disk stops acting, not the process."""
        while True:
            try:
                await self._on(self._disk, work)
            except StorageError as error:
                self._problem("store", str(error))
                if not self.running:
                    raise
                await asyncio.sleep(RETRY)
            else:
                self._solved("store")
                return

    def _targets(self, item: Item) -> list[str]:
        if item.twin:
            return [item.twin]
        if item.source == CLOCK:
            return list(self.twins)
        return self._routes.get((item.source, getattr(item.event, "tag", "")), [])

    def _journal(self, items: list[Item]) -> None:
        """Raw events and the order in which each twin will apply them, in one commit."""
        now = self.clock.now()
        with self.store.transaction() as tx:
            offsets = tx.journal([item.event for item in items], now)
            for id, decisions in self._ledgers.items():
                mine = [
                    offset
                    for offset, item in zip(offsets, items, strict=True)
                    if id in self._targets(item)
                ]
                if mine:
                    decisions.position = tx.applied(id, mine, now)
            tx.samples([item.event for item in items if isinstance(item.event, Sample)])
            for item in items:
                if isinstance(item.event, Correction):
                    place = self.store.locate(item.event.amends)
                    if place is not None:
                        tx.correct(item.event, *place)

    def _accept(self, items: list[Item]) -> list[tuple[Item, str, list[Effect]]]:
        results = []
        for item in items:
            for id in self._targets(item):
                results.append((item, id, resume.accepted(self.twins[id], item.event)))
        return results

    def _commit(self, results: list[tuple[Item, str, list[Effect]]]) -> None:
        """What was decided: ledger entries of the twins, and intentions before any write."""
        with self.store.transaction() as tx:
            for _, id, effects in results:
                decisions = self._ledgers[id]
                for effect in effects:
                    if resume.decides(effect):
                        decisions.add(effect)
                        tx.ledger(
                            writer.intended(id, effect) if isinstance(effect, Write) else effect
                        )
            for id in {id for _, id, _ in results}:
                tx.put(resume.DECISIONS, id, self._ledgers[id].to_dict())

    # --- effects out ----------------------------------------------------------------------------

    def _carry_out(self, id: str, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Write):
                name = self.twins[id].channels[effect.tag].binding.connection
                self._writes[name].put_nowait((id, effect))
            elif isinstance(effect, Compute):
                job = asyncio.create_task(self._computed(id, effect))
                self._jobs.add(job)
                job.add_done_callback(self._jobs.discard)
            if not isinstance(effect, Compute):
                heartbeat = isinstance(effect, Write) and effect.who == "heartbeat"
                if not heartbeat:
                    message = {"type": "effect", "id": id, "effect": effect.to_dict()}
                    self.live.publish(message)

    async def _computed(self, id: str, compute: Compute) -> None:
        assert self._workers is not None
        outcome = await self._on(self._compute, partial(self._workers.run, compute))
        event = Computed(
            compute.task, self.clock.now(), outcome.result, outcome.error, outcome.elapsed
        )
        await self._inbox.put(Item(event, twin=id))

    async def _perform_writes(self, name: str) -> None:
        """One write after the other, in the order in which they were decided."""
        while True:
            id, write = await self._writes[name].get()
            refusal = self.twins[id].levels.refusal(write)
            now = self.clock.now()
            if refusal:
                receipt = Receipt(write.key, write.tag, "refused", now, detail=refusal)
            else:
                receipt = await writer.perform(self.connectors[name], write, now)
            if write.who != "heartbeat":
                await self._durably(partial(self._ledger, writer.outcome(id, write, receipt)))
                message = {"type": "receipt", "id": id, "receipt": receipt.to_dict()}
                self.live.publish(message)
            await self._inbox.put(Item(receipt, twin=id))

    def _ledger(self, *records: Record) -> None:
        with self.store.transaction() as tx:
            for record in records:
                tx.ledger(record)

    async def _reconcile(self) -> None:
        """Intentions that a crash left open are compared with the device, never repeated."""
        open_ones = await self._on(self._disk, partial(resume.open_intentions, self.store))
        for entry in open_ones:
            twin = self.twins.get(entry.subject)
            channel = twin.channels.get(entry.detail["tag"]) if twin else None
            connector = self.connectors.get(channel.binding.connection) if channel else None
            for receipt in await writer.reconcile(connector, [entry], self.clock.now()):
                fields = {k: v for k, v in entry.detail.items() if k != "kind"}
                record = writer.outcome(entry.subject, Write(**fields), receipt)
                await self._durably(partial(self._ledger, record))
                if twin is not None:
                    await self._inbox.put(Item(receipt, twin=twin.id))

    # --- shown and saved ------------------------------------------------------------------------

    def _show_samples(self, samples: list[Sample]) -> None:
        if samples and self.live.listeners:
            rows = {
                s.tag: {
                    "value": s.value, "unit": s.unit, "time": s.source_time, "quality": s.quality
                }
                for s in samples
            }  # fmt: skip
            self.live.publish({"type": "samples", "samples": rows})

    async def _after_tick(self) -> None:
        now = self.clock.now()
        behind = self.pace.ticked(now)
        if behind is not None:
            words = f"asked for speed {self.speed:g}, holding {self.pace.held:.2g}"
            record = Record("speed", now, "runner", self.pace.to_dict(), reason=words)
            await self._durably(partial(self._ledger, record))
            (self._problem("speed", words) if behind else self._solved("speed"))
        for id in self.twins if self.live.listeners else ():
            await self._show(id, now)
        if self._is_due("save", now, SAVE_EVERY):
            await self._save("checkpoint")
        if self._is_due("seal", now, SEAL_EVERY):
            hour = nanoseconds(SEAL_EVERY)
            await self._durably(lambda: self.store.seal(now - hour, now) and None)

    async def _show(self, id: str, now: int) -> None:
        try:
            message = await self.ask(id, _live_message)
            self.live.publish({**message, "speed": self.pace.to_dict()})
            advice = await self.ask(id, look.recommend)
        except (GalenicError, ArithmeticError, ValueError, RuntimeError) as error:
            self._problem(f"view of {id}", str(error).splitlines()[0])
            return
        self._solved(f"view of {id}")
        if self._is_due(f"forecast:{id}", now, FORECAST_EVERY) and id not in self._forecasting:
            self.live.publish({"type": "proposal", "id": id, **advice})
            self._forecasting.add(id)
            job = asyncio.create_task(self._show_forecast(id))
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)

    async def _show_forecast(self, id: str) -> None:
        """The running forecast, made in a worker of its own: it must not hold up the fold."""
        try:
            task = await self.ask(id, look.forecast_task)
            outcome = await self._on(self._compute, partial(self._views.run, task))
            if outcome.error:
                self._problem(f"forecast of {id}", outcome.error)
            else:
                self._solved(f"forecast of {id}")
                self.live.publish({"type": "forecast", "id": id, "forecast": outcome.result})
        finally:
            self._forecasting.discard(id)

    def _is_due(self, what: str, now: int, every: float) -> bool:
        due = self._due.get(what)
        if due is None or now >= due:
            self._due[what] = now + nanoseconds(every)
            return due is not None or what.startswith("forecast")
        return False

    async def _save(self, reason: str) -> None:
        """Checkpoints of all twins at their journal positions."""
        for id in self.twins:
            point, belief = await self._on(self._fold, partial(self._point, id))
            await self._durably(partial(self._keep, point, belief, reason))

    def _point(self, id: str) -> tuple[Checkpoint, str]:
        twin = self.twins[id]
        data, belief = twin.snapshot(), twin.belief.identity
        return Checkpoint(id, self._ledgers[id].position, self.clock.now(), data), belief

    def _keep(self, point: Checkpoint, belief: str, reason: str) -> None:
        with self.store.transaction() as tx:
            tx.checkpoint(point)
            facts = {"position": point.position, "belief": belief, "time": point.time}
            tx.put(resume.BELIEFS, point.subject, facts)
            if reason != "checkpoint":
                tx.ledger(Record("stop", point.time, point.subject, facts, reason=reason))


def _as_journalled(sample: Sample) -> Sample:
    """The sample with a plain Python value, so that its key reads back the same."""
    value = sample.value
    return replace(sample, value=plain(value)) if hasattr(value, "tolist") else sample


def _live_message(twin: Twin) -> dict[str, Any]:
    rows = look.estimates(twin)
    return {
        "type": "twin",
        "id": twin.id,
        "time": twin.now,
        "level": twin.level.word,
        "health": twin.health.to_dict(),
        "estimates": rows,
        "alarms": [alarm.to_dict() for alarm in twin.alarms.standing()],
        "age": max(
            0.0, seconds(twin.now - max((v.time for v in twin.latest.values()), default=twin.now))
        ),
    }


def _plain(status: Any) -> dict[str, Any]:
    return asdict(status)


__all__ = ["Action", "Runner"]
