"""Blocks over threads, processes or machines; answers in order; a lost block is done again."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from galenic.engine.batch.plan import Block, Plan
from galenic.engine.batch.work import Answer, solve_block
from galenic.errors import DataError

log = logging.getLogger(__name__)

ATTEMPTS = 3
UNKNOWN = 4  # workers of an executor that does not say
AHEAD = 3  # blocks under way or waiting for their turn, per worker


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

    def answers(self, blocks: Iterable[Block]) -> Generator[Answer, None, None]:
        """The answers of all blocks, in order."""
        if self.executor is None and self.workers == 1:
            yield from (solve_block(self.plan, block) for block in blocks)
        elif self.executor is None:
            pool = ThreadPoolExecutor(self.workers, thread_name_prefix="population")
            try:
                yield from self._over(pool.submit, self.plan, blocks)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        else:
            yield from self._over(*_submit(self.executor, self.plan), blocks)

    def _over(
        self, submit: Callable[..., Any], plan: Any, blocks: Iterable[Block]
    ) -> Generator[Answer, None, None]:
        """Submit ahead, wait for any, give on the next in order."""
        waiting: dict[int, tuple[Block, Any, int]] = {}
        ready: dict[int, Answer] = {}
        rest, following = iter(blocks), 0
        exhausted = False
        try:
            while True:
                while not exhausted and len(waiting) + len(ready) < AHEAD * self.workers:
                    block = next(rest, None)
                    exhausted = block is None
                    if block is not None:
                        self._give(submit, plan, block, 1, waiting, ready)
                while following in ready:
                    yield ready.pop(following)
                    following += 1
                if exhausted and not waiting and not ready:
                    return
                if waiting and following not in ready:
                    self._take(submit, plan, waiting, ready)
        finally:
            for _, future, _ in waiting.values():
                future.cancel()

    def _give(
        self,
        submit: Callable[..., Any],
        plan: Any,
        block: Block,
        attempt: int,
        waiting: dict[int, tuple[Block, Any, int]],
        ready: dict[int, Answer],
    ) -> None:
        """Submit a block; where that cannot be done any more, solve it here."""
        try:
            future = submit(solve_block, plan, block)
        except RuntimeError as error:
            log.warning("block %d is solved here: %s", block.index, error)
            self.again += 1
            ready[block.index] = solve_block(self.plan, block)
            return
        waiting[block.index] = block, future, attempt
        future.add_done_callback(lambda done, index=block.index: self._done.put((index, done)))

    def _take(
        self,
        submit: Callable[..., Any],
        plan: Any,
        waiting: dict[int, tuple[Block, Any, int]],
        ready: dict[int, Answer],
    ) -> None:
        """Wait for one block; a worker that was lost costs one more attempt."""
        index, done = self._done.get()
        if index not in waiting or waiting[index][1] is not done:
            return
        block, future, attempt = waiting.pop(index)
        try:
            ready[index] = future.result()
        except Exception as error:
            if self.executor is None:
                raise
            self.again += 1
            log.warning("block %d is done again: %s: %s", index, type(error).__name__, error)
            if attempt < ATTEMPTS:
                self._give(submit, plan, block, attempt + 1, waiting, ready)
            else:
                ready[index] = solve_block(self.plan, block)


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
