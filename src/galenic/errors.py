"""The errors of galenic. Each says what was found, what was expected, where, and what to try.

GalenicError
├─ ModelError            the model is wrong as written
│  ├─ UnitError          dimensions disagree, or a unit is not known
│  ├─ StructureError     missing or extra equation, open port, index above one
│  └─ UnknownName        a name that does not exist, with close matches
├─ SolveError            numerics failed; carries time, state and the stiffest equation
├─ DataError             unusable data or configuration; carries place and reason
├─ ConnectionLost        recoverable; the runner retries
├─ StorageError          the store cannot take or give a record now (full, read-only, damaged)
└─ NotPermitted          a guard, a level or a role said no; always audited
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class GalenicError(Exception):
    """Base of all errors that a user can act on.

    Parameters
    ----------
    found : str
        What was found, in one sentence.
    where : str, optional
        File and line, path in a model, row and column, or tag.
    expected : str, optional
        What would have been right.
    hint : str, optional
        What to try.
    """

    def __init__(self, found: str, *, where: str = "", expected: str = "", hint: str = "") -> None:
        self.found = found
        self.where = where
        self.expected = expected
        self.hint = hint
        super().__init__(found)

    def __str__(self) -> str:
        lines = [self.found]
        if self.where:
            lines.append(f"  in {self.where}")
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, str]:
        """The same facts as named fields, for JSON output and the ledger."""
        facts = {"error": type(self).__name__, "found": self.found}
        facts |= {key: getattr(self, key) for key in ("where", "expected", "hint")}
        return {key: value for key, value in facts.items() if value}


class ModelError(GalenicError):
    """The model is wrong as written."""


class UnitError(ModelError):
    """Dimensions disagree, or a unit is not known."""


class StructureError(ModelError):
    """A missing or extra equation, an open port, an index above one."""


class UnknownName(ModelError):
    """A name that does not exist; the hint carries close matches."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str], *, where: str = "") -> UnknownName:
        """The error for ``name`` where one of ``known`` was expected."""
        names = sorted(set(known))
        close = _close(name, names)
        if close:
            hint = "did you mean " + " or ".join(repr(match) for match in close) + "?"
        else:
            hint = f"known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
        return cls(f"there is no {kind} {name!r}", where=where, hint=hint)


def _close(name: str, names: list[str]) -> list[str]:
    """The nearest three of ``names``; upper and lower case count as the same letter."""
    folded = [(known.casefold(), known) for known in names]
    matches = get_close_matches(name.casefold(), [plain for plain, _ in folded], n=3, cutoff=0.5)
    return [known for match in dict.fromkeys(matches) for plain, known in folded if plain == match]


class SolveError(GalenicError):
    """Numerics failed at a known time, in a known state.

    Parameters
    ----------
    time : float [s], optional
        Model time of the failure.
    state : str, optional
        Path of the state with the largest local error or the worst residual.
    stiffness : float [1], optional
        Ratio of the fastest to the slowest time scale at the failure.
    """

    def __init__(
        self,
        found: str,
        *,
        time: float | None = None,
        state: str = "",
        stiffness: float | None = None,
        where: str = "",
        expected: str = "",
        hint: str = "",
    ) -> None:
        self.time = time
        self.state = state
        self.stiffness = stiffness
        super().__init__(found, where=where, expected=expected, hint=hint)


class DataError(GalenicError):
    """Unusable data or configuration, with its place."""


class ConnectionLost(GalenicError):
    """A physical thing or its server cannot be reached now; the runner retries."""


class StorageError(GalenicError):
    """The store cannot take or give a record now: full, read-only or damaged."""


class NotPermitted(GalenicError):
    """A guard, a level or a role said no. The refusal is always recorded."""
