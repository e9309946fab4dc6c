"""Refusals: what an SBML model contains that cannot be expressed."""

from __future__ import annotations

from galenic.errors import ModelError


class NotExpressible(ModelError):
    """An SBML model contains something that the language cannot say exactly."""


def refused(what: str, where: str = "", hint: str = "") -> NotExpressible:
    """The error that names what cannot be imported, and where it stands."""
    return NotExpressible(f"SBML: {what} cannot be imported", where=where, hint=hint)
