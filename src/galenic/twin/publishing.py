"""What pages and the live feed get: measured, estimated, predicted, proposed, written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from galenic.clock import seconds
from galenic.errors import GalenicError
from galenic.signals import Alert, Effect, Sample, Write
from galenic.twin import look
from galenic.twin.computing import Computing
from galenic.twin.concurrency import Jobs
from galenic.twin.live import Live
from galenic.twin.pace import Due, Pace
from galenic.twin.problems import Problems
from galenic.twin.twin import Twin

FORECAST_EVERY = 10.0

Ask = Callable[[str, Callable[[Twin], Any]], Awaitable[Any]]


class Publishing:
    """Publishes on the live feed, while anybody listens.

    Parameters
    ----------
    live : Live
    ask : callable (twin, function)
        A look at a twin between two events.
    computing, jobs
        Where forecasts are made: a forecast must not hold up the twins.
    """

    def __init__(
        self,
        live: Live,
        ask: Ask,
        computing: Computing,
        jobs: Jobs,
        problems: Problems,
        pace: Pace,
    ) -> None:
        self._live = live
        self._ask = ask
        self._computing = computing
        self._jobs = jobs
        self._problems = problems
        self._pace = pace
        self._due = Due()
        self._forecasting: set[str] = set()

    def samples(self, samples: list[Sample]) -> None:
        """The newest of what was measured, by tag."""
        if samples and self._live.listeners:
            rows = {
                s.tag: {
                    "value": s.value, "unit": s.unit, "time": s.source_time, "quality": s.quality
                }
                for s in samples
            }  # fmt: skip
            self._live.publish({"type": "samples", "samples": rows})

    def effect(self, id: str, effect: Effect) -> None:
        """What a twin decided or tells; heartbeats and silent changes of alarms are left out."""
        quiet = isinstance(effect, Alert) and effect.silent
        if not quiet and not (isinstance(effect, Write) and effect.who == "heartbeat"):
            self._live.publish({"type": "effect", "id": id, "effect": effect.to_dict()})

    async def twin(self, id: str, now: int) -> None:
        """What a twin knows and proposes, and now and then what it foresees."""
        if not self._live.listeners:
            return
        try:
            message = await self._ask(id, _known)
            self._live.publish({**message, "speed": self._pace.to_dict()})
            advice = await self._ask(id, look.recommend)
        except (GalenicError, ArithmeticError, ValueError, RuntimeError) as error:
            self._problems.tell(f"view of {id}", str(error).splitlines()[0])
            return
        self._problems.solved(f"view of {id}")
        if self._due.is_due(id, now, FORECAST_EVERY, at_once=True) and id not in self._forecasting:
            self._live.publish({"type": "proposal", "id": id, **advice})
            self._forecasting.add(id)
            self._jobs.start(self._forecast(id))

    async def _forecast(self, id: str) -> None:
        try:
            task = await self._ask(id, look.forecast_task)
            outcome = await self._computing.forecast(task)
            if outcome.error:
                self._problems.tell(f"forecast of {id}", outcome.error)
            else:
                self._problems.solved(f"forecast of {id}")
                self._live.publish({"type": "forecast", "id": id, "forecast": outcome.result})
        finally:
            self._forecasting.discard(id)


def _known(twin: Twin) -> dict[str, Any]:
    """Time, level, health, estimates, alarms and age of the data of a twin."""
    newest = max((value.time for value in twin.latest.values()), default=twin.now)
    return {
        "type": "twin",
        "id": twin.id,
        "time": twin.now,
        "folded": twin.fold.state.folded,  # a page is told after the tick, and may know more
        "level": twin.level.word,
        "health": twin.health.to_dict(),
        "estimates": look.estimates(twin),
        "alarms": [alarm.to_dict() for alarm in twin.alarms.standing()],
        "age": max(0.0, seconds(twin.now - newest)),
    }
