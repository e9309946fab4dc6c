"""Legal holds: what nobody and no rule may dispose of, by whose word, why, and until when."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from galenic.errors import DataError, UnknownName
from galenic.records.store import Store, Transaction
from galenic.signals import Record

HOLD, RELEASE = "hold", "release"


@dataclass(frozen=True)
class Hold:
    """Samples of tags that fit a pattern are kept; ``until`` [ns] is 0 where it has no end."""

    id: str
    tags: tuple[str, ...]
    who: str
    why: str
    since: int
    until: int = 0

    def is_on(self, now: int) -> bool:
        """Whether it is in force."""
        return not self.until or now < self.until

    def keeps(self, tag: str) -> bool:
        """Whether it is about a tag."""
        return any(fnmatchcase(tag, one) for one in self.tags)


def hold(
    tx: Transaction, tags: Sequence[str], who: str, why: str, now: int, until: int = 0
) -> Hold:
    """Begin a hold, with its ledger entry."""
    if not who.strip() or not why.strip():
        raise DataError("a hold needs a name and a reason", expected="who and why")
    if not tags or not all(tags):
        raise DataError(f"a hold of {list(tags)!r}", expected="tags, or patterns of tags")
    if until and until <= now:
        raise DataError("the hold would end before it begins", expected="an end in the future")
    new = Hold(f"{now:016x}-{secrets.token_hex(2)}", tuple(tags), who, why, now, until)
    tx.put(HOLD, new.id, {**vars(new), "tags": list(tags)})
    tx.ledger(Record(HOLD, now, new.id, {"tags": list(tags), "until": until}, who, why))
    return new


def release(tx: Transaction, store: Store, id: str, who: str, why: str, now: int) -> Hold:
    """End a hold, with its ledger entry."""
    if not who.strip() or not why.strip():
        raise DataError("a release needs a name and a reason", expected="who and why")
    known = {one.id: one for one in holds(store)}
    if id not in known:
        raise UnknownName.among("hold", id, known)
    tx.delete(HOLD, id)
    tx.ledger(Record(RELEASE, now, id, {"tags": list(known[id].tags)}, who, why))
    return known[id]


def holds(store: Store) -> list[Hold]:
    """All holds that were not released, oldest first."""
    return [
        Hold(**{**record, "tags": tuple(record["tags"])}) for record in store.list(HOLD).values()
    ]
