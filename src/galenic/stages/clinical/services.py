"""Services for patients whose drug is dosed by its level. Decision support, not a prescription."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from galenic.stages.clinical.bedside import ahead, patient_course
from galenic.stages.clinical.cohorts import cohort_exposure, interaction_risk
from galenic.stages.clinical.diabetes import insulin_day
from galenic.stages.clinical.effects import Effects
from galenic.stages.clinical.effects import tables as effect_tables
from galenic.stages.clinical.intake import (
    Drug,
    fit_record,
    gene_phenotypes,
    read_record,
    warfarin_dose,
)
from galenic.stages.clinical.noncompartmental import noncompartmental
from galenic.stages.clinical.population_studies import (
    population_covariates,
    population_design,
    population_simulate,
    population_uncertainty,
)
from galenic.stages.clinical.populations import population_check, population_fit
from galenic.twin.service import (
    Columns,
    Duration,
    Help,
    In,
    Moment,
    Result,
    Run,
    Table,
    TwinRef,
    Value,
    Values,
    service,
)

__all__ = [
    "advise_dose",
    "cohort_exposure",
    "fit_patient",
    "fit_record",
    "forecast_levels",
    "gene_phenotypes",
    "insulin_day",
    "interaction_risk",
    "noncompartmental",
    "patient_course",
    "population_check",
    "population_covariates",
    "population_design",
    "population_fit",
    "population_simulate",
    "population_uncertainty",
    "read_record",
    "warfarin_dose",
]

DoseTable = Annotated[Table, Columns(time="h", amount="mg", duration="h")]
Doses = Annotated[
    DoseTable, Help("Doses given: time [h], amount [mg], duration of the infusion [h].")
]
Levels = Annotated[
    Table, Columns(time="h", level="mg/L"), Help("Levels measured: time [h], level [mg/L].")
]
Known = Annotated[
    Values,
    Help(
        "What is known of the patient, as CLcr='34 mL/min'. Vancomycin: CLcr, weight, dialysis; "
        "gentamicin, tobramycin: CLcr, weight; infliximab: weight, albumin, antibodies, female."
    ),
]
SomeTwin = Annotated[
    TwinRef, Help("Id of the patient's twin; the patient is told by tables if left out.")
]
Area = Annotated[float, In("mg*h/L", lower=0)]
Concentration = Annotated[float, In("mg/L", lower=0)]
Amount = Annotated[float, In("mg", lower=0)]

Doubt = Annotated[
    Literal["normal", "full"],
    Help(
        "How the posterior is taken: as the normal around its mode (Laplace), or in full by "
        "importance sampling."
    ),
]

DRAWS = 300


@service("Fit a patient", stage="clinical")
def fit_patient(
    covariates: Known,
    doses: Doses,
    levels: Levels,
    drug: Drug = "vancomycin",
    effects: Effects | None = None,
    posterior: Doubt = "normal",
    *,
    run: Run,
) -> Result:
    """Estimate a patient's own kinetics from doses and levels (maximum a posteriori)."""
    from galenic.stages.clinical import shown

    case = _case(run, None, None, Person(drug, covariates, doses, levels, effects), posterior)
    run.progress(0.7, "draw")
    return shown.fit(case)


@service("Forecast levels", stage="clinical", effect="read")
def forecast_levels(
    twin: SomeTwin | None = None,
    planned: DoseTable | None = None,
    horizon: Duration = 172_800.0,
    doses: Doses | None = None,
    levels: Levels | None = None,
    covariates: Known | None = None,
    drug: Drug = "vancomycin",
    effects: Effects | None = None,
    posterior: Doubt = "normal",
    *,
    run: Run,
) -> Result:
    """Forecast levels of a live twin, or of a patient told in tables, under planned doses.

    Parameters
    ----------
    planned : table
        Doses to come: hours from now, amount [mg], duration of the infusion [h].
    horizon : duration
        How far.
    """
    import numpy as np

    from galenic.stages.clinical import shown

    case = _case(run, twin, None, Person(drug, covariates, doses, levels, effects), posterior)
    plan = _planned(planned, horizon)
    run.progress(0.3, "draw")
    axis, drawn = ahead(case, plan, horizon, run.rng)
    low, middle, high = (shown.mg(q) for q in np.quantile(drawn[:, -1], shown.BAND))
    values = {"level at the end": Value(middle, "mg/L", "concentration", low, high)}
    text = shown.heading(case, f"{len(plan)} planned doses over {horizon / 3600:g} h.")
    plot = shown.curve(case, (axis, drawn))
    return Result(text, values, [_forecast_table(axis, drawn), *effect_tables(case)], [plot])


@service("When to measure next", stage="clinical", effect="read")
def next_level(
    twin: SomeTwin | None = None,
    planned: DoseTable | None = None,
    horizon: Duration = 86_400.0,
    every: Duration = 1800.0,
    doses: Doses | None = None,
    levels: Levels | None = None,
    covariates: Known | None = None,
    drug: Drug = "vancomycin",
    effects: Effects | None = None,
    posterior: Doubt = "normal",
    *,
    run: Run,
) -> Result:
    """Say at which time a level would remove most of the doubt about exposure.

    Parameters
    ----------
    planned : table
        Doses to come: hours from now, amount [mg], duration of the infusion [h].
    horizon : duration
        How far to look.
    every : duration
        Step of the times that are compared.
    """
    from galenic.stages.clinical import measuring

    case = _case(run, twin, None, Person(drug, covariates, doses, levels, effects), posterior)
    return measuring.advise(case, _planned(planned, horizon), horizon, every, run)


@service("Advise a dose", stage="clinical", effect="read")
def advise_dose(
    twin: SomeTwin | None = None,
    at: Moment | None = None,
    doses: Doses | None = None,
    levels: Levels | None = None,
    covariates: Known | None = None,
    drug: Drug = "vancomycin",
    effects: Effects | None = None,
    next_dose: Duration | None = None,
    auc_low: Area | None = None,
    auc_high: Area | None = None,
    trough_low: Concentration | None = None,
    trough_high: Concentration | None = None,
    peak_low: Concentration | None = None,
    peak_high: Concentration | None = None,
    mic: Concentration = 1.0,
    dose_step: Amount | None = None,
    largest_dose: Amount | None = None,
    largest_daily: Amount | None = None,
    intervals: tuple[Duration, ...] = (),
    infusions: tuple[Duration, ...] = (),
    course: Duration | None = None,
    without_levels: bool = False,
    posterior: Doubt = "normal",
    *,
    run: Run,
) -> Result:
    """Rank practical regimens by the chance that exposure meets its targets within the limits.

    Parameters
    ----------
    at : time
        When the first dose would be given to the twin's patient; now if left out.
    next_dose : duration
        Time of the first advised dose on the axis of the tables; the last event if left out.
    auc_low, auc_high : float [mg*h/L]
        Wanted area under the curve per day.
    trough_low, trough_high : float [mg/L]
        Wanted level before a dose.
    peak_low, peak_high : float [mg/L]
        Wanted level half an hour after an infusion.
    mic : float [mg/L]
        Minimum inhibitory concentration, by which the usual targets are multiplied.
    dose_step : float [mg]
        Steps in which doses are prepared.
    largest_dose : float [mg]
        Largest single dose.
    largest_daily : float [mg]
        Largest amount per day.
    intervals : list of durations
        Intervals that can be kept.
    infusions : list of durations
        Lengths of infusions.
    course : duration
        After how long exposure is judged.
    without_levels : bool
        Advise a first dose from covariates alone.
    """
    from galenic.decision.dosing import Course, Grid, Rules, advise
    from galenic.stages.clinical.practice import PRACTICE

    start = at if twin is not None else next_dose
    case = _case(run, twin, start, Person(drug, covariates, doses, levels, effects), posterior)
    usual = PRACTICE[case.drug]
    wanted = {
        "AUC24": (_declared(auc_low, "mg*h/L"), _declared(auc_high, "mg*h/L")),
        "trough": (_declared(trough_low, "mg/L"), _declared(trough_high, "mg/L")),
        "peak": (_declared(peak_low, "mg/L"), _declared(peak_high, "mg/L")),
    }
    step = _declared(dose_step, "mg") or usual.step
    largest = _declared(largest_dose, "mg") or usual.largest
    grid = Grid(
        usual.amounts(step, largest),
        list(intervals) or [f"{h} h" for h in usual.intervals],
        list(infusions) or [f"{h} h" for h in usual.infusions],
        _declared(largest_daily, "mg") or usual.daily,
        usual.rate,
    )
    run.progress(0.2, "draw")
    draws = case.draws(DRAWS, run.rng)
    run.progress(0.6, "rank")
    advice = advise(
        case.system,
        case.belief,
        draws,
        grid,
        usual.wanted(wanted, _declared(mic, "mg/L") or 1.0),
        usual.limits,
        course=Course(f"{usual.course} h" if course is None else course),
        rules=Rules(spread=1.0) if without_levels else None,
        doubts=_doubts(case, without_levels),
    )
    return _answer(case, advice)


def _answer(case: Any, advice: Any) -> Result:
    """Advice as a result; not ok where it is refused."""
    import numpy as np

    from galenic.decision.exposure import words
    from galenic.stages.clinical import shown

    values, _ = shown.parameters(case)
    facts = {
        "uncertainty": Value(round(100 * advice.spread, 1), "%", "sd of log exposure"),
        "belief": Value(case.belief.identity, meaning="hash of the belief"),
    }
    tables = [*shown.ranked(advice), *effect_tables(case)]
    best = advice.best
    if best is None:
        text = shown.heading(case, "No advice: " + "; ".join(advice.reasons) + ".")
        return Result(text, values | facts, tables, [shown.curve(case)], ok=False)
    responses = advice.responses
    until = responses.end(best.regimen.interval)
    ahead = responses.concentrations(best.regimen, until)
    axis = np.arange(ahead.shape[1]) * responses.step
    regimen = words(best.regimen)
    first = f"{regimen}: on target with a chance of {100 * best.probability:.0f} %."
    facts["dose for the middle of the target"] = Value(shown.rounded(advice.exact, "mg"), "mg")
    return Result(
        shown.heading(case, first),
        shown.advised(best) | values | facts,
        tables,
        [shown.curve(case, (axis, ahead), f"{case.drug}, {regimen}")],
    )


def _doubts(case: Any, without_levels: bool) -> list[str]:
    if not case.informed and not without_levels:
        return ["no level was measured yet (ask for without_levels to dose by covariates alone)"]
    return list(case.warnings)


def _declared(value: float | None, text: str) -> float | None:
    """An SI argument as a number in its declared unit."""
    from galenic.units import from_si

    return None if value is None else float(from_si(value, text))


@dataclass(frozen=True)
class Person:
    """A patient as the arguments of a service tell of one; values are SI."""

    drug: str
    covariates: Values | None
    doses: Table | None
    levels: Table | None
    effects: Table | None = None

    def case(self, at: float | None = None) -> Any:
        """The patient, ``at`` a time [s] or at the last event."""
        from galenic.errors import DataError
        from galenic.stages.clinical.case import of_tables
        from galenic.stages.clinical.effects import of_table

        if self.covariates is None:
            raise DataError(
                "neither a twin nor a patient is given",
                where="argument covariates",
                expected="twin, or covariates with doses and levels",
            )
        acting = of_table(self.effects)
        return of_tables(self.drug, self.covariates, self.doses, self.levels, at, acting)


def _case(run: Run, twin: TwinRef | None, at: Any, person: Person, posterior: str) -> Any:
    """The patient of a twin, or the one that tables tell of."""
    from galenic.errors import DataError
    from galenic.stages.clinical.case import of_twin

    if twin is None:
        found = person.case(at)
    elif person.effects is not None:
        raise DataError(
            "effects are given beside a twin", where="argument effects", expected="one of both",
            hint="a twin is estimated without them; tell the patient by tables",
        )  # fmt: skip
    else:
        found = run.runner.look(twin.id, of_twin, run.runner.clock.now(), at)
    return found.in_full(run.rng) if posterior == "full" else found


def _planned(table: Table | None, horizon: float) -> list[tuple[float, float, float]]:
    """Planned doses as (time, amount, infusion) in SI."""
    from galenic.errors import DataError

    if table is None:
        return []
    rows = zip(table.si("time"), table.si("amount"), table.si("duration"), strict=True)
    plan = [(float(t), float(a), float(d)) for t, a, d in rows]
    for i, (time, amount, length) in enumerate(plan, 1):
        if not (0 <= time <= horizon and amount >= 0 and 0 <= length):
            raise DataError(
                f"a dose at {time / 3600:g} h over {length / 3600:g} h",
                where=f"planned, row {i}",
                expected=f"a time from 0 to {horizon / 3600:g} h, nothing negative",
            )
    return plan


def _forecast_table(axis: Any, ahead: Any) -> Table:
    import numpy as np

    from galenic.stages.clinical import shown
    from galenic.twin.service import Column

    low, middle, high = np.quantile(ahead, shown.BAND, axis=0)
    columns = [Column("ahead", [float(t) / 3600.0 for t in axis], "h")]
    for name, row in (("level", middle), ("5 %", low), ("95 %", high)):
        columns.append(Column(name, [shown.mg(v) for v in row], "mg/L"))
    return Table("forecast", tuple(columns))
