"""Functions of expressions; each checks units and lowers to elementary instructions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import casadi as ca
import numpy as np

from galenic.errors import ModelError, StructureError, UnitError
from galenic.modeling.expression import (
    ONE,
    Condition,
    Equation,
    Expression,
    _is_zero,
    common_unit,
    here,
    lift,
)
from galenic.units import Unit, unit


def _elementary(name: str, function: Any, plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        if isinstance(x, (int, float)):
            return plain(x)
        x = lift(x)
        if not x.unit.is_dimensionless:
            raise UnitError(
                f"cannot take {name} of [{x.unit}]",
                where=here().with_source(),
                expected="a plain number",
                hint="divide by a reference value first",
            )
        return Expression(function(x.sx))

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"``{name}`` of a dimensionless expression."
    return apply


exp = _elementary("exp", ca.exp, np.exp)
expm1 = _elementary("expm1", ca.expm1, np.expm1)
log = _elementary("log", ca.log, np.log)
log1p = _elementary("log1p", ca.log1p, np.log1p)
log10 = _elementary("log10", ca.log10, np.log10)
sin = _elementary("sin", ca.sin, np.sin)
cos = _elementary("cos", ca.cos, np.cos)
tan = _elementary("tan", ca.tan, np.tan)
asin = _elementary("asin", ca.asin, np.arcsin)
acos = _elementary("acos", ca.acos, np.arccos)
atan = _elementary("atan", ca.atan, np.arctan)
sinh = _elementary("sinh", ca.sinh, np.sinh)
cosh = _elementary("cosh", ca.cosh, np.cosh)
tanh = _elementary("tanh", ca.tanh, np.tanh)


def _erf(x: float) -> float:
    import math

    return math.erf(x)


erf = _elementary("erf", ca.erf, _erf)


def sqrt(x: Any) -> Any:
    """Square root; the unit takes half its exponents."""
    if isinstance(x, (int, float)):
        return np.sqrt(x)
    x = lift(x)
    return Expression(ca.sqrt(x.sx), x.unit**0.5)


def absolute(x: Any) -> Expression:
    """Magnitude, in the unit of ``x``."""
    return abs(lift(x))


def sign(x: Any) -> Expression:
    """-1, 0 or 1."""
    return Expression(ca.sign(lift(x).sx))


def _same(verb: str, values: Sequence[Any]) -> tuple[list[ca.SX], Unit]:
    """SX of all values and their common unit; zeros take it from the others."""
    lifted = [None if _is_zero(value) else lift(value) for value in values]
    known = [value.unit for value in lifted if value is not None]
    if not known:
        return [ca.SX(0.0) for _ in values], ONE
    result = known[0]
    for other in known[1:]:
        result = common_unit(verb, result, other)
    return [ca.SX(0.0) if value is None else value.sx for value in lifted], result


def minimum(a: Any, b: Any) -> Expression:
    """The smaller of two values of one dimension."""
    (left, right), common = _same("take the minimum of", (a, b))
    return Expression(ca.fmin(left, right), common)


def maximum(a: Any, b: Any) -> Expression:
    """The larger of two values of one dimension."""
    (left, right), common = _same("take the maximum of", (a, b))
    return Expression(ca.fmax(left, right), common)


def clip(x: Any, lower: Any, upper: Any) -> Expression:
    """``x`` held between two limits: a saturation with corners."""
    return minimum(maximum(x, lower), upper)


def smooth_maximum(a: Any, b: Any, width: Any) -> Expression:
    """The larger of two values, rounded over ``width``; exceeds it by at most ``width / 2``."""
    (left, right, w), common = _same("take the smooth maximum of", (a, b, width))
    return Expression(0.5 * (left + right + ca.sqrt((left - right) ** 2 + w**2)), common)


def smooth_minimum(a: Any, b: Any, width: Any) -> Expression:
    """The smaller of two values, rounded over ``width``; falls short by at most ``width / 2``."""
    (left, right, w), common = _same("take the smooth minimum of", (a, b, width))
    return Expression(0.5 * (left + right - ca.sqrt((left - right) ** 2 + w**2)), common)


def smooth_clip(x: Any, lower: Any, upper: Any, width: Any) -> Expression:
    """A saturation whose corners are rounded over ``width``."""
    return smooth_minimum(smooth_maximum(x, lower, width), upper, width)


def smooth_step(x: Any, width: Any) -> Expression:
    """0 for ``x`` far below zero, 1 far above, with slope 1 / (2 width) at zero."""
    (value, w), _ = _same("scale a step by", (x, width))
    return Expression(0.5 * (1 + ca.tanh(value / w)))


def where(condition: Any, a: Any, b: Any) -> Expression:
    """``a`` where the condition holds, else ``b``; both of one dimension.

    The branch not taken cannot spoil the value, even where it is not defined.
    """
    if isinstance(condition, Equation):
        raise ModelError(
            "an equation is not a condition",
            where=here().with_source(),
            hint="compare with < or >; for a mode use mode.is_(name)",
        )
    if not isinstance(condition, Condition):
        condition = lift(condition) > 0.5
    (left, right), common = _same("choose between", (a, b))
    chosen = ca.if_else(condition.sx, left, right)
    return Expression(chosen, common)


def vertcat(*values: Any) -> Expression:
    """Values of one dimension as one column."""
    parts, common = _same("stack", values)
    return Expression(ca.vertcat(*parts), common)


def total(x: Any) -> Expression:
    """Sum over all elements of an array, or of a list of expressions."""
    x = lift(x)
    return Expression(ca.sum1(ca.vec(x.sx)), x.unit)


def mean(x: Any) -> Expression:
    """Mean over all elements of an array."""
    x = lift(x)
    return Expression(ca.sum1(ca.vec(x.sx)) / x.sx.numel(), x.unit)


def dot(a: Any, b: Any) -> Expression:
    """Sum of the products of the elements of two arrays."""
    a, b = lift(a), lift(b)
    if a.shape != b.shape:
        raise StructureError(
            f"shapes {a.shape} and {b.shape} do not go together", where=here().with_source()
        )
    return Expression(ca.dot(a.sx, b.sx), a.unit * b.unit)


def cumulative(x: Any) -> Expression:
    """Running sums down a column."""
    x = lift(x)
    return Expression(ca.cumsum(x.sx), x.unit)


def as_unit(x: Any, text: str) -> Expression:
    """A plain number given a unit: ``as_unit(2 * m.a, "kg")``. For empirical formulas.

    The number counts in the named unit, as the formula's author meant it.
    """
    x, target = lift(x), unit(text)
    if not x.unit.is_dimensionless:
        raise UnitError(
            f"as_unit gives a unit to plain numbers, not to [{x.unit}]",
            where=here().with_source(),
            hint=f"divide by a quantity first, as x / quantity('1 {x.unit}')",
        )
    return Expression(x.sx * target.scale + target.offset, target)


def number_in(x: Any, text: str) -> Expression:
    """The plain number of ``x`` in the named unit. For empirical formulas."""
    x, target = lift(x), unit(text)
    common_unit(f"express in [{target}] a value in", target, x.unit)
    return Expression((x.sx - target.offset) / target.scale)


UFUNCS: dict[str, Callable[..., Any]] = {
    "exp": exp, "expm1": expm1, "log": log, "log1p": log1p, "log10": log10, "sqrt": sqrt,
    "sin": sin, "cos": cos, "tan": tan, "arcsin": asin, "arccos": acos, "arctan": atan,
    "sinh": sinh, "cosh": cosh, "tanh": tanh, "absolute": absolute, "sign": sign,
    "minimum": minimum, "maximum": maximum, "fmin": minimum, "fmax": maximum,
    "add": lambda a, b: lift(a) + b, "subtract": lambda a, b: lift(a) - b,
    "multiply": lambda a, b: lift(a) * b, "divide": lambda a, b: lift(a) / b,
    "power": lambda a, b: lift(a) ** b, "negative": operator.neg,
    "less": lambda a, b: b > lift(a), "greater": lambda a, b: b < lift(a),
    "less_equal": lambda a, b: b > lift(a), "greater_equal": lambda a, b: b < lift(a),
    "equal": lambda a, b: Equation(a, b),
}  # fmt: skip
