"""Threads that the event loop can wait for, and tasks that end for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Pool(ThreadPoolExecutor):
    """Threads of one purpose; with one thread what is asked is done one after the other."""

    def __init__(self, count: int, name: str) -> None:
        super().__init__(count, name)

    def run(self, function: Callable[[], T]) -> Awaitable[T]:
        """What ``function`` gives, run in a thread."""
        return asyncio.get_running_loop().run_in_executor(self, function)

    def end(self) -> None:
        """Start nothing more; what runs is not waited for."""
        self.shutdown(wait=False, cancel_futures=True)


class Jobs:
    """Tasks that come and go beside the loops of the runner."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin ``work``; it is forgotten when it has ended."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self) -> None:
        """End all that are left."""
        await cancelled(self._tasks)


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End tasks; asked again, because wait_for in Python 3.11 can swallow a cancellation."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=0.5)


async def first_of(*waits: Awaitable[Any]) -> None:
    """Return when one of ``waits`` has; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
