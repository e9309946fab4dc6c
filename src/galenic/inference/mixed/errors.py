"""Residual errors: minus twice the log likelihood of an observation, with exact derivatives.

For an observation y with prediction f and variance R(f) it is (y - f)^2 / R + ln R; where y is
only known to lie below a limit L it is -2 ln Phi((L - f) / sd) (method M3: Beal, J Pharmacokinet
Pharmacodyn 28:481-504, 2001, doi:10.1023/A:1012299115260). The term n ln(2 pi) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.engine.tape import Tape
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
        self._terms = {
            (below, interaction): self._derive(below, interaction)
            for below in (False, True)
            for interaction in (False, True)
        }
        self._cost = {below: self._cost_alone(below) for below in (False, True)}
        self._linear = self._linearised()

    def _variance(self, f: ca.SX, s: ca.SX) -> ca.SX:
        sd = {name: ca.exp(s[k]) for k, name in enumerate(self.names)}
        r = self.residual
        if r.combine == "log":
            return sd[PROPORTIONAL] ** 2
        size = ca.sqrt(f**2 + _SMALL) if r.power == 1 else (f**2 + _SMALL) ** (r.power / 2)
        parts = [sd[ADDITIVE]] if ADDITIVE in sd else []
        parts += [sd[PROPORTIONAL] * size] if PROPORTIONAL in sd else []
        if r.combine == "sd":
            return ca.sum1(ca.vertcat(*parts)) ** 2
        return ca.sumsqr(ca.vertcat(*parts))

    def _derive(self, below: bool, interaction: bool) -> Tape:
        """(y or limit, f, f of the variance, log sds) -> the fields of Terms."""
        y, f, at = (ca.SX.sym(name) for name in "yfa")
        s = ca.SX.sym("s", len(self.names))
        variance = self._variance(at, s)
        log = self.residual.combine == "log"
        left, right = (ca.log(y), ca.log(f)) if log else (y, f)
        gap = left - right
        slope = ca.gradient(right, f)
        if below:
            cost = -2 * _log_phi(gap / ca.sqrt(variance))
            weight = 0.5 * ca.hessian(cost, f)[0]
        else:
            cost = gap**2 / variance + ca.log(variance) + (2 * ca.log(y) if log else 0)
            weight = slope**2 / variance
        if interaction and not below:
            weight += 0.5 * (ca.gradient(variance, at) / variance) ** 2
        if interaction:
            cost, weight = (ca.substitute(one, at, f) for one in (cost, weight))
        by_f, by_s = ca.gradient(cost, f), ca.gradient(cost, s)
        outs = [
            cost, by_f, ca.gradient(by_f, f), by_s, ca.jacobian(by_f, s).T,
            weight, ca.gradient(weight, f), ca.gradient(weight, s),
        ]  # fmt: skip
        return Tape(ca.Function("terms", [y, f, at, s], outs))

    def _linearised(self) -> Tape:
        y, f, at = (ca.SX.sym(name) for name in "yfa")
        s = ca.SX.sym("s", len(self.names))
        log = self.residual.combine == "log"
        left, right = (ca.log(y), ca.log(f)) if log else (y, f)
        extra = 2 * ca.log(y) if log else ca.SX(0)
        outs = [left, right, ca.gradient(right, f), self._variance(at, s), extra]
        return Tape(ca.Function("linear", [y, f, at, s], outs))

    def _cost_alone(self, below: bool) -> Tape:
        y, f = ca.SX.sym("y"), ca.SX.sym("f")
        s = ca.SX.sym("s", len(self.names))
        whole = self._terms[below, True].function
        return Tape(ca.Function("cost", [y, f, s], [whole(y, f, f, s)[0]]))

    def cost(self, y: Array, f: Array, s: Array, below: bool) -> Array:
        """Minus twice the log likelihood of flat arrays."""
        found: Array = _evaluated(self._cost[below], (y, f), s)[0][0]
        return found

    def terms(self, y: Array, f: Array, at: Array | None, s: Array, below: bool) -> list[Array]:
        """The fields of Terms for flat arrays; ``at`` is f of the variance without interaction.

        With ``below`` the observations lie anywhere below ``y``.
        """
        rows = (y, f, f if at is None else at)
        found = _evaluated(self._terms[below, at is None], rows, s)
        return [part[0] if k not in WIDE else part.T for k, part in enumerate(found)]

    def linear(self, y: Array, f: Array, at: Array, s: Array) -> list[Array]:
        """The fields of Linear for flat arrays."""
        return [part[0] for part in _evaluated(self._linear, (y, f, at), s)]

    def draw(self, f: Array, s: Array, rng: np.random.Generator) -> Array:
        """Observations around predictions, flat."""
        y = np.ones_like(f)
        _, middle, _, variance, _ = self.linear(y, f, f, s)
        value = middle + np.sqrt(variance) * rng.standard_normal(f.shape)
        return np.exp(value) if self.residual.combine == "log" else value


def _evaluated(tape: Tape, rows: Sequence[Array], s: Array) -> list[Array]:
    """All outputs (elements, n) for flat rows and sigmas that are the same for all."""
    given = [row[None, :] for row in rows]
    found = tape.evaluate([*given, np.asarray(s, float)])
    return [
        part if part.ndim == 2 else np.repeat(part[:, None], len(rows[0]), axis=1) for part in found
    ]


def _log_phi(z: ca.SX) -> ca.SX:
    """Logarithm of the normal distribution function, also far below zero."""
    safe = ca.fmin(z, -5.0)
    series = 1 - 1 / safe**2 + 3 / safe**4 - 15 / safe**6 + 105 / safe**8
    tail = -0.5 * safe**2 - ca.log(-safe) - 0.5 * np.log(2 * np.pi) + ca.log(series)
    usual = ca.log(0.5 * (1 + ca.erf(ca.fmax(z, -5.5) / np.sqrt(2.0))))
    return ca.if_else(z < -5.0, tail, usual)


class Errors:
    """The error models of all endpoints of a data set.

    Parameters
    ----------
    models : sequence of ErrorModel
        By endpoint.
    """

    def __init__(self, models: Sequence[ErrorModel]) -> None:
        self.models = tuple(models)
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
        """Terms of all observations; zero where there is none."""
        rows = slice(None) if who is None else who
        mask, endpoint = course.mask[rows], course.endpoint[rows]
        censored, limits = course.censored[rows], course.limits[rows]
        values = course.y[rows] if y is None else y
        found = [np.zeros((*mask.shape, len(s)) if k in WIDE else mask.shape) for k in range(8)]
        for e, (model, place) in enumerate(zip(self.models, self.slices, strict=True)):
            for below, given in ((False, values), (True, limits)):
                mine = mask & (endpoint == e) & (censored == below)
                if not mine.any():
                    continue
                parts = model.terms(
                    given[mine], f[mine], None if at is None else at[mine], s[place], below
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
        censored = course.censored[rows]
        found = np.zeros(mask.shape)
        with np.errstate(all="ignore"):
            for e, (model, place) in enumerate(zip(self.models, self.slices, strict=True)):
                for below, values in ((False, course.y), (True, course.limits)):
                    mine = mask & (endpoint == e) & (censored == below)
                    if mine.any():
                        found[mine] = model.cost(values[rows][mine], f[mine], s[place], below)
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
