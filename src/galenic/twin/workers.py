"""Worker processes for Compute effects: warm, with a deadline, thrown away when they hang.

A worker is a process of its own on a pipe. Past its deadline it is killed and a new one is started,
so a solver that never returns costs one run and nothing else.
"""

from __future__ import annotations

import logging
import pickle
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from galenic.signals import Compute
from galenic.twin.work import named, warm_up

log = logging.getLogger(__name__)

MAKING = 120.0


@dataclass(frozen=True)
class Outcome:
    """What a run gave: its result, or the error in words, and how long it took [s]."""

    result: Any = None
    error: str = ""
    elapsed: float = 0.0


class Workers(Protocol):
    """Runs Compute effects; ``run`` blocks, and is called in a thread."""

    def run(self, compute: Compute) -> Outcome: ...

    def close(self) -> None: ...


def perform(function: str, arguments: Mapping[str, Any]) -> Outcome:
    """Run a named function here; an exception becomes the outcome's error."""
    begin = time.monotonic()
    try:
        return Outcome(plain(named(function)(arguments)), "", time.monotonic() - begin)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        return Outcome(None, words.splitlines()[0], time.monotonic() - begin)


def plain(value: Any) -> Any:
    """Plain Python values of nested results: what a journal keeps must read back the same."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


class InlineWorkers:
    """Runs in the calling thread, without a deadline: studies, replay, tests."""

    def run(self, compute: Compute) -> Outcome:
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
        pipe.send(perform(function, arguments))


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

    def run(self, compute: Compute) -> Outcome | None:
        """The outcome; None past the deadline.

        The first run of its kind in a process also makes the controller or estimator. That may
        take longer once; what comes then is too old to act on, and says so.
        """
        kind = kind_of(compute)
        is_new = kind not in self._known
        self._pipe.send((compute.function, dict(compute.arguments)))
        if not self._pipe.poll(MAKING if is_new else compute.deadline):
            return None
        self._known.add(kind)
        outcome: Outcome = self._pipe.recv()
        if is_new and not outcome.error and outcome.elapsed > compute.deadline:
            return Outcome(None, f"made ready in {outcome.elapsed:.1f} s", outcome.elapsed)
        return outcome

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

    def run(self, compute: Compute) -> Outcome:
        begin = time.monotonic()
        worker = self._idle.get()
        try:
            worker = worker or _Worker()
            if not worker.warm():
                raise EOFError("the worker did not start")
            outcome = worker.run(compute)
        except (EOFError, OSError, pickle.PicklingError, AttributeError) as error:
            self._throw_away(worker, f"the worker died: {error}")
            worker = None
            return Outcome(None, f"the worker died: {error}", time.monotonic() - begin)
        else:
            if outcome is None:
                words = f"no result within the deadline of {compute.deadline:g} s"
                self._throw_away(worker, words)
                worker = None
                return Outcome(None, words, time.monotonic() - begin)
            return outcome
        finally:
            self._idle.put(worker)

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
