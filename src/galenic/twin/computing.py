"""Solvers beside the twins: controllers, and forecasts, in processes of their own.

A forecast takes longer than a step of the fold, so none is made between two events.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from galenic.errors import SolveError
from galenic.inference.estimator import Forecast
from galenic.signals import Compute
from galenic.twin import look
from galenic.twin.concurrency import Pool
from galenic.twin.run import Run
from galenic.twin.workers import (
    InlineWorkers,
    Outcome,
    ProcessWorkers,
    Stopped,
    Unsendable,
    Workers,
)

if TYPE_CHECKING:
    from galenic.twin.twin import Twin

PATIENCE = 120.0  # seconds that a forecast may take for which somebody waits
FORESEE = "galenic.twin.work:foresee"


@dataclass(frozen=True)
class Comparison:
    """The two forecasts of a what-if as tasks, of one moment, and the changes in SI."""

    running: Compute
    alternative: Compute
    changes: Mapping[str, float]

    @classmethod
    def of(cls, twin: Twin, changes: Mapping[str, Any], **asked: Any) -> Comparison:
        """Of a twin between two events; ``asked`` as in ``look.forecast_task``."""
        return cls(
            look.forecast_task(twin, **asked),
            look.forecast_task(twin, changes=changes, **asked),
            look.inputs_si(twin, changes),
        )


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
        self._controlling = Pool(4, "galenic-control")
        self._forecasting = Pool(2, "galenic-forecast")
        self._here = threading.Lock()

    async def control(self, compute: Compute) -> Outcome:
        """The outcome of a controller's run."""
        return await self._controlling.run(partial(self._controllers.run, compute))

    async def forecast(self, compute: Compute) -> Outcome:
        """The outcome of a running forecast."""
        return await self._forecasting.run(partial(self._forecast, compute))

    def ask(self, compute: Compute, run: Run) -> Forecast:
        """A forecast for which ``run`` waits, and which ends with it; blocks."""
        task = replace(compute, function=FORESEE, deadline=PATIENCE)
        outcome = self._forecast(task, lambda: run.cancelled)
        if outcome.cause is not None:
            raise outcome.cause
        if outcome.error:
            raise SolveError(
                f"there is no forecast: {outcome.error}",
                where=compute.task,
                hint="ask for a shorter horizon or a longer interval",
            )
        made: Forecast = outcome.result
        return made

    def compare(self, both: Comparison, run: Run) -> look.WhatIf:
        """Both forecasts of a what-if, one after the other; blocks."""
        run.progress(0.0, "as it is")
        running = self.ask(both.running, run)
        run.progress(0.5, "with the changes")
        return look.WhatIf(running, self.ask(both.alternative, run), both.changes)

    def _forecast(self, compute: Compute, stopped: Stopped | None = None) -> Outcome:
        """In a worker; what cannot go there is made here, in this thread, one at a time."""
        outcome = self._forecasts.run(compute, stopped)
        if not isinstance(outcome.cause, Unsendable):
            return outcome
        with self._here:
            return InlineWorkers().run(compute)

    async def close(self) -> None:
        """End the processes."""
        await asyncio.to_thread(self._controllers.close)
        await asyncio.to_thread(self._forecasts.close)

    def end(self) -> None:
        """End the threads."""
        self._controlling.end()
        self._forecasting.end()
