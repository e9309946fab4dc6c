"""When to measure a level next."""

from __future__ import annotations

from typing import Any

import numpy as np

from galenic.decision.exposure import Course, common_step, respond, responses
from galenic.decision.sampling import best_pair, remaining
from galenic.errors import DataError
from galenic.stages.clinical import effects, shown
from galenic.stages.clinical.case import Case
from galenic.twin.result import Axis, Column, Plot, Result, Series, Table, Value
from galenic.twin.run import Run

DRAWS = 600
MOST = 200  # times that are compared


def advise(
    case: Case, plan: list[tuple[float, float, float]], horizon: float, every: float, run: Run
) -> Result:
    """The times ranked by what a level leaves of the doubt about exposure.

    ``plan`` has doses as (time, amount, infusion) in SI from now on.
    """
    count = round(horizon / every)
    if not 2 <= count <= MOST:
        raise DataError(
            f"{count} times", where="arguments horizon and every", expected=f"2 to {MOST}"
        )
    draws = case.draws(DRAWS, run.rng)
    target = np.log(_exposure(case, draws))
    run.progress(0.5, "compare")
    times = [t for dose in plan for t in (dose[0], dose[2])]
    step = common_step([*times, every, horizon])
    infusions = [dose[2] for dose in plan] or [0.0]
    ahead = respond(case.system, case.belief, draws, infusions, step, horizon, Course())
    course = ahead.given(plan, horizon)
    rows = np.round(np.arange(1, count + 1) * every / step).astype(int)
    seen, hours = course[:, rows], np.arange(1, count + 1) * every / 3600.0
    residual = case.estimator.residual["C"]
    error = np.array([residual.variance(float(f))[0] for f in np.median(seen, axis=0)])
    left = np.sqrt(remaining(target, seen, error))
    return _told(case, hours, seen, left, float(np.std(target)), best_pair(target, seen, error))


def _exposure(case: Case, draws: Any) -> Any:
    """Area per day of one kg per day, in steady state: what a dose is worth in each draw."""
    course = Course("480 h")
    found = responses(case.system, case.belief, draws, ["24 h"], [0.0], course)
    return found.parts(86_400.0, 0.0, "AUC24")[1]


def _told(
    case: Case, hours: Any, seen: Any, left: Any, spread: float, pair: tuple[int, int, float]
) -> Result:
    best = int(np.argmin(left))
    first, second, together = pair
    now, after = 100 * spread, 100 * spread * left
    lines = [
        f"Exposure per dose is known to {now:.0f} %. A level {hours[best]:g} h from now leaves "
        f"{after[best]:.0f} %, two at {hours[first]:g} and {hours[second]:g} h "
        f"{now * np.sqrt(max(together, 0.0)):.0f} %."
    ]
    order = np.argsort(left)[:12]
    middle = np.median(seen, axis=0)
    columns = (
        Column("time from now", [float(hours[i]) for i in order], "h"),
        Column("expected level", [shown.mg(middle[i]) for i in order], "mg/L"),
        Column("doubt left", [round(float(after[i]), 1) for i in order], "%"),
    )
    values = {
        "best time": Value(float(hours[best]), "h", "from now"),
        "doubt now": Value(round(now, 1), "%", "sd of log exposure per dose"),
        "doubt left": Value(round(float(after[best]), 1), "%", "after one level then"),
    }
    line = Series("doubt left after one level", [float(v) for v in after], "%", "predicted")
    plot = Plot("What one level leaves of the doubt about exposure",
                Axis("time from now", [float(h) for h in hours], "h"), (line,))  # fmt: skip
    text = shown.heading(case, *lines)
    return Result(text, values, [Table("times", columns), *effects.tables(case)], [plot])
