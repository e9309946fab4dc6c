"""The rules of a site about access: passwords, lock-out, length of sessions and tokens.

A project file sets them in its table ``[access]``; see docs/reference/project-file.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from galenic.clock import SECOND

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND


@dataclass(frozen=True)
class AccessRules:
    """What a site demands of those who sign in. 0 turns a limit of time or number off.

    Parameters
    ----------
    password_length : int
        Characters of the shortest password.
    password_history : int
        So many earlier passwords of a person are not taken again.
    password_days : float [d]
        Age at which a password has to be changed.
    lock_after : int
        Wrong passwords in a row after which a name is locked.
    lock_minutes : float [min]
        How long; 0 locks until an administrator unlocks it.
    session_hours : float [h]
        Longest time between sign-in and sign-out.
    idle_minutes : float [min]
        Longest time without any request; an open page that nobody touches counts as idle.
    sessions : int
        Sign-ins that one person may have at once; the oldest ends.
    break_glass_minutes : float [min]
        Longest session of a break-glass account.
    signing_minutes : float [min]
        Time after a signature within which the next one needs the password alone.
    token_days : float [d]
        Longest life of an API token.
    local : bool
        Whether people with a password may sign in beside OpenID Connect; break-glass accounts
        always may.
    command_line : tuple of str
        Roles of whoever can read the site's ``server.json``, that is of the user who started the
        server, without a sign-in.
    """

    password_length: int = 10
    password_history: int = 5
    password_days: float = 0.0
    lock_after: int = 5
    lock_minutes: float = 15.0
    session_hours: float = 12.0
    idle_minutes: float = 120.0
    sessions: int = 10
    break_glass_minutes: float = 60.0
    signing_minutes: float = 15.0
    token_days: float = 365.0
    local: bool = True
    command_line: tuple[str, ...] = (
        "viewer", "operator", "engineer", "quality", "administrator", "service"
    )  # fmt: skip

    @property
    def lifetime(self) -> int:
        """Longest session [ns]."""
        return round(self.session_hours * HOUR)

    @property
    def idle(self) -> int:
        """Longest rest of a session [ns]; 0 for any."""
        return round(self.idle_minutes * MINUTE)


MEANINGS = ("authorship", "review", "approval", "responsibility")
BY_ANOTHER = ("review", "approval")
"""Meanings of a signature that the author of the signed record can never give to it."""


@dataclass(frozen=True)
class SignatureRule:
    """Which signatures a call of a service needs before it is performed.

    Parameters
    ----------
    of : str
        The service, as ``twins.level``; a pattern as of file names.
    meanings : tuple of str
        One signature of each, all by different people; the first is the caller's own.
    when : mapping
        Only calls with these arguments, as ``{"to": "twin"}``.
    role : str
        Who signs after the first must have it; empty for the role that the service needs.
    hours : float [h]
        How long a call waits for its signatures.
    """

    of: str
    meanings: tuple[str, ...] = ("authorship", "approval")
    when: Mapping[str, Any] = field(default_factory=dict)
    role: str = ""
    hours: float = 24.0

    def fits(self, service: str, arguments: Mapping[str, Any]) -> bool:
        """Whether a call needs these signatures."""
        if not fnmatchcase(service, self.of):
            return False
        return all(arguments.get(name) == value for name, value in self.when.items())
