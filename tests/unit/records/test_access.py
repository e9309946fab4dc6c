"""Passwords, lock-out, sessions and tokens."""

from __future__ import annotations

from itertools import pairwise

import argon2
import pytest

from galenic.clock import SECOND
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.records import open_site
from galenic.records.attempts import SECURITY, Locked
from galenic.records.grants import Grant, Scope, gives
from galenic.records.passwords import is_common
from galenic.records.people import BREAK_GLASS, PasswordExpired, People
from galenic.records.policy import DAY, MINUTE, AccessRules
from galenic.records.tokens import PREFIX

WORD = "wide tall harbour"
HASHER = argon2.PasswordHasher(1, 8, 1)


def people_of(site, clock, **rules):
    made = People(site, clock, HASHER, AccessRules(**rules))
    made.add("ann", WORD, ["viewer"], by="test", full_name="Ann Marlowe")
    return made


@pytest.fixture
def people(site, clock):
    return people_of(site, clock)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("short", "has 5 characters"),
        ("xxMARLOWExx", "contains the name"),
        ("P@ssw0rd1234", "tries first"),
        ("qwertyuiopqwe", "tries first"),
        ("aaaaaaaaaaaaaa", "tries first"),
        ("summersummer", "tries first"),
        ("9876543210", "tries first"),
        ("x" * 1001, "too long"),
        (WORD, "was used before"),
    ],
)
def test_a_password_that_is_easy_to_guess_or_used_before_is_refused(people, word, found):
    with pytest.raises(DataError, match=found):
        people.change_own_password("ann", WORD, word)


def test_of_so_many_earlier_passwords_none_comes_back(site, clock):
    people = people_of(site, clock, password_history=2)
    words = [WORD, "tall wide harbour", "harbour tall wide"]
    for old, new in pairwise(words):
        people.change_own_password("ann", old, new)

    with pytest.raises(DataError, match="was used before"):
        people.change_own_password("ann", words[2], words[1])
    people.change_own_password("ann", words[2], WORD)  # two others have come since


def test_ordinary_phrases_are_not_common():
    assert not any(map(is_common, ("wide tall harbour", "Rainy-Tuesday-42-boats", "kx7#mPq2vL")))


def test_an_old_password_opens_nothing_until_it_is_changed(site, clock):
    people = people_of(site, clock, password_days=90)
    clock.advance(91 * DAY)

    with pytest.raises(PasswordExpired):
        people.sign_in("ann", WORD)
    people.change_own_password("ann", WORD, "harbour tall wide")

    assert people.who(people.sign_in("ann", "harbour tall wide")).name == "ann"


def test_wrong_passwords_lock_the_name_and_are_reported_at_once(people, site, clock, tmp_path):
    heard = []
    people.attempts.listen(heard.append)
    for _ in range(4):
        with pytest.raises(NotPermitted):
            people.sign_in("ann", "wrong", origin="10.0.0.9")
    assert heard == []
    with pytest.raises(NotPermitted):
        people.sign_in("ann", "wrong", origin="10.0.0.9")

    (incident,) = heard
    entry = list(site.ledger_read(kinds=[SECURITY]))[-1]
    assert "5 wrong passwords in a row for 'ann' from 10.0.0.9" in incident.text
    assert (entry.subject, entry.detail["what"], entry.detail["from"]) == (
        "ann", "locked", "10.0.0.9",
    )  # fmt: skip
    with pytest.raises(Locked):
        people.sign_in("ann", WORD)
    with pytest.raises(Locked):  # a restart forgets nothing
        People(site, clock, HASHER).sign_in("ann", WORD)
    clock.advance(15 * MINUTE)
    assert people.sign_in("ann", WORD)


def test_a_lock_without_end_is_lifted_by_an_administrator_with_a_reason(site, clock):
    people = people_of(site, clock, lock_after=2, lock_minutes=0)
    for _ in range(2):
        with pytest.raises(NotPermitted):
            people.sign_in("ann", "wrong")
    clock.advance(400 * DAY)
    with pytest.raises(Locked, match="too many"):
        people.sign_in("ann", WORD)

    people.attempts.unlock("ann", "ada", "she called")

    assert people.sign_in("ann", WORD)
    assert list(site.ledger_read(kinds=[SECURITY]))[-1].who == "ada"


def test_a_right_password_forgets_wrong_ones_and_unknown_names_lock_alike(people):
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(NotPermitted):
                people.sign_in("ann", "wrong")
        people.sign_in("ann", WORD)
    for _ in range(5):
        with pytest.raises(NotPermitted):
            people.sign_in("nobody", "wrong")

    with pytest.raises(Locked):
        people.sign_in("nobody", "wrong")


def test_a_session_ends_when_nobody_does_anything(site, clock):
    people = people_of(site, clock, idle_minutes=10)
    token = people.sign_in("ann", WORD)
    for _ in range(5):
        clock.advance(9 * MINUTE)
        people.who(token)

    restarted = People(site, clock, HASHER, people.rules)
    assert restarted.who(token).name == "ann"
    clock.advance(10 * MINUTE)
    assert not people.sessions.is_open(token)
    with pytest.raises(NotPermitted, match="expired"):
        people.who(token)


def test_a_session_ends_at_last_however_busy(site, clock):
    people = people_of(site, clock, session_hours=1, idle_minutes=0)
    token = people.sign_in("ann", WORD)
    clock.advance(59 * MINUTE)
    people.who(token)
    clock.advance(MINUTE)

    with pytest.raises(NotPermitted):
        people.who(token)


def test_one_sign_in_too_many_ends_the_oldest_and_all_can_be_ended(site, clock):
    people = people_of(site, clock, sessions=2)
    tokens = []
    for _ in range(3):
        tokens.append(people.sign_in("ann", WORD))
        clock.advance(SECOND)

    assert [people.sessions.is_open(token) for token in tokens] == [False, True, True]
    assert people.sign_out_everywhere("ann", by="ada", reason="lost laptop") == 2
    assert people.sessions.all("ann") == []


def test_a_break_glass_account_needs_a_reason_is_short_and_told_at_once(site, clock):
    people = people_of(site, clock, local=False)
    people.add("glass", WORD, ["administrator"], by="test", break_glass=True)
    heard = []
    people.attempts.listen(heard.append)
    with pytest.raises(DataError, match="emergencies"):
        people.sign_in("glass", WORD)
    with pytest.raises(NotPermitted, match="do not sign in with a password"):
        people.sign_in("ann", WORD)

    token = people.sign_in("glass", WORD, reason="provider is down")

    entry = list(site.ledger_read(kinds=[BREAK_GLASS]))[-1]
    assert (entry.subject, entry.reason) == ("glass", "provider is down")
    assert heard[0].severity == "critical"
    clock.advance(60 * MINUTE)
    with pytest.raises(NotPermitted):
        people.who(token)


def test_a_token_is_shown_once_listed_expires_and_is_revoked(people, site, clock):
    scope = Scope(("twins.*",), ("line-1",), "read")
    made, secret = people.tokens.make("ann", "dashboard", scope, 2, by="ann")
    other, second = people.tokens.make("ann", "notebook", Scope(), 30, by="ann")

    assert secret.startswith(PREFIX)
    assert people.tokens.find(secret).scope == scope
    clock.advance(2 * DAY)
    with pytest.raises(NotPermitted):
        people.tokens.find(secret)
    people.tokens.revoke(other.id, by="ada", reason="not used")
    with pytest.raises(NotPermitted):
        people.tokens.find(second)
    states = {token.id: token.state(clock.now()) for token in people.tokens.all()}
    assert states == {made.id: "expired", other.id: "revoked"}
    with pytest.raises(DataError, match="at most 365 days"):
        people.tokens.make("ann", "x", Scope(), 400, by="ann")
    with pytest.raises(UnknownName):
        people.tokens.revoke("0", by="ada", reason="x")


def test_no_secret_is_in_records_or_log(people, site, caplog):
    """Passwords, sign-ins and tokens: searched for in every file of the site and in the log."""
    caplog.set_level(0)
    token = people.sign_in("ann", WORD)
    _, secret = people.tokens.make("ann", "dashboard", Scope(), 2, by="ann")
    people.change_own_password("ann", WORD, "harbour tall wide")
    for _ in range(5):
        with pytest.raises(NotPermitted):
            people.sign_in("ann", "guessed wrongly here")
    site.close()

    data = b"".join(path.read_bytes() for path in site.folder.rglob("*") if path.is_file())
    secrets = (WORD, "harbour tall wide", "guessed wrongly here", token, secret)
    assert b"ann" in data
    for text in secrets:
        assert text.encode() not in data
        assert text not in caplog.text


def test_older_sites_open_with_the_people_they_have(tmp_path, clock):
    """A person and a sign-in as they were kept before there were rules."""
    with open_site(tmp_path / "old", clock=clock) as store:
        with store.transaction() as tx:
            record = {"full_name": "Ann", "roles": ["viewer"], "active": True, "created": 1}
            tx.put("person", "ann", record | {"password": HASHER.hash(WORD)})
        people = People(store, clock, HASHER)
        assert people.who(people.sign_in("ann", WORD)).full_name == "Ann"


def test_a_grant_for_some_twins_is_none_for_the_site():
    grants = ("viewer", "operator@line-*")

    assert gives(grants, "operator", "line-7")
    assert not gives(grants, "operator", "tank-1")
    assert not gives(grants, "operator")
    with pytest.raises(UnknownName):
        Grant.of("opperator")
    with pytest.raises(DataError):
        Grant.of("operator@")
