"""What every estimator offers, and the values that go in and out of it.

An estimator is a set of rules without memory: everything it knows about a thing is in the belief
that is handed in and handed back. This is what lets a twin rewind, replay and branch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from galenic.clock import nanoseconds
from galenic.errors import DataError, UnknownName
from galenic.inference.belief import Array, Belief
from galenic.inference.evidence import Bundle, Held, Innovation, Observation
from galenic.signals import Action
from galenic.units import from_si, unit

__all__ = [
    "QUANTILES",
    "Bundle",
    "Estimator",
    "Forecast",
    "Held",
    "Innovation",
    "Noise",
    "Observation",
    "Schedule",
    "check_bundle",
    "forecast_times",
]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Noise:
    """How fast the model is wrong and how well things are measured; all SI by path.

    Parameters
    ----------
    process : mapping state -> sd per sqrt(s)
        White noise on the derivative of a state: after t seconds it has added ``sd * sqrt(t)``.
    measurement : mapping quantity -> sd
        Used for an observation that does not state its own sd, and in predictive intervals.
    drift : mapping augmented quantity -> sd per sqrt(s)
        Random walk of a parameter or disturbance (relative, for one on the log scale).
    start : mapping quantity -> sd
        Uncertainty at the start (relative, for one on the log scale).
    """

    process: Mapping[str, float] = field(default_factory=dict)
    measurement: Mapping[str, float] = field(default_factory=dict)
    drift: Mapping[str, float] = field(default_factory=dict)
    start: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group in ("process", "measurement", "drift", "start"):
            for path, sd in getattr(self, group).items():
                if not (np.isfinite(sd) and sd >= 0):
                    raise DataError(
                        f"the sd of {path} is {sd}",
                        where=f"Noise.{group}",
                        expected="a finite number that is not negative",
                    )

    def check(self, known: Mapping[str, Sequence[str]]) -> None:
        """Refuse paths that are not in ``known[group]``, with close matches."""
        for group, names in known.items():
            for path in getattr(self, group):
                if path not in names:
                    raise UnknownName.among("quantity", path, names, where=f"Noise.{group}")


@dataclass(frozen=True)
class Schedule:
    """Future inputs: values by path from a time on [ns, SI], and actions at their own time."""

    inputs: tuple[tuple[int, Mapping[str, float]], ...] = ()
    actions: tuple[Action, ...] = ()

    @classmethod
    def of(cls, given: Any) -> Schedule:
        """A Schedule from itself, None, one mapping, or a list of (time, mapping)."""
        if isinstance(given, Schedule):
            return given
        if given is None:
            return cls()
        if isinstance(given, Mapping):
            return cls(((-(2**63), dict(given)),))
        rows = tuple((int(time), dict(values)) for time, values in given)
        return cls(tuple(sorted(rows, key=lambda row: row[0])))

    def at(self, time: int) -> dict[str, float]:
        """Values that hold from ``time`` on: each path's latest entry not after it."""
        count = bisect_right([start for start, _ in self.inputs], time)
        held: dict[str, float] = {}
        for _, values in self.inputs[:count]:
            held.update(values)
        return held

    def breaks(self, start: int, until: int) -> set[int]:
        """Times from ``start`` to ``until`` at which an input changes or an action is due."""
        times = {time for time, _ in self.inputs} | {action.source_time for action in self.actions}
        return {time for time in times if start <= time <= until}

    def due(self, time: int) -> tuple[Action, ...]:
        """Actions at exactly ``time``."""
        return tuple(action for action in self.actions if action.source_time == time)


@dataclass(frozen=True, eq=False)
class Forecast:
    """Predicted quantities on a grid of times.

    Parameters
    ----------
    times : array of int64 [ns], ``(n_times,)``
    names : tuple of str
    units : tuple of str
        Declared units; all arrays are SI.
    mean, sd : array [SI], ``(n_times, n_names)``
    levels : tuple of float
        Probability levels of ``quantiles``.
    quantiles : array [SI], ``(n_levels, n_times, n_names)``
    """

    times: np.ndarray[Any, np.dtype[np.int64]]
    names: tuple[str, ...]
    units: tuple[str, ...]
    mean: Array
    sd: Array
    quantiles: Array
    levels: tuple[float, ...] = QUANTILES

    def column(self, name: object) -> int:
        """Index of a path in ``names``."""
        if str(name) not in self.names:
            raise UnknownName.among("forecast quantity", str(name), self.names)
        return self.names.index(str(name))

    def band(self, name: object, level: float = 0.9) -> tuple[Array, Array]:
        """Lower and upper quantile over time that hold ``level`` [SI]; must be among the levels."""
        column = self.column(name)
        wanted = (round(0.5 - level / 2, 10), round(0.5 + level / 2, 10))
        for bound in wanted:
            if bound not in self.levels:
                raise DataError(
                    f"no {bound:.3g} quantile was computed",
                    where="Forecast.band",
                    expected=f"a level made of {self.levels}",
                )
        low, high = (self.quantiles[self.levels.index(bound), :, column] for bound in wanted)
        return low, high

    def at(self, time: int) -> dict[str, tuple[float, float]]:
        """Mean and sd of every quantity at the grid time nearest to ``time`` [SI]."""
        row = int(np.argmin(np.abs(self.times - time)))
        return {
            name: (float(self.mean[row, i]), float(self.sd[row, i]))
            for i, name in enumerate(self.names)
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values in declared units, for screens and JSON."""
        series = {}
        for i, (name, text) in enumerate(zip(self.names, self.units, strict=True)):
            series[name] = {
                "unit": text,
                "mean": np.asarray(from_si(self.mean[:, i], text)).tolist(),
                "sd": (self.sd[:, i] / unit(text).scale).tolist(),
                "quantiles": {
                    f"{level:g}": np.asarray(from_si(self.quantiles[k, :, i], text)).tolist()
                    for k, level in enumerate(self.levels)
                },
            }
        return {"times": self.times.tolist(), "series": series}


class Estimator(Protocol):
    """Keeps a belief in step with data. Implementations store settings only; state travels.

    ``names`` are the quantities of its beliefs and ``observable`` those that a bundle may hold.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def observable(self) -> tuple[str, ...]: ...

    def start(self, prior: Belief | None, time: int) -> Belief:
        """The first belief at ``time`` [ns]; a ``prior`` replaces the model's start values."""

    def predict(self, belief: Belief, until: int, inputs: Mapping[str, float]) -> Belief:
        """The belief at ``until`` [ns], with ``inputs`` (SI by path) held constant on the way."""

    def correct(self, belief: Belief, bundle: Bundle) -> Belief:
        """The belief after the observations of its own time; carries their innovations."""

    def act(self, belief: Belief, action: Action) -> Belief:
        """The belief after something was done to the thing at the belief's own time."""

    def observe(self, belief: Belief, outputs: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Mean and sd [SI] of model outputs under the belief and its held inputs."""

    def forecast(
        self,
        belief: Belief,
        until: int,
        every: float,
        inputs: Any,
        outputs: Sequence[str] | None = None,
        rng: np.random.Generator | None = None,
    ) -> Forecast:
        """Predictions every ``every`` seconds under a Schedule; the belief is left as it is."""


def check_bundle(belief: Belief, bundle: Bundle, observable: Collection[str]) -> None:
    """Refuse a bundle of another time, or of quantities that the model does not have."""
    if bundle.time != belief.time:
        raise DataError(
            f"observations of time {bundle.time} for a belief at {belief.time}",
            where="correct",
            expected="equal times",
            hint="predict to the bundle's time; for an earlier one, rewind to a checkpoint first",
        )
    for observation in bundle.observations:
        if observation.quantity not in observable:
            raise UnknownName.among("quantity", observation.quantity, observable, where="correct")


def check_until(belief: Belief, until: int) -> None:
    """Refuse to predict backwards."""
    if until < belief.time:
        raise DataError(
            f"a prediction to {until} from a belief at {belief.time}",
            where="predict",
            expected="a time that is not earlier than the belief's",
            hint="rewind to a checkpoint before that time",
        )


def check_action(belief: Belief, action: Action) -> None:
    """Refuse an action of another time than the belief's."""
    if action.source_time != belief.time:
        raise DataError(
            f"an action at {action.source_time} for a belief at {belief.time}",
            where=f"act on {action.target}",
            expected="equal times",
            hint="predict to the action's time; for a late one, rewind to a checkpoint first",
        )


def forecast_times(start: int, until: int, every: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Grid from ``start`` every ``every`` seconds, ending exactly at ``until``."""
    step = nanoseconds(every)
    if step <= 0 or until < start:
        raise DataError(
            f"a forecast from {start} to {until} every {every} s",
            expected="a later end and a positive step",
        )
    grid = np.arange(start, until + 1, step, dtype=np.int64)
    return grid if grid[-1] == until else np.append(grid, np.int64(until))
