"""Results of the clinical services: tables, and plots of measured, estimated and predicted."""

from __future__ import annotations

from typing import Any

import numpy as np

from galenic.decision.dosing import Advice, Option
from galenic.decision.exposure import MEASURES, words
from galenic.inference.belief import Array
from galenic.library.pk.populations import population, source
from galenic.stages.clinical import effects
from galenic.stages.clinical.case import Case
from galenic.twin.result import Axis, Column, Plot, Result, Series, Table, Value
from galenic.units import from_si, unit

LABEL = "Decision support, not a prescription."
BAND = (0.05, 0.5, 0.95)
MOST = 12  # regimens in the table


def heading(case: Case, *lines: str) -> str:
    """The text of every clinical result: the label, what was found, where the model is from."""
    unusual = [f"unusual: {text}" for text in case.warnings]
    acting = effects.lines(case)
    origin = f"Population: {source(case.drug)}"
    return "\n".join([LABEL, *lines, *acting, *case.notes, *unusual, origin])


def fit(case: Case) -> Result:
    """What doses and levels tell of the individual."""
    values, table = parameters(case)
    values["belief"] = Value(case.belief.identity, meaning="hash of the belief")
    text = heading(case, f"Fitted to {len(case.doses)} doses and {len(case.levels)} levels.")
    return Result(text, values, [table, *levels(case), *effects.tables(case)], [curve(case)])


def parameters(case: Case) -> tuple[dict[str, Value], Table]:
    """What is known of the individual: values with 90 % intervals, beside the typical ones."""
    belief, names, rows = case.belief, [], []
    etas = case.belief.notes.get("eta", ())
    shown = {e.path: e for e in case.system.outputs}
    for k, individual in enumerate(case.estimator.individuals):
        path, entry = individual.path, case.system.entry(individual.path)
        factor = 1.0
        if f"individual.{path}" in shown:
            now = case.estimator.observe(belief, [f"individual.{path}"])
            factor = now[f"individual.{path}"][0] / belief.point(path)
        low, high = (case.full or belief).interval(path)
        typical = factor * entry.value
        numbers = (factor * belief.point(path), factor * low, factor * high, typical)
        eta = float(etas[k]) if k < len(etas) else 0.0
        rows.append((*(float(from_si(v, entry.unit)) for v in numbers), entry.unit.text, eta))
        names.append((path, entry.meaning))
    values = {
        name: Value(row[0], row[4], meaning, row[1], row[2])
        for (name, meaning), row in zip(names, rows, strict=True)
    }
    head = ("estimate", "lower", "upper", "typical", "unit", "eta")
    columns = [Column(name, [row[i] for row in rows]) for i, name in enumerate(head)]
    first = Column("parameter", [name for name, _ in names])
    return values, Table("parameters of the individual", (first, *columns))


def levels(case: Case) -> list[Table]:
    """Each level beside its fit, in sds of its error."""
    if not case.levels:
        return []
    fitted = [mean for mean, _ in case.fitted()]
    residual = population(case.drug).residuals[0]
    iwres = list(case.belief.notes.get("iwres", ()))
    hours = [case.hours(time) for time, _ in case.levels]
    columns = (
        Column("time", hours, "h"),
        Column("measured", [mg(value) for _, value in case.levels], "mg/L"),
        Column(
            "error",
            [mg(residual.sd(f, unit("mg/L"))) for f in fitted],
            "mg/L",
            "sd of the error of a level, at its fit",
        ),
        Column("fitted", [mg(value) for value in fitted], "mg/L"),
        Column("residual", iwres, "", "in sd of the error of a level"),
    )
    return [Table("levels", columns)]


def curve(case: Case, ahead: tuple[Any, Array] | None = None, title: str = "") -> Plot:
    """Measured levels, the estimated course with its band, and what is predicted.

    ``ahead`` are times [s] after the belief's and concentrations ``(n_draws, n_times)`` [SI].
    """
    past = case.past()
    times = [case.hours(time) for time, _ in case.levels]
    back = [] if past is None else [case.hours(int(t)) for t in past.times]
    now = case.hours(case.belief.time)
    forward = [] if ahead is None else [now + float(t) / 3600.0 for t in ahead[0]]
    n_past, n_ahead = len(back), len(forward)
    lines = []
    if past is not None:
        low, high = past.band("C")
        lines.append(
            Series(
                "estimated",
                _padded(past.mean[:, 0], 0, n_ahead),
                "mg/L",
                "estimated",
                _padded(low, 0, n_ahead),
                _padded(high, 0, n_ahead),
            )
        )
    if ahead is not None:
        low, mid, high = np.quantile(ahead[1], BAND, axis=0)
        parts = (_padded(row, n_past, 0) for row in (mid, low, high))
        middle, lower, upper = parts
        lines.append(Series("predicted", middle, "mg/L", "predicted", lower, upper))
    axis, rows = _with_levels([*back, *forward], lines, times, [v for _, v in case.levels])
    return Plot(title or f"{case.drug} in plasma", Axis("time", axis, "h"), tuple(rows))


def _padded(values: Any, before: int, after: int) -> list[float | None]:
    none: list[float | None] = [None]
    return [*(none * before), *(mg(v) for v in values), *(none * after)]


def mg(value: Any) -> float:
    """A concentration [SI] in mg/L."""
    return float(from_si(float(value), unit("mg/L")))


def _with_levels(
    axis: list[float], lines: list[Series], times: list[float], values: list[float]
) -> tuple[list[float], list[Series]]:
    """One axis for curves and levels, in order of time."""
    order = np.argsort([*axis, *times], kind="stable")

    def arranged(data: Any) -> list[Any]:
        return [data[i] for i in order]

    def drawn(data: Any) -> list[Any]:
        return arranged([*data, *_between(axis, data, times)])

    rows = [
        Series(s.name, drawn(s.data), s.unit, s.style, drawn(s.lower), drawn(s.upper))
        for s in lines
    ]
    merged = arranged([*axis, *times])
    measured = [*([None] * len(axis)), *(mg(v) for v in values)]
    return merged, [Series("level", arranged(measured), "mg/L", "measured"), *rows]


def _between(axis: list[float], data: Any, times: list[float]) -> list[float | None]:
    """A curve at the times of levels; None outside of it."""
    known = [(t, v) for t, v in zip(axis, data, strict=True) if v is not None]
    if not known:
        return [None] * len(times)
    at, values = zip(*known, strict=True)
    found = np.interp(times, at, values, left=np.nan, right=np.nan)
    return [float(v) if np.isfinite(v) else None for v in found]


def ranked(advice: Advice) -> list[Table]:
    """The regimens, best first, with what is expected of each; the best infusion time of each."""
    if not advice.options:
        return []
    distinct: dict[tuple[float, float], Option] = {}
    for option in advice.options:
        distinct.setdefault((option.regimen.amount, option.regimen.interval), option)
    rows = list(distinct.values())[:MOST]
    columns = [
        Column("regimen", [words(row.regimen) for row in rows]),
        Column("on target", [round(100 * row.probability, 1) for row in rows], "%"),
        Column("+/-", [round(100 * row.error, 1) for row in rows], "%", "error of sampling"),
    ]
    for name in rows[0].excess:
        chance = [round(100 * row.excess[name], 1) for row in rows]
        columns.append(Column(f"{name} too high", chance, "%"))
    for name, text in MEASURES.items():
        for i, what in enumerate(("", " 5 %", " 95 %")):
            data = [rounded(row.exposure[name][i], text) for row in rows]
            columns.append(Column(name + what, data, text))
    columns.append(Column("allowed", ["yes" if row.allowed else "too toxic" for row in rows]))
    return [Table("regimens", tuple(columns))]


def advised(option: Option) -> dict[str, Value]:
    """The advised regimen in numbers."""
    regimen = option.regimen
    values = {
        "regimen": Value(words(regimen)),
        "dose": Value(rounded(regimen.amount, "mg"), "mg"),
        "interval": Value(regimen.interval / 3600.0, "h"),
        "infusion": Value(regimen.infusion / 3600.0, "h"),
        "on target": Value(round(100 * option.probability, 1), "%", "chance to meet all targets"),
    }
    for name, text in MEASURES.items():
        middle, low, high = (rounded(v, text) for v in option.exposure[name])
        values[name] = Value(middle, text, "", low, high)
    return values


def rounded(value: float, text: str) -> float:
    """An SI value in a unit, to four digits."""
    return float(f"{float(from_si(value, unit(text))):.4g}")
