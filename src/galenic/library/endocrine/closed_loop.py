"""Days of a virtual person with meals, a glucose sensor, a pump and a rule for insulin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from galenic.engine.simulate import Simulator
from galenic.engine.state import State
from galenic.errors import DataError
from galenic.library.endocrine.glycaemia import Glycaemia, summarise
from galenic.library.endocrine.uva_padova import TypeOneDiabetes, VirtualPerson

EATING = 5000.0
"""Rate of eating [mg/min], as in simglucose."""
Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Meal:
    """A meal: time [min] from the start, carbohydrate [g], and what its eater reckons [g]."""

    time: float
    carbohydrate: float
    announced: float | None = None

    def __post_init__(self) -> None:
        if not (self.time >= 0 and self.carbohydrate > 0):
            raise DataError(
                f"{self.carbohydrate:g} g at {self.time:g} min", where="meal",
                expected="a positive amount at a time from the start",
            )  # fmt: skip


@dataclass(frozen=True)
class Sensor:
    """A glucose sensor whose error has a memory.

    The error is xi + lambda sinh((e - gamma) / delta) with e of a first-order process every 15 min,
    straight between: Breton and Kovatchev, J Diabetes Sci Technol 2:853-862, 2008,
    doi:10.1177/193229680800200517. The defaults are those of the Dexcom in simglucose 0.2.11.
    """

    memory: float = 0.7
    gamma: float = -0.5444
    delta: float = 1.6898
    lambda_: float = 15.9574
    xi: float = -5.47
    lowest: float = 39.0
    highest: float = 600.0
    period: float = 15.0

    def errors(self, minutes: int, rng: np.random.Generator) -> Vector:
        """The error [mg/dL] of each minute."""
        count = math.ceil(minutes / self.period) + 2
        e = np.zeros(count)
        drawn = rng.standard_normal(count)
        e[0] = drawn[0]
        for i in range(1, count):
            e[i] = self.memory * (e[i - 1] + drawn[i])
        error = self.xi + self.lambda_ * np.sinh((e - self.gamma) / self.delta)
        return np.interp(np.arange(minutes + 1), np.arange(count) * self.period, error)

    def read(self, glucose: float, error: float) -> float:
        """What is shown for a glucose under the skin [mg/dL]."""
        return float(np.clip(glucose + error, self.lowest, self.highest))


class Rule(Protocol):
    """Says how much insulin the pump gives; all rates are beyond nothing, in U/min."""

    def insulin(self, time: float, shown: float, announced: float) -> float:
        """Insulin [U/min] for the coming interval.

        Parameters
        ----------
        time : float [min]
        shown : float [mg/dL]
            Of the sensor.
        announced : float [g]
            Carbohydrate of a meal that begins now.
        """
        ...


@dataclass
class BasalBolus:
    """Basal insulin, and at meals a bolus over one interval for carbohydrate and high glucose.

    Parameters
    ----------
    basal : float [U/min]
    ratio : float [g/U]
        Carbohydrate that one unit covers.
    factor : float [mg/dL/U]
        By how much one unit lowers glucose.
    target : float [mg/dL]
        Above 150 mg/dL a meal's bolus corrects to it.
    interval : float [min]
    """

    basal: float
    ratio: float
    factor: float
    target: float = 140.0
    interval: float = 5.0

    def insulin(self, time: float, shown: float, announced: float) -> float:
        bolus = 0.0
        if announced > 0:
            bolus = announced / self.ratio
            bolus += max(shown - self.target, 0.0) / self.factor if shown > 150.0 else 0.0
        return self.basal + bolus / self.interval


@dataclass
class ClosedLoop:
    """Basal insulin that follows a forecast, with announced meals and a low-glucose stop.

    Glucose in half an hour is forecast from the smoothed slope; its distance from the target asks
    for insulin, of which what was given beyond basal and still acts is subtracted. Corrections are
    held to ``most`` times basal, and the pump stops where glucose is low or is forecast to be.

    Parameters
    ----------
    basal : float [U/min]
    ratio, factor : as of `BasalBolus`
    target : float [mg/dL]
    share : float
        Of a meal's bolus that is given as it begins; the rest is left to the loop.
    ahead : float [min]
        How far is forecast.
    acting : float [min]
        Time constant by which insulin on board is forgotten.
    most : float
        Largest rate without a meal, in multiples of basal.
    low : float [mg/dL]
        Forecasts below it stop the pump.
    """

    basal: float
    ratio: float
    factor: float
    target: float = 120.0
    share: float = 0.9
    ahead: float = 30.0
    acting: float = 150.0
    most: float = 2.0
    low: float = 100.0
    interval: float = 5.0
    _last: float | None = field(default=None, init=False)
    _slope: float = field(default=0.0, init=False)
    _onboard: float = field(default=0.0, init=False)

    def insulin(self, time: float, shown: float, announced: float) -> float:
        rise = 0.0 if self._last is None else (shown - self._last) / self.interval
        self._slope += 0.3 * (rise - self._slope)
        self._last = shown
        forecast = shown + self.ahead * self._slope
        meal = self.share * announced / self.ratio / self.interval
        if min(shown, forecast) < self.low:
            rate = meal
        else:
            wanted = (forecast - self.target) / self.factor - self._onboard
            rate = self.basal + wanted / self.ahead
            rate = float(np.clip(rate, 0.0, self.most * self.basal)) + meal
        beyond = (rate - self.basal) * self.interval
        self._onboard = self._onboard * math.exp(-self.interval / self.acting) + beyond
        return rate


@dataclass(frozen=True)
class Course:
    """What happened, minute by minute.

    Parameters
    ----------
    time : array [min]
    glucose, shown : array [mg/dL]
        In plasma; by the sensor.
    insulin : array [U/min]
    carbohydrate : array [g/min]
    """

    time: Vector
    glucose: Vector
    shown: Vector
    insulin: Vector
    carbohydrate: Vector

    @property
    def glycaemia(self) -> Glycaemia:
        """How well glucose was held."""
        return summarise(self.glucose)


def treat(
    person: VirtualPerson,
    meals: Sequence[Meal],
    rule: Rule,
    minutes: int = 1440,
    interval: int = 5,
    sensor: Sensor | None = None,
    rng: np.random.Generator | None = None,
    largest: float = 10.0,
    simulator: Simulator | None = None,
) -> Course:
    """Let a rule treat a virtual person.

    Parameters
    ----------
    person : VirtualPerson
    meals : sequence of Meal
        Eaten at 5 g/min; a meal that begins while another is eaten joins it.
    rule : Rule
        Asked at the start and every ``interval`` [min].
    minutes, interval : int [min]
    sensor : Sensor, optional
        Without one the true glucose under the skin is shown.
    rng : numpy Generator, optional
        For the sensor.
    largest : float [U/min]
        What the pump can give.
    simulator : Simulator, optional
        Of `TypeOneDiabetes`, to compile it once for many persons.
    """
    if minutes % interval:
        raise DataError(f"{minutes} min", where="treat", expected=f"a multiple of {interval} min")
    if sensor is not None and rng is None:
        raise DataError("a sensor without rng", where="treat", expected="a numpy Generator")
    engine = simulator or Simulator(TypeOneDiabetes())
    errors = np.zeros(minutes + 1)
    if sensor is not None and rng is not None:
        errors = sensor.errors(minutes, rng)
    eaten = eating(meals, minutes)
    told = _announced(meals, minutes, interval)
    rows = np.zeros((5, minutes + 1))
    state, table, rate = engine.state(values=dict(person.values)), _Table(), 0.0
    for minute in range(minutes + 1):
        shown = state["CGM"] + errors[minute]
        if sensor is not None:
            shown = sensor.read(state["CGM"], errors[minute])
        if minute % interval == 0:
            asked = rule.insulin(float(minute), shown, told.get(minute, 0.0))
            rate = float(np.clip(asked, 0.0, largest))
        food = float(eaten[min(minute, minutes - 1)])
        rows[:, minute] = minute, state["G"], shown, rate, food / 1000.0
        if minute < minutes:
            content = table.content(state, food)
            inputs = {"meal": food, "content": content, "insulin": person.infusion(rate)}
            state = engine.step(state, inputs, until=60.0 * (minute + 1))
    return Course(*rows)


@dataclass
class _Table:
    """The present meal: what was in the stomach as it began, and what was eaten since [mg]."""

    began: float = 0.0
    taken: float = 0.0
    eating: bool = False

    def content(self, state: State, food: float) -> float:
        if food > 0 and not self.eating:
            self.began, self.taken = state["solid"] + state["liquid"], 0.0
        self.eating = food > 0
        self.taken += food
        return self.began + self.taken


def eating(meals: Sequence[Meal], minutes: int) -> Vector:
    """Carbohydrate eaten in each minute [mg/min]; a meal is eaten at 5 g/min."""
    eaten = np.zeros(minutes)
    for meal in sorted(meals, key=lambda m: m.time):
        minute, left = math.floor(meal.time), 1000.0 * meal.carbohydrate
        while left > 0 and minute < minutes:
            bite = min(left, EATING - eaten[minute])
            eaten[minute] += bite
            left -= bite
            minute += 1
    return eaten


def _announced(meals: Sequence[Meal], minutes: int, interval: int) -> dict[int, float]:
    """Carbohydrate that is told to the rule [g] by the minute in which it is asked next."""
    told: dict[int, float] = {}
    for meal in meals:
        minute = math.ceil(meal.time / interval) * interval
        if minute <= minutes:
            reckoned = meal.carbohydrate if meal.announced is None else meal.announced
            told[minute] = told.get(minute, 0.0) + reckoned
    return told


def misjudged(meals: Sequence[Meal], sd: float, rng: np.random.Generator) -> list[Meal]:
    """The same meals, with carbohydrate reckoned with a relative error of ``sd``, log-normal."""
    factors = np.exp(sd * rng.standard_normal(len(meals)))
    return [replace(m, announced=m.carbohydrate * f) for m, f in zip(meals, factors, strict=True)]
