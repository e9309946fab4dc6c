"""Bounds of a tape over intervals of its arguments: interval arithmetic on numbers or on a graph.

The rules are written once, for any algebra with the few operations below: numpy arrays here, the
values of a kernel's graph there. Bounds hold to round-off and may be wide; where no bound is known
they are infinite. Beside them goes a flag: whether an operation that jumps (a comparison, a
rounding) may have jumped inside, so that derivatives do not tell what happens between the ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from galenic.engine.tape import Tape


class Bounds(NamedTuple):
    """Least and greatest value; a single value is the same object twice."""

    low: Any
    high: Any

    @property
    def single(self) -> bool:
        """Whether both are one value."""
        return self.low is self.high or (isinstance(self.low, int) and self.low == self.high)


_RISING = frozenset(
    "copy exp log expm1 log1p sinh tanh asinh atan erf asin acosh atanh sqrt".split()
)
_STEPS = frozenset({"floor", "ceil", "sign"})
_UNKNOWN = frozenset({"fmod", "remainder", "copysign", "atan2"})


class Enclosure:
    """Evaluates tapes on bounds in an algebra.

    Parameters
    ----------
    algebra : Numbers or Graph
        const, add, sub, mul, div, neg, least, greatest, unary, pick, and ``op`` for lt, le.
    """

    def __init__(self, algebra: Any) -> None:
        self.a = algebra
        self.jumps: list[Any] = []

    def of(self, tape: Tape, arguments: Sequence[Sequence[Bounds]]) -> list[list[Bounds]]:
        """Bounds of all outputs of a tape; ``jumps`` grows by what may jump inside."""
        zero = self.const(0.0)
        work = [zero] * max(tape.work, 1)
        results = [[zero] * (rows * columns) for rows, columns in tape.shapes]
        for step in tape.instructions:
            if step.name == "input":
                work[step.slot] = arguments[step.place[0]][step.place[1]]
            elif step.name == "const":
                work[step.slot] = self.const(step.value)
            elif step.name == "output":
                results[step.place[0]][step.place[1]] = work[step.slot]
            else:
                work[step.slot] = self.operation(step.name, [work[i] for i in step.arguments])
        return results

    def may_jump(self) -> Any:
        """1.0 where an operation may have jumped, else 0.0."""
        total = self.a.const(0.0)
        for flag in self.jumps:
            total = self.a.greatest(total, flag)
        return total

    def const(self, number: float) -> Bounds:
        """A number."""
        value = self.a.const(number)
        return Bounds(value, value)

    def operation(self, name: str, given: list[Bounds]) -> Bounds:
        """Bounds of one operation of a tape."""
        if name in _RISING:
            within = self._in_domain(name, given[0])
            return self._each(within, lambda v: v if name == "copy" else self.a.unary(name, v))
        if name in _STEPS:
            found = self._each(given[0], lambda v: self.a.unary(name, v))
            self._note(self._differ(found))
            return found
        if name in _UNKNOWN:
            self._note(self.a.const(1.0))
            return Bounds(self.a.const(-math.inf), self.a.const(math.inf))
        return self._rules[name](*given)

    @property
    def _rules(self) -> dict[str, Callable[..., Bounds]]:
        return {
            "add": lambda x, y: Bounds(self.a.add(x.low, y.low), self.a.add(x.high, y.high)),
            "sub": lambda x, y: Bounds(self.a.sub(x.low, y.high), self.a.sub(x.high, y.low)),
            "neg": lambda x: Bounds(self.a.neg(x.high), self.a.neg(x.low)),
            "twice": lambda x: Bounds(self.a.add(x.low, x.low), self.a.add(x.high, x.high)),
            "mul": self._product,
            "div": lambda x, y: self._product(x, self._inverse(y)),
            "inv": self._inverse,
            "sq": lambda x: self._even(x, lambda v: self.a.mul(v, v), 0.0),
            "abs": lambda x: self._even(x, lambda v: self.a.unary("abs", v), 0.0),
            "cosh": lambda x: self._even(x, lambda v: self.a.unary("cosh", v), 1.0),
            "acos": lambda x: Bounds(self.a.unary("acos", x.high), self.a.unary("acos", x.low)),
            "sin": lambda x: self._wave("sin", x),
            "cos": lambda x: self._wave("cos", x),
            "tan": self._tan,
            "min": lambda x, y: Bounds(
                self.a.least(x.low, y.low), self.a.least(x.high, y.high)
            ),
            "max": lambda x, y: Bounds(
                self.a.greatest(x.low, y.low), self.a.greatest(x.high, y.high)
            ),
            "hypot": lambda x, y: self.operation(
                "sqrt", [self.operation("add", [self._square(x), self._square(y)])]
            ),
            "pow": self._power,
            "lt": lambda x, y: self._less(x, y, "lt", "le"),
            "le": lambda x, y: self._less(x, y, "le", "lt"),
            "eq": self._equal,
            "ne": lambda x, y: self._not(self._equal(x, y)),
            "and": lambda x, y: self._product(self._truth(x), self._truth(y)),
            "or": lambda x, y: self.operation("max", [self._truth(x), self._truth(y)]),
            "not": lambda x: self._not(self._truth(x)),
            "select": self._select,
        }  # fmt: skip

    def _in_domain(self, name: str, x: Bounds) -> Bounds:
        """Without what a root or logarithm does not take."""
        if name not in ("sqrt", "log") or x.single:
            return x
        return Bounds(self.a.greatest(x.low, self.a.const(0.0)), x.high)

    def _each(self, x: Bounds, function: Callable[[Any], Any]) -> Bounds:
        low = function(x.low)
        return Bounds(low, low if x.single else function(x.high))

    def _note(self, flag: Any) -> None:
        self.jumps.append(flag)

    def _differ(self, x: Bounds) -> Any:
        if x.single:
            return self.a.const(0.0)
        return self._flag(self.a.op("lt", x.low, x.high))

    def _flag(self, mask: Any) -> Any:
        return self.a.pick(mask, self.a.const(1.0), self.a.const(0.0))

    def _both(self, a: Any, b: Any) -> Any:
        return self.a.op("both", a, b)

    def _straddles(self, x: Bounds) -> Any:
        zero = self.a.const(0.0)
        return self._both(self.a.op("le", x.low, zero), self.a.op("le", zero, x.high))

    def _product(self, x: Bounds, y: Bounds) -> Bounds:
        if x.single and y.single:
            return self._each(x, lambda v: self.a.mul(v, y.low))
        ends = [
            self.a.mul(a, b)
            for a in ((x.low,) if x.single else x)
            for b in ((y.low,) if y.single else y)
        ]
        low = high = ends[0]
        for end in ends[1:]:
            low, high = self.a.least(low, end), self.a.greatest(high, end)
        return Bounds(low, high)

    def _inverse(self, x: Bounds) -> Bounds:
        one = self.a.const(1.0)
        if x.single:
            return self._each(x, lambda v: self.a.div(one, v))
        pole = self._straddles(x)
        self._note(self._flag(pole))
        low = self.a.pick(pole, self.a.const(-math.inf), self.a.div(one, x.high))
        return Bounds(low, self.a.pick(pole, self.a.const(math.inf), self.a.div(one, x.low)))

    def _square(self, x: Bounds) -> Bounds:
        return self.operation("sq", [x])

    def _even(self, x: Bounds, function: Callable[[Any], Any], least: float) -> Bounds:
        """A function that is even and rises with the size of its argument."""
        ends = self._each(x, function)
        if x.single:
            return ends
        low = self.a.least(*ends)
        low = self.a.pick(self._straddles(x), self.a.const(least), low)
        return Bounds(low, self.a.greatest(*ends))

    def _wave(self, name: str, x: Bounds) -> Bounds:
        """Sin and cos change by no more than their argument."""
        if x.single:
            return self._each(x, lambda v: self.a.unary(name, v))
        half = self.a.const(0.5)
        middle = self.a.mul(half, self.a.add(x.low, x.high))
        reach = self.a.mul(half, self.a.sub(x.high, x.low))
        value = self.a.unary(name, middle)
        low = self.a.greatest(self.a.const(-1.0), self.a.sub(value, reach))
        return Bounds(low, self.a.least(self.a.const(1.0), self.a.add(value, reach)))

    def _tan(self, x: Bounds) -> Bounds:
        """Rises between poles."""
        ends = self._each(x, lambda v: self.a.unary("tan", v))
        if x.single:
            return ends
        share, half = self.a.const(1 / math.pi), self.a.const(0.5)
        branch = self._each(
            x, lambda v: self.a.unary("floor", self.a.add(self.a.mul(v, share), half))
        )
        pole = self.a.op("lt", branch.low, branch.high)
        self._note(self._flag(pole))
        low = self.a.pick(pole, self.a.const(-math.inf), ends.low)
        return Bounds(low, self.a.pick(pole, self.a.const(math.inf), ends.high))

    def _power(self, x: Bounds, y: Bounds) -> Bounds:
        exponent = self.a.number(y.low) if y.single else None
        if exponent is None or exponent != int(exponent):
            logarithm = self.operation("log", [x])
            return self.operation("exp", [self._product(logarithm, y)])
        if exponent < 0:
            return self._inverse(self._power(x, self.const(-exponent)))
        power = self.a.const(exponent)
        if int(exponent) % 2 or x.single:
            return self._each(x, lambda v: self.a.power(v, power))
        return self._even(x, lambda v: self.a.power(v, power), 0.0 if exponent else 1.0)

    def _less(self, x: Bounds, y: Bounds, name: str, other: str) -> Bounds:
        """1 where it holds for all, 0 where it holds for none."""
        low = self._flag(self.a.op(name, x.high, y.low))
        never = self.a.op(other, y.high, x.low)
        high = self.a.pick(never, self.a.const(0.0), self.a.const(1.0))
        return self._judged(Bounds(low, high), x, y)

    def _equal(self, x: Bounds, y: Bounds) -> Bounds:
        same = self._both(self.a.op("le", x.high, y.low), self.a.op("le", y.high, x.low))
        apart = self.a.greatest(
            self._flag(self.a.op("lt", x.high, y.low)), self._flag(self.a.op("lt", y.high, x.low))
        )
        high = self.a.sub(self.a.const(1.0), apart)
        return self._judged(Bounds(self._flag(same), high), x, y)

    def _judged(self, found: Bounds, x: Bounds, y: Bounds) -> Bounds:
        if x.single and y.single:
            return Bounds(found.low, found.low)
        self._note(self._differ(found))
        return found

    def _truth(self, x: Bounds) -> Bounds:
        """1 where not zero for all, 0 where zero for all."""
        zero, one = self.a.const(0.0), self.a.const(1.0)
        low = self.a.pick(self._straddles(x), zero, one)
        if x.single:
            return Bounds(low, low)
        none = self._both(self.a.op("le", zero, x.low), self.a.op("le", x.high, zero))
        return Bounds(low, self.a.pick(none, zero, one))

    def _not(self, x: Bounds) -> Bounds:
        one = self.a.const(1.0)
        low = self.a.sub(one, x.high)
        return Bounds(low, low if x.single else self.a.sub(one, x.low))

    def _select(self, condition: Bounds, x: Bounds) -> Bounds:
        zero, half = self.a.const(0.0), self.a.const(0.5)
        holds = self._truth(condition)
        always, never = self.a.op("lt", half, holds.low), self.a.op("lt", holds.high, half)
        low = self.a.pick(always, x.low, self.a.pick(never, zero, self.a.least(x.low, zero)))
        if holds.single and x.single:
            return Bounds(low, low)
        high = self.a.pick(never, zero, self.a.greatest(x.high, zero))
        return Bounds(low, self.a.pick(always, x.high, high))


class Numbers:
    """The algebra of numpy arrays.

    Examples
    --------
    >>> import casadi as ca
    >>> x = ca.SX.sym("x")
    >>> tape = Tape(ca.Function("f", [x], [x * x - 2 * x]))
    >>> found = Enclosure(Numbers()).of(tape, [[Bounds(np.float64(0), np.float64(1))]])
    >>> float(found[0][0].low), float(found[0][0].high)
    (-2.0, 1.0)
    """

    _PLAIN: dict[str, Callable[..., Any]] = {
        "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh,
        "acosh": np.arccosh, "atanh": np.arctanh,
    }  # fmt: skip

    def const(self, number: float) -> Any:
        """A number."""
        return np.float64(number)

    def number(self, value: Any) -> float | None:
        """The number of a constant, else None."""
        return float(value) if np.ndim(value) == 0 else None

    def add(self, a: Any, b: Any) -> Any:
        """Sum."""
        return a + b

    def sub(self, a: Any, b: Any) -> Any:
        """Difference."""
        return a - b

    def mul(self, a: Any, b: Any) -> Any:
        """Product."""
        return a * b

    def div(self, a: Any, b: Any) -> Any:
        """Quotient."""
        return a / b

    def neg(self, a: Any) -> Any:
        """Negative."""
        return -a

    def least(self, a: Any, b: Any) -> Any:
        """The smaller one."""
        return np.minimum(a, b)

    def greatest(self, a: Any, b: Any) -> Any:
        """The greater one."""
        return np.maximum(a, b)

    def power(self, a: Any, b: Any) -> Any:
        """``a ** b``."""
        return np.power(a, b)

    def pick(self, mask: Any, yes: Any, no: Any) -> Any:
        """``yes`` where the mask holds, else ``no``."""
        return np.where(mask, yes, no)

    def op(self, name: str, a: Any, b: Any) -> Any:
        """lt, le and both."""
        return {"lt": np.less, "le": np.less_equal, "both": np.logical_and}[name](a, b)

    def unary(self, name: str, a: Any) -> Any:
        """An elementary function by its name on a tape."""
        if name == "erf":
            from scipy.special import erf

            return erf(a)
        return (self._PLAIN.get(name) or getattr(np, name))(a)
