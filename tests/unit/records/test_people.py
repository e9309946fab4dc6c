"""Users, passwords and sign-in tokens."""

from __future__ import annotations

import argon2
import pytest

from galenic.clock import SECOND
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.records.people import GRANTS, PERSON, SIGN_IN, People

WORD = "correct horse"


@pytest.fixture
def people(site, clock):
    return People(site, clock, argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


def test_the_first_run_makes_one_operator_and_tells_the_password_once(people):
    password = people.first_run()

    assert people.first_run() is None
    assert "operator" == people.who(people.sign_in("operator", password)).name
    assert people.get("operator").may("operator")


def test_neither_password_nor_token_is_in_the_files(people, site):
    people.add("ann", WORD, ["viewer"], by="operator")
    token = people.sign_in("ann", WORD)
    site.close()

    data = b"".join(path.read_bytes() for path in site.folder.rglob("*") if path.is_file())
    assert WORD.encode() not in data
    assert token.encode() not in data
    assert b"$argon2id$" in data


@pytest.mark.parametrize(("name", "word"), [("ann", "wrong"), ("nobody", WORD)])
def test_a_wrong_name_and_a_wrong_password_read_the_same_and_are_recorded(people, site, name, word):
    people.add("ann", WORD, ["viewer"], by="operator")

    with pytest.raises(NotPermitted, match="the name or the password is wrong"):
        people.sign_in(name, word)

    entry = list(site.ledger_read(kinds=[SIGN_IN]))[-1]
    assert (name, "refused") == (entry.subject, entry.detail["outcome"])


def test_a_sign_in_ends_by_time_by_hand_and_by_change(people, clock, site):
    people.add("ann", WORD, ["viewer"], by="operator")
    old, other, third = (people.sign_in("ann", WORD, lifetime=SECOND) for _ in range(3))

    people.sign_out(other)
    with pytest.raises(NotPermitted):
        people.who(other)
    clock.advance(SECOND)
    with pytest.raises(NotPermitted, match="expired"):
        people.who(old)
    fresh = people.sign_in("ann", WORD)
    assert 1 == len(site.list(SIGN_IN))
    people.change("ann", by="operator", reason="left the team", roles=["operator"])
    with pytest.raises(NotPermitted):
        people.who(fresh)
    with pytest.raises(NotPermitted):
        people.who(third)


def test_a_person_who_is_not_active_cannot_sign_in(people):
    people.add("ann", WORD, ["viewer"], by="operator")
    people.change("ann", by="operator", reason="left", active=False)

    with pytest.raises(NotPermitted):
        people.sign_in("ann", WORD)


def test_changes_are_in_the_ledger_with_who_and_why(people, site):
    people.add("ann", WORD, ["viewer"], by="operator", reason="new")
    people.change("ann", by="operator", reason="promoted", roles=["engineer"])

    last = list(site.ledger_read(kinds=[PERSON]))[-1]
    assert ("ann", "operator", "promoted") == (last.subject, last.who, last.reason)
    assert ["engineer"] == last.detail["roles"]
    assert "password" not in last.detail


def test_quality_and_administration_are_never_implied():
    for role, grants in GRANTS.items():
        assert role in grants
        assert not (grants - {role}) & {"quality", "administrator", "service"}


def test_what_is_refused_says_why(people):
    people.add("ann", WORD, ["viewer"], by="operator")

    with pytest.raises(DataError, match="already a user 'ann'"):
        people.add("ann", WORD, ["viewer"], by="operator")
    with pytest.raises(UnknownName, match="no role 'opperator'") as caught:
        people.add("bob", WORD, ["opperator"], by="operator")
    assert "'operator'" in caught.value.hint
    with pytest.raises(DataError, match="needs a role"):
        people.add("bob", WORD, [], by="operator")
    with pytest.raises(DataError, match="has 5 characters"):
        people.add("bob", "short", ["viewer"], by="operator")
    with pytest.raises(UnknownName, match="no user 'an'"):
        people.get("an")
    with pytest.raises(DataError, match="no user name"):
        people.add(" ", WORD, ["viewer"], by="operator")


def test_a_weaker_hash_is_renewed_at_sign_in(people, site, clock):
    people.add("ann", WORD, ["viewer"], by="operator")
    before = site.get(PERSON, "ann")["password"]

    stronger = argon2.PasswordHasher(time_cost=2, memory_cost=64, parallelism=1)
    People(site, clock, stronger).sign_in("ann", WORD)

    assert before != site.get(PERSON, "ann")["password"]
    assert ["ann"] == [person.name for person in people.all()]
