"""$INPUT and $DATA: which columns a data file has, and which rows are read."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from galenic.errors import DataError
from galenic.inference.nonmem.refusal import refused
from galenic.inference.nonmem.stream import Stream, number_of

RESERVED = (
    "ID", "TIME", "DV", "AMT", "EVID", "CMT", "RATE", "ADDL", "II", "SS", "MDV",
)  # fmt: skip
REFUSED = ("DATE", "DAT1", "DAT2", "DAT3", "PCMT", "CALL", "CONT", "L1", "L2")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "EQ": operator.eq, "EQN": operator.eq, "==": operator.eq, "=": operator.eq,
    "NE": operator.ne, "NEN": operator.ne, "/=": operator.ne, "GT": operator.gt,
    ">": operator.gt, "LT": operator.lt, "<": operator.lt, "GE": operator.ge, ">=": operator.ge,
    "LE": operator.le, "<=": operator.le,
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """``IGNORE=(NAME.OP.value)`` or ACCEPT."""

    column: str
    sign: str
    value: str
    accept: bool

    def holds(self, row: dict[str, str]) -> bool:
        """Whether the row meets the condition."""
        text = row[self.column]
        try:
            return _SIGNS[self.sign](_number(text), float(self.value))
        except ValueError:
            same = text == self.value.strip("'\"")
            return same if self.sign in ("EQ", "=", "==") else not same


@dataclass(frozen=True)
class Columns:
    """The columns by their places (empty: dropped), the file, and which of its rows are read."""

    places: tuple[str, ...]
    file: str
    mark: str
    choices: tuple[Choice, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self.places if name)

    @property
    def free(self) -> tuple[str, ...]:
        """Columns that can be covariates."""
        return tuple(name for name in self.names if name not in RESERVED)

    def roles(self) -> dict[str, str | None]:
        """The roles of NONMEM's items; no other column has one, whatever it is called."""
        every = {name.lower(): name if name in self.names else None for name in RESERVED}
        kept = {role: name for role, name in every.items() if role not in ("id", "time", "dv")}
        return {**{r: every[r] for r in ("id", "time", "dv")}, **kept,
                "dvid": None, "blq": None, "limit": None, "occasion": None}  # fmt: skip

    @classmethod
    def of(cls, stream: Stream) -> Columns:
        """What $INPUT and $DATA of a control stream say."""
        record = stream.needed("INPUT")
        places = []
        for word in re.sub(r"\s*=\s*", "=", record.text.upper()).replace(",", " ").split():
            left, _, right = word.partition("=")
            if {left, right} & {"DROP", "SKIP"}:
                places.append("")
                continue
            name = right if right in RESERVED else left
            if {left, right} & set(REFUSED):
                raise refused(f"the column {word}", record.number, ", ".join(RESERVED))
            places.append(name)
        for name in ("ID", "TIME", "DV"):
            if name not in places:
                raise refused(f"no {name} in $INPUT", record.number, "ID, TIME and DV")
        return cls(tuple(places), *_data(stream, tuple(places)))

    def rows(self, text: str) -> list[dict[str, str]]:
        """The rows of a data file, by name."""
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or self._marked(line):
                continue
            cells = [c.strip() for c in re.split(r"[,\t]" if re.search("[,\t]", line) else r"\s+",
                                                 line.strip())]  # fmt: skip
            if len(cells) < len(self.places):
                raise DataError(
                    f"{len(cells)} values", where=f"line {number} of the data",
                    expected=f"{len(self.places)}, as $INPUT says",
                )  # fmt: skip
            row = {n: c for n, c in zip(self.places, cells, strict=False) if n}
            if self._read(row):
                found.append({n: self._cell(n, c, number) for n, c in row.items()})
        return found

    def _cell(self, name: str, text: str, number: int) -> str:
        try:
            return repr(_number(text))
        except ValueError:
            raise DataError(
                f"{text!r}", where=f"line {number} of the data, column {name}",
                expected="a number or .",
                hint="drop the column in $INPUT, or leave the row out by IGNORE",
            ) from None  # fmt: skip

    def _marked(self, line: str) -> bool:
        if self.mark == "@":
            return bool(re.match(r"\s*[A-Za-z@]", line))
        return line.startswith(self.mark)

    def _read(self, row: dict[str, str]) -> bool:
        ignored = [c for c in self.choices if not c.accept]
        accepted = [c for c in self.choices if c.accept]
        if any(choice.holds(row) for choice in ignored):
            return False
        return not accepted or any(choice.holds(row) for choice in accepted)


def _number(text: str) -> float:
    return 0.0 if text in (".", "") else float(text)  # a null item is 0 for NONMEM


def _data(stream: Stream, places: tuple[str, ...]) -> tuple[str, str, tuple[Choice, ...]]:
    record = stream.needed("DATA")
    text = re.sub(r"\s*=\s*(?![=])", "=", record.text.strip())
    file = re.match(r"'[^']*'|\"[^\"]*\"|\S+", text)
    rest = text[file.end() :] if file else ""
    mark, choices = "#", list[Choice]()
    for found in re.finditer(r"(?i)(IGNORE|ACCEPT)\s*=?\s*\(([^()]*)\)", rest):
        for part in found[2].split(","):
            choices.append(_choice(part, found[1].upper() == "ACCEPT", places, record.number))
    rest = re.sub(r"(?i)(IGNORE|ACCEPT)\s*=?\s*\(([^()]*)\)", " ", rest)
    for word in rest.split():
        if found_mark := re.fullmatch(r"(?i)IGN(?:ORE)?=['\"]?(.)['\"]?", word):
            mark = found_mark[1]
        elif not re.fullmatch(r"(?i)(REWIND|NOREWIND|CHECKOUT|WIDE|NOWIDE)", word):
            raise refused(f"{word} in $DATA", record.number, "IGNORE and ACCEPT")
    return (file[0].strip("'\"") if file else ""), mark, tuple(choices)


def _choice(text: str, accept: bool, places: tuple[str, ...], line: int) -> Choice:
    found = re.fullmatch(
        r"\s*(\w+)\s*(?:\.(EQ|NE|GT|LT|GE|LE|EQN|NEN)\.|(==|/=|>=|<=|>|<|=))\s*(\S+)\s*",
        text.upper(),
    )
    if not found or found[1] not in places:
        raise refused(f"{text.strip()!r} in $DATA", line, "NAME.EQ.value with a name of $INPUT")
    sign = found[2] or found[3]
    if sign not in ("EQ", "NE", "=", "==", "/="):
        number_of(found[4], line)
    return Choice(found[1], sign, found[4], accept)
