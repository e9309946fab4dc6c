"""Minus twice the marginal log likelihood of each individual, by approximation.

- ``fo``: predictions linearised at eta = 0
- ``foce``, ``focei``: J at the modes + ln|Omega| + ln|H|, with the variance of errors frozen at
  eta = 0, or with its dependence on eta (interaction)
- ``laplace``: the same with half the true second derivative of J for H
- ``agq``: adaptive Gauss-Hermite quadrature around the modes, as wide as H of FOCEI

The constant n ln(2 pi) is left out, as NONMEM does. Sources: Sheiner and Beal 1980; Lindstrom and
Bates, Biometrics 46:673-687, 1990, doi:10.2307/2532087; Wang, J Pharmacokinet Pharmacodyn
34:575-593, 2007, doi:10.1007/s10928-007-9060-6; the gradient as in Almquist, Leander and Jirstrand,
J Pharmacokinet Pharmacodyn 42:191-209, 2015, doi:10.1007/s10928-015-9409-1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from galenic.errors import DataError, UnknownName
from galenic.inference.algebra import Array
from galenic.inference.mixed import modes
from galenic.inference.mixed.course import Course
from galenic.inference.mixed.errors import Errors
from galenic.inference.mixed.integrate import quadrature
from galenic.inference.mixed.modes import Modes
from galenic.inference.mixed.packing import Packing, Point

METHODS = ("fo", "foce", "focei", "laplace", "agq")
_STEP = 1e-4
"""Step of numerical derivatives by the vector, in its units."""


@dataclass(frozen=True, eq=False)
class Marginal:
    """The approximation at one vector.

    Parameters
    ----------
    each : array (n,)
        Per individual, without n ln(2 pi).
    found : Modes or None
        None for ``fo``.
    by : array (n, size) or None
        Derivatives by the vector.
    """

    each: Array
    found: Modes | None
    by: Array | None = None

    @property
    def total(self) -> float:
        """The objective function value."""
        return float(self.each.sum())


class Approximation:
    """One way to approximate, for one data set; it starts searches of modes from the last ones.

    Parameters
    ----------
    course : Course
    errors : Errors
    packing : Packing
    method : str
        One of ``METHODS``.
    nodes : int
        Of the quadrature, per random effect.
    """

    def __init__(
        self, course: Course, errors: Errors, packing: Packing, method: str, nodes: int = 5
    ) -> None:
        if method not in METHODS:
            raise UnknownName.among("approximation", method, METHODS)
        if method == "fo" and (errors.truncated or course.censored.any()):
            raise DataError(
                "observations below a limit by fo", where="the method",
                expected="M1, M5 or M6: the linearised model has no probability below a limit",
                hint="use focei or laplace",
            )  # fmt: skip
        self.course, self.errors, self.packing, self.method = course, errors, packing, method
        self.nodes = nodes
        self.metric: Array | None = None
        self.last = np.zeros((len(course), course.joined.n_effects))
        exact = course.plain.method == "exact"
        self.second_step = 1e-4 if exact else 1e-3

    def __call__(self, xi: Array, slopes: bool = False) -> Marginal:
        """The approximation at a vector, with derivatives if wanted."""
        point = self.packing.point(xi)
        made = self._value(point, self.last)
        if made.found is not None and np.isfinite(made.each).all():
            self.last = made.found.effects
        if not slopes:
            return made
        if self.method == "focei" and made.found is not None:
            by = self._exact(xi, point, made.found)
        else:
            by = self._differences(xi)
        return Marginal(made.each, made.found, by)

    def _differences(self, xi: Array) -> Array:
        by = np.zeros((len(self.course), len(xi)))
        for k in np.flatnonzero(self.packing.free):
            sides = []
            for sign in (1.0, -1.0):
                moved = xi.copy()
                moved[k] += sign * _STEP
                sides.append(self._value(self.packing.point(moved), self.last).each)
            by[:, k] = (sides[0] - sides[1]) / (2 * _STEP)
        return by

    def _value(self, point: Point, start: Array) -> Marginal:
        if self.method == "fo":
            return Marginal(self._fo(point), None)
        at = self.at_zero(point) if self.method == "foce" else None
        metric = self.metric if self.method != "foce" else None
        found = modes.find(self.course, self.errors, point, start, at, metric=metric)
        curvature = found.curvature
        if self.method == "laplace":
            curvature = self.true_curvature(point, found)
        if self.method == "agq":
            each = quadrature(self.course, self.errors, point, found, found.curvature, self.nodes)
            return Marginal(each, found)
        return Marginal(joint(point, found.cost, curvature), found)

    def at_zero(self, point: Point) -> Array:
        """Predictions of typical individuals."""
        none = np.zeros((len(self.course), self.course.joined.n_effects))
        return self.course.predict(point.fixed, none, slopes=False).f

    def _fo(self, point: Point) -> Array:
        none = np.zeros((len(self.course), self.course.joined.n_effects))
        made = self.course.predict(point.fixed, none)
        assert made.by is not None
        linear = self.errors.linear(self.course, made.f, point.sigma)
        g = made.by[..., : none.shape[1]] * linear.slope[..., None]
        gap = np.where(self.course.mask, linear.y - linear.f, 0.0)
        cost = normal_cost(gap, g, point.omega, linear.variance)
        return np.asarray(cost + linear.extra.sum(axis=1))

    def true_curvature(self, point: Point, found: Modes) -> Array:
        """Half the second derivative of J; H where that is not positive."""
        q = found.effects.shape[1]
        second = self.course.second(point.fixed, found.effects, self.second_step)
        self.metric = _true(point, found, second[..., :q, :q])
        return self.metric

    def _exact(self, xi: Array, point: Point, found: Modes) -> Array:
        """Derivatives (n, size) of J + ln|Omega| + ln|H| with interaction, modes following."""
        terms, by, q = found.terms, found.by, found.effects.shape[1]
        second = self.course.second(point.fixed, found.effects, self.second_step)
        g = by[..., :q]
        inverse = point.precision
        spread = np.linalg.inv(found.curvature)
        true = _true(point, found, second[..., :q, :q])
        self.metric = true
        ag = g @ spread
        size = np.sum(ag * g, axis=-1)
        along = np.einsum("nt,ntd->nd", terms.weight_f * size, by)
        along += 2 * np.einsum("nt,ntb,ntbd->nd", terms.weight, ag, second[..., :q, :])
        pull = np.linalg.solve(true, along[:, :q, None])[..., 0]
        cross = np.einsum("nt,nta,ntd->nad", terms.by_ff, g, by)
        cross = 0.5 * (cross + np.einsum("nt,ntad->nad", terms.by_f, second[..., :q, :]))
        direct = np.einsum("nt,ntd->nd", terms.by_f, by) + along
        direct -= np.einsum("na,nad->nd", pull, cross)
        columns = [self.course.column(j) for j in range(self.packing.n_fixed)]
        outer = found.effects[:, :, None] * found.effects[:, None, :]
        turned = found.effects[:, :, None] * pull[:, None, :]
        middle = outer + spread - 0.5 * (turned + turned.transpose(0, 2, 1))
        by_omega = self.packing.pull(xi, inverse - inverse @ middle @ inverse)
        by_s = terms.by_s.sum(axis=1) + np.einsum("nts,nt->ns", terms.weight_s, size)
        half = 0.5 * np.einsum("nts,nta->nas", terms.by_fs, g)
        by_s -= np.einsum("na,nas->ns", pull, half)
        return np.concatenate([direct[:, columns], by_omega, by_s], axis=1)


def _true(point: Point, found: Modes, second: Array) -> Array:
    q = found.effects.shape[1]
    g, terms = found.by[..., :q], found.terms
    true = point.precision + 0.5 * (
        (g * terms.by_ff[..., None]).transpose(0, 2, 1) @ g
        + np.einsum("nt,ntab->nab", terms.by_f, second)
    )
    wrong = ~np.isfinite(true).all((1, 2))
    true[wrong] = found.curvature[wrong]
    if q:
        low = np.linalg.eigvalsh(true)[:, 0] <= 0
        true[low] = found.curvature[low]
    return np.asarray(true)


def joint(point: Point, cost: Array, curvature: Array) -> Array:
    """J + ln|Omega| + ln|H|."""
    if not point.omega.size:
        return cost
    return np.asarray(cost + np.linalg.slogdet(point.omega)[1] + np.linalg.slogdet(curvature)[1])


def normal_cost(gap: Array, g: Array, omega: Array, variance: Array) -> Array:
    """ln|C| + r' C^-1 r with C = G Omega G' + R, per individual."""
    spread = g @ omega @ g.transpose(0, 2, 1)
    width = spread.shape[1]
    spread[:, np.arange(width), np.arange(width)] += variance
    solved = np.linalg.solve(spread, gap[..., None])[..., 0]
    return np.asarray(np.linalg.slogdet(spread)[1] + np.sum(gap * solved, axis=1))
