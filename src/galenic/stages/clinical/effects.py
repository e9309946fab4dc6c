"""What acts on a patient's clearance, as services take it and tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from galenic.errors import GalenicError
from galenic.twin.service import Column, Columns, Help, Table

if TYPE_CHECKING:
    from galenic.library.patient.clearance import ClearanceEffect
    from galenic.stages.clinical.case import Case

Effects = Annotated[
    Table,
    Columns(cause="text", measure="text", ratio="1", cv="1", source="text"),
    Help(
        "What changes clearance during all that is told and foreseen: cause (a drug, phenotype or "
        "condition), measure (CL ratio or AUC ratio, with the cause over without), ratio [1], its "
        "coefficient of variation [1], source."
    ),
]


def of_table(table: Table | None) -> tuple[ClearanceEffect, ...]:
    """The effects of a table, each named in its errors by its row."""
    from galenic.library.patient.clearance import combined, reported

    if table is None:
        return ()
    texts = zip(table["cause"], table["measure"], table["source"], strict=True)
    numbers = zip(table.si("ratio"), table.si("cv"), strict=True)
    found = []
    for i, ((cause, measure, source), (ratio, cv)) in enumerate(
        zip(texts, numbers, strict=True), 1
    ):
        try:
            found.append(reported(str(cause), str(measure), float(ratio), float(cv), str(source)))
        except GalenicError as error:
            error.where = f"effects, row {i}"
            raise
    combined(found)
    return tuple(found)


def lines(case: Case) -> list[str]:
    """What acts on clearance, in words; nothing where nothing does."""
    from galenic.library.patient.clearance import combined
    from galenic.library.patient.interactions import among

    if not case.effects:
        return []
    factor, cv = combined(case.effects)
    told = [
        f"Typical clearance times {factor:.4g} (CV {100 * cv:.3g} %), from the first dose on: "
        + "; ".join(f"{e.cause} {e.factor:.4g} ({e.source})" for e in case.effects)
        + "."
    ]
    if len(case.effects) > 1:
        told.append("The effects are taken as independent of each other.")
    for pair in among([case.drug, *(e.cause for e in case.effects)]):
        told.append(f"Listed interaction of {pair.first} and {pair.second}: {pair.effect}.")
    return told


def tables(case: Case) -> list[Table]:
    """The effects with their sources."""
    if not case.effects:
        return []
    columns = (
        Column("cause", [e.cause for e in case.effects]),
        Column("factor", [e.factor for e in case.effects], "1", "of clearance"),
        Column("cv", [100 * e.cv for e in case.effects], "%"),
        Column("source", [e.source for e in case.effects]),
    )
    return [Table("effects on clearance", columns)]
