"""Solvers beside the twins: controllers, and the running forecasts, in processes of their own."""

from __future__ import annotations

import asyncio
from functools import partial

from galenic.signals import Compute
from galenic.twin.concurrency import Pool
from galenic.twin.workers import Outcome, ProcessWorkers, Workers


class Computing:
    """The workers of a runner.

    Parameters
    ----------
    workers : Workers, optional
        For everything; when not given, one process for controllers and one for forecasts, so that
        no forecast keeps a controller waiting.
    """

    def __init__(self, workers: Workers | None) -> None:
        self._controllers: Workers = workers or ProcessWorkers()
        self._forecasts: Workers = workers or ProcessWorkers()
        self._threads = Pool(4, "galenic-compute")

    async def control(self, compute: Compute) -> Outcome:
        """The outcome of a controller's run."""
        return await self._threads.run(partial(self._controllers.run, compute))

    async def forecast(self, compute: Compute) -> Outcome:
        """The outcome of a forecast."""
        return await self._threads.run(partial(self._forecasts.run, compute))

    async def close(self) -> None:
        """End the processes."""
        await asyncio.to_thread(self._controllers.close)
        await asyncio.to_thread(self._forecasts.close)

    def end(self) -> None:
        """End the threads."""
        self._threads.end()
