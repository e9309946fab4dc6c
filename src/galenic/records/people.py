"""Local users: names, roles, passwords (Argon2id) and sign-in tokens.

Passwords and tokens are kept only as hashes. Every change of a user and every sign-in, also a
refused one, is a ledger entry.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from galenic.clock import SECOND, Clock, SystemClock
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.records.store import Store, Transaction
from galenic.signals import Record

if TYPE_CHECKING:
    import argon2

PERSON, SIGN_IN = "person", "sign-in"
LIFETIME = 12 * 3600 * SECOND
SHORTEST_PASSWORD = 10

GRANTS: dict[str, frozenset[str]] = {
    "viewer": frozenset({"viewer"}),
    "operator": frozenset({"viewer", "operator"}),
    "engineer": frozenset({"viewer", "operator", "engineer"}),
    "quality": frozenset({"viewer", "quality"}),
    "administrator": frozenset({"viewer", "administrator"}),
    "service": frozenset({"viewer", "service"}),
}
"""What each role may act as. Nobody gets quality or administrator by being something else."""

ROLES = tuple(GRANTS)
FIRST_RUN_ROLES = ("engineer", "quality", "administrator")


@dataclass(frozen=True)
class Person:
    """A user as the others may see them."""

    name: str
    full_name: str
    roles: tuple[str, ...]
    active: bool
    created: int

    def may(self, role: str) -> bool:
        """Whether one of this person's roles includes ``role``."""
        return any(role in GRANTS[own] for own in self.roles)


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
    """

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        hasher: argon2.PasswordHasher | None = None,
    ) -> None:
        import argon2

        self._store = store
        self._clock = clock or SystemClock()
        self._hasher = hasher or argon2.PasswordHasher()

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
        password = "-".join(secrets.token_hex(3) for _ in range(3))
        self.add(name, password, roles, by="galenic", reason="first run")
        return password

    def add(
        self,
        name: str,
        password: str,
        roles: Iterable[str],
        *,
        by: str,
        reason: str = "",
        full_name: str = "",
    ) -> Person:
        """Make a user; a name is never given twice."""
        if not name or name != name.strip():
            raise DataError(f"{name!r} is no user name", expected="text without outer spaces")
        record = {
            "full_name": full_name or name,
            "roles": _known_roles(roles),
            "active": True,
            "created": self._clock.now(),
            "password": self._hash(password),
        }
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
    ) -> Person:
        """Change roles, password or activity; open sign-ins of the person end."""
        wanted: dict[str, Any] = {}
        if roles is not None:
            wanted["roles"] = _known_roles(roles)
        if password is not None:
            wanted["password"] = self._hash(password)
        if active is not None:
            wanted["active"] = active
        record = self._record(name) | wanted
        with self._store.transaction() as tx:
            self._set(tx, name, record, f"changed {', '.join(wanted)}", by, reason)
            for token, open_one in self._store.list(SIGN_IN).items():
                if open_one["name"] == name:
                    tx.delete(SIGN_IN, token)
        return _person(name, record)

    def sign_in(self, name: str, password: str, lifetime: int = LIFETIME) -> str:
        """A random token that stands for the person for ``lifetime`` ns."""
        record = self._store.get(PERSON, name)
        right = self._matches(record, password)
        now = self._clock.now()
        with self._store.transaction() as tx:
            outcome = "accepted" if right else "refused"
            tx.ledger(Record(SIGN_IN, now, name, {"outcome": outcome}, name))
            if right:
                token = secrets.token_urlsafe(32)
                tx.put(SIGN_IN, _digest(token), {"name": name, "expires": now + lifetime})
                self._forget_expired(tx, now)
                if self._hasher.check_needs_rehash(record["password"]):
                    tx.put(PERSON, name, record | {"password": self._hasher.hash(password)})
        if not right:
            raise NotPermitted("the name or the password is wrong")
        return token

    def who(self, token: str) -> Person:
        """The person who signed in with this token."""
        found = self._store.get(SIGN_IN, _digest(token))
        if found is None or found["expires"] <= self._clock.now():
            raise NotPermitted("not signed in, or the sign-in has expired", hint="sign in again")
        person = self.get(found["name"])
        if not person.active:
            raise NotPermitted(f"the user {person.name!r} is no longer active")
        return person

    def sign_out(self, token: str) -> None:
        """End a sign-in."""
        with self._store.transaction() as tx:
            tx.delete(SIGN_IN, _digest(token))

    def _record(self, name: str) -> dict[str, Any]:
        record: dict[str, Any] | None = self._store.get(PERSON, name)
        if record is None:
            raise UnknownName.among("user", name, self._store.list(PERSON))
        return record

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
        detail = {"what": what, "roles": record["roles"], "active": record["active"]}
        tx.ledger(Record(PERSON, self._clock.now(), name, detail, by, reason))

    def _hash(self, password: str) -> str:
        if len(password) < SHORTEST_PASSWORD:
            raise DataError(
                f"the password has {len(password)} characters",
                expected=f"{SHORTEST_PASSWORD} or more",
            )
        return self._hasher.hash(password)

    def _matches(self, record: dict[str, Any] | None, password: str) -> bool:
        import argon2

        if record is None or not record["active"]:
            self._hasher.hash(password)  # an unknown name must not answer faster
            return False
        try:
            return self._hasher.verify(record["password"], password)
        except argon2.exceptions.VerifyMismatchError:
            return False

    def _forget_expired(self, tx: Transaction, now: int) -> None:
        for digest, record in self._store.list(SIGN_IN).items():
            if record["expires"] <= now:
                tx.delete(SIGN_IN, digest)


def _person(name: str, record: dict[str, Any]) -> Person:
    roles = tuple(record["roles"])
    return Person(name, record["full_name"], roles, record["active"], record["created"])


def _known_roles(roles: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(roles))
    for role in wanted:
        if role not in GRANTS:
            raise UnknownName.among("role", role, ROLES)
    if not wanted:
        raise DataError("a user needs a role", expected=", ".join(ROLES))
    return wanted


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
