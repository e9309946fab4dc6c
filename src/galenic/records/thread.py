"""The digital thread: a graph of artefacts, by content hash.

A link says that ``source`` was made from, checks, replaces or otherwise depends on ``target``.
Because names are hashes of contents, a link can never silently point at something else.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from galenic.errors import DataError
from galenic.records.store import Store, Transaction
from galenic.signals import Record

LINK, BACK = "link", "link-back"


@dataclass(frozen=True)
class Link:
    """``source`` stands in ``relation`` ("made from", "validates", ...) to ``target``."""

    source: str
    relation: str
    target: str
    time: int
    who: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


def link(tx: Transaction, new: Link) -> None:
    """Record a link with its ledger entry; the same link again changes nothing."""
    for name in (new.source, new.target):
        if len(name) != 64 or not set(name) <= set(string.hexdigits):
            raise DataError(f"{name!r} is no artefact", expected="a SHA-256 as 64 hex digits")
    if new.source == new.target:
        raise DataError("an artefact cannot be linked to itself", where=new.source)
    key = f"{new.source}|{new.relation}|{new.target}"
    if tx.get(LINK, key) is None:
        tx.put(LINK, key, vars(new))
        tx.put(BACK, f"{new.target}|{new.relation}|{new.source}", key)
        detail = {"relation": new.relation, "target": new.target, **new.detail}
        tx.ledger(Record(LINK, new.time, new.source, detail, new.who))


def links_from(store: Store, artefact: str) -> list[Link]:
    """What the artefact depends on, directly."""
    return [Link(**record) for record in store.list(LINK, f"{artefact}|").values()]


def links_to(store: Store, artefact: str) -> list[Link]:
    """What depends on the artefact, directly."""
    keys = store.list(BACK, f"{artefact}|").values()
    return [Link(**store.get(LINK, key)) for key in keys]


def trace(store: Store, artefact: str) -> list[Link]:
    """Every link on the way back from the artefact to its first origins, nearest first."""
    found: list[Link] = []
    seen, waiting = {artefact}, [artefact]
    while waiting:
        for one in links_from(store, waiting.pop(0)):
            found.append(one)
            if one.target not in seen:
                seen.add(one.target)
                waiting.append(one.target)
    return found


def impact(store: Store, artefact: str) -> list[str]:
    """Every artefact that depends on this one, directly or not, nearest first."""
    found: list[str] = []
    waiting = [artefact]
    while waiting:
        for one in links_to(store, waiting.pop(0)):
            if one.source not in found and one.source != artefact:
                found.append(one.source)
                waiting.append(one.source)
    return found
