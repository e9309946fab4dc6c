"""What a storage back end must offer. The embedded one is `galenic.records.embedded`.

A store keeps one site: an append-only journal of signals, a hash-chained ledger, documents (the
present state of jobs, people, links, settings), the latest value and the history of each tag,
artefacts by content hash, and checkpoints. Everything done in one transaction is there
afterwards, or nothing of it is. One process writes; any number read meanwhile.
Times are int64 ns UTC. `galenic.records.check.check_store` says in code what holds for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from galenic.records.ledger import Entry, Head
from galenic.signals import Correction, Record, Sample, Signal

if TYPE_CHECKING:
    import pyarrow as pa

    from galenic.records.signing import SignedHead
    from galenic.records.verify import Report, VerifyReport
    from galenic.records.volumes import Volume


@dataclass(frozen=True)
class Artefact:
    """Bytes under the name of their SHA-256, with what they are and how they were made."""

    hash: str
    media_type: str
    created: int
    provenance: Mapping[str, Any]
    data: bytes


@dataclass(frozen=True)
class Checkpoint:
    """A saved state of ``subject`` after all it had applied up to journal row ``position``."""

    subject: str
    position: int
    time: int
    data: bytes


@dataclass(frozen=True)
class Segment:
    """A sealed, immutable file of history: its time range [ns], rows and SHA-256."""

    name: str
    start: int
    stop: int
    rows: int
    last: int
    size: int
    hash: str


class Transaction(Protocol):
    """Everything done with it commits together, when its ``with`` block ends without error."""

    def journal(self, events: Iterable[Signal], received: int) -> range:
        """Append signals as they came; their offsets."""

    def take(self, samples: Iterable[Sample], received: int) -> range:
        """Journal samples as they came and file them, in less time than one by one."""

    def applied(self, subject: str, offsets: Iterable[int], received: int) -> int:
        """Note the order in which a twin applied journal rows; the position of this note."""

    def anchor(self, time: int) -> None:
        """Fix the journal's present hash in the ledger (also done every 1,000 rows)."""

    def ledger(self, entry: Record) -> int:
        """Append to the ledger; the index of the entry."""

    def samples(self, samples: Iterable[Sample]) -> None:
        """File samples in the history and as latest values."""

    def latest(self, samples: Iterable[Sample]) -> None:
        """Set latest values only; one older than the present value changes nothing."""

    def correct(self, correction: Correction, tag: str, time: int) -> None:
        """File a new version of the sample of ``tag`` at ``time``; None withdraws it."""

    def put(self, kind: str, key: str, value: Any) -> None:
        """Set a document."""

    def get(self, kind: str, key: str) -> Any:
        """A document as this transaction has it, or None."""

    def delete(self, kind: str, key: str) -> None:
        """Remove a document, if it is there."""

    def artefact(
        self, data: bytes, media_type: str, provenance: Mapping[str, Any], time: int
    ) -> str:
        """Keep bytes; their SHA-256. New ones get a ledger entry; known ones cost nothing."""

    def checkpoint(self, point: Checkpoint, keep: int = 10) -> None:
        """Save a state and forget all but the last ``keep`` of its subject."""


class Store(Protocol):
    """One site's records."""

    @property
    def site(self) -> str:
        """The site's id, as the genesis entry has it."""

    @property
    def readonly(self) -> bool:
        """Whether this process may only read."""

    def transaction(self) -> AbstractContextManager[Transaction]: ...

    def journal_read(
        self, start: int = 1, stop: int | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Signal]]:
        """Offset and signal of rows start <= offset < stop, as received."""

    def applied_read(self, subject: str, after: int = 0) -> Iterator[tuple[int, Signal]]:
        """Position and signal in the order ``subject`` applied them, after a position."""

    def ledger_read(
        self, start: int = 0, stop: int | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[Entry]:
        """Entries start <= index < stop."""

    def head(self) -> Head: ...

    def verify(
        self, head: Head | Sequence[Head] | None = None, report: Report | None = None
    ) -> VerifyReport: ...

    def sign(self) -> SignedHead | None:
        """Sign the present head now, if anything was written since the last one; the newest."""

    def signed_heads(self, after: int = 0) -> Sequence[SignedHead]:
        """All signed heads after a number, oldest first."""

    def inclusion(self, index: int, size: int) -> Sequence[bytes]:
        """The proof that entry ``index`` is in the tree of the first ``size`` entries."""

    def consistency(self, first: int, second: int) -> Sequence[bytes]:
        """The proof that the first ``second`` entries begin with the first ``first`` ones."""

    def get(self, kind: str, key: str) -> Any:
        """A document, or None."""

    def list(self, kind: str, prefix: str = "") -> dict[str, Any]:
        """Documents of a kind by key, in the order of keys."""

    def latest(self, tags: Iterable[str] | None = None) -> dict[str, Sample]:
        """The newest sample of each tag (of the given ones that have any)."""

    def history(
        self,
        tags: str | Sequence[str],
        start: int,
        stop: int,
        every: int | None = None,
        limit: int | None = None,
        versions: str = "latest",
    ) -> pa.Table:
        """Samples start <= time < stop, or one row per bucket of ``every`` ns."""

    def locate(self, key: str) -> tuple[str, int] | None:
        """Tag and time of the sample with this key, or None."""

    def seal(self, until: int, now: int) -> Segment | None:
        """Move history before ``until`` into a segment; None where there is nothing to move."""

    def segments(self) -> Sequence[Segment]: ...

    def seal_journal(self, until: int, now: int) -> Volume | None:
        """Move a volume of journal rows from before ``until``; None while there is not enough."""

    def volumes(self) -> Sequence[Volume]: ...

    def artefact(self, digest: str) -> Artefact: ...

    def checkpoint(self, subject: str, until: int | None = None) -> Checkpoint | None:
        """The newest intact checkpoint of a subject, of a time [ns] up to ``until``."""

    def close(self) -> None: ...
