"""Formulas of observables and noise: arithmetic on names, evaluated over arrays.

``log`` is the natural logarithm, as in the reference implementation of PEtab 1.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from galenic.inference.petab.refusal import refused

_FUNCTIONS: dict[str, tuple[int | None, Callable[..., Any]]] = {
    "exp": (1, np.exp), "log": (1, np.log), "ln": (1, np.log), "log2": (1, np.log2),
    "log10": (1, np.log10), "sqrt": (1, np.sqrt), "abs": (1, np.abs), "sin": (1, np.sin),
    "cos": (1, np.cos), "tan": (1, np.tan), "sinh": (1, np.sinh), "cosh": (1, np.cosh),
    "tanh": (1, np.tanh), "pow": (2, np.power),
    "min": (None, lambda *a: reduce(np.minimum, a)),
    "max": (None, lambda *a: reduce(np.maximum, a)),
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide,
    ast.Pow: np.power,
}  # fmt: skip


@dataclass(frozen=True)
class Formula:
    """A formula that has been checked: its text, the names in it, and how to calculate it."""

    text: str
    names: frozenset[str]
    tree: ast.expr

    def value(self, known: Mapping[str, Any]) -> Any:
        """The value with the ``known`` names; arrays broadcast."""
        return _value(self.tree, known)


def parsed(text: str, where: str) -> Formula:
    """The formula in ``text``; what is not arithmetic is refused by name."""
    try:
        tree = ast.parse(text.replace("^", "**").strip(), mode="eval").body
    except SyntaxError as error:
        raise refused(f"cannot read the formula {text!r}", where, "arithmetic on names") from error
    names: set[str] = set()
    _check(tree, names, where)
    return Formula(text, frozenset(names), tree)


def _check(node: ast.expr, names: set[str], where: str) -> None:
    if isinstance(node, ast.Name):
        names.add(node.id)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        _check(node.left, names, where)
        _check(node.right, names, where)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _check(node.operand, names, where)
    elif isinstance(node, ast.Call):
        _check_call(node, names, where)
    elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        raise refused(f"{ast.unparse(node)!r} in a formula", where, "arithmetic on names")


def _check_call(node: ast.Call, names: set[str], where: str) -> None:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if name not in _FUNCTIONS or node.keywords:
        raise refused(f"the function {name!r} in a formula", where, ", ".join(_FUNCTIONS))
    count = _FUNCTIONS[name][0]
    if len(node.args) != count and not (count is None and node.args):
        raise refused(f"{name} with {len(node.args)} arguments", where, f"{count or 'some'}")
    for argument in node.args:
        _check(argument, names, where)


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return known[node.id]
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, known), _value(node.right, known))
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, known)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return _FUNCTIONS[node.func.id][1](*(_value(one, known) for one in node.args))
    assert isinstance(node, ast.Constant)
    return np.float64(node.value)  # type: ignore[arg-type]  # a whole number would not take ** -1
