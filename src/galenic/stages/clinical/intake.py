"""Services that read a patient's health record and genes. Decision support, not a diagnosis."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from galenic.twin.service import (
    Column,
    Duration,
    File,
    Help,
    In,
    Result,
    Run,
    Table,
    Value,
    Values,
    service,
)

Drug = Annotated[
    Literal["vancomycin", "gentamicin", "tobramycin", "infliximab"],
    Help("The drug; it names population, usual doses and usual targets."),
]
STABLE = (
    "Of 1,378 patients 52 % had a stable dose within 20 % of what such an equation says "
    "(Finkelman et al., J Am Coll Cardiol 57:612-618, 2011, doi:10.1016/j.jacc.2010.08.643)."
)
Record = Annotated[File, Help("FHIR R4 bundle of one patient (JSON).")]


@service("Read a health record", stage="clinical", effect="read")
def read_record(record: Record) -> Result:
    """Show what a FHIR R4 bundle says of a patient, what follows from it, and every doubt.

    Codes and units are checked; nothing that is not understood is used, and nothing is left out
    without being named.
    """
    from galenic.connect.fhir.reading import read_chart
    from galenic.stages.clinical import charted

    chart = read_chart(record.read())
    return charted.report(chart)


@service("Fit a patient from a health record", stage="clinical")
def fit_record(
    record: Record,
    drug: Drug = "vancomycin",
    covariates: Values | None = None,
    infusion: Duration | None = None,
    *,
    run: Run,
) -> Result:
    """Estimate a patient's own kinetics from the administrations and levels of a FHIR bundle.

    Parameters
    ----------
    covariates : mapping
        What the record does not tell, such as dialysis=1; it goes before what the record says.
    infusion : duration
        Length of infusions of which the record tells no end; such doses are refused if left out.
    """
    from galenic.connect.fhir.reading import read_chart
    from galenic.library.pk.populations import population
    from galenic.stages.clinical import charted, shown

    chart = read_chart(record.read())
    told = charted.course(chart, drug, infusion)
    known = charted.covariates(chart, drug, told.last, covariates)
    run.progress(0.4, "fit")
    found = shown.fit(told.case(drug, known))
    tables = [*found.tables, *charted.doubts((*chart.flags, *told.flags))]
    units = {c.name: c.unit for c in population(drug).covariates}
    values = {
        name: Value(value, units[name]) if isinstance(value, float) else Value(str(value))
        for name, value in known.items()
    }
    return Result(found.text, {**values, **found.values}, tables, found.plots)


@service("Phenotypes from diplotypes", stage="clinical", effect="read")
def gene_phenotypes(
    diplotypes: Annotated[tuple[str, ...], Help("Genes with diplotypes, as 'CYP2C19 *1/*2'.")],
    alleles: Annotated[
        File | None, Help("Another table of alleles: gene, allele, activity_value, function.")
    ] = None,
) -> Result:
    """Say what a patient's pharmacogenes mean: functions, activity score, phenotype.

    An allele that is not in the table is an error, never taken for normal.
    """
    from galenic.errors import DataError
    from galenic.library.patient.genes import phenotype, read_alleles

    for told in diplotypes:
        if len(told.split(maxsplit=1)) != 2:
            raise DataError(
                f"{told!r}",
                where="argument diplotypes",
                expected="gene and diplotype, CYP2D6 *1/*4",
            )
    table = None
    if alleles is not None:
        table = read_alleles(alleles.text().splitlines(keepends=True), alleles.name)
    pairs = [told.split(maxsplit=1) for told in diplotypes]
    found = [phenotype(gene, pair, table) for gene, pair in pairs]
    columns = (
        Column("gene", [p.gene for p in found]),
        Column("diplotype", [p.diplotype for p in found]),
        Column("functions", [" + ".join(p.functions) for p in found]),
        Column("activity score", [p.activity for p in found]),
        Column("phenotype", [p.phenotype for p in found]),
    )
    unknown = [p.gene for p in found if not p.is_known]
    text = f"{len(found)} genes" + (f"; indeterminate: {', '.join(unknown)}" if unknown else "")
    values: dict[str, Any] = {p.gene: Value(p.phenotype) for p in found}
    return Result(text, values, [Table("phenotypes", columns)])


@service("Start warfarin by genotype", stage="clinical", effect="read")
def warfarin_dose(
    age: Annotated[float, In("year", lower=18), Help("Age; full decades count for IWPC.")],
    height: Annotated[float, In("cm", lower=0), Help("Body height.")],
    weight: Annotated[float, In("kg", lower=0), Help("Actual body weight.")],
    vkorc1: Annotated[
        Literal["GG", "AG", "AA", "unknown"], Help("VKORC1 -1639, on the minus strand.")
    ] = "unknown",
    cyp2c9: Annotated[str, Help("CYP2C9 diplotype of *1, *2 and *3, or unknown.")] = "unknown",
    race: Annotated[
        Literal["white", "asian", "black", "unknown"], Help("As the studies recorded it.")
    ] = "unknown",
    target_inr: Annotated[float, Help("INR that is wanted.")] = 2.5,
    amiodarone: Annotated[bool, Help("Whether amiodarone is taken.")] = False,
    inducer: Annotated[
        bool, Help("Whether carbamazepine, phenytoin or rifampicin is taken.")
    ] = False,
    smoker: Annotated[bool, Help("Whether the patient smokes.")] = False,
    thrombosis: Annotated[bool, Help("Whether thrombosis or embolism is the reason.")] = False,
) -> Result:
    """Predict the maintenance dose of warfarin by two published regressions, side by side.

    For adults who begin; the INR decides from then on. The equation of Gage needs both genotypes
    and knows no inducers, that of the consortium (IWPC) is for an INR from 2 to 3.
    """
    from galenic.library.patient import warfarin
    from galenic.library.patient.body import body_surface
    from galenic.units import from_si

    years, tall, heavy = (
        round(float(from_si(v, u)), 9) for v, u in ((age, "year"), (height, "cm"), (weight, "kg"))
    )
    doses = {}
    notes = ["Decision support, not a prescription.", STABLE]
    if 2.0 <= target_inr <= 3.0:
        doses["IWPC"] = warfarin.iwpc_weekly_dose(
            years, tall, heavy, vkorc1, cyp2c9, race, inducer, amiodarone
        )
    else:
        notes.append("IWPC is not given: it is for an INR from 2 to 3")
    if "unknown" in (vkorc1, cyp2c9) or inducer:
        reason = "an inducer is taken" if inducer else "a genotype is unknown"
        notes.append(f"Gage is not given: {reason}")
    else:
        surface = body_surface(heavy, tall)
        doses["Gage"] = 7.0 * warfarin.gage_daily_dose(
            years, surface, vkorc1, cyp2c9, target_inr, amiodarone, smoker, race == "black",
            thrombosis,
        )  # fmt: skip
    sources = {"IWPC": warfarin.SOURCE, "Gage": warfarin.GAGE}
    columns = (
        Column("equation", list(doses)),
        Column("per week", [round(dose, 1) for dose in doses.values()], "mg"),
        Column("per day", [round(dose / 7.0, 2) for dose in doses.values()], "mg"),
        Column("source", [sources[name] for name in doses]),
    )
    values = {name: Value(dose, "mg", "per week") for name, dose in doses.items()}
    return Result("\n".join(notes), values, [Table("doses", columns)], ok=bool(doses))
