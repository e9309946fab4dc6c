"""EPCIS documents, read from JSON or XML and written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from galenic.clock import to_iso
from galenic.connect.epcis.event import Event, event_of, prefixes
from galenic.connect.epcis.xml import Reader, tree
from galenic.errors import DataError, GalenicError

CONTEXT = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"
VERSION = "2.0"
DEEPEST = 50
QUERY, CAPTURE = "EPCISQueryDocument", "EPCISDocument"


def records_of(data: bytes) -> Iterator[Any]:
    """The events of a document as JSON objects, each with the context it needs; not checked yet.

    Raises DataError where the document itself cannot be read.
    """
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        yield from Reader().events(tree(data))
        return
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        why = str(error)[:200] if isinstance(error, json.JSONDecodeError) else "bytes, not text"
        raise DataError(f"neither JSON nor XML: {why}", where="EPCIS document") from error
    if _depth(content) > DEEPEST:
        raise DataError("nested too deeply", where="EPCIS document", expected=f"at most {DEEPEST}")
    yield from _listed(content)


@dataclass(frozen=True)
class Unusable:
    """An event of a document that cannot be used, as it came, and why."""

    number: int
    raw: bytes
    error: GalenicError


def events_of(data: bytes) -> tuple[list[Event], list[Unusable]]:
    """The events of a document, and those that cannot be used."""
    events: list[Event] = []
    wrong: list[Unusable] = []
    for number, record in enumerate(records_of(data), 1):
        try:
            events.append(event_of(record, where=f"event {number}"))
        except GalenicError as error:
            wrong.append(Unusable(number, json.dumps(record).encode(), error))
    return events, wrong


def document_of(
    events: Iterable[Event], time: int, *, query: str = "", subscription: str = ""
) -> dict[str, Any]:
    """A capture document of events, or the answer to a query of that name, or to its subscriber.

    Contexts of the events are put together; the same prefix for two namespaces stays with the
    events that use it.
    """
    spaces: dict[str, str] = {}
    written = []
    for event in events:
        said = event.to_dict()
        own = said.pop("@context", None)
        new = prefixes(own)
        if all(spaces.get(prefix, space) == space for prefix, space in new.items()):
            spaces |= new
        elif own is not None:
            said = {"@context": own, **said}
        written.append(said)
    body: dict[str, Any] = {"eventList": written}
    if query:
        results: dict[str, Any] = {"queryName": query, "resultsBody": body}
        if subscription:
            results = {"subscriptionID": subscription, **results}
        body = {"queryResults": results}
    return {
        "@context": [CONTEXT, *([spaces] if spaces else [])],
        "type": QUERY if query else CAPTURE,
        "schemaVersion": VERSION,
        "creationDate": to_iso(time),
        "epcisBody": body,
    }


def _listed(content: Any) -> Iterator[Any]:
    """The events in a document, a query document, a list, or an event that stands alone."""
    if isinstance(content, list):
        for one in content:
            yield from _listed(one)
        return
    if not isinstance(content, Mapping):
        raise DataError(f"a {type(content).__name__}", where="EPCIS document", expected="an object")
    kind = content.get("type") or content.get("isA")
    if kind not in (CAPTURE, QUERY):
        yield content
        return
    version = str(content.get("schemaVersion", VERSION))
    if version.partition(".")[0] not in ("1", "2"):
        raise DataError(f"schemaVersion {version!r}", where="EPCIS document", expected="2.0")
    body = content.get("epcisBody")
    if isinstance(body, Mapping) and kind == QUERY:
        results = body.get("queryResults")
        body = results.get("resultsBody") if isinstance(results, Mapping) else None
    found = body.get("eventList", body.get("event")) if isinstance(body, Mapping) else None
    if isinstance(found, Mapping):
        found = [found]
    if not isinstance(found, list):
        raise DataError("no eventList", where="EPCIS document, epcisBody", expected="a list")
    spaces = prefixes(content.get("@context"))
    for one in found:
        yield _with_context(one, spaces)


def _with_context(record: Any, spaces: Mapping[str, str]) -> Any:
    """An event that stands for itself: it keeps those prefixes of the document that it uses."""
    if not isinstance(record, Mapping) or not spaces:
        return record
    own = prefixes(record.get("@context"))
    used = {p: s for p, s in spaces.items() if p not in own and p in _used(record)}
    if not used:
        return record
    before = record.get("@context")
    context = before if isinstance(before, list) else [before] if before is not None else []
    return {**record, "@context": [*context, used]}


def _used(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        names = {str(key).partition(":")[0] for key in value if ":" in str(key)}
        return names.union(*(_used(one) for one in value.values()))
    if isinstance(value, list):
        return set().union(*(_used(one) for one in value))
    return set()


def _depth(content: Any) -> int:
    """How deeply lists and objects are nested, without recursion."""
    deepest, waiting = 0, [(content, 1)]
    while waiting:
        value, depth = waiting.pop()
        deepest = max(deepest, depth)
        inner = value.values() if isinstance(value, Mapping) else value
        if isinstance(value, (Mapping, list)):
            waiting += [(one, depth + 1) for one in inner]
    return deepest


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")
