"""Recompute everything that the ledger vouches for, and name what does not fit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from galenic import packs
from galenic.clock import to_iso
from galenic.errors import DataError
from galenic.records import journal, volumes
from galenic.records.codec import canonical
from galenic.records.files import file_hash
from galenic.records.galenic_verify import SignatureCheck
from galenic.records.historian import FOLDER
from galenic.records.ledger import (
    ARTEFACT,
    COMPACT,
    DISPOSE,
    GENESIS,
    JOURNAL,
    KEY,
    SEAL,
    VOLUME,
    ZERO,
    Entry,
    Head,
)
from galenic.records.merkle import Frontier, leaf_hash
from galenic.records.minutes import FOLDER as MINUTES
from galenic.records.signing import SignedHead
from galenic.records.sql import Connection
from galenic.records.tree import STORED

LIMIT = 20
FEW = 5  # rows of a pack that are named one by one
SIGNABLE = ("artefact", "request", "signature")  # entries that the check of signatures reads
TOLD_EVERY = 1000

Report = Callable[[str, int], None]
"""Is told how many entries, rows, segments, artefacts or heads have been looked at."""

DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""A damaged schema can give a value of any type in any place: what then fails is damage."""


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it was recorded.

    ``part`` is ledger, journal, segment, artefact, head or file; ``place`` names the entry, the
    row or rows, or the file; ``index`` is the ledger entry concerned (the one that vouches for
    it, if it is not itself the bad one).
    """

    part: str
    place: str
    reason: str
    index: int | None = None

    def __str__(self) -> str:
        return f"{self.part}: {self.place}: {self.reason}"


@dataclass(frozen=True)
class VerifyReport:
    """What was recomputed and what was found."""

    problems: tuple[Problem, ...]
    entries: int
    rows: int
    segments: int
    artefacts: int
    head: Head
    against: Head | None
    heads: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def first_bad(self) -> Problem | None:
        return self.problems[0] if self.problems else None

    @property
    def text(self) -> str:
        """The report in sentences."""
        counts = (
            f"{self.entries} ledger entries, {self.rows} journal rows, {self.segments} segments "
            f"and {self.artefacts} artefacts recomputed, {self.heads} signed heads checked"
        )
        if self.against is None:
            outside = (
                "no head from outside was given: a cut-off end or a complete rewrite cannot be "
                "seen; keep the head elsewhere and give it next time"
            )
        else:
            outside = f"compared with the outside head at entry {self.against.index}"
        verdict = "intact" if self.ok else "NOT intact:"
        found = [f"  {problem}" for problem in self.problems]
        return "\n".join([f"{verdict} {counts}", *found, outside])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON output."""
        return {
            "ok": self.ok,
            "problems": [dict(vars(problem)) for problem in self.problems],
            "entries": self.entries,
            "rows": self.rows,
            "segments": self.segments,
            "artefacts": self.artefacts,
            "head": self.head.to_dict(),
            "against": self.against.to_dict() if self.against else None,
            "heads": self.heads,
        }


_Expected = dict[int, list[tuple[int | None, str, str]]]
"""Hashes that rows of the journal must have: which ledger entry, or who else, says so, and what."""

OUTSIDE = "the outside head"


class _Enough(Exception):
    """More problems would not help anybody."""


class Verifier:
    """One pass over a consistent view of the file and over the segments."""

    def __init__(
        self,
        connection: Connection,
        folder: Path,
        head: Head | Sequence[Head] | None,
        report: Report | None = None,
    ) -> None:
        self._report = report
        self._connection = connection
        self._do = connection.stream
        self._folder = folder
        outside = [head] if isinstance(head, Head) else list(head or ())
        self._claims: list[tuple[str, Head]] = [(OUTSIDE, one) for one in outside]
        self._against = max(outside, key=lambda one: (one.index, one.offset), default=None)
        self._tree = Frontier()
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._keys: set[str] = set()
        self._signed: list[SignedHead] = []
        self._signatures = SignatureCheck()
        self._problems: list[Problem] = []
        self._anchors: list[tuple[int, int, str]] = []  # entry, offset, hash
        self._sealed: dict[str, Entry] = {}
        self._volumes: list[Entry] = []
        self._disposed: set[str] = set()
        self._kept: dict[str, Entry] = {}
        self._last = (-1, ZERO)
        self._tail = (0, journal.START)
        self._site = ""
        self._counts = {"entries": 0, "rows": 0, "segments": 0, "artefacts": 0, "heads": 0}

    def run(self) -> VerifyReport:
        """Check all parts; stop at `LIMIT` problems."""
        steps: tuple[Callable[[], None], ...] = (
            self._heads,
            self._ledger,
            self._journal,
            self._segments,
            self._artefacts,
            self._file,
        )
        try:
            for step in steps:
                step()
        except _Enough:
            pass
        except (*DAMAGE, self._connection.Error) as error:
            self._problems.append(Problem("file", "the database", f"cannot be read: {error}"))
        head = Head(*self._last, self._tail[0], self._tail[1].hex(), self._tree.root.hex())
        return VerifyReport(tuple(self._problems), **self._counts, head=head, against=self._against)

    def _count(self, part: str, by: int = 1) -> None:
        self._counts[part] += by
        if self._report is not None and self._counts[part] % TOLD_EVERY < by:
            self._report(part, self._counts[part])

    def _bad(self, part: str, place: str, reason: str, index: int | None = None) -> None:
        self._problems.append(Problem(part, place, reason, index))
        if len(self._problems) >= LIMIT:
            raise _Enough

    def _has_bad(self, part: str) -> bool:
        return any(problem.part == part for problem in self._problems)

    def _columns(self, listed: str) -> str:
        names = ("kind", "subject", "body", "hash")
        readable = {name: self._connection.as_bytes(name) for name in names}
        return "SELECT " + listed.format(**readable)

    def _ledger(self) -> None:
        rows = self._do(
            self._columns("number, time, {kind}, {subject}, {body}, {hash}")
            + " FROM ledger ORDER BY number"
        )
        for number, time, kind, subject, body, digest in rows:
            self._count("entries")
            # damage can show as NULL
            self._entry(number, time, _raw(kind), _raw(subject), body or b"", digest or b"")
        if self._counts["entries"] == 0:
            self._bad("ledger", "entry 0", "the genesis entry is missing", 0)
        for level, position in sorted(self._nodes):
            self._bad("ledger", f"node {position} of level {level}", "is no node of the tree")
        self._beyond_ledger()
        self._signers()

    def _entry(
        self, number: int, time: Any, kind: bytes, subject: bytes, body: bytes, digest: bytes
    ) -> None:
        previous_index, previous_hash = self._last
        if number != previous_index + 1:
            missing = previous_index + 1
            self._bad("ledger", f"entry {missing}", f"missing: entry {number} follows", missing)
        elif reason := _entry_fault(number, time, kind, subject, body, digest):
            self._bad("ledger", _entry_place(number, time), reason, number)
        else:
            entry = Entry.from_bytes(body, digest.hex())
            if entry.previous != previous_hash:
                self._link(entry, previous_index)
            self._note(entry)
            facts = json.loads(body) if entry.kind in SIGNABLE else vars(entry)
            fault = self._signatures.fault(number, facts, digest.hex())
            if fault:
                self._bad("signature", f"entry {number}", fault, number)
        self._last = (number, digest.hex())
        self._grow(body)
        for who, head in self._claims:
            if number == head.index:
                self._claimed(number, digest.hex(), who, head)

    def _grow(self, body: bytes) -> None:
        """Append to the tree, and compare the nodes that this completes with those kept."""
        position = self._tree.size
        self._tree, done = self._tree.append(leaf_hash(body))
        for level, node in enumerate(done, 1):
            kept = self._nodes.pop((level, position >> level), None)
            if level >= STORED and kept != node:
                place = f"node {position >> level} of level {level}"
                self._bad("ledger", place, "is not the hash of its entries", position)

    def _claimed(self, number: int, digest: str, who: str, head: Head) -> None:
        if digest != head.hash:
            self._bad("head", f"entry {number}", f"is not the entry {who} names", number)
        elif head.root and self._tree.root.hex() != head.root and not self._has_bad("ledger"):
            self._bad("head", f"entries 0 to {number}", f"do not give the root {who} names", number)

    def _heads(self) -> None:
        """Read the signed heads and the kept nodes; what they say is compared later."""
        for level, position, node in self._do("SELECT level, position, hash FROM nodes"):
            self._nodes[level, position] = node
        for number, line in self._do("SELECT number, line FROM heads ORDER BY number"):
            self._count("heads")
            place = f"signed head {number}"
            try:
                head = SignedHead.from_line(line)
            except DataError as error:
                self._bad("head", place, f"cannot be read: {error.found}")
                continue
            if head.number != number or number != self._counts["heads"]:
                self._bad("head", place, f"is not number {self._counts['heads']}, as it should be")
            elif not head.is_signed:
                self._bad("head", place, "its signature does not fit")
            else:
                self._signed.append(head)
                self._claims.append((place, head.head))

    def _signers(self) -> None:
        for head in self._signed:
            place = f"signed head {head.number}"
            if head.site != self._site:
                self._bad("head", place, f"is of the site {head.site!r}")
            elif head.key not in self._keys:
                self._bad("head", place, "is signed with a key that the ledger does not name")

    def _link(self, entry: Entry, previous: int) -> None:
        already = any(problem.index == previous for problem in self._problems)
        if entry.index == 0:
            self._bad("ledger", "entry 0", "the genesis entry follows another one", 0)
        elif not already:
            self._bad(
                "ledger",
                f"entry {previous}",
                f"is not the one that entry {entry.index} was chained to: replaced or reordered",
                previous,
            )

    def _note(self, entry: Entry) -> None:
        if entry.index == 0:
            self._site = entry.subject
        if entry.index == 0 and entry.kind != GENESIS:
            self._bad("ledger", "entry 0", f"is of kind {entry.kind!r}, not {GENESIS!r}", 0)
        if entry.kind == JOURNAL:
            self._anchors.append((entry.index, entry.detail["offset"], entry.detail["hash"]))
        elif entry.kind in (GENESIS, KEY):
            self._keys.add(str(entry.detail.get("key", "")))
        elif entry.kind == SEAL:
            self._sealed[entry.subject] = entry
        elif entry.kind == COMPACT:
            for one in entry.detail["replaces"]:
                self._lawfully_gone(entry, one["name"], one["hash"])
            self._sealed[entry.subject] = entry
        elif entry.kind == DISPOSE:
            self._disposed_of(entry)
        elif entry.kind == VOLUME:
            self._volumes.append(entry)
        elif entry.kind == ARTEFACT:
            self._kept[entry.subject] = entry

    def _disposed_of(self, entry: Entry) -> None:
        if entry.detail["what"] == "volume":
            self._disposed.add(entry.subject)
            return
        self._lawfully_gone(entry, entry.subject, entry.detail["hash"])
        by = entry.detail["by"]
        if by is not None:
            detail = {key: value for key, value in by.items() if key != "name"}
            self._sealed[by["name"]] = replace(entry, subject=by["name"], detail=detail)

    def _lawfully_gone(self, entry: Entry, name: str, digest: str) -> None:
        """A segment that an entry replaced or disposed of need not be there any more."""
        sealed = self._sealed.pop(name, None)
        if sealed is None or sealed.detail["hash"] != digest:
            place = f"entry {entry.index}"
            self._bad("ledger", place, f"takes away {name}, which was not there", entry.index)

    def _beyond_ledger(self) -> None:
        for who, head in self._claims:
            if head.index > self._last[0]:
                missing = self._last[0] + 1
                self._bad(
                    "head",
                    f"entry {missing}",
                    f"the end is cut off: {who} names entry {head.index}",
                    missing,
                )

    def _journal(self) -> None:
        expected: _Expected = {}
        for index, offset, digest in self._anchors:
            expected.setdefault(offset, []).append((index, f"ledger entry {index}", digest))
        for who, head in self._claims:
            if head.offset:
                expected.setdefault(head.offset, []).append((None, who, head.journal))
        self._tail = (0, journal.START)
        for entry in self._volumes:
            self._volume(entry, expected)
        self._rows(expected)
        offset = self._tail[0]
        for missing, claims in sorted(expected.items()):
            if missing > offset:
                place = f"rows {offset + 1} to {missing}"
                self._bad("journal", place, "missing: the end is cut off", claims[0][0])

    def _rows(self, expected: _Expected) -> None:
        """The rows in the database, which follow those of the volumes."""
        offset, previous = self._tail
        fixed = offset
        for found, *said, digest in self._do(
            self._columns('"offset", received, {kind}, {body}, {hash}')
            + ' FROM journal ORDER BY "offset"'
        ):
            begins = found + 1 - self._span(said)
            self._count("rows", found + 1 - begins)
            if begins == offset + 1:
                self._row(previous, found, said, digest)
            elif begins <= offset:
                self._bad("journal", _rows_place(begins, found), "is there twice")
                if found <= offset:
                    continue
            else:
                first, last = offset + 1, begins - 1
                place = f"row {first}" if first == last else f"rows {first} to {last}"
                self._bad("journal", place, "missing")
            offset, previous = found, digest or b""
            if found in expected:
                self._fixed(found, previous, fixed, expected.pop(found))
                fixed = found
        self._tail = (offset, previous)

    @staticmethod
    def _span(said: list[Any]) -> int:
        """How many offsets a row stands for; 1 where it is too damaged to say."""
        with contextlib.suppress(*DAMAGE):
            return journal.span(_raw(said[1]).decode(), said[2])
        return 1

    def _volume(self, entry: Entry, expected: _Expected) -> None:
        """A volume's file, its place in the journal, and the chain through its rows."""
        volume = volumes.Volume.of(entry)
        path = self._folder / volumes.FOLDER / volume.name
        place = f"{volumes.FOLDER}/{volume.name}"
        offset, previous = self._tail
        if (volume.first, volume.before) != (offset + 1, previous.hex()):
            self._bad("journal", place, f"does not follow row {offset}", entry.index)
        if volume.name in self._disposed:
            pass  # its hash, and the chain's value before and after, remain in the ledger
        elif not path.is_file():
            self._bad("journal", place, "the file is missing", entry.index)
        elif file_hash(path) != volume.hash:
            self._bad("journal", place, "the file's bytes do not give its hash", entry.index)
        else:
            self._through(volume, place, entry.index, expected)
        self._tail = (volume.last, bytes.fromhex(volume.after))
        for at in [at for at in expected if at <= volume.last]:
            del expected[at]

    def _through(self, volume: volumes.Volume, place: str, index: int, expected: _Expected) -> None:
        fixed, digest = volume.first - 1, b""
        reader = volumes.Volumes(self._folder)
        for found, _, kind, body, digest in reader.chained(volume, volume.first, volume.last + 1):
            self._count("rows", journal.span(kind, body))
            if found in expected:
                self._fixed(found, digest, fixed, expected.pop(found))
                fixed = found
        if digest.hex() != volume.after:
            self._bad("journal", place, "its rows do not give the chain's value", index)

    def _row(self, previous: bytes, offset: int, said: list[Any], digest: bytes | None) -> None:
        try:
            received, kind, body = said
            right = journal.row_hash(previous, offset, received, _raw(kind).decode(), body)
        except (struct.error, TypeError, ValueError, AttributeError) as error:
            self._bad("journal", f"row {offset}", f"cannot be read: {error}")
            return
        if right != digest:
            place, reason = f"row {offset}", "its contents do not give its hash"
            if _raw(kind) == journal.PACK.encode():
                place, reason = _in_pack(offset, body)
            self._bad("journal", place, reason)

    def _fixed(
        self, offset: int, digest: bytes, fixed: int, claims: list[tuple[int | None, str, str]]
    ) -> None:
        for index, who, expected in claims:
            if digest.hex() != expected and not self._has_bad("journal"):
                place = f"rows {fixed + 1} to {offset}"
                self._bad("journal", place, f"rewritten: {who} has another hash", index)

    def _segments(self) -> None:
        table = {row[0]: row for row in self._do("SELECT name, rows, hash FROM segments")}
        for name, entry in self._sealed.items():
            self._count("segments")
            place = f"{FOLDER}/{name}"
            path = self._folder / FOLDER / name
            if table.pop(name, (name, entry.detail["rows"], "")) != (
                name,
                entry.detail["rows"],
                entry.detail["hash"],
            ):
                self._bad("segment", place, "its registration differs from the ledger", entry.index)
            elif not path.is_file():
                self._bad("segment", place, "the file is missing", entry.index)
            elif file_hash(path) != entry.detail["hash"]:
                self._bad("segment", place, "the file's bytes do not give its hash", entry.index)
            self._minutes(name, entry)
        for name in table:
            self._bad("segment", f"{FOLDER}/{name}", "registered without a ledger entry")

    def _minutes(self, name: str, entry: Entry) -> None:
        """What is kept of a segment's minutes; it may be missing, and is then made anew."""
        path = self._folder / MINUTES / name
        if path.is_file() and entry.detail.get("minutes") not in (None, file_hash(path)):
            place = f"{MINUTES}/{name}"
            self._bad("segment", place, "the file's bytes do not give its hash", entry.index)

    def _artefacts(self) -> None:
        found = set()
        for digest, media, facts, data in self._do(
            "SELECT hash, media_type, provenance, data FROM artefacts"
        ):
            self._count("artefacts")
            found.add(digest)
            entry = self._kept.get(digest)
            if entry is None:
                self._bad("artefact", str(digest), "kept without a ledger entry")
            elif not isinstance(data, bytes) or hashlib.sha256(data).hexdigest() != digest:
                self._bad("artefact", digest, "its bytes do not give its hash", entry.index)
            elif (media, facts) != _said(entry):
                self._bad("artefact", digest, "its origin is not as recorded", entry.index)
        for digest, entry in self._kept.items():
            if digest not in found:
                self._bad("artefact", digest, "missing", entry.index)

    def _file(self) -> None:
        for line in self._connection.faults(LIMIT):
            self._bad("file", "the database", line)


def _rows_place(first: int, last: int) -> str:
    return f"row {last}" if first == last else f"rows {first} to {last}"


def _in_pack(offset: int, body: bytes) -> tuple[str, str]:
    """Where in a pack that was changed, as far as the marks of its rows tell, and why."""
    try:
        first = offset + 1 - journal.span(journal.PACK, body)
    except ValueError:
        return f"row {offset}", "is a pack that cannot be read"
    rows = packs.damaged_rows(body)
    if rows is None or len(rows) > FEW:
        return _rows_place(first, offset), "are a pack whose contents do not give its hash"
    named = ", ".join(str(first + row) for row in rows)
    return f"row {named}" if len(rows) == 1 else f"rows {named}", "contents do not give the hash"


def _raw(text: Any) -> Any:
    """Text as bytes, where the database gave valid text; anything else as it is."""
    return text.encode() if isinstance(text, str) else text


def _entry_place(number: int, time: Any) -> str:
    try:
        return f"entry {number} of {to_iso(time)}"
    except (TypeError, ValueError, OverflowError, OSError):
        return f"entry {number}"


def _entry_fault(
    number: int, time: Any, kind: bytes, subject: bytes, body: bytes, digest: bytes
) -> str:
    """What is wrong inside one entry, or ''."""
    if hashlib.sha256(body).digest() != digest:
        return "its contents do not give its hash"
    record = json.loads(body)
    columns: Iterator[tuple[str, Any, Any]] = iter(
        [
            ("index", number, record["index"]),
            ("time", time, record["time"]),
            ("kind", kind, record["kind"].encode()),
            ("subject", subject, record["subject"].encode()),
        ]
    )
    for name, listed, said in columns:
        if listed != said:
            return f"its listed {name} {listed!r} is not the recorded {said!r}"
    return ""


def _said(entry: Entry) -> tuple[Any, bytes]:
    return entry.detail["media_type"], canonical(entry.detail["provenance"])
