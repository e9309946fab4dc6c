"""Straight-line vector programs as a graph of numbered values; equal expressions are one value.

Values that depend on parameters alone are *fixed*: where such a value meets a changing one it is
hoisted, that is computed once per individual by the ``init`` program and read from the cache.
Arithmetic is IEEE without reassociation; the only contraction is a product used once in a sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Value = int
Key = tuple[str | int | float, ...]

COMPARISONS = frozenset({"lt", "le", "eq", "ne", "both", "either", "neither"})
_COMMUTE = frozenset({"add", "mul", "eq", "ne", "both", "either"})
_WIDEST_POWER = 16


class Graph:
    """Values of one kernel; every method gives the number of a value.

    Examples
    --------
    >>> g = Graph()
    >>> x = g.load("Y", 0)
    >>> g.add(x, g.const(1.0)) == g.add(g.const(1.0), x)
    True
    """

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.fixed: list[bool] = []
        self.hoisted: dict[Value, int] = {}
        self._numbers: dict[Key, Value] = {}

    def _value(self, key: Key, fixed: bool) -> Value:
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.keys)
            self.keys.append(key)
            self.fixed.append(fixed)
        return found

    def const(self, number: float) -> Value:
        """A constant; 0.0 and -0.0 are different, nan is one value."""
        number = float(number)
        return self._value(("const", number.hex()), True)

    def load(self, array: str, index: int) -> Value:
        """An element of an array of the workspace, the same during one program."""
        return self._value(("load", array, index), array == "THETA")

    def number(self, value: Value) -> float | None:
        """The number of a constant, else None."""
        key = self.keys[value]
        return float.fromhex(str(key[1])) if key[0] == "const" else None

    def use(self, value: Value) -> Value:
        """The value as a changing program reads it: hoisted if it is fixed and computed."""
        if not self.fixed[value] or self.keys[value][0] in ("const", "load"):
            return value
        if self.keys[value][0] in COMPARISONS:
            flag = self.use(self.pick(value, self.const(1.0), self.const(0.0)))
            return self._value(("ne", flag, self.const(0.0)), False)
        slot = self.hoisted.setdefault(value, len(self.hoisted))
        return self.load("CACHE", slot)

    def op(self, name: str, *arguments: Value) -> Value:
        """An operation as it stands, without simplification."""
        fixed = all(self.fixed[a] for a in arguments)
        if not fixed:
            arguments = tuple(self.use(a) for a in arguments)
        if name in _COMMUTE or name == "fma":
            arguments = (*sorted(arguments[:2]), *arguments[2:])
        return self._value((name, *arguments), fixed)

    def add(self, a: Value, b: Value) -> Value:
        """Sum."""
        x, y = self.number(a), self.number(b)
        if x is not None and y is not None:
            return self.const(x + y)
        if x == 0:
            return b
        if y == 0:
            return a
        if self.keys[b][0] == "neg":
            return self.sub(a, int(self.keys[b][1]))
        if self.keys[a][0] == "neg":
            return self.sub(b, int(self.keys[a][1]))
        return self.op("add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        """Difference."""
        x, y = self.number(a), self.number(b)
        if x is not None and y is not None:
            return self.const(x - y)
        if y == 0:
            return a
        if x == 0:
            return self.neg(b)
        if self.keys[b][0] == "neg":
            return self.add(a, int(self.keys[b][1]))
        return self.op("sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        """Product."""
        x, y = self.number(a), self.number(b)
        if x is not None and y is not None:
            return self.const(x * y)
        if x is not None:
            a, b, y = b, a, x
        if y == 0:
            return self.const(0.0)
        if y == 1:
            return a
        if y == -1:
            return self.neg(a)
        return self.op("mul", a, b)

    def div(self, a: Value, b: Value) -> Value:
        """Quotient, as a product with the reciprocal: that is shared, and hoisted where fixed."""
        x, y = self.number(a), self.number(b)
        if x is not None and y is not None and y != 0:
            return self.const(x / y)
        if y is not None and y != 0:
            return self.mul(a, self.const(1.0 / y))
        if x == 0:
            return a
        return self.mul(a, self.op("div", self.const(1.0), b))

    def neg(self, a: Value) -> Value:
        """Negative."""
        x = self.number(a)
        if x is not None:
            return self.const(-x)
        if self.keys[a][0] == "neg":
            return int(self.keys[a][1])
        return self.op("neg", a)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """``a b + c`` with one rounding."""
        x, y = self.number(a), self.number(b)
        if 0 in (x, y):
            return c
        if x in (1, -1) or y in (1, -1) or self.number(c) == 0:
            return self.add(self.mul(a, b), c)
        if x is not None and y is not None:
            return self.add(self.const(x * y), c)
        return self.op("fma", a, b, c)

    def unary(self, name: str, a: Value) -> Value:
        """An elementary function by its name on the tape."""
        return self.op(name, a)

    def least(self, a: Value, b: Value) -> Value:
        """The smaller one; the other one where one is nan."""
        return self.op("min", a, b)

    def greatest(self, a: Value, b: Value) -> Value:
        """The greater one; the other one where one is nan."""
        return self.op("max", a, b)

    def pick(self, mask: Value, yes: Value, no: Value) -> Value:
        """``yes`` where the mask holds, else ``no``: nothing of the other one leaks."""
        return yes if yes == no else self.op("pick", mask, yes, no)

    def truth(self, a: Value) -> Value:
        """The mask of ``a != 0``."""
        key = self.keys[a]
        one, zero = self.const(1.0), self.const(0.0)
        if key[0] == "pick" and key[2:] == (one, zero):
            return int(key[1])
        return self.op("ne", a, zero)

    def flag(self, mask: Value) -> Value:
        """1.0 where the mask holds, else 0.0."""
        return self.pick(mask, self.const(1.0), self.const(0.0))

    def power(self, a: Value, b: Value) -> Value:
        """``a ** b``; small whole exponents are written out, so negative bases work."""
        exponent = self.number(b)
        if exponent is None or not math.isfinite(exponent):
            return self.op("pow", a, b)
        if exponent == 0.5:
            return self.op("sqrt", a)
        if exponent != int(exponent) or abs(exponent) > _WIDEST_POWER:
            return self.op("pow", a, b)
        return self._whole_power(a, int(exponent))

    def _whole_power(self, a: Value, exponent: int) -> Value:
        if exponent < 0:
            return self.div(self.const(1.0), self._whole_power(a, -exponent))
        result, square = self.const(1.0), a
        while exponent:
            if exponent & 1:
                result = self.mul(result, square)
            exponent >>= 1
            if exponent:
                square = self.mul(square, square)
        return result

    def total(self, terms: Sequence[Value]) -> Value:
        """The sum of terms, added in pairs: short dependence and small error."""
        terms = list(terms) or [self.const(0.0)]
        while len(terms) > 1:
            terms = [
                self.add(*terms[i : i + 2]) if i + 1 < len(terms) else terms[i]
                for i in range(0, len(terms), 2)
            ]
        return terms[0]


@dataclass
class Program:
    """What a function of the kernel stores: (array, index, value), in order.

    A program never reads an element that it stores. ``hoist`` is False for the programs that run
    once per individual. With ``near`` a value is made where it is first needed, which keeps few
    values alive; without it in the order of the graph, which keeps long chains side by side.
    A program with ``alone`` works for one lane, whose elements fill the vectors of all arrays that
    it reads but of those named.
    """

    name: str
    graph: Graph
    hoist: bool = True
    near: bool = False
    alone: frozenset[str] | None = None
    stores: list[tuple[str, int, Value]] = field(default_factory=list)

    def store(self, array: str, index: int, value: Value) -> None:
        """Write a value to an element of an array."""
        self.stores.append((array, index, self.graph.use(value) if self.hoist else value))

    def loads(self, array: str) -> list[int]:
        """The elements of an array that the program reads."""
        keys = [self.graph.keys[value] for value in live(self)]
        return [int(key[2]) for key in keys if key[:2] == ("load", array)]

    def store_all(self, array: str, values: Iterable[Value]) -> None:
        """Write values to an array from its first element on."""
        for index, value in enumerate(values):
            self.store(array, index, value)


def operands(key: Key) -> tuple[Value, ...]:
    """The values a value is made of."""
    return () if key[0] in ("const", "load") else tuple(int(a) for a in key[1:])


def live(program: Program) -> list[Value]:
    """The values a program needs, each after its operands."""
    keys = program.graph.keys
    order: dict[Value, None] = {}
    for _, _, root in program.stores:
        stack = [root]
        while stack:
            value = stack[-1]
            missing = [one for one in operands(keys[value]) if one not in order]
            if missing:
                stack += reversed(missing)
            else:
                order[stack.pop()] = None
    return list(order) if program.near else sorted(order)


def contracted(program: Program) -> tuple[list[Value], dict[Value, Key]]:
    """Live values and their keys after products used once have joined the sum that uses them."""
    graph = program.graph
    order = live(program)
    keys = {value: graph.keys[value] for value in order}
    uses = dict.fromkeys(order, 0)
    for value in order:
        for operand in operands(keys[value]):
            uses[operand] += 1
    for _, _, value in program.stores:
        uses[value] += 1
    gone: set[Value] = set()
    for value in order:
        joined = _join(keys, uses, value)
        if joined is not None:
            keys[value], product = joined
            gone.add(product)
    return [value for value in order if value not in gone], keys


def _join(keys: dict[Value, Key], uses: dict[Value, int], value: Value) -> tuple[Key, Value] | None:
    key = keys[value]
    if key[0] not in ("add", "sub"):
        return None
    a, b = int(key[1]), int(key[2])
    for product, other, second in ((b, a, True), (a, b, False)):
        if keys[product][0] == "mul" and uses[product] == 1:
            x, y = keys[product][1:]
            if key[0] == "add":
                return ("fma", x, y, other), product
            return ("fnma" if second else "fms", x, y, other), product
    return None
