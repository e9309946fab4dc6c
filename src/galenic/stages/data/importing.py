"""Legacy files and tables into the history of a site: first a plan, then the same for good."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galenic.clock import Clock, to_iso
from galenic.connect.files import CsvMapping, CsvReader, RowReader
from galenic.connect.files.plan import Found, Plan
from galenic.errors import DataError
from galenic.identity import content_hash
from galenic.records.historian import value_of
from galenic.signals import Record, Sample
from galenic.twin.result import Result, Table, Value
from galenic.twin.run import Run

SOURCE = "import"
BATCH = 10_000
KINDS = (
    "samples", "converted", "guessed", "rejected", "empty", "duplicates", "conflicts", "known",
    "bad",
)  # fmt: skip
SHOWN = 200  # rejected values that a report lists


@dataclass(frozen=True)
class Origin:
    """Where rows come from: a file, or a table of a database."""

    name: str
    reader: RowReader
    hash: str = ""

    def rows(self) -> Iterator[list[Sample]]:
        """The samples of each row."""
        return self.reader.rows()  # type: ignore[attr-defined,no-any-return]


@contextmanager
def origin_of(
    mapping: Any, file: Any, database: str, table: str, key: str, run: Run
) -> Iterator[Origin]:
    """The source that the arguments of a service name; exactly one of file and database."""
    meaning = CsvMapping.from_text(mapping.text(), mapping.name)
    if (file is None) == (not database):
        raise DataError("which source is meant?", expected="a file, or a database with its table")
    if file is not None:
        data = file.read()
        with tempfile.TemporaryDirectory(prefix="galenic-import-") as folder:
            path = Path(folder) / "data.csv"
            path.write_bytes(data)
            reader = CsvReader(path, meaning)
            reader.where = file.name
            yield Origin(file.name, reader, content_hash(data))
        return
    if not run.host.local:
        raise DataError(
            "a database can be named only on the machine of the site",
            hint="run galenic data ... there, or make a connection of kind table in the project",
        )
    from galenic.connect.table.database import Database, DatabaseReader

    if not table or not key:
        raise DataError("a database needs its table and key", hint="--table NAME --key COLUMN")
    source = Database(database)
    source.open()
    try:
        yield Origin(f"{source.place}, table {table}", DatabaseReader(source, table, key, meaning))
    finally:
        source.close()


def planned(origin: Origin, store: Any, run: Run) -> Plan:
    """A pass over the source that files nothing; with a store, what it has already is counted."""
    plan = Plan(origin.reader)
    for batch in _batches(plan.run(origin.rows())):
        if store is not None:
            _unknown(store, batch, plan)
        run.progress(0.5, f"{plan.reader.read} rows")
    return plan


def imported(origin: Origin, store: Any, clock: Clock, reason: str, run: Run) -> Plan:
    """File what is new; counts, reason and source stand in the ledger with the last of it.

    Filing goes in transactions of 10,000 samples. After a crash the same import goes on: what is
    on record already is known by tag, time and value.
    """
    plan = Plan(origin.reader)
    begun = {"source": origin.name, "hash": origin.hash, "state": "begun"}
    with store.transaction() as tx:
        tx.ledger(Record(SOURCE, clock.now(), origin.name, begun, run.who, reason))
    filed = 0
    for batch in _batches(plan.run(origin.rows())):
        new = _unknown(store, batch, plan)
        with store.transaction() as tx:
            tx.samples(new)
        filed += len(new)
        run.progress(0.5, f"{plan.reader.read} rows, {filed} samples filed")
    detail = {**begun, "state": "done", "filed": filed, **facts(plan)}
    with store.transaction() as tx:
        tx.ledger(Record(SOURCE, clock.now(), origin.name, detail, run.who, reason))
    return plan


def _batches(rows: Iterator[list[Sample]]) -> Iterator[list[Sample]]:
    waiting: list[Sample] = []
    for row in rows:
        waiting += row
        if len(waiting) >= BATCH:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _unknown(store: Any, batch: list[Sample], plan: Plan) -> list[Sample]:
    """Samples that are not on record; another value at the same time is a conflict: not filed."""
    ranges: dict[str, tuple[int, int]] = {}
    for s in batch:
        low, high = ranges.get(s.tag, (s.source_time, s.source_time))
        ranges[s.tag] = min(low, s.source_time), max(high, s.source_time)
    there: dict[tuple[str, int], Any] = {}
    for tag, (low, high) in ranges.items():
        found = store.history(tag, low, high + 1)
        times, *parts = (
            found.column(name).to_pylist() for name in ("time", "value", "text", "type")
        )
        there |= {(tag, t): value_of(*v) for t, *v in zip(times, *parts, strict=True)}
    new = []
    for s in batch:
        place = (s.tag, s.source_time)
        if place not in there:
            new.append(s)
        elif _same(there[place], s.value):
            plan.tags[s.tag].known += 1
            plan.tags[s.tag].samples -= 1
        else:
            plan.tags[s.tag].conflicts += 1
            plan.tags[s.tag].samples -= 1
            plan.tags[s.tag].note(f"on record at {to_iso(s.source_time)}: {there[place]!r}")
    return new


def _same(kept: Any, value: Any) -> bool:
    if isinstance(kept, float | int) and isinstance(value, float | int):
        return float(kept) == float(value)
    return bool(kept == value)


def facts(plan: Plan) -> dict[str, Any]:
    """The counts as plain values, for the ledger."""
    return {
        "numbers": {**plan.numbers, "known": sum(f.known for f in plan.tags.values())},
        "unmapped": plan.unmapped,
        "tags": {tag: _row(found, plan) for tag, found in plan.tags.items()},
    }


def _row(found: Found, plan: Plan) -> dict[str, Any]:
    count = plan.reader.tally.tags.get(found.tag)
    numbers: Mapping[str, int] = count.numbers if count is not None else {}
    row: dict[str, Any] = {kind: numbers.get(kind, 0) for kind in KINDS}
    for kind in ("samples", "duplicates", "conflicts", "known", "bad"):
        row[kind] = getattr(found, kind)
    return row | {
        "unit": found.unit, "gaps": found.gaps, "longest_gap": found.longest,
        "first": to_iso(found.first) if found.first is not None else "",
        "last": to_iso(found.last) if found.last is not None else "",
    }  # fmt: skip


def report(plan: Plan, verb: str) -> Result:
    """What was found, as people read it."""
    numbers = {**plan.numbers, "known": sum(f.known for f in plan.tags.values())}
    rows = []
    for tag, found in plan.tags.items():
        row = _row(found, plan)
        span = (found.lowest, found.highest)
        rows.append(
            (
                tag, found.unit, *(row[kind] for kind in KINDS), row["first"], row["last"],
                *("" if v is None else f"{v:.6g}" for v in span), found.gaps,
                f"{found.longest:g}" if found.gaps else "", found.unordered,
            )
        )  # fmt: skip
    names = ("tag", "unit", *KINDS, "first", "last", "lowest", "highest", "gaps",
             "longest gap [s]", "out of order")  # fmt: skip
    reasons: list[tuple[Any, ...]] = [
        (tag or "(row)", kind, words, reason.count, reason.example)
        for kind in ("rejected", "guessed", "converted")
        for tag, words, reason in plan.reader.tally.reasons(kind)
    ]
    reasons += [
        (tag, "conflicts", text, "", "") for tag, f in plan.tags.items() for text in f.examples
    ]
    refused = [(r.row, r.column, r.text, r.reason) for r in plan.reader.rejected[:SHOWN]]
    tables = [Table.of_rows("tags", names, rows)]
    if reasons:
        facts = ("tag", "kind", "reason", "count", "last example")
        tables.append(Table.of_rows("reasons", facts, reasons))
    if refused:
        tables.append(
            Table.of_rows("rejected values", ("row", "column", "text", "reason"), refused)
        )
    if plan.unmapped:
        tables.append(
            Table.of_rows("columns that are not mapped", ("column",), [(c,) for c in plan.unmapped])
        )
    text = (
        f"{verb}: {numbers['samples']} samples of {len(plan.tags)} tags from {numbers['rows']} "
        f"rows; {numbers['rejected']} rejected, {numbers['conflicts']} in conflict, "
        f"{numbers['duplicates'] + numbers['known']} there already, {numbers['guessed']} guessed"
    )
    return Result(text, {k: Value(v) for k, v in numbers.items()}, tables)
