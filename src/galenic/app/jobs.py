"""Jobs: calls of services with progress, cancel and outcome, and the processes they run in."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from galenic.errors import GalenicError
from galenic.twin.result import Artefact, Result
from galenic.twin.run import Cancelled

LIVE = ("queued", "running")


class ServiceFailed(GalenicError):
    """A service stopped with an error that is a bug of its own, not of the caller."""

    @classmethod
    def of(cls, name: str, error: BaseException) -> ServiceFailed:
        """The failure of service ``name``, with the line where ``error`` was raised."""
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        found = f"{name} failed: {type(error).__name__}: {error}"
        return cls(found, where=where, hint="this is a defect of the service; please report it")


@dataclass
class Job:
    """One call of a service.

    ``state`` is queued, running, done, failed, cancelled or interrupted (the server stopped while
    it ran). Times are ns UTC, 0 where not reached. ``arguments`` is what the ledger keeps of them.
    """

    id: str
    service: str
    who: str
    arguments: Mapping[str, Any]
    created: int
    state: str = "queued"
    started: int = 0
    finished: int = 0
    progress: float = 0.0
    message: str = ""
    result: Result | None = field(default=None, repr=False)
    error: Exception | None = None
    result_hash: str = ""
    request: str = ""
    ended: threading.Event = field(default_factory=threading.Event, repr=False)
    stop: threading.Event = field(default_factory=threading.Event, repr=False)
    kill: Callable[[], None] | None = field(default=None, repr=False)

    @property
    def live(self) -> bool:
        """Whether it still may change; until its end stands in the records, it may."""
        return not self.ended.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; whether it has ended."""
        return self.ended.wait(timeout)

    def outcome(self) -> Result:
        """The result of an ended job, or its error raised."""
        self.wait()
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def record(self) -> dict[str, Any]:
        """What the store keeps of it, as `galenic.records.jobs.Job` has it."""
        names = ("id", "service", "state", "who", "created", "started", "finished")
        kept = {name: getattr(self, name) for name in (*names, "progress", "message")}
        error = error_facts(self.error) if self.error is not None else {}
        kept |= {"arguments": dict(self.arguments), "result": self.result_hash, "error": error}
        return kept | ({"request": self.request} if self.request else {})

    def to_dict(self) -> dict[str, Any]:
        """The job with its result, as surfaces show it."""
        shown = self.record()
        shown["result_hash"] = shown.pop("result")
        if self.result is not None:
            shown["result"] = self.result.to_dict()
        return shown


def error_facts(error: BaseException) -> dict[str, str]:
    """What surfaces say about an error."""
    if isinstance(error, GalenicError):
        return error.to_dict()
    return {"error": type(error).__name__, "found": str(error)}


@dataclass(frozen=True)
class Task:
    """What a worker process needs to run a service."""

    module: str
    name: str
    arguments: Mapping[str, Any]
    who: str
    seed: int
    local: bool


class Worker:
    """One process that runs services one after the other; terminated to cancel.

    Kept warm between tasks, so that imports and compiled models are paid once.
    """

    def __init__(self, models: Sequence[str], site: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=work, args=(other, tuple(models), site), name="galenic-worker"
        )
        self.process.start()
        other.close()
        self._is_broken = False

    @property
    def is_usable(self) -> bool:
        """Whether it can take another task."""
        return not self._is_broken and self.process.is_alive()

    def run(self, task: Task, report: Callable[[float, str], None]) -> Result:
        """The result of ``task``; its error is raised here."""
        try:
            self.pipe.send(task)
            while True:
                what, content = self.pipe.recv()
                if what == "progress":
                    report(*content)
                elif what == "done":
                    record, artefacts = content
                    return Result.from_dict(record, artefacts)
                else:
                    raise content
        except (EOFError, OSError) as error:
            self._is_broken = True  # it may not have been reaped yet, so is_alive is not enough
            raise ServiceFailed(
                f"the process of {task.name} ended before its answer",
                hint="it may have run out of memory",
            ) from error

    def stop(self) -> None:
        """Terminate the process, and those that its service has started."""
        if self.process.pid is not None and self.process.is_alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGTERM)
            self.process.terminate()  # it may not have had the time to lead a group

    def end(self) -> None:
        """Terminate the process and wait for its end."""
        self.stop()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(5)
        self.pipe.close()


def work(pipe: Connection, models: Sequence[str], site: str | None) -> None:
    """Serve tasks from ``pipe`` until the other side has closed it: main of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's; it ends its workers
    os.setpgid(0, 0)  # what a service starts ends with it
    host = _host(models, site)
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(task, pipe, host))


def _host(models: Sequence[str], site: str | None) -> Callable[[bool], Any]:
    from galenic import plugins
    from galenic.twin.run import Host

    plugins.use_files(models)
    opened: dict[str, Any] = {}

    def host(local: bool) -> Host:
        if site is not None and not opened:
            from galenic.records import open_site

            opened["store"] = open_site(site, readonly=True)
        return Host(opened.get("store"), local=local)

    return host


def _answer(task: Task, pipe: Connection, host: Callable[[bool], Any]) -> tuple[str, Any]:
    from galenic.app.index import find
    from galenic.twin.run import Run

    def report(fraction: float, text: str) -> None:
        pipe.send(("progress", (fraction, text)))

    try:
        service = find(task.module, task.name)
        run = Run(task.who, task.seed, host=host(task.local), report=report)
        result = service.perform(task.arguments, run)
        artefacts: tuple[Artefact, ...] = tuple(result.artefacts)
        return "done", (result.to_dict(), artefacts)
    except GalenicError as error:
        return "failed", error.with_traceback(None)
    except Exception as error:
        return "failed", ServiceFailed.of(task.name, error)


class Workers:
    """Up to ``limit`` worker processes; further tasks wait for one to be free."""

    def __init__(self, limit: int, models: Sequence[str], site: str | None) -> None:
        self._free: list[Worker] = []
        self._busy: list[Worker] = []
        self._models = list(models)
        self._site = site
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(limit)
        self._closed = False
        atexit.register(self.close)  # a process may have children, so it is no daemon

    def warm(self) -> None:
        """Start one process ahead of the first call."""
        with self._lock:
            if not self._free and not self._busy and not self._closed:
                self._free.append(Worker(self._models, self._site))

    def run(self, task: Task, job: Job, report: Callable[[float, str], None]) -> Result:
        """Run ``task`` for ``job`` in a process of its own; cancelling terminates it."""
        with self._slots:
            worker = self._take(job)
            try:
                result = worker.run(task, report)
            except ServiceFailed as error:
                if job.stop.is_set():
                    raise Cancelled(f"{job.service} was cancelled") from error
                raise
            finally:
                self._give(worker, job)
        return result

    def _take(self, job: Job) -> Worker:
        with self._lock:
            if job.stop.is_set() or self._closed:
                raise Cancelled(f"{job.service} was cancelled")
            worker = self._idle() or Worker(self._models, self._site)
            self._busy.append(worker)
            job.kill = worker.stop
            return worker

    def _idle(self) -> Worker | None:
        """A free process that still lives."""
        while self._free:
            worker = self._free.pop()
            if worker.is_usable:
                return worker
            worker.end()
        return None

    def _give(self, worker: Worker, job: Job) -> None:
        with self._lock:
            job.kill = None
            self._busy.remove(worker)
            if job.stop.is_set() or self._closed or not worker.is_usable:
                worker.end()
            else:
                self._free.append(worker)

    def close(self) -> None:
        """Terminate all processes."""
        atexit.unregister(self.close)
        with self._lock:
            self._closed = True
            for worker in self._busy:
                worker.stop()
            for worker in self._free:
                worker.end()
            self._free.clear()
