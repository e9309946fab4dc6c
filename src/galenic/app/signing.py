"""The desk where records are signed, and where calls wait for their signatures.

A call of a service for which the project has a rule becomes a request: its author signs it first,
others after, each for another meaning. With the last signature it is performed in the author's
name, once.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from galenic.app.permissions import Caller, concerned, require
from galenic.clock import to_iso
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.identity import content_hash
from galenic.records.codec import canonical
from galenic.records.people import People, Person
from galenic.records.policy import BY_ANOTHER, HOUR, SignatureRule
from galenic.records.signatures import SIGNATURE, TYPES, Proof, Signable, Signatures, Signed
from galenic.signals import Record

if TYPE_CHECKING:
    from galenic.app.index import ServiceEntry
    from galenic.app.jobs import Job
    from galenic.app.session import Session

REQUEST = "request"
OPEN, PERFORMED, WITHDRAWN, REJECTED = "open", "performed", "withdrawn", "rejected"
SIGNS = {
    "authorship": ("operator", "engineer", "quality", "administrator"),
    "review": ("engineer", "quality"),
    "approval": ("quality",),
    "responsibility": ("operator", "engineer", "quality"),
}
"""Who may sign what, where no rule of the project says it: any of these roles."""


class Desk:
    """Signs records and requests of one site.

    Parameters
    ----------
    session : Session
        Performs what has all its signatures; its rules say what needs them.
    people : People
    """

    def __init__(self, session: Session, people: People) -> None:
        self._session = session
        self._store = session.store
        self._people = people
        self._signatures = Signatures(session.store, people)
        self._one = threading.Lock()

    # records

    def record(self, type: str, id: str) -> Signable:
        """The present version of a record, or an error with close matches."""
        if type not in TYPES:
            raise UnknownName.among("type of record", type, TYPES)
        found: Signable = getattr(self, f"_{type}")(id)
        return found

    def signatures(self, type: str, id: str) -> list[Signed]:
        """The signatures of a record, of all its versions."""
        return self._signatures.of(type, id)

    def shown(self, type: str, id: str) -> dict[str, Any]:
        """A record with its signatures, and which of them hold for its present version."""
        record = self.record(type, id)
        signed = self.signatures(type, id)
        rows = [{**one.to_dict(), "holds": one.record == record.named} for one in signed]
        return {**record.to_dict(), "signatures": rows}

    def signed_entries(self, indices: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
        """The signatures of those ledger entries that have any, by index."""
        known = self._store.list(SIGNATURE, "entry/")
        wanted = (str(index) for index in indices if f"entry/{index}" in known)
        return {id: [one.to_dict() for one in self.signatures("entry", id)] for id in wanted}

    def sign(
        self, who: Caller, type: str, id: str, seen: str, proof: Proof, origin: str = ""
    ) -> Signed:
        """Sign the version of a record that the signer saw."""
        if type == REQUEST:
            return self.sign_request(who, id, seen, proof, origin)[0]
        record = self.record(type, id)
        twin = id if type == "definition" else None
        roles = SIGNS.get(proof.meaning, ())
        if not any(who.may(role, twin) for role in roles):
            require(who, roles[-1] if roles else "quality", f"rest.sign.{proof.meaning}", [twin])
        with self._one:
            by = self._proved(record, proof, seen, origin)
            with self._store.transaction() as tx:
                return self._signatures.enter(tx, record, proof, by)

    def _proved(self, record: Signable, proof: Proof, seen: str, origin: str) -> Any:
        signer = self._people.who(proof.token)
        self._signatures.refuse(record, proof, signer, seen)
        return self._signatures.authenticate(proof, origin)

    def _entry(self, id: str) -> Signable:
        index = int(id) if id.isdecimal() and len(id) < 18 else -1
        entry = next(iter(self._store.ledger_read(index, index + 1)), None) if index >= 0 else None
        if entry is None:
            raise DataError(f"there is no ledger entry {id[:20]!r}")
        text = f"{entry.kind} of {entry.subject}: {entry.reason}"
        return Signable("entry", str(index), "1", entry.hash, entry.who, text)

    def _artefact(self, id: str) -> Signable:
        kept = self._store.artefact(id)
        author = str(kept.provenance.get("who", ""))
        name = str(kept.provenance.get("name") or kept.provenance.get("service") or "")
        return Signable("artefact", kept.hash, "1", kept.hash, author, name)

    def _definition(self, id: str) -> Signable:
        from galenic.twin.kept import EVOLVE, Versions

        if self._session.runner is None:
            raise DataError("there are no twins here")
        twin = self._session.runner.twin(id)
        identity = twin.definition.identity(twin.values)
        versions = Versions(self._store, id).all(identity)
        if not versions:
            raise DataError(f"the definition of {id!r} is not kept as data and cannot be signed")
        author = ""
        for entry in self._store.ledger_read(kinds=(EVOLVE,)):
            if entry.subject == id and entry.detail.get("after") == identity:
                author = entry.who
        text = f"{twin.definition.name}, version {twin.definition.version}"
        return Signable("definition", id, identity, versions[-1].hash, author, text)

    def _request(self, id: str) -> Signable:
        kept = self._kept(id)
        text = f"{kept['content']['service']} by {kept['content']['author']}"
        digest = content_hash(canonical(kept["content"]))
        return Signable(REQUEST, id, str(kept["version"]), digest, kept["about"], text)

    # requests

    def ask(
        self,
        who: Caller,
        service: str,
        arguments: Mapping[str, Any],
        proof: Proof,
        origin: str = "",
    ) -> tuple[dict[str, Any], Job | None]:
        """Make a request, signed by its author; and the job, where that was all it needed."""
        entry, plain, rule = self._session.checked(service, arguments, who)
        if rule is None:
            raise DataError(
                f"{entry.full_name} needs no signature", hint="call it as any other service"
            )
        if proof.meaning != rule.meanings[0]:
            raise DataError(
                f"the first signature of {entry.full_name} is not {proof.meaning}",
                expected=rule.meanings[0],
            )
        self._require(who, rule, entry, plain, proof.meaning)
        now, id = self._people.now, uuid.uuid4().hex
        content = {
            "id": id,
            "service": entry.full_name,
            "arguments": {a.name: a.record(plain[a.name]) for a in entry.arguments},
            "author": who.name,
            "created": to_iso(now),
        }
        about = self._about(entry, plain, who)
        kept: dict[str, Any] = {
            "content": content, "plain": plain, "version": 1, "state": OPEN,
            "about": about, "meanings": list(rule.meanings),
            "created": now, "expires": now + round(rule.hours * HOUR), "job": "",
        }  # fmt: skip
        digest = content_hash(canonical(content))
        record = Signable(REQUEST, id, "1", digest, about, entry.full_name)
        detail = {"what": "made", "content": content, "version": 1, "sha256": digest}
        detail |= {"meanings": kept["meanings"], "expires": kept["expires"]}
        with self._one:
            by = self._proved(record, proof, "1", origin)
            with self._store.transaction() as tx:
                tx.put(REQUEST, id, kept)
                tx.ledger(Record(REQUEST, now, id, detail, who.name, proof.reason.strip()))
                self._signatures.enter(tx, record, proof, by)
            job = self._performed(id)
        return self.request(id), job

    def sign_request(
        self, who: Caller, id: str, seen: str, proof: Proof, origin: str = ""
    ) -> tuple[Signed, Job | None]:
        """Give a request one of the signatures that it lacks; and the job, if it was the last."""
        with self._one:
            kept = self._open(id)
            record = self._request(id)
            given = self._signatures.standing(record)
            lacking = [m for m in kept["meanings"] if m not in {one.meaning for one in given}]
            if proof.meaning not in lacking:
                raise DataError(
                    f"this request lacks no {proof.meaning}", expected=" or ".join(lacking)
                )
            if who.name in {one.signer for one in given}:
                raise NotPermitted("you have signed this", expected="another person")
            entry, rule = self._ruled(kept)
            self._require(who, rule, entry, kept["plain"], proof.meaning)
            by = self._proved(record, proof, seen, origin)
            with self._store.transaction() as tx:
                signed = self._signatures.enter(tx, record, proof, by)
            return signed, self._performed(id)

    def close(self, who: Caller, id: str, reason: str) -> dict[str, Any]:
        """Take a request back, or reject one of somebody else."""
        if not reason.strip():
            raise DataError("a reason is needed", where="reason", expected="why")
        with self._one:
            kept = self._open(id)
            is_own = kept["content"]["author"] == who.name
            if not is_own:
                entry, rule = self._ruled(kept)
                self._require(who, rule, entry, kept["plain"], "approval")
            self._end(id, kept, WITHDRAWN if is_own else REJECTED, who.name, reason.strip())
        return self.request(id)

    def request(self, id: str) -> dict[str, Any]:
        """A request as surfaces show it: what is wanted, what is signed, what lacks."""
        kept, record = self._kept(id), self._request(id)
        signed = self._signatures.standing(record)
        given = {one.meaning for one in signed}
        shown = {key: kept[key] for key in ("state", "created", "expires", "job", "meanings")}
        if shown["state"] == OPEN and kept["expires"] <= self._people.now:
            shown["state"] = "expired"
        return {
            **record.to_dict(),
            **shown,
            "content": kept["content"],
            "signatures": [one.to_dict() for one in signed],
            "lacking": [meaning for meaning in kept["meanings"] if meaning not in given],
        }

    def requests(self, state: str = "") -> list[dict[str, Any]]:
        """Requests, newest first."""
        found = [self.request(id) for id in self._store.list(REQUEST)]
        chosen = [one for one in found if state in ("", one["state"])]
        return sorted(chosen, key=lambda one: one["created"], reverse=True)

    def _kept(self, id: str) -> dict[str, Any]:
        kept: dict[str, Any] | None = self._store.get(REQUEST, id)
        if kept is None:
            raise UnknownName.among("request", id[:64], [])
        return kept

    def _open(self, id: str) -> dict[str, Any]:
        kept = self._kept(id)
        if kept["state"] != OPEN or kept["expires"] <= self._people.now:
            raise DataError(f"the request is {self.request(id)['state']}", where=f"request {id}")
        return kept

    def _ruled(self, kept: Mapping[str, Any]) -> tuple[ServiceEntry, SignatureRule]:
        entry = self._session.service(kept["content"]["service"])
        rule = self._session.rule(entry, kept["plain"])
        return entry, rule or SignatureRule(entry.full_name, tuple(kept["meanings"]))

    def _require(
        self, who: Caller, rule: SignatureRule, entry: ServiceEntry, plain: Any, meaning: str
    ) -> None:
        """Who reviews or approves has the rule's role; all others may call the service."""
        role = rule.role if rule.role and meaning in BY_ANOTHER else entry.role
        twins = concerned(entry, plain)
        self._session.require(who, role, f"rest.sign.{meaning}", twins, "act")

    def _about(self, entry: ServiceEntry, plain: Mapping[str, Any], who: Caller) -> str:
        """Whose work is signed: of a move that waits, who proposed it; else who asks."""
        if entry.full_name != "twins.approve" or self._session.runner is None:
            return who.name
        from galenic.twin.acting import proposer

        return str(self._session.runner.look(plain["twin"], proposer, plain["key"]))

    def _performed(self, id: str) -> Job | None:
        """Perform a request that has all its signatures, once; the job."""
        shown = self.request(id)
        if shown["lacking"]:
            return None
        kept = self._kept(id)
        content, plain = kept["content"], kept["plain"]
        entry = self._session.service(content["service"])
        recorded = {a.name: a.record(plain[a.name]) for a in entry.arguments}
        if recorded != content["arguments"]:
            raise DataError("the request is not what was signed", where=f"request {id}")
        author = self._people.get(content["author"])
        caller = _caller(author)
        self._session.checked(entry.full_name, plain, caller)
        self._end(id, kept, PERFORMED, author.name, "it has all its signatures")
        job = self._session.call(entry.full_name, plain, caller, wait=30, request=id)
        with self._store.transaction() as tx:
            tx.put(REQUEST, id, tx.get(REQUEST, id) | {"job": job.id})
        return job

    def _end(self, id: str, kept: Mapping[str, Any], state: str, by: str, reason: str) -> None:
        now = self._people.now
        detail = {"what": state, "service": kept["content"]["service"]}
        with self._store.transaction() as tx:
            tx.put(REQUEST, id, {**kept, "state": state})
            tx.ledger(Record(REQUEST, now, id, detail, by, reason))


def _caller(person: Person) -> Caller:
    if not person.active:
        raise NotPermitted(f"the user {person.name!r} is no longer active")
    return Caller(person.name, person.roles, "signed")
