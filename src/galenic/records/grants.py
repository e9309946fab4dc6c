"""Roles, where they hold, and the scope of a token: what the one check of permissions looks at.

A grant is a role, for the whole site (``operator``) or for the twins whose id fits a pattern
(``operator@line-*``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from galenic.errors import DataError, UnknownName

GRANTS: dict[str, frozenset[str]] = {
    "viewer": frozenset({"viewer"}),
    "operator": frozenset({"viewer", "operator"}),
    "engineer": frozenset({"viewer", "operator", "engineer"}),
    "quality": frozenset({"viewer", "quality"}),
    "administrator": frozenset({"viewer", "administrator"}),
    "service": frozenset({"viewer", "service"}),
}
"""What each role may act as. Nobody gets quality or administrator by being something else."""

ROLES = tuple(GRANTS)
EVERY = "*"
ACCESS = ("read", "act")


@dataclass(frozen=True)
class Grant:
    """A role, and a pattern of the ids of twins for which it holds."""

    role: str
    twins: str = EVERY

    @classmethod
    def of(cls, text: str) -> Grant:
        """The grant that a text names.

        Examples
        --------
        >>> Grant.of("operator@line-*")
        Grant(role='operator', twins='line-*')
        """
        role, at, twins = text.partition("@")
        if role not in GRANTS:
            raise UnknownName.among("role", role, ROLES)
        if at and not twins.strip():
            raise DataError(f"{text!r} names no twin", expected="ROLE or ROLE@PATTERN")
        return cls(role, twins or EVERY)

    def gives(self, role: str, twin: str | None) -> bool:
        """Whether it includes ``role`` for a twin; None means for the whole site."""
        if role not in GRANTS[self.role]:
            return False
        return self.twins == EVERY if twin is None else fnmatchcase(twin, self.twins)


def gives(grants: Iterable[str], role: str, twin: str | None = None) -> bool:
    """Whether one of the grants includes ``role`` for a twin, or for the whole site."""
    return any(Grant.of(text).gives(role, twin) for text in grants)


def gives_somewhere(grants: Iterable[str], role: str) -> bool:
    """Whether one of the grants includes ``role`` for any twin."""
    return any(role in GRANTS[Grant.of(text).role] for text in grants)


def known_grants(grants: Iterable[str]) -> list[str]:
    """The grants, each once, or an error that names the wrong one."""
    wanted = list(dict.fromkeys(grants))
    for text in wanted:
        Grant.of(text)
    if not wanted:
        raise DataError("a user needs a role", expected=", ".join(ROLES))
    return wanted


@dataclass(frozen=True)
class Scope:
    """What a token is for; patterns as in file names, an empty tuple takes everything.

    Parameters
    ----------
    services : tuple of str
        Services (``twins.forecast``, ``models.*``) and endpoints that read (``rest.ledger``).
    twins : tuple of str
        Ids of twins.
    access : {"read", "act"}
        ``read`` allows no service that changes something.
    """

    services: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    access: str = "read"

    def __post_init__(self) -> None:
        if self.access not in ACCESS:
            raise UnknownName.among("access of a token", self.access, ACCESS)

    def takes(self, what: str, effect: str) -> bool:
        """Whether a service or endpoint is in it."""
        if effect == "act" and self.access != "act":
            return False
        return not self.services or any(fnmatchcase(what, one) for one in self.services)

    def takes_twin(self, twin: str | None) -> bool:
        """Whether a twin is in it; None means the whole site."""
        if not self.twins:
            return True
        return twin is not None and any(fnmatchcase(twin, one) for one in self.twins)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"services": list(self.services), "twins": list(self.twins), "access": self.access}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Scope:
        return cls(tuple(record["services"]), tuple(record["twins"]), record["access"])
