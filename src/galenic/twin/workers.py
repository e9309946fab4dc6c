"""Worker processes for Compute effects: warm, with a deadline, thrown away when they hang.

A worker is a process of its own on a pipe. Past its deadline it is killed and a new one is started,
so a solver that never returns costs one run and nothing else. So it is when nobody waits for the
outcome any more.
"""

from __future__ import annotations

import logging
import pickle
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol

from galenic.errors import DataError, GalenicError
from galenic.signals import Compute
from galenic.twin.run import Cancelled
from galenic.twin.work import named, warm_up

log = logging.getLogger(__name__)

MAKING = 120.0
GLANCE = 0.1  # how often [s] is looked whether anybody still waits

Stopped = Callable[[], bool]


class Unsendable(DataError):
    """What should run cannot go to another process, such as a function of a user's own file."""


@dataclass(frozen=True)
class Outcome:
    """What a run gave: its result, or the error in words, and how long it took [s].

    ``cause`` is the error itself where it says what was found and expected.
    """

    result: Any = None
    error: str = ""
    elapsed: float = 0.0
    cause: GalenicError | None = None


class Workers(Protocol):
    """Runs Compute effects; ``run`` blocks, and is called in a thread.

    When ``stopped`` says so nobody waits for the outcome: `Cancelled` may be raised.
    """

    def run(self, compute: Compute, stopped: Stopped | None = None) -> Outcome: ...

    def close(self) -> None: ...


def perform(function: str, arguments: Mapping[str, Any]) -> Outcome:
    """Run a named function here; an exception becomes the outcome's error."""
    begin = time.monotonic()
    try:
        return Outcome(plain(named(function)(arguments)), "", time.monotonic() - begin)
    except Exception as error:
        return _failed(error, time.monotonic() - begin)


def _failed(error: Exception, elapsed: float = 0.0) -> Outcome:
    words = f"{type(error).__name__}: {error}".splitlines()[0]
    cause = error.with_traceback(None) if isinstance(error, GalenicError) else None
    return Outcome(None, words, elapsed, cause)


def plain(value: Any) -> Any:
    """Plain Python values of nested results: what a journal keeps must read back the same."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


class InlineWorkers:
    """Runs in the calling thread, without a deadline: studies, replay, tests."""

    def run(self, compute: Compute, stopped: Stopped | None = None) -> Outcome:
        return perform(compute.function, compute.arguments)

    def close(self) -> None:
        """Nothing to end."""


def kind_of(compute: Compute) -> tuple[str, ...]:
    """What a worker keeps between runs depends on function, factory, model and options."""
    arguments = compute.arguments
    system = getattr(arguments.get("system"), "identity", "")
    factory, options = arguments.get("factory", ""), arguments.get("options", "")
    return (compute.function, str(factory), str(system), repr(options))


def serve(handle: int) -> None:
    """The life of a worker process: run what comes until the pipe ends."""
    pipe = Connection(handle)
    warm_up()
    pipe.send(Outcome())
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        except Exception as error:  # what came needs a module that is not to be found here
            pipe.send(_failed(Unsendable(f"{type(error).__name__}: {error}")))
            continue
        pipe.send(perform(function, arguments))


def _packed(compute: Compute) -> memoryview:
    try:
        return ForkingPickler.dumps((compute.function, dict(compute.arguments)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Unsendable(f"{compute.task} cannot go to a worker: {error}") from error


class _Worker:
    """One process and our end of its pipe.

    Started as a plain command, not by multiprocessing, which would run the user's script again.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        code = f"from galenic.twin.workers import serve; serve({theirs.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._pipe = Connection(ours.detach())
        self._is_warm = False
        self._known: set[tuple[str, ...]] = set()

    def warm(self, patience: float = 60.0) -> bool:
        """Wait until the imports are done; not counted against a deadline."""
        if not self._is_warm and self._pipe.poll(patience):
            self._pipe.recv()
            self._is_warm = True
        return self._is_warm

    def run(self, compute: Compute, packed: memoryview, stopped: Stopped | None) -> Outcome | None:
        """The outcome of ``compute``, which is sent ``packed``; None past the deadline.

        The first run of its kind in a process also makes the controller or estimator. That may
        take longer once; what comes then is too old to act on, and says so.
        """
        kind = kind_of(compute)
        is_new = kind not in self._known
        self._pipe.send_bytes(packed)
        if not self._answers(MAKING if is_new else compute.deadline, stopped):
            return None
        self._known.add(kind)
        outcome: Outcome = self._pipe.recv()
        if is_new and not outcome.error and outcome.elapsed > compute.deadline:
            return Outcome(None, f"made ready in {outcome.elapsed:.1f} s", outcome.elapsed)
        return outcome

    def _answers(self, patience: float, stopped: Stopped | None) -> bool:
        """Whether there is an answer within ``patience`` [s]."""
        if stopped is None:
            return self._pipe.poll(patience)
        until = time.monotonic() + patience
        while (left := until - time.monotonic()) > 0:
            if self._pipe.poll(min(left, GLANCE)):
                return True
            if stopped():
                raise Cancelled("nobody waits for the outcome any more")
        return False

    def kill(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.wait()


class ProcessWorkers:
    """Up to ``count`` worker processes; each is started when it is first needed."""

    def __init__(self, count: int = 1) -> None:
        self._idle: queue.Queue[_Worker | None] = queue.Queue()
        for _ in range(count):
            self._idle.put(None)
        self._count = count

    def run(self, compute: Compute, stopped: Stopped | None = None) -> Outcome:
        begin = time.monotonic()
        try:
            packed = _packed(compute)
        except Unsendable as error:
            return _failed(error)
        worker = self._free(stopped)
        try:
            worker = worker or _Worker()
            if not worker.warm():
                raise EOFError("the worker did not start")
            outcome = worker.run(compute, packed, stopped)
        except (EOFError, OSError) as error:
            self._throw_away(worker, f"the worker died: {error}")
            worker = None
            return Outcome(None, f"the worker died: {error}", time.monotonic() - begin)
        except Cancelled:
            self._throw_away(worker, f"{compute.task} was cancelled")
            worker = None
            raise
        else:
            if outcome is None:
                words = f"no result within the deadline of {compute.deadline:g} s"
                self._throw_away(worker, words)
                worker = None
                return Outcome(None, words, time.monotonic() - begin)
            return outcome
        finally:
            self._idle.put(worker)

    def _free(self, stopped: Stopped | None) -> _Worker | None:
        """A worker that is idle, or the right to start one."""
        while stopped is not None:
            if stopped():
                raise Cancelled("nobody waits for the outcome any more")
            try:
                return self._idle.get(timeout=GLANCE)
            except queue.Empty:
                continue
        return self._idle.get()

    def _throw_away(self, worker: _Worker | None, why: str) -> None:
        log.warning("worker replaced: %s", why)
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the processes that are idle; one that still runs ends when its pipe does."""
        for _ in range(self._count):
            try:
                worker = self._idle.get(timeout=0.5)
            except queue.Empty:
                return
            if worker is not None:
                worker.kill()
