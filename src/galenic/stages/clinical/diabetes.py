"""Days of virtual persons with type 1 diabetes under a rule for insulin."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from galenic.twin.service import (
    Axis,
    Column,
    Columns,
    Duration,
    File,
    Help,
    Plot,
    Result,
    Run,
    Series,
    Table,
    Value,
    service,
)

LABEL = "Virtual persons; decision support, not a prescription."
COLUMNS = (
    ("mean", "mg/dL", "mean"), ("70 to 180", "%", "inside"), ("below 70", "%", "low"),
    ("below 54", "%", "very_low"), ("above 180", "%", "high"), ("above 250", "%", "very_high"),
    ("LBGI", "1", "lbgi"), ("HBGI", "1", "hbgi"),
)  # fmt: skip


@service("Days of virtual persons with diabetes", stage="clinical")
def insulin_day(
    persons: Annotated[File, Help("Virtual persons: simglucose's vpatient_params.csv.")],
    advice: Annotated[
        File, Help("Carbohydrate ratio CR [g/U] and correction factor CF [mg/dL/U] by Name (CSV).")
    ],
    meals: Annotated[
        Table, Columns(time="h", carbohydrate="g"), Help("Meals: time [h], carbohydrate [g].")
    ],
    rule: Literal["closed-loop", "basal-bolus"] = "closed-loop",
    names: tuple[str, ...] = (),
    duration: Duration = 86_400.0,
    misjudged: float = 0.0,
    sensor: bool = True,
    *,
    run: Run,
) -> Result:
    """Treat virtual persons for a day or more and tell how well their glucose is held.

    Parameters
    ----------
    rule : choice
        How insulin is given: a closed loop over the sensor, or basal insulin with boluses at meals.
    names : list
        Which persons; all if left out.
    duration : duration
        How long.
    misjudged : float
        Relative error (sd of the logarithm) with which carbohydrate is reckoned.
    sensor : bool
        Whether the sensor has an error.
    """
    from galenic.engine.simulate import Simulator
    from galenic.library.endocrine import closed_loop as loop
    from galenic.library.endocrine.uva_padova import TypeOneDiabetes, read_persons

    known = read_persons(persons.text().splitlines(), persons.name)
    ratios = _advice(advice)
    chosen = [_one(known, name, persons.name) for name in names or known]
    eaten = [
        loop.Meal(float(t) / 60.0, float(c))
        for t, c in zip(meals.si("time"), meals["carbohydrate"], strict=True)
    ]
    simulator, courses, rng = Simulator(TypeOneDiabetes()), [], run.rng
    make = loop.ClosedLoop if rule == "closed-loop" else loop.BasalBolus
    for i, person in enumerate(chosen):
        run.progress(i / len(chosen), person.name)
        ratio, factor = _one(ratios, person.name, advice.name)
        courses.append(
            loop.treat(
                person,
                loop.misjudged(eaten, misjudged, rng) if misjudged else eaten,
                make(person.basal_units, ratio, factor),
                5 * round(duration / 300.0),
                sensor=loop.Sensor() if sensor else None,
                rng=rng,
                simulator=simulator,
            )
        )
    return _told(rule, [p.name for p in chosen], courses)


def _one(known: Any, name: str, where: str) -> Any:
    from galenic.errors import UnknownName

    if name not in known:
        raise UnknownName.among("person", name, known, where=where)
    return known[name]


def _advice(file: File) -> dict[str, tuple[float, float]]:
    """Carbohydrate ratio and correction factor by name."""
    import csv

    from galenic.errors import DataError

    found = {}
    for i, row in enumerate(csv.DictReader(file.text().splitlines()), 2):
        try:
            found[row["Name"]] = (float(row["CR"]), float(row["CF"]))
        except (KeyError, ValueError, TypeError):
            raise DataError(
                "no name with two numbers", where=f"{file.name}, row {i}",
                expected="columns Name, CR [g/U] and CF [mg/dL/U]",
            ) from None  # fmt: skip
    return found


def _told(rule: str, names: list[str], courses: list[Any]) -> Result:
    import numpy as np

    held = [course.glycaemia for course in courses]
    columns = [Column("person", names)]
    columns += [
        Column(title, [round(getattr(g, key), 1) for g in held], unit)
        for title, unit, key in COLUMNS
    ]
    columns.append(
        Column("insulin", [round(float(c.insulin[:-1].sum()), 1) for c in courses], "IU")
    )
    inside = np.array([g.inside for g in held])
    low = np.array([g.low for g in held])
    glucose = np.array([c.glucose for c in courses])
    lower, middle, upper = np.quantile(glucose, (0.05, 0.5, 0.95), axis=0)
    hours = list(courses[0].time / 60.0)
    band = Series("glucose", list(middle), "mg/dL", "estimated", list(lower), list(upper))
    text = (
        f"{LABEL}\n{rule}, {len(names)} persons: median {np.median(inside):.0f} % of the time in "
        f"70 to 180 mg/dL, {np.median(low):.1f} % below; worst {inside.min():.0f} % inside, "
        f"{low.max():.1f} % below."
    )
    values = {
        "time in range": Value(float(np.median(inside)), "%", "median of the persons"),
        "time below range": Value(float(np.median(low)), "%", "median of the persons"),
    }
    plots = [Plot("glucose, median and 90 % of the persons", Axis("time", hours, "h"), (band,))]
    return Result(text, values, [Table("glycaemia", tuple(columns))], plots)
