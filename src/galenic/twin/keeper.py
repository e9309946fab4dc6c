"""What the runner makes durable: journal, decisions, outcomes of writes, checkpoints.

All of it happens in one thread, in the order in which it was asked for; only old rows are put into
sealed files beside it, in a second one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

from galenic.clock import Clock
from galenic.connect.tally import DeadLetter
from galenic.errors import StorageError
from galenic.records import Checkpoint, open_site, shelving
from galenic.signals import Correction, Effect, Event, Record, Sample, Write
from galenic.twin import resume, writer
from galenic.twin.alarms import entries_of
from galenic.twin.concurrency import Pool
from galenic.twin.inbox import Item
from galenic.twin.kept import keep_evolved
from galenic.twin.problems import Problems
from galenic.twin.project import Project
from galenic.twin.quality import QUALITY, keep_letters
from galenic.twin.twin import Twin

RETRY = 1.0
FULL = 500_000  # samples in packs, after which they are sealed whatever their age
REPLAYED = 150_000
"""Events taken in by twins since their last checkpoint, after which there is one whatever its age:
all of them are folded again at the next start."""
Outcomes = list[tuple[Item, str, list[Effect]]]


class Keeper:
    """The records of a site, as the runner keeps them.

    Parameters
    ----------
    project : Project
    store : Store, optional
        The project's own folder when not given; one that is given stays open at the end.

    Attributes
    ----------
    decisions : mapping of id to Decisions
        What each twin has decided, and how far its journal has been applied.
    patient : bool
        Whether it goes on trying while the store refuses. A full disk stops acting, not the
        process; at the end of a run nobody can wait for it.
    """

    def __init__(self, project: Project, store: Any, clock: Clock, problems: Problems) -> None:
        self.store = store
        self.decisions: dict[str, resume.Decisions] = {}
        self.patient = True
        self._reached: dict[str, int] = {}
        self._site = project.site
        self._rules = project.retention
        self._clock = clock
        self._problems = problems
        self._owns_store = store is None
        self._unsealed = 0
        self._unsaved = 0
        self._disk = Pool(1, "galenic-disk")
        self._shelf = Pool(1, "galenic-shelf")

    async def open(self) -> None:
        """Open the site's folder, unless a store was given."""
        if self.store is None:
            site = self._site
            self.store = await self._disk.run(
                partial(
                    open_site,
                    site.folder,
                    name=site.name,
                    clock=self._clock,
                    store=site.store,
                    publish=site.heads,
                )
            )

    async def close(self) -> None:
        """Close what was opened here, once no thread is at work in it."""
        await self._shelf.run(lambda: None)
        if self._owns_store and self.store is not None:
            await self._disk.run(self.store.close)

    def end(self) -> None:
        """End the threads."""
        self._shelf.end()
        self._disk.end()

    def back(self, back: resume.Return) -> None:
        """A twin has come back: enter what has to be told."""
        with self.store.transaction() as tx:
            self.backs(tx, back)

    def backs(self, tx: Any, back: resume.Return) -> None:
        """The same in an open transaction."""
        id = back.twin.id
        for record in back.records:
            tx.ledger(record)
            keep_evolved(tx, id, record)
        tx.put(resume.DECISIONS, id, back.decisions.to_dict())
        self.holds(back)

    def holds(self, back: resume.Return) -> None:
        """A twin is here, and there is nothing to tell."""
        self.decisions[back.twin.id] = back.decisions
        self._reached[back.twin.id] = back.decisions.position

    async def put_away(
        self, twins: list[Twin], fold: Pool, facts: Callable[[Twin], Any], kind: str
    ) -> None:
        """Checkpoints of twins that leave memory, in one commit, with a document of each."""

        def points() -> list[tuple[Checkpoint, str, Any]]:
            return [(*self._point(twin), facts(twin)) for twin in twins]

        await self._durably(partial(self._put_away, await fold.run(points), kind))

    def _put_away(self, points: list[tuple[Checkpoint, str, Any]], kind: str) -> None:
        with self.store.transaction() as tx:
            for point, belief, said in points:
                tx.checkpoint(point, keep=2)
                known = {"position": point.position, "belief": belief, "time": point.time}
                tx.put(resume.BELIEFS, point.subject, known)
                tx.put(kind, point.subject, said)

    def forget(self, id: str) -> None:
        """A twin has left memory."""
        self.decisions.pop(id, None)
        self._reached.pop(id, None)

    async def open_intentions(self) -> list[Any]:
        """Intended writes without an outcome."""
        return await self._disk.run(partial(resume.open_intentions, self.store))

    async def journal(self, items: list[Item], targets: Callable[[Item], list[str]]) -> None:
        """Raw events and the order in which each twin will apply them, in one commit."""
        await self._durably(partial(self._journal, items, targets))

    def applied(self) -> None:
        """The twins have taken in all that was journalled; called where they are, by the fold."""
        self._reached = {id: decisions.position for id, decisions in self.decisions.items()}

    async def commit(self, outcomes: Outcomes) -> None:
        """What was decided: ledger entries of the twins, and intentions before any write."""
        await self._durably(partial(self._commit, outcomes))

    async def enter(self, *records: Record) -> None:
        """Ledger entries."""
        await self._durably(partial(self._enter, records))

    async def save(self, twin: Twin, fold: Pool, reason: str) -> None:
        """A checkpoint of a twin at its journal position."""
        point, belief = await fold.run(partial(self._point, twin))
        await self._durably(partial(self._save, point, belief, reason))

    def saving(self) -> None:
        """Checkpoints of all begin now."""
        self._unsaved = 0

    async def quality(self, records: Mapping[str, Any], letters: list[DeadLetter]) -> None:
        """What became of the data of each source, and messages that nobody could read."""
        await self._durably(partial(self._quality, records, letters))

    async def seal(self, until: int, now: int) -> None:
        """Move samples before ``until`` [ns] to sealed segments, beside what is committed."""
        self._unsealed = 0
        await self._durably(partial(self._seal, until, now), self._shelf)

    async def tidy(self, now: int) -> None:
        """Put small segments of past days together; dispose of what no rule and no hold keeps."""
        await self._durably(partial(self._tidy, now), self._shelf)

    async def seal_journal(self, until: int, now: int) -> None:
        """Move the oldest journal rows to a sealed volume, if enough are from before ``until``."""
        await self._durably(lambda: self.store.seal_journal(until, now) and None, self._shelf)

    async def take(self, samples: list[Sample]) -> None:
        """Samples of tags that belong to no twin, in one commit."""
        await self._durably(partial(self._take, samples))

    @property
    def is_full(self) -> bool:
        """Whether so much was taken since the last seal that reading it would become slow."""
        return self._unsealed >= FULL

    @property
    def owes_checkpoint(self) -> bool:
        """Whether so much was taken in since the last one that a start would take long."""
        return self._unsaved >= REPLAYED

    async def _durably(self, work: Callable[[], None], pool: Pool | None = None) -> None:
        while True:
            try:
                await (pool or self._disk).run(work)
            except StorageError as error:
                self._problems.tell("store", str(error))
                if not self.patient:
                    raise
                await asyncio.sleep(RETRY)
            else:
                self._problems.solved("store")
                return

    def _journal(self, items: list[Item], targets: Callable[[Item], list[str]]) -> None:
        now = self._clock.now()
        with self.store.transaction() as tx:
            offsets = self._taken(tx, [item.event for item in items], now)
            mine: dict[str, list[int]] = {}
            for offset, item in zip(offsets, items, strict=True):
                for id in targets(item):
                    mine.setdefault(id, []).append(offset)
            for id, rows in mine.items():
                self.decisions[id].position = tx.applied(id, rows, now)
                self._unsaved += len(rows)
            for item in items:
                if item.said is not None:
                    for id in targets(item):
                        tx.ledger(replace(item.said, subject=id))
                if isinstance(item.event, Correction):
                    place = self.store.locate(item.event.amends)
                    if place is not None:
                        tx.correct(item.event, *place)

    def _take(self, samples: list[Sample]) -> None:
        with self.store.transaction() as tx:
            tx.take(samples, self._clock.now())
        self._unsealed += len(samples)

    def _seal(self, until: int, now: int) -> None:
        while self.store.seal(until, now) is not None:
            pass

    def _tidy(self, now: int) -> None:
        while shelving.compact(self.store, now - now % shelving.DAY, now) is not None:
            pass
        for rule in self._rules:
            shelving.dispose(self.store, rule, now, "retention")

    @staticmethod
    def _taken(tx: Any, events: list[Event], now: int) -> list[int]:
        """Journal events in their order, and file the samples among them; their offsets."""
        offsets: list[int] = []
        for are_samples, run in groupby(events, lambda event: isinstance(event, Sample)):
            batch = list(run)
            take = tx.take if are_samples else tx.journal
            offsets += take(batch, now)
        return offsets

    def _commit(self, outcomes: Outcomes) -> None:
        with self.store.transaction() as tx:
            for _, id, effects in outcomes:
                decisions = self.decisions[id]
                for entry in entries_of(id, effects):
                    tx.ledger(entry)
                for effect in effects:
                    if resume.decides(effect):
                        decisions.add(effect)
                        tx.ledger(
                            writer.intended(id, effect) if isinstance(effect, Write) else effect
                        )
                        keep_evolved(tx, id, effect)
            for id in {id for _, id, _ in outcomes}:
                tx.put(resume.DECISIONS, id, self.decisions[id].to_dict())

    def _enter(self, records: Iterable[Record]) -> None:
        with self.store.transaction() as tx:
            for record in records:
                tx.ledger(record)

    def _quality(self, records: Mapping[str, Any], letters: list[DeadLetter]) -> None:
        with self.store.transaction() as tx:
            for source, record in records.items():
                tx.put(QUALITY, source, record)
            keep_letters(tx, letters)

    def _point(self, twin: Twin) -> tuple[Checkpoint, str]:
        data, belief = twin.snapshot(), twin.belief.identity
        position = self._reached[twin.id]  # what is journalled alone is still to come
        return Checkpoint(twin.id, position, self._clock.now(), data), belief

    def _save(self, point: Checkpoint, belief: str, reason: str) -> None:
        with self.store.transaction() as tx:
            tx.checkpoint(point)
            facts = {"position": point.position, "belief": belief, "time": point.time}
            tx.put(resume.BELIEFS, point.subject, facts)
            if reason != "checkpoint":
                tx.ledger(Record("stop", point.time, point.subject, facts, reason=reason))
