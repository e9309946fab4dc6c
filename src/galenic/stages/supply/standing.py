"""Standing queries of a repository: who is sent which events, when, and what was sent already.

A subscription asks a named query again on its schedule, or for every event that comes (a stream).
It is given each event that was recorded since it was made, or since its ``initialRecordTime``,
once it has taken the ones before: what was sent is noted when the receiver has answered, so after a
failure or a restart it is sent again and nothing is left out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from galenic.clock import to_iso
from galenic.connect.epcis.event import nanoseconds_of
from galenic.connect.epcis.query import Query, Recorded
from galenic.connect.epcis.schedule import Schedule
from galenic.errors import DataError, UnknownName
from galenic.signals import Record
from galenic.stages.supply.repository import SUBSCRIPTION as KIND
from galenic.stages.supply.repository import Repository
from galenic.twin.project import LOCAL

SECRET = "epcis-subscription-secret"
KEYS = ("dest", "signatureToken", "reportIfEmpty", "schedule", "stream", "initialRecordTime")
POLL_ONLY = ("orderBy", "orderDirection", "eventCountLimit", "maxEventCount")
AT_ONCE = 500  # events of a message
LOOKED_AT = 20_000  # events on record that one look goes through
OPEN = re.compile(r"https://[^/\s@]+(/\S*)?")


@dataclass(frozen=True)
class Standing:
    """A query that is asked again: from which event on, and when next.

    ``next`` is the number of the first event that was not looked at, ``due`` the time [ns] of
    the next look (0 for a stream: at once).
    """

    query: Query
    schedule: Schedule | None
    report_if_empty: bool
    next: int
    due: int

    @classmethod
    def of(cls, repository: Repository, query: Query, said: Mapping[str, Any]) -> Standing:
        """From the controls of a subscription; DataError where they are not as the standard's."""
        for name in POLL_ONLY:
            if name in query.given:
                raise DataError(
                    f"the query has {name}", where="EPCIS subscription",
                    hint="a query with it can be asked, not subscribed to",
                )  # fmt: skip
        given, stream = said.get("schedule"), said.get("stream", False)
        if not isinstance(stream, bool) or not isinstance(said.get("reportIfEmpty", False), bool):
            raise DataError("stream or reportIfEmpty is neither true nor false")
        if stream == (given is not None):
            raise DataError(
                "both stream and schedule" if stream else "neither stream nor schedule",
                where="EPCIS subscription", expected='"stream": true, or a schedule',
            )  # fmt: skip
        if given is not None and not isinstance(given, Mapping):
            raise DataError(f"schedule {given!r}", expected='an object as {"hour": "1"}')
        schedule = Schedule.of(given, "EPCIS subscription") if given is not None else None
        first = repository.catch_up()
        if said.get("initialRecordTime"):
            first = repository.index.recorded_from(nanoseconds_of(str(said["initialRecordTime"])))
        due = schedule.after(repository.clock.now()) if schedule is not None else 0
        return cls(query, schedule, bool(said.get("reportIfEmpty", False)), first, due)

    def look(self, repository: Repository, now: int) -> tuple[list[Recorded] | None, Standing]:
        """What to send, None for nothing, and the query as it stands after that was taken."""
        until = repository.catch_up()
        if now < self.due or (self.schedule is None and until <= self.next):
            return None, self
        found: list[Recorded] = []
        last = min(until, self.next + LOOKED_AT)
        for one in repository.matching(self.query, self.next, last):
            found.append(one)
            if len(found) == AT_ONCE:
                last = one.number + 1
                break
        after = replace(self, next=last)
        is_done = last == until
        if is_done and self.schedule is not None:
            after = replace(after, due=self.schedule.after(now))
        empty = is_done and self.schedule is not None and self.report_if_empty
        return (found if found or empty else None), after


@dataclass(frozen=True)
class Subscription:
    """A subscription on record; ``number`` is that of the first event that was not sent."""

    id: str
    query: str
    dest: str
    standing: Standing
    controls: Mapping[str, Any]
    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As the standard shows it: never with its secret."""
        return {"subscriptionID": self.id, "queryName": self.query, "dest": self.dest,
                **self.controls, **self.facts}  # fmt: skip


class Subscriptions:
    """The subscriptions of a repository, in the site's records."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    def all(self, query: str = "") -> list[Subscription]:
        """Every subscription, or those of a query."""
        kept = self.repository.store.list(KIND)
        made = (self._made(id, said) for id, said in kept.items())
        return [one for one in made if not query or one.query == query]

    def get(self, id: str, query: str) -> Subscription:
        """One subscription of a query."""
        said = self.repository.store.get(KIND, id)
        if said is None or said["query"] != query:
            raise UnknownName.among("subscription", id, [])
        return self._made(id, said)

    def _made(self, id: str, said: Mapping[str, Any]) -> Subscription:
        given = said["controls"].get("schedule")
        standing = Standing(
            Query.of(said["parameters"]), Schedule.of(given) if given else None,
            said["controls"].get("reportIfEmpty", False), said["next"], said["due"],
        )  # fmt: skip
        return Subscription(id, said["query"], said["dest"], standing, said["controls"],
                            said["facts"])  # fmt: skip

    def add(self, query: str, said: Mapping[str, Any], who: str) -> Subscription:
        """Subscribe to a named query.

        Parameters
        ----------
        said : mapping
            ``dest``, and ``stream`` or ``schedule``; ``signatureToken``, ``reportIfEmpty``,
            ``initialRecordTime``.

        Raises
        ------
        DataError, UnknownName
            A control is wrong, or there is no such query.
        """
        for name in said:
            if name not in KEYS:
                raise UnknownName.among("control of a subscription", name, KEYS)
        dest, secret = said.get("dest"), said.get("signatureToken", "")
        if not isinstance(dest, str) or not (OPEN.fullmatch(dest) or re.match(LOCAL, dest)):
            raise DataError(f"dest {dest!r}", expected="https://..., without a name or password")
        if not isinstance(secret, str):
            raise DataError("signatureToken is no text")
        asked = self.repository.query(query)
        standing = Standing.of(self.repository, asked, said)
        id, now = secrets.token_hex(16), self.repository.clock.now()
        controls = {n: said[n] for n in ("stream", "schedule", "reportIfEmpty") if n in said}
        kept = {
            "query": query, "parameters": dict(asked.given), "dest": dest, "controls": controls,
            "next": standing.next, "due": standing.due, "who": who,
            "facts": {"createdAt": to_iso(now)},
        }  # fmt: skip
        with self.repository.store.transaction() as tx:
            tx.put(KIND, id, kept)
            if secret:
                tx.put(SECRET, id, secret)
            detail = {"query": query, "dest": dest, **controls, "signed": bool(secret)}
            tx.ledger(Record("epcis", now, f"subscription {id}", detail, who))
        return self.get(id, query)

    def remove(self, id: str, query: str, who: str) -> None:
        """End a subscription."""
        self.get(id, query)
        now = self.repository.clock.now()
        with self.repository.store.transaction() as tx:
            self._delete(tx, id)
            tx.ledger(Record("epcis", now, f"subscription {id}", {"deleted": True}, who))

    def _delete(self, tx: Any, id: str) -> None:
        tx.delete(KIND, id)
        tx.delete(SECRET, id)

    def taken(self, one: Subscription, after: Standing, sent: bool, now: int) -> None:
        """Note that the receiver has taken what was sent, or that there was nothing to send."""
        facts = {"lastExecutedAt": to_iso(now), **({"lastNotifiedAt": to_iso(now)} if sent else {})}
        self._note(one, {"next": after.next, "due": after.due}, facts, {"lastError"})

    def failed(self, one: Subscription, problem: str) -> None:
        """Note why the receiver could not be reached; the first time in the ledger too."""
        is_first = "lastError" not in one.facts
        self._note(one, {}, {"lastError": problem}, set(), problem if is_first else "")

    def _note(
        self, one: Subscription, place: Mapping[str, Any], facts: Mapping[str, Any],
        gone: set[str], problem: str = "",
    ) -> None:  # fmt: skip
        now = self.repository.clock.now()
        with self.repository.store.transaction() as tx:
            said = tx.get(KIND, one.id)
            if said is None:  # it was ended meanwhile
                return
            kept = {name: fact for name, fact in said["facts"].items() if name not in gone}
            tx.put(KIND, one.id, {**said, **place, "facts": kept | dict(facts)})
            if problem:
                detail = {"dest": one.dest, "problem": problem}
                tx.ledger(Record("epcis", now, f"subscription {one.id}", detail, "galenic"))

    def signature(self, id: str, body: bytes) -> str:
        """The signature of a message: HMAC-SHA256 with the subscriber's token, in base64."""
        secret = self.repository.store.get(SECRET, id)
        if not secret:
            return ""
        return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()
