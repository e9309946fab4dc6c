"""Is an estimator honest? Whiteness, consistency, coverage and sharpness of what it said.

Sources: Ljung and Box, Biometrika 65(2):297-303, 1978, doi:10.1093/biomet/65.2.297; Bar-Shalom,
Li and Kirubarajan, Estimation with Applications to Tracking and Navigation, Wiley 2001, section
5.4 (NIS, NEES); Gneiting and Raftery, JASA 102(477):359-378, 2007,
doi:10.1198/016214506000001437 (CRPS, quantile score).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, chdtri, erf
from scipy.stats import beta

from galenic.errors import DataError
from galenic.inference.algebra import Array
from galenic.inference.evidence import Innovation


@dataclass(frozen=True)
class Test:
    """A statistic with its probability under the hypothesis that all is well."""

    __test__ = False  # not a test case, whatever its name suggests to a test runner

    statistic: float
    p: float
    degrees: int = 0


@dataclass(frozen=True)
class Share:
    """A share of successes with its exact (Clopper-Pearson) interval."""

    share: float
    lower: float
    upper: float
    count: int

    def includes(self, nominal: float) -> bool:
        """Whether the nominal share is inside the interval."""
        return self.lower <= nominal <= self.upper


def ljung_box(series: npt.ArrayLike, lags: int | None = None, fitted: int = 0) -> Test:
    """Whether a series is white noise: Ljung-Box Q over ``lags``.

    Parameters
    ----------
    series : array
        Standardised innovations of one quantity in order of time.
    lags : int, optional
        Default min(10, n / 5), at least 1.
    fitted : int
        Parameters fitted to the series, taken off the degrees of freedom.
    """
    x = np.asarray(series, dtype=float)
    n = len(x)
    if n < 4:
        raise DataError(f"{n} values are too few for a whiteness test", expected="4 or more")
    lags = lags or max(1, min(10, n // 5))
    x = x - x.mean()
    power = float(x @ x)
    if power == 0.0:
        return Test(0.0, 1.0, lags)
    rho = np.array([x[k:] @ x[:-k] for k in range(1, lags + 1)]) / power
    q = float(n * (n + 2) * np.sum(rho**2 / (n - np.arange(1, lags + 1))))
    degrees = max(1, lags - fitted)
    return Test(q, float(chdtrc(degrees, q)), degrees)


def consistency(squares: npt.ArrayLike, degrees: int = 1, level: float = 0.95) -> dict[str, Any]:
    """Mean of normalised squares (NIS or NEES) against its chi-square band.

    Returns
    -------
    dict
        ``mean`` (1 is ideal), ``lower`` and ``upper`` of the band, ``verdict``: consistent,
        overconfident (too large) or underconfident (too small).
    """
    values = np.asarray(squares, dtype=float)
    total = degrees * len(values)
    lower = float(chdtri(total, 0.5 + level / 2)) / total
    upper = float(chdtri(total, 0.5 - level / 2)) / total
    mean = float(values.sum()) / total
    verdict = (
        "overconfident" if mean > upper else "underconfident" if mean < lower else "consistent"
    )
    return {"mean": mean, "lower": lower, "upper": upper, "count": len(values), "verdict": verdict}


def nees(truth: npt.ArrayLike, mean: npt.ArrayLike, covariance: npt.ArrayLike) -> float:
    """Normalised estimation error squared; chi-square with as many degrees as quantities."""
    error = np.asarray(truth, dtype=float) - np.asarray(mean, dtype=float)
    return float(error @ np.linalg.solve(np.asarray(covariance, dtype=float), error))


def innovation_statistics(innovations: Iterable[Innovation]) -> dict[str, dict[str, Any]]:
    """Per quantity: count, share accepted, bias, spread, NIS verdict and whiteness."""
    by_name: dict[str, list[Innovation]] = {}
    for innovation in innovations:
        by_name.setdefault(innovation.quantity, []).append(innovation)
    result = {}
    for name, rows in by_name.items():
        z = np.array([row.standardised for row in rows if row.accepted])
        facts: dict[str, Any] = {
            "count": len(rows),
            "accepted": float(np.mean([row.accepted for row in rows])),
        }
        if len(z):
            facts |= {"bias": float(z.mean()), "spread": float(np.sqrt(np.mean(z**2)))}
            facts["nis"] = consistency(z**2)
        if len(z) >= 4:
            facts["whiteness_p"] = ljung_box(z).p
        result[name] = facts
    return result


def coverage(
    truth: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike, level: float = 0.95
) -> Share:
    """Share of truths inside their intervals, with the binomial interval of that share.

    ``level`` is that of the binomial interval; it takes the cases as independent, which
    neighbouring times of one run are not.
    """
    truth, lower, upper = (np.asarray(a, dtype=float) for a in (truth, lower, upper))
    inside = (truth >= lower) & (truth <= upper)
    return share_of(int(inside.sum()), int(inside.size), level)


def share_of(hits: int, count: int, level: float = 0.95) -> Share:
    """A share with its Clopper-Pearson interval."""
    if count <= 0:
        raise DataError("a share of no cases", expected="one case or more")
    tail = (1.0 - level) / 2
    lower = float(beta.ppf(tail, hits, count - hits + 1)) if hits else 0.0
    upper = float(beta.ppf(1 - tail, hits + 1, count - hits)) if hits < count else 1.0
    return Share(hits / count, lower, upper, count)


def pinball(truth: npt.ArrayLike, quantile: npt.ArrayLike, level: float) -> float:
    """Mean quantile score, in the unit of the quantity; lower is better."""
    gap = np.asarray(truth, dtype=float) - np.asarray(quantile, dtype=float)
    return float(np.mean(np.maximum(level * gap, (level - 1.0) * gap)))


def crps_normal(truth: npt.ArrayLike, mean: npt.ArrayLike, sd: npt.ArrayLike) -> float:
    """Mean continuous ranked probability score of normal forecasts, in the quantity's unit."""
    truth, mean, sd = (np.asarray(a, dtype=float) for a in (truth, mean, sd))
    z = (truth - mean) / sd
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return float(np.mean(sd * (z * erf(z / np.sqrt(2)) + 2 * density - 1 / np.sqrt(np.pi))))


def crps_sample(
    truth: float, members: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """CRPS of weighted members: E|X - y| - E|X - X'| / 2."""
    x = np.asarray(members, dtype=float)
    w = np.full(len(x), 1 / len(x)) if weights is None else np.asarray(weights, dtype=float)
    order = np.argsort(x)
    x, w = x[order], w[order] / w.sum()
    before = np.concatenate([[0.0], np.cumsum(w)[:-1]])
    spread = float(2 * np.sum(w * x * (2 * before + w - 1)))
    return float(np.sum(w * np.abs(x - truth)) - 0.5 * spread)


def skill(score: float, reference: float) -> float:
    """Share of the reference's score that was saved; 0 is no better, 1 is perfect."""
    return 1.0 - score / reference if reference > 0 else float("nan")


def interval_score(
    truth: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike, level: float
) -> Array:
    """Winkler's score per case: width plus a penalty of 2/(1-level) times each miss."""
    truth, lower, upper = (np.asarray(a, dtype=float) for a in (truth, lower, upper))
    penalty = 2.0 / (1.0 - level)
    miss = np.maximum(lower - truth, 0.0) + np.maximum(truth - upper, 0.0)
    return np.asarray(upper - lower + penalty * miss)


def mean_fold_error(predicted: Any, observed: Any) -> float:
    """Geometric mean fold error: 10 to the mean size of log10(predicted / observed).

    1 is perfect; 2 means that predictions are off by a factor of two on average.

    Examples
    --------
    >>> mean_fold_error([2.0, 0.5], [1.0, 1.0])
    2.0
    """
    p, o = np.asarray(predicted, float), np.asarray(observed, float)
    if p.shape != o.shape or not p.size or not ((p > 0).all() and (o > 0).all()):
        raise DataError(
            f"{p.size} predictions of {o.size} observations", where="mean_fold_error",
            expected="as many of both, all above 0",
        )  # fmt: skip
    return float(10.0 ** np.mean(np.abs(np.log10(p / o))))
