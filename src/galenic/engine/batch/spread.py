"""Blocks over threads, processes or machines; answers in order; a lost block is done again."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from galenic.engine.batch.plan import Block, Plan
from galenic.engine.batch.work import Answer, solve_block, solve_blocks
from galenic.errors import DataError

log = logging.getLogger(__name__)

ATTEMPTS = 3
UNKNOWN = 4  # workers of an executor that does not say
AHEAD = 3  # tasks under way or waiting for their turn, per worker
TASKS = 16  # per worker of an executor: fewer cost less to send, more share the end evenly
BLOCKS = 4  # in a task at most: answers that wait for their turn take memory


@dataclass
class Spread:
    """Gives blocks to workers and hands answers on in the order of the blocks.

    Parameters
    ----------
    plan : Plan
        What every block needs.
    executor : Executor or Dask client, optional
        Where blocks are solved; threads of this process if left out.
    workers : int
        How many blocks are solved at a time; 1 solves them here.
    """

    plan: Plan
    executor: Any = None
    workers: int = 1
    again: int = 0  # blocks that were done more than once
    _done: queue.SimpleQueue[tuple[int, Any]] = field(default_factory=queue.SimpleQueue)

    def answers(self, blocks: Sequence[Block]) -> Generator[Answer, None, None]:
        """The answers of all blocks, in order."""
        if self.executor is None and self.workers == 1:
            yield from (solve_block(self.plan, block) for block in blocks)
        elif self.executor is None:
            pool = ThreadPoolExecutor(self.workers, thread_name_prefix="population")
            try:
                yield from self._over(pool.submit, self.plan, [[block] for block in blocks])
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        else:
            yield from self._over(*_submit(self.executor, self.plan), self._tasks(blocks))

    def _tasks(self, blocks: Sequence[Block]) -> list[Sequence[Block]]:
        size = min(max(len(blocks) // (TASKS * self.workers), 1), BLOCKS)
        return [blocks[first : first + size] for first in range(0, len(blocks), size)]

    def _over(
        self, submit: Callable[..., Any], plan: Any, tasks: Sequence[Sequence[Block]]
    ) -> Generator[Answer, None, None]:
        """Submit ahead, wait for any, give on the next in order."""
        waiting: dict[int, tuple[Sequence[Block], Any, int]] = {}
        ready: dict[int, list[Answer]] = {}
        given = following = 0
        try:
            while following < len(tasks):
                while given < len(tasks) and len(waiting) + len(ready) < AHEAD * self.workers:
                    self._give(submit, plan, given, tasks[given], 1, waiting, ready)
                    given += 1
                while following not in ready:
                    self._take(submit, plan, waiting, ready)
                yield from ready.pop(following)
                following += 1
        finally:
            for _, future, _ in waiting.values():
                future.cancel()

    def _give(
        self,
        submit: Callable[..., Any],
        plan: Any,
        task: int,
        blocks: Sequence[Block],
        attempt: int,
        waiting: dict[int, tuple[Sequence[Block], Any, int]],
        ready: dict[int, list[Answer]],
    ) -> None:
        """Submit a task; where that cannot be done any more, solve it here."""
        try:
            future = submit(solve_blocks, plan, blocks)
        except RuntimeError as error:
            log.warning("%s solved here: %s", _named(blocks), error)
            self.again += len(blocks)
            ready[task] = solve_blocks(self.plan, blocks)
            return
        waiting[task] = blocks, future, attempt
        future.add_done_callback(lambda done: self._done.put((task, done)))

    def _take(
        self,
        submit: Callable[..., Any],
        plan: Any,
        waiting: dict[int, tuple[Sequence[Block], Any, int]],
        ready: dict[int, list[Answer]],
    ) -> None:
        """Wait for one task; a worker that was lost costs one more attempt."""
        task, done = self._done.get()
        if task not in waiting or waiting[task][1] is not done:
            return
        blocks, future, attempt = waiting.pop(task)
        try:
            ready[task] = future.result()
        except Exception as error:
            if self.executor is None:
                raise
            self.again += len(blocks)
            log.warning("%s done again: %s: %s", _named(blocks), type(error).__name__, error)
            if attempt < ATTEMPTS:
                self._give(submit, plan, task, blocks, attempt + 1, waiting, ready)
            else:
                ready[task] = solve_blocks(self.plan, blocks)


def _named(blocks: Sequence[Block]) -> str:
    first, last = blocks[0].index, blocks[-1].index
    return f"block {first} is" if first == last else f"blocks {first} to {last} are"


def _submit(executor: Any, plan: Plan) -> tuple[Callable[..., Any], Any]:
    """How blocks are submitted, and the plan as the workers get it."""
    if hasattr(executor, "scatter"):
        shared = executor.scatter(plan, broadcast=True, hash=False)

        def submit(function: Callable[..., Any], *arguments: Any) -> Any:
            return executor.submit(function, *arguments, pure=False)

        return submit, shared
    if isinstance(executor, Executor) or callable(getattr(executor, "submit", None)):
        return executor.submit, plan
    raise DataError(
        f"{type(executor).__name__} cannot run blocks",
        expected="a concurrent.futures executor or a Dask client",
    )


def workers_of(executor: Any) -> int:
    """How many blocks an executor solves at a time, as far as it says."""
    if hasattr(executor, "scatter"):
        return max(1, int(sum(executor.ncores().values())))
    return max(1, int(getattr(executor, "_max_workers", UNKNOWN)))
