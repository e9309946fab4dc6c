"""A twin over a record: the same journal, ledger and belief as live, as fast as it goes.

The record is read in order of arrival; between samples the clock ticks as it would have ticked.
Writes are not possible: what would be written is only proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from galenic.clock import SECOND, SystemClock, nanoseconds, to_iso
from galenic.errors import DataError, UnknownName
from galenic.signals import Alert, Compute, Computed, Event, Record, Sample, Tick
from galenic.stages.twins.scoring import Scorer
from galenic.twin import look, resume
from galenic.twin.kinds import ConnectionSpec, connector_of
from galenic.twin.level import Level
from galenic.twin.project import Project, TwinSpec
from galenic.twin.twin import Twin
from galenic.twin.workers import InlineWorkers, Workers

BATCH = 1000
GAP = 600 * SECOND  # without data for so long, the clock ticks once a minute
SPARSE = 60 * SECOND

Report = Callable[[float, str], None]


@dataclass
class Shadowed:
    """What a run over a record found for one twin."""

    twin: Twin
    decisions: resume.Decisions
    alerts: list[Alert] = field(default_factory=list)
    events: int = 0
    scorer: Scorer | None = None

    def to_dict(self) -> dict[str, Any]:
        """Status, estimates, alerts and scores as plain values."""
        rows = [score.row() for score in self.scorer.scores.values()] if self.scorer else []
        return {
            "status": look.status(self.twin),
            "estimates": look.estimates(self.twin),
            "alerts": [{**alert.to_dict(), "time": to_iso(alert.time)} for alert in self.alerts],
            "scores": sorted(rows, key=lambda row: (row["quantity"], row["ahead"])),
            "events": self.events,
        }


class RecordRun:
    """All twins of a project over one record.

    Parameters
    ----------
    project : Project
    record : iterable of Sample
        In order of arrival.
    store : Store, optional
        Journal and ledger go there, as in a live run; none are kept without it.
    scorer : callable, optional
        Makes the `Scorer` of a twin.
    workers : Workers, optional
        For controllers; in this process when not given.
    """

    def __init__(
        self,
        project: Project,
        record: Iterable[Any],
        store: Any = None,
        scorer: Callable[[], Scorer] | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.project = project
        self.record = record
        self.store = store
        self.scorer = scorer
        self.workers = workers or InlineWorkers()
        self.twins: dict[str, Shadowed] = {}

    def run(self, report: Report = lambda fraction, text: None) -> dict[str, Shadowed]:
        """Go through the record; what was found, by twin."""
        batch: list[Event] = []
        for event in self._events():
            if not self.twins:
                self._begin(event)
            batch.append(event)
            if len(batch) == BATCH:
                self._apply(batch)
                report(0.5, to_iso(self._time(event)))
                batch = []
        self._apply(batch)
        if not self.twins:
            raise DataError("the record holds no sample", hint="is it the right file, or mapping?")
        self._end()
        return self.twins

    def _events(self) -> Iterator[Event]:
        """Samples, and between them the ticks of the clock."""
        every = nanoseconds(min((t.definition.tick for t in self.project.twins), default=1.0))
        due = 0
        for sample in self.record:
            if not isinstance(sample, Sample):
                continue
            arrived = sample.received_time
            since = due
            while due and due <= arrived:
                yield Tick(due)
                due += every if due - since < GAP else SPARSE
            yield sample
            due = due or arrived + every
        if due:
            yield Tick(due)

    @staticmethod
    def _time(event: Event) -> int:
        return event.received_time if isinstance(event, Sample) else event.time  # type: ignore[attr-defined]

    def _begin(self, event: Event) -> None:
        start = self._time(event) - 1
        for spec in self.project.twins:
            twin, decisions = self._twin(spec, start)
            made = self.scorer() if self.scorer else None
            self.twins[spec.id] = Shadowed(twin, decisions, scorer=made)

    def _twin(self, spec: TwinSpec, start: int) -> tuple[Twin, resume.Decisions]:
        spec = replace(spec, level=min(spec.level, Level.SHADOW))
        if self.store is None:
            twin = Twin(spec.definition, spec.id, spec.values, start=start, level=spec.level)
            return twin, resume.Decisions()
        if self.store.get(resume.STARTS, spec.id) is not None:
            raise DataError(
                f"the site has records of {spec.id!r} already",
                where=str(self.store.folder),
                hint="give another folder with --site, or remove the old one",
            )
        back = resume.bring_back(self.store, spec, start)
        with self.store.transaction() as tx:
            for record in back.records:
                tx.ledger(record)
        return back.twin, back.decisions

    def _apply(self, events: list[Event]) -> None:
        """Journal, apply, commit: the order of a live run, each batch in one transaction.

        The record is durable already, so nothing is lost when a batch is not committed.
        """
        if self.store is None:
            self._go_through(events, None)
            return
        with self.store.transaction() as tx:
            self._go_through(events, tx)

    def _go_through(self, events: list[Event], tx: Any) -> None:
        offsets = self._journal(events, tx)
        order: dict[str, list[int]] = {id: [] for id in self.twins}
        decided: dict[str, list[Record]] = {id: [] for id in self.twins}
        for event, offset in zip(events, offsets, strict=True):
            for id, shadowed in self.twins.items():
                if isinstance(event, Sample) and event.tag not in shadowed.twin.channels:
                    continue
                order[id].append(offset)
                decided[id] += self._accept(shadowed, event, order[id], tx)
        if tx is not None:
            self._commit(order, decided, tx)

    def _accept(self, shadowed: Shadowed, event: Event, order: list[int], tx: Any) -> list[Record]:
        """Apply an event, and the answers of computations that it asks for."""
        twin, scorer = shadowed.twin, shadowed.scorer
        if scorer is not None and isinstance(event, Sample):
            scorer.saw(twin, event)
        effects = resume.accepted(twin, event)
        shadowed.events += 1
        if scorer is not None and isinstance(event, Tick):
            scorer.look(twin)
        records = [effect for effect in effects if isinstance(effect, Record)]
        shadowed.alerts += [e for e in effects if isinstance(e, Alert) and e.active]
        for compute in [effect for effect in effects if isinstance(effect, Compute)]:
            outcome = self.workers.run(compute)
            answer = Computed(
                compute.task, twin.now, outcome.result, outcome.error, outcome.elapsed
            )
            order += self._journal([answer], tx)
            records += self._accept(shadowed, answer, order, tx)
        return records

    def _journal(self, events: list[Event], tx: Any) -> Sequence[int]:
        if tx is None or not events:
            return range(len(events))
        tx.samples([event for event in events if isinstance(event, Sample)])
        offsets: range = tx.journal(events, self._time(events[-1]))
        return offsets

    def _commit(
        self, order: Mapping[str, list[int]], decided: Mapping[str, list[Record]], tx: Any
    ) -> None:
        for id, records in decided.items():
            decisions = self.twins[id].decisions
            if order[id]:
                decisions.position = tx.applied(id, order[id], self.twins[id].twin.now)
            for record in records:
                tx.ledger(record)
                decisions.add(record)
            tx.put(resume.DECISIONS, id, decisions.to_dict())

    def _end(self) -> None:
        if self.store is None:
            return
        with self.store.transaction() as tx:
            for id, shadowed in self.twins.items():
                twin, position = shadowed.twin, shadowed.decisions.position
                facts = {"position": position, "belief": twin.belief.identity, "time": twin.now}
                tx.put(resume.BELIEFS, id, facts)
                tx.ledger(Record("stop", twin.now, id, facts, reason="end of the record"))


def record_of(project: Project, data: str, connection: str = "") -> Iterable[Any]:
    """The samples of a file, read as the project's connection says.

    The connection is the named one, or the only one of kind ``replay`` or ``files``; a file that
    is no CSV needs none.
    """
    fitting = [
        spec
        for spec in project.connections
        if spec.name == connection or (not connection and spec.kind in ("replay", "files"))
    ]
    if connection and not fitting:
        names = [spec.name for spec in project.connections]
        raise UnknownName.among("connection", connection, names, where=str(project.path or ""))
    path = Path(data).resolve()
    if not path.is_file():
        raise DataError(f"there is no file {str(path)!r}", where="--data")
    if not fitting and path.suffix == ".csv":
        raise DataError(
            f"which columns of {data!r} are which tags?",
            expected="a connection of kind replay with a mapping in the project",
            hint="see docs/reference/project-file.md",
        )
    given = fitting[0] if fitting else ConnectionSpec("record", "replay")
    mapping = {key: value for key, value in given.options.items() if key == "mapping"}
    spec = ConnectionSpec(
        given.name, "replay", {**mapping, "file": str(path)}, given.where, given.folder
    )
    record: Iterable[Any] = connector_of(spec, SystemClock()).record
    return record
