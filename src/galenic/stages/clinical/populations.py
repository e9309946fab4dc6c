"""Services that estimate a population from a data set, and check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from galenic.stages.clinical.study import Data, of_study
from galenic.twin.service import (
    Artefact,
    Column,
    Help,
    Result,
    Run,
    Table,
    Value,
    service,
)

if TYPE_CHECKING:
    from galenic.inference.mixed.problem import Problem

Method = Annotated[
    Literal["focei", "foce", "fo", "laplace", "agq", "saem", "evaluate"],
    Help("Way to estimate; 'evaluate' only evaluates at the start values."),
]


@service("Fit a population", stage="clinical")
@of_study
def population_fit(
    problem: Problem, data: Data, method: Method = "focei", simulations: int = 300, *, run: Run
) -> Result:
    """Estimate a population: fixed effects, variability, errors, with uncertainty and a report.

    Parameters
    ----------
    simulations : int
        For NPDE and visual predictive checks of the report; 0 leaves them out.
    """
    from galenic.inference.mixed import report
    from galenic.inference.mixed.residuals import residuals
    from galenic.inference.mixed.vpc import check
    from galenic.stages.clinical import estimation, pictures

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
@of_study
def population_check(
    problem: Problem, corrected: bool = False, simulations: int = 500, *, run: Run
) -> Result:
    """Simulate a data set from the model's values and compare percentiles: a predictive check.

    Parameters
    ----------
    corrected : bool
        Whether values are corrected for prediction.
    simulations : int
        Replicates of the data set.
    """
    from galenic.inference.mixed.fit import evaluate
    from galenic.inference.mixed.residuals import residuals
    from galenic.inference.mixed.vpc import check
    from galenic.stages.clinical import pictures

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
