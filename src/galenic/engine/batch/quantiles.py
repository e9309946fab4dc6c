"""Quantiles of many individuals: exact while the values fit in memory, else from fine bins.

The bins are those of the floating-point format itself: sign, exponent and the first ``BITS`` bits
of the mantissa of a value name its bin, so finding it takes no logarithm and is exact (the
log-linear bins of HdrHistogram). Counts are whole numbers: parts join to equal bits in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from galenic.engine.batch.summaries import Frame
from galenic.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

Array = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]
Bins = dict[int, tuple[int, npt.NDArray[np.int64]]]

BITS = 10
_SHIFT = 52 - BITS
FLOOR = 1e-9
"""Values below this share of an output's nominal size count as zero."""


@dataclass(frozen=True)
class Quantiles:
    """Quantiles at each time, by linear interpolation between order statistics.

    Parameters
    ----------
    probabilities : sequence of float
        Between 0 and 1.
    memory : float, default 256e6
        Bytes that all values may take for the exact way. Beyond it each order statistic is known
        to a relative error of 2**-11 (0.05 %), or to 1e-9 of the nominal size near zero.
    """

    probabilities: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)
    memory: float = 256e6
    name: str = "quantiles"

    def check(self, frame: Frame) -> None:
        """The probabilities are some."""
        if not self.probabilities or not all(0 <= p <= 1 for p in self.probabilities):
            raise DataError(
                f"the probabilities are {list(self.probabilities)}", expected="numbers from 0 to 1"
            )

    def is_exact(self, frame: Frame) -> bool:
        """Whether all values fit in the memory that is allowed."""
        cells = frame.individuals * len(frame.times) * len(frame.columns)
        return cells * 8 <= self.memory

    def part(self, values: Array, frame: Frame) -> Any:
        """The values themselves, or their counts by bin."""
        if self.is_exact(frame):
            return [np.array(values, dtype=np.float64)]
        return counted(values, frame.nominal)

    def join(self, first: Any, second: Any) -> Any:
        """Both parts as one; ``first`` is used up."""
        return first + second if isinstance(first, list) else joined(first, second)

    def dataset(self, part: Any, frame: Frame) -> xr.Dataset:
        """The quantiles by (quantile, time, output), and how far the numbers may be off."""
        import xarray as xr

        exact = isinstance(part, list)
        shape = len(frame.times), len(frame.columns)
        probabilities = np.array(self.probabilities, dtype=float)
        if exact:
            found = of_values(np.concatenate(part), probabilities)
        else:
            found = of_bins(part, probabilities, shape, frame.nominal)
        return xr.Dataset(
            {"value": (("quantile", "time", "output"), found)},
            coords={"quantile": probabilities} | frame.coordinates,
            attrs={
                "exact": exact,
                "relative_error": 0.0 if exact else 2.0 ** -(BITS + 1),
                "near_zero": 0.0 if exact else FLOOR,
            },
        )


def of_values(values: Array, probabilities: Array) -> Array:
    """Quantiles (n_quantiles, ...) over the first axis of values; NaN does not count."""
    shape = values.shape[1:]
    flat = values.reshape(len(values), -1)
    found = np.full((len(probabilities), flat.shape[1]), np.nan)
    for cell in range(flat.shape[1]):
        known = flat[:, cell]
        known = known[np.isfinite(known)]
        if known.size:
            found[:, cell] = np.quantile(known, probabilities)
    return found.reshape(-1, *shape)


def keys(values: Array, floor: float) -> Keys:
    """The bin of each finite value: increasing with the value, 0 from -floor to floor."""
    negative = values < 0
    if not negative.any():
        size = values.view(np.int64) >> _SHIFT
        size -= _base(floor)
        return np.asarray(np.maximum(size, 0, out=size))
    size = np.maximum((np.abs(values).view(np.int64) >> _SHIFT) - _base(floor), 0)
    return np.asarray(np.where(negative, -size, size))


def middle(key: Keys, floor: float) -> Array:
    """The middle of each bin; 0 for the bin around zero."""
    size = np.abs(key) + _base(floor)
    half = ((size << _SHIFT) | (1 << (_SHIFT - 1))).view(np.float64)
    return np.where(key == 0, 0.0, np.sign(key) * half)


def _base(floor: float) -> int:
    """The last bin that counts as zero."""
    return int(np.array(floor).view(np.int64) >> _SHIFT) - 1


def counted(values: Array, nominal: Sequence[float]) -> Bins:
    """Counts by bin of each (time, output): cell -> (first bin, counts)."""
    bins: Bins = {}
    outputs = values.shape[2]
    for output in range(outputs):
        column = np.ascontiguousarray(values[:, :, output].T, dtype=np.float64)
        for time, row in enumerate(column):  # a row fits in the cache of a core
            known = np.isfinite(row)
            found = keys(row if known.all() else row[known], FLOOR * nominal[output])
            if found.size:
                first = int(found.min())
                found -= first
                bins[time * outputs + output] = first, np.bincount(found)
    return bins


def joined(first: Bins, second: Bins) -> Bins:
    """Counts of both; arrays of ``first`` are added to where they are wide enough."""
    for cell, (begin, counts) in second.items():
        if cell not in first:
            first[cell] = begin, counts.copy()
            continue
        start, total = first[cell]
        low, high = min(start, begin), max(start + len(total), begin + len(counts))
        if low < start or high > start + len(total):
            room = max(64, (high - low) // 4)
            low, high = (low - room, high) if low < start else (low, high + room)
            wider = np.zeros(high - low, dtype=np.int64)
            wider[start - low : start - low + len(total)] = total
            start, total = low, wider
            first[cell] = start, total
        total[begin - start : begin - start + len(counts)] += counts
    return first


def of_bins(
    bins: Bins, probabilities: Array, shape: tuple[int, int], nominal: Sequence[float]
) -> Array:
    """Quantiles (n_quantiles, n_times, n_outputs) from counts by bin."""
    found = np.full((len(probabilities), shape[0] * shape[1]), np.nan)
    for cell, (first, counts) in bins.items():
        reached = np.cumsum(counts)
        rank = (reached[-1] - 1) * probabilities
        below, above = np.floor(rank).astype(int), np.ceil(rank).astype(int)
        floor = FLOOR * nominal[cell % shape[1]]
        low, high = (
            middle(first + np.searchsorted(reached, which, side="right"), floor)
            for which in (below, above)
        )
        share = rank - below
        found[:, cell] = (1 - share) * low + share * high
    return found.reshape(len(probabilities), *shape)
