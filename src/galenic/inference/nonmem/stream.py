"""A NONMEM control stream, cut into its records.

Sources: ICON, NONMEM Users Guides, part IV (NM-TRAN) and part VIII (help), as publicly documented.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from galenic.inference.nonmem.refusal import refused

RECORDS = {
    "PROBLEM": 4, "INPUT": 3, "DATA": 3, "SUBROUTINES": 3, "MODEL": 3, "PK": 2, "DES": 3,
    "ERROR": 3, "THETA": 3, "OMEGA": 3, "SIGMA": 3, "ESTIMATION": 3, "COVARIANCE": 3, "TABLE": 3,
}  # fmt: skip
"""Records that are read, and how many letters tell them."""
SYNONYMS = {"ESTM": "ESTIMATION", "ESTIMATE": "ESTIMATION", "COVR": "COVARIANCE"}
SUPPORTED = ", ".join(f"${name}" for name in RECORDS)


@dataclass(frozen=True)
class Line:
    """One line of a record: its number in the file, text without comment, comment."""

    number: int
    text: str
    comment: str = ""


@dataclass(frozen=True)
class Record:
    """One record: its name in full, the line it begins on, its lines."""

    name: str
    number: int
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines)


@dataclass(frozen=True)
class Theta:
    """A fixed effect as declared."""

    value: float
    lower: float = -math.inf
    upper: float = math.inf
    fixed: bool = False
    comment: str = ""
    line: int = 0


@dataclass(frozen=True)
class Block:
    """Variances and covariances of effects: ``rows`` of the lower triangle."""

    rows: tuple[tuple[float, ...], ...]
    fixed: bool = False
    line: int = 0
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Stream:
    """A control stream: records by name, in order."""

    records: tuple[Record, ...]
    thetas: tuple[Theta, ...] = field(init=False)
    omegas: tuple[Block, ...] = field(init=False)
    sigmas: tuple[Block, ...] = field(init=False)

    def __post_init__(self) -> None:
        every = [theta for record in self.all("THETA") for theta in _thetas(record)]
        object.__setattr__(self, "thetas", tuple(every))
        for name, kind in (("omegas", "OMEGA"), ("sigmas", "SIGMA")):
            blocks = [block for record in self.all(kind) for block in _blocks(record)]
            object.__setattr__(self, name, tuple(blocks))

    def all(self, name: str) -> list[Record]:
        """The records of a name."""
        return [record for record in self.records if record.name == name]

    def one(self, name: str) -> Record | None:
        """The record of a name that may stand once."""
        found = self.all(name)
        if len(found) > 1:
            raise refused(f"a second ${name}", found[1].number, f"${name} once")
        return found[0] if found else None

    def needed(self, name: str) -> Record:
        """The record of a name that has to be there."""
        found = self.one(name)
        if found is None:
            raise refused(f"no ${name}", expected=f"a ${name} record")
        return found


def read(text: str) -> Stream:
    """The records of a control stream."""
    records: list[tuple[str, int, list[Line]]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        body, _, comment = raw.partition(";")
        start = re.match(r"\s*\$([A-Za-z]+)(.*)", body)
        if start:
            name = _full(start[1].upper(), number)
            if name == "PROBLEM" and any(r[0] == "PROBLEM" for r in records):
                raise refused("a second $PROBLEM", number, "one problem per file")
            records.append((name, number, []))
            body = start[2]
        elif not records:
            if body.strip():
                raise refused(f"{body.strip()!r} before the first record", number, "$PROBLEM")
            continue
        records[-1][2].append(Line(number, body.strip(), comment.strip()))
    return Stream(tuple(Record(name, number, tuple(lines)) for name, number, lines in records))


def _full(word: str, number: int) -> str:
    word = SYNONYMS.get(word, word)
    for name, least in RECORDS.items():
        if len(word) >= least and (name.startswith(word) or (name == "PROBLEM" and word == "PROB")):
            return name
    raise refused(f"the record ${word} is not supported", number, SUPPORTED)


def number_of(text: str, line: int) -> float:
    """A number as Fortran writes it."""
    try:
        return float(text.upper().replace("D", "E"))
    except ValueError:
        raise refused(f"{text!r} where a number is expected", line, "a number") from None


_TOKEN = re.compile(r"\(([^()]*)\)(?:\s*[xX]\s*\d+)?|[^\s(),]+")
_FIX = {"FIX", "FIXED"}


def _tokens(record: Record) -> list[tuple[str, Line]]:
    """Words and bracketed groups of a record, with their lines."""
    found = []
    for line in record.lines:
        rest = _TOKEN.sub("", line.text).replace(",", "").strip()
        if rest:
            raise refused(
                f"{rest!r} in ${record.name}", line.number, "groups in brackets on one line"
            )
        for match in _TOKEN.finditer(line.text):
            if re.search(r"\)\s*[xX]\s*\d+$", match[0]):
                raise refused(f"repetition {match[0]!r}", line.number, "each value written out")
            found.append((match[0], line))
    return found


def _thetas(record: Record) -> list[Theta]:
    found: list[Theta] = []
    for token, line in _tokens(record):
        if token.upper() in _FIX:
            if not found or found[-1].line != line.number:
                raise refused(f"{token} without a value", line.number, "0.5 FIX or (0.5 FIX)")
            last = found.pop()
            found.append(Theta(last.value, last.lower, last.upper, True, last.comment, last.line))
            continue
        found.append(_theta(token, line))
    return found


def _theta(token: str, line: Line) -> Theta:
    inside = token.strip("()")
    fixed = bool(re.search(r"\bFIX(ED)?\b", inside.upper()))
    inside = re.sub(r"(?i)\bFIX(ED)?\b", " ", inside).strip()
    parts = [part.strip() for part in (inside.split(",") if "," in inside else inside.split())]
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise refused(
            f"$THETA {token}", line.number, "value, (low, value) or (low, value, high), FIX"
        )
    infinite = {"INF": math.inf, "+INF": math.inf, "-INF": -math.inf, "1000000": math.inf,
                "-1000000": -math.inf}  # fmt: skip
    values = [infinite.get(p.upper(), None) for p in parts]
    numbers = [v if v is not None else number_of(p, line.number)
               for v, p in zip(values, parts, strict=True)]  # fmt: skip
    if len(numbers) == 1:
        numbers = [-math.inf, numbers[0]]
    lower, value, upper = (*numbers, math.inf)[:3]
    if not lower <= value <= upper or not math.isfinite(value):
        raise refused(f"$THETA {token}", line.number, "a start value between its bounds")
    return Theta(value, lower, upper, fixed, line.comment, line.number)


def _blocks(record: Record) -> list[Block]:
    text = record.text.upper()
    opening = re.search(r"BLOCK\s*(?:\(\s*(\d+)\s*\))?", text)
    number = record.number
    for word in ("SD", "STANDARD", "CORR", "CORRELATION", "CHOLESKY", "VALUES"):
        if re.search(rf"\b{word}", text):
            raise refused(f"{word} in ${record.name}", number, "variances and covariances")
    if re.search(r"\bSAME\b", text):
        raise refused(
            f"SAME in ${record.name}", number, "effects of one occasion",
            "declare what differs between occasions by Population(occasions=...)",
        )  # fmt: skip
    lines = tuple(
        Line(one.number, re.sub(r"(?i)(BLOCK|DIAGONAL)\s*(\(\s*\d+\s*\))?", " ", one.text),
             one.comment) for one in record.lines
    )  # fmt: skip
    values: list[tuple[float, bool, Line]] = []
    fixed = False
    for token, line in _tokens(Record(record.name, number, lines)):
        word = token.strip("()").upper()
        inside = bool(re.search(r"\bFIX(ED)?\b", word))
        rest = re.sub(r"\bFIX(ED)?\b", " ", word).strip()
        if not rest:
            fixed = fixed or opening is not None
            if values and opening is None:
                values[-1] = (values[-1][0], True, values[-1][2])
            continue
        values.append((number_of(rest, line.number), inside, line))
    if opening is None:
        return [Block(((v,),), fix, line.number, (line.comment,)) for v, fix, line in values]
    fixed = fixed or any(fix for _, fix, _ in values)
    size = int(opening[1] or 1)
    if len(values) != size * (size + 1) // 2:
        raise refused(
            f"BLOCK({size}) with {len(values)} values", number, f"{size * (size + 1) // 2} values"
        )
    rows = [tuple(v for v, _, _ in values[i * (i + 1) // 2 : (i + 1) * (i + 2) // 2])
            for i in range(size)]  # fmt: skip
    comments = tuple(values[i * (i + 1) // 2 + i][2].comment for i in range(size))
    return [Block(tuple(rows), fixed, number, comments)]
