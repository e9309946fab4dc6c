"""Services that estimate a population from a data set, and judge and simulate it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from galenic.twin.service import (
    Artefact,
    Column,
    File,
    Help,
    ModelRef,
    Result,
    Run,
    Table,
    Value,
    Values,
    service,
)

Data = Annotated[
    File,
    Help("Data set in NONMEM's style: ID, TIME, DV, AMT, EVID, CMT, RATE, ADDL, II, SS, MDV."),
]
Structure = Annotated[ModelRef, Help("The structural model; its values are the start.")]
DoseTo = Annotated[str, Help("State that gets the doses; empty where there are none.")]
Output = Annotated[str, Help("Output that DV measures.")]
Vary = Annotated[
    tuple[str, ...],
    Help("What varies between subjects: CL, CL=0.3 (sd to start from) or emax=0.5:logit."),
]
Occasions = Annotated[tuple[str, ...], Help("What varies between occasions, in the same form.")]
Correlated = Annotated[tuple[str, ...], Help("Effects with a covariance: CL+V1.")]
Known = Annotated[tuple[str, ...], Help("Covariates with column and unit: weight=WT:kg.")]
Effects = Annotated[
    tuple[str, ...],
    Help("Effects of covariates: CL~weight/70^0.75, CL~weight/70^? (estimated) or CL~sex."),
]
Others = Annotated[tuple[str, ...], Help("Further typical values to estimate.")]
Hold = Annotated[tuple[str, ...], Help("Numbers to hold, by path or name: omega(CL).")]
Additive = Annotated[float, Help("Additive error to start from, in the unit of DV; 0 for none.")]
Proportional = Annotated[float, Help("Proportional error to start from; 0 for none.")]
Combine = Annotated[
    Literal["variance", "sd", "log"],
    Help("How errors combine: variances or sd added, or a log-normal error."),
]
DoseUnit = Annotated[str, Help("Unit of AMT.")]
DvUnit = Annotated[str, Help("Unit of DV; that of the output if left out.")]
Limit = Annotated[
    Literal["M1", "M3", "M5", "M6"], Help("What is done with values below the limit.")
]
Locf = Annotated[bool, Help("Carry covariates forward instead of backward.")]
Restart = Annotated[bool, Help("Whether a time that falls begins a period with an empty body.")]
Endpoint = Annotated[str, Help("DVID of the endpoint; others are left out. All rows if empty.")]
Method = Annotated[
    Literal["focei", "foce", "fo", "laplace", "agq", "saem", "evaluate"],
    Help("Way to estimate; 'evaluate' only evaluates at the start values."),
]


@service("Fit a population", stage="clinical")
def population_fit(
    model: Structure,
    data: Data,
    dose_to: DoseTo,
    output: Output,
    vary: Vary,
    occasion: Occasions = (),
    correlated: Correlated = (),
    covariates: Known = (),
    effects: Effects = (),
    values: Values | None = None,
    estimate: Others = (),
    hold: Hold = (),
    additive: Additive = 0.0,
    proportional: Proportional = 0.2,
    combine: Combine = "variance",
    dose_unit: DoseUnit = "mg",
    output_unit: DvUnit = "",
    blq: Limit = "M3",
    locf: Locf = False,
    restart: Restart = False,
    endpoint: Endpoint = "",
    method: Method = "focei",
    simulations: int = 300,
    *,
    run: Run,
) -> Result:
    """Estimate a population: fixed effects, variability, errors, with uncertainty and a report.

    Parameters
    ----------
    values : values
        Typical values to start from: path and value with unit.
    simulations : int
        For NPDE and visual predictive checks of the report; 0 leaves them out.
    """
    from galenic.inference.mixed import report
    from galenic.inference.mixed.residuals import residuals
    from galenic.inference.mixed.vpc import check
    from galenic.stages.clinical import estimation, pictures

    problem = estimation.problem(
        estimation.start(model.load()(), values), data, dose_to, output, vary, occasion,
        correlated, covariates, effects,
        estimate, hold, additive, proportional, combine, dose_unit, output_unit, blq, locf,
        restart, endpoint,
    )  # fmt: skip
    run.progress(0.05, "compiled")
    found = estimation.estimated(problem, method, run.seed, run)
    run.progress(0.88, "report")
    page = report.html(found, f"Population fit of {data.name}", simulations, run.seed)
    artefact = Artefact("population-fit.html", page.encode(), "text/html")
    plots = pictures.fit(found, residuals(found, 0))
    for e, (_, unit) in enumerate(problem.records.endpoints if simulations else ()):
        panels = check(found, e, simulations=simulations, seed=run.seed)
        plots += [pictures.percentiles(panel, unit) for panel in panels]
    return Result(_told(found), _values(found), _tables(found), plots, [artefact])


@service("Check a population", stage="clinical")
def population_check(
    model: Structure,
    data: Data,
    dose_to: DoseTo,
    output: Output,
    vary: Vary,
    occasion: Occasions = (),
    correlated: Correlated = (),
    covariates: Known = (),
    effects: Effects = (),
    values: Values | None = None,
    additive: Additive = 0.0,
    proportional: Proportional = 0.2,
    combine: Combine = "variance",
    dose_unit: DoseUnit = "mg",
    output_unit: DvUnit = "",
    blq: Limit = "M3",
    endpoint: Endpoint = "",
    corrected: bool = False,
    simulations: int = 500,
    *,
    run: Run,
) -> Result:
    """Simulate a data set from the model's values and compare percentiles: a predictive check.

    Parameters
    ----------
    values : values
        Typical values: path and value with unit.
    corrected : bool
        Whether values are corrected for prediction.
    simulations : int
        Replicates of the data set.
    """
    from galenic.inference.mixed.fit import evaluate
    from galenic.inference.mixed.residuals import residuals
    from galenic.inference.mixed.vpc import check
    from galenic.stages.clinical import estimation, pictures

    problem = estimation.problem(
        estimation.start(model.load()(), values), data, dose_to, output, vary, occasion,
        correlated, covariates, effects,
        (), (), additive, proportional, combine, dose_unit, output_unit, blq, endpoint=endpoint,
    )  # fmt: skip
    at = evaluate(problem)
    run.progress(0.3, "simulate")
    panels = check(at, corrected=corrected, simulations=simulations, seed=run.seed)
    tests = residuals(at, simulations, run.seed).tests()
    share = sum(p.outside for p in panels) / len(panels)
    text = f"{100 * share:.0f} % of observed percentiles lie outside of their 95 % intervals."
    told = {"objective": Value(at.objective), "outside": Value(100 * share, "%")}
    told |= {f"npde {name}": Value(value) for name, value in tests.items()}
    unit = problem.records.endpoints[0][1]
    return Result(text, told, [], [pictures.percentiles(panel, unit) for panel in panels])


def _told(found: Any) -> str:
    lines = [
        f"{found.method} on {len(found.problem.course)} subjects and {found.problem.count} "
        f"observations: objective {found.objective:.4f}, -2LL {found.minus2ll:.4f}.",
        *found.warnings,
        *found.problem.records.flags[:20],
    ]
    return "\n".join(lines)


def _values(found: Any) -> dict[str, Value]:
    values = {
        "objective": Value(found.objective, meaning="minus twice the log likelihood - n ln 2 pi"),
        "-2LL": Value(found.minus2ll),
        "AIC": Value(found.aic),
        "BIC": Value(found.bic),
        "condition number": Value(found.condition),
        "converged": Value(found.converged),
    }
    sampled = found.notes.get("importance")
    if sampled is not None:
        reach = 1.96 * sampled.error
        values["objective by importance sampling"] = Value(
            sampled.objective, "", "", sampled.objective - reach, sampled.objective + reach
        )
    return values


def _tables(found: Any) -> list[Table]:
    rows = found.table()
    names = ("name", "value", "unit", "se", "rse", "lower", "upper")
    columns = [Column(name, [row[name] for row in rows]) for name in names]
    shrunk = found.shrinkage
    people = found.individual()
    keys = list(people[0])
    return [
        Table("estimates", tuple(columns)),
        Table(
            "shrinkage",
            (
                Column("effect", list(shrunk)),
                Column("shrinkage", [100 * v for v in shrunk.values()], "%"),
            ),
        ),
        Table("individuals", tuple(Column(k, [one[k] for one in people]) for k in keys)),
    ]
