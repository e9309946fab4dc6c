"""Ledger entries as people look for them: filtered, by pages, side by side, to take away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from galenic.clock import to_iso

STEP = 2000  # entries looked at in one go
FARTHEST = 50_000  # entries looked at for one page
PLAIN = ("kind", "subject", "who", "reason")
COLUMNS = (
    "index",
    "time UTC",
    "kind",
    "subject",
    "who",
    "reason",
    "detail",
    "previous",
    "hash",
)


@dataclass(frozen=True)
class Query:
    """Which entries; what is empty selects all.

    Parameters
    ----------
    kind, subject, who : str
        As they stand in the entry.
    words : str
        Each must occur anywhere in the entry.
    since, until : int [ns], optional
    """

    kind: str = ""
    subject: str = ""
    who: str = ""
    words: str = ""
    since: int | None = None
    until: int | None = None

    def takes(self, entry: Any) -> bool:
        """Whether an entry is selected."""
        named = all(
            not wanted or getattr(entry, name) == wanted
            for name, wanted in (("kind", self.kind), ("subject", self.subject), ("who", self.who))
        )
        return named and self._in_time(entry.time) and self._in_words(entry)

    def _in_time(self, time: int) -> bool:
        after = self.since is None or time >= self.since
        return after and (self.until is None or time <= self.until)

    def _in_words(self, entry: Any) -> bool:
        if not self.words.strip():
            return True
        text = f"{entry.index} {entry.kind} {entry.subject} {entry.who} {entry.reason} "
        text = (text + json.dumps(entry.detail, default=str, ensure_ascii=False)).lower()
        return all(word in text for word in self.words.lower().split())


@dataclass(frozen=True)
class Page:
    """Entries, newest first, and the index below which the search goes on; None at the end."""

    entries: list[Any]
    below: int | None


def page(store: Any, query: Query, below: int | None = None, most: int = 50) -> Page:
    """The newest selected entries of an index below ``below``.

    A search that finds little ends after `FARTHEST` entries, and says where it goes on.
    """
    stop = store.head().index + 1 if below is None else below
    last, found = max(0, stop - FARTHEST), list[Any]()
    kinds = (query.kind,) if query.kind else None
    while stop > last:
        start = max(last, stop - STEP)
        for entry in reversed(list(store.ledger_read(start, stop, kinds))):
            if query.takes(entry):
                found.append(entry)
                if len(found) == most:
                    return Page(found, entry.index or None)
        stop = start
    return Page(found, stop or None)


def entry_of(store: Any, index: int) -> Any:
    """The entry of an index, or None."""
    return next(iter(store.ledger_read(index, index + 1)), None)


def before(store: Any, entry: Any) -> Any:
    """The entry of the same kind and subject before this one, or None."""
    query = Query(kind=entry.kind, subject=entry.subject)
    found = page(store, query, entry.index, 1).entries
    return found[0] if found else None


def differences(one: Any, two: Any) -> list[tuple[str, Any, Any]]:
    """What of two entries differs: its place in the entry, and both values.

    What is only in one of them is None in the other.
    """
    a, b = ({**{name: getattr(e, name) for name in PLAIN}, **flat(e.detail)} for e in (one, two))
    keys = dict.fromkeys([*a, *b])
    return [(key, a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)]


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested facts by their paths.

    Examples
    --------
    >>> flat({"a": {"b": 1}, "c": [2, 3]})
    {'a.b': 1, 'c[0]': 2, 'c[1]': 3}
    """
    if isinstance(value, Mapping) and value:
        rows = {f"{path}.{key}" if path else str(key): one for key, one in value.items()}
    elif isinstance(value, list | tuple) and value:
        rows = {f"{path}[{number}]": one for number, one in enumerate(value)}
    else:
        return {path: value} if path else {}
    found: dict[str, Any] = {}
    for key, one in rows.items():
        found |= flat(one, key)
    return found


def written(store: Any, query: Query, form: str) -> Iterator[str]:
    """Selected entries, oldest first, as lines of JSON ("jsonl") or of CSV ("csv").

    In full: with the hashes, so that the chain can be recomputed from all of them.
    """
    if form == "csv":
        yield _line(COLUMNS)
    kinds = (query.kind,) if query.kind else None
    for entry in store.ledger_read(0, store.head().index + 1, kinds):
        if not query.takes(entry):
            continue
        row = entry.to_dict()
        if form == "jsonl":
            yield json.dumps(row, ensure_ascii=False, default=str) + "\n"
        else:
            detail = json.dumps(row["detail"], ensure_ascii=False, default=str)
            made = {**row, "time UTC": to_iso(entry.time), "detail": detail}
            yield _line([made[name] for name in COLUMNS])


def _line(cells: Any) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
