"""One check for every surface: roles, twins, scope of tokens."""

from __future__ import annotations

import pytest

from galenic.app.index import entries
from galenic.app.permissions import Caller, concerned, require, require_service, visible
from galenic.errors import NotPermitted
from galenic.records.grants import GRANTS, ROLES, Scope

SERVICES = entries()


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_call_what_it_includes_and_nothing_else(role):
    for entry in SERVICES.values():
        plain = {a.name: "line-1" for a in entry.arguments}
        plain |= {a.name: {"twin": "line-1", "time": None} for a in entry.arguments
                  if a.kind.kind == "belief"}  # fmt: skip
        allowed = entry.role in GRANTS[role]
        if allowed:
            require_service(Caller("x", (role,)), entry, plain)
        else:
            with pytest.raises(NotPermitted, match="does not allow"):
                require_service(Caller("x", (role,)), entry, plain)


def test_a_role_for_one_twin_is_none_for_another_or_for_all():
    caller = Caller("x", ("viewer@line-1", "engineer@line-1"))
    level, enter = SERVICES["twins.level"], SERVICES["twins.enter"]

    require_service(caller, level, {"twin": "line-1"})
    with pytest.raises(NotPermitted, match="for line-2"):
        require_service(caller, level, {"twin": "line-2"})
    with pytest.raises(NotPermitted, match="does not allow"):
        require_service(caller, enter, {"twin": None})
    assert visible(caller, ["line-1", "line-2"]) == ["line-1"]


def test_what_changes_something_without_naming_a_twin_concerns_the_site():
    assert concerned(SERVICES["twins.enter"], {"twin": None}) == [None]
    assert list(concerned(SERVICES["twins.history"], {})) == [None]
    for name in ("models.simulate", "models.catalogue", "clinical.read_record"):
        assert list(concerned(SERVICES[name], {})) == []


@pytest.mark.parametrize(
    ("scope", "what", "effect", "twins", "allowed"),
    [
        (Scope(), "twins.forecast", "read", ["line-1"], True),
        (Scope(), "twins.level", "act", ["line-1"], False),
        (Scope(access="act"), "twins.level", "act", ["line-1"], True),
        (Scope(("twins.*",)), "rest.ledger", "read", [None], False),
        (Scope(("rest.ledger",)), "rest.ledger", "read", [None], True),
        (Scope(twins=("line-1",)), "twins.forecast", "read", ["line-1"], True),
        (Scope(twins=("line-1",)), "twins.forecast", "read", ["line-2"], False),
        (Scope(twins=("line-1",)), "rest.ledger", "read", [None], False),
    ],
)
def test_a_token_does_no_more_than_its_scope(scope, what, effect, twins, allowed):
    caller = Caller("x", ("engineer",), scope=scope)
    if allowed:
        require(caller, "viewer", what, twins, effect)
    else:
        with pytest.raises(NotPermitted):
            require(caller, "viewer", what, twins, effect)


def test_a_token_gives_no_role_that_its_owner_lacks():
    with pytest.raises(NotPermitted):
        require(Caller("x", ("viewer",), scope=Scope(access="act")), "engineer", "twins.level",
                ["line-1"], "act")  # fmt: skip
