"""The ledger: entries chained by hash, so that a change of any of them is found.

An entry is the canonical JSON of ``{index, time, kind, subject, who, reason, detail, previous}``;
its hash is the SHA-256 of those bytes and ``previous`` is the hash of the entry before it. Entry
0 names the site. The entries are also the leaves of a Merkle tree (`galenic.records.merkle`). A
chain or tree alone does not stop somebody who rewrites all of it: keep a `Head` outside the store
and give it to ``verify``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from galenic.identity import content_hash
from galenic.records.codec import canonical, restore
from galenic.signals import Record

ZERO = "0" * 64
GENESIS = "genesis"
JOURNAL = "journal"
SEAL = "seal"
VOLUME = "volume"
COMPACT = "compact"
DISPOSE = "dispose"
KEY = "key"
ARTEFACT = "artefact"
INTENDED = "intended"
OUTCOMES = ("done", "failed", "unknown", "refused")


@dataclass(frozen=True)
class Entry:
    """One line of the ledger."""

    index: int
    time: int
    kind: str
    subject: str
    who: str
    reason: str
    detail: Mapping[str, Any]
    previous: str
    hash: str

    @classmethod
    def from_bytes(cls, body: bytes, digest: str) -> Entry:
        """The entry whose canonical bytes are ``body``."""
        return cls(**restore(body), hash=digest)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with the hash, as exported."""
        return dict(vars(self))


@dataclass(frozen=True)
class Head:
    """The last ledger entry and the last journal row: what an outsider keeps.

    ``root`` is that of the Merkle tree over all entries up to the last one.
    """

    index: int
    hash: str
    offset: int = 0
    journal: str = ZERO
    root: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @property
    def text(self) -> str:
        """One line, to be printed or mailed: ``index:hash:offset:journal:root``."""
        parts = (str(self.index), self.hash, str(self.offset), self.journal, self.root)
        return ":".join(part for part in parts if part)

    @classmethod
    def from_text(cls, text: str) -> Head:
        """The head that `text` wrote; root and journal part may be missing."""
        index, digest, *more = text.strip().split(":")
        if not more:
            return cls(int(index), digest)
        offset, journal, *root = more
        return cls(int(index), digest, int(offset), journal, *root)


def entry_bytes(record: Record, index: int, previous: str) -> bytes:
    """The canonical bytes of ``record`` as entry ``index`` after ``previous``."""
    return canonical(
        {
            "index": index,
            "time": record.time,
            "kind": record.what,
            "subject": record.subject,
            "who": record.who,
            "reason": record.reason,
            "detail": record.detail,
            "previous": previous,
        }
    )


def chain(records: Iterable[Record], index: int = 0, previous: str = ZERO) -> Iterator[Entry]:
    """The entries that ``records`` become after an entry ``index - 1`` with hash ``previous``.

    A replay uses this to reach the head that the recorded ledger has.
    """
    for record in records:
        body = entry_bytes(record, index, previous)
        entry = Entry.from_bytes(body, content_hash(body))
        yield entry
        index, previous = index + 1, entry.hash


def pending_intentions(entries: Iterable[Entry]) -> list[Entry]:
    """Intended writes without an outcome, oldest first.

    An entry of kind *intended* is closed by one of kind *done*, *failed*, *unknown* or *refused*
    with the same ``key`` in its detail (the subject, where there is no key). After a crash these
    are reconciled with the device, never repeated.
    """
    waiting: dict[str, Entry] = {}
    for entry in entries:
        key = str(entry.detail.get("key") or entry.subject)
        if entry.kind == INTENDED:
            waiting[key] = entry
        elif entry.kind in OUTCOMES:
            waiting.pop(key, None)
    return list(waiting.values())
