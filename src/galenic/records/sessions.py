"""Sign-ins: who they stand for, how long, how many, and when they end."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from galenic.clock import SECOND, Clock
from galenic.errors import NotPermitted
from galenic.records.policy import MINUTE, AccessRules
from galenic.records.store import Store, Transaction
from galenic.signals import Record

SIGN_IN = "sign-in"
TOUCH = 60 * SECOND  # a request is noted in the store at most this often


@dataclass(frozen=True)
class SignedIn:
    """An open sign-in, without its token.

    ``method`` is how the person proved who they are: ``password`` or ``oidc``. ``signing`` is the
    time [ns] until which a signature needs one component alone; ``fresh`` is until when a new
    authentication elsewhere counts for one signature.
    """

    id: str
    name: str
    method: str
    started: int
    seen: int
    expires: int
    origin: str = ""
    signing: int = 0
    fresh: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Sessions:
    """The open sign-ins of a site.

    Parameters
    ----------
    store : Store
    clock : Clock
    rules : AccessRules
    """

    def __init__(self, store: Store, clock: Clock, rules: AccessRules) -> None:
        self._store = store
        self._clock = clock
        self._rules = rules
        self._seen: dict[str, int] = {}

    def open(
        self, tx: Transaction, name: str, method: str, origin: str = "", lifetime: int = 0
    ) -> str:
        """A random token that stands for the person; the oldest sign-in ends where it is one too
        many.
        """  # fmt: skip
        now, token = self._clock.now(), secrets.token_urlsafe(32)
        key = digest(token)
        mine = self._drop_ended(tx, now, name)
        if self._rules.sessions:
            for old in mine[: max(0, len(mine) + 1 - self._rules.sessions)]:
                self._forget(tx, old)
        expires = now + (lifetime or self._rules.lifetime)
        facts = {"name": name, "expires": expires, "started": now, "seen": now}
        facts |= {"method": method, "from": origin, "signing": 0, "fresh": 0}
        tx.put(SIGN_IN, key, facts)
        self._seen[key] = now
        return token

    def find(self, token: str) -> SignedIn:
        """The sign-in of a token; raises where it has ended. The request counts as activity."""
        key, now = digest(token), self._clock.now()
        record = self._store.get(SIGN_IN, key)
        if record is None or self._has_ended(key, record, now):
            raise NotPermitted("not signed in, or the sign-in has expired", hint="sign in again")
        self._touch(key, record, now)
        return _signed_in(key, record, now)

    def is_open(self, token: str) -> bool:
        """Whether a token still stands for somebody; looking is no activity."""
        key = digest(token)
        record = self._store.get(SIGN_IN, key)
        return record is not None and not self._has_ended(key, record, self._clock.now())

    def all(self, name: str = "") -> list[SignedIn]:
        """Open sign-ins, of one person or of all, oldest first."""
        now = self._clock.now()
        found = [
            _signed_in(key, record, self._last(key, record))
            for key, record in self._store.list(SIGN_IN).items()
            if not self._has_ended(key, record, now) and name in ("", record["name"])
        ]
        return sorted(found, key=lambda one: one.started)

    def note(self, tx: Transaction, token: str, **facts: int) -> None:
        """Change ``signing`` or ``fresh`` of a sign-in."""
        key = digest(token)
        record = tx.get(SIGN_IN, key)
        if record is not None:
            tx.put(SIGN_IN, key, record | facts)

    def close(self, token: str) -> None:
        """End a sign-in."""
        key = digest(token)
        with self._store.transaction() as tx:
            record = tx.get(SIGN_IN, key)
            if record is not None:
                self._forget(tx, key)
                now = self._clock.now()
                tx.ledger(
                    Record(SIGN_IN, now, record["name"], {"outcome": "ended"}, record["name"])
                )

    def close_all(self, tx: Transaction, name: str) -> int:
        """End every sign-in of a person; how many there were."""
        mine = [key for key, one in self._store.list(SIGN_IN).items() if one["name"] == name]
        for key in mine:
            self._forget(tx, key)
        return len(mine)

    def _forget(self, tx: Transaction, key: str) -> None:
        tx.delete(SIGN_IN, key)
        self._seen.pop(key, None)

    def _last(self, key: str, record: dict[str, Any]) -> int:
        return max(self._seen.get(key, 0), int(record.get("seen", 0)))

    def _has_ended(self, key: str, record: dict[str, Any], now: int) -> bool:
        idle = self._rules.idle
        return record["expires"] <= now or bool(idle and self._last(key, record) + idle <= now)

    def _touch(self, key: str, record: dict[str, Any], now: int) -> None:
        self._seen[key] = now
        if self._store.readonly or now - int(record.get("seen", 0)) < TOUCH:
            return
        with self._store.transaction() as tx:
            fresh = tx.get(SIGN_IN, key)
            if fresh is not None:
                tx.put(SIGN_IN, key, fresh | {"seen": now})

    def _drop_ended(self, tx: Transaction, now: int, name: str) -> list[str]:
        """Forget what has ended; the keys of the person's open ones, oldest first."""
        mine = []
        for key, record in self._store.list(SIGN_IN).items():
            if self._has_ended(key, record, now):
                self._forget(tx, key)
            elif record["name"] == name:
                mine.append((record.get("started", 0), key))
        return [key for _, key in sorted(mine)]


def _signed_in(key: str, record: dict[str, Any], seen: int) -> SignedIn:
    return SignedIn(
        key[:16],
        record["name"],
        record.get("method", "password"),
        record.get("started", 0),
        seen,
        record["expires"],
        record.get("from", ""),
        record.get("signing", 0),
        record.get("fresh", 0),
    )


def minutes(count: float) -> int:
    """So many minutes [ns]."""
    return round(count * MINUTE)
