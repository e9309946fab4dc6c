"""Studies of what is uncertain: which factor matters, how far results spread.

A Study names factors with their distributions and what is looked at; its methods are one call each:
``sobol`` and ``morris`` (global sensitivity), ``shapley`` (the same for correlated factors),
``uncertainty`` (Monte Carlo and quasi-Monte Carlo),
``nested`` (what is not known outside, what differs between individuals inside). All of them run
individuals by ``Simulator.run_many``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.measures import Measure
from galenic.engine.batch.result import Trajectories
from galenic.engine.simulate import Simulator
from galenic.errors import DataError, SolveError, UnknownName
from galenic.modeling.system import Entry
from galenic.units import Unit, from_si, unit, value_in

if TYPE_CHECKING:
    import pandas as pd

    from galenic.inference.morris import Morris
    from galenic.inference.nested import Nested
    from galenic.inference.shapley import Shapley
    from galenic.inference.sobol import Sobol
    from galenic.modeling.variability import Population

Array = npt.NDArray[np.float64]

DESIGNS = ("sobol", "latin", "random")
_EDGE = 2.0**-33  # a point at the very edge would be infinite for a normal distribution


@dataclass(frozen=True)
class Factor:
    """A quantity and how it is distributed; made by the class methods.

    Numbers are texts with units, or bare in the declared unit.
    """

    path: str
    kind: str
    first: Any
    second: Any

    @classmethod
    def uniform(cls, path: Any, low: Any, high: Any) -> Factor:
        """Equally likely between two values."""
        return cls(str(path), "uniform", low, high)

    @classmethod
    def log_uniform(cls, path: Any, low: Any, high: Any) -> Factor:
        """The logarithm is equally likely between two values above zero."""
        return cls(str(path), "log-uniform", low, high)

    @classmethod
    def normal(cls, path: Any, mean: Any, sd: Any) -> Factor:
        """Normal with mean and standard deviation."""
        return cls(str(path), "normal", mean, sd)

    @classmethod
    def log_normal(cls, path: Any, median: Any, sd: float) -> Factor:
        """The logarithm is normal with standard deviation ``sd`` (0.3 is about 30 %)."""
        return cls(str(path), "log-normal", median, sd)

    @classmethod
    def of_population(cls, population: Population) -> list[Factor]:
        """The differences between individuals with reference covariates.

        Their correlations are ``population.correlations``, for ``Study(correlations=...)``.
        """
        found = []
        for term in population.between:
            if not term.plain:
                raise DataError(
                    f"{term.parameter} varies by {term.kind}",
                    where="a study",
                    expected="log-normal or normal differences",
                )
            entry = population.system.entry(term.parameter)
            typical = float(from_si(entry.value, entry.unit))
            make = cls.log_normal if term.kind == "log-normal" else cls.normal
            found.append(make(term.parameter, typical, term.sd))
        return found

    def values(self, shares: Array, entry: Entry) -> Array:
        """The values [SI] below which the given shares of the distribution lie."""
        from scipy.special import ndtri

        shares = np.clip(shares, _EDGE, 1 - _EDGE)
        first, second = self._numbers(entry)
        if self.kind == "uniform":
            return first + shares * (second - first)
        if self.kind == "log-uniform":
            return np.asarray(first * (second / first) ** shares)
        z = np.asarray(ndtri(shares))
        return first + second * z if self.kind == "normal" else first * np.exp(second * z)

    def _numbers(self, entry: Entry) -> tuple[float, float]:
        """Both numbers in SI, checked."""
        where = f"factor {self.path}"
        first = float(value_in(self.first, entry.unit, where=where))
        of = {"normal": entry.unit.difference, "log-normal": unit("1")}.get(self.kind, entry.unit)
        second = float(value_in(self.second, of, where=where))
        ordered = second > first if self.kind.endswith("uniform") else second >= 0
        positive = first > 0 or not self.kind.startswith("log")
        if not (ordered and positive):
            raise DataError(
                f"{self.kind} with {self.first} and {self.second}",
                where=where,
                expected="low below high, a spread of at least 0, logarithms of positive values",
            )
        return first, second


@dataclass(frozen=True)
class Target:
    """One number that is looked at: a measure, or an output at a time [s]."""

    name: str
    unit: Unit
    time: float = float("nan")


def by_factor(targets: Sequence[Target], factors: Sequence[str], **columns: Any) -> pd.DataFrame:
    """One row per target and factor, of columns (n_targets, n_factors); times in s."""
    import pandas as pd

    rows = [
        {"of": target.name, "time": target.time, "factor": factor}
        | {name: values[t][k] for name, values in columns.items()}
        for t, target in enumerate(targets)
        for k, factor in enumerate(factors)
    ]
    frame = pd.DataFrame(rows)
    frame.attrs["units"] = {"time": "s"}
    return frame


@dataclass(frozen=True, eq=False)
class Study:
    """A model, its uncertain factors, and what is looked at.

    Parameters
    ----------
    model : Model, System or Simulator
        The physics.
    factors : sequence of Factor
        Parameters, inputs and start values that are uncertain.
    of : sequence of Measure or paths
        What is looked at: numbers such as ``Measure.peak("C")``, or an output at all its times.
    experiment : Experiment, optional
        What is done, the same for all.
    until, every, times
        Output times as for ``Simulator.run``.
    settings : mapping
        Further arguments of ``Simulator.run_many``: rtol, values, executor, progress.
    correlations : mapping of pairs of factors to float
        Of the normal scores of factors (for normal and log-normal ones: of the values or their
        logarithms); zero where not given. ``sobol`` and ``morris`` need independent factors.
    """

    model: Any
    factors: Sequence[Factor]
    of: Sequence[Measure | Any]
    experiment: Any = None
    until: Any = None
    every: Any = None
    times: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    correlations: Mapping[tuple[Any, Any], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.factors or not self.of:
            raise DataError("a study needs factors and something that is looked at")
        names = [factor.path for factor in self.factors]
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"the factor {name} is given twice", where="study")
        self.entries  # noqa: B018  wrong names and units are found here
        self.correlation  # noqa: B018  a matrix that is none as well
        self.columns(np.full((1, len(names)), 0.5))

    @cached_property
    def simulator(self) -> Simulator:
        """What runs the model."""
        return self.model if isinstance(self.model, Simulator) else Simulator(self.model)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The declared quantity of each factor."""
        compiled = self.simulator.compiled
        kinds = ("parameter", "input", "state")
        return tuple(compiled.entry(factor.path, *kinds) for factor in self.factors)

    @property
    def names(self) -> list[str]:
        """The paths of the factors."""
        return [factor.path for factor in self.factors]

    @cached_property
    def correlation(self) -> Array:
        """The correlation matrix of the normal scores of the factors."""
        matrix = np.eye(len(self.factors))
        for pair, value in self.correlations.items():
            for name in pair:
                if str(name) not in self.names:
                    raise UnknownName.among("factor", str(name), self.names, where="correlations")
            i, j = (self.names.index(str(name)) for name in pair)
            matrix[i, j] = matrix[j, i] = value
        if np.linalg.eigvalsh(matrix)[0] < -1e-12 or not np.allclose(np.diag(matrix), 1.0):
            raise DataError("the correlations are no correlation matrix", where="study")
        return matrix

    def scores(self, points: Array, correlated: bool = True) -> Array:
        """Standard normal numbers (n, n_factors) from points of the unit cube."""
        from scipy.special import ndtri

        scores = np.asarray(ndtri(np.clip(points, _EDGE, 1 - _EDGE)))
        if not correlated or not self.correlations:
            return scores
        size, direction = np.linalg.eigh(self.correlation)
        root = direction * np.sqrt(np.maximum(size, 0.0)) @ direction.T
        return np.asarray(scores @ root)

    def table(self, scores: Array) -> dict[str, Array]:
        """A table of individuals in declared units, from normal scores (n, n_factors)."""
        from scipy.special import ndtr

        return self._columns(np.asarray(ndtr(scores)))

    def points(self, n: int, design: str, seed: int, width: int | None = None) -> Array:
        """``n`` points (n, width) of the unit cube.

        ``sobol`` is a scrambled Sobol sequence (best for powers of two), ``latin`` a Latin
        hypercube, ``random`` plain Monte Carlo.
        """
        from scipy.stats import qmc

        if n < 1:
            raise DataError(f"{n} points", expected="at least one")
        rng = np.random.default_rng(seed)
        d = len(self.factors) if width is None else width
        if design == "sobol":
            whole = qmc.Sobol(d, rng=rng).random_base2(max(n - 1, 0).bit_length())
            return np.asarray(whole[:n])
        if design == "latin":
            return np.asarray(qmc.LatinHypercube(d, rng=rng).random(n))
        if design == "random":
            return rng.random((n, d))
        raise UnknownName.among("design", design, DESIGNS, where="study")

    def columns(self, points: Array) -> dict[str, Array]:
        """A table of individuals in declared units, from points (n, n_factors) of the cube."""
        return self.table(self.scores(points)) if self.correlations else self._columns(points)

    def _columns(self, points: Array) -> dict[str, Array]:
        return {
            factor.path: from_si(factor.values(points[:, k], entry), entry.unit)
            for k, (factor, entry) in enumerate(zip(self.factors, self.entries, strict=True))
        }

    def run(self, table: Any, **settings: Any) -> Trajectories:
        """The individuals of a table under the experiment of the study."""
        measures = [item for item in self.of if isinstance(item, Measure)]
        paths = [str(item) for item in self.of if not isinstance(item, Measure)]
        outputs = list(dict.fromkeys([*paths, *(measure.path for measure in measures)]))
        facts: dict[str, Any] = (
            {"summaries": measures, "keep": bool(paths)} | dict(self.settings) | settings
        )
        return self.simulator.run_many(
            self.experiment, table, outputs, self.until, self.every, self.times, **facts
        )

    def evaluate(self, table: Any) -> tuple[tuple[Target, ...], Array]:
        """What is looked at (n, n_targets), in its unit, for each row of a table."""
        result = self.run(table)
        _check_solved(result)
        targets: list[Target] = []
        values: list[Array] = []
        for item in self.of:
            if isinstance(item, Measure):
                found = result.summaries[item.name]["value"]
                targets.append(Target(item.name, unit(found.attrs["unit"])))
                values.append(found.values[:, None])
                continue
            place = result.frame.place(item)
            column = result.columns[place]
            targets += [Target(column.path, column.unit, time) for time in result.frame.times]
            values.append(np.asarray(result.values[:, :, place], dtype=np.float64))
        return tuple(targets), np.hstack(values)

    def sobol(self, n: int = 1024, seed: int = 0, resamples: int = 500) -> Sobol:
        """Shares of the variance that each factor causes, alone and with others.

        Runs ``n`` times the number of factors plus two individuals; ``n`` is a power of two.
        """
        from galenic.inference.sobol import indices

        self._require_independence("sobol")
        return indices(self, n, seed, resamples)

    def morris(self, paths: int = 30, levels: int = 6, seed: int = 0) -> Morris:
        """A cheap screening: mean and spread of the effect of each factor over random paths.

        Runs ``paths`` times the number of factors plus one individuals.
        """
        from galenic.inference.morris import effects

        self._require_independence("morris")
        return effects(self, paths, levels, seed)

    def _require_independence(self, what: str) -> None:
        if self.correlations:
            raise DataError(
                "the factors are correlated",
                where=what,
                expected="independent factors, whose shares of the variance can be told apart",
                hint="shapley() takes correlated factors",
            )

    def shapley(
        self, n: int = 256, seed: int = 0, orders: int = 64, resamples: int = 200
    ) -> Shapley:
        """Shares of the variance for factors that may be correlated; they add up to one.

        Up to eight factors run ``n`` times two to the power of their number individuals; more are
        put into ``orders`` random orders, with one run of ``n`` for each set on the way.
        """
        from galenic.inference.shapley import effects

        return effects(self, n, seed, orders, resamples)

    def uncertainty(
        self, n: int = 1024, design: str = "sobol", seed: int = 0, **settings: Any
    ) -> Trajectories:
        """``n`` individuals drawn from the factors: quantiles, moments and values."""
        table = self.columns(self.points(n, design, seed))
        return self.run(table, **({"keep": True} | settings))

    def nested(
        self,
        variable: Any,
        outer: int = 100,
        inner: int = 500,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        seed: int = 0,
    ) -> Nested:
        """How well quantiles over individuals are known.

        Parameters
        ----------
        variable : sequence of Factor, or Population
            What differs between individuals. The factors of the study are what is not known of
            all of them; for a Population these are typical values.
        outer, inner : int
            Draws of what is not known; individuals in each, the same draws every time.
        quantiles : sequence of float
            Of the individuals.
        seed : int
            Of both sequences.
        """
        from galenic.inference.nested import nested

        return nested(self, variable, outer, inner, quantiles, seed)


def _check_solved(result: Trajectories) -> None:
    """Indices of sensitivity need every individual of their design."""
    failed = np.flatnonzero(~result.is_good())
    if len(failed):
        first = int(failed[0])
        row = result.table().iloc[first]
        where = ", ".join(f"{p.path} = {row[p.path]:.4g}" for p in result.individuals.places)
        raise SolveError(
            f"{len(failed)} of {len(result)} individuals were not solved, the first because "
            f"{result.reasons.get(first, 'of an unknown reason')}",
            where=where,
            hint="narrow the factors to values for which the model makes sense",
        )
