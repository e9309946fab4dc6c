"""What can be asked about the data of a site: their quality by source, and dead letters."""

from __future__ import annotations

from typing import Annotated, Any

from galenic.twin.service import Artefact, Help, In, Result, Run, Table, Value, service

__all__ = ["dead_letters", "quality"]

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
