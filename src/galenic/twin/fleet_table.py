"""Instances of a fleet in tables, a row for each, and the names of their tags at a source."""

from __future__ import annotations

import csv
import re
from typing import Any

from galenic.errors import DataError

MARKS = ("{id}", "{tag}")
PATTERN = "{id}/{tag}"
HEAD = re.compile(r"\s*([^\[\]]+?)\s*(?:\[(.*)\])?\s*")


def from_table(text: str, where: str) -> dict[str, dict[str, Any]]:
    r"""Instances of a CSV table: a column ``id``, and one for each path, as ``weight [kg]``.

    Examples
    --------
    >>> from_table("id,weight [kg],sex\np1,70,1\np2,82.5,", "t.csv")
    {'p1': {'weight': '70 kg', 'sex': 1.0}, 'p2': {'weight': '82.5 kg'}}
    """
    lines = list(csv.reader(text.splitlines()))
    heads = [HEAD.fullmatch(head) for head in (lines[0] if lines else [])]
    if not heads or heads[0] is None or heads[0][1] != "id" or None in heads:
        raise DataError("the table has no column id", where=where, expected="id,weight [kg],...")
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in line):
            continue
        place = f"{where}:{number}"
        if len(line) != len(heads):
            raise DataError(
                f"{len(line)} cells", where=place, expected=f"{len(heads)}, as the head"
            )
        name = line[0].strip()
        if name in rows:
            raise DataError(f"a second row of {name!r}", where=place)
        rows[name] = {
            head[1]: _cell(cell.strip(), head[2], f"{place}, {head[1]}")
            for head, cell in zip(heads[1:], line[1:], strict=True)
            if head is not None and cell.strip()
        }
    return rows


def _cell(text: str, unit: str | None, where: str) -> Any:
    try:
        number = float(text)
    except ValueError as error:
        raise DataError(f"{text!r} is not a number", where=where) from error
    return f"{text} {unit}" if unit else number


def check_pattern(text: str, where: str = "") -> str:
    """The pattern, if instance and tag can be told apart in a name; DataError otherwise."""
    if any(text.count(mark) != 1 for mark in MARKS) or "}{" in text:
        raise DataError(
            f"tags = {text!r}", where=where,
            expected="{id} and {tag} once each with something between, as {id}/{tag}",
        )  # fmt: skip
    return text


def address(pattern: str, name: str, tag: str) -> str:
    """What a tag of an instance is called at the source.

    Examples
    --------
    >>> address("Ward1.{id}/{tag}", "p7", "Level")
    'Ward1.p7/Level'
    """
    return pattern.replace(MARKS[1], tag).replace(MARKS[0], name)
