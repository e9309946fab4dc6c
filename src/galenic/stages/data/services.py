"""What can be asked about the data of a site: their quality by source, and dead letters."""

from __future__ import annotations

from typing import Annotated, Any

from galenic.twin.service import Artefact, File, Help, In, Result, Run, Table, Value, service

__all__ = ["dead_letters", "import_table", "plan_import", "quality"]

Mapped = Annotated[File, Help("TOML file that says what the columns are.")]
Csv = Annotated[File | None, Help("CSV file; or name a database.")]
Place = Annotated[str, Help("SQLite file or postgresql://user@host/database, on this machine.")]
Named = Annotated[str, Help("Table or view of the database.")]
Key = Annotated[str, Help("Column of it that grows with every row.")]

Source = Annotated[str, Help("Name of a connection; all if left out.")]


@service("Judge the quality of data", stage="data", effect="read")
def quality(source: Source = "", *, run: Run) -> Result:
    """What was mapped, converted, rejected, guessed, late or duplicate, by source and tag, and why.

    While twins run the counts are those of now, else those that were kept last.
    """
    from galenic.clock import to_iso
    from galenic.errors import UnknownName
    from galenic.twin.quality import KINDS, score, summary, total

    records = _records(run)
    if source and source not in records:
        raise UnknownName.among("source", source, records)
    rows, reasons, sources = [], [], []
    for name in sorted(records) if not source else [source]:
        tags = summary(records[name])
        whole = total(tags)
        sources.append((name, _number(score(whole)), *(whole.get(kind, 0) for kind in KINDS)))
        for tag in sorted(tags):
            said = tags[tag]
            numbers = [said["numbers"].get(kind, 0) for kind in KINDS]
            rows.append((name, tag or "(no tag)", _number(said["score"]), *numbers))
            reasons += [
                (
                    name, tag or "(no tag)", one["kind"], one["reason"], one["count"],
                    one["example"], to_iso(one["time"]) if one["time"] else "", one["by"],
                )
                for one in said["reasons"]
            ]  # fmt: skip
    facts = ("kind", "reason", "count", "last example", "last time", "said by")
    return Result(
        "",
        {name: Value(value, "%", "score") for name, value, *_ in sources},
        [
            Table.of_rows("sources", ("source", "score", *KINDS), sources),
            Table.of_rows("tags", ("source", "tag", "score", *KINDS), rows),
            Table.of_rows("reasons", ("source", "tag", *facts), reasons),
        ],
    )


def _records(run: Run) -> dict[str, Any]:
    from galenic.twin.quality import QUALITY

    if run.host.has_runner:
        found: dict[str, Any] = run.runner.quality()
        return found
    return dict(run.store.list(QUALITY))


@service("Plan an import of old data", stage="data", effect="read")
def plan_import(
    mapping: Mapped,
    file: Csv = None,
    database: Place = "",
    table: Named = "",
    key: Key = "",
    *,
    run: Run,
) -> Result:
    """Say what an import would do, and file nothing.

    By tag: samples, converted, guessed, rejected with row and reason, empty cells, duplicates,
    conflicts, what is on record already, gaps and time range. Every cell is one of these.
    """
    from galenic.stages.data.importing import origin_of, planned, report

    with origin_of(mapping, file, database, table, key, run) as origin:
        return report(planned(origin, run.store if run.host.has_store else None, run), "would file")


@service("Import old data", stage="data", effect="act", role="engineer")
def import_table(
    mapping: Mapped,
    reason: Annotated[str, Help("Why; it stands in the ledger.")],
    file: Csv = None,
    database: Place = "",
    table: Named = "",
    key: Key = "",
    *,
    run: Run,
) -> Result:
    """File old data in the history of the site, with the counts of the plan in the ledger.

    The same import again files nothing twice. What contradicts the record is not filed.
    """
    from galenic.clock import SystemClock
    from galenic.stages.data.importing import imported, origin_of, report

    with origin_of(mapping, file, database, table, key, run) as origin:
        return report(imported(origin, run.store, SystemClock(), reason, run), "filed")


@service("List messages that nobody could read", stage="data", effect="read")
def dead_letters(
    source: Source = "", most: Annotated[int, In(lower=1, upper=10_000)] = 100, *, run: Run
) -> Result:
    """Messages that could not be used, newest first: where from, when, why, and their bytes.

    Parameters
    ----------
    most : int
        How many are shown at most.
    """
    from galenic.clock import to_iso
    from galenic.twin.quality import letters

    kept, counted = letters(run.store)
    found = [one for one in kept.items() if not source or one[1].source == source]
    shown = list(reversed(found))[:most]
    rows = [
        (to_iso(one.time), one.source, one.place, one.reason, one.size,
         one.raw[:60].decode(errors="replace"), key)
        for key, one in shown
    ]  # fmt: skip
    names = ("time", "source", "place", "reason", "bytes", "begins with", "key")
    more = f", and {counted} that were only counted" if counted else ""
    return Result(
        f"{len(found)} dead letters{more}",
        {"letters": Value(len(found)), "only_counted": Value(counted)},
        [Table.of_rows("dead letters", names, rows)],
        artefacts=[Artefact(f"{key}.bin", one.raw) for key, one in shown],
    )


def _number(value: float | None) -> Any:
    return "" if value is None else value
