"""Pairs of drugs that change each other's effect or exposure; a short list, with sources."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Interaction:
    """Two drugs that are known to interact.

    ``severity`` is ``high`` (avoid or act) or ``medium`` (watch).
    """

    first: str
    second: str
    severity: str
    effect: str
    mechanism: str
    source: str


@cache
def known() -> tuple[Interaction, ...]:
    """All pairs that ship. What is not listed is not thereby safe."""
    path = files("galenic.library") / "data/patient/interactions.csv"
    with path.open(encoding="utf-8") as file:
        return tuple(Interaction(**row) for row in csv.DictReader(file))


def among(drugs: Iterable[str]) -> tuple[Interaction, ...]:
    """The listed interactions among drugs that are taken together, the worst first.

    Examples
    --------
    >>> [(i.first, i.second) for i in among(["warfarin", "naproxen", "metformin"])]
    [('naproxen', 'warfarin')]
    """
    taken = {drug.lower() for drug in drugs}
    found = [i for i in known() if {i.first, i.second} <= taken]
    return tuple(sorted(found, key=lambda i: (i.severity != "high", i.first, i.second)))
