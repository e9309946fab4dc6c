"""When a forecast leaves its limits, and how likely that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LIKELY = 0.5
WORTH_TELLING = 0.05


@dataclass(frozen=True)
class Crossing:
    """A quantity is expected outside of its limits.

    Parameters
    ----------
    after : float [s]
        From the first time of the forecast on; 0 when it is outside now.
    probability : float
        That it is outside then.
    side : str
        ``above`` or ``below``.
    """

    after: float
    probability: float
    side: str


def crossing(
    times: Sequence[int], mean: Sequence[float], sd: Sequence[float], low: float, high: float
) -> Crossing | None:
    """When the quantity is first likely outside; else when it is most probable to be.

    Parameters
    ----------
    times : sequence of int [ns]
    mean, sd, low, high : numbers in one unit
        Normal marginals of the forecast, and the limits.

    Returns
    -------
    Crossing or None
        None where the probability stays below 5 %.

    Examples
    --------
    >>> found = crossing([0, 60_000_000_000], [100.0, 106.0], [1.0, 1.0], 95.0, 105.0)
    >>> found.after, round(found.probability, 2), found.side
    (60.0, 0.84, 'above')
    """
    best: Crossing | None = None
    for time, centre, spread in zip(times, mean, sd, strict=True):
        below, above = _tail(low - centre, spread), _tail(centre - high, spread)
        found = Crossing(
            (time - times[0]) / 1e9, below + above, "above" if above >= below else "below"
        )
        if found.probability >= LIKELY:
            return found
        if best is None or found.probability > best.probability:
            best = found
    return best if best is not None and best.probability >= WORTH_TELLING else None


def _tail(beyond: float, spread: float) -> float:
    """Probability that a normal deviation with this spread exceeds ``-beyond``."""
    if spread <= 0:
        return 1.0 if beyond > 0 else 0.0
    return 0.5 * math.erfc(-beyond / (spread * math.sqrt(2.0)))
