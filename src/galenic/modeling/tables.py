"""Interpolation tables, lowered to elementary instructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.errors import StructureError
from galenic.modeling.declare import Declaration
from galenic.modeling.expression import Expression, common_unit, lift
from galenic.units import Unit, to_si, unit

KINDS = ("linear", "smooth")


class Table(Declaration):
    """Measured points as a function: ``curve = Table([0, 1, 2], "bar", [0, 3, 4], "g/min")``.

    In equations ``m.curve(m.pressure)`` interpolates; outside the points the end value holds.
    ``linear`` joins points by lines; ``smooth`` is the monotone cubic of Fritsch and Butland
    (1984, doi:10.1137/0905021), which makes no new extremes and has a continuous slope.
    """

    def __init__(self, x: Sequence[float], x_unit: str, y: Sequence[float], y_unit: str,
                 meaning: str = "", *, kind: str = "linear", source: str = "") -> None:  # fmt: skip
        self.x_unit, self.y_unit = unit(x_unit), unit(y_unit)
        self.x = np.asarray(to_si(np.asarray(x, float), self.x_unit), float)
        self.y = np.asarray(to_si(np.asarray(y, float), self.y_unit), float)
        self.meaning = meaning
        self.kind = kind
        self.source = source
        if self.x.size != self.y.size or self.x.size < 2:
            raise StructureError(f"a table of {self.x.size} and {self.y.size} points")
        if not (np.all(np.diff(self.x) > 0) and np.all(np.isfinite(self.y))):
            raise StructureError("the points of a table must rise in x and be finite")
        if kind not in KINDS:
            raise StructureError(f"there is no kind {kind!r} of table", expected=str(KINDS))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self

    def __call__(self, x: Any) -> Expression:
        """The value at ``x``."""
        x = lift(x)
        common_unit(f"look up in {self.name or 'the table'} a value in", self.x_unit, x.unit)
        pieces = _linear if self.kind == "linear" else _smooth
        return Expression(pieces(x.sx, self.x, self.y), self.y_unit)

    def in_trace(self, node: Any) -> Table:
        """The table itself; it has no symbols."""
        return self


def interpolate(x: Any, xs: Sequence[float], x_unit: str | Unit, ys: Sequence[float],
                y_unit: str | Unit, *, kind: str = "linear") -> Expression:  # fmt: skip
    """The value at ``x`` of a table given on the spot."""
    return Table(xs, str(x_unit), ys, str(y_unit), kind=kind)(x)


Numbers = npt.NDArray[np.float64]


def _linear(x: ca.SX, xs: Numbers, ys: Numbers) -> ca.SX:
    """A sum of slopes over the part of each interval that lies below ``x``."""
    result = ca.SX(float(ys[0]))
    for start, width, rise in zip(xs, np.diff(xs), np.diff(ys), strict=False):
        if rise:
            result += rise / width * ca.fmin(ca.fmax(x - start, 0), width)
    return result


def _smooth(x: ca.SX, xs: Numbers, ys: Numbers) -> ca.SX:
    """A sum of the rises of cubic pieces, each held outside of its interval."""
    result = ca.SX(float(ys[0]))
    slopes = _slopes(xs, ys)
    for i, width in enumerate(np.diff(xs)):
        s = ca.fmin(ca.fmax((x - xs[i]) / width, 0), 1)
        rise, a, b = ys[i + 1] - ys[i], slopes[i] * width, slopes[i + 1] * width
        result += s * (a + s * (3 * rise - 2 * a - b + s * (a + b - 2 * rise)))
    return result


def _slopes(xs: Numbers, ys: Numbers) -> Numbers:
    """Slopes at the points: weighted harmonic means of the secants, zero at extremes."""
    h, secants = np.diff(xs), np.diff(ys) / np.diff(xs)
    slopes = np.zeros_like(ys)
    for i in range(1, ys.size - 1):
        if secants[i - 1] * secants[i] > 0:
            weight = (h[i - 1] + 2 * h[i]) / (3 * (h[i - 1] + h[i]))
            slopes[i] = 1 / (weight / secants[i - 1] + (1 - weight) / secants[i])
    return slopes
