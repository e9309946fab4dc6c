"""Estimate a population, and say how well its numbers are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from time import process_time
from typing import Any

import numpy as np

from galenic.errors import DataError, SolveError, UnknownName
from galenic.inference.algebra import Array
from galenic.inference.mixed.marginal import METHODS, Approximation, Marginal
from galenic.inference.mixed.modes import Modes
from galenic.inference.mixed.packing import Point
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.search import Told, minimise

COVARIANCES = ("r", "s", "sandwich")
_STEP = 1e-3


@dataclass(frozen=True, eq=False)
class Fit:
    """Estimates of a population.

    Parameters
    ----------
    method : str
    vector : array
        The estimates on their search scales.
    marginal : Marginal
        The approximation of the likelihood there.
    approximation : str
        Which one: that of the method, for SAEM the one that was asked for.
    converged : bool
    message : str
    trace : tuple of float
        Objective after each step.
    seconds : float
        Processor time.
    notes : dict
        What a method tells beside.
    """

    problem: Problem
    method: str
    vector: Array
    marginal: Marginal
    approximation: str
    converged: bool
    message: str
    trace: tuple[float, ...] = ()
    seconds: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def objective(self) -> float:
        """The objective function value of NONMEM: minus twice the log likelihood - n ln(2 pi)."""
        return self.marginal.total

    @property
    def minus2ll(self) -> float:
        """Minus twice the log likelihood with all constants."""
        return self.objective + self.problem.constant

    @property
    def size(self) -> int:
        """How many numbers were estimated."""
        return int(self.problem.packing.free.sum())

    @property
    def aic(self) -> float:
        """Akaike's criterion, from the full -2LL."""
        return self.minus2ll + 2 * self.size

    @property
    def bic(self) -> float:
        """Schwarz's criterion with the number of observations."""
        return self.minus2ll + self.size * float(np.log(self.problem.count))

    @property
    def point(self) -> Point:
        return self.problem.packing.point(self.vector)

    @cached_property
    def values(self) -> dict[str, float]:
        """Estimates by name: declared units, variances of effects, sd of errors."""
        natural = self.problem.packing.natural(self.vector)
        return dict(zip(self.problem.names, map(float, natural), strict=True))

    def __getitem__(self, name: str) -> float:
        if name not in self.values:
            raise UnknownName.among("estimate", name, self.values)
        return self.values[name]

    @cached_property
    def found(self) -> Modes:
        """The modes of individuals' effects (for FO those at the final estimates)."""
        if self.marginal.found is not None:
            return self.marginal.found
        return self._approximation("focei")(self.vector).found  # type: ignore[return-value]

    @property
    def effects(self) -> Array:
        """Modes of the random effects (n, n_effects): eta, then kappa by term and occasion."""
        return self.found.effects

    def _approximation(self, name: str = "") -> Approximation:
        p = self.problem
        nodes = self.notes.get("nodes", 5)
        made = Approximation(p.course, p.errors, p.packing, name or self.approximation, nodes)
        if self.marginal.found is not None:
            made.last = self.marginal.found.effects
        return made

    @cached_property
    def gradients(self) -> Array:
        """Derivatives of each individual's objective by the vector (n, size)."""
        found = self._approximation()(self.vector, slopes=True).by
        assert found is not None
        return found

    @cached_property
    def hessian(self) -> Array:
        """Second derivative of the objective by the free elements, from exact gradients."""
        free = np.flatnonzero(self.problem.packing.free)
        made = self._approximation()
        rows = []
        for k in free:
            sides = []
            for sign in (1.0, -1.0):
                moved = self.vector.copy()
                moved[k] += sign * _STEP
                by = made(moved, slopes=True).by
                assert by is not None
                sides.append(by[:, free].sum(axis=0))
            rows.append((sides[0] - sides[1]) / (2 * _STEP))
        whole = np.array(rows)
        return np.asarray((whole + whole.T) / 2)

    def covariance(self, kind: str = "r") -> Array:
        """Covariance of the free elements of the vector.

        Parameters
        ----------
        kind : str
            ``r`` from the second derivative, ``s`` from the gradients of individuals,
            ``sandwich`` from both.
        """
        if kind not in COVARIANCES:
            raise UnknownName.among("covariance", kind, COVARIANCES)
        free = self.problem.packing.free
        outer = 0.25 * self.gradients[:, free].T @ self.gradients[:, free]
        if kind == "s":
            return _inverse(outer)
        inverse = _inverse(self.hessian / 2)
        return inverse if kind == "r" else np.asarray(inverse @ outer @ inverse)

    @cached_property
    def jacobian(self) -> Array:
        """Derivative of the reported numbers by the free elements of the vector."""
        packing, columns = self.problem.packing, []
        for k in np.flatnonzero(packing.free):
            sides = []
            for sign in (1.0, -1.0):
                moved = self.vector.copy()
                moved[k] += sign * 1e-5
                sides.append(packing.natural(moved))
            columns.append((sides[0] - sides[1]) / 2e-5)
        return np.array(columns).T

    def errors(self, kind: str = "r") -> dict[str, float]:
        """Standard errors of the reported numbers; nan where the information is singular."""
        spread = self.jacobian @ self.covariance(kind) @ self.jacobian.T
        with np.errstate(invalid="ignore"):
            sd = np.sqrt(np.diag(spread))
        held = ~self.problem.packing.free
        sd = np.where(held, 0.0, sd)
        return dict(zip(self.problem.names, map(float, sd), strict=True))

    @cached_property
    def condition(self) -> float:
        """Largest over smallest eigenvalue of the correlation of the estimates."""
        spread = self.covariance()
        if not np.isfinite(spread).all():
            return float("inf")
        sd = np.sqrt(np.diag(spread))
        values = np.linalg.eigvalsh(spread / np.outer(sd, sd))
        return float(values[-1] / values[0]) if values[0] > 0 else float("inf")

    @cached_property
    def shrinkage(self) -> dict[str, float]:
        """Share by which modes vary less than the population, 1 - sd(eta) / omega, per effect."""
        joined, omega = self.problem.joined, np.diag(self.point.omega)
        n = joined.n_eta
        found = {}
        for k, term in enumerate(joined.population.between):
            sd = self.effects[:, k].std(ddof=1) if len(self.effects) > 1 else 0.0
            found[term.parameter] = float(1.0 - sd / np.sqrt(omega[k]))
        for k, occasion in enumerate(joined.population.occasions):
            first = n + k * joined.occasions
            every = self.effects[:, first : first + joined.occasions]
            sd = every[every != 0].std(ddof=1) if (every != 0).sum() > 1 else 0.0
            found[f"{occasion.parameter} by occasion"] = float(1.0 - sd / np.sqrt(omega[first]))
        return found

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the estimates doubtful: no convergence, effects without spread, bounds."""
        found = [] if self.converged else [f"the search has not converged: {self.message}"]
        joined, omega = self.problem.joined, np.diag(self.point.omega)
        for term, variance in zip(joined.population.between, omega, strict=False):
            if variance < 1e-6:
                found.append(f"{term.parameter} hardly varies (variance {variance:.1e}): hold it")
        for fixed, x in zip(joined.fixed, self.point.fixed, strict=True):
            if fixed.scale == "logit" and abs(x) > 8:
                found.append(f"{fixed.path} is at a bound")
        lost = int((self.found.left > 1e-6).sum())
        if lost:
            found.append(f"the modes of {lost} individuals are not exact")
        return tuple(found)

    def individual(self) -> list[dict[str, Any]]:
        """Individual parameters in declared units, at the first row's covariates and occasion."""
        from galenic.inference.mixed.people import parameters

        return parameters(self.problem, self.vector, self.effects)

    def table(self, kind: str = "r", level: float = 0.95) -> list[dict[str, Any]]:
        """One row per number: estimate, standard error, relative error, interval, unit."""
        from scipy.special import ndtri

        packing = self.problem.packing
        errors, free = self.errors(kind), np.flatnonzero(packing.free)
        reach = float(ndtri(0.5 + level / 2)) * np.sqrt(np.diag(self.covariance(kind)))
        rows = []
        for k, (name, text) in enumerate(zip(packing.names, packing.units(), strict=True)):
            value = self.values[name]
            row: dict[str, Any] = {"name": name, "value": value, "unit": text}
            if packing.free[k]:
                at = int(np.searchsorted(free, k))
                low, high = self._ends(k, float(reach[at]), value, errors[name], level)
                row |= {"se": errors[name], "rse": abs(errors[name] / value) if value else np.nan}
                row |= {"lower": low, "upper": high}
            else:
                row |= {"se": None, "rse": None, "lower": None, "upper": None}
            if name.startswith("omega"):
                row["sd"] = float(np.sqrt(value)) if value > 0 else None
            rows.append(row)
        return rows

    def _ends(
        self, k: int, reach: float, value: float, error: float, level: float
    ) -> tuple[float, float]:
        """The interval on the search scale, where an element alone makes the number."""
        from scipy.special import ndtri

        packing = self.problem.packing
        first = packing.n_fixed
        crossed = first <= k < first + packing.n_omega and any(
            len(b) > 1 and packing.places[k - first][0] in b for b in packing.blocks
        )
        if crossed:
            wide = float(ndtri(0.5 + level / 2)) * error
            return value - wide, value + wide
        ends = []
        for sign in (-1.0, 1.0):
            moved = self.vector.copy()
            moved[k] += sign * reach
            ends.append(float(packing.natural(moved)[k]))
        return ends[0], ends[1]

    def population(self) -> Any:
        """The population with the estimates as its values."""
        from galenic.inference.mixed.people import updated

        return updated(self.problem, self.vector)


def _inverse(matrix: Array) -> Array:
    """The inverse of a positive matrix; nan where it is none."""
    size = np.sqrt(np.abs(np.diag(matrix)))
    if not np.isfinite(matrix).all() or (size == 0).any():
        return np.full_like(matrix, np.nan)
    scaled = matrix / np.outer(size, size)
    if np.linalg.eigvalsh(scaled)[0] <= 1e-12:
        return np.full_like(matrix, np.nan)
    return np.asarray(np.linalg.inv(scaled) / np.outer(size, size))


def evaluate(problem: Problem, method: str = "focei", start: Any = None, nodes: int = 5) -> Fit:
    """The objective at given values, without a search.

    Parameters
    ----------
    start : Fit, array, or mapping of name to reported number, optional
        The population's own values if left out.
    nodes : int
        Per random effect, for ``agq``.
    """
    vector = begin(problem, start)
    made = Approximation(problem.course, problem.errors, problem.packing, method, nodes)
    return Fit(
        problem, method, vector, made(vector), method, True, "evaluated, not estimated",
        notes={"nodes": nodes},
    )  # fmt: skip


def begin(problem: Problem, start: Any) -> Array:
    """The vector that a search starts from."""
    if isinstance(start, Fit):
        if start.problem.names == problem.names:
            return start.vector.copy()
        known = {k: v for k, v in start.values.items() if k in problem.names}
        return problem.vector(known)
    if start is None or isinstance(start, dict):
        return problem.start(start)
    vector = np.array(start, float)
    if vector.shape != (problem.packing.size,):
        raise DataError(
            f"a start of shape {vector.shape}", expected=f"{problem.packing.size} numbers"
        )
    return vector


def fit(
    problem: Problem,
    method: str = "focei",
    start: Any = None,
    tolerance: float = 1e-5,
    iterations: int = 300,
    told: Told | None = None,
    nodes: int = 5,
) -> Fit:
    """Estimate a population by the approximations of ``marginal``.

    Parameters
    ----------
    problem : Problem
    method : str
        ``fo``, ``foce``, ``focei``, ``laplace`` or ``agq``; others are functions of their own.
    start : Fit, array, or mapping of name to reported number, optional
        Where the search begins; a Fit that was stopped goes on.
    tolerance : float
        What a further step may promise of the objective.
    told : callable, optional
        Gets each Step of the search; returning False stops it.
    nodes : int
        Per random effect, for ``agq``.
    """
    if method not in METHODS:
        raise UnknownName.among("method", method, METHODS)
    began = process_time()
    made = Approximation(problem.course, problem.errors, problem.packing, method, nodes)
    if isinstance(start, Fit) and start.marginal.found is not None:
        made.last = start.marginal.found.effects
    vector = begin(problem, start)

    def function(xi: Array) -> tuple[float, Array]:
        try:
            with np.errstate(all="ignore"):
                one = made(xi, slopes=True)
        except SolveError:  # Omega is singular to the last digit
            return float("inf"), np.zeros((len(problem.course), len(xi)))
        assert one.by is not None
        total = one.total if np.isfinite(one.by).all() else float("inf")
        return (total if np.isfinite(total) else float("inf")), one.by

    run = minimise(function, vector, problem.packing.free, tolerance, iterations, told)
    final = made(run.vector)
    return Fit(
        problem, method, run.vector, final, method, run.converged, run.message,
        tuple(run.trace), process_time() - began, {"evaluations": run.evaluations, "nodes": nodes},
    )  # fmt: skip
