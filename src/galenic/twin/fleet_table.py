"""Tables of instances of a fleet: a row for each, with its id and values."""

from __future__ import annotations

import csv
import re
from typing import Any

from galenic.errors import DataError

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
