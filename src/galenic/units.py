"""Units: an allow-list, dimension algebra, and quantities at the border.

Inside the house every number is an SI float (kg, m, s, K, mol, A; counts are dimensions of their
own). Units appear where people and devices do: declarations, files, screens, tags.

``degC`` and ``degF`` name points on a scale; ``delta_degC`` (and ``K`` where it is meant so) names
a difference. Spreads, tolerances and sensitivities are always differences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

from galenic.errors import UnitError
from galenic.unit_table import ALIASES, BASES, DEFINED, NAMES, POINTS, PREFIXES

Exponents = tuple[Fraction | int, ...]

NONE: Exponents = (0,) * len(BASES)

_SUPERSCRIPTS = str.maketrans("⁻¹²³", "-123")
# Phrases with their own slash or space; w/v is grams per 100 mL.
_PHRASES = (
    (re.compile(r"%\s*\(?\s*(w/w|v/v|RH|m/m)\s*\)?"), "%"),
    (re.compile(r"%\s*\(?\s*w/v\s*\)?"), "(10*g/L)"),
    (re.compile(r"1\.73\s*m(\^?2|²)"), "(1.73*m^2)"),
    (re.compile(r"[⁻¹²³]+"), lambda m: "^" + m[0].translate(_SUPERSCRIPTS)),
)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?)"
    r"|(?P<symbol>Δ°C|[^\W\d]+(?:_[^\W\d]+)*|%|°[CF]?)"
    r"|(?P<operator>\*\*|[*/^()·⋅.-]))"
)

DIMENSION_NAMES: dict[Exponents, str] = {}


class Unit:
    """A unit of measurement; made by :func:`unit`, combined by ``*``, ``/`` and ``**``.

    Attributes
    ----------
    text : str
        The unit as written.
    dimension : tuple
        Exponents over :data:`BASES`.
    scale, offset : float
        SI value = value * scale + offset.
    """

    __slots__ = ("_hash", "dimension", "offset", "scale", "symbols", "text")

    def __init__(
        self,
        text: str,
        dimension: Exponents,
        scale: float,
        offset: float = 0.0,
        symbols: tuple[tuple[str, Fraction | int], ...] = (),
    ) -> None:
        for name, value in zip(
            ("text", "dimension", "scale", "offset", "symbols"),
            (text, dimension, scale, offset, symbols),
            strict=True,
        ):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_hash", hash((text, dimension, scale, offset)))

    text: str
    dimension: Exponents
    scale: float
    offset: float
    symbols: tuple[tuple[str, Fraction | int], ...]
    _hash: int

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a Unit does not change")

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Unit):
            return NotImplemented
        return (self.text, self.dimension, self.scale, self.offset) == (
            other.text, other.dimension, other.scale, other.offset
        )  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return unit, (self.text,)

    def __repr__(self) -> str:
        return f"unit({self.text!r})"

    def __str__(self) -> str:
        return self.text

    @property
    def is_temperature_point(self) -> bool:
        """Whether values lie on a scale with its own zero, as degC."""
        return self.offset != 0.0

    @property
    def is_temperature_difference(self) -> bool:
        """Whether the unit was written as a difference, as delta_degC."""
        return self.text.startswith("delta_deg")

    @property
    def is_dimensionless(self) -> bool:
        """Whether all exponents are zero."""
        return self.dimension == NONE

    @property
    def difference(self) -> Unit:
        """The unit of differences of values in this unit (degC gives delta_degC)."""
        return unit(f"delta_{self.text}") if self.is_temperature_point else self

    def same_dimension(self, other: Unit) -> bool:
        """Whether values of both can be compared."""
        return self.dimension is other.dimension or self.dimension == other.dimension

    def __mul__(self, other: Unit) -> Unit:
        return _product(self, other)

    def __truediv__(self, other: Unit) -> Unit:
        return _quotient(self, other)

    def __pow__(self, exponent: float | Fraction) -> Unit:
        return _power(self, exponent)


def _text_of(symbols: Mapping[str, Fraction | int]) -> str:
    """Symbols and exponents as text that :func:`unit` reads: ``mol/(L*min)``."""

    def factor(symbol: str, exponent: Fraction | int) -> str:
        return symbol if exponent == 1 else f"{symbol}^{exponent}"

    above = [factor(s, e) for s, e in symbols.items() if e > 0]
    below = [factor(s, -e) for s, e in symbols.items() if e < 0]
    top = "*".join(above) or "1"
    if not below:
        return top
    return f"{top}/{below[0]}" if len(below) == 1 else f"{top}/({'*'.join(below)})"


def _si_text(dimension: Exponents) -> str:
    return _text_of({base: e for base, e in zip(BASES, dimension, strict=True) if e})


_interned: dict[Exponents, Exponents] = {NONE: NONE}


def _intern(dimension: Exponents) -> Exponents:
    return _interned.setdefault(dimension, dimension)


def _whole(value: Fraction | int) -> Fraction | int:
    return int(value) if value == int(value) else value


def _merged(a: Unit, b: Unit, sign: int) -> dict[str, Fraction | int]:
    symbols = dict(a.symbols)
    for symbol, exponent in b.symbols:
        symbols[symbol] = symbols.get(symbol, 0) + sign * exponent
    return {s: e for s, e in symbols.items() if e}


def _combined(a: Unit, b: Unit, sign: int) -> Unit:
    dimension = _intern(tuple(x + sign * y for x, y in zip(a.dimension, b.dimension, strict=True)))
    symbols = _merged(a, b, sign)
    cancels = len(symbols) < len({s for s, _ in a.symbols} | {s for s, _ in b.symbols})
    if sign > 0 and not cancels and a.symbols and b.symbols and len(a.symbols + b.symbols) < 7:
        text = f"{a.text} * {b.text}"
    else:
        text = _text_of(symbols)
    if len(symbols) > 6:
        text = _si_text(dimension)
    scale = a.scale * b.scale**sign
    return Unit(text, dimension, scale, 0.0, tuple(symbols.items()))


@cache
def _product(a: Unit, b: Unit) -> Unit:
    if not b.symbols and b.scale == 1.0:
        return a.difference
    if not a.symbols and a.scale == 1.0:
        return b.difference
    return _combined(a.difference, b.difference, 1)


@cache
def _quotient(a: Unit, b: Unit) -> Unit:
    if not b.symbols and b.scale == 1.0:
        return a.difference
    return _combined(a.difference, b.difference, -1)


@lru_cache(maxsize=4096)
def _power(a: Unit, exponent: float | Fraction) -> Unit:
    power = Fraction(exponent).limit_denominator(60)
    dimension = _intern(tuple(_whole(x * power) for x in a.dimension))
    symbols = {s: _whole(e * power) for s, e in a.symbols if power}
    return Unit(_text_of(symbols), dimension, a.scale ** float(power), 0.0, tuple(symbols.items()))


@cache
def _symbol(name: str) -> Unit | None:
    """The unit of one symbol of the allow-list, prefix included; None if it has none."""
    name = ALIASES.get(name, name)
    if name in POINTS:
        scale, offset = POINTS[name]
        return Unit(name, _intern(_exponents({"K": 1})), scale, offset, ((name, 1),))
    factor, body = 1.0, name
    if name not in DEFINED:
        factor, body = PREFIXES.get(name[0], 0.0), name[1:]
        if not factor or not DEFINED.get(body, (0, 0, False))[2]:
            return None
    scale, bases, _ = DEFINED[body]
    symbols = () if name == "1" else ((name, 1),)
    return Unit(name, _intern(_exponents(bases)), factor * scale, 0.0, symbols)


def _exponents(bases: Mapping[str, int]) -> Exponents:
    return tuple(bases.get(base, 0) for base in BASES)


class _Parser:
    """Recursive descent over ``a*b/c^2 (d)``; ``*`` and ``/`` bind from the left."""

    def __init__(self, text: str) -> None:
        self.text = text
        source = text
        for pattern, replacement in _PHRASES:
            source = pattern.sub(replacement, source)
        self.tokens = self._split(source)
        self.at = 0

    def _split(self, source: str) -> list[str]:
        tokens, position = [], 0
        source = source.strip()
        while position < len(source):
            match = _TOKEN.match(source, position)
            if match is None:
                raise UnitError(f"cannot read the unit {self.text!r} at {source[position:]!r}")
            tokens.append(match.group().strip())
            position = match.end()
        return tokens

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def product(self) -> Unit:
        result = self.factor()
        while self.peek() not in ("", ")"):
            if self.peek() == "/":
                self.take()
                result = result / self.factor()
            else:
                if self.peek() in ("*", "·", "⋅", "."):
                    self.take()
                result = result * self.factor()
        return result

    def factor(self) -> Unit:
        token = self.take()
        if token == "(":
            result = self.product()
            if self.take() != ")":
                raise UnitError(f"missing ) in the unit {self.text!r}")
        elif token[:1].isdigit():
            result = Unit(token, NONE, float(token)) if token != "1" else unit_one()
        else:
            result = self._known(token)
        return result ** self._exponent() if self._has_exponent() else result

    def _known(self, token: str) -> Unit:
        found = _symbol(token) if token else None
        if found is None:
            raise unknown_unit(self.text, token)
        return found

    def _has_exponent(self) -> bool:
        token = self.peek()
        if token in ("^", "**"):
            return True
        previous = self.tokens[self.at - 1]
        return (token.isdigit() and previous[-1].isalpha()) or token == "-"

    def _exponent(self) -> Fraction:
        token = self.take()
        if token in ("^", "**"):
            token = self.take()
        sign = 1
        if token == "(":
            inner = self.take()
            if inner == "-":
                sign, inner = -1, self.take()
            exponent = Fraction(inner)
            if self.peek() == "/":
                self.take()
                exponent /= Fraction(self.take())
            self.take()
            return sign * exponent
        if token == "-":
            sign, token = -1, self.take()
        if not token[:1].isdigit():
            raise UnitError(f"an exponent is missing in the unit {self.text!r}")
        exponent = Fraction(token)
        if self.peek() == "/" and self.at + 1 < len(self.tokens):
            following = self.tokens[self.at + 1]
            if following.isdigit() and following != "1":
                self.take()
                exponent /= Fraction(self.take())
        return sign * exponent


_REFUSED = {
    **dict.fromkeys(
        ("U", "mU", "kU"), "write IU for international units, umol/min for enzyme activity"
    ),
    "C": "write degC for a temperature, A*s for an electric charge",
    "F": "write degF for a temperature",
}


def unknown_unit(text: str, symbol: str) -> UnitError:
    """The error for a symbol that is not on the allow-list, with close matches."""
    if symbol in _REFUSED:
        hint = _REFUSED[symbol]
    else:
        close = get_close_matches(symbol, known_symbols(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "see galenic.units"
    inside = f" in {text!r}" if symbol != text else ""
    return UnitError(f"unknown unit {symbol!r}{inside}", hint=hint)


def known_symbols() -> list[str]:
    """Every symbol that :func:`unit` knows, prefixes included."""
    prefixed = [p + s for s, (_, _, yes) in DEFINED.items() if yes for p in PREFIXES]
    return [*DEFINED, *POINTS, *ALIASES, *prefixed]


@cache
def unit_one() -> Unit:
    """The unit of plain numbers."""
    return Unit("1", NONE, 1.0)


@cache
def _parsed(text: str) -> Unit:
    parser = _Parser(text)
    if not parser.tokens:
        return unit_one()
    result = parser.product()
    if parser.at < len(parser.tokens):
        raise UnitError(f"cannot read the unit {text!r} after {parser.tokens[parser.at - 1]!r}")
    plain = math.prod(_symbol(s).scale ** float(e) for s, e in result.symbols)  # type: ignore[union-attr]
    symbols = result.symbols
    if not math.isclose(plain, result.scale, rel_tol=1e-12):
        symbols = ((f"({text.strip()})", 1),)
    return Unit(text.strip(), result.dimension, result.scale, result.offset, symbols)


def unit(text: str | Unit) -> Unit:
    """The unit that ``text`` names.

    Examples
    --------
    >>> unit("mg/L").scale
    0.001
    >>> unit("rpm").same_dimension(unit("rev/min"))
    True
    >>> unit("mgg")
    Traceback (most recent call last):
    galenic.errors.UnitError: unknown unit 'mgg'
      hint: did you mean mg or mmHg or m?
    """
    return text if isinstance(text, Unit) else _parsed(text)


def to_si(value: Any, of: str | Unit) -> Any:
    """``value`` in ``of`` as SI number or array."""
    u = unit(of)
    return value * u.scale + u.offset if u.offset else value * u.scale


def from_si(value: Any, to: str | Unit) -> Any:
    """An SI number or array in ``to``."""
    u = unit(to)
    return (value - u.offset) / u.scale if u.offset else value / u.scale


def convert(
    value: Any, from_: str | Unit, to: str | Unit, substance: Substance | None = None
) -> Any:
    """``value`` given in ``from_`` as a number in ``to``.

    A named ``substance`` allows the step between mass and amount.

    Examples
    --------
    >>> convert(25.0, "degC", "K")
    298.15
    >>> round(convert(180.156, "mg/L", "mmol/L", Substance("glucose", "180.156 g/mol")), 12)
    1.0
    """
    a, b = unit(from_), unit(to)
    if a.same_dimension(b):
        return from_si(to_si(value, a), b)
    if substance is not None:
        for factor in (1 / substance.molar_mass_si, substance.molar_mass_si):
            step = _MOLES_PER_MASS if factor == 1 / substance.molar_mass_si else _MASS_PER_MOLES
            if tuple(x + y for x, y in zip(a.dimension, step, strict=True)) == b.dimension:
                return from_si(to_si(value, a) * factor, b)
    raise conversion_error(a, b)


_MOLES_PER_MASS: Exponents = _exponents({"mol": 1, "kg": -1})
_MASS_PER_MOLES: Exponents = _exponents({"mol": -1, "kg": 1})


def conversion_error(a: Unit, b: Unit) -> UnitError:
    """The error for two units of different dimension, with a hint where there is one."""
    ratio = tuple(x - y for x, y in zip(a.dimension, b.dimension, strict=True))
    hint = ""
    if ratio in (_MOLES_PER_MASS, _MASS_PER_MOLES):
        hint = "mass and amount need a named Substance with its molar mass"
    return UnitError(
        f"cannot convert [{a.text}] to [{b.text}]",
        expected=f"a unit of {dimension_name(b.dimension)}",
        hint=hint,
    )


@dataclass(frozen=True)
class Substance:
    """A named substance; its molar mass joins mass and amount.

    Parameters
    ----------
    name : str
        The name, as in the record or the paper.
    molar_mass : str or Quantity [g/mol]
        Molar mass.
    """

    name: str
    molar_mass: str | Quantity

    @property
    def molar_mass_si(self) -> float:
        """Molar mass [kg/mol]."""
        return float(value_in(self.molar_mass, "g/mol"))


@dataclass(frozen=True)
class Quantity:
    """A number (or array) with its unit."""

    value: Any
    unit: Unit

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", unit(self.unit))

    @property
    def si(self) -> Any:
        """The SI number."""
        return to_si(self.value, self.unit)

    def to(self, other: str | Unit) -> Quantity:
        """The same quantity in another unit."""
        return Quantity(convert(self.value, self.unit, other), unit(other))

    def __str__(self) -> str:
        return (
            f"{self.value:g} {self.unit}"
            if isinstance(self.value, float)
            else (f"{self.value} {self.unit}")
        )


_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)")


def quantity(text: str | Quantity) -> Quantity:
    """The quantity that ``text`` names.

    Examples
    --------
    >>> round(quantity("10 L/h").to("mL/min").value, 6)
    166.666667
    """
    if isinstance(text, Quantity):
        return text
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise UnitError(f"{text!r} is not a quantity", expected='a number and a unit, as "10 L/h"')
    return Quantity(float(match[1]), unit(match[2]))


def value_in(x: Any, of: str | Unit, *, where: str = "") -> Any:
    """``x`` as SI number: text or Quantity with a unit, or a bare number in the declared unit.

    Examples
    --------
    >>> value_in("10 min", "h"), value_in(0.5, "h")
    (600.0, 1800.0)
    """
    declared = unit(of)
    if isinstance(x, str):
        x = quantity(x)
        if x.unit.is_dimensionless and x.unit.text == "1":
            x = x.value
    if not isinstance(x, Quantity):
        return to_si(x, declared)
    if not x.unit.same_dimension(declared):
        error = conversion_error(x.unit, declared)
        error.where = where
        raise error
    return x.si


def duration(x: Any) -> float:
    """A span of time [s]: ``"20min"``, ``"8 h"``, ``"1:30"`` (h:min), ``"0:01:30"``, bare seconds.

    Examples
    --------
    >>> duration("20min"), duration("1:30"), duration(5)
    (1200.0, 5400.0, 5.0)
    """
    if isinstance(x, str) and ":" in x:
        parts = x.split(":")
        if not 2 <= len(parts) <= 3 or not all(re.fullmatch(r"\s*\d+\.?\d*\s*", p) for p in parts):
            raise UnitError(f"{x!r} is not a duration", expected='"h:min" or "h:min:s"')
        return sum(float(p) * f for p, f in zip(parts, (3600.0, 60.0, 1.0), strict=False))
    return float(value_in(x, "s"))


def dimension_name(dimension: Exponents) -> str:
    """The everyday name of a dimension, or its SI unit in brackets."""
    if not DIMENSION_NAMES:
        DIMENSION_NAMES.update({unit(text).dimension: name for text, name in NAMES.items()})
    return DIMENSION_NAMES.get(dimension, f"[{_si_text(dimension)}]")


def lacking(left: Unit, right: Unit) -> str:
    """A hint such as "the left term lacks a division by a volume", or nothing."""
    for a, b, side in ((left, right, "left"), (right, left, "right")):
        name = dimension_name(tuple(x - y for x, y in zip(a.dimension, b.dimension, strict=True)))
        if name not in {"plain number", "rate"} and not name.startswith("["):
            article = "an" if name[0] in "aeiou" else "a"
            return f"the {side} term lacks a division by {article} {name}"
    return ""
