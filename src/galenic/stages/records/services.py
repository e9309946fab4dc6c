"""Legal holds on a site's records."""

from __future__ import annotations

from typing import Annotated

from galenic.twin.service import Column, Help, Moment, Result, Run, Table, service

Tags = Annotated[tuple[str, ...], Help("Names of tags, or patterns with *, ? and [...].")]
Why = Annotated[str, Help("Why; it stands in the ledger.")]


@service("List legal holds", stage="records", effect="read")
def holds(*, run: Run) -> Result:
    """List what no retention rule may dispose of, by whose word and why."""
    from galenic.clock import to_iso
    from galenic.records.holds import holds as held

    rows = [
        (one.id, ", ".join(one.tags), one.who, one.why, to_iso(one.since),
         to_iso(one.until) if one.until else "released")
        for one in held(run.store)
    ]  # fmt: skip
    names = ("hold", "tags", "who", "why", "since", "until")
    columns = [Column(name, [row[i] for row in rows]) for i, name in enumerate(names)]
    return Result(f"{len(rows)} holds", tables=[Table("holds", tuple(columns))] if rows else [])


@service("Begin a legal hold", stage="records", effect="act", role="quality")
def hold(tags: Tags, reason: Why, until: Moment | None = None, *, run: Run) -> Result:
    """Keep samples of tags, and the journal, whatever the retention rules say.

    Parameters
    ----------
    until : moment
        When it ends by itself; it stays until it is released, if left out.
    """
    from galenic.clock import SystemClock
    from galenic.records.holds import hold as begin

    with run.store.transaction() as tx:
        new = begin(tx, tags, run.who, reason, SystemClock().now(), int(until or 0))
    return Result(f"hold {new.id} on {', '.join(new.tags)}")


@service("Release a legal hold", stage="records", effect="act", role="quality")
def release(id: str, reason: Why, *, run: Run) -> Result:
    """End a hold; retention rules apply again.

    Parameters
    ----------
    id : str
        As the list of holds has it.
    """
    from galenic.clock import SystemClock
    from galenic.records.holds import release as end

    with run.store.transaction() as tx:
        gone = end(tx, run.store, id, run.who, reason, SystemClock().now())
    return Result(f"hold {gone.id} on {', '.join(gone.tags)} is released")
