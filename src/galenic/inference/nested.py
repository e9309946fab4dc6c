"""Two kinds of uncertainty apart: what is not known, and what differs between individuals.

For each draw of what is not known, quantiles over individuals are computed; the spread of these
quantiles is what more knowledge could remove. Every draw meets the same individuals (common random
numbers), so that differences between draws are not noise of the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.quantiles import of_values
from galenic.errors import DataError
from galenic.inference.study import Factor, Study, Target
from galenic.modeling.variability import Population
from galenic.units import from_si

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Nested:
    """Quantiles over individuals (outer, n_quantiles, n_targets), one set per outer draw."""

    targets: tuple[Target, ...]
    quantiles: tuple[float, ...]
    values: Array
    outer: dict[str, Array]
    inner: int

    def interval(self, level: float = 0.9) -> Array:
        """Low, median, high (3, n_quantiles, n_targets) over what is not known."""
        edges = np.array([(1 - level) / 2, 0.5, (1 + level) / 2])
        return of_values(self.values, edges)

    def to_dataframe(self, level: float = 0.9) -> pd.DataFrame:
        """One row per target and quantile, with the interval in which it lies."""
        import pandas as pd

        low, middle, high = self.interval(level)
        rows = [
            {
                "of": target.name,
                "time": target.time,
                "unit": target.unit.text,
                "quantile": q,
                "low": low[i, t],
                "median": middle[i, t],
                "high": high[i, t],
            }
            for t, target in enumerate(self.targets)
            for i, q in enumerate(self.quantiles)
        ]
        frame = pd.DataFrame(rows)
        frame.attrs["units"] = {"time": "s"}
        return frame


def nested(
    study: Study,
    variable: Any,
    outer: int,
    inner: int,
    quantiles: Sequence[float],
    seed: int,
) -> Nested:
    """See ``Study.nested``."""
    if not quantiles or not all(0 <= q <= 1 for q in quantiles):
        raise DataError(f"the quantiles are {list(quantiles)}", expected="numbers from 0 to 1")
    unknown = study.columns(study.points(outer, "sobol", seed))
    if isinstance(variable, Population):
        table = _of_population(study, variable, unknown, outer, inner, seed + 1)
    else:
        table = _of_factors(study, variable, unknown, outer, inner, seed + 1)
    targets, found = study.evaluate(table)
    each = found.reshape(outer, inner, -1)
    values = np.stack([of_values(one, np.array(quantiles)) for one in each])
    return Nested(targets, tuple(quantiles), values, unknown, inner)


def _of_factors(
    study: Study,
    variable: Sequence[Factor],
    unknown: dict[str, Array],
    outer: int,
    inner: int,
    seed: int,
) -> dict[str, Array]:
    """Every outer draw with every individual."""
    both = sorted({factor.path for factor in variable} & set(unknown))
    if both:
        raise DataError(
            f"{both[0]} is uncertain and variable at once",
            where="nested",
            hint="use a Population: its typical values may be uncertain",
        )
    inside = Study(study.simulator, variable, study.of)
    individuals = inside.columns(inside.points(inner, "sobol", seed))
    table = {path: np.repeat(values, inner) for path, values in unknown.items()}
    return table | {path: np.tile(values, outer) for path, values in individuals.items()}


def _of_population(
    study: Study,
    population: Population,
    unknown: dict[str, Array],
    outer: int,
    inner: int,
    seed: int,
) -> dict[str, Array]:
    """The same individuals around each draw of the typical values."""
    system = population.system
    if system.identity != study.simulator.system.identity:
        raise DataError(
            f"the population is of {system.name}, the study of {study.simulator.system.name}",
            expected="both of the same model",
        )
    drawn = population.quasi_sample(inner, seed)
    places = {entry.path: i for i, entry in enumerate(system.parameters)}
    table = {path: np.repeat(v, inner) for path, v in unknown.items() if path not in places}
    typical = np.repeat(population.typical[None, :], outer, axis=0)
    for path, entry in zip(study.names, study.entries, strict=True):
        if path in places:
            typical[:, places[path]] = unknown[path] * entry.unit.scale + entry.unit.offset
    moved = {b.parameter for b in population.between} | set(population.relations)
    moved |= set(unknown) & set(places)
    covariates = np.tile(drawn.covariates, (outer, 1)).T
    effects = np.tile(drawn.effects, (outer, 1)).T
    values = np.asarray(
        population.individual(np.repeat(typical, inner, axis=0).T, covariates, effects), float
    )
    return table | {
        path: from_si(values[places[path]], system.parameters[places[path]].unit)
        for path in sorted(moved)
    }
