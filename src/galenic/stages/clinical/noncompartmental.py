"""A service that describes one person's levels without a model."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from galenic.errors import DataError
from galenic.twin.service import (
    Axis,
    Column,
    Columns,
    Duration,
    Help,
    In,
    Plot,
    Result,
    Series,
    Table,
    Value,
    service,
)

Levels = Annotated[
    Table, Columns(time="h", level="mg/L"), Help("Levels: time since the dose [h], level [mg/L].")
]
MG, MG_PER_L = 1e-6, 1e-3  # in kg and kg/m^3
POOR_FIT, FAR, SHORT = 0.8, 20.0, 2.0  # adjusted R^2 [1], share extrapolated [%], half-lives


@service("Noncompartmental analysis", stage="clinical", effect="read")
def noncompartmental(
    levels: Levels,
    dose: Annotated[float | None, In("mg", lower=0)] = None,
    route: Annotated[
        Literal["bolus", "infusion", "extravascular"], Help("How the dose was given.")
    ] = "extravascular",
    infusion: Duration | None = None,
    interval: Duration | None = None,
    points: int | None = None,
    limit: Annotated[float, In("mg/L", lower=0)] = 0.0,
    below: Literal["standard", "zero", "missing"] = "standard",
    start: Literal["route", "measured"] = "route",
) -> Result:
    """Area, terminal half-life, clearance, residence time and volume of one profile of levels.

    Parameters
    ----------
    dose : float [mg]
        Without it there is no clearance and no volume.
    infusion : duration
        Length of an infusion; half of it is not residence in the body.
    interval : duration
        Dosing interval at steady state; a single dose if left out.
    points : int
        Last levels used for the terminal slope; chosen by adjusted R^2 if left out.
    limit : float [mg/L]
        Lower limit of quantification.
    below : choice
        What is done with levels below it: 0 before the first quantified level and left out after
        it (standard), always 0 (zero), always left out (missing).
    start : choice
        Whether a level at time 0 is added as the route implies, or the first measured level begins.
    """
    from galenic.library.pk import noncompartmental as nca

    if (infusion is not None) != (route == "infusion"):
        raise DataError(
            "an infusion without its length" if infusion is None else f"a length and {route}",
            where="argument infusion", expected="the length with route infusion, and only there",
        )  # fmt: skip
    if interval is not None and not interval > 0:
        raise DataError(f"{interval:g} s", where="argument interval", expected="more than 0 h")
    hours = [seconds / 3600.0 for seconds in levels.si("time")]
    seen = nca.profile(hours, levels["level"], limit / MG_PER_L, below)
    whole = seen if start == "measured" else nca.with_start(seen, route, interval is not None)
    tail = nca.terminal(seen, route, points)
    told = _Told(route, None if dose is None else dose / MG, (infusion or 0.0) / 3600.0)
    values, flags = _observed(seen, whole), []
    if tail is None:
        flags.append("no terminal slope: the last levels do not fall over three points")
    else:
        values |= _slope(tail)
        flags += _doubts(tail)
    if interval is not None:
        values |= told.steady(seen, whole, tail, interval / 3600.0)
    elif tail is not None:
        values |= told.single(whole, tail)
        share = _extrapolated(whole, tail)
        flags += [f"{share:.0f} % of the area is extrapolated"] if share > FAR else []
    left = len(levels) - len(seen.time)
    if left:
        flags.append(f"levels below the limit and left out: {left}")
    lines = ["Intervals hold the doubt about the terminal slope alone (95 %).", *flags]
    return Result("\n".join(lines), values, [_table(values)], [_plot(whole, tail)])


def _observed(seen: Any, whole: Any) -> dict[str, Value]:
    from galenic.library.pk.noncompartmental import areas

    last = whole.last + 1
    area, moment = areas(whole.time[:last], whole.level[:last])
    peak = int(seen.level.argmax())
    return {
        "Cmax": Value(float(seen.level[peak]), "mg/L", "largest level that was measured"),
        "Tmax": Value(float(seen.time[peak]), "h", "its time"),
        "C0": Value(float(whole.level[0]), "mg/L", f"level at {whole.time[0]:g} h"),
        "Clast": Value(float(whole.level[whole.last]), "mg/L", "last quantified level"),
        "Tlast": Value(float(whole.time[whole.last]), "h", "its time"),
        "AUClast": Value(area, "mg*h/L", "area to the last quantified level"),
        "AUMClast": Value(moment, "mg*h^2/L", "first moment to the last quantified level"),
    }


def _slope(tail: Any) -> dict[str, Value]:
    lower = tail.lower if tail.lower > 0 else None
    log2 = math.log(2.0)
    return {
        "lambda_z": Value(tail.rate, "1/h", "terminal slope", tail.lower, tail.upper),
        "half-life": Value(
            tail.half_life, "h", "terminal", log2 / tail.upper, lower and log2 / lower
        ),
        "points": Value(tail.count, "", "levels of the terminal slope"),
        "adjusted R2": Value(tail.fit, "", "of the terminal slope"),
        "span": Value(tail.span, "", "time of these levels over the half-life"),
    }


def _doubts(tail: Any) -> list[str]:
    flags = []
    if tail.fit < POOR_FIT:
        flags.append(f"the terminal slope fits poorly: adjusted R2 {tail.fit:.3f}")
    if tail.span < SHORT:
        flags.append(f"the terminal slope covers only {tail.span:.1f} half-lives")
    if tail.lower <= 0:
        flags.append("the terminal slope is not distinguished from none")
    return flags


def _extrapolated(whole: Any, tail: Any) -> float:
    """Share of the area to infinity that lies beyond the last level [%]."""
    from galenic.library.pk.noncompartmental import areas

    end = whole.last + 1
    beyond: float = float(whole.level[whole.last]) / tail.rate
    return 100.0 * beyond / (beyond + areas(whole.time[:end], whole.level[:end])[0])


class _Told:
    """What was given, and what follows from it with a curve."""

    def __init__(self, route: str, dose: float | None, length: float) -> None:
        self.dose, self.half_infusion = dose, length / 2.0
        self.outside = route == "extravascular"

    def single(self, whole: Any, tail: Any) -> dict[str, Value]:
        """After one dose, extrapolated by the last observed level over the slope."""
        from galenic.library.pk.noncompartmental import areas

        end, last = whole.last + 1, float(whole.level[whole.last])
        area, moment = areas(whole.time[:end], whole.level[:end])
        beyond = [None if rate is None or rate <= 0 else area + last / rate
                  for rate in (tail.upper, tail.lower)]  # fmt: skip
        infinite = area + last / tail.rate
        moment += last * (float(whole.time[whole.last]) + 1.0 / tail.rate) / tail.rate
        residence = moment / infinite - self.half_infusion
        return {
            "AUCinf": Value(infinite, "mg*h/L", "area to infinity", *beyond),
            "extrapolated": Value(_extrapolated(whole, tail), "%", "share of it beyond Tlast"),
            "AUMCinf": Value(moment, "mg*h^2/L", "first moment to infinity"),
            "MRT": self._residence(residence),
            **self._clearance(infinite, tail, residence, beyond),
        }

    def steady(self, seen: Any, whole: Any, tail: Any, interval: float) -> dict[str, Value]:
        """Over one interval at steady state."""
        from galenic.library.pk.noncompartmental import within

        area, moment = within(whole, tail, interval)
        inside = seen.level[seen.time <= interval]
        high, low, mean = float(inside.max()), float(inside.min()), area / interval
        values = {
            "AUCtau": Value(area, "mg*h/L", "area over the interval"),
            "Cavg": Value(mean, "mg/L", "mean level"),
            "Cmin": Value(low, "mg/L", "smallest level that was measured"),
            "fluctuation": Value(100 * (high - low) / mean, "%", "(Cmax - Cmin) / Cavg"),
        }
        if tail is None:
            return values | self._clearance(area, None, None, [None, None])
        # Levels of all later intervals stand for the tail of one dose (superposition).
        residence = (moment + interval * tail.level(interval) / tail.rate) / area
        residence -= self.half_infusion
        values["MRT"] = self._residence(residence)
        return values | self._clearance(area, tail, residence, [None, None])

    def _residence(self, hours: float) -> Value:
        what = "mean residence time" + (", absorption included" if self.outside else "")
        return Value(hours, "h", what)

    def _clearance(
        self, area: float, tail: Any, residence: float | None, bounds: list[float | None]
    ) -> dict[str, Value]:
        if self.dose is None:
            return {}
        over = "/F" if self.outside else ""
        low, high = (None if bound is None else self.dose / bound for bound in bounds[::-1])
        rate = self.dose / area
        values = {f"CL{over}": Value(rate, "L/h", "clearance", low, high)}
        if tail is not None:
            values[f"Vz{over}"] = Value(rate / tail.rate, "L", "volume of the terminal phase")
        if residence is not None and not self.outside:
            values["Vss"] = Value(rate * residence, "L", "volume at steady state")
        return values


def _table(values: dict[str, Value]) -> Table:
    columns = (
        Column("quantity", list(values)),
        Column("value", [v.value for v in values.values()]),
        Column("unit", [v.unit for v in values.values()]),
        Column("meaning", [v.meaning for v in values.values()]),
    )
    return Table("noncompartmental", columns)


def _plot(whole: Any, tail: Any) -> Plot:
    time, level = whole.time.tolist(), whole.level.tolist()
    series = [Series("level", level, "mg/L", "measured")]
    if tail is not None:
        line = [tail.level(at) if tail.first <= at <= tail.end else None for at in time]
        series.append(Series("terminal slope", line, "mg/L", "estimated"))
    return Plot("levels and terminal slope", Axis("time since the dose", time, "h"), tuple(series))
