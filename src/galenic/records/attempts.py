"""Wrong passwords: counted, locked out, entered in the ledger and reported at once."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from galenic.clock import SECOND, Clock, to_iso
from galenic.errors import NotPermitted
from galenic.records.policy import MINUTE, AccessRules
from galenic.records.store import Store, Transaction
from galenic.signals import Record

log = logging.getLogger(__name__)

ATTEMPTS, SECURITY = "attempts", "security"
UNKNOWN = 10_000  # names that nobody has, of which wrong passwords are counted
FOR_EVER = 2**62


@dataclass(frozen=True)
class Incident:
    """Something about access that somebody must hear of now."""

    what: str
    subject: str
    text: str
    time: int
    until: int = 0
    severity: str = "high"


Listener = Callable[[Incident], None]


class Locked(NotPermitted):
    """Too many wrong passwords; the name has to wait."""


class Attempts:
    """Counts wrong passwords by name; the counts outlive a restart.

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
        self._nobody: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every incident from now on."""
        self._listeners.append(listener)

    def report(self, incident: Incident) -> None:
        """Tell everybody who listens; the log too."""
        log.warning("access: %s", incident.text)
        for listener in self._listeners:
            listener(incident)

    def refuse_locked(self, name: str) -> None:
        """Raise where the name is locked now."""
        until = (self._store.get(ATTEMPTS, name) or self._nobody.get(name) or {}).get("until", 0)
        if until > self._clock.now():
            raise Locked(
                "there were too many wrong passwords for this name",
                hint="ask an administrator to unlock it"
                if until >= FOR_EVER
                else f"try again after {to_iso(-(-until // SECOND) * SECOND)}",
            )

    def failed(self, tx: Transaction, name: str, known: bool, origin: str) -> Incident | None:
        """Count a wrong password; the incident, where the name is locked by it."""
        now = self._clock.now()
        before = (tx.get(ATTEMPTS, name) if known else self._nobody.get(name)) or {}
        count = 1 if 0 < before.get("until", 0) <= now else before.get("failed", 0) + 1
        until = (
            self._until(now) if self._rules.lock_after and count >= self._rules.lock_after else 0
        )
        self._keep(tx, name, known, {"failed": count, "until": until})
        if not until:
            return None
        end = "until it is unlocked" if until >= FOR_EVER else f"until {to_iso(until)}"
        words = f"{count} wrong passwords in a row for {name!r} from {origin or 'here'}"
        detail = {"what": "locked", "failed": count, "until": until, "from": origin}
        tx.ledger(Record(SECURITY, now, name, detail, name, words))
        return Incident("locked", name, f"{words}; locked {end}", now, until)

    def _until(self, now: int) -> int:
        span = round(self._rules.lock_minutes * MINUTE)
        return now + span if span else FOR_EVER

    def _keep(self, tx: Transaction, name: str, known: bool, facts: dict[str, int]) -> None:
        if known:
            tx.put(ATTEMPTS, name, facts)
            return
        self._nobody[name] = facts
        self._nobody.move_to_end(name)
        while len(self._nobody) > UNKNOWN:
            self._nobody.popitem(last=False)

    def succeeded(self, tx: Transaction, name: str) -> None:
        """Forget the wrong passwords before the right one."""
        if tx.get(ATTEMPTS, name) is not None:
            tx.delete(ATTEMPTS, name)

    def locked(self) -> dict[str, int]:
        """Names that are locked now, and until when [ns]."""
        now = self._clock.now()
        found: dict[str, Any] = self._store.list(ATTEMPTS)
        return {name: facts["until"] for name, facts in found.items() if facts["until"] > now}

    def unlock(self, name: str, by: str, reason: str) -> None:
        """Let a locked name try again."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            self.succeeded(tx, name)
            tx.ledger(Record(SECURITY, now, name, {"what": "unlocked"}, by, reason))
        self.report(Incident("unlocked", name, f"{name!r} was unlocked by {by}", now, 0, "journal"))
