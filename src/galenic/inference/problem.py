"""What a fit is about: readings of experiments, free parameters, and predictions with derivatives.

A problem predicts every reading from the free parameters and gives the exact derivative. Two kinds:
``ModelProblem`` runs a model through its experiments, ``FunctionProblem`` wraps a function.
Free parameters live on their own scale (log for positive ones), where bounds, priors and
covariances are taken.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from galenic.engine.integrate import quiet
from galenic.engine.simulate import Simulator
from galenic.engine.timeline import tidy
from galenic.errors import DataError, UnknownName
from galenic.inference.algebra import Array
from galenic.units import Quantity, duration, from_si, to_si, unit, value_in


@dataclass(frozen=True)
class Free:
    """A parameter to be estimated.

    Parameters
    ----------
    path : str
        Path in the model, or name in a function.
    lower, upper, start : float or text with unit, optional
        Bounds and first value; from the model's declaration where left out.
    log : bool, optional
        Estimate its logarithm; by default if it cannot be negative and starts above zero.
    prior : tuple (value, sd), optional
        Normal prior: value as ``start``; sd in the parameter's unit, or relative for ``log``.
    unit : str
        For functions only; models know their units.
    """

    path: str
    lower: Any = None
    upper: Any = None
    start: Any = None
    log: bool | None = None
    prior: tuple[Any, Any] | None = None
    unit: str = "1"


@dataclass(frozen=True)
class Reading:
    """A measured value [SI] of ``quantity`` at ``time`` [s] with its sd [SI]."""

    quantity: str
    time: float
    value: float
    sd: float = 1.0


@dataclass(frozen=True)
class Record:
    """One experiment and what was measured in it.

    ``values`` are settings of this run that override the model's, by path.
    """

    readings: tuple[Reading, ...]
    experiment: Any = None
    values: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @classmethod
    def of(
        cls,
        quantity: str,
        times: Iterable[Any],
        values: Iterable[float],
        unit: str,
        sd: float | Iterable[float] = 1.0,
        **more: Any,
    ) -> Record:
        """Readings of one quantity; ``values`` and ``sd`` in ``unit``, missing ones left out."""
        rows = np.atleast_1d(np.asarray(list(values), dtype=float))
        spread = np.broadcast_to(np.asarray(sd, dtype=float), rows.shape)
        readings = tuple(
            Reading(quantity, duration(t), float(to_si(v, unit)), float(s * _scale(unit)))
            for t, v, s in zip(times, rows, spread, strict=True)
            if np.isfinite(v)
        )
        return cls(readings, **more)

    def and_also(self, other: Record) -> Record:
        """The same run with the readings of another record too."""
        return replace(self, readings=self.readings + other.readings)


def _scale(text: str) -> float:
    return unit(text).scale


@dataclass(frozen=True)
class Parameter:
    """A free parameter with its numbers settled: all on its own scale, unless said otherwise."""

    name: str
    unit: str
    log: bool
    lower: float
    upper: float
    start: float
    prior_mean: float = np.nan
    prior_sd: float = np.inf

    def natural(self, value: Any) -> Any:
        """SI value of a number on the own scale."""
        return np.exp(value) if self.log else value


class Problem(ABC):
    """Readings, their sd, and predictions of them from free parameters.

    Parameters
    ----------
    parameters : tuple of Parameter
    readings : tuple of Reading
        All readings, record after record.
    """

    parameters: tuple[Parameter, ...]
    readings: tuple[Reading, ...]

    @abstractmethod
    def predict(self, natural: Array) -> tuple[Array, Array]:
        """Predicted readings ``(m,)`` and derivative ``(m, k)`` by the SI parameter values."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    @property
    def logs(self) -> Any:
        return np.array([p.log for p in self.parameters], dtype=bool)

    @property
    def values(self) -> Array:
        """Measured values [SI]."""
        return np.array([reading.value for reading in self.readings])

    @property
    def sds(self) -> Array:
        """Stated sd of each reading [SI]."""
        return np.array([reading.sd for reading in self.readings])

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper bound on the own scale."""
        return (
            np.array([p.lower for p in self.parameters]),
            np.array([p.upper for p in self.parameters]),
        )

    @property
    def start(self) -> Array:
        """First value on the own scale."""
        return np.array([p.start for p in self.parameters])

    def natural(self, theta: Array) -> Array:
        """SI values of a vector on the own scale."""
        return np.where(self.logs, np.exp(np.where(self.logs, theta, 0.0)), theta)

    def own_scale(self, natural: Array) -> Array:
        """The reverse of ``natural``."""
        return np.where(self.logs, np.log(np.where(self.logs, natural, 1.0)), natural)

    def linear(self, theta: Array) -> tuple[Array, Array]:
        """Predicted readings and derivative on the own scale."""
        natural = self.natural(theta)
        y, jacobian = self.predict(natural)
        return y, jacobian * np.where(self.logs, natural, 1.0)

    def _settle(self, readings: Sequence[Reading]) -> tuple[Reading, ...]:
        for i, reading in enumerate(readings):
            if not (np.isfinite(reading.value) and reading.sd > 0):
                raise DataError(
                    f"reading {reading.value} with sd {reading.sd}",
                    where=f"reading {i} of {reading.quantity} at {reading.time:g} s",
                    expected="a finite value and an sd above 0",
                )
        if len(readings) == 0:
            raise DataError("there are no readings to fit")
        return tuple(readings)


class FunctionProblem(Problem):
    """A problem whose predictions come from ``function(values) -> (y, dy/dvalues)``.

    Parameters
    ----------
    function : callable
        Takes the parameter values [SI] in the order of ``free``.
    free : sequence of Free
        Each with ``start``.
    values, sd : array ``(m,)`` [SI]
    """

    def __init__(
        self,
        function: Callable[[Array], tuple[Array, Array]],
        free: Sequence[Free],
        values: Any,
        sd: Any = 1.0,
        quantity: str = "y",
        times: Any = None,
    ) -> None:
        rows = np.asarray(values, dtype=float)
        spread = np.broadcast_to(np.asarray(sd, dtype=float), rows.shape)
        at = np.arange(len(rows), dtype=float) if times is None else np.asarray(times, dtype=float)
        self.function = function
        self.parameters = tuple(settle(f, f.unit, -np.inf, np.inf, np.nan) for f in free)
        self.readings = self._settle(
            [
                Reading(quantity, float(t), float(v), float(s))
                for t, v, s in zip(at, rows, spread, strict=True)
            ]
        )

    def predict(self, natural: Array) -> tuple[Array, Array]:
        y, jacobian = self.function(natural)
        return np.asarray(y, dtype=float), np.asarray(jacobian, dtype=float)


class ModelProblem(Problem):
    """Readings of one or more experiments on a model.

    Parameters
    ----------
    model : Model or System
    records : sequence of Record
    free : sequence of str or Free
        Parameters (or start values of states) to estimate.
    rtol : float
        Tolerance of the integrator.
    """

    def __init__(
        self,
        model: Any,
        records: Sequence[Record],
        free: Sequence[str | Free],
        rtol: float = 1e-8,
    ) -> None:
        self.simulator = Simulator(model)
        self.records = tuple(records)
        self.rtol = rtol
        self._responses: dict[int, tuple[Any, Any]] = {}
        items = [Free(f) if isinstance(f, str) else f for f in free]
        self.parameters = tuple(self._parameter(item) for item in items)
        self.readings = self._settle([r for record in records for r in record.readings])

    def _parameter(self, item: Free) -> Parameter:
        system = self.simulator.system
        known = {e.path: e for e in (*system.parameters, *system.states)}
        if item.path not in known:
            raise UnknownName.among("parameter", item.path, known, where="a fit")
        entry = known[item.path]
        return settle(item, entry.unit.text, entry.lower, entry.upper, entry.value)

    def predict(self, natural: Array) -> tuple[Array, Array]:
        parts = [self._predict_record(i, natural) for i in range(len(self.records))]
        return np.concatenate([y for y, _ in parts]), np.concatenate([j for _, j in parts])

    def _predict_record(self, index: int, natural: Array) -> tuple[Array, Array]:
        """Predictions and derivatives of one record, from one differentiable run."""
        record = self.records[index]
        response, forward = self._response(index, natural)
        with quiet():
            nominal = np.array(response.function(natural)).ravel()
            slopes = np.array(forward(natural, nominal, np.eye(len(natural))))
        columns = {name: i for i, name in enumerate(response.outputs)}
        rows = {float(time): i for i, time in enumerate(response.times)}
        places = [rows[tidy(r.time)] * len(columns) + columns[r.quantity] for r in record.readings]
        return nominal[places], slopes[places]

    def _response(self, index: int, natural: Array) -> tuple[Any, Any]:
        """The run as a differentiable Function; kept, unless the model's own events may move."""
        if index in self._responses:
            return self._responses[index]
        record = self.records[index]
        given = {
            p.name: _quantity(value, p.unit)
            for p, value in zip(self.parameters, natural, strict=True)
        }
        response = self.simulator.response(
            record.experiment,
            wrt=self.names,
            outputs=tuple(dict.fromkeys(r.quantity for r in record.readings)),
            values={**record.values, **given},
            times=sorted({r.time for r in record.readings}),
            rtol=self.rtol,
        )
        made = (response, response.function.forward(len(natural)))
        if not any(rule.trigger is not None for rule in self.simulator.system.events):
            self._responses[index] = made
        return made


def _quantity(value: float, text: str) -> Quantity:
    return Quantity(float(from_si(float(value), text)), unit(text))


def settle(item: Free, text: str, lower: float, upper: float, start: float) -> Parameter:
    """The numbers of a free parameter on its own scale; declarations fill what it leaves out."""

    def given(value: Any, default: float) -> float:
        return default if value is None else float(value_in(value, text, where=item.path))

    low, high = given(item.lower, lower), given(item.upper, upper)
    first = given(item.start, start)
    if item.start is None and item.prior is not None and not np.isfinite(first):
        first = given(item.prior[0], first)
    log = item.log if item.log is not None else bool(low >= 0 and first > 0)
    if not (low <= first <= high) or (log and not first > 0):
        raise DataError(
            f"{item.path} starts at {first} [SI]",
            where="a free parameter",
            expected=f"between {low} and {high}" + (", above 0 on the log scale" if log else ""),
        )
    mean, sd = _prior(item, text, log)
    if log:
        with np.errstate(divide="ignore"):
            low, high, first = np.log([max(low, 0.0), high, first])
    return Parameter(item.path, text, log, float(low), float(high), float(first), mean, sd)


def _prior(item: Free, text: str, log: bool) -> tuple[float, float]:
    if item.prior is None:
        return np.nan, np.inf
    mean = float(value_in(item.prior[0], text, where=item.path))
    if log:
        return float(np.log(mean)), float(item.prior[1])
    if isinstance(item.prior[1], str):
        return mean, float(value_in(item.prior[1], unit(text).difference, where=item.path))
    return mean, float(item.prior[1]) * unit(text).scale
