"""A patient's twin at the bedside: what was given, measured, is believed and foreseen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from galenic.twin.service import Column, Duration, Help, Result, Run, Table, TwinRef, service

DRAWS = 300
STEP = 1800.0  # s; between points of a course ahead, unless doses ask for finer ones
Planned = Sequence[tuple[float, float, float]]  # time [s], amount [kg], infusion [s]


@service("The course of a patient", stage="clinical", effect="read")
def patient_course(
    twin: Annotated[TwinRef, Help("Id of the patient's twin.")],
    horizon: Duration = 172_800.0,
    *,
    run: Run,
) -> Result:
    """Tell what a patient got, what was measured, what is believed, and what comes without a dose.

    Parameters
    ----------
    horizon : duration
        How far is looked ahead.
    """
    from galenic.stages.clinical import shown
    from galenic.stages.clinical.case import of_twin

    case = run.runner.look(twin.id, of_twin, run.runner.clock.now(), None)
    values, individual = shown.parameters(case)
    axis, levels = ahead(case, [], horizon, run.rng)
    tables = [individual, covariates(case), doses(case), targets(case), *shown.levels(case)]
    text = shown.heading(
        case,
        f"{len(case.doses)} doses and {len(case.levels)} levels; no dose is planned in the curve.",
    )
    return Result(text, values, tables, [shown.curve(case, (axis, levels))])


def ahead(case: Any, plan: Planned, horizon: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """Times from now [s], and levels (draws, times) [SI] under planned doses."""
    from galenic.decision.exposure import Course, common_step, respond

    times = [t for dose in plan for t in (dose[0], dose[2])]
    step = common_step([*times, STEP, horizon])
    draws = case.draws(DRAWS, rng)
    infusions = [dose[2] for dose in plan] or [0.0]
    found = respond(case.system, case.belief, draws, infusions, step, horizon, Course())
    levels = found.given(list(plan), horizon)
    return np.arange(levels.shape[1]) * step, levels


def covariates(case: Any) -> Table:
    """What is known of the patient, as the model holds it now."""
    from galenic.library.pk.populations import population
    from galenic.units import from_si

    known = population(case.drug).covariates
    inputs = case.belief.context.inputs
    entries = {entry.path: entry for entry in case.system.inputs}
    rows = []
    for covariate in known:
        entry = entries[covariate.name]
        value = inputs.get(covariate.name, entry.value)
        rows.append((covariate.name, float(from_si(float(value), covariate.unit)), covariate.unit,
                     covariate.meaning))  # fmt: skip
    head = ("covariate", "value", "unit", "meaning")
    return Table(
        "covariates", tuple(Column(name, [row[i] for row in rows]) for i, name in enumerate(head))
    )


def doses(case: Any) -> Table:
    """What was given, in hours from now."""
    from galenic.units import convert

    given = case.doses
    columns = (
        Column("time", [case.hours(dose.source_time) for dose in given], "h"),
        Column("amount", [float(convert(dose.value, dose.unit, "mg")) for dose in given], "mg"),
        Column("infusion", [dose.duration / 3600.0 for dose in given], "h"),
    )
    return Table("doses", columns)


def targets(case: Any) -> Table:
    """The usual targets in mg/L: an area of a day is the mean level of a day times 24 h."""
    from galenic.decision.exposure import MEASURES
    from galenic.stages.clinical.practice import PRACTICE

    rows = []
    for name, (low, high) in PRACTICE[case.drug].targets.items():
        hours = 24.0 if name == "AUC24" else 1.0
        words = f"{name} {low:g} to {high:g} {MEASURES[name]}"
        rows.append((f"{words}, as mean level" if hours > 1 else words, low / hours, high / hours))
    return Table(
        "targets",
        (
            Column("target", [row[0] for row in rows]),
            Column("low", [row[1] for row in rows], "mg/L"),
            Column("high", [row[2] for row in rows], "mg/L"),
        ),
    )
