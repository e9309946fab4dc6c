"""Two days of virtual persons seen through a sensor by their glucose twin.

    python tests/validation/endocrine/glucose_study.py FOLDER

prints the table of docs/validation/pharmacokinetics.md; FOLDER is that of simglucose's tables.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galenic.clock import SECOND
from galenic.engine.simulate import Simulator
from galenic.library.endocrine.closed_loop import BasalBolus, Meal, Sensor, misjudged, treat
from galenic.library.endocrine.uva_padova import TypeOneDiabetes, VirtualPerson, read_persons
from galenic.signals import Action, Sample
from galenic.stages.clinical.glucose import PUMP, SENSOR, glucose
from galenic.twin.level import Level
from galenic.twin.twin import Twin
from galenic.units import from_si

START = 1_800_000_000 * SECOND
MINUTES, STEP, WARM, EVERY = 2880, 5, 720, 30
AHEAD = (30, 60, 120)
SIZE = {"adult": 1.0, "adolescent": 0.9, "child": 0.55}
USUAL = ((7, 45), (12.5, 70), (16, 20), (19, 75))  # hour, g: an adult's day
RECKONING = 0.3  # sd of the logarithm of carbohydrate as told


@dataclass(frozen=True)
class Seen:
    """One forecast beside what came [mg/dL]; ``eats`` where a meal was planned meanwhile."""

    person: str
    ahead: int
    eats: bool
    mean: float
    low: float
    high: float
    glucose: float
    held: float


@dataclass(frozen=True)
class Person:
    """A virtual person with what their pump knows: g/IU and mg/dL/IU."""

    body: VirtualPerson
    ratio: float
    factor: float


def read(folder: Path) -> dict[str, Person]:
    with (folder / "Quest.csv").open(encoding="utf-8") as file:
        known = {row["Name"]: (float(row["CR"]), float(row["CF"])) for row in csv.DictReader(file)}
    with (folder / "vpatient_params.csv").open(encoding="utf-8") as file:
        return {name: Person(body, *known[name]) for name, body in read_persons(file).items()}


def follow(person: Person, seed: int, simulator: Simulator) -> Iterator[Seen]:
    """The twin's forecasts over the second half of two days."""
    rng = np.random.default_rng(seed)
    meals = misjudged(_meals(person, rng), RECKONING, rng)
    body = person.body
    rule = BasalBolus(body.basal_units, person.ratio, person.factor)
    course = treat(body, meals, rule, MINUTES, STEP, sensor=Sensor(), rng=rng, simulator=simulator)
    basal = 60 * body.basal_units
    told = list(_told(meals, course.insulin, body.basal_units))
    twin = Twin(
        glucose(), body.name, {"BW": f"{body.weight} kg", "basal": f"{basal} IU/h"},
        start=START, level=Level.SHADOW,
    )  # fmt: skip
    twin.accept(Sample(PUMP, basal, "IU/h", START, START))
    for minute in range(0, MINUTES + 1, STEP):
        now = _at(minute)
        twin.accept(Sample(SENSOR, float(course.shown[minute]), "mg/dL", now, now))
        for action in told:
            if action.source_time == now:
                twin.accept(action)
        if minute < WARM or minute % EVERY:
            continue
        coming = [a for a in told if now < a.source_time < _at(minute + max(AHEAD))]
        found = twin.forecast(60.0 * max(AHEAD), 300.0, ["G"], actions=coming)
        mean = from_si(found.mean[:, 0], "mg/dL")
        low, high = (from_si(bound, "mg/dL") for bound in found.band("G"))
        for ahead in AHEAD:
            if minute + ahead > MINUTES:
                continue
            i = int(np.argmin(np.abs(found.times - _at(minute + ahead))))
            eats = any(a.source_time <= _at(minute + ahead) for a in coming)
            yield Seen(
                body.name, ahead, eats, float(mean[i]), float(low[i]), float(high[i]),
                float(course.glucose[minute + ahead]), float(course.shown[minute]),
            )  # fmt: skip


def _meals(person: Person, rng: np.random.Generator) -> list[Meal]:
    size = SIZE[person.body.name.split("#")[0]]
    return [
        Meal(
            max(1440 * day + 60 * hour + 30 * rng.standard_normal(), 0.0),
            max(size * gram * np.exp(0.2 * rng.standard_normal()), 5.0),
        )
        for day in range(MINUTES // 1440)
        for hour, gram in USUAL
    ]


def _told(meals: list[Meal], insulin: np.ndarray, basal: float) -> Iterator[Action]:
    """Meals as they were reckoned, and boluses: what the pump gave beyond basal."""
    for meal in meals:
        now = _at(int(np.ceil(meal.time / STEP) * STEP))
        yield Action("stomach", float(meal.announced or 0.0), "g", now, now, "dose")
    for minute in range(0, MINUTES, STEP):
        beyond = float(insulin[minute] - basal) * STEP
        if beyond > 1e-9:
            yield Action("depot", beyond, "IU", _at(minute), _at(minute), "dose")


def _at(minute: float) -> int:
    return START + round(minute * 60) * SECOND


@dataclass(frozen=True)
class Quality:
    """Of many forecasts: errors [mg/dL], share in the 90 % band with its error by persons."""

    count: int
    rmse: float
    bias: float
    held: float
    coverage: float
    coverage_error: float
    width: float


def quality(seen: list[Seen]) -> Quality:
    """Persons are the unit of the error of the coverage: their forecasts depend on each other."""
    error = np.array([s.mean - s.glucose for s in seen])
    held = np.array([s.held - s.glucose for s in seen])
    inside = np.array([s.low <= s.glucose <= s.high for s in seen], float)
    names = np.array([s.person for s in seen])
    means = np.array([inside[names == name].mean() for name in dict.fromkeys(names)])
    return Quality(
        len(seen),
        float(np.sqrt(np.mean(error**2))),
        float(error.mean()),
        float(np.sqrt(np.mean(held**2))),
        float(inside.mean()),
        float(means.std(ddof=1) / np.sqrt(len(means))),
        float(np.median([s.high - s.low for s in seen])),
    )


def main(folder: str) -> None:
    simulator = Simulator(TypeOneDiabetes())
    judged = [p for name, p in read(Path(folder)).items() if int(name[-3:]) % 2 == 0]
    seen = [s for seed in (1, 2) for p in judged for s in follow(p, seed, simulator)]
    print(
        "| ahead | a meal meanwhile | forecasts | rmse | held | bias | in the 90 % band | width |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for ahead in AHEAD:
        for eats in (False, True):
            q = quality([s for s in seen if s.ahead == ahead and s.eats == eats])
            print(
                f"| {ahead} min | {'planned' if eats else 'none'} | {q.count} | {q.rmse:.1f} | "
                f"{q.held:.1f} | {q.bias:+.1f} | {100 * q.coverage:.0f} % "
                f"({100 * q.coverage_error:.0f}) | {q.width:.0f} |"
            )


if __name__ == "__main__":
    main(sys.argv[1])
