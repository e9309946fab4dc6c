"""Expressions: CasADi SX with a unit, checked on the author's own line.

An Expression exists only while a model is traced. It owns every operation that could lose or
confuse a unit; the graph itself is CasADi's. Plain numbers are dimensionless, except that 0 goes
with every unit.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import casadi as ca
import numpy as np

from galenic.errors import ModelError, StructureError, UnitError
from galenic.units import Quantity, Unit, lacking, quantity, unit_one

ONE = unit_one()
_INTERNAL = {f"galenic.modeling.{name}" for name in (
    "expression", "functions", "fields", "events", "declare", "model", "trace", "tables", "delays",
    "ports",
)}  # fmt: skip
_OWN_MODELS = {"equations", "connections", "events", "conserved"}


class Place:
    """Where an author wrote something: function, file and line."""

    __slots__ = ("file", "function", "line")

    def __init__(self, function: str, file: str, line: int) -> None:
        self.function = function
        self.file = file
        self.line = line

    @classmethod
    def of(cls, frame: FrameType) -> Place:
        """The place that ``frame`` is executing."""
        return cls(frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno)

    @property
    def source(self) -> str:
        """The source line, or nothing where there is no file."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{self.function}, {Path(self.file).name}:{self.line}"

    def with_source(self) -> str:
        """The place and, on a line of its own, the source."""
        return f"{self}\n    {self.source}" if self.source else str(self)


def author_frame() -> FrameType:
    """The innermost frame outside this language's own functions."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        inside = frame.f_globals.get("__name__") in _INTERNAL
        if not inside or frame.f_code.co_name in _OWN_MODELS:
            return frame
        frame = frame.f_back
    return frame


def here() -> Place:
    """The author's line that is being executed."""
    return Place.of(author_frame())


_made: list[Any] | None = None


def record(into: list[Any] | None) -> list[Any] | None:
    """Collect equations and connections made from now on in ``into``; gives the former list."""
    global _made
    before, _made = _made, into
    return before


def made(item: Any) -> None:
    """Note that an equation or connection was made, so that a forgotten yield is found."""
    if _made is None:
        raise ModelError(
            "an equation was made outside of a model's equations",
            where=here().with_source(),
            hint="expressions exist only while a model is traced",
        )
    _made.append(item)


def mismatch(found: str, left: Unit, right: Unit) -> UnitError:
    """The error for two units that do not go together on the author's line."""
    return UnitError(found, where=here().with_source(), hint=lacking(left, right))


class Expression:
    """A symbolic value: ``sx`` in SI units, and its ``unit``.

    ``rate`` is the symbol of the time derivative where the expression is a state.
    """

    __slots__ = ("name", "rate", "sx", "unit")

    def __init__(
        self, sx: ca.SX, unit: Unit = ONE, rate: ca.SX | None = None, name: str = ""
    ) -> None:
        self.sx = sx
        self.unit = unit
        self.rate = rate
        self.name = name

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Expression({self.name or self.sx}, [{self.unit}])"

    def __bool__(self) -> bool:
        raise ModelError(
            "the value of an expression is not known while the model is traced",
            where=here().with_source(),
            hint="use where(condition, a, b), minimum or maximum instead of if, and, or, min, max",
        )

    def __float__(self) -> float:
        raise ModelError(
            "an expression is not a number while the model is traced",
            where=here().with_source(),
            hint="use exp, log, sqrt, ... of galenic instead of those of math",
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        shape: tuple[int, int] = self.sx.shape
        return shape

    def __len__(self) -> int:
        if self.sx.is_scalar():
            raise TypeError("a scalar expression has no length")
        return int(self.sx.shape[0])

    def __iter__(self) -> Iterator[Expression]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Expression:
        try:
            rate = None if self.rate is None else self.rate[index]
            return Expression(self.sx[index], self.unit, rate, f"{self.name}[{index}]")
        except RuntimeError as error:
            raise IndexError(
                f"index {index} is outside of {self.name or 'an expression'} of shape {self.shape}"
            ) from error

    def __neg__(self) -> Expression:
        return Expression(-self.sx, self.unit.difference)

    def __pos__(self) -> Expression:
        return self

    def __abs__(self) -> Expression:
        return Expression(ca.fabs(self.sx), self.unit.difference)

    def __add__(self, other: Any) -> Expression:
        if other.__class__ is not Expression:
            if _is_zero(other):
                return self
            other = lift(other)
        return _apply(_ADD, self, other, _sum_unit(self.unit, other.unit, other, self))

    def __radd__(self, other: Any) -> Expression:
        if _is_zero(other):
            return self
        return lift(other) + self

    def __sub__(self, other: Any) -> Expression:
        if other.__class__ is not Expression:
            if _is_zero(other):
                return self
            other = lift(other)
        return _apply(_SUB, self, other, _difference_unit(self.unit, other.unit))

    def __rsub__(self, other: Any) -> Expression:
        if _is_zero(other):
            return -self
        return lift(other) - self

    def __mul__(self, other: Any) -> Expression:
        if other.__class__ is not Expression:
            other = lift(other)
        return _apply(_MUL, self, other, self.unit * other.unit)

    def __rmul__(self, other: Any) -> Expression:
        return lift(other) * self

    def __truediv__(self, other: Any) -> Expression:
        if other.__class__ is not Expression:
            other = lift(other)
        return _apply(_DIV, self, other, self.unit / other.unit)

    def __rtruediv__(self, other: Any) -> Expression:
        return lift(other) / self

    def __pow__(self, exponent: Any) -> Expression:
        if isinstance(exponent, (int, float, Fraction)):
            return Expression(self.sx ** float(exponent), self.unit**exponent)
        exponent = lift(exponent)
        for part, unit in (("base", self.unit), ("exponent", exponent.unit)):
            if not unit.is_dimensionless:
                raise UnitError(
                    f"the {part} of a symbolic power has unit [{unit}]",
                    where=here().with_source(),
                    expected="a plain number",
                    hint="divide by a reference value first" if part == "base" else "",
                )
        return _apply(_POW, self, exponent, ONE)

    def __rpow__(self, base: Any) -> Expression:
        return lift(base) ** self

    def __lt__(self, other: Any) -> Condition:
        return Condition.between(comparable(other, self), self)

    __le__ = __lt__

    def __gt__(self, other: Any) -> Condition:
        return Condition.between(self, comparable(other, self))

    __ge__ = __gt__

    def __eq__(self, other: Any) -> Equation:  # type: ignore[override]
        return Equation(self, other)

    def __ne__(self, other: Any) -> Any:
        raise ModelError(
            "!= says nothing that a solver could use", where=here().with_source(), hint="use =="
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise ModelError(
            "an expression cannot be put into a numpy array",
            where=here().with_source(),
            hint="use the functions of galenic, or vertcat to make an array of expressions",
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        from galenic.modeling.functions import UFUNCS

        function = UFUNCS.get(ufunc.__name__)
        if function is None or method != "__call__" or options:
            raise ModelError(
                f"numpy.{ufunc.__name__} does not work on expressions",
                where=here().with_source(),
                expected=f"one of {', '.join(sorted(UFUNCS))}",
            )
        return function(*inputs)


_ADD, _SUB, _MUL, _DIV, _POW = (
    ca.SX.__add__, ca.SX.__sub__, ca.SX.__mul__, ca.SX.__truediv__, ca.SX.__pow__
)  # fmt: skip


def _apply(operation: Any, a: Expression, b: Expression, unit: Unit) -> Expression:
    try:
        return Expression(operation(a.sx, b.sx), unit)
    except (RuntimeError, NotImplementedError) as error:
        raise StructureError(
            f"shapes {a.shape} and {b.shape} do not go together", where=here().with_source()
        ) from error


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0


def elements(sx: ca.SX) -> list[Any]:
    """The scalars of a dense SX, column by column."""
    return list(sx.nonzeros())


def lift(value: Any) -> Expression:
    """``value`` as Expression: a number, an array, a Quantity, a text such as "10 L/h"."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, (int, float, np.number)):
        return Expression(ca.SX(float(value)))
    if isinstance(value, (str, Quantity)):
        found = quantity(value)
        return Expression(ca.SX(ca.DM(found.si)), found.unit)
    if isinstance(value, np.ndarray):
        return Expression(ca.SX(ca.DM(value.astype(float))))
    if isinstance(value, (list, tuple)):
        from galenic.modeling.functions import vertcat

        stacked: Expression = vertcat(*value)
        return stacked
    raise _no_value(value)


def _no_value(value: Any) -> ModelError:
    hints = {
        Equation: "an equation is not a value; compare with <, > or is_ for a condition",
        Condition: "a condition is not a number; use where(condition, 1, 0)",
    }
    return ModelError(
        f"a {type(value).__name__} cannot be used in an expression",
        where=here().with_source(),
        hint=hints.get(type(value), ""),
    )


def comparable(value: Any, like: Expression) -> Expression:
    """``value`` lifted and checked to be comparable with ``like``; 0 takes its unit."""
    if _is_zero(value):
        return Expression(ca.SX(0.0), like.unit)
    other = lift(value)
    if not _compatible(other.unit, like.unit):
        raise mismatch(f"cannot compare [{like.unit}] with [{other.unit}]", like.unit, other.unit)
    return other


def _compatible(a: Unit, b: Unit) -> bool:
    if a is b:
        return True
    if not a.same_dimension(b):
        return False
    return not (
        (a.is_temperature_point and b.is_temperature_difference)
        or (a.is_temperature_difference and b.is_temperature_point)
    )


def common_unit(verb: str, a: Unit, b: Unit) -> Unit:
    """The unit of a choice between two values, or an error that says ``cannot <verb>``."""
    if not _compatible(a, b):
        raise mismatch(f"cannot {verb} [{a}] and [{b}]", a, b)
    return b if b.is_temperature_point else a


def _sum_unit(a: Unit, b: Unit, right: Expression, left: Expression) -> Unit:
    if a is b and not a.offset:
        return a
    if not a.same_dimension(b):
        raise mismatch(f"cannot add [{b}] to [{a}]", a, b)
    if a.offset and b.offset:
        raise mismatch_of_points(a, b)
    return b if b.offset else a


def mismatch_of_points(a: Unit, b: Unit) -> UnitError:
    """The error for a sum of two points on temperature scales."""
    return UnitError(
        f"cannot add [{b}] to [{a}]: both are points on a scale",
        where=here().with_source(),
        hint="declare the difference in delta_degC or K",
    )


def _difference_unit(a: Unit, b: Unit) -> Unit:
    if a is b and not a.offset:
        return a
    if not a.same_dimension(b):
        raise mismatch(f"cannot subtract [{b}] from [{a}]", a, b)
    if a.offset:
        if b.offset:
            return a.difference
        return a if b.is_temperature_difference else _KELVIN
    if b.offset and a.is_temperature_difference:
        raise mismatch(f"cannot subtract [{b}] from [{a}]: a point from a difference", a, b)
    return _KELVIN if b.offset else a


_KELVIN = quantity("1 K").unit


class Condition:
    """A truth value; ``gap`` is positive where it holds and crosses zero where it changes."""

    __slots__ = ("gap", "sx")

    def __init__(self, sx: ca.SX, gap: ca.SX) -> None:
        self.sx = sx
        self.gap = gap

    __hash__ = object.__hash__

    @classmethod
    def between(cls, larger: Expression, smaller: Expression) -> Condition:
        """The condition ``larger > smaller``."""
        gap = larger.sx - smaller.sx
        return cls(larger.sx > smaller.sx, gap)

    def __bool__(self) -> bool:
        raise ModelError(
            "whether a condition holds is not known while the model is traced",
            where=here().with_source(),
            hint="use where(condition, a, b); combine with &, | and ~",
        )

    def __and__(self, other: Condition) -> Condition:
        return Condition(ca.logic_and(self.sx, other.sx), ca.fmin(self.gap, other.gap))

    def __or__(self, other: Condition) -> Condition:
        return Condition(ca.logic_or(self.sx, other.sx), ca.fmax(self.gap, other.gap))

    def __invert__(self) -> Condition:
        return Condition(ca.logic_not(self.sx), -self.gap)


class Equation:
    """``left == right``, with the place where it was written."""

    __slots__ = ("left", "owner", "place", "right")

    def __init__(self, left: Any, right: Any, place: Place | None = None) -> None:
        self.left = lift(left)
        self.right = Expression(ca.SX(0.0), self.left.unit) if _is_zero(right) else lift(right)
        self.place = place or here()
        self.owner: Any = None
        a, b = self.left.unit, self.right.unit
        if not _compatible(a, b):
            raise mismatch(f"the left side is [{a}], the right side [{b}]", a, b)
        left, right = self.left.sx, self.right.sx
        if left.shape != right.shape and not (left.is_scalar() or right.is_scalar()):
            raise StructureError(
                f"the left side has shape {left.shape}, the right side {right.shape}",
                where=self.place.with_source(),
            )
        made(self)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise ModelError(
            "an equation is neither true nor false",
            where=here().with_source(),
            hint="yield it; for a choice use where(a > b, x, y), and is_ for modes",
        )
