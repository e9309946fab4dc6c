"""The journal: every signal as it came, and the order in which each twin applied them.

Rows are appended, never changed. Each row carries a hash chained to the row before it, so one
changed byte is located to its row; the ledger carries the chain's value at every
`ANCHOR_EVERY`-th row, so a rewritten chain is located to the stretch between two anchors.

Many samples of one batch are one row of kind *pack* (`galenic.packs`). It has the offset of its
last sample and stands for as many offsets as it has samples; the chain goes over its bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence

from galenic import packs
from galenic.records.codec import canonical, decode, encode, restore
from galenic.records.ledger import JOURNAL
from galenic.signals import Record, Signal

APPLIED = "applied"
PACK = "pack"
ANCHOR_EVERY = 1000
START = bytes(32)
COLUMNS = '"offset", received, kind, body, hash'

Row = tuple[int, int, str, bytes, bytes]
"""Offset, received time [ns], kind, canonical bytes, chained hash."""


def row_hash(previous: bytes, offset: int, received: int, kind: str, body: bytes) -> bytes:
    """SHA-256 over the previous row's hash and everything this row says."""
    head = previous + struct.pack(">qq", offset, received) + kind.encode() + b"\0"
    return hashlib.sha256(head + body).digest()


def rows_of(
    bodies: Iterable[tuple[str, bytes]], received: int, offset: int, previous: bytes
) -> list[Row]:
    """Journal rows for (kind, bytes) pairs after row ``offset`` with hash ``previous``."""
    rows = []
    for kind, body in bodies:
        offset += span(kind, body)
        previous = row_hash(previous, offset, received, kind, body)
        rows.append((offset, received, kind, body, previous))
    return rows


def signal_bodies(events: Iterable[Signal]) -> Iterator[tuple[str, bytes]]:
    """Kind and canonical bytes of each signal."""
    for event in events:
        yield event.kind, encode(event)


def span(kind: str, body: bytes) -> int:
    """How many offsets a row stands for."""
    return packs.count_of(body) if kind == PACK else 1


def signals(row: Row, start: int, stop: int) -> Iterator[tuple[int, Signal]]:
    """Offset and signal of what a row holds at start <= offset < stop."""
    offset, _, kind, body, _ = row
    if kind == PACK:
        samples = packs.unpack(body).samples()
        for at, sample in enumerate(samples, offset - len(samples) + 1):
            if start <= at < stop:
                yield at, sample
    elif kind != APPLIED:
        yield offset, decode(body)


def singly(row: Row) -> Iterator[Row]:
    """The row, or a row for each sample of a pack; of these the last one has the hash."""
    offset, received, kind, _, digest = row
    if kind != PACK:
        yield row
        return
    for at, sample in signals(row, 0, offset + 1):
        yield at, received, sample.kind, encode(sample), digest if at == offset else b""


def stored_kinds(kinds: Sequence[str] | None) -> list[str] | None:
    """The kinds of rows in which signals of these kinds are."""
    return None if kinds is None else [*kinds, *([PACK] if "sample" in kinds else [])]


def anchors(rows: Sequence[Row]) -> Iterator[Record]:
    """A ledger record for each row at which the chain is anchored."""
    for offset, received, kind, body, digest in rows:
        if offset % ANCHOR_EVERY < span(kind, body):
            yield anchor(offset, received, digest)


def anchor(offset: int, time: int, digest: bytes) -> Record:
    """The ledger record that fixes the journal up to ``offset``."""
    return Record(JOURNAL, time, "journal", {"offset": offset, "hash": digest.hex()})


def applied_body(subject: str, offsets: Iterable[int]) -> bytes:
    """Bytes of the row that says in which order ``subject`` applied journal rows.

    Consecutive offsets are kept as one run [first, last].
    """
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset == runs[-1][1] + 1:
            runs[-1][1] = offset
        else:
            runs.append([offset, offset])
    return canonical({"subject": subject, "runs": runs})


def applied_offsets(body: bytes) -> tuple[str, list[int]]:
    """Subject and journal offsets in the order applied."""
    record = restore(body)
    return record["subject"], [
        offset for first, last in record["runs"] for offset in range(first, last + 1)
    ]
