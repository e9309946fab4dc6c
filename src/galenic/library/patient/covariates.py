"""Correlated covariates of virtual persons: from a table of means, or like persons of a data set.

Both are Gaussian copulas: normal scores with a correlation matrix, turned into values by each
covariate's own distribution. Reference: Tannenbaum et al., J Pharmacokinet Pharmacodyn 33:785-816,
2006; Zwep et al., Clin Pharmacol Ther 115:795-804, 2024, doi:10.1002/cpt.3099 (copulas).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError, UnknownName

Vector = npt.NDArray[np.float64]
SMALLEST = 1e-10
"""Least eigenvalue of a matrix of correlations that counts as none below zero."""


class Covariates(Protocol):
    """What persons can be drawn from."""

    def sample(self, n: int, rng: np.random.Generator) -> dict[str, Vector]:
        """Values of ``n`` persons by name of the covariate."""


@dataclass(frozen=True)
class Marginal:
    """One covariate: mean and standard deviation, before the bounds cut it.

    Parameters
    ----------
    mean, sd : float
        Of the values themselves, also where they are log-normal.
    low, high : float
        Values outside do not occur.
    kind : {"normal", "lognormal"}
    """

    mean: float
    sd: float
    low: float = -math.inf
    high: float = math.inf
    kind: Literal["normal", "lognormal"] = "normal"

    def __post_init__(self) -> None:
        fault = None
        if not self.sd > 0:
            fault = f"a standard deviation of {self.sd:g}", "above 0"
        elif self.kind == "lognormal" and not self.mean > 0:
            fault = f"a log-normal mean of {self.mean:g}", "above 0"
        elif not self.low < self.high:
            fault = f"bounds {self.low:g} and {self.high:g}", "the lower one first"
        if fault:
            raise DataError(fault[0], where="covariate", expected=fault[1])

    @property
    def log_sd(self) -> float:
        """Standard deviation of the logarithm of a log-normal covariate."""
        return math.sqrt(math.log1p((self.sd / self.mean) ** 2))

    def of_normal(self, z: Vector) -> Vector:
        """Values of normal scores."""
        from scipy.stats import norm

        centre, spread, low, high = self.mean, self.sd, self.low, self.high
        if self.kind == "lognormal":
            spread = self.log_sd
            centre = math.log(self.mean) - 0.5 * spread**2
            low = math.log(low) if low > 0 else -math.inf
            high = math.log(high) if high > 0 else -math.inf
        bottom, top = norm.cdf([(low - centre) / spread, (high - centre) / spread])
        if not top > bottom:
            raise DataError(
                f"no values between {self.low:g} and {self.high:g}", where="covariate",
                expected=f"bounds around the mean of {self.mean:g}",
            )  # fmt: skip
        free = math.isinf(self.low) and math.isinf(self.high)
        score = z if free else norm.ppf(bottom + norm.cdf(z) * (top - bottom))
        value = centre + spread * score
        return np.exp(value) if self.kind == "lognormal" else value

    def score_correlation(self, other: Marginal, correlation: float) -> float:
        """Correlation of normal scores that gives one of values, before bounds cut them."""
        logs = [m for m in (self, other) if m.kind == "lognormal"]
        if len(logs) == 2:
            product = self.sd / self.mean * other.sd / other.mean
            inside = 1.0 + correlation * product
            return math.log(inside) / (self.log_sd * other.log_sd) if inside > 0 else -math.inf
        return correlation * (logs[0].sd / logs[0].mean / logs[0].log_sd if logs else 1.0)


@dataclass(frozen=True)
class Summary:
    """Covariates as a paper's table tells them: means, standard deviations, correlations.

    Parameters
    ----------
    marginals : mapping of name to Marginal
    correlations : mapping of two names to float
        Pearson's, of the values; nil where not named.

    Examples
    --------
    >>> table = Summary({"weight": Marginal(75, 12, 40, 140), "height": Marginal(175, 7)},
    ...                 {("weight", "height"): 0.5})
    >>> sorted(table.sample(3, np.random.default_rng(1)))
    ['height', 'weight']
    """

    marginals: Mapping[str, Marginal]
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        factor(self.scores(), list(self.marginals))

    def scores(self) -> Vector:
        """Correlations of the normal scores."""
        names = list(self.marginals)
        matrix = np.eye(len(names))
        for (one, other), value in self.correlations.items():
            for name in (one, other):
                if name not in self.marginals:
                    raise UnknownName.among("covariate", name, names, where="correlations")
            if one == other or not -1 <= value <= 1:
                raise DataError(
                    f"a correlation of {value:g} of {one} and {other}", where="correlations",
                    expected="two names and a number from -1 to 1",
                )  # fmt: skip
            found = self.marginals[one].score_correlation(self.marginals[other], value)
            if not -1 <= found <= 1:
                raise DataError(
                    f"{one} and {other} with these spreads cannot have a correlation of {value:g}",
                    where="correlations",
                    hint="log-normal covariates reach less than -1 to 1",
                )
            i, j = names.index(one), names.index(other)
            matrix[i, j] = matrix[j, i] = found
        return matrix

    def sample(self, n: int, rng: np.random.Generator) -> dict[str, Vector]:
        """Values of ``n`` persons by name."""
        z = factor(self.scores(), list(self.marginals)) @ rng.standard_normal(
            (len(self.marginals), n)
        )
        return {
            name: marginal.of_normal(z[k])
            for k, (name, marginal) in enumerate(self.marginals.items())
        }


@dataclass(frozen=True)
class Empirical:
    """Persons like those of a data set: its own distributions, and its rank correlations.

    Values lie between the least and the largest of the data. Build it with ``of``.
    """

    sorted: Mapping[str, Vector]
    scores: Vector

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[float]]) -> Empirical:
        """From one column for each covariate; a row is a person.

        Raises
        ------
        DataError
            Fewer than three persons, columns of different length, or a missing value.
        """
        from scipy.stats import norm, rankdata

        data = {name: np.asarray(values, float) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in data.items()}
        if not data or len(set(lengths.values())) != 1 or min(lengths.values()) < 3:
            raise DataError(
                f"columns of {lengths} values", where="persons",
                expected="columns of one length, of at least three persons",
            )  # fmt: skip
        for name, values in data.items():
            if not np.all(np.isfinite(values)):
                row = int(np.argmin(np.isfinite(values)))
                raise DataError(
                    "no number", where=f"{name}, row {row + 1}", hint="leave that person out"
                )
        n = len(next(iter(data.values())))
        z = np.array([norm.ppf((rankdata(v) - 0.5) / n) for v in data.values()])
        if same := [name for name, v in data.items() if np.ptp(v) == 0]:
            raise DataError(f"{same[0]} is the same for all", where="persons", hint="leave it out")
        return cls(
            {name: np.sort(values) for name, values in data.items()}, np.atleast_2d(np.corrcoef(z))
        )

    def sample(self, n: int, rng: np.random.Generator) -> dict[str, Vector]:
        """Values of ``n`` persons by name."""
        from scipy.stats import norm

        names = list(self.sorted)
        share = norm.cdf(factor(self.scores, names) @ rng.standard_normal((len(names), n)))
        return {name: np.quantile(self.sorted[name], share[k]) for k, name in enumerate(names)}


def factor(matrix: Vector, names: Sequence[str]) -> Vector:
    """A matrix L with L L' = ``matrix``, or an error if no persons can have such correlations."""
    size, direction = np.linalg.eigh(matrix)
    if size[0] < -SMALLEST:
        worst = [names[i] for i in np.argsort(-np.abs(direction[:, 0]))[:3]]
        raise DataError(
            f"correlations that contradict each other, most of {', '.join(worst)}",
            where="correlations",
            hint="take them from one table of one group of persons",
        )
    return np.asarray(direction * np.sqrt(np.maximum(size, 0.0)))
