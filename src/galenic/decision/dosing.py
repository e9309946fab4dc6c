"""Dose advice: which practical regimen brings exposure where it is wanted, and how surely.

Each draw from the belief is an individual with amounts in its body; a regimen's chance is the
share of draws whose exposure meets the targets. Advice is refused, with reasons, where the belief
does not carry it.

Source: Rybak et al., Am J Health Syst Pharm 77:835-864, 2020, doi:10.1093/ajhp/zxaa036 (AUC24/MIC
of vancomycin 400-600).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from galenic.decision.exposure import MEASURES, Array, Course, Regimen, Responses, responses
from galenic.errors import DataError, UnknownName
from galenic.inference.belief import Belief
from galenic.units import duration, from_si, value_in

__all__ = [
    "Advice", "Course", "Grid", "Limit", "Option", "Regimen", "Rules", "Target", "advise",
    "amount_for", "extrapolations",
]  # fmt: skip

MOST = 20_000  # regimens


def _si(value: Any, measure: str) -> float:
    if measure not in MEASURES:
        raise UnknownName.among("measure of exposure", measure, MEASURES)
    return float(value_in(value, MEASURES[measure]))


@dataclass(frozen=True)
class Target:
    """Exposure that is wanted: ``Target("AUC24", 400, 600)``.

    ``AUC24`` is the area under the concentration per day [mg h/L] at the end of the course,
    ``trough`` the concentration before the next dose [mg/L], ``peak`` that at the time of drawing
    it. Bare numbers are in those units.
    """

    measure: str
    low: Any = 0.0
    high: Any = math.inf

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest wanted value [SI]."""
        low, high = _si(self.low, self.measure), _si(self.high, self.measure)
        if not low < high:
            raise DataError(f"{self.low} is not below {self.high}", where=f"target {self.measure}")
        return low, high

    @property
    def middle(self) -> float:
        """The value to aim at [SI], between the bounds on the log scale where there are two."""
        low, high = self.bounds
        if math.isinf(high):
            return 1.25 * low
        return math.sqrt(low * high) if low > 0 else 0.75 * high


@dataclass(frozen=True)
class Limit:
    """Toxicity: the chance that ``measure`` is above ``high`` may be at most ``chance``."""

    measure: str
    high: Any
    chance: float = 0.1

    @property
    def bound(self) -> float:
        """The limit [SI]."""
        return _si(self.high, self.measure)


@dataclass(frozen=True)
class Grid:
    """The regimens that can be given in practice.

    Parameters
    ----------
    amounts : sequence of text or float [mg]
        Vials, or parts of them that can be measured.
    intervals, infusions : sequences of text or float [s]
    daily : text or float [mg]
        Largest amount per day.
    rate : text or float [mg/h]
        Fastest infusion.
    """

    amounts: Sequence[Any]
    intervals: Sequence[Any] = ("8 h", "12 h", "24 h")
    infusions: Sequence[Any] = ("1 h", "2 h")
    daily: Any = math.inf
    rate: Any = math.inf

    def regimens(self) -> tuple[Regimen, ...]:
        """All that keep to the largest daily amount and rate."""
        daily, rate = float(value_in(self.daily, "mg")), float(value_in(self.rate, "mg/h"))
        found = []
        for a, i, t in product(self.amounts, self.intervals, self.infusions):
            made = Regimen(float(value_in(a, "mg")), duration(i), duration(t))
            if not (made.amount > 0 and made.interval > 0 and 0 <= made.infusion <= made.interval):
                raise DataError(
                    f"{a} every {i} over {t}",
                    where="a regimen",
                    expected="a positive amount, and an infusion no longer than the interval",
                )
            slow = made.infusion == 0 or made.amount / made.infusion <= rate * (1 + 1e-9)
            if made.daily <= daily * (1 + 1e-9) and slow:
                found.append(made)
        if not 0 < len(found) <= MOST:
            raise DataError(
                f"{len(found)} regimens within the largest daily amount and rate",
                where="dose advice",
                expected=f"1 to {MOST}",
            )
        return tuple(found)


@dataclass(frozen=True)
class Option:
    """A regimen with what is expected of it.

    Parameters
    ----------
    regimen : Regimen
    exposure : mapping measure -> (median, 5 % quantile, 95 % quantile) [SI]
    probability, error : float
        Chance that all targets are met, and the standard error that comes from sampling.
    excess : mapping measure -> float
        Chance to exceed each limit.
    allowed : bool
        Whether every limit is kept.
    """

    regimen: Regimen
    exposure: Mapping[str, tuple[float, float, float]]
    probability: float
    error: float
    excess: Mapping[str, float]
    allowed: bool


@dataclass(frozen=True)
class Advice:
    """Regimens, best first, or the reasons why there is no advice.

    ``spread`` is the sd of the logarithm of the daily area under a regimen: the uncertainty of the
    individual. ``exact`` is the amount [kg] per dose at which the median of the first target is
    in its middle, at interval and infusion of the best regimen.
    """

    options: tuple[Option, ...] = ()
    reasons: tuple[str, ...] = ()
    spread: float = math.nan
    exact: float = math.nan
    responses: Responses | None = field(default=None, compare=False, repr=False)

    @property
    def best(self) -> Option | None:
        """The regimen to advise, None where there is none."""
        if self.reasons or not self.options or not self.options[0].allowed:
            return None
        return self.options[0]


@dataclass(frozen=True)
class Rules:
    """When advice is refused.

    Parameters
    ----------
    spread : float
        Largest sd of the logarithm of exposure (about its coefficient of variation).
    chance : float
        Smallest chance to meet all targets for which a regimen is advised.
    """

    spread: float = 0.35
    chance: float = 0.3


def extrapolations(system: Any, belief: Belief) -> Iterator[str]:
    """Covariates outside of the range that the population covers, in words."""
    for entry in system.inputs:
        if entry.role != "covariate":
            continue
        value = float(belief.context.inputs.get(entry.path, entry.value))
        slack = 1e-9 * abs(value)
        if not entry.lower - slack <= value <= entry.upper + slack:
            shown = [float(from_si(v, entry.unit)) for v in (value, entry.lower, entry.upper)]
            yield (
                f"{entry.path} = {shown[0]:.4g} {entry.unit.text} is outside of the population "
                f"({shown[1]:.4g} to {shown[2]:.4g} {entry.unit.text})"
            )


def advise(
    system: Any,
    belief: Belief,
    draws: Array,
    grid: Grid,
    targets: Sequence[Target],
    limits: Sequence[Limit] = (),
    *,
    course: Course | None = None,
    rules: Rules | None = None,
    doubts: Sequence[str] = (),
) -> Advice:
    """The regimens of ``grid``, those first that most probably meet all targets within the limits.

    The first dose is given at the belief's time. Of chances that sampling cannot tell
    apart the smaller daily amount comes first, then the longer interval, then the slower infusion.

    Parameters
    ----------
    system : System
        Linear in its states, with the covariates as inputs.
    belief : Belief
        Gives the time, the names of the draws' columns and the inputs that hold.
    draws : array [SI], ``(n, len(belief.names))``
        Individuals with their states.
    grid : Grid
    course : Course
    targets : sequence of Target
    limits : sequence of Limit
    rules : Rules
    doubts : sequence of str
        Reasons known to the caller, such as a level that does not fit.
    """
    if not targets:
        raise DataError("there is no target", where="dose advice", expected="a Target or more")
    rules, reasons = rules or Rules(), [*doubts, *extrapolations(system, belief)]
    found = responses(system, belief, draws, grid.intervals, grid.infusions, course)
    regimens = grid.regimens()
    _, each = found.parts(regimens[0].interval, regimens[0].infusion, "AUC24")
    spread = float(np.std(np.log(np.maximum(each, 1e-300))))
    if spread > rules.spread:
        reasons.append(
            f"exposure is known to {100 * spread:.0f} % only, "
            f"{100 * rules.spread:.0f} % is needed: measure a level"
        )
    if reasons:
        return Advice(reasons=tuple(reasons), spread=spread, responses=found)
    options = _ranked([_judged(found, r, targets, limits) for r in regimens])
    best = options[0]
    if not best.allowed:
        reasons.append("every regimen exceeds a limit of toxicity too probably")
    elif best.probability < rules.chance:
        reasons.append(
            f"no regimen meets the targets with a chance of {100 * rules.chance:.0f} %; the best "
            f"has {100 * best.probability:.0f} %"
        )
    exact = amount_for(found, best.regimen, targets[0].measure, targets[0].middle)
    return Advice(tuple(options), tuple(reasons), spread, exact, found)


def amount_for(found: Responses, like: Regimen, measure: str, value: float) -> float:
    """The amount per dose [kg] at which the median of a measure is ``value`` [SI].

    Interval and infusion are those of ``like``. Zero where earlier doses suffice.
    """
    left, each = found.parts(like.interval, like.infusion, measure)
    return max(0.0, float(np.median((value - left) / each)))


def _judged(
    found: Responses, regimen: Regimen, targets: Sequence[Target], limits: Sequence[Limit]
) -> Option:
    values = {name: found.measure(regimen, name) for name in MEASURES}
    met = np.ones(len(values["AUC24"]), dtype=bool)
    for target in targets:
        low, high = target.bounds
        met &= (values[target.measure] >= low) & (values[target.measure] <= high)
    excess = {t.measure: float(np.mean(values[t.measure] > t.bound)) for t in limits}
    chance = float(np.mean(met))
    quantiles = {
        name: tuple(float(q) for q in np.quantile(v, (0.5, 0.05, 0.95)))
        for name, v in values.items()
    }
    return Option(
        regimen,
        quantiles,  # type: ignore[arg-type]
        chance,
        math.sqrt(chance * (1 - chance) / len(met)),
        excess,
        all(excess[t.measure] <= t.chance for t in limits),
    )


def _ranked(options: Sequence[Option]) -> list[Option]:
    """Allowed ones first, then by chance; what sampling cannot tell apart by amount and ease."""
    best = max(options, key=lambda o: (o.allowed, o.probability))
    error = max(best.error, 1e-9)

    def order(option: Option) -> tuple[Any, ...]:
        regimen, behind = option.regimen, best.probability - option.probability
        return (
            not option.allowed,
            math.floor(max(0.0, behind) / error),
            regimen.daily,
            -regimen.interval,
            -regimen.infusion,
        )

    return sorted(options, key=order)
