"""When a level tells most: how much of the doubt about exposure each time of sampling removes.

For draws that are jointly near normal, a level at time t with error variance R leaves

    var(T | level) = var(T) - cov(T, C_t)^2 / (var(C_t) + R_t)

of the variance of a target T (here the logarithm of exposure). The same formula is that of a linear
update (Kalman 1960); D'Argenio, J Pharmacokinet Biopharm 9:739-756, 1981, doi:10.1007/BF01070904,
on sampling times for one patient.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError

Array = npt.NDArray[np.float64]


def remaining(target: Array, levels: Array, variance: Array) -> Array:
    """Share of the variance of a target that is left after one level at each time.

    Parameters
    ----------
    target : array (n_draws,)
    levels : array (n_draws, n_times)
        Without the error of the assay.
    variance : array (n_times,)
        Of the error.

    Returns
    -------
    array (n_times,)
        1 where a level tells nothing, near 0 where it tells all.
    """
    off, lines, error = (np.asarray(part, float) for part in (target, levels, variance))
    if lines.ndim != 2 or off.shape != lines.shape[:1] or error.shape != lines.shape[1:]:
        raise DataError(
            f"targets {off.shape}, levels {lines.shape}, variances {error.shape}",
            where="remaining", expected="(n,), (n, times) and (times,)",
        )  # fmt: skip
    off = off - off.mean()
    lines = lines - lines.mean(axis=0)
    spread = np.mean(off**2)
    if spread <= 0:
        raise DataError("the target is the same in all draws", where="remaining")
    shared = off @ lines / len(off)
    left = 1.0 - shared**2 / (spread * (np.mean(lines**2, axis=0) + error))
    return np.asarray(np.clip(left, 0.0, 1.0))


def best_pair(target: Array, levels: Array, variance: Array) -> tuple[int, int, float]:
    """The two times whose levels together leave least, and the share they leave."""
    n = levels.shape[1]
    off = target - target.mean()
    lines = levels - levels.mean(axis=0)
    covariance = lines.T @ lines / len(off)
    shared = off @ lines / len(off)
    spread = float(np.mean(off**2))
    best = (0, min(1, n - 1), 1.0)
    for i in range(n):
        for j in range(i + 1, n):
            rows = [i, j]
            own = covariance[np.ix_(rows, rows)] + np.diag(variance[rows])
            left = 1.0 - float(shared[rows] @ np.linalg.solve(own, shared[rows])) / spread
            if left < best[2]:
                best = (i, j, left)
    return best
