"""What a controller is asked for and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from galenic.errors import DataError
from galenic.units import from_si

Limits = Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Goal:
    """What to aim at, from where, and what is known to come; all SI by path.

    Parameters
    ----------
    time : int [ns]
        The moment of the decision.
    targets : mapping quantity -> float
        Wanted values of outputs.
    inputs : mapping input -> float
        Values of all inputs that hold now.
    schedule : sequence of (float [s from now], mapping input -> float)
        Known changes of inputs that the controller does not move, in order of time.
    previous : mapping
        ``to_dict`` of the last proposal, for a warm start and as the fallback.
    """

    time: int
    targets: Mapping[str, float]
    inputs: Mapping[str, float]
    schedule: Sequence[tuple[float, Mapping[str, float]]] = ()
    previous: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """A wanted action, not yet allowed; values SI by path.

    Parameters
    ----------
    inputs : mapping input -> float
        The move to make now.
    plan : mapping input -> sequence of float
        The moves over the horizon, one per step.
    times : sequence of float [s from now]
        Ends of the steps.
    forecast : mapping quantity -> sequence of float
        Predicted outputs at ``times`` under the plan.
    units : mapping path -> str
        Declared units of all of the above, for display.
    slack : mapping quantity -> float
        How far soft limits are expected to be broken at worst; only those that are.
    reasons : tuple of str
        Why, in words.
    status : str
        ``solved``, ``limited`` (best iterate at the deadline) or ``fallback``.
    elapsed : float [s]
    governed : mapping quantity -> float
        Targets that a reference governor let through; empty without one.
    """

    inputs: Mapping[str, float]
    plan: Mapping[str, Sequence[float]]
    times: Sequence[float]
    forecast: Mapping[str, Sequence[float]]
    units: Mapping[str, str] = field(default_factory=dict)
    slack: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    status: str = "solved"
    elapsed: float = 0.0
    governed: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, SI; ``display`` has the moves in declared units."""
        shown = {p: float(from_si(v, self.units.get(p, "1"))) for p, v in self.inputs.items()}
        return {
            "inputs": dict(self.inputs),
            "display": {p: [v, self.units.get(p, "1")] for p, v in shown.items()},
            "plan": {path: list(values) for path, values in self.plan.items()},
            "times": list(self.times),
            "forecast": {path: list(values) for path, values in self.forecast.items()},
            "units": dict(self.units),
            "slack": dict(self.slack),
            "reasons": list(self.reasons),
            "status": self.status,
            "elapsed": self.elapsed,
            "governed": dict(self.governed),
        }


class Controller(Protocol):
    """Proposes actions from a belief; keeps no state between calls that changes its answer."""

    def propose(self, belief: Any, goal: Goal, limits: Limits) -> Proposal:
        """The next action. Never raises for want of time: it answers with a fallback.

        One that keeps a warm start has ``forget()``, after which answers depend on arguments only.
        """


Forewarning = Callable[[Any, Goal], Sequence[tuple[float, Mapping[str, float]]]]


def on_grid(
    schedule: Sequence[tuple[float, Mapping[str, float]]], path: str, start: float, ends: Any
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Time average over each step of an input that changes at scheduled times.

    Parameters
    ----------
    schedule : sequence of (time [s from now], mapping input -> value)
    path : str
    start : float
        Value before the first change.
    ends : sequence of float [s]
        Ends of the steps; the first one begins at 0.
    """
    changes = sorted((time, values[path]) for time, values in schedule if path in values)
    if any(not np.isfinite(time) for time, _ in changes):
        raise DataError(f"the schedule of {path} has a time that is not finite")
    edges = np.concatenate([[0.0], np.asarray(ends, dtype=float)])
    integral = np.zeros_like(edges)
    value, last, area = start, 0.0, 0.0
    points = [(time, new) for time, new in changes if time > 0.0]
    for time, new in changes:
        if time <= 0.0:
            value = new
    for i, edge in enumerate(edges):
        while points and points[0][0] <= edge:
            time, new = points.pop(0)
            area += value * (time - last)
            value, last = new, time
        area += value * (edge - last)
        last = edge
        integral[i] = area
    return np.diff(integral) / np.diff(edges)
