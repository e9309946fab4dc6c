"""How well glucose is held: risk of low and high values, time in range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

RANGE = (70.0, 180.0)
"""Target range [mg/dL]: Battelino et al., Diabetes Care, 2019, doi:10.2337/dci19-0028."""


@dataclass(frozen=True)
class Glycaemia:
    """Summary of a course of glucose.

    Parameters
    ----------
    mean : float [mg/dL]
    low, inside, high : float [%]
        Share of the time below, inside and above the range 70 to 180 mg/dL.
    very_low, very_high : float [%]
        Below 54 and above 250 mg/dL.
    lbgi, hbgi : float
        Low and high blood glucose index.
    """

    mean: float
    low: float
    inside: float
    high: float
    very_low: float
    very_high: float
    lbgi: float
    hbgi: float


def risk(glucose: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Risk of each value [mg/dL]: negative below 112.5 mg/dL, positive above, size 10 f^2.

    f = 1.509 (ln(G)^1.084 - 5.381): Kovatchev et al., Diabetes Care 20:1655-1658, 1997,
    doi:10.2337/diacare.20.11.1655.

    Examples
    --------
    >>> [round(float(r), 2) for r in risk([70, 180])]
    [-7.76, 7.73]
    """
    f = 1.509 * (np.log(np.asarray(glucose, float)) ** 1.084 - 5.381)
    return np.asarray(np.sign(f) * 10.0 * f**2)


def summarise(glucose: Any) -> Glycaemia:
    """The summary of values [mg/dL] at equal steps of time."""
    g = np.asarray(glucose, float)
    low, high = RANGE
    r = risk(g)

    def share(where: Any) -> float:
        return float(100.0 * np.mean(where))

    return Glycaemia(
        float(g.mean()),
        share(g < low),
        share((g >= low) & (g <= high)),
        share(g > high),
        share(g < 54.0),
        share(g > 250.0),
        float(np.mean(np.where(r < 0, -r, 0.0))),
        float(np.mean(np.where(r > 0, r, 0.0))),
    )
