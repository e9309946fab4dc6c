"""A PEtab problem: predictions for every measurement, residuals and the likelihood."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from galenic.engine.trajectory import Trajectory
from galenic.errors import DataError, SolveError, UnknownName
from galenic.inference.algebra import Array
from galenic.inference.petab import tables
from galenic.inference.petab.entities import Entities
from galenic.inference.petab.refusal import refused
from galenic.inference.petab.tables import Given, Measurement, Observable, Parameter, transformed

RTOL = 1e-9  # derivatives of a fit are differences of runs


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, what was measured, and the parameters to find; numbers in the units of the tables.

    ``parameters`` arguments map ids to linear values; those left out have their nominal value.
    """

    entities: Entities
    parameters: Mapping[str, Parameter]
    observables: Mapping[str, Observable]
    conditions: Mapping[str, Mapping[str, tuple[Given, str]]]
    measurements: tuple[Measurement, ...]
    rtol: float = RTOL

    @property
    def model(self) -> Any:
        """The model class."""
        return self.entities.imported.model

    @property
    def estimated(self) -> tuple[Parameter, ...]:
        """The parameters to be estimated, in the order of their table."""
        return tuple(p for p in self.parameters.values() if p.estimated)

    def complete(self, parameters: Mapping[str, float] | None = None) -> dict[str, float]:
        """All parameters: those given, and nominal values for the rest."""
        values = {p.name: p.nominal for p in self.parameters.values()}
        for name, value in (parameters or {}).items():
            if name not in values:
                raise UnknownName.among("parameter", name, tuple(values))
            values[name] = float(value)
        for name, value in values.items():
            if not math.isfinite(value):
                raise DataError(f"no value for {name!r}", where="the parameters of a PEtab problem",
                                hint="the parameter table gives no nominalValue")  # fmt: skip
        return values

    def simulate(
        self, condition: str, times: list[float], parameters: Mapping[str, float] | None = None
    ) -> Trajectory:
        """The run of one condition; ``times`` in the model's unit of time."""
        if condition not in self.conditions:
            raise UnknownName.among("condition", condition, tuple(self.conditions))
        given = self._settings(condition, self.complete(parameters))
        return self.entities.run(given, times, self.rtol)

    def predict(self, parameters: Mapping[str, float] | None = None) -> tuple[Array, Array]:
        """For each measurement the observable (not transformed) and its noise parameter.

        The noise parameter is the sd for normal noise and the scale for Laplace's, on the scale of
        the observable.
        """
        values = self.complete(parameters)
        predicted, noise = np.empty((2, len(self.measurements)))
        for condition in dict.fromkeys(m.condition for m in self.measurements):
            rows = [i for i, m in enumerate(self.measurements) if m.condition == condition]
            times = sorted({self.measurements[i].time for i in rows})
            given = self._settings(condition, values)
            run = self.entities.run(given, times, self.rtol)
            for i in rows:
                known = self._known(self.measurements[i], values, given, run, times)
                observable = self.measurements[i].observable
                with np.errstate(all="ignore"):
                    predicted[i] = observable.formula.value(known)
                    noise[i] = observable.noise.value(known)
        self._require_sound(predicted, noise)
        return predicted, noise

    def residuals(self, parameters: Mapping[str, float] | None = None) -> Array:
        """For each measurement (measured - predicted) / noise parameter, on its scale."""
        predicted, noise = self.predict(parameters)
        return (self._measured() - self.on_scale(predicted)) / noise

    def log_likelihood(self, parameters: Mapping[str, float] | None = None) -> float:
        """The logarithm of the density of all measurements, on the linear scale of each."""
        predicted, noise = self.predict(parameters)
        return self.log_density(self.on_scale(predicted), noise)

    def log_density(self, predicted: Array, noise: Array) -> float:
        """The log-likelihood of predictions that are on the observables' scales."""
        r = (self._measured() - predicted) / noise
        laplace = np.array([m.observable.distribution == "laplace" for m in self.measurements])
        normal = -0.5 * math.log(2 * math.pi) - 0.5 * r**2
        terms = np.where(laplace, -math.log(2) - np.abs(r), normal) - np.log(noise)
        return float(np.sum(terms)) - self._log_slopes()

    def on_scale(self, values: Array) -> Array:
        """Values of all measurements on the scales of their observables."""
        pairs = zip(values, self.measurements, strict=True)
        return np.array([transformed(v, m.observable.scale) for v, m in pairs])

    def _measured(self) -> Array:
        return self.on_scale(np.array([m.value for m in self.measurements]))

    def _log_slopes(self) -> float:
        """A density of log y counts as one of y after division by y; by y ln 10 for log10."""
        logged = [m for m in self.measurements if m.observable.scale != "lin"]
        tens = sum(m.observable.scale == "log10" for m in logged)
        return sum(math.log(m.value) for m in logged) + tens * math.log(math.log(10))

    def _settings(self, condition: str, values: Mapping[str, float]) -> dict[str, float]:
        """What a condition and the parameters set in the model, by id."""
        given = {n: v for n, v in values.items() if n in self.entities.quantities}
        for name, (value, _) in self.conditions[condition].items():
            given[name] = values[value] if isinstance(value, str) else value
        return given

    def _known(
        self,
        m: Measurement,
        values: Mapping[str, float],
        given: Mapping[str, float],
        run: Trajectory,
        times: list[float],
    ) -> dict[str, float]:
        """The names in the formulas of a measurement with their values."""
        known: dict[str, float] = {}
        at = times.index(m.time)
        for name in m.observable.formula.names | m.observable.noise.names:
            if name in m.filled:
                value = m.filled[name]
                known[name] = values[value] if isinstance(value, str) else value
            elif name in values:
                known[name] = values[name]
            elif name == "time":
                known[name] = m.time
            else:
                found = self.entities.result(name, given, run)
                known[name] = float(found[at]) if np.ndim(found) else float(found)
        return known

    def _require_sound(self, predicted: Array, noise: Array) -> None:
        for m, value, spread in zip(self.measurements, predicted, noise, strict=True):
            if not (math.isfinite(value) and (m.observable.scale == "lin" or value > 0)):
                raise SolveError(f"{m.observable.name} is {value:g} on the {m.observable.scale} "
                                 "scale", where=m.where)  # fmt: skip
            if not (math.isfinite(spread) and spread > 0):
                raise SolveError(f"the noise of {m.observable.name} is {spread:g}", where=m.where,
                                 expected="a number above 0")  # fmt: skip


def import_petab(path: str | Path) -> Problem:
    """The problem in a PEtab file (YAML, format version 1).

    Raises
    ------
    DataError
        A file is missing or not valid; names file and line.
    NotExpressible
        The problem or its model needs what is not supported; names file and line.
    """
    files = tables.files(Path(path))
    parameters = tables.read_parameters(files.parameters)
    observables = tables.read_observables(files.observables)
    conditions = tables.read_conditions(files.conditions, parameters)
    measurements = tables.read_measurements(files.measurements, observables, conditions, parameters)
    entities = Entities.of(files.model)
    problem = Problem(entities, parameters, observables, conditions, measurements)
    _require_known(problem, files.parameters[0].name)
    return problem


def _require_known(problem: Problem, table: str) -> None:
    """Every name stands for something, and only for one thing."""
    entities = problem.entities
    for name in problem.parameters:
        if name in entities.quantities:
            entities.require_constant(name, table)
    for settings in problem.conditions.values():
        for name, (_, where) in settings.items():
            entities.require_settable(name, where)
            if name in problem.parameters:
                raise refused(f"{name!r} is set here and in the parameter table", where, "one")
    used = set().union(*(o.formula.names | o.noise.names for o in problem.observables.values()))
    used |= {p for settings in problem.conditions.values() for p, _ in settings.values()
             if isinstance(p, str)}  # fmt: skip
    used |= {v for m in problem.measurements for v in m.filled.values() if isinstance(v, str)}
    for name in problem.parameters:
        if name not in used and name not in entities.quantities:
            raise refused(f"the parameter {name!r}, which nothing uses,", table)
    for observable in problem.observables.values():
        own = {*observable.placeholders("observable"), *observable.placeholders("noise")}
        for name in observable.formula.names | observable.noise.names:
            known = name in own or name in problem.parameters or name == "time"
            if not known and name not in entities.quantities:
                raise refused(f"{name!r} in a formula stands for nothing", observable.where,
                              "ids of the model or the parameter table")  # fmt: skip
