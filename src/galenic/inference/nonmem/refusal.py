"""Refusals: what a control stream contains that cannot be taken over exactly."""

from __future__ import annotations

from galenic.errors import ModelError


class NotExpressible(ModelError):
    """A control stream contains something that galenic cannot take over exactly."""


def refused(what: str, line: int = 0, expected: str = "", hint: str = "") -> NotExpressible:
    """The error that names what cannot be imported, its line, and what is supported."""
    where = f"line {line}" if line else ""
    return NotExpressible(f"NONMEM: {what}", where=where, expected=expected, hint=hint)
