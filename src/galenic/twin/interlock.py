"""Interlock expressions: a small, closed grammar over tags and quantities. There is no eval.

``Line.Running and NIR.Content > 5`` compares tags in the unit of their binding. Allowed: and, or,
not, comparisons, + - * /, numbers, true and false, names with dots and indices, abs, min, max.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from galenic.errors import DataError, UnknownName

LONGEST = 500
DEEPEST = 40

COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
CALLS: dict[str, Callable[..., Any]] = {"abs": abs, "min": min, "max": max}
CONSTANTS = {"true": True, "false": False}


class Missing(Exception):
    """A name in the expression has no usable value now."""


@dataclass(frozen=True)
class Interlock:
    """A condition that must hold, with the words shown when it does not.

    Examples
    --------
    >>> Interlock("Line.Running and Hopper.Level > 0.5").failure(
    ...     {"Line.Running": True, "Hopper.Level": 0.2})
    'Line.Running and Hopper.Level > 0.5 does not hold'
    >>> sorted(Interlock("a.b[0] < abs(c)").names)
    ['a.b[0]', 'c']
    """

    text: str
    meaning: str = ""

    @cached_property
    def _tree(self) -> ast.expr:
        where = f"interlock {self.text[:60]!r}"
        if len(self.text) > LONGEST:
            raise DataError(f"interlock of {len(self.text)} characters", expected=f"{LONGEST}")
        try:
            tree = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise DataError("cannot be read as a condition", where=where) from error
        _check(tree, where, 0)
        return tree

    @cached_property
    def names(self) -> frozenset[str]:
        """The tags and quantities it asks for."""
        return frozenset(_names(self._tree))

    def check(self, known: Iterable[str], *, where: str = "") -> None:
        """Refuse names that are not ``known``, with close matches."""
        names = set(known)
        for name in sorted(self.names - names):
            raise UnknownName.among("tag", name, names, where=where or f"interlock {self.text!r}")

    def failure(self, values: Mapping[str, Any]) -> str:
        """Why the condition does not hold; empty when it does. An unknown value fails it."""
        words = self.meaning or f"{self.text} does not hold"
        try:
            return "" if _value(self._tree, values) else words
        except Missing as missing:
            return f"{words} ({missing} has no usable value)"
        except (TypeError, ZeroDivisionError) as error:
            return f"{words} ({error})"


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return f"{_dotted(node.value)}[{node.slice.value!s}]"
    raise DataError("a name is expected", expected="a tag or a path, as Line.Running")


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """The sub-expressions of an allowed node; None for what is not in the grammar."""
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        return [node.operand]
    if isinstance(node, ast.Compare) and all(type(op) in COMPARE for op in node.ops):
        return [node.left, *node.comparators]
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return [node.left, node.right]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return node.args if node.func.id in CALLS and node.args else None
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return []
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        _dotted(node)
        return []
    return None


def _check(node: ast.expr, where: str, depth: int) -> None:
    parts = _parts(node) if depth < DEEPEST else None
    if parts is None:
        raise DataError(
            f"{ast.unparse(node)!r} is not allowed in a condition",
            where=where,
            expected="tags, numbers, and or not, comparisons, + - * /, abs min max",
        )
    for part in parts:
        _check(part, where, depth + 1)


def _names(node: ast.expr) -> Iterable[str]:
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        name = _dotted(node)
        if name.lower() not in CONSTANTS:
            yield name
    else:
        for part in _parts(node) or []:
            yield from _names(part)


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.BoolOp):
        results = (_value(part, values) for part in node.values)
        return all(results) if isinstance(node.op, ast.And) else any(results)
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, values)
        return not inner if isinstance(node.op, ast.Not) else -inner
    if isinstance(node, ast.Compare):
        terms = [_value(part, values) for part in [node.left, *node.comparators]]
        pairs = zip(node.ops, terms, terms[1:], strict=False)
        return all(COMPARE[type(op)](left, right) for op, left, right in pairs)
    if isinstance(node, ast.BinOp):
        return ARITHMETIC[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return CALLS[node.func.id](*(_value(part, values) for part in node.args))
    if isinstance(node, ast.Constant):
        return node.value
    name = _dotted(node)
    if name.lower() in CONSTANTS:
        return CONSTANTS[name.lower()]
    if values.get(name) is None:
        raise Missing(name)
    return values[name]
