"""Electronic signatures: who signed which version of what, when, what for, and how they proved it.

A signature is a ledger entry of kind *signature*. It names the record by type, id, version and the
SHA-256 of its canonical bytes, so it fits that record alone; see docs/explanation/part-11.md. What
can be signed:

``entry``       a ledger entry by its index: its hash stands for it and all entries before
``artefact``    bytes by their SHA-256: a result, a report, a model, a table
``definition``  the definition that a twin runs on, by the twin's id; its version is its identity
``request``     a call of a service that waits for signatures
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from galenic.clock import SECOND, to_iso
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.records.ledger import Entry
from galenic.records.people import People, Person
from galenic.records.policy import BY_ANOTHER, MEANINGS
from galenic.records.sessions import SignedIn, minutes
from galenic.records.store import Store, Transaction
from galenic.signals import Record

SIGNATURE = "signature"
TYPES = ("entry", "artefact", "definition", "request")
FRESH = 5.0  # minutes for which a new authentication at an OpenID provider is good for signing


@dataclass(frozen=True)
class Signable:
    """One version of a record that can be signed.

    ``author`` made it; empty where no person did. ``sha256`` is that of its canonical bytes.
    """

    type: str
    id: str
    version: str
    sha256: str
    author: str = ""
    text: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return dict(vars(self))

    @property
    def named(self) -> dict[str, str]:
        """What a signature says of it."""
        return {key: getattr(self, key) for key in ("type", "id", "version", "sha256")}


@dataclass(frozen=True)
class Proof:
    """What a person gives when they sign.

    Parameters
    ----------
    meaning : str
        authorship, review, approval or responsibility.
    reason : str
    token : str
        The person's sign-in.
    password : str
        Empty for people who sign in with OpenID Connect.
    name : str
        Needed at the first signature of a continuous session.
    """

    meaning: str
    reason: str
    token: str
    password: str = ""
    name: str = ""

    def __repr__(self) -> str:
        return f"Proof({self.meaning!r}, {self.reason!r})"  # no secret, wherever it is printed


@dataclass(frozen=True)
class Signed:
    """A signature as it stands in the ledger, at ``entry``."""

    entry: int
    record: Mapping[str, str]
    signer: str
    printed: str
    time: str
    offset: str
    meaning: str
    reason: str
    method: str
    session: str

    @classmethod
    def of(cls, entry: Entry) -> Signed:
        """The signature in an entry."""
        return cls(entry=entry.index, **entry.detail)

    @property
    def text(self) -> str:
        """One line, as it is shown with the record everywhere."""
        return (
            f"{self.meaning}: {self.printed} ({self.signer}), {self.time} (local {self.offset}), "
            f"by {self.method}: {self.reason}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the line."""
        return {**vars(self), "record": dict(self.record), "text": self.text}


class Signatures:
    """Makes signatures, and finds those of a record.

    Parameters
    ----------
    store : Store
    people : People
    """

    def __init__(self, store: Store, people: People) -> None:
        self._store = store
        self._people = people

    def of(self, type: str, id: str) -> list[Signed]:
        """The signatures of a record, of all its versions, oldest first; read from the ledger."""
        kept: list[int] = self._store.get(SIGNATURE, f"{type}/{id}") or []
        found = (next(iter(self._store.ledger_read(index, index + 1)), None) for index in kept)
        return [Signed.of(entry) for entry in found if entry is not None]

    def standing(self, record: Signable) -> list[Signed]:
        """The signatures that hold for this version of a record."""
        return [one for one in self.of(record.type, record.id) if one.record == record.named]

    def refuse(self, record: Signable, proof: Proof, signer: Person, seen: str) -> None:
        """Raise what speaks against a signature, whatever the password.

        Parameters
        ----------
        seen : str
            The version that the signer saw; another one is not signed.
        """
        if proof.meaning not in MEANINGS:
            raise UnknownName.among("meaning of a signature", proof.meaning, MEANINGS)
        if not proof.reason.strip():
            raise DataError("a signature needs its reason", where="reason", expected="why")
        if seen != record.version:
            raise DataError(
                f"version {seen[:12]!r} is not the present one of {record.type} {record.id}",
                expected=f"version {record.version[:12]}",
                hint="look at the record as it is now",
            )
        if proof.meaning in BY_ANOTHER and signer.name == record.author:
            raise NotPermitted(
                f"the author of a record does not sign its {proof.meaning}",
                expected="a second person",
            )
        for one in self.standing(record):
            if one.signer == signer.name and one.meaning == proof.meaning:
                raise DataError(f"{signer.name!r} has signed this as {proof.meaning} already")

    def authenticate(self, proof: Proof, origin: str = "") -> tuple[Person, SignedIn, str]:
        """The signer, the sign-in, and how they proved who they are.

        The first signature of a continuous session needs name and password, later ones the
        password; after a break it begins anew. Wrong ones count as wrong sign-ins.
        """
        person, session = self._people.signed_in(proof.token)
        now = self._people.now
        if session.method == "oidc":
            if session.fresh <= now:
                raise NotPermitted(
                    "sign in anew at the provider before you sign",
                    hint="open /api/oidc/start?purpose=signature",
                )
            return person, session, "new authentication at the OpenID provider"
        is_first = session.signing <= now
        if (is_first or proof.name) and proof.name != person.name:
            raise NotPermitted(
                "the first signature of a session needs the signer's own name and the password"
            )
        self._people.check_password(person.name, proof.password, origin, SIGNATURE)
        return person, session, "name and password" if is_first else "password"

    def enter(
        self,
        tx: Transaction,
        record: Signable,
        proof: Proof,
        by: tuple[Person, SignedIn, str],
    ) -> Signed:
        """The signature, in the ledger and found by its record, in the caller's transaction."""
        person, session, method = by
        now = self._people.now
        detail: dict[str, Any] = {
            "record": record.named,
            "signer": person.name,
            "printed": person.full_name,
            "time": to_iso(now),
            "offset": local_offset(now),
            "meaning": proof.meaning,
            "reason": proof.reason.strip(),
            "method": method,
            "session": session.id,
        }
        subject = f"{record.type} {record.id}"
        index = tx.ledger(
            Record(SIGNATURE, now, subject, detail, person.name, proof.reason.strip())
        )
        key = f"{record.type}/{record.id}"
        tx.put(SIGNATURE, key, [*(tx.get(SIGNATURE, key) or []), index])
        until = now + minutes(self._people.rules.signing_minutes)
        self._people.sessions.note(tx, proof.token, signing=until, fresh=0)
        return Signed(index, **detail)


def local_offset(now: int) -> str:
    """The site's offset from UTC at a time [ns].

    Examples
    --------
    >>> len(local_offset(0))
    6
    """
    text = datetime.fromtimestamp(now // SECOND).astimezone().strftime("%z")
    return f"{text[:3]}:{text[3:5]}"
