"""Refusals: what a PEtab problem contains that cannot be taken over exactly."""

from __future__ import annotations

from galenic.errors import ModelError


class NotExpressible(ModelError):
    """A PEtab problem contains something that galenic cannot take over exactly."""


def refused(what: str, where: str = "", expected: str = "", hint: str = "") -> NotExpressible:
    """The error that names what cannot be imported, its file and line, and what is supported."""
    return NotExpressible(f"PEtab: {what}", where=where, expected=expected, hint=hint)
