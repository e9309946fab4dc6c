"""The runner: everything that is not pure. Connectors, clock, workers, journal, ledger, writes.

Each event is journalled before anything else looks at it, then applied to its twins in a thread of
its own, then what they decided is committed, and only then is it carried out and shown. Events
are committed in groups (at most 1,000, or what came within a few milliseconds).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeVar

from galenic.clock import Clock, SystemClock, nanoseconds, to_iso
from galenic.errors import ConnectionLost, GalenicError, UnknownName
from galenic.inference.estimator import Forecast
from galenic.signals import (
    Command,
    Compute,
    Computed,
    Effect,
    Event,
    Receipt,
    Record,
    Sample,
    Tick,
    Write,
)
from galenic.twin import annunciate, look, resume
from galenic.twin.binding import MANUAL
from galenic.twin.computing import Comparison, Computing
from galenic.twin.concurrency import Jobs, Pool, cancelled, first_of
from galenic.twin.connections import Connections
from galenic.twin.fleet import SUMMARIES, Fleets
from galenic.twin.fleet_sources import FleetSources
from galenic.twin.forwarding import Forwarding
from galenic.twin.inbox import Inbox, Item
from galenic.twin.keeper import Keeper, Outcomes
from galenic.twin.live import Live
from galenic.twin.look import WhatIf
from galenic.twin.pace import Due, Pace, PlantClock
from galenic.twin.problems import Problems
from galenic.twin.project import Project
from galenic.twin.publishing import Publishing
from galenic.twin.quality import Book
from galenic.twin.recording import Recording
from galenic.twin.routes import CLOCK, Routes
from galenic.twin.run import Run
from galenic.twin.twin import Twin
from galenic.twin.workers import Workers
from galenic.twin.writes import Writes

log = logging.getLogger(__name__)
T = TypeVar("T")

LINGER = 0.01
SAVE_EVERY = 300.0
SEAL_EVERY = 3600.0
VOLUME_EVERY = 60.0
QUALITY_EVERY = 5.0
TIDY_EVERY = 21_600.0
JOURNAL_KEPT = 86_400.0  # seconds that the journal stays in the database
LAST = 10.0  # seconds that events on their way in get when it stops


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
        Processes of its own when not given.
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
        self.problems = Problems(self.live)
        self.twins: dict[str, Twin] = {}
        self.failure: BaseException | None = None
        self.running = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self._jobs = Jobs()
        self._fold = Pool(1, "galenic-fold")
        self._due = Due()
        self._tick_waiting = False
        self._inbox = Inbox(LINGER if speed <= 1.0 else LINGER / 4.0)
        self._present: dict[str, Twin] = {}  # the twins, and instances of fleets
        self._routes = Routes(self._present)
        self._keeper = Keeper(project, store, self.clock, self.problems)
        self.fleets = Fleets(project.fleets, self._present, self._keeper)
        self.connectors = Connections(
            project, connectors or {}, self.clock, self.problems, self._inbox
        )
        self.sources = FleetSources(self.fleets, self.connectors, self._inbox, self.problems)
        rule = project.forward
        self.forwarding = Forwarding(rule, lambda: self._keeper.store) if rule else None
        self.recordings = [
            Recording(spec, self.connectors, self._keeper, self.problems, self._routes.tags)
            for spec in project.records
        ]
        self._computing = Computing(workers)
        self._writes = Writes(
            self._present, self.connectors, self._keeper, self._inbox, self.live, self.clock,
            self.sources.address,
        )  # fmt: skip
        self._publishing = Publishing(
            self.live, self.ask, self._computing, self._jobs, self.problems, self.pace
        )

    @property
    def store(self) -> Any:
        """The site's records; None until it starts, unless they were given."""
        return self._keeper.store

    async def start(self) -> None:
        """Open the records, bring the twins back, connect, and begin to tick."""
        self._loop = asyncio.get_running_loop()
        await self._keeper.open()
        self.connectors.book = Book(self.store)
        self.running = True
        await self.connectors.open()
        receipts = await self._fold.run(self._bring_back)
        self._spawn(self._work())
        for id, receipt in receipts:
            await self._inbox.put(receipt, twin=id)
        await self._writes.reconcile()
        for name in self.connectors:
            self._spawn(self.connectors.listen(name, self._routes.tags(name)))
            self._spawn(self._writes.perform(name))
        for name in self.sources.names():
            self._spawn(self.sources.listen(name))
        if self.forwarding is not None:
            self._spawn(self.forwarding.run())
        for recording in self.recordings:
            self._spawn(recording.listen())
            self._spawn(recording.file())
        self._spawn(self._tick())

    def _bring_back(self) -> list[tuple[str, Receipt]]:
        """Make the twins, from the records where they have been before; what they wait for."""
        now, plant_time = self.clock.now(), self.connectors.plant_time
        if plant_time is not None:  # a plant that lags must not be too late from the start
            now = min(now, plant_time)
        receipts = []
        for spec in self.project.twins:
            back = resume.bring_back(self.store, spec, now)
            self.twins[spec.id] = back.twin
            look.at_now(back.twin, back.twin.now + nanoseconds(1.0))  # compiles before time counts
            receipts += [(spec.id, receipt) for receipt in back.receipts]
            self._keeper.back(back)
        self._present.update(self.twins)
        self._routes.learn(self.connectors)
        self.fleets.open(self.store, now)
        return receipts

    async def stop(self, reason: str = "stopped") -> None:
        """Apply what has arrived, save, disconnect, end the workers. May be called twice."""
        if not self.running:
            return
        self.running = self._keeper.patient = False
        await self._quietly(self.connectors.close())
        if self.failure is None:
            await self._quietly(asyncio.wait_for(self._inbox.emptied(), LAST))
            for recording in self.recordings:
                await self._quietly(asyncio.wait_for(recording.emptied(), LAST))
        await cancelled(self._tasks)
        if self.forwarding is not None:
            self.forwarding.end()
        await self._jobs.cancel()
        await self._quietly(self._save(reason))
        self.live.close()
        await self._computing.close()
        await self._keeper.close()
        for part in (self._fold, self._keeper, self._computing):
            part.end()
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
                await first_of(self.clock.sleep_until(until), self.ended())
        finally:
            await self.stop()
        if self.failure is not None:
            raise self.failure

    async def ended(self) -> None:
        """Return when the run is over: stopped, or failed (see ``failure``)."""
        await self._ended.wait()

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
            self._inbox.fail(ConnectionLost(f"the runner stopped: {self.failure}"))

    def twin(self, id: str) -> Twin:
        """A twin by its id. Change nothing on it; for a consistent look use ``look``."""
        if self.fleets.known(id):
            self.fleets.watch(id, self.clock.now())
            return self._fold.submit(partial(self._here, id)).result()
        return self._here(id)

    def _here(self, id: str) -> Twin:
        """A twin, brought into memory where it must be; in the thread of the fold."""
        if id not in self._present:
            if not self.fleets.known(id):
                raise UnknownName.among("twin", id, [*self.twins, *self.fleets.fleets])
            self.fleets.bring([id], self.clock.now(), used=False)
        return self._present[id]

    def takers(self, tag: str) -> list[str]:
        """The twins to which a manual entry of ``tag`` goes."""
        return self._routes.readers(MANUAL, tag)

    async def submit(
        self, event: Event, twin: str = "", said: Record | None = None
    ) -> list[Effect]:
        """Bring an event in; its effects, once they are recorded.

        A Sample of a manual binding finds its twins by its tag; everything else names its twin,
        unless there is only one. ``said`` goes into the ledger with it, in one transaction.
        """
        if not self.running or self.failure is not None:
            raise ConnectionLost("the runner is not running", hint=str(self.failure or ""))
        if self.fleets.known(twin):
            address = twin
            if isinstance(event, Sample) and not event.tag.startswith(f"{twin}/"):
                event = replace(event, tag=f"{twin}/{event.tag}")
        else:
            address = self._here(twin).id if twin else self._routes.addressed(event)
        return await self._inbox.ask(event, MANUAL, address, said)

    def submit_from_thread(
        self, event: Event, twin: str = "", said: Record | None = None, timeout: float = 30.0
    ) -> list[Effect]:
        """The same from another thread (services run in threads)."""
        if self._loop is None:
            raise ConnectionLost("the runner is not running")
        future = asyncio.run_coroutine_threadsafe(self.submit(event, twin, said), self._loop)
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
        return self._fold.submit(partial(self._looked, twin, function, *args, **options)).result()

    def _looked(self, twin: str, function: Callable[..., T], *args: Any, **options: Any) -> T:
        return function(self._here(twin), *args, **options)

    async def ask(self, twin: str, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """The same from the event loop: ``await runner.ask("line-1", look.status)``."""
        return await self._fold.run(partial(self._looked, twin, function, *args, **options))

    def overview(self, fleet: str) -> list[dict[str, Any]]:
        """What is known of every instance of a fleet, as of its last event or tick."""
        return self.fleets.overview(fleet)

    def forecast(
        self,
        twin: str,
        horizon: float | None = None,
        every: float | None = None,
        outputs: Sequence[str] | None = None,
        *,
        run: Run | None = None,
    ) -> Forecast:
        """What ``look.forecast`` gives, made in a worker process.

        Blocks, so not from the event loop; ends with ``run`` when that is cancelled.
        """
        task = self.look(twin, look.forecast_task, horizon, every, outputs)
        return self._computing.ask(task, run or Run())

    def what_if(
        self,
        twin: str,
        changes: Mapping[str, Any],
        horizon: float | None = None,
        every: float | None = None,
        outputs: Sequence[str] | None = None,
        *,
        run: Run | None = None,
    ) -> WhatIf:
        """What ``look.what_if`` gives, in the same way."""
        asked = {"horizon": horizon, "every": every, "outputs": outputs}
        both = self.look(twin, Comparison.of, changes, **asked)
        return self._computing.compare(both, run or Run())

    def status(self) -> dict[str, Any]:
        """Connections, pace, queues, and what is wrong."""
        return {
            "site": self.project.site.name,
            "running": self.running,
            "time": to_iso(self.clock.now()),
            "now": self.clock.now(),
            "speed": self.pace.to_dict(),
            "queue": len(self._inbox),
            "recordings": {one.spec.connection: one.to_dict() for one in self.recordings},
            "forward": self.forwarding.to_dict() if self.forwarding else None,
            "listeners": self.live.listeners,
            "fleets": self.fleets.to_dict(),
            "problems": dict(self.problems),
            "connections": {name: asdict(c.status) for name, c in self.connectors.items()},
            "twins": {
                id: {"level": t.level.word, "health": t.health.state, "words": t.health.words}
                for id, t in self.twins.items()
            },
        }

    async def _tick(self) -> None:
        definitions = [t.definition for t in self.twins.values()]
        definitions += [fleet.definition for fleet in self.fleets.fleets.values()]
        every = nanoseconds(min((d.tick for d in definitions), default=1.0))
        due = self.clock.now()  # at once: until then a twin lives where its history begins
        while self.running:
            await self.clock.sleep_until(due)
            now = self.clock.now()
            if self._tick_waiting:
                self.pace.skipped += 1
            else:
                self._tick_waiting = True
                await self._inbox.put(Tick(now), CLOCK)
            due = max(min(due, now) + every, now + every // 2)  # a clock may be set back
            self.connectors.watch()

    async def _work(self) -> None:
        while True:
            items = await self._inbox.group()
            try:
                await self._process(items)
            finally:
                self._inbox.finished(items)

    async def _process(self, items: list[Item]) -> None:
        """Journal, apply, commit, carry out. While the store refuses, nothing is applied."""
        wanted = [item.twin for item in items if item.twin and item.twin not in self.twins]
        if wanted:
            await self._fold.run(partial(self.fleets.bring, wanted, self.clock.now()))
        await self._keeper.journal(items, self._routes.targets)
        outcomes = await self._fold.run(partial(self._accept, items))
        await self._keeper.commit(outcomes)
        for item, id, effects in outcomes:
            self._carry_out(id, effects)
            item.answer(effects)
        for item in items:
            item.answer([])
        shown = {"", *self.twins, *self.fleets.watched(self.clock.now())}
        self._publishing.samples(
            [i.event for i in items if isinstance(i.event, Sample) and i.twin in shown]
        )
        if any(isinstance(item.event, Tick) for item in items):
            self._tick_waiting = False
            await self._after_tick()
        if self.fleets.fleets:
            await self._put_fleets_away()

    async def _put_fleets_away(self) -> None:
        """Instances of fleets that have had their turn leave memory, as they are."""
        victims = await self._fold.run(partial(self.fleets.victims, self.clock.now()))
        if victims:
            await self._keeper.put_away(victims, self._fold, self.fleets.summarise, SUMMARIES)
            await self._fold.run(partial(self.fleets.gone, victims))

    def _accept(self, items: list[Item]) -> Outcomes:
        outcomes = [
            (item, id, resume.accepted(self._present[id], item.event))
            for item in items
            for id in self._routes.targets(item)
        ]
        self._keeper.applied()
        self.fleets.touched((id, item.event) for item, id, _ in outcomes)
        return outcomes

    def _carry_out(self, id: str, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Compute):
                self._jobs.start(self._compute(id, effect))
                continue
            if isinstance(effect, Write):
                self._writes.put(id, effect)
            self._publishing.effect(id, effect)

    async def _compute(self, id: str, compute: Compute) -> None:
        foretells = compute.function == annunciate.FUNCTION
        make = self._computing.forecast if foretells else self._computing.control
        outcome = await make(compute)
        event = Computed(
            compute.task, self.clock.now(), outcome.result, outcome.error, outcome.elapsed
        )
        await self._inbox.put(event, twin=id)

    async def _after_tick(self) -> None:
        now = self.clock.now()
        behind = self.pace.ticked(now)
        if behind is not None:
            words = f"asked for speed {self.speed:g}, holding {self.pace.held:.2g}"
            record = Record("speed", now, "runner", self.pace.to_dict(), reason=words)
            await self._keeper.enter(record)
            (self.problems.tell("speed", words) if behind else self.problems.solved("speed"))
        for id in [*self.twins, *self.fleets.watched(now)]:
            await self._publishing.twin(id, now)
        if self._due.is_due("save", now, SAVE_EVERY) or self._keeper.owes_checkpoint:
            await self._save("checkpoint")
        if self._due.is_due("quality", now, QUALITY_EVERY):
            await self._keep_quality()
        self._put_away(now)

    def _put_away(self, now: int) -> None:
        """Old rows into sealed files, in a thread of their own: nobody waits for it."""
        if self._due.is_due("seal", now, SEAL_EVERY):
            self._jobs.start(self._keeper.seal(now - nanoseconds(SEAL_EVERY), now))
        elif self._keeper.is_full:
            self._jobs.start(self._keeper.seal(now, now))
        if self._due.is_due("tidy", now, TIDY_EVERY):
            self._jobs.start(self._keeper.tidy(now))
        if self._due.is_due("volume", now, VOLUME_EVERY):
            self._jobs.start(self._keeper.seal_journal(now - nanoseconds(JOURNAL_KEPT), now))

    async def _keep_quality(self) -> None:
        """What became of the data of each source, kept so that a restart goes on counting."""
        records = await self._fold.run(self._counted)
        await self._keeper.quality(records, self.connectors.book.letters(self.connectors))

    def quality(self) -> dict[str, Any]:
        """What became of the data of each source; blocks, so not from the event loop.

        See `galenic.twin.quality.Book.records`.
        """
        if not self.running:  # nothing changes any more
            return self._counted()
        return self._fold.submit(self._counted).result()

    def _counted(self) -> dict[str, Any]:
        return self.connectors.book.records(self.connectors, self.twins)

    async def _save(self, reason: str) -> None:
        """Checkpoints of all twins at their journal positions, and what was counted."""
        self._keeper.saving()
        await self._keep_quality()
        for twin in self.twins.values():
            await self._keeper.save(twin, self._fold, reason)
        resident = [self._present[id] for id in self.fleets.resident()]
        if resident:
            await self._keeper.put_away(resident, self._fold, self.fleets.summarise, SUMMARIES)
