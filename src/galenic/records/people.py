"""The people of a site: names, grants, passwords, sign-ins and tokens.

Passwords and tokens are kept only as hashes. Every change of a user and every sign-in, also a
refused one, is a ledger entry. A name is never given twice, and nobody is ever deleted: a signature
stays that of one person.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from galenic.clock import Clock, SystemClock
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.records.attempts import Attempts, Incident
from galenic.records.grants import GRANTS, ROLES, gives, known_grants
from galenic.records.passwords import Passwords
from galenic.records.policy import DAY, AccessRules
from galenic.records.sessions import SIGN_IN, Sessions, SignedIn, minutes
from galenic.records.store import Store, Transaction
from galenic.records.tokens import Tokens
from galenic.signals import Record

if TYPE_CHECKING:
    import argon2

__all__ = ["GRANTS", "PERSON", "ROLES", "SIGN_IN", "People", "Person"]

PERSON, BREAK_GLASS = "person", "break-glass"
FIRST_RUN_ROLES = ("engineer", "quality", "administrator")
WRONG = "the name or the password is wrong"


class PasswordExpired(NotPermitted):
    """The password is right, and has to be changed before it opens anything."""


@dataclass(frozen=True)
class Person:
    """A user as the others may see them.

    ``roles`` are grants (`galenic.records.grants`). ``subject`` names who they are at an OpenID
    provider; who has none signs in with a password. ``service`` accounts are for programs and
    have tokens alone.
    """

    name: str
    full_name: str
    roles: tuple[str, ...]
    active: bool
    created: int
    break_glass: bool = False
    subject: str = ""
    service: bool = False
    password_set: int = 0
    must_change: bool = False

    def may(self, role: str, twin: str | None = None) -> bool:
        """Whether one of this person's grants includes ``role`` for a twin, or everywhere."""
        return gives(self.roles, role, twin)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


class People:
    """The users of one site.

    Parameters
    ----------
    store : Store
        Where they are kept.
    clock : Clock, optional
        For expiry and for the time of ledger entries.
    hasher : argon2.PasswordHasher, optional
        Other costs than the library's defaults (RFC 9106, low memory).
    rules : AccessRules, optional
        Lengths, times and numbers.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        hasher: argon2.PasswordHasher | None = None,
        rules: AccessRules | None = None,
    ) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self.rules = rules or AccessRules()
        self.passwords = Passwords(self.rules, hasher)
        self.attempts = Attempts(store, self._clock, self.rules)
        self.sessions = Sessions(store, self._clock, self.rules)
        self.tokens = Tokens(store, self._clock, self.rules)
        self._guessing = threading.Lock()

    @property
    def now(self) -> int:
        """The time [ns] that sign-ins and tokens go by."""
        return self._clock.now()

    # who there is

    def all(self) -> list[Person]:
        """Everybody, by name."""
        return [_person(name, record) for name, record in self._store.list(PERSON).items()]

    def get(self, name: str) -> Person:
        """The person of this name."""
        return _person(name, self._record(name))

    def first_run(
        self, name: str = "operator", roles: Iterable[str] = FIRST_RUN_ROLES
    ) -> str | None:
        """Make the first user where there is none; the password, to be shown once, or None."""
        if self._store.list(PERSON):
            return None
        password = made_password()
        self.add(name, password, roles, by="galenic", reason="first run")
        return password

    def add(
        self,
        name: str,
        password: str | None,
        roles: Iterable[str],
        *,
        by: str,
        reason: str = "",
        full_name: str = "",
        **marks: Any,
    ) -> Person:
        """Make a user; a name is never given twice.

        Parameters
        ----------
        password : str or None
            None for one who signs in elsewhere, or has tokens alone.
        **marks
            ``break_glass``, ``service``, ``subject``, ``must_change``, as of a `Person`.
        """
        if not name or name != name.strip() or len(name) > 200 or not name.isprintable():
            raise DataError(f"{name[:50]!r} is no user name", expected="text without outer spaces")
        grants, now = known_grants(roles), self._clock.now()
        record = {
            "full_name": full_name.strip() or name,
            "roles": grants,
            "active": True,
            "created": now,
            "password": "",
            "password_set": now,
            **marks,
        }
        if password is not None:
            record["password"] = self.passwords.new(password, (name, full_name))
        with self._store.transaction() as tx:
            if tx.get(PERSON, name) is not None:
                raise DataError(f"there is already a user {name!r}", hint="names are not reused")
            self._set(tx, name, record, "added", by, reason)
        return _person(name, record)

    def change(
        self,
        name: str,
        *,
        by: str,
        reason: str,
        roles: Iterable[str] | None = None,
        password: str | None = None,
        active: bool | None = None,
        full_name: str | None = None,
        must_change: bool = False,
    ) -> Person:
        """Change grants, password, printed name or activity; open sign-ins of the person end."""
        wanted: dict[str, Any] = {}
        if roles is not None:
            wanted["roles"] = known_grants(roles)
        if active is not None:
            wanted["active"] = active
        if full_name is not None:
            wanted["full_name"] = full_name.strip() or name
        what = f"changed {', '.join([*wanted, *(['password'] if password else [])])}"
        if password is not None:
            wanted |= self._new_password(name, self._record(name), password)
            wanted["must_change"] = must_change
        with self._store.transaction() as tx:
            record = (tx.get(PERSON, name) or self._record(name)) | wanted
            self._set(tx, name, record, what, by, reason)
            self.sessions.close_all(tx, name)
        return _person(name, record)

    # signing in

    def sign_in(
        self, name: str, password: str, lifetime: int = 0, *, origin: str = "", reason: str = ""
    ) -> str:
        """A random token that stands for the person.

        Parameters
        ----------
        lifetime : int [ns]
            Shorter than the rules say.
        origin : str
            Where the request came from, for the ledger.
        reason : str
            Why; a break-glass account needs it.

        Raises
        ------
        NotPermitted
            Name or password is wrong, or such people sign in elsewhere.
        Locked
            Too many wrong passwords.
        PasswordExpired
            It has to be changed first.
        """
        person = self.check_password(name, password, origin)
        self._refuse_sign_in(person, reason)
        detail = {"outcome": "accepted", "method": "password", "from": origin}
        if person.break_glass:
            short = minutes(self.rules.break_glass_minutes)
            lifetime = min(lifetime, short) if lifetime else short
        with self._store.transaction() as tx:
            self.attempts.succeeded(tx, name)
            token = self.sessions.open(tx, name, "password", origin, lifetime)
            tx.ledger(Record(SIGN_IN, self._clock.now(), name, detail, name, reason))
            self._renew(tx, name, password)
            if person.break_glass:
                detail = {"what": "used", "from": origin}
                tx.ledger(Record(BREAK_GLASS, self._clock.now(), name, detail, name, reason))
        if person.break_glass:
            text = f"break-glass account {name!r} is in use from {origin or 'here'}: {reason}"
            now = self._clock.now()
            self.attempts.report(Incident(BREAK_GLASS, name, text, now, now + lifetime, "critical"))
        return token

    def _refuse_sign_in(self, person: Person, reason: str) -> None:
        """What may speak against a sign-in although the password is right."""
        if not self.rules.local and not person.break_glass:
            raise NotPermitted(
                "the people of this site do not sign in with a password",
                hint="sign in with OpenID Connect",
            )
        age = self._clock.now() - person.password_set
        old = self.rules.password_days and age > self.rules.password_days * DAY
        if person.must_change or old:
            raise PasswordExpired(
                "the password has to be changed first", hint="POST /api/password with old and new"
            )
        if person.break_glass and not reason.strip():
            raise DataError(
                f"{person.name!r} is for emergencies", where="reason", expected="what has happened"
            )

    def check_password(
        self, name: str, password: str, origin: str = "", purpose: str = "sign-in"
    ) -> Person:
        """The person whose password this is; wrong ones are counted, recorded and reported."""
        with self._guessing:
            self.attempts.refuse_locked(name)
            record = self._store.get(PERSON, name)
            if record is not None and record["active"] and record["password"]:
                if self.passwords.fits(record["password"], password):
                    return _person(name, record)
            else:
                self.passwords.waste(password)
            detail = {"outcome": "refused", "from": origin}
            if purpose != "sign-in":
                detail["purpose"] = purpose
            with self._store.transaction() as tx:
                tx.ledger(Record(SIGN_IN, self._clock.now(), name, detail, name))
                incident = self.attempts.failed(tx, name, record is not None, origin)
        if incident is not None:
            self.attempts.report(incident)
        raise NotPermitted(WRONG)

    def sign_in_elsewhere(
        self, subject: str, name: str, full_name: str, roles: Iterable[str], origin: str = ""
    ) -> str:
        """A token for somebody whom an OpenID provider knows; made or changed as it says."""
        grants = known_grants(roles)
        known = next((one for one in self.all() if one.subject == subject), None)
        by = "OpenID Connect"
        if known is None:
            self.add(name, None, grants, by=by, reason="first sign-in", full_name=full_name,
                     subject=subject)  # fmt: skip
        else:
            name = known.name
            if not known.active:
                raise NotPermitted(f"the user {name!r} is no longer active")
            if list(known.roles) != grants or known.full_name != (full_name or name):
                self.change(name, by=by, reason="as the provider says", roles=grants,
                            full_name=full_name)  # fmt: skip
        detail = {"outcome": "accepted", "method": "oidc", "from": origin, "subject": subject}
        with self._store.transaction() as tx:
            token = self.sessions.open(tx, name, "oidc", origin)
            tx.ledger(Record(SIGN_IN, self._clock.now(), name, detail, name))
        return token

    def refresh(self, token: str, until: int) -> None:
        """Note that somebody has authenticated anew; good for one signature until then [ns]."""
        with self._store.transaction() as tx:
            self.sessions.note(tx, token, fresh=until)

    def change_own_password(self, name: str, old: str, new: str, origin: str = "") -> None:
        """Change the own password, knowing the old one; open sign-ins end."""
        self.check_password(name, old, origin, "password")
        self.change(name, by=name, reason="own password", password=new)

    def signed_in(self, token: str) -> tuple[Person, SignedIn]:
        """The person who signed in with this token, and the sign-in."""
        found = self.sessions.find(token)
        person = self.get(found.name)
        if not person.active:
            raise NotPermitted(f"the user {person.name!r} is no longer active")
        return person, found

    def who(self, token: str) -> Person:
        """The person who signed in with this token."""
        return self.signed_in(token)[0]

    def sign_out(self, token: str) -> None:
        """End a sign-in."""
        self.sessions.close(token)

    def sign_out_everywhere(self, name: str, *, by: str, reason: str = "") -> int:
        """End every sign-in of a person; how many there were."""
        self._record(name)
        with self._store.transaction() as tx:
            count = self.sessions.close_all(tx, name)
            detail = {"outcome": "ended everywhere", "sessions": count}
            tx.ledger(Record(SIGN_IN, self._clock.now(), name, detail, by, reason))
        return count

    def _record(self, name: str) -> dict[str, Any]:
        record: dict[str, Any] | None = self._store.get(PERSON, name)
        if record is None:
            raise UnknownName.among("user", name, self._store.list(PERSON))
        return record

    def _new_password(self, name: str, record: dict[str, Any], word: str) -> dict[str, Any]:
        kept = [one for one in (record["password"], *record.get("earlier", ())) if one]
        made = self.passwords.new(word, (name, record["full_name"]), kept)
        earlier = kept[: max(0, self.rules.password_history - 1)]
        return {"password": made, "password_set": self._clock.now(), "earlier": earlier}

    def _renew(self, tx: Transaction, name: str, password: str) -> None:
        record = tx.get(PERSON, name)
        renewed = self.passwords.renewed(record["password"], password)
        if renewed is not None:
            tx.put(PERSON, name, record | {"password": renewed})

    def _set(
        self,
        tx: Transaction,
        name: str,
        record: dict[str, Any],
        what: str,
        by: str,
        reason: str,
    ) -> None:
        tx.put(PERSON, name, record)
        detail = {"what": what, "full_name": record["full_name"]}
        detail |= {"roles": record["roles"], "active": record["active"]}
        marks = ("break_glass", "service", "subject", "must_change")
        detail |= {mark: record[mark] for mark in marks if record.get(mark)}
        tx.ledger(Record(PERSON, self._clock.now(), name, detail, by, reason))


def made_password() -> str:
    """A random password that can be read out."""
    return "-".join(secrets.token_hex(3) for _ in range(3))


def _person(name: str, record: dict[str, Any]) -> Person:
    return Person(
        name,
        record["full_name"],
        tuple(record["roles"]),
        record["active"],
        record["created"],
        record.get("break_glass", False),
        record.get("subject", ""),
        record.get("service", False),
        record.get("password_set", record["created"]),
        record.get("must_change", False),
    )
