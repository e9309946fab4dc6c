"""Stepwise search of covariate effects: forward by the drop of the objective, then backward.

Jonsson and Karlsson, Pharm Res 15:1463-1468, 1998, doi:10.1023/A:1011970125687. Effects found this
way are too large and their p-values too small; the table says what was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scipy.special import chdtrc

from galenic.inference.mixed.fit import Fit, fit
from galenic.inference.mixed.problem import Problem
from galenic.modeling.effects import Coefficient
from galenic.modeling.functions import exp
from galenic.modeling.variability import Population


@dataclass(frozen=True)
class Candidate:
    """An effect to try.

    Parameters
    ----------
    parameter, covariate : str
    form : str
        ``power`` with the reference value ``at``: P (cov / at)^theta; ``exponential``:
        P exp(theta (cov - at)), for covariates of unit 1 such as groups.
    at : str or float
        Reference value with unit.
    """

    parameter: str
    covariate: str
    at: str | float
    form: str = "power"

    @property
    def coefficient(self) -> str:
        """Name of the estimated number."""
        return f"{self.parameter}~{self.covariate}"

    def applied(self, typical: Any, c: Any) -> Any:
        """The typical value with the effect."""
        theta, value = getattr(c, self.coefficient), getattr(c, self.covariate)
        if self.form == "power":
            return typical * (value / self.at) ** theta
        return typical * exp(theta * (value - self.at))


@dataclass(frozen=True)
class Trial:
    """One fit of the search."""

    step: str
    effect: str
    objective: float
    drop: float
    p: float
    kept: bool


@dataclass(frozen=True, eq=False)
class Search:
    """What was found."""

    fit: Fit
    chosen: tuple[Candidate, ...]
    trials: tuple[Trial, ...]


def stepwise(
    problem: Problem,
    candidates: Sequence[Candidate],
    forward: float = 0.05,
    backward: float = 0.01,
    method: str = "focei",
    told: Callable[[Trial], bool | None] | None = None,
) -> Search:
    """Add effects while the best is significant at ``forward``; drop those not at ``backward``.

    Parameters
    ----------
    problem : Problem
        Without the effects; covariates of all candidates are in its population and data.
    told : callable, optional
        Gets each Trial; returning False stops the search.
    """
    best = fit(problem, method)
    chosen: list[Candidate] = []
    trials: list[Trial] = []
    going = True

    def note(step: str, effect: Candidate, found: Fit, drop: float, p: float, kept: bool) -> bool:
        trial = Trial(step, effect.coefficient, found.objective, drop, p, kept)
        trials.append(trial)
        return told is None or told(trial) is not False

    while going and len(chosen) < len(candidates):
        tried = []
        for one in (c for c in candidates if c not in chosen):
            found = _fitted(problem, [*chosen, one], best, method)
            drop = best.objective - found.objective
            tried.append((drop, one, found))
            going = note("forward", one, found, drop, _p(drop), False) and going
            if not going:
                break
        drop, one, found = max(tried, key=lambda row: row[0])
        if _p(drop) >= forward or not going:
            break
        chosen.append(one)
        best = found
        note("add", one, found, drop, _p(drop), True)
    while going and chosen:
        tried = []
        for one in chosen:
            found = _fitted(problem, [c for c in chosen if c is not one], best, method)
            rise = found.objective - best.objective
            tried.append((rise, one, found))
            going = note("backward", one, found, -rise, _p(rise), True) and going
        rise, one, found = min(tried, key=lambda row: row[0])
        if _p(rise) < backward:
            break
        chosen.remove(one)
        best = found
        note("remove", one, found, -rise, _p(rise), False)
    return Search(best, tuple(chosen), tuple(trials))


def _p(drop: float) -> float:
    return float(chdtrc(1, max(drop, 0.0)))


def _fitted(problem: Problem, chosen: Sequence[Candidate], near: Fit, method: str) -> Fit:
    return fit(
        problem.with_population(with_effects(problem.population, chosen)), method, near,
        tolerance=1e-3,
    )  # fmt: skip


def with_effects(population: Population, effects: Sequence[Candidate]) -> Population:
    """The population with covariate effects on top of its relations."""
    relations = dict(population.relations)
    for one in effects:
        before = relations.get(one.parameter)
        relations[one.parameter] = _after(before, one)
    new = [
        Coefficient(one.coefficient, 0.0, meaning=f"{one.form} effect of {one.covariate}")
        for one in effects
    ]
    return replace(population, relations=relations, coefficients=(*population.coefficients, *new))


def _after(before: Callable[..., Any] | None, one: Candidate) -> Callable[..., Any]:
    def relation(typical: Any, c: Any) -> Any:
        return one.applied(typical if before is None else before(typical, c), c)

    return relation
