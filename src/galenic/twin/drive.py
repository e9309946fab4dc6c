"""Drive a twin and a simulated plant in one process, as fast as it goes: studies and scores.

No journal, no connector, no process: samples go from the plant into the twin, writes go back at
once, computations are done where they are asked for. The same twin, the same plant and the same
order of events as in a live run, so both ways agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from galenic.clock import nanoseconds
from galenic.signals import Command, Compute, Computed, Effect, Receipt, Sample, Tick, Write
from galenic.twin.level import Level
from galenic.twin.twin import Twin
from galenic.twin.workers import InlineWorkers, Workers
from galenic.twin.writer import checked


class Plant(Protocol):
    """What is driven: see ``galenic.connect.connector.Plant``."""

    def advance(self, until: int) -> list[Sample]: ...

    def write(self, tag: str, value: Any, unit: str, time: int) -> Any: ...


class Drive:
    """A twin and its plant, joined.

    Parameters
    ----------
    twin : Twin
    plant : Plant
        At the twin's start time.
    workers : Workers, optional
        In this process when not given. A computation takes no plant time.
    """

    def __init__(self, twin: Twin, plant: Plant, workers: Workers | None = None) -> None:
        self.twin = twin
        self.plant = plant
        self.workers = workers or InlineWorkers()
        self.now = twin.now

    def run(self, until: int, watch: Callable[[Drive], None] | None = None) -> list[Effect]:
        """Run to ``until`` [ns]; ``watch`` looks after every tick. All effects, in order."""
        return [effect for effects in self.steps(until, watch) for effect in effects]

    def steps(
        self, until: int, watch: Callable[[Drive], None] | None = None
    ) -> Iterator[list[Effect]]:
        """The effects of each tick."""
        every = nanoseconds(self.twin.definition.tick)
        while self.now + every <= until:
            self.now += every
            effects: list[Effect] = []
            for sample in self.plant.advance(self.now):
                effects += self.twin.accept(sample)
            effects += self._follow_up(self.twin.accept(Tick(self.now)))
            if watch is not None:
                watch(self)
            yield effects

    def command(self, name: str, who: str, reason: str, **arguments: Any) -> list[Effect]:
        """A person's command, now."""
        command = Command(name, self.now, who, reason, arguments)
        return self._follow_up(self.twin.accept(command))

    def engage(self, who: str = "study", reason: str = "two-way run") -> list[Effect]:
        """Raise the level to TWIN."""
        return self.command("level", who, reason, level=Level.TWIN.word)

    def _follow_up(self, effects: list[Effect]) -> list[Effect]:
        """Carry out writes and computations, and what follows from them."""
        done: list[Effect] = []
        waiting = list(effects)
        while waiting:
            effect = waiting.pop(0)
            done.append(effect)
            if isinstance(effect, Write):
                waiting += self.twin.accept(self._written(effect))
            elif isinstance(effect, Compute):
                outcome = self.workers.run(effect)
                event = Computed(
                    effect.task, self.now, outcome.result, outcome.error, outcome.elapsed
                )
                waiting += self.twin.accept(event)
        return done

    def _written(self, write: Write) -> Receipt:
        result = self.plant.write(write.tag, write.value, write.unit, self.now)
        receipt = Receipt(
            write.key, write.tag, result.outcome, self.now, result.read_back, result.detail
        )
        return checked(write, receipt)
