"""The one place where permission is asked: for command line, REST, WebSocket and pages.

A person's grants say which role they have, and for which twins; a token narrows that down to its
scope. Reading endpoints and pages count as services of the stage ``rest``.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from galenic.app.index import ServiceEntry
from galenic.errors import NotPermitted
from galenic.records.grants import ROLES, Grant, Scope, gives, gives_somewhere
from galenic.twin.references import BeliefKind, TwinKind

PURE = ("models", "clinical")
"""Stages whose reading services see no records of the site."""
SITE: Sequence[str | None] = (None,)
"""The whole site, in place of twins."""


@dataclass(frozen=True)
class Caller:
    """Who calls: name, grants, and the surface (``via``: cli, rest, page, python).

    ``local`` callers sit at this machine as its user: they may name paths of files, and files
    of models, which are code. ``session`` is the id of a sign-in, ``scope`` that of a token.
    """

    name: str
    roles: tuple[str, ...] = ("viewer",)
    via: str = "python"
    local: bool = False
    session: str = ""
    scope: Scope | None = None
    token: str = ""

    def __post_init__(self) -> None:
        for role in self.roles:
            Grant.of(role)

    def may(self, role: str, twin: str | None = None) -> bool:
        """Whether the grants include ``role`` for a twin, or for the whole site."""
        if self.scope is not None and not self.scope.takes_twin(twin):
            return False
        return gives(self.roles, role, twin)

    def may_somewhere(self, role: str) -> bool:
        """Whether the grants include ``role`` for any twin."""
        return gives_somewhere(self.roles, role)


def local_caller(via: str = "python") -> Caller:
    """The user of this machine, who may do everything in a session of their own."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        name = f"uid-{os.getuid()}"
    return Caller(name, ROLES, via, local=True)


def require(
    who: Caller,
    role: str,
    what: str,
    twins: Sequence[str | None] = SITE,
    effect: str = "read",
) -> None:
    """Refuse, naming what is there and what is needed, where a caller may not.

    Parameters
    ----------
    role : str
        The role that is needed.
    what : str
        Service or endpoint, as ``twins.level`` or ``rest.ledger``.
    twins : sequence of str or None
        Twins that it concerns; None stands for the whole site; empty where any grant will do.
    effect : {"read", "compute", "act"}
        What it does.
    """
    if who.scope is not None and not who.scope.takes(what, effect):
        raise NotPermitted(
            f"this token is not for {what}", expected=f"a token whose scope has {what}"
        )
    if not twins and not who.may_somewhere(role):
        raise _refusal(who, role, what, None)
    for twin in twins:
        if not who.may(role, twin):
            raise _refusal(who, role, what, twin)


def _refusal(who: Caller, role: str, what: str, twin: str | None) -> NotPermitted:
    place = f" for {twin}" if twin is not None else ""
    where = "" if twin is not None or not who.may_somewhere(role) else " for the whole site"
    return NotPermitted(
        f"the role {' and '.join(who.roles) or 'of nobody'} does not allow {what}{place}",
        expected=f"the role {role}{where}",
        hint="ask an administrator for the role, or someone who has it",
    )


def require_service(who: Caller, entry: ServiceEntry, plain: Mapping[str, Any]) -> None:
    """Refuse a call of a service with checked arguments."""
    require(who, entry.role, entry.full_name, concerned(entry, plain), entry.effect)


def concerned(entry: ServiceEntry, plain: Mapping[str, Any]) -> Sequence[str | None]:
    """The twins that a call concerns: those it names; all of the site where it might.

    What looks at its arguments or at the catalogue alone concerns none.
    """
    named: list[str | None] = []
    for argument in entry.arguments:
        if isinstance(argument.kind, TwinKind):
            named.append(plain[argument.name])
        elif isinstance(argument.kind, BeliefKind):
            given = plain[argument.name]
            named.append(given["twin"] if given else None)
    if named:
        return named
    return () if entry.effect == "compute" or entry.stage in PURE else SITE


def require_site(who: Caller, twins: Iterable[str], what: str) -> None:
    """Refuse records of several twins to somebody who may not see each of them."""
    require(who, "viewer", what, [*twins] or SITE)


def visible(who: Caller, twins: Iterable[str]) -> list[str]:
    """Those of the twins that a caller may see."""
    return [id for id in twins if who.may("viewer", id)]


def sees_all(who: Caller) -> bool:
    """Whether a caller may see the whole site."""
    return who.may("viewer")
