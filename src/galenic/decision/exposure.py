"""Exposure under any regimen, from one simulation per individual: superposition of doses.

For a model that is linear in its states the course of any regimen is what is left of earlier
doses plus the shifted responses to one dose. Steps are matrix exponentials on a common grid of
times, so there is no error but rounding.

Source: Gabrielsson and Weiner, Pharmacokinetic and Pharmacodynamic Data Analysis, 5th edition,
2016, chapter 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt
from scipy.linalg import expm

from galenic.errors import DataError
from galenic.inference.belief import Belief
from galenic.units import duration, from_si, unit

Array = npt.NDArray[np.float64]

DAY = 86_400.0
MEASURES = {"AUC24": "mg*h/L", "trough": "mg/L", "peak": "mg/L"}
FINEST = 60.0  # s; a grid of times finer than this is a mistake in a regimen


@dataclass(frozen=True)
class Regimen:
    """``amount`` [kg] every ``interval`` [s], each given over ``infusion`` [s]."""

    amount: float
    interval: float
    infusion: float

    @property
    def daily(self) -> float:
        """Amount per day [kg]."""
        return self.amount * DAY / self.interval


@dataclass(frozen=True)
class Course:
    """Over which time a regimen is judged, and what the model's quantities are called.

    Parameters
    ----------
    length : text or float [s]
        Exposure is judged at the end of this time, rounded up to whole intervals.
    drawn : text or float [s]
        Time from the end of an infusion to the peak that counts.
    dose, concentration, area : str
        Paths of the dose input, the concentration, and its area.
    """

    length: Any = "48 h"
    drawn: Any = "30 min"
    dose: str = "dose"
    concentration: str = "C"
    area: str = "AUC"


@dataclass(frozen=True, eq=False)
class Responses:
    """What every draw does without further doses, and after one dose of 1 kg; times in steps.

    Arrays are ``(n_draws, n_times)``; ``unit`` has concentration and area by infusion time.
    """

    step: float
    length: float
    drawn: float
    left: tuple[Array, Array]
    unit: Mapping[float, tuple[Array, Array]]

    def index(self, time: float) -> int:
        """Position of a time [s] on the grid."""
        return round(time / self.step)

    def end(self, interval: float) -> float:
        """End of the course in whole intervals [s]."""
        return math.ceil(self.length / interval - 1e-9) * interval

    def superposed(self, interval: float, infusion: float, kind: int, until: float) -> Array:
        """Sum of the responses to doses of 1 kg given before ``until``; kind 0 C, 1 area."""
        single = self.unit[infusion][kind]
        last = self.index(until)
        total = np.zeros((len(single), last + 1))
        for start in range(0, max(last, 1), self.index(interval)):
            total[:, start:] += single[:, : last + 1 - start]
        return total

    def parts(self, interval: float, infusion: float, measure: str) -> tuple[Array, Array]:
        """A measure as what is left of earlier doses, and what each kg per dose adds ``(n,)``."""
        end = self.end(interval)
        if measure == "AUC24":
            span = math.ceil(DAY / interval - 1e-9) * interval
            until = max(end, span)
            a, b, share = self.index(until - span), self.index(until), DAY / span
            doses = self.superposed(interval, infusion, 1, until)
            left = self.left[1]
            return share * (left[:, b] - left[:, a]), share * (doses[:, b] - doses[:, a])
        if measure == "trough":
            doses, at = self.superposed(interval, infusion, 0, end), self.index(end)
        else:
            last = end - interval
            at = self.index(last + infusion + self.drawn)
            doses = self.superposed(interval, infusion, 0, last + infusion + self.drawn)
        return self.left[0][:, at], doses[:, at]

    def measure(self, regimen: Regimen, name: str) -> Array:
        """A measure of exposure [SI] for every draw."""
        left, each = self.parts(regimen.interval, regimen.infusion, name)
        return left + regimen.amount * each

    def given(self, doses: Sequence[tuple[float, float, float]], until: float) -> Array:
        """Concentration [SI] under doses of (time [s], amount [kg], infusion [s]), per draw."""
        last = self.index(until)
        total = self.left[0][:, : last + 1].copy()
        for time, amount, infusion in doses:
            start = self.index(time)
            if start <= last:
                single = self.unit[infusion][0]
                total[:, start:] += amount * single[:, : last + 1 - start]
        return total

    def concentrations(self, regimen: Regimen, until: float) -> Array:
        """Concentration [SI] over time under a regimen, ``(n_draws, n_times)``."""
        doses = self.superposed(regimen.interval, regimen.infusion, 0, until)
        return self.left[0][:, : doses.shape[1]] + regimen.amount * doses


def responses(
    system: Any,
    belief: Belief,
    draws: Array,
    intervals: Sequence[Any],
    infusions: Sequence[Any],
    course: Course | None = None,
) -> Responses:
    """Responses of every draw from the belief's time on, for regimens with these times.

    Parameters
    ----------
    system : System
        Linear in its states, with the covariates as inputs.
    belief : Belief
        Gives the time, the names of the draws' columns and the inputs that hold.
    draws : array [SI], ``(n, len(belief.names))``
        Individuals with their states.
    intervals, infusions : sequences of text or float [s]
        Those of the regimens that will be asked for.
    course : Course
    """
    course = course or Course()
    every, over = [duration(i) for i in intervals], [duration(t) for t in infusions]
    drawn, length = duration(course.drawn), duration(course.length)
    longest = max(max(math.ceil(max(length, DAY) / i - 1e-9) * i for i in every), DAY)
    step = common_step([*every, *over, drawn])
    return respond(system, belief, draws, over, step, longest + max(over) + drawn, course)


def respond(
    system: Any,
    belief: Belief,
    draws: Array,
    infusions: Sequence[float],
    step: float,
    until: float,
    course: Course,
) -> Responses:
    """Responses on a grid of ``step`` [s] up to ``until`` [s] after the belief's time."""
    if belief.context.running:
        raise DataError(
            "an infusion is still running",
            where="exposure",
            hint="ask for a time after its end",
        )
    count = round(until / step)
    model = _Linear(system, belief, course)
    parts = [model.one(draw) for draw in np.atleast_2d(draws)]
    free, driven, jump, start, out = (np.array(column) for column in zip(*parts, strict=True))
    rows, base = out[:, :, :-1], out[:, :, -1:]
    left = _walk(expm(free * step), start, count)
    move = expm(free * step)
    move[:, :-1, -1] = 0.0
    unit_responses = {}
    for infusion in set(infusions):
        steps = min(round(infusion / step), count)
        path = _walk(move, jump, count)
        if infusion > 0:
            rise = _walk(expm(driven * step), np.zeros_like(start), steps)
            tail = _walk(move, rise[:, -1], count - steps)
            path = np.concatenate([rise, tail[:, 1:]], axis=1) / infusion
        unit_responses[infusion] = _seen(path, rows, 0.0)
    lengths = duration(course.length), duration(course.drawn)
    return Responses(step, *lengths, _seen(left, rows, base), unit_responses)


def common_step(times: Sequence[float]) -> float:
    """The longest step [s] of which all times are multiples."""
    seconds = [round(t) for t in times if t > 0]
    step = float(reduce(math.gcd, seconds))
    if step < FINEST or any(abs(t - round(t)) > 1e-6 for t in times):
        raise DataError(
            f"the times of the regimens have no common step ({step:g} s)",
            where="exposure",
            expected=f"multiples of {FINEST:g} s or more",
        )
    return step


def _walk(move: Array, start: Array, count: int) -> Array:
    """States ``(n, count + 1, nx)`` under one affine step, draw by draw."""
    states = np.empty((len(start), count + 1, start.shape[1]))
    states[:, 0] = start
    linear, constant = move[:, :-1, :-1], move[:, :-1, -1]
    for k in range(count):
        states[:, k + 1] = np.einsum("nij,nj->ni", linear, states[:, k]) + constant
    return states


def _seen(states: Array, rows: Array, constant: Any) -> tuple[Array, Array]:
    """Concentration and area along states."""
    shown = np.einsum("nri,nki->nrk", rows, states) + constant
    return shown[:, 0], shown[:, 1]


class _Linear:
    """The system's matrices for one draw."""

    def __init__(self, system: Any, belief: Belief, course: Course) -> None:
        s = system
        kind, self.k = s.index(course.dose)
        if kind != "input":
            raise DataError(f"{course.dose} is a {kind}", expected="the path of a dose input")
        seen = ca.vertcat(*(_expression(s, path) for path in (course.concentration, course.area)))
        slope, out = ca.jacobian(s.ode, s.x), ca.jacobian(seen, s.x)
        bent = ca.depends_on(ca.vertcat(ca.vec(slope), ca.vec(out)), ca.vertcat(s.x, s.z))
        if bent or s.z.numel() or ca.depends_on(s.ode, s.t):
            raise DataError(
                f"{s.name} is not linear in its states",
                where="exposure",
                hint="superposition of doses needs linear kinetics",
            )
        rest, base = (ca.substitute(e, s.x, ca.SX.zeros(s.x.numel())) for e in (s.ode, seen))
        drive = ca.jacobian(rest, s.u[self.k])
        self.function = ca.Function("linear", [s.u, s.p], [slope, rest, drive, out, base])
        self.u = np.array([belief.context.inputs.get(e.path, e.value) for e in s.inputs], float)
        self.p = np.array([e.value for e in s.parameters], float)
        places = {name: i for i, name in enumerate(belief.names)}
        self.states = [places[e.path] for e in s.states]
        self.fitted = [(i, places[e.path]) for i, e in enumerate(s.parameters) if e.path in places]

    def one(self, draw: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Free and driven affine generators, jump of a bolus, start, and rows of what is seen."""
        p = self.p.copy()
        for i, place in self.fitted:
            p[i] = draw[place]
        parts = self.function(self.u, p)
        slope, rest, drive, out, base = (np.array(part, dtype=float) for part in parts)
        n = len(slope)
        free, driven = np.zeros((n + 1, n + 1)), np.zeros((n + 1, n + 1))
        free[:n, :n] = driven[:n, :n] = slope
        free[:n, n], driven[:n, n] = rest.ravel(), drive.ravel()
        return free, driven, drive.ravel(), draw[self.states], np.hstack([out, base])


def _expression(system: Any, path: str) -> Any:
    kind, i = system.index(path)
    if kind not in ("state", "output"):
        raise DataError(f"{path} is a {kind}", where="exposure", expected="a state or output")
    return system.x[i] if kind == "state" else system.y[i]


def words(regimen: Regimen) -> str:
    """A regimen as a person would say it.

    Examples
    --------
    >>> words(Regimen(750e-6, 43200.0, 3600.0))
    '750 mg every 12 h over 1 h'
    """
    amount = float(from_si(regimen.amount, unit("mg")))
    given = f"over {regimen.infusion / 3600:g} h" if regimen.infusion else "at once"
    return f"{amount:g} mg every {regimen.interval / 3600:g} h {given}"
