"""Jobs: service calls that take longer than a second, kept over a restart."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from galenic.clock import Clock, SystemClock
from galenic.errors import DataError, UnknownName
from galenic.records.store import Store, Transaction

JOB = "job"

NEXT: dict[str, tuple[str, ...]] = {
    "queued": ("running", "cancelled", "interrupted", "failed"),
    "running": ("done", "failed", "cancelled", "interrupted"),
}
"""States that may follow a state; all others are final."""

STATES = ("queued", "running", "done", "failed", "cancelled", "interrupted")


@dataclass(frozen=True)
class Job:
    """One call of a service. Times are ns UTC, 0 where not reached; progress is 0 to 1."""

    id: str
    service: str
    state: str
    who: str
    created: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    started: int = 0
    finished: int = 0
    progress: float = 0.0
    message: str = ""
    result: str = ""
    error: Mapping[str, Any] = field(default_factory=dict)
    request: str = ""

    @property
    def is_over(self) -> bool:
        return self.state not in NEXT


class Jobs:
    """The jobs of one site.

    Each method commits by itself, unless it is given an open transaction, so that a result
    artefact, a ledger entry and the job's end can be one commit.
    """

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()

    def get(self, job: str) -> Job:
        """The job with this id."""
        record = self._store.get(JOB, job)
        if record is None:
            raise UnknownName.among("job", job, self._store.list(JOB))
        return Job(**record)

    def all(self, state: str | None = None) -> list[Job]:
        """Jobs in the order they were queued."""
        jobs = [Job(**record) for record in self._store.list(JOB).values()]
        return [job for job in jobs if state is None or job.state == state]

    def queue(
        self, service: str, arguments: Mapping[str, Any], who: str, tx: Transaction | None = None
    ) -> Job:
        """Accept a call."""
        now = self._clock.now()
        job = Job(f"{now:016x}-{secrets.token_hex(4)}", service, "queued", who, now, arguments)
        with self._inside(tx) as inside:
            inside.put(JOB, job.id, vars(job))
        return job

    def start(self, job: str, tx: Transaction | None = None) -> Job:
        """A worker has taken the job."""
        return self._move(job, "running", tx, started=self._clock.now())

    def report(
        self, job: str, progress: float, message: str = "", tx: Transaction | None = None
    ) -> Job:
        """Note progress of a running job; each note is a durable commit, so not too often."""
        with self._inside(tx) as inside:
            present = self._present(inside, job)
            if present.state != "running":
                raise DataError(f"job {job} is {present.state}", expected="running")
            after = replace(present, progress=min(max(progress, 0.0), 1.0), message=message)
            inside.put(JOB, job, vars(after))
        return after

    def done(self, job: str, result: str = "", tx: Transaction | None = None) -> Job:
        """The job has ended well; ``result`` is the hash of an artefact."""
        return self._end(job, "done", tx, result=result, progress=1.0)

    def failed(self, job: str, error: Mapping[str, Any], tx: Transaction | None = None) -> Job:
        """The job has ended with an error (``GalenicError.to_dict``)."""
        return self._end(job, "failed", tx, error=error)

    def cancelled(self, job: str, tx: Transaction | None = None) -> Job:
        """Somebody stopped the job."""
        return self._end(job, "cancelled", tx)

    def interrupt_open(self) -> list[Job]:
        """Mark what a stopped server left queued or running as interrupted."""
        left = [job for job in self.all() if not job.is_over]
        if not left:
            return []
        with self._store.transaction() as tx:
            message = "the server stopped before it ended"
            return [self._end(job.id, "interrupted", tx, message=message) for job in left]

    def _end(self, job: str, state: str, tx: Transaction | None, **facts: Any) -> Job:
        return self._move(job, state, tx, finished=self._clock.now(), **facts)

    def _move(self, job: str, state: str, tx: Transaction | None, **facts: Any) -> Job:
        with self._inside(tx) as inside:
            present = self._present(inside, job)
            if state not in NEXT.get(present.state, ()):
                raise DataError(
                    f"job {job} is {present.state} and cannot become {state}",
                    expected=" or ".join(NEXT.get(present.state, ("no further state",))),
                )
            after = replace(present, state=state, **facts)
            inside.put(JOB, job, vars(after))
        return after

    def _present(self, tx: Transaction, job: str) -> Job:
        record = tx.get(JOB, job)
        if record is None:
            raise UnknownName.among("job", job, self._store.list(JOB))
        return Job(**record)

    @contextmanager
    def _inside(self, tx: Transaction | None) -> Iterator[Transaction]:
        if tx is not None:
            yield tx
        else:
            with self._store.transaction() as own:
                yield own
