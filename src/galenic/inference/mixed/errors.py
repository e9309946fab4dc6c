"""Residual errors: minus twice the log likelihood of an observation, with exact derivatives.

For an observation y with prediction f and variance R(f) it is (y - f)^2 / R + ln R; where y is
only known to lie below a limit L it is -2 ln Phi((L - f) / sd) (method M3: Beal, J Pharmacokinet
Pharmacodyn 28:481-504, 2001, doi:10.1023/A:1012299115260). Where values below L were left out and
that is accounted for (M2) 2 ln Phi((f - L) / sd) is added. The term n ln(2 pi) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, log_ndtr

from galenic.errors import DataError
from galenic.inference.algebra import Array
from galenic.modeling.effects import Residual
from galenic.units import Unit, value_in

ADDITIVE, PROPORTIONAL = "additive", "proportional"
WIDE = (3, 4, 7)  # fields of Terms that have a column for each sigma
_SMALL = 1e-300


@dataclass(frozen=True, eq=False)
class Terms:
    """What observations add, and its derivatives; arrays (n, T), by sigmas (n, T, n_sigma).

    ``cost`` is minus twice the log likelihood, ``weight`` the share of g g' in the expected
    curvature H = Omega^-1 + sum weight g g'.
    """

    cost: Array
    by_f: Array
    by_ff: Array
    by_s: Array
    by_fs: Array
    weight: Array
    weight_f: Array
    weight_s: Array


@dataclass(frozen=True, eq=False)
class Linear:
    """Observations and predictions on the scale on which errors are normal; arrays (n, T)."""

    y: Array
    f: Array
    slope: Array
    variance: Array
    extra: Array


class ErrorModel:
    """The error of one endpoint; its sigmas are searched as logarithms of sd.

    Parameters
    ----------
    residual : Residual
    of : Unit
        Unit of DV.
    """

    def __init__(self, residual: Residual, of: Unit) -> None:
        self.residual = residual
        additive = float(value_in(residual.additive, of.difference)) / of.scale
        given = {ADDITIVE: additive, PROPORTIONAL: residual.proportional}
        if residual.combine == "log":
            given.pop(ADDITIVE)
        self.start = {name: value for name, value in given.items() if value > 0}
        if not self.start:
            raise DataError(
                f"the residual of {residual.output} is zero",
                expected="an additive or a proportional part above 0 to start from",
            )
        self.names = tuple(self.start)

    def _spread(self, f: Array, s: Array, moving: bool) -> _Spread:
        """The variance at predictions; ``moving`` says whether it follows them."""
        r, n = self.residual, len(s)
        sd = dict(zip(self.names, np.exp(s), strict=True))
        place = {name: k for k, name in enumerate(self.names)}
        v1, v2 = np.zeros_like(f), np.zeros_like(f)
        vs, v1s = np.zeros((n, *f.shape)), np.zeros((n, *f.shape))
        share = sd.get(PROPORTIONAL, 0.0)
        if r.combine == "log":
            vs[0] = 2.0 * share**2
            return _Spread(share**2 + np.zeros_like(f), v1, v2, vs, v1s)
        fixed, b = sd.get(ADDITIVE, 0.0), place.get(PROPORTIONAL)
        w, power = f**2 + _SMALL, r.power
        if r.combine == "variance":
            part = share**2 * w**power
            v = fixed**2 + part
            if ADDITIVE in place:
                vs[place[ADDITIVE]] = 2.0 * fixed**2
            if b is not None:
                vs[b] = 2.0 * part
            if moving and b is not None:
                v1 = 2.0 * power * share**2 * f * w ** (power - 1)
                v2 = 2.0 * power * share**2 * w ** (power - 1)
                if power != 1:
                    v2 += 4.0 * power * (power - 1) * share**2 * f**2 * w ** (power - 2)
                v1s[b] = 2.0 * v1
            return _Spread(v, v1, v2, vs, v1s)
        part = share * w ** (power / 2)
        total = fixed + part
        if ADDITIVE in place:
            vs[place[ADDITIVE]] = 2.0 * total * fixed
        if b is not None:
            vs[b] = 2.0 * total * part
        if moving and b is not None:
            slope, bend = share * np.sign(f), 0.0
            if power != 1:
                slope = share * power * f * w ** (power / 2 - 1)
                bend = share * power * w ** (power / 2 - 1) * (1 + (power - 2) * f**2 / w)
            v1, v2 = 2.0 * total * slope, 2.0 * (slope**2 + total * bend)
            if ADDITIVE in place:
                v1s[place[ADDITIVE]] = 2.0 * fixed * slope
            v1s[b] = 2.0 * slope * (part + total)
        return _Spread(total**2, v1, v2, vs, v1s)

    def _scale(self, y: Array, f: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Gap of y and f where errors are normal, three derivatives of f there, and 2 ln y or 0."""
        one, zero = np.ones_like(f), np.zeros_like(f)
        if self.residual.combine != "log":
            return y - f, one, zero, zero, zero
        log = np.log(y)
        return log - np.log(f), 1.0 / f, -1.0 / f**2, 2.0 / f**3, 2.0 * log

    def cost(self, y: Array, f: Array, s: Array, below: bool, floor: Array | None = None) -> Array:
        """Minus twice the log likelihood of flat arrays."""
        v = self._spread(f, s, False).v
        if floor is not None:
            above = 2.0 * log_ndtr(-self._scale(floor, f)[0] / np.sqrt(v))
            return np.asarray(self.cost(y, f, s, below) + above)
        gap, _, _, _, extra = self._scale(y, f)
        found: Array = (
            -2.0 * log_ndtr(gap / np.sqrt(v)) if below else gap**2 / v + np.log(v) + extra
        )
        return found

    def terms(
        self,
        y: Array,
        f: Array,
        at: Array | None,
        s: Array,
        below: bool,
        floor: Array | None = None,
    ) -> list[Array]:
        """The fields of Terms for flat arrays; ``at`` is f of the variance without interaction.

        Sigmas are (n_sigma,) or (n_sigma, n). With ``below`` the observations lie anywhere below
        ``y``; with ``floor`` they were only kept because they lie above it.
        """
        spread = self._spread(f if at is None else at, s, at is None)
        scale = self._scale(y, f)
        parts = _below(scale, spread) if below else _seen(scale, spread, at is None)
        if floor is not None:
            e, h1, h2, h3, extra = self._scale(floor, f)
            kept = _below((-e, -h1, -h2, -h3, extra), spread, expected=True)
            parts = [one - other for one, other in zip(parts, kept, strict=True)]
        return [part.T if k in WIDE else part for k, part in enumerate(parts)]

    def linear(self, y: Array, f: Array, at: Array, s: Array) -> list[Array]:
        """The fields of Linear for flat arrays."""
        _, slope, _, _, extra = self._scale(y, f)
        log = self.residual.combine == "log"
        left, right = (np.log(y), np.log(f)) if log else (y, f)
        return [left, right, slope, self._spread(at, s, False).v, extra]

    def draw(self, f: Array, s: Array, rng: np.random.Generator) -> Array:
        """Observations around predictions, flat."""
        y = np.ones_like(f)
        _, middle, _, variance, _ = self.linear(y, f, f, s)
        value = middle + np.sqrt(variance) * rng.standard_normal(f.shape)
        return np.exp(value) if self.residual.combine == "log" else value


@dataclass(frozen=True, eq=False)
class _Spread:
    """A variance (n,) with derivatives by f, and by sigmas (n_sigma, n)."""

    v: Array
    v1: Array
    v2: Array
    vs: Array
    v1s: Array


def _seen(scale: tuple[Array, ...], spread: _Spread, interaction: bool) -> list[Array]:
    """The fields of Terms of numbers that were reported: e^2 / v + ln v."""
    e, h1, h2, _, extra = scale
    v = spread.v
    r, bend, q = spread.v1 / v, spread.v2 / v, spread.vs / v
    r_s, r_f = spread.v1s / v - r * q, bend - r**2
    square = e**2 / v
    by_f = -2.0 * e * h1 / v + r * (1.0 - square)
    by_ff = 2.0 * (h1**2 - e * h2 + 2.0 * e * h1 * r) / v + r_f * (1.0 - square) + r**2 * square
    by_fs = 2.0 * e * h1 / v * q + r_s * (1.0 - square) + r * square * q
    weight, weight_f, weight_s = h1**2 / v, (2.0 * h1 * h2 - h1**2 * r) / v, -(h1**2) / v * q
    if interaction:
        weight, weight_f, weight_s = (
            weight + 0.5 * r**2, weight_f + r * r_f, weight_s + r * r_s
        )  # fmt: skip
    cost = square + np.log(v) + extra
    return [cost, by_f, by_ff, q * (1.0 - square), by_fs, weight, weight_f, weight_s]


def _below(scale: tuple[Array, ...], spread: _Spread, expected: bool = False) -> list[Array]:
    """The fields of Terms of values below a limit, -2 ln Phi(z) with z = e / sd.

    ``weight`` is half the second derivative with the variance held; ``expected`` leaves out what
    cancels on average with the observations that were kept.
    """
    e, h1, h2, h3, _ = scale
    sd, v = np.sqrt(spread.v), spread.v
    r, bend, q = spread.v1 / v, spread.v2 / v, spread.vs / v
    z = e / sd
    one, two, three = _log_phi_slopes(z)
    held, held2 = -h1 / sd, -h2 / sd  # first and second derivative of z with sd held
    held_f, held2_f = held2 + 0.5 * h1 * r / sd, (-h3 + 0.5 * h2 * r) / sd
    z_f, z_s = held - 0.5 * z * r, -0.5 * z * q
    z_ff = held_f - 0.5 * (z_f * r + z * (bend - r**2))
    z_fs = -0.5 * (held * q + z_s * r + z * (spread.v1s / v - r * q))
    if expected:
        held2, held2_f = np.zeros_like(held2), np.zeros_like(held2)
    weight = -(two * held**2 + one * held2)
    weight_f = -(three * z_f * held**2 + two * (2.0 * held * held_f + z_f * held2) + one * held2_f)
    weight_s = -(three * held**2 + two * held2) * z_s + (two * held**2 + 0.5 * one * held2) * q
    return [
        -2.0 * log_ndtr(z), -2.0 * one * z_f, -2.0 * (two * z_f**2 + one * z_ff),
        -2.0 * one * z_s, -2.0 * (two * z_f * z_s + one * z_fs), weight, weight_f, weight_s,
    ]  # fmt: skip


def _log_phi_slopes(z: Array) -> tuple[Array, Array, Array]:
    """First to third derivative of ln Phi; far below zero by the series of the ratio of Mills."""
    ratio = np.sqrt(2.0 / np.pi) / erfcx(-z / np.sqrt(2.0))
    over = z + ratio
    bend = over**2 - (1.0 - ratio * over)
    far = z < -50.0
    if far.any():
        t = z[far] ** -2.0
        over[far] = -(1.0 - t * (2.0 - t * (10.0 - 74.0 * t))) / z[far]
        bend[far] = t**2 * (2.0 - 26.0 * t)
    return ratio, -ratio * over, ratio * bend


class Errors:
    """The error models of all endpoints of a data set.

    Parameters
    ----------
    models : sequence of ErrorModel
        By endpoint.
    truncated : bool
        Whether observations were only kept because they lie above their limit.
    """

    def __init__(self, models: Sequence[ErrorModel], truncated: bool = False) -> None:
        self.models, self.truncated = tuple(models), truncated
        sizes = [len(m.names) for m in models]
        ends = np.cumsum([0, *sizes])
        self.slices = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.names = [f"{m.residual.output}.{name}" for m in models for name in m.names]
        self.start = np.log([value for m in models for value in m.start.values()])

    def terms(
        self,
        course: Any,
        f: Array,
        s: Array,
        at: Array | None = None,
        who: npt.NDArray[np.int64] | None = None,
        y: Array | None = None,
    ) -> Terms:
        """Terms of all observations; zero where there is none.

        ``s`` (n_sigma,) are the same for all rows, or (rows, n_sigma) one set for each.
        """
        rows = slice(None) if who is None else who
        mask, endpoint = course.mask[rows], course.endpoint[rows]
        censored, limits = course.censored[rows], course.limits[rows]
        values = course.y[rows] if y is None else y
        found = [
            np.zeros((*mask.shape, s.shape[-1]) if k in WIDE else mask.shape) for k in range(8)
        ]
        for e, (model, place) in enumerate(zip(self.models, self.slices, strict=True)):
            for below, given in ((False, values), (True, limits)):
                mine = mask & (endpoint == e) & (censored == below)
                if not mine.any():
                    continue
                sigmas = s[place] if s.ndim == 1 else s[np.nonzero(mine)[0], place].T
                floor = limits[mine] if self.truncated else None
                parts = model.terms(
                    given[mine], f[mine], None if at is None else at[mine], sigmas, below, floor
                )
                for k, part in enumerate(parts):
                    if k in WIDE:
                        found[k][..., place][mine] = part
                    else:
                        found[k][mine] = part
        return Terms(*found)

    def cost(
        self, course: Any, f: Array, s: Array, who: npt.NDArray[np.int64] | None = None
    ) -> Array:
        """The cost alone, with interaction (n, T)."""
        rows = slice(None) if who is None else who
        mask, endpoint = course.mask[rows], course.endpoint[rows]
        censored, limits = course.censored[rows], course.limits[rows]
        found = np.zeros(mask.shape)
        with np.errstate(all="ignore"):
            for e, (model, place) in enumerate(zip(self.models, self.slices, strict=True)):
                for below, values in ((False, course.y[rows]), (True, limits)):
                    mine = mask & (endpoint == e) & (censored == below)
                    floor = limits[mine] if self.truncated else None
                    if mine.any():
                        found[mine] = model.cost(values[mine], f[mine], s[place], below, floor)
        return found

    def linear(self, course: Any, f: Array, s: Array, at: Array | None = None) -> Linear:
        """On the scale of normal errors; variance 1 where there is no observation."""
        found = [np.zeros(f.shape) for _ in range(5)]
        found[3] += 1.0
        at = f if at is None else at
        for e, (model, place) in enumerate(zip(self.models, self.slices, strict=True)):
            mine = course.mask & (course.endpoint == e)
            parts = model.linear(course.y[mine], f[mine], at[mine], s[place])
            for whole, part in zip(found, parts, strict=True):
                whole[mine] = part
        return Linear(*found)

    def draw(self, course: Any, f: Array, s: Array, rng: np.random.Generator) -> Array:
        """Simulated observations (..., n, T) of all individuals; zero where there is none."""
        drawn = np.zeros(f.shape)
        for e, (model, place) in enumerate(zip(self.models, self.slices, strict=True)):
            mine = course.mask & (course.endpoint == e)
            given = f[..., mine]
            drawn[..., mine] = model.draw(given.ravel(), s[place], rng).reshape(given.shape)
        return drawn
