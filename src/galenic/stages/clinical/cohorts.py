"""Virtual cohorts in the whole body, and the static formulas of drug interactions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from galenic.twin.service import (
    Axis,
    Column,
    Columns,
    Duration,
    Help,
    In,
    Plot,
    Result,
    Run,
    Series,
    Table,
    Value,
    service,
)

LABEL = "Virtual persons; decision support, not a prescription."
QUANTILES = (0.05, 0.5, 0.95)
Means = Annotated[
    Table,
    Columns(sex="text", covariate="text", kind="text", mean="1", sd="1", low="1", high="1"),
    Help(
        "Covariates age [year], weight [kg], height [cm] by sex (male, female or all): kind "
        "(normal, lognormal), mean, sd, least and largest."
    ),
]
Pairs = Annotated[
    Table,
    Columns(sex="text", one="text", other="text", correlation="1"),
    Help("Correlations of two covariates by sex."),
]
People = Annotated[
    Table,
    Columns(sex="text", age="year", weight="kg", height="cm"),
    Help("Instead of means: persons whose like are drawn."),
]
Shares = Annotated[
    Table,
    Columns(condition="text", share="1"),
    Help("Conditions: healthy, cirrhosis A to C, kidneys mild, moderate, severe; adding up to 1."),
]
Level = Annotated[float, In("umol/L", lower=0)]
Rate = Annotated[float, In("1/h", lower=0)]
Share = Annotated[float, In("1", lower=0, upper=1)]
Amount = Annotated[float, In("mg", lower=0)]


@service("Exposure in a virtual cohort", stage="clinical")
def cohort_exposure(
    drug: Literal["alfentanil", "vancomycin"],
    dose: Amount,
    means: Means | None = None,
    correlations: Pairs | None = None,
    persons: People | None = None,
    conditions: Shares | None = None,
    count: int = 200,
    female: Share = 0.5,
    variation: Annotated[float, In("1", lower=0)] = 0.3,
    route: Literal["vein", "mouth"] = "vein",
    horizon: Duration = 86_400.0,
    *,
    run: Run,
) -> Result:
    """Draw virtual persons with correlated covariates and tell their exposure to a drug.

    Parameters
    ----------
    drug : choice
        Whose parameters ship.
    dose : amount
        Given at once.
    count : int
        How many persons.
    female : number
        Share of women.
    variation : number
        Variation of the enzyme between persons (coefficient of variation).
    route : choice
        Into a vein, or as a solution by mouth.
    horizon : duration
        How far levels are followed.
    """
    import numpy as np

    from galenic import Experiment
    from galenic.engine.simulate import Simulator
    from galenic.library.pbpk.cohort import virtual_cohort
    from galenic.library.pbpk.drugs import DRUGS, metabolism, own_columns
    from galenic.library.pbpk.physiology import physiology

    cohort = virtual_cohort(
        count, run.rng, _covariates(means, correlations, persons), female=female,
        conditions=dict(conditions.rows()) if conditions is not None else None,
        metabolism=metabolism(drug, variation),
    )  # fmt: skip
    run.progress(0.2, "simulate")
    place = "A_ven" if route == "vein" else "intestine.stomach"
    runs = Simulator(DRUGS[drug](physiology("human"))).run_many(
        Experiment().dose(place, f"{dose!r} kg"),
        {**cohort.table, **own_columns(drug, cohort.table)},
        outputs=["C", "AUC"], until=horizon, every=horizon / 400.0,
    )  # fmt: skip
    hours = np.linspace(0.0, horizon / 3600.0, 401)
    area = np.asarray(runs["AUC"])[:, -1]
    return _told(drug, cohort, hours, np.asarray(runs["C"]), area)


def _covariates(means: Table | None, pairs: Table | None, persons: Table | None) -> dict[str, Any]:
    """What is drawn from, by sex."""
    from galenic.errors import DataError
    from galenic.library.patient.covariates import Empirical, Marginal, Summary

    if (means is None) == (persons is None):
        raise DataError(
            "means and persons" if means is not None else "neither means nor persons",
            where="cohort-exposure", expected="one of the two tables",
        )  # fmt: skip
    if persons is not None:
        rows: dict[str, list[Any]] = {}
        for sex, *values in persons.rows():
            rows.setdefault(sex, []).append(values)
        return {
            sex: Empirical.of(
                dict(zip(("age", "weight", "height"), zip(*v, strict=True), strict=True))
            )
            for sex, v in rows.items()
        }
    assert means is not None
    marginals: dict[str, dict[str, Marginal]] = {}
    for sex, name, kind, mean, sd, low, high in means.rows():
        if kind not in ("normal", "lognormal"):
            raise DataError(
                f"kind {kind!r}", where=f"means, {name}", expected="normal or lognormal"
            )
        marginals.setdefault(sex, {})[name] = Marginal(mean, sd, low, high, kind)
    related: dict[str, dict[tuple[str, str], float]] = {}
    for sex, one, other, value in pairs.rows() if pairs is not None else ():
        related.setdefault(sex, {})[one, other] = value
    return {sex: Summary(own, related.get(sex, {})) for sex, own in marginals.items()}


def _told(drug: str, cohort: Any, hours: Any, level: Any, area: Any) -> Result:
    import numpy as np

    peak = level.max(axis=1)
    persons = [Column("sex", cohort.persons["sex"].tolist()),
               Column("condition", cohort.persons["condition"].tolist())]  # fmt: skip
    units = {"age": "year", "weight": "kg", "height": "cm"}
    persons += [
        Column(name, np.round(cohort.persons[name], 2).tolist(), unit)
        for name, unit in units.items()
        if name in cohort.persons
    ]
    persons += [Column("AUC", area.tolist(), "mg*h/L"), Column("Cmax", peak.tolist(), "mg/L")]
    groups, rows = sorted(set(cohort.persons["condition"])), []
    for group in groups:
        own = area[cohort.persons["condition"] == group]
        rows.append((group, len(own), *np.quantile(own, QUANTILES)))
    names = ("condition", "persons", "5 %", "median", "95 %")
    units_of = ("", "", *("mg*h/L",) * 3)
    by_condition = Table(
        "AUC by condition",
        tuple(
            Column(name, [row[k] for row in rows], unit)
            for k, (name, unit) in enumerate(zip(names, units_of, strict=True))
        ),
    )
    low, middle, high = (float(q) for q in np.quantile(area, QUANTILES))
    curves = np.quantile(level, QUANTILES, axis=0)
    band = Series("level", list(curves[1]), "mg/L", "predicted", list(curves[0]), list(curves[2]))
    text = (
        f"{LABEL}\n{drug}, {len(area)} persons: AUC to {hours[-1]:g} h {middle:.4g} mg h/L "
        f"(90 % of persons {low:.4g} to {high:.4g})."
    )
    values = {"AUC": Value(middle, "mg*h/L", "median of the persons", low, high)}
    plot = Plot("plasma, median and 90 % of the persons", Axis("time", list(hours), "h"), (band,))
    return Result(text, values, [by_condition, Table("persons", tuple(persons))], [plot])


@service("Risk of a drug interaction", stage="clinical", effect="read")
def interaction_risk(
    level: Level,
    fm: Share,
    ki: Level | None = None,
    kinact: Rate | None = None,
    inactivation_half: Level | None = None,
    emax: Annotated[float, In("1", lower=0)] | None = None,
    ec50: Level | None = None,
    liver: Level | None = None,
    gut: Level | None = None,
    passes_gut: Share = 1.0,
    *,
    run: Run,
) -> Result:
    """Tell by the static formulas of the guidances whether one drug raises or lowers another.

    Parameters
    ----------
    level : concentration
        Largest unbound level of the perpetrator in plasma.
    fm : number
        Share of the victim's clearance by the enzyme.
    ki : concentration
        Reversible inhibition, unbound.
    kinact : rate
        Largest rate of inactivation.
    inactivation_half : concentration
        Level at half of that rate, KI.
    emax : number
        Largest induction relative to usual synthesis.
    ec50 : concentration
        Level at half of it.
    liver : concentration
        Unbound level at the inlet of the liver; that in plasma if left out.
    gut : concentration
        Level in the wall of the gut; nil if left out.
    passes_gut : number
        Share of the victim that passes the wall of the gut, Fg.
    """
    from galenic.library.pbpk import interaction as static

    def micro(value: float | None) -> float | None:
        return None if value is None else value * 1e3  # mol/m3 to umol/L

    drug = static.Perpetrator(
        micro(ki), None if kinact is None else kinact * 3600.0, micro(inactivation_half), emax,
        micro(ec50),
    )  # fmt: skip
    plasma, inlet, wall = micro(level) or 0.0, micro(liver), micro(gut)
    inlet = plasma if inlet is None else inlet
    found = static.basic(drug, plasma)
    ratio = static.exposure_ratio(
        fm,
        liver=drug.remaining(inlet, static.KDEG_LIVER),
        gut=drug.remaining(wall or 0.0, static.KDEG_GUT),
        Fg=passes_gut,
    )
    asked = [
        name for name, value in found.items()
        if (value <= static.LIMITS[name] if name == "R3" else value >= static.LIMITS[name])
    ]  # fmt: skip
    low, high = static.EQUIVALENCE
    outside = not low <= ratio <= high
    limits = "beyond the limit: " + ", ".join(asked) if asked else "no basic ratio beyond its limit"
    text = (
        f"Decision support. Exposure changes {ratio:.3g} times by the static model"
        f"{' (outside of 0.8 to 1.25)' if outside else ''}; {limits}."
    )
    values = {name: Value(value, "1") for name, value in found.items()}
    values["AUC ratio"] = Value(ratio, "1", "exposure with over without")
    rows = [(name, value, static.LIMITS[name], name in asked) for name, value in found.items()]
    titles = ("ratio", "value", "limit", "beyond")
    table = Table("basic", tuple(Column(t, [r[k] for r in rows]) for k, t in enumerate(titles)))
    return Result(text, values, [table])
