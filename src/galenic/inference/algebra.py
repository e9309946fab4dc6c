"""Gaussian algebra on plain arrays: conditioning, censoring, bounds, positive covariances."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.special import log_ndtr

from galenic.errors import SolveError

Array = npt.NDArray[np.float64]
_FLOOR = 1e-13


def diagonal(matrix: Array) -> Array:
    """The diagonal of a freshly made matrix as a view that can be written to."""
    return matrix.reshape(-1)[:: len(matrix) + 1]


def positive(matrix: Array) -> Array:
    """The symmetric positive semi-definite matrix nearest in correlation to ``matrix``.

    Rows of exactly known quantities (zero variance) become zero. The test is a Cholesky
    factorisation of the correlations; only if it fails, negative eigenvalues are set to zero.
    """
    result = 0.5 * (matrix + matrix.T)
    scale = np.sqrt(np.maximum(diagonal(result), 0.0))
    if not scale.all():
        known = scale <= 0.0
        result[known, :] = 0.0
        result[:, known] = 0.0
        scale = np.where(known, 1.0, scale)
    correlation = result / scale[:, None] / scale
    diagonal(correlation)[:] = 1.0 + _FLOOR
    if dpotrf(correlation, lower=1, overwrite_a=0)[1] == 0:
        return result
    values, vectors = np.linalg.eigh(correlation)
    mended = (vectors * np.maximum(values, 0.0)) @ vectors.T
    mended *= scale[:, None]
    mended *= scale
    return np.asarray(0.5 * (mended + mended.T))


def solve_positive(matrix: Array, right: Array) -> Array:
    """``matrix^-1 right`` for a symmetric positive definite matrix."""
    factor, failed = dpotrf(matrix, lower=1)
    if failed:
        raise SolveError(
            "the covariance of the predicted readings is singular",
            where="a correction",
            hint="give every sensor an sd above 0, and do not observe one quantity twice exactly",
        )
    return np.asarray(dpotrs(factor, right, lower=1)[0])


def inverse_positive(matrix: Array) -> Array:
    """Inverse of a symmetric positive definite matrix."""
    factor, failed = dpotrf(matrix, lower=1)
    if failed:
        raise SolveError("a covariance that must be inverted is singular")
    lower = dpotri(factor, lower=1)[0]
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T)


def condition(
    mean: Array, cov: Array, h: Array, residual: Array, noise: Array
) -> tuple[Array, Array]:
    """Mean and covariance after readings ``h w + e`` that came out ``residual`` too high.

    Joseph form: (I - K H) P (I - K H)' + K R K', which stays positive semi-definite for any gain.

    Parameters
    ----------
    h : array ``(m, n)``
    residual : array ``(m,)``
        Reading minus expectation.
    noise : array ``(m, m)``
        Covariance of the readings' own errors.
    """
    cross = cov @ h.T
    predicted = h @ cross + noise
    gain = solve_positive(predicted, cross.T).T
    keep = -gain @ h
    diagonal(keep)[:] += 1.0
    after = keep @ cov @ keep.T + gain @ noise @ gain.T
    return mean + gain @ residual, after


def truncated_moments(mean: float, variance: float, low: float, high: float) -> tuple[float, float]:
    """Mean and variance of a normal variable known to lie between ``low`` and ``high``.

    Works far out in the tails, where densities and probabilities underflow, by ratios of
    exponentials of their logarithms.
    """
    sd = float(np.sqrt(variance))
    a, b = (low - mean) / sd, (high - mean) / sd
    if a > -b:
        shifted, var = truncated_moments(-mean, variance, -high, -low)
        return -shifted, var
    log_mass = _log_mass(a, b)
    pa, pb = (np.exp(_log_density(x) - log_mass) if np.isfinite(x) else 0.0 for x in (a, b))
    first = pa - pb
    second = (a * pa if np.isfinite(a) else 0.0) - (b * pb if np.isfinite(b) else 0.0)
    shrink = 1.0 + second - first * first
    width = b - a
    limit = min(1.0, width * width / 4.0)
    centre = np.clip(mean + sd * first, low, high)
    return float(centre), float(variance * np.clip(shrink, 0.0, limit))


def _log_density(x: float) -> float:
    return -0.5 * x * x - 0.9189385332046727


def _log_mass(a: float, b: float) -> float:
    """Logarithm of the standard normal probability between ``a`` and ``b``, for a <= -b."""
    upper, lower = float(log_ndtr(b)), float(log_ndtr(a))
    return upper + float(np.log1p(-np.exp(lower - upper)))


def censor(
    mean: Array, cov: Array, row: Array, offset: float, noise: float, low: float, high: float
) -> tuple[Array, Array]:
    """Belief after learning only that ``offset + row w + e`` lies between ``low`` and ``high``.

    The exact mean and covariance of the posterior for a Gaussian belief and a linear reading
    (the posterior itself is not Gaussian; its first two moments are kept).
    """
    cross = cov @ row
    variance = float(row @ cross) + noise
    if variance <= 0.0:
        return mean, cov
    expected = offset + float(row @ mean)
    centre, left = truncated_moments(expected, variance, low, high)
    gain = cross / variance
    after = cov - np.outer(gain, gain) * (variance - left)
    return mean + gain * (centre - expected), positive(after)


def project(mean: Array, cov: Array, lower: Array, upper: Array) -> Array:
    """The most probable vector inside the bounds; correlated quantities move along.

    An active-set iteration: violated bounds are met exactly, the others follow by conditioning.
    Quantities that are known exactly are clipped.
    """
    if (mean >= lower).all() and (mean <= upper).all():
        return mean
    variance = cov.diagonal()
    active = np.zeros(len(mean), dtype=bool)
    result = mean
    for _ in range(len(mean)):
        broken = ((result < lower) | (result > upper)) & (variance > 0) & ~active
        if not broken.any():
            break
        active |= broken
        held = np.flatnonzero(active)
        goal = np.clip(mean[held], lower[held], upper[held])
        block = cov[np.ix_(held, held)]
        shift = np.linalg.lstsq(block, goal - mean[held], rcond=1e-12)[0]
        result = mean + cov[:, held] @ shift
    return np.clip(result, lower, upper)


def truncate(mean: Array, cov: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Moments after learning that violated quantities lie inside their bounds, one at a time."""
    for i in np.flatnonzero((mean < lower) | (mean > upper)):
        if cov[i, i] > 0 and not lower[i] <= mean[i] <= upper[i]:
            row = np.zeros(len(mean))
            row[i] = 1.0
            mean, cov = censor(mean, cov, row, 0.0, 0.0, float(lower[i]), float(upper[i]))
    return np.clip(mean, lower, upper), cov
