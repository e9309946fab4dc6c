"""API tokens for programs: whose they are, what for, how long; only their hash is kept."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from galenic.clock import Clock
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.records.grants import Scope
from galenic.records.policy import DAY, HOUR, AccessRules
from galenic.records.sessions import digest
from galenic.records.store import Store
from galenic.signals import Record

TOKEN = "token"
PREFIX = "gal_"
"""By which a token is known from a sign-in, and found by programs that look for leaked secrets."""


@dataclass(frozen=True)
class Token:
    """What others may see of a token."""

    id: str
    owner: str
    label: str
    scope: Scope
    created: int
    expires: int
    by: str
    used: int = 0
    revoked: int = 0

    def state(self, now: int) -> str:
        """``valid``, ``expired`` or ``revoked``."""
        return "revoked" if self.revoked else "expired" if self.expires <= now else "valid"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "scope": self.scope.to_dict()}


class Tokens:
    """The tokens of a site.

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

    def make(
        self, owner: str, label: str, scope: Scope, days: float, *, by: str, reason: str = ""
    ) -> tuple[Token, str]:
        """A token that may do what its owner may, within its scope; its secret is shown once."""
        longest = self._rules.token_days or float("inf")
        if not 0 < days <= longest:
            raise DataError(f"{days:g} days", expected=f"more than 0, at most {longest:g} days")
        if not label.strip() or len(label) > 200:
            raise DataError(f"{label[:20]!r} is no label", expected="what the token is for")
        now, secret = self._clock.now(), PREFIX + secrets.token_urlsafe(32)
        key = digest(secret)
        facts: dict[str, Any] = {"owner": owner, "label": label.strip(), "scope": scope.to_dict()}
        facts |= {"created": now, "expires": now + round(days * DAY), "by": by}
        with self._store.transaction() as tx:
            tx.put(TOKEN, key, facts | {"used": 0, "revoked": 0})
            detail = {"what": "made", "id": key[:16], **facts}
            tx.ledger(Record(TOKEN, now, owner, detail, by, reason or label.strip()))
        return self._token(key, self._store.get(TOKEN, key)), secret

    def all(self, owner: str = "") -> list[Token]:
        """Tokens of a person or of all, also those that no longer hold, oldest first."""
        found = [self._token(key, one) for key, one in self._store.list(TOKEN).items()]
        mine = [token for token in found if owner in ("", token.owner)]
        return sorted(mine, key=lambda token: token.created)

    def get(self, id: str) -> Token:
        """The token of an id."""
        return self._token(*self._kept(id))

    def find(self, secret: str) -> Token:
        """The token of a secret; raises where it does not hold."""
        key, now = digest(secret), self._clock.now()
        record = self._store.get(TOKEN, key)
        token = None if record is None else self._token(key, record)
        if token is None or token.state(now) != "valid":
            raise NotPermitted("the token does not hold", hint="ask for a new one")
        if now - token.used > HOUR and not self._store.readonly:
            with self._store.transaction() as tx:
                tx.put(TOKEN, key, tx.get(TOKEN, key) | {"used": now})
        return token

    def revoke(self, id: str, *, by: str, reason: str) -> Token:
        """End a token; it stays listed."""
        key, _ = self._kept(id)
        now = self._clock.now()
        with self._store.transaction() as tx:
            record = tx.get(TOKEN, key)
            if not record["revoked"]:
                record = record | {"revoked": now}
                tx.put(TOKEN, key, record)
                detail = {"what": "revoked", "id": id, "label": record["label"]}
                tx.ledger(Record(TOKEN, now, record["owner"], detail, by, reason))
        return self._token(key, record)

    def _kept(self, id: str) -> tuple[str, dict[str, Any]]:
        found = self._store.list(TOKEN, id) if len(id) == 16 else {}
        if len(found) != 1:
            raise UnknownName.among("token", id, [token.id for token in self.all()])
        return next(iter(found.items()))

    def _token(self, key: str, record: dict[str, Any]) -> Token:
        scope = Scope.from_dict(record["scope"])
        rest = {name: value for name, value in record.items() if name != "scope"}
        return Token(id=key[:16], scope=scope, **rest)
