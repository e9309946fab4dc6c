"""Signed heads: what the ledger and the journal were at a moment, under the site's Ed25519 key.

The key lies in the site's folder, so a signature proves nothing against somebody who can write
there. What does is a head that was published elsewhere in time: `Publication` appends every one
to a file on another volume.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from galenic.clock import SECOND
from galenic.errors import DataError, StorageError
from galenic.records.codec import canonical, restore
from galenic.records.files import storage_errors, sync_folder
from galenic.records.ledger import GENESIS, KEY, Head
from galenic.records.sql import Connection

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "ledger.key"
EVERY = 300 * SECOND
ENTRIES = 1000
SIGNATURE = "signature"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SignedHead:
    """A head with its time [ns] and signature; the n-th of a site.

    ``size`` and ``root`` are those of the Merkle tree over the ledger's entries, ``offset`` and
    ``journal`` the last row of the journal and its chained hash. ``key`` is the public key (hex).
    The signature is over the canonical JSON of all other fields.
    """

    site: str
    number: int
    time: int
    size: int
    root: str
    hash: str
    offset: int
    journal: str
    key: str
    signature: str = ""

    @property
    def head(self) -> Head:
        return Head(self.size - 1, self.hash, self.offset, self.journal, self.root)

    @property
    def body(self) -> bytes:
        """What is signed."""
        return canonical({name: value for name, value in asdict(self).items() if name != SIGNATURE})

    @property
    def line(self) -> str:
        """The head as one line of JSON, as it is published."""
        return canonical(asdict(self)).decode()

    @classmethod
    def from_line(cls, line: str) -> SignedHead:
        """The head that `line` wrote."""
        try:
            facts = json.loads(line)
            found = cls(**facts)
            if found.line != line.strip():
                raise ValueError("not in canonical form")
        except (ValueError, TypeError) as error:
            raise DataError(f"{line[:60]!r} is no signed head: {error}") from error
        return found

    @property
    def is_signed(self) -> bool:
        """Whether the signature fits the key that the head names."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key))
            key.verify(bytes.fromhex(self.signature), self.body)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


class Signer:
    """The private key of a site; made where there is none.

    Parameters
    ----------
    folder : Path
        The site's folder, which has the key in `KEY_FILE`, readable by its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / KEY_FILE
        with storage_errors(path):
            if not path.is_file():
                _make_key(path)
            self._key = _read_key(path)
        self.public = self._key.public_key().public_bytes_raw().hex()

    def sign(self, site: str, number: int, time: int, head: Head) -> SignedHead:
        """The head as signed."""
        plain = SignedHead(
            site,
            number,
            time,
            head.index + 1,
            head.root,
            head.hash,
            head.offset,
            head.journal,
            self.public,
        )
        return SignedHead(**asdict(plain) | {SIGNATURE: self._key.sign(plain.body).hex()})


def _make_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def _read_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"the site's signing key cannot be read: {error}",
            where=str(path),
            hint="restore it; or remove it: a new one is made and entered in the ledger",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StorageError("the site's signing key is no Ed25519 key", where=str(path))
    return key


def recorded_key(connection: Connection) -> str:
    """The public key that the ledger names last; empty where it names none."""
    row = connection.execute(
        "SELECT body FROM ledger WHERE kind IN (?, ?) ORDER BY number DESC LIMIT 1", (KEY, GENESIS)
    ).fetchone()
    return str(restore(row[0])["detail"].get("key", "")) if row else ""


def signed_heads(connection: Connection, after: int = 0) -> list[SignedHead]:
    """All signed heads after a number, in their order."""
    rows = connection.execute(
        "SELECT line FROM heads WHERE number > ? ORDER BY number", (after,)
    ).fetchall()
    return [SignedHead.from_line(line) for (line,) in rows]


def last_signed(connection: Connection) -> SignedHead | None:
    """The newest signed head."""
    row = connection.execute("SELECT line FROM heads ORDER BY number DESC LIMIT 1").fetchone()
    return SignedHead.from_line(row[0]) if row else None


def is_due(last: SignedHead | None, size: int, offset: int, now: int, is_asked: bool) -> bool:
    """Whether enough was written since the last signed head to sign again."""
    if last is None:
        return True
    if (last.size, last.offset) == (size, offset):
        return False
    elapsed = now - last.time
    return is_asked or elapsed >= EVERY or elapsed < 0 or size - last.size >= ENTRIES


class Publication:
    """Appends signed heads to a file, one line of JSON each; best on another volume or machine.

    A volume that is away stops nothing: it is said once, and what is missing is caught up with.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_lost = False

    def published(self) -> int:
        """The number of the last head in the file; 0 if there is none."""
        if not self.path.is_file():
            return 0
        numbers = (_number(line) for line in self.path.read_text(encoding="utf-8").splitlines())
        return max(numbers, default=0)

    def add(self, heads: Iterable[SignedHead]) -> None:
        """Append heads durably."""
        with self.path.open("a+b") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)  # a line that a crash cut short
            for head in heads:
                file.write(head.line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def catch_up(self, connection: Connection) -> None:
        """Append every head of the site that the file has not."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            missing = signed_heads(connection, self.published())
            if missing:
                self.add(missing)
        except (OSError, UnicodeDecodeError) as error:
            if not self._is_lost:
                log.warning("signed heads cannot be published to %s: %s", self.path, error)
            self._is_lost = True
        else:
            if self._is_lost:
                log.warning("signed heads are published to %s again", self.path)
            self._is_lost = False


def _number(line: str) -> int:
    try:
        return SignedHead.from_line(line).number
    except DataError:
        return 0


def read_heads(path: str | Path) -> list[SignedHead]:
    """The heads in a published file; a line that is none, or is wrongly signed, is an error."""
    heads = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            heads.append(SignedHead.from_line(line))
        except DataError as error:
            error.where = f"{path}:{number}"
            raise
        if not heads[-1].is_signed:
            raise DataError("the signature of a head does not fit", where=f"{path}:{number}")
    return heads
