"""Residence time distributions in closed form: tanks in series with dead time, axial dispersion.

Reference: Levenspiel, Chemical Reaction Engineering, 3rd ed. (1999), chapters 11-14 (general
knowledge). Times in seconds unless all are in another common unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize_scalar
from scipy.special import gammainc, gammaln

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TanksInSeries:
    """``n`` equal ideal tanks of total mean time ``tau`` after a dead time; ``n`` may be real.

    Parameters
    ----------
    tau : float [s]
        Mean residence time in the tanks.
    n : float [1]
        Number of tanks.
    dead_time : float [s]
        Plug-flow time before the first tank.
    """

    tau: float
    n: float
    dead_time: float = 0.0

    @property
    def mean(self) -> float:
        """Mean residence time [s]."""
        return self.dead_time + self.tau

    @property
    def variance(self) -> float:
        """Variance of the residence time [s2]."""
        return self.tau**2 / self.n

    def density(self, t: npt.ArrayLike) -> Array:
        """Exit age distribution E(t) [1/s]."""
        u = np.maximum(self._scaled(t), 0.0)
        with np.errstate(divide="ignore"):
            log_e = (self.n - 1) * np.log(u) - u - gammaln(self.n)
        return np.where(self._scaled(t) < 0, 0.0, np.exp(log_e) * self.n / self.tau)

    def cumulative(self, t: npt.ArrayLike) -> Array:
        """Fraction that has left by ``t``: F(t) = P(n, u) [1]."""
        return np.asarray(gammainc(self.n, np.maximum(self._scaled(t), 0.0)))

    def pulse(self, t: npt.ArrayLike, duration: float) -> Array:
        """Response at ``t`` to a unit pulse of the inlet that lasts from 0 to ``duration``."""
        t = np.asarray(t, dtype=float)
        return self.cumulative(t) - self.cumulative(t - duration)

    def pulse_peak(self, duration: float) -> tuple[float, float]:
        """Height [1] and time [s] of the largest response to a unit pulse."""
        last = self.dead_time + duration + 3 * self.tau
        best = minimize_scalar(
            lambda t: -float(self.pulse(t, duration)),
            bounds=(self.dead_time, last),
            method="bounded",
            options={"xatol": 1e-10 * last},
        )
        return -float(best.fun), float(best.x)

    def window(self, duration: float, threshold: float) -> tuple[float, float] | None:
        """Times [s] between which a unit pulse shows above ``threshold``; None if it never does.

        This is the interval that material tracking diverts.
        """
        height, peak = self.pulse_peak(duration)
        if height <= threshold:
            return None

        def excess(t: float) -> float:
            return float(self.pulse(t, duration)) - threshold

        end = peak + self.tau
        while excess(end) > 0:
            end += self.tau
        return float(brentq(excess, self.dead_time, peak)), float(brentq(excess, peak, end))

    def amplitude_ratio(self, period: npt.ArrayLike) -> Array:
        """Damping of a sinusoidal feed error of ``period`` [s]: outlet over inlet amplitude."""
        w = 2 * math.pi / np.asarray(period, dtype=float)
        return (1 + (w * self.tau / self.n) ** 2) ** (-self.n / 2)

    def phase(self, period: npt.ArrayLike) -> Array:
        """Phase [rad] of the outlet against a sinusoidal feed error of ``period`` [s]."""
        w = 2 * math.pi / np.asarray(period, dtype=float)
        return -self.n * np.arctan(w * self.tau / self.n) - w * self.dead_time

    def _scaled(self, t: npt.ArrayLike) -> Array:
        return self.n * (np.asarray(t, dtype=float) - self.dead_time) / self.tau


def dispersion_variance(Pe: float) -> float:
    """Variance over squared mean of a closed-closed vessel with axial dispersion, Peclet ``Pe``."""
    return 2 / Pe - 2 / Pe**2 * -math.expm1(-Pe)
