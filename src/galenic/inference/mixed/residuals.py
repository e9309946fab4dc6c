"""Predictions and residuals of every observation, as a pharmacometrician looks at them.

PRED and IPRED are predictions without and with the individual's modes; IWRES is the weighted
residual of IPRED; CWRES is that of the linearisation at the modes (Hooker, Staatz and Karlsson,
Pharm Res 24:2187-2197, 2007, doi:10.1007/s11095-007-9361-x); NPDE is decorrelated by the moments of
simulations and ranked among them (Brendel et al., Pharm Res 23:2036-2049, 2006,
doi:10.1007/s11095-006-9067-5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import chi2, shapiro, ttest_1samp

from galenic.inference.algebra import Array
from galenic.inference.mixed.simulate import replicates

if TYPE_CHECKING:
    from galenic.inference.mixed.fit import Fit


@dataclass(frozen=True, eq=False)
class Residuals:
    """One row per observation, in the order of the data.

    Parameters
    ----------
    time : array [s]
    dv, pred, ipred : array
        In units of DV.
    iwres, cwres, npde : array [1]
        nan for values below a limit.
    """

    id: tuple[str, ...]
    row: npt.NDArray[np.int64]
    time: Array
    endpoint: npt.NDArray[np.int64]
    censored: npt.NDArray[np.bool_]
    dv: Array
    pred: Array
    ipred: Array
    iwres: Array
    cwres: Array
    npde: Array

    def columns(self) -> dict[str, Any]:
        """The columns by name, for a table."""
        return dict(vars(self))

    def tests(self) -> dict[str, float]:
        """Of NPDE: mean, variance, and p of their being 0 and 1, and of normality."""
        z = self.npde[np.isfinite(self.npde)]
        n, variance = len(z), float(z.var(ddof=1))
        side = chi2.cdf((n - 1) * variance, n - 1)
        return {
            "mean": float(z.mean()),
            "variance": variance,
            "p of mean 0": float(ttest_1samp(z, 0.0).pvalue),
            "p of variance 1": float(2 * min(side, 1 - side)),
            "p of normal": float(shapiro(z).pvalue) if 3 <= n <= 5000 else float("nan"),
        }


def residuals(fit: Fit, simulations: int = 1000, seed: int = 0) -> Residuals:
    """All residuals of a fit; without ``simulations`` NPDE are nan.

    Parameters
    ----------
    simulations : int
        Replicates for NPDE.
    """
    problem, course, point = fit.problem, fit.problem.course, fit.point
    q = problem.joined.n_effects
    none = np.zeros((len(course), q))
    pred = course.predict(point.fixed, none, slopes=False).f
    found = fit.found
    linear = problem.errors.linear(course, found.f, point.sigma)
    used = course.mask & ~course.censored
    iwres = np.where(used, (linear.y - linear.f) / np.sqrt(linear.variance), np.nan)
    g = found.by[..., :q] * linear.slope[..., None] * used[..., None]
    expected = linear.f - np.einsum("ntk,nk->nt", g, found.effects)
    spread = g @ point.omega @ g.transpose(0, 2, 1)
    diagonal = np.arange(spread.shape[1])
    spread[:, diagonal, diagonal] += np.where(used, linear.variance, 1.0)
    cwres = np.einsum("nij,nj->ni", _roots(spread), np.where(used, linear.y - expected, 0.0))
    npde = _npde(fit, simulations, seed) if simulations else np.full(pred.shape, np.nan)
    mask = course.mask
    people = [one.id for one, k in zip(course.people, course.counts, strict=True) for _ in range(k)]
    rows = np.concatenate([one.rows for one in course.people])
    blank = np.where(course.censored, np.nan, 1.0)
    return Residuals(
        tuple(people), rows, course.times[mask], course.endpoint[mask], course.censored[mask],
        np.where(course.censored, course.limits, course.y)[mask], pred[mask], found.f[mask],
        iwres[mask], (cwres * blank)[mask], (npde * blank)[mask],
    )  # fmt: skip


def _roots(spread: Array) -> Array:
    """Symmetric inverse square roots."""
    values, vectors = np.linalg.eigh(spread)
    scaled = vectors / np.sqrt(np.maximum(values, 1e-300))[:, None, :]
    return np.asarray(scaled @ vectors.transpose(0, 2, 1))


def _npde(fit: Fit, simulations: int, seed: int) -> Array:
    course = fit.problem.course
    made = replicates(fit.problem, fit.vector, simulations, seed).y
    found = np.full(course.mask.shape, np.nan)
    for i, one in enumerate(course.people):
        keep = np.flatnonzero(~one.censored)
        if not len(keep):
            continue
        y, own = made[:, i, keep], one.values[keep]
        mean = y.mean(axis=0)
        lower = np.linalg.cholesky(np.atleast_2d(np.cov(y.T)))
        z = np.linalg.solve(lower, (y - mean).T).T
        mine = np.linalg.solve(lower, own - mean)
        share = (z < mine).mean(axis=0)
        edge = 1.0 / (2 * simulations)
        found[i, keep] = ndtri(np.clip(share, edge, 1 - edge))
    return found
