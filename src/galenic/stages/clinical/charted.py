"""A chart as the clinical services use it: what follows from it, its course of doses and levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from galenic.clock import SECOND
from galenic.connect.fhir.chart import Chart, Flag, Measurement, Medication
from galenic.errors import DataError, UnitError
from galenic.library.patient import body, interactions
from galenic.library.pk.populations import population
from galenic.stages.clinical.case import Case, complete, of_tables
from galenic.stages.clinical.practice import PRACTICE
from galenic.twin.result import Column, Result, Table, Value
from galenic.units import from_si, unit, value_in

HOUR = 3600 * SECOND
CONFLICT = 0.2  # relative difference of two statements of one rate that is worth a look
RECORDED = ("CLcr", "weight", "albumin", "female")
LABEL = "Decision support, not a diagnosis."


@dataclass(frozen=True)
class Course:
    """Doses and levels of one drug on an axis that begins with the first dose.

    ``doses`` are (time [h], amount [mg], duration [h]), ``levels`` (time [h], level [mg/L]).
    """

    origin: int
    last: int
    doses: tuple[tuple[float, float, float], ...]
    levels: tuple[tuple[float, float], ...]
    flags: tuple[Flag, ...]

    def case(self, drug: str, covariates: Mapping[str, Any]) -> Case:
        """The patient, estimated from this course."""
        doses = _table("doses", self.doses, time="h", amount="mg", duration="h")
        levels = _table("levels", self.levels, time="h", level="mg/L")
        return of_tables(drug, covariates, doses, levels)


def course(chart: Chart, drug: str, infusion: float | None = None) -> Course:
    """Administrations and levels of a drug; ``infusion`` [s] where no end is told."""
    given = chart.given(drug)
    if not given:
        ordered = [m.kind for m in chart.medications if m.drug == drug]
        raise DataError(
            f"no administration of {drug} is recorded"
            + (f", only {', '.join(sorted(set(ordered)))}" if ordered else ""),
            where=f"Patient/{chart.patient}",
            expected="resources of type MedicationAdministration with times and doses",
            hint="an order does not tell when a dose was given; enter doses in a table",
        )
    origin = given[0].start or 0
    flags: list[Flag] = []
    doses = [_dose(item, origin, infusion, flags) for item in given]
    levels = []
    for found in chart.levels(drug):
        if found.censored:
            told = f"{found.censored} {found.value:g} {found.unit}"
            flags.append(Flag(f"Observation/{found.resource}", told, "a level that was quantified"))
        elif found.time < origin:
            flags.append(Flag(f"Observation/{found.resource}", "a level before any dose"))
        else:
            value = float(from_si(value_in(found.value, found.unit), unit("mg/L")))
            levels.append(((found.time - origin) / HOUR, value))
    last = max([item.stop or item.start or 0 for item in given] + [origin])
    return Course(origin, last, tuple(doses), tuple(levels), tuple(flags))


def _dose(
    item: Medication, origin: int, infusion: float | None, flags: list[Flag]
) -> tuple[float, float, float]:
    where = f"MedicationAdministration/{item.resource}"
    if item.amount is None:
        raise DataError("a dose without amount", where=where, expected="dosage.dose in mg")
    try:
        amount = float(from_si(value_in(item.amount, item.unit), unit("mg")))
        if unit(item.unit).dimension != unit("mg").dimension:
            raise UnitError(f"a dose in {item.unit}")
    except UnitError as error:
        raise DataError(error.found, where=where, expected="a mass, as mg") from None
    start = item.start or 0
    if item.stop is not None:
        length = (item.stop - start) / HOUR
    elif infusion is not None:
        length = infusion / 3600.0
        flags.append(Flag(where, "no end", f"taken as given over {length:g} h", used=True))
    else:
        raise DataError(
            "an infusion without end", where=where, expected="effectivePeriod with start and end",
            hint="name the usual length by the argument infusion",
        )  # fmt: skip
    return (start - origin) / HOUR, amount, length


def covariates(
    chart: Chart, drug: str, at: int, told: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the population of a drug asks for, as known at a time [ns].

    What is ``told`` beside the record goes before what the record says. Covariates that are usual
    may be missing in both.
    """
    found = dict(told or {})
    for covariate in population(drug).covariates:
        name = covariate.name
        if name not in found and (name in RECORDED or name not in PRACTICE[drug].usual):
            found[name] = _recorded(chart, name, covariate.unit, at)
    return complete(drug, found)


def _recorded(chart: Chart, name: str, its: str, at: int) -> float:
    """One covariate from the record, in its unit."""
    if name == "female":
        return float(_sex(chart) == "female")
    if name == "CLcr":
        weight, creatinine = (_needed(chart, n, at) for n in ("weight", "creatinine"))
        age = chart.age(creatinine.time)
        if age is None:
            raise DataError("no birth date", where=f"Patient/{chart.patient}", expected="an age")
        return body.cockcroft_gault(age, weight.value, creatinine.value, _sex(chart))
    if name not in RECORDED:
        raise DataError(
            f"{name} is not read from records", where=f"Patient/{chart.patient}",
            expected=f"{name} by the argument covariates",
        )  # fmt: skip
    found = _needed(chart, name, at)
    return float(from_si(value_in(found.value, found.unit), unit(its)))


def _sex(chart: Chart) -> Any:
    if not chart.sex:
        raise DataError(
            "no sex", where=f"Patient/{chart.patient}", expected="male or female",
            hint="give the covariates that follow from it yourself",
        )  # fmt: skip
    return chart.sex


def _needed(chart: Chart, name: str, at: int) -> Measurement:
    found = chart.latest(name, at)
    if found is None:
        late = " (all are later than the last dose)" if chart.latest(name) else ""
        raise DataError(
            f"no {name}{late}",
            where=f"Patient/{chart.patient}",
            expected=f"an Observation of {name}",
        )
    return found


def report(chart: Chart) -> Result:
    """Everything in the chart that matters here, and what follows from it."""
    values, flags = derived(chart)
    alerts = interactions.among(m.drug for m in chart.active())
    flags = (*chart.flags, *flags)
    unread = [m.text for m in chart.active() if not m.drug]
    lines = [
        LABEL,
        f"Measurements: {len(chart.measurements)}; current drugs: {len(chart.active())}; "
        f"interaction alerts: {len(alerts)}; doubts: {len(flags)}.",
        *(f"{i.severity}: {i.first} with {i.second}: {i.effect}" for i in alerts),
    ]
    if unread:
        lines.append(f"Not checked for interactions (codes not listed): {', '.join(unread)}.")
    tables = [
        _latest(chart),
        _table("current drugs", [(m.name, m.text, _when(m.start)) for m in chart.active()],
               drug="", text="", since=""),
        _table("interaction alerts",
               [(i.first, i.second, i.severity, i.effect, i.mechanism, i.source) for i in alerts],
               first="", second="", severity="", effect="", mechanism="", source=""),
        _table("conditions", [(p.kind, p.text, p.status, _when(p.onset)) for p in chart.problems],
               kind="", text="", status="", since=""),
        *doubts(flags),
        _table("what was used", [(k, *pair) for k, pair in chart.counts.items()],
               resource="", used="", present=""),
    ]  # fmt: skip
    return Result("\n".join(lines), values, tables)


def derived(chart: Chart) -> tuple[dict[str, Value], tuple[Flag, ...]]:
    """Age, size and kidney function as of the newest creatinine, and where statements conflict."""
    values: dict[str, Value] = {"sex": Value(chart.sex or "not told")}
    creatinine, weight, height = (chart.latest(n) for n in ("creatinine", "weight", "height"))
    newest = creatinine or weight or height
    if newest is None:
        return values, ()
    age = chart.age(newest.time)
    values["age"] = Value(age, "year", f"at {_when(newest.time)}")
    for found in (weight, height, creatinine):
        if found is not None:
            values[found.name] = Value(found.value, found.unit, f"of {_when(found.time)}")
    if weight and height:
        surface = body.body_surface(weight.value, height.value)
        values["body surface"] = Value(surface, "m^2", "Mosteller 1987")
    if age is None or not chart.sex or creatinine is None:
        return values, ()
    sex: Any = chart.sex
    if weight:
        rate = body.cockcroft_gault(age, weight.value, creatinine.value, sex)
        values["CLcr"] = Value(rate, "mL/min", "Cockcroft and Gault 1976, actual weight")
    if age < 18:
        return values, ()
    rate = body.ckd_epi_2021(age, creatinine.value, sex)
    values["eGFR"] = Value(rate, "mL/min/(1.73*m^2)", "CKD-EPI 2021")
    return values, _conflict(chart, rate, creatinine)


def _conflict(chart: Chart, rate: float, creatinine: Measurement) -> tuple[Flag, ...]:
    """The record's own filtration rate beside the one that its creatinine gives."""
    stated = chart.latest("eGFR")
    if stated is None or abs(stated.value / rate - 1.0) <= CONFLICT:
        return ()
    return (
        Flag(
            f"Observation/{stated.resource}",
            f"a stated eGFR of {stated.value:.4g} of {_when(stated.time)}",
            f"{rate:.4g} mL/min/1.73 m^2 by CKD-EPI 2021 from creatinine "
            f"{creatinine.value:.3g} mg/dL of {_when(creatinine.time)}; the latter is used",
        ),
    )


def doubts(flags: Iterable[Flag]) -> list[Table]:
    """Flags as a table; equal ones of many resources are one row with their number."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for flag in flags:
        place, _, element = flag.where.partition(" ")
        key = (element, flag.found, flag.expected, "yes" if flag.used else "no")
        found.setdefault(key, []).append(place)
    rows = [
        (places[0], element, what, expected, used, len(places))
        for (element, what, expected, used), places in found.items()
    ]
    return [
        _table("doubts", rows, where="", element="", found="", expected="", used="", resources="")
    ] * bool(rows)


def _latest(chart: Chart) -> Table:
    newest = {m.name: m for m in chart.measurements}
    counts = {name: len(chart.all_of(name)) for name in newest}
    rows = [
        (m.name, f"{m.censored} {m.value:.6g}".strip(), m.unit, _when(m.time), counts[m.name])
        for m in sorted(newest.values(), key=lambda m: (not m.known, m.name))
    ]
    return _table("latest measurements", rows, name="", value="", unit="", of="", values="")


def _table(title: str, rows: Sequence[Sequence[Any]], **units: str) -> Table:
    columns = [
        Column(name, [row[i] for row in rows], text) for i, (name, text) in enumerate(units.items())
    ]
    return Table(title, tuple(columns))


def _when(time: int | None) -> str:
    return "" if time is None else datetime.fromtimestamp(time / SECOND, UTC).strftime("%Y-%m-%d")
