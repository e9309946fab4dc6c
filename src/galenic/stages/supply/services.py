"""What can be asked about goods: capture of events, queries, where a thing is and whence it
came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from galenic.twin.service import File, Help, In, Result, Run, Table, Value, Values, service

if TYPE_CHECKING:
    from collections.abc import Iterable

    from galenic.connect.epcis.query import Recorded
    from galenic.stages.supply.repository import Repository

__all__ = ["capture", "events", "find", "findings", "goods", "whereabouts"]

Epc = Annotated[str, Help("EPC of a thing, as URN or Digital Link.")]
MOST = 1000


def _repository(run: Run) -> Repository:
    from galenic.clock import SystemClock
    from galenic.stages.supply.repository import repository_of

    return repository_of(run.store, SystemClock())


@service("Capture EPCIS events", stage="supply", effect="act", role="operator")
def capture(
    document: File, behaviour: Literal["rollback", "proceed"] = "rollback", *, run: Run
) -> Result:
    """Take the events of an EPCIS document (JSON-LD 2.0, XML 1.2 or 2.0) into the site's records.

    An event that is known already changes nothing. Sensor reports become samples of the history.
    An error declaration withdraws the samples of the event that it declares wrong.

    Parameters
    ----------
    document : file
        The document.
    behaviour : {"rollback", "proceed"}
        What one wrong event means: nothing is captured, or the rest is.
    """
    captured = _repository(run).capture(document.read(), run.who, behaviour)
    facts = captured.to_dict()
    told = [("refused", text) for text in captured.refused]
    told += [("sensor value refused", text) for text in captured.unusable]
    tables = [Table.of_rows("what was not taken", ("what", "why"), told)] if told else []
    return Result(
        f"captured {len(captured.ids)} events, {captured.duplicates} known before, "
        f"{len(captured.refused)} refused",
        {
            "capture": Value(captured.id),
            "events": Value(len(captured.ids)),
            "duplicates": Value(captured.duplicates),
            "refused": Value(len(captured.refused)),
            "samples": Value(captured.samples),
            "time": Value(facts["createdAt"]),
        },
        tables,
        ok=captured.success,
    )


@service("Query EPCIS events", stage="supply", effect="read")
def events(
    query: Values | None = None,
    most: Annotated[int, In(lower=1, upper=MOST)] = 100,
    *,
    run: Run,
) -> Result:
    """Find events by the parameters of the EPCIS query language.

    Parameters
    ----------
    query : values
        Parameters, as EQ_bizStep=shipping; several values of one are separated by |.
    most : int
        Events shown at most.
    """
    from galenic.connect.epcis.query import Query

    given = {name: [str(value)] for name, value in (query or {}).items()}
    found, more = _repository(run).page(Query.of(given), most)
    text = f"{len(found)} events" + (", there are more" if more else "")
    return Result(text, {"events": Value(len(found))}, [_events(found)])


def _events(found: Iterable[Recorded]) -> Table:
    names = ("time", "type", "action", "step", "disposition", "read point", "id")
    rows = [
        (
            one.event.eventTime, one.event.type, getattr(one.event, "action", ""),
            one.event.bizStep or "", one.event.disposition or "",
            one.event.readPoint.id if one.event.readPoint else "", one.id,
        )
        for one in found
    ]  # fmt: skip
    return Table.of_rows("events", names, rows)


@service("Find things", stage="supply", effect="read")
def find(
    text: Annotated[str, Help("Beginning of a serial, lot, GTIN or SSCC, or of a whole name.")],
    most: Annotated[int, In(lower=1, upper=MOST)] = 100,
    *,
    run: Run,
) -> Result:
    """Things, lots and classes whose serial, lot, number or name begins with a text.

    Parameters
    ----------
    text : str
        As printed on the pack, or scanned; an EPC as URN or Digital Link in any form.
    most : int
        How many are shown at most.
    """
    found = _repository(run).find(text, most + 1)
    more = ", there are more" if len(found) > most else ""
    table = Table.of_rows("found", ("thing or class", "events"), found[:most])
    count = min(len(found), most)
    return Result(f"{count} found{more}", {"found": Value(count)}, [table])


@service("Look at one thing", stage="supply", effect="read")
def goods(thing: Epc, *, run: Run) -> Result:
    """Where a thing is, in what, in what condition; what happened to it, and to what it was in.

    Parameters
    ----------
    thing : str
        Its EPC; of a lot, the lot.
    """
    from galenic.clock import to_iso
    from galenic.connect.epcis.keys import canonical
    from galenic.connect.epcis.state import lot_and_expiry
    from galenic.connect.epcis.uom import said_as

    repository, name = _repository(run), canonical(thing)
    story, lineage = repository.story(name), repository.lineage(name)
    state = story.state
    known = state.things.get(name)
    origins, uses = lineage.origins(name), lineage.uses(name)
    if known is None and not origins and not uses:
        raise repository.unknown(thing)
    values: dict[str, Any] = {"thing": Value(name)}
    if known is not None:
        lot, expiry = lot_and_expiry(state, name)
        ended = f"{to_iso(known.ended)} by {known.how}" if known.ended is not None else ""
        values |= {
            "location": Value(state.location(name)), "read_point": Value(known.read_point),
            "disposition": Value(known.disposition), "step": Value(known.step),
            "conditions": Value(" ".join(sorted(known.conditions))),
            "parent": Value(known.parent), "children": Value(len(known.children)),
            "lot": Value(lot), "expiry": Value(expiry),
            "began": Value(to_iso(known.began) if known.began is not None else ""),
            "ended": Value(ended), "seen": Value(to_iso(known.seen)), "event": Value(known.event),
        }  # fmt: skip
    tables = [_events(r for r, _ in story.events[: -MOST - 1 : -1])]
    if known is not None and known.children:
        tables.append(Table.of_rows("in it", ("thing",), [(one,) for one in known.children]))
    for title, makings in (("made of", origins), ("made into", uses)):
        rows = [
            (to_iso(m.time), side, one, amount, said_as(m.units.get(one, "")))
            for m in makings
            for side, ends in (("input", m.inputs), ("output", m.outputs))
            for one, amount in ends.items()
        ]
        if rows:
            tables.append(
                Table.of_rows(title, ("time", "side", "thing or lot", "amount", "unit"), rows)
            )
    found = [(to_iso(f.time), f.text, f.event) for f in state.findings if f.epc == name]
    if found:
        tables.append(Table.of_rows("contradictions", ("time", "what", "event"), found))
    more = f"the newest {MOST} events" if len(story.events) > MOST else ""
    return Result(more, values, tables)


@service("Count the things at a place", stage="supply", effect="read")
def whereabouts(place: Annotated[str, Help("Id of a location.")], *, run: Run) -> Result:
    """Which things are at a location now, by class; those in a parent are where the parent is."""
    from collections import Counter

    from galenic.connect.epcis.keys import canonical
    from galenic.connect.epcis.uom import said_as

    state = _repository(run).state()
    here = state.at(place)
    kinds = Counter(state.things[epc].kind or "without class" for epc in here)
    stock = [
        (kind, amount, said_as(state.units[kind]))
        for (kind, at), amount in state.stock.items()
        if at == canonical(place)
    ]
    return Result(
        f"{len(here)} things",
        {"things": Value(len(here), "item")},
        [
            Table.of_rows("by class", ("class", "things"), sorted(kinds.items())),
            Table.of_rows("by quantity", ("class", "quantity", "unit"), stock),
        ],
    )


@service("List what contradicts itself", stage="supply", effect="read")
def findings(most: Annotated[int, In(lower=1, upper=MOST)] = 100, *, run: Run) -> Result:
    """Events that cannot all be true: shipped twice, seen after its end, more out than in.

    Parameters
    ----------
    most : int
        How many are shown at most, newest first.
    """
    from galenic.clock import to_iso

    found = _repository(run).state().findings
    rows = [(to_iso(f.time), f.epc, f.text, f.event) for f in reversed(found[-most:])]
    table = Table.of_rows("contradictions", ("time", "thing", "what", "event"), rows)
    return Result(f"{len(found)} contradictions", {"findings": Value(len(found))}, [table])
