"""The tables of ``library/data/pbpk``: rows with value, unit and source."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def rows(name: str) -> tuple[Mapping[str, str], ...]:
    """Rows of a table by its name without ending."""
    text = files("galenic.library").joinpath(f"data/pbpk/{name}.csv").read_text("utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@cache
def facts(drug: str) -> Mapping[str, float]:
    """Parameters of a drug by name, in the units of its table."""
    return {row["name"]: float(row["value"]) for row in rows(drug)}
