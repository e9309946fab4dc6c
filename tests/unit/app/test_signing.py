"""Signatures as 21 CFR Part 11 wants them: over REST, in the ledger, in the bundle."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager

import argon2
import httpx
import pytest

from galenic.app.api import create_app
from galenic.app.permissions import Caller
from galenic.app.session import Session, SignatureNeeded
from galenic.clock import ManualClock
from galenic.errors import DataError, NotPermitted
from galenic.records import open_site
from galenic.records.bundle import write_bundle
from galenic.records.galenic_verify import Verifier, canonical, main
from galenic.records.grants import Scope
from galenic.records.people import People
from galenic.records.policy import HOUR, MINUTE, AccessRules, SignatureRule
from galenic.records.signatures import Proof
from galenic.signals import Record

WORD = "wide tall harbour"
TWO = SignatureRule("demo.change", ("authorship", "approval"), role="quality")
ONE = SignatureRule("demo.crash", ("responsibility",), when={"how": "data"})


class Site:
    """A site whose demo service needs two signatures."""

    def __init__(self, folder, demo):
        self.clock = ManualClock(1_800_000_000 * 10**9)
        self.store = open_site(folder, name="test", clock=self.clock)
        hasher = argon2.PasswordHasher(1, 8, 1)
        self.people = People(self.store, self.clock, hasher, AccessRules(idle_minutes=0))
        roles = {"oli": "operator", "eva": "operator", "quinn": "quality", "vic": "viewer"}
        for name, role in roles.items():
            self.people.add(name, WORD, [role], by="test", full_name=f"{name.title()} Marlowe")
        self.session = Session(self.store, services=demo, clock=self.clock, rules=(TWO, ONE))
        self.app = create_app(self.session, self.people)
        self.desk = self.app.state.desk

    def proof(self, name, meaning, token="", password=WORD, **more):
        token = token or self.people.sign_in(name, WORD)
        return Proof(meaning, "as agreed", token, password, more.get("typed", name))

    def caller(self, name):
        return Caller(name, self.people.get(name).roles)

    def sign(self, name, type, id, meaning="review", version="1", **more):
        proof = self.proof(name, meaning, **more)
        return self.desk.sign(self.caller(name), type, str(id), version, proof)

    def ask(self, name="oli", **more):
        proof = self.proof(name, more.pop("meaning", "authorship"), **more)
        return self.desk.ask(self.caller(name), "demo.change", {"to": "2 kg/h"}, proof)

    def kinds(self, kind):
        return list(self.store.ledger_read(kinds=[kind]))


@pytest.fixture
def site(tmp_path, demo):
    made = Site(tmp_path / "site", demo)
    yield made
    made.session.close()
    made.store.close()


@contextmanager
def refused(match, error=NotPermitted):
    with pytest.raises(error, match=match):
        yield


@pytest.fixture
def entry(site):
    with site.store.transaction() as tx:
        return tx.ledger(Record("level", site.clock.now(), "line-1", {}, "oli", "ready"))


def test_a_signature_says_who_when_what_why_and_how(site, entry):
    signed = site.sign("quinn", "entry", entry)

    detail = site.kinds("signature")[-1].detail
    record = next(iter(site.store.ledger_read(entry, entry + 1)))
    assert detail["record"] == {
        "type": "entry", "id": str(entry), "version": "1", "sha256": record.hash,
    }  # fmt: skip
    assert (detail["signer"], detail["printed"]) == ("quinn", "Quinn Marlowe")
    assert detail["time"].startswith("2027-01-15T08:00:00")
    assert detail["offset"][0] in "+-"
    assert (detail["meaning"], detail["reason"]) == ("review", "as agreed")
    assert detail["method"] == "name and password"
    assert len(detail["session"]) == 16
    assert "review: Quinn Marlowe (quinn), 2027-01-15T08:00:00" in signed.text


def test_both_components_first_then_one_and_all_again_after_a_break(site, entry):
    token = site.people.sign_in("quinn", WORD)
    with refused("first signature"):
        site.sign("quinn", "entry", entry, token=token, typed="")
    first = site.sign("quinn", "entry", entry, token=token)
    site.clock.advance(10 * MINUTE)
    second = site.sign("quinn", "entry", entry - 1, token=token, typed="")
    with refused("wrong"):
        site.sign("quinn", "entry", entry - 2, token=token, typed="", password="")
    site.clock.advance(16 * MINUTE)
    with refused("first signature"):
        site.sign("quinn", "entry", entry - 2, token=token, typed="")

    assert (first.method, second.method) == ("name and password", "password")


def test_a_signature_needs_the_signers_own_name_and_password(site, entry):
    with refused("own name"):
        site.sign("quinn", "entry", entry, typed="oli")
    with refused("wrong"):
        site.sign("quinn", "entry", entry, password="guess")

    assert site.kinds("signature") == []
    assert site.kinds("sign-in")[-1].detail == {
        "outcome": "refused", "from": "", "purpose": "signature",
    }  # fmt: skip


def test_wrong_passwords_at_signing_lock_like_those_at_sign_in(site, entry):
    token = site.people.sign_in("quinn", WORD)
    for _ in range(5):
        with refused("wrong"):
            site.sign("quinn", "entry", entry, token=token, password="guess")
    with refused("too many"):
        site.sign("quinn", "entry", entry, token=token)

    assert site.kinds("security")[-1].subject == "quinn"


def test_the_author_neither_reviews_nor_approves_the_own_record(site, entry):
    with site.store.transaction() as tx:
        own = tx.ledger(Record("level", 1, "line-1", {}, "quinn", "ready"))
    for meaning in ("review", "approval"):
        with refused("author"):
            site.sign("quinn", "entry", own, meaning)

    assert site.sign("quinn", "entry", own, "authorship")


def test_nobody_signs_twice_for_the_same_or_without_the_role(site, entry):
    site.sign("quinn", "entry", entry)
    with refused("already", DataError):
        site.sign("quinn", "entry", entry)
    with refused("does not allow"):
        site.sign("vic", "entry", entry)
    with refused("does not allow"):
        site.sign("eva", "entry", entry, "approval")


def test_only_what_was_seen_is_signed(site):
    site.ask()
    (request,) = site.desk.requests()
    with refused("is not the present one", DataError):
        site.sign("quinn", "request", request["id"], "approval", version="0")


def test_an_artefact_is_signed_by_its_content(site):
    job = site.session.call("demo.add", {"first": 1}, site.caller("oli"))
    site.sign("quinn", "artefact", job.result_hash, "approval")

    (signed,) = site.desk.signatures("artefact", job.result_hash)
    assert signed.record["sha256"] == job.result_hash
    own = site.session.call("demo.add", {"first": 2}, site.caller("quinn"))
    with refused("author"):
        site.sign("quinn", "artefact", own.result_hash, "review")
    with refused("no artefact", DataError):
        site.sign("quinn", "artefact", "0" * 64)


def test_a_call_with_a_rule_is_refused_without_signatures(site):
    with refused("needs signatures: authorship, approval", SignatureNeeded):
        site.session.call("demo.change", {"to": 1}, site.caller("oli"))
    assert site.session.call("demo.crash", {"how": "bug"}, site.caller("oli"))
    with refused("responsibility", SignatureNeeded):
        site.session.call("demo.crash", {"how": "data"}, site.caller("oli"))


def test_a_request_is_performed_once_with_the_second_persons_signature(site):
    request, job = site.ask()
    assert (request["state"], request["lacking"], job) == ("open", ["approval"], None)

    _, job = site.desk.sign_request(
        site.caller("quinn"), request["id"], "1", site.proof("quinn", "approval")
    )

    assert job.outcome().text == "changed by oli"
    assert site.desk.request(request["id"])["state"] == "performed"
    made, performed = site.kinds("request")
    calls = [e for e in site.kinds("service") if e.subject == "demo.change"]
    assert made.detail["content"]["author"] == "oli"
    assert performed.detail["what"] == "performed"
    assert [e.detail["request"] for e in calls] == [request["id"]] * 2  # accepted, done
    with refused("performed", DataError):
        site.sign("eva", "request", request["id"], "approval")


def test_who_asks_is_never_who_approves(site):
    request, _ = site.ask()
    with refused("does not allow"):
        site.sign("eva", "request", request["id"], "approval")
    site.people.change("oli", by="test", reason="more", roles=["operator", "quality"])
    with refused("signed this"):
        site.sign("oli", "request", request["id"], "approval")
    with refused("is not approval", DataError):
        site.ask("oli", meaning="approval")

    assert site.desk.request(request["id"])["state"] == "open"


def test_a_request_ends_by_time_by_its_author_or_by_another(site):
    late, taken, rejected = (site.ask()[0]["id"] for _ in range(3))
    site.desk.close(site.caller("oli"), taken, "not needed")
    site.desk.close(site.caller("quinn"), rejected, "too early")
    site.clock.advance(25 * HOUR)

    states = {one["id"]: one["state"] for one in site.desk.requests()}
    assert states == {late: "expired", taken: "withdrawn", rejected: "rejected"}
    for id in states:
        with refused("the request is", DataError):
            site.sign("quinn", "request", id, "approval")


def test_a_request_that_was_changed_behind_the_back_is_not_performed(site):
    request, _ = site.ask()
    with site.store.transaction() as tx:
        kept = tx.get("request", request["id"])
        tx.put("request", request["id"], kept | {"plain": {"to": 99.0}})

    with refused("not what was signed", DataError):
        site.sign("quinn", "request", request["id"], "approval")
    assert not [e for e in site.kinds("service") if e.subject == "demo.change"]


def test_an_author_who_lost_the_role_changes_nothing(site):
    request, _ = site.ask()
    site.people.change("oli", by="test", reason="left the shift", roles=["viewer"])

    with refused("does not allow"):
        site.sign("quinn", "request", request["id"], "approval")


def test_signature_and_record_are_one_transaction(site, monkeypatch):
    """The signing fails after the request was put: nothing of either stays."""

    def break_it(*_, **__):
        raise DataError("by hand")

    monkeypatch.setattr(site.desk._signatures, "enter", break_it)
    with refused("by hand", DataError):
        site.ask()

    assert site.store.list("request") == {}
    assert site.kinds("request") == []


@pytest.fixture
def bundle(site, entry, tmp_path):
    """A bundle with signatures of every type but a definition, and its ledger lines."""
    request, _ = site.ask()
    site.sign("quinn", "request", request["id"], "approval")
    site.sign("quinn", "entry", entry)
    job = site.session.call("demo.add", {"first": 1}, site.caller("oli"))
    site.sign("quinn", "artefact", job.result_hash, "approval")
    write_bundle(site.store, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_the_bundle_shows_the_signatures_and_the_verifier_checks_them(site, bundle, capsys):
    assert main([str(bundle)]) == 0
    assert "4 signatures" in capsys.readouterr().out
    assert site.store.verify().ok
    shown = (bundle / "signatures.txt").read_text()
    assert shown.count("Quinn Marlowe") == 3
    assert shown.count("Oli Marlowe") == 1


def forged(bundle, change):
    """The bundle's ledger after somebody rewrote all of it, hashes too, without the heads."""

    rows = [json.loads(line) for line in (bundle / "ledger.jsonl").read_text().splitlines()]
    change(rows)
    previous, hashes = "0" * 64, {}
    for number, row in enumerate(rows):
        old = row.pop("hash", "")
        row |= {"index": number, "previous": previous}
        for signed in [row["detail"].get("record", {})]:
            if signed.get("type") == "entry":  # the forger keeps up what is easy to keep up
                signed["sha256"] = hashes.get(signed["sha256"], signed["sha256"])
        previous = hashlib.sha256(canonical(row)).hexdigest()
        hashes[old] = previous
        row["hash"] = previous
    (bundle / "ledger.jsonl").write_bytes(b"".join(canonical(row) + b"\n" for row in rows))
    (bundle / "heads.jsonl").write_bytes(b"")
    (bundle / "manifest.json").unlink()
    verifier = Verifier(bundle, [])
    verifier.run()
    return [one for one in verifier.problems if one.part != "manifest"]


def signed_rows(rows, type):
    return [r for r in rows if r["kind"] == "signature" and r["detail"]["record"]["type"] == type]


def edit_request(rows):
    (row,) = (r for r in rows if r["kind"] == "request" and r["detail"]["what"] == "made")
    row["detail"]["content"]["arguments"]["to"] = 9.0


def drop_approval(rows):
    rows.remove(signed_rows(rows, "request")[-1])


def one_signer(rows):
    for row in signed_rows(rows, "request"):
        row["detail"]["signer"] = row["who"] = "oli"


def other_artefact(rows):
    (row,) = signed_rows(rows, "artefact")
    row["detail"]["record"]["id"] = "0" * 64


def other_entry(rows):
    (row,) = signed_rows(rows, "entry")
    row["detail"]["record"]["id"] = "1"


def other_meaning(rows):
    rows[-1]["detail"]["meaning"] = "greeting"


def no_name(rows):
    (row,) = signed_rows(rows, "artefact")
    row["detail"]["printed"] = ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit_request, "does not give its SHA-256"),
        (drop_approval, "without the signature of approval"),
        (one_signer, "too few people"),
        (other_artefact, "does not fit its record: artefact"),
        (other_entry, "does not fit its record: entry"),
        (no_name, "without printed"),
        (other_meaning, "with the meaning 'greeting'"),
    ],
)
def test_a_signature_moved_to_another_record_is_found_in_a_whole_forgery(bundle, change, reason):
    found = forged(bundle, change)

    assert found
    assert {one.part for one in found} == {"signature"}
    assert reason in found[0].reason


def test_nothing_is_found_where_nothing_is_changed(bundle):
    assert forged(bundle, lambda rows: None) == []


async def test_signing_over_rest(site, entry):
    oli, quinn = (site.people.sign_in(name, WORD) for name in ("oli", "quinn"))
    signature = {
        "meaning": "authorship",
        "reason": "line is ready",
        "name": "oli",
        "password": WORD,
    }
    transport = httpx.ASGITransport(site.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:

        async def post(path, token, body):
            return await http.post(path, json=body, headers={"Authorization": f"Bearer {token}"})

        plain = await post("/api/services/demo/change", oli, {"to": 1})
        asked = await post(
            "/api/requests",
            oli,
            {"service": "demo.change", "arguments": {"to": "1 kg/h"}, "signature": signature},
        )
        id = asked.json()["id"]
        approval = {"meaning": "approval", "reason": "checked", "name": "quinn", "password": WORD}
        done = await post(f"/api/requests/{id}/sign", quinn, approval)
        review = {**approval, "meaning": "review", "type": "entry", "id": str(entry)}
        signed = await post("/api/signatures", quinn, review)
        shown = await http.get(
            f"/api/signatures?type=entry&id={entry}", headers={"Authorization": f"Bearer {quinn}"}
        )
        ledger = await http.get(
            "/api/ledger?limit=100", headers={"Authorization": f"Bearer {quinn}"}
        )
        job = await http.get(
            f"/api/jobs/{done.json()['job']}", headers={"Authorization": f"Bearer {quinn}"}
        )
        _, secret = site.people.tokens.make("oli", "t", Scope(access="act"), 1, by="oli")
        by_token = await post("/api/signatures", secret, review)

    assert (plain.status_code, plain.json()["type"]) == (403, "urn:galenic:error:SignatureNeeded")
    assert (asked.status_code, asked.json()["lacking"]) == (202, ["approval"])
    assert done.json()["performed"]["result"]["text"] == "changed by oli"
    assert signed.status_code == 200
    assert shown.json()["signatures"][0]["holds"]
    assert "Quinn Marlowe" in ledger.json()["signatures"][str(entry)][0]["text"]
    assert job.json()["request"] == id
    assert by_token.status_code == 403
    assert WORD not in ledger.text + done.text + asked.text
