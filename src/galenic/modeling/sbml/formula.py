"""SBML's MathML as Python expressions over the plain quantities of a model."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from galenic.modeling.sbml.refusal import refused

if TYPE_CHECKING:
    import libsbml

Environment = Mapping[str, ast.expr]
CALLS = 20_000

_CALLS = {
    "FUNCTION_EXP": "exp", "FUNCTION_LN": "log", "FUNCTION_ABS": "absolute",
    "FUNCTION_FLOOR": "floor", "FUNCTION_CEILING": "ceiling",
    "FUNCTION_SIN": "sin", "FUNCTION_COS": "cos", "FUNCTION_TAN": "tan",
    "FUNCTION_ARCSIN": "asin", "FUNCTION_ARCCOS": "acos", "FUNCTION_ARCTAN": "atan",
    "FUNCTION_SINH": "sinh", "FUNCTION_COSH": "cosh", "FUNCTION_TANH": "tanh",
    "FUNCTION_ARCSINH": "arsinh", "FUNCTION_ARCCOSH": "arcosh", "FUNCTION_ARCTANH": "artanh",
    "FUNCTION_QUOTIENT": "quotient", "FUNCTION_REM": "remainder",
}  # fmt: skip
# sec x = 1 / cos x, and so on; arcsec x = arccos(1 / x), and so on
_INVERTED = {
    "FUNCTION_SEC": "cos", "FUNCTION_CSC": "sin", "FUNCTION_COT": "tan",
    "FUNCTION_SECH": "cosh", "FUNCTION_CSCH": "sinh", "FUNCTION_COTH": "tanh",
}  # fmt: skip
_OF_INVERSE = {
    "FUNCTION_ARCSEC": "acos", "FUNCTION_ARCCSC": "asin", "FUNCTION_ARCCOT": "atan",
    "FUNCTION_ARCSECH": "arcosh", "FUNCTION_ARCCSCH": "arsinh", "FUNCTION_ARCCOTH": "artanh",
}  # fmt: skip
_COMPARISONS = {
    "RELATIONAL_GT": "above", "RELATIONAL_GEQ": "at_least", "RELATIONAL_LT": "below",
    "RELATIONAL_LEQ": "at_most", "RELATIONAL_EQ": "equal", "RELATIONAL_NEQ": "unequal",
}  # fmt: skip
_OPPOSITE = {
    "above": "at_most", "at_most": "above", "below": "at_least", "at_least": "below",
    "equal": "unequal", "unequal": "equal",
}  # fmt: skip
_NUMBERS = {
    "CONSTANT_E": "2.718281828459045", "CONSTANT_PI": "3.141592653589793",
    "NAME_AVOGADRO": "AVOGADRO",
}  # fmt: skip


def kind(node: libsbml.ASTNode) -> str:
    """The type of a node by its name in libSBML, without ``AST_``."""
    return _kinds()[node.getType()]


def _kinds() -> dict[int, str]:
    import libsbml

    if not _KINDS:
        for name in dir(libsbml):
            if name.startswith("AST_") and isinstance(getattr(libsbml, name), int):
                _KINDS.setdefault(getattr(libsbml, name), name.removeprefix("AST_"))
    return _KINDS


_KINDS: dict[int, str] = {}


def children(node: libsbml.ASTNode) -> list[libsbml.ASTNode]:
    """The operands of a node."""
    return [node.getChild(i) for i in range(node.getNumChildren())]


@dataclass
class Formulas:
    """Turns formulas of one SBML model into Python.

    Parameters
    ----------
    names : mapping
        Python expression of each identifier.
    functions : mapping
        The function definitions.
    rate_of : callable
        The rate of an identifier, or a refusal.
    switches : list of str
        Collects the comparisons on which values of formulas depend.
    moving : set of str
        Identifiers whose values change over time.
    """

    names: Mapping[str, ast.expr]
    functions: Mapping[str, Any]
    rate_of: Callable[[str], ast.expr]
    switches: list[str] = field(default_factory=list)
    moving: Set[str] = frozenset()
    calls: int = 0

    def number(self, node: Any, local: Environment | None = None, where: str = "") -> ast.expr:
        """The value of a formula."""
        return _Walk(self, dict(local or {}), where).number(node)

    def condition(self, node: Any, where: str, negated: bool = False) -> ast.expr:
        """Whether a formula holds, or does not."""
        return _Walk(self, {}, where).condition(node, negated)


def call(name: str, *arguments: ast.expr) -> ast.expr:
    """``name(arguments)``."""
    return ast.Call(ast.Name(name), list(arguments), [])


def constant(value: float) -> ast.expr:
    """A number; Python has no literal for those that are not finite."""
    if value != value:
        return ast.Name("nan")
    if value in (float("inf"), float("-inf")):
        name = ast.Name("inf")
        return name if value > 0 else ast.UnaryOp(ast.USub(), name)
    if value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def binary(left: ast.expr, operator: ast.operator, right: ast.expr) -> ast.expr:
    """``left operator right``."""
    return ast.BinOp(left, operator, right)


class _Walk:
    def __init__(self, formulas: Formulas, local: dict[str, ast.expr], where: str) -> None:
        self.formulas = formulas
        self.local = local
        self.where = where

    def number(self, node: Any) -> ast.expr:
        what = kind(node)
        if what in ("INTEGER", "REAL", "REAL_E", "RATIONAL"):
            return constant(node.getInteger() if what == "INTEGER" else node.getValue())
        if what in _NUMBERS:
            return ast.parse(_NUMBERS[what], mode="eval").body
        if what == "NAME":
            return self._name(node.getName())
        if what == "NAME_TIME":
            return ast.Name("t")
        if self._is_condition(node):
            return call("where", self.condition(node), constant(1), constant(0))
        method = getattr(self, f"_{what.lower()}", None)
        if method is not None:
            return method(node, children(node))  # type: ignore[no-any-return]
        return self._called(what, node)

    def _name(self, name: str) -> ast.expr:
        if name in self.local:
            return self.local[name]
        if name in self.formulas.names:
            return self.formulas.names[name]
        raise refused(f"a formula names {name!r}, which stands for nothing", self.where)

    def _called(self, what: str, node: Any) -> ast.expr:
        arguments = [self.number(child) for child in children(node)]
        if what in _CALLS:
            return call(_CALLS[what], *arguments)
        if what in _INVERTED:
            return binary(constant(1), ast.Div(), call(_INVERTED[what], *arguments))
        if what in _OF_INVERSE:
            return call(_OF_INVERSE[what], binary(constant(1), ast.Div(), arguments[0]))
        raise refused(f"the operation {what.lower().replace('_', ' ')} in a formula", self.where)

    def _chain(self, operator: ast.operator, nodes: list[Any], empty: float) -> ast.expr:
        if not nodes:
            return constant(empty)
        result = self.number(nodes[0])
        for node in nodes[1:]:
            result = binary(result, operator, self.number(node))
        return result

    def _plus(self, _: Any, nodes: list[Any]) -> ast.expr:
        return self._chain(ast.Add(), nodes, 0)

    def _times(self, _: Any, nodes: list[Any]) -> ast.expr:
        return self._chain(ast.Mult(), nodes, 1)

    def _minus(self, _: Any, nodes: list[Any]) -> ast.expr:
        if len(nodes) == 1:
            return ast.UnaryOp(ast.USub(), self.number(nodes[0]))
        return self._chain(ast.Sub(), nodes, 0)

    def _divide(self, _: Any, nodes: list[Any]) -> ast.expr:
        return self._chain(ast.Div(), nodes, 1)

    def _power(self, _: Any, nodes: list[Any]) -> ast.expr:
        base, exponent = (self.number(node) for node in nodes)
        if isinstance(base, ast.Constant) and isinstance(base.value, int):
            base = constant(float(base.value))  # a tower of integers would never end
        return binary(base, ast.Pow(), exponent)

    _function_power = _power

    def _function_root(self, _: Any, nodes: list[Any]) -> ast.expr:
        if len(nodes) == 1 or (kind(nodes[0]) == "INTEGER" and nodes[0].getInteger() == 2):
            return call("sqrt", self.number(nodes[-1]))
        degree, base = (self.number(node) for node in nodes)
        return binary(base, ast.Pow(), binary(constant(1), ast.Div(), degree))

    def _function_log(self, _: Any, nodes: list[Any]) -> ast.expr:
        if len(nodes) == 1 or (kind(nodes[0]) == "INTEGER" and nodes[0].getInteger() == 10):
            return call("log10", self.number(nodes[-1]))
        base, value = (call("log", self.number(node)) for node in nodes)
        return binary(value, ast.Div(), base)

    def _function_factorial(self, _: Any, nodes: list[Any]) -> ast.expr:
        if kind(nodes[0]) != "INTEGER" or not 0 <= nodes[0].getInteger() <= 170:
            raise refused(
                "the factorial of something that is no written-out integer up to 170", self.where
            )
        return call("factorial", self.number(nodes[0]))

    def _extreme(self, name: str, nodes: list[Any]) -> ast.expr:
        result = self.number(nodes[0])
        for node in nodes[1:]:
            result = call(name, result, self.number(node))
        return result

    def _function_min(self, _: Any, nodes: list[Any]) -> ast.expr:
        return self._extreme("minimum", nodes)

    def _function_max(self, _: Any, nodes: list[Any]) -> ast.expr:
        return self._extreme("maximum", nodes)

    def _function_piecewise(self, _: Any, nodes: list[Any]) -> ast.expr:
        result = self.number(nodes[-1]) if len(nodes) % 2 else constant(float("nan"))
        for i in range(len(nodes) // 2 - 1, -1, -1):
            condition = self.condition(nodes[2 * i + 1])
            result = call("where", condition, self.number(nodes[2 * i]), result)
        return result

    def _function_delay(self, _: Any, nodes: list[Any]) -> ast.expr:
        moving = identifiers(nodes[1]) & self.formulas.moving
        if moving or _mentions_time(nodes[1]):
            raise refused(
                f"a delay that changes with {', '.join(sorted(moving)) or 'time'}", self.where,
                "a delay may use numbers and constant parameters",
            )  # fmt: skip
        value, by = (self.number(node) for node in nodes)
        return call("delayed", ast.Name("m"), value, by)

    def _function_rate_of(self, _: Any, nodes: list[Any]) -> ast.expr:
        return self.formulas.rate_of(nodes[0].getName())

    def _function(self, node: Any, nodes: list[Any]) -> ast.expr:
        """A call of a function definition: its body with the arguments in place."""
        return self._inlined(node, nodes).number(self._body(node))

    def _body(self, node: Any) -> Any:
        definition = self.formulas.functions.get(node.getName())
        if definition is None:
            raise refused(f"a call of {node.getName()!r}, which is not defined", self.where)
        return definition.getBody()

    def _inlined(self, node: Any, nodes: list[Any]) -> _Walk:
        self._body(node)
        self.formulas.calls += 1
        if self.formulas.calls > CALLS:
            raise refused(f"more than {CALLS} calls of functions", self.where)
        definition = self.formulas.functions[node.getName()]
        names = [definition.getArgument(i).getName() for i in range(definition.getNumArguments())]
        if len(names) != len(nodes):
            raise refused(f"{node.getName()} called with {len(nodes)} arguments", self.where)
        given = {name: self.number(one) for name, one in zip(names, nodes, strict=True)}
        return _Walk(self.formulas, given, self.where)

    def _is_condition(self, node: Any) -> bool:
        what = kind(node)
        if what == "FUNCTION":
            return self._is_condition(self._body(node))
        return what.startswith(("RELATIONAL_", "LOGICAL_")) or what in (
            "CONSTANT_TRUE",
            "CONSTANT_FALSE",
        )

    def condition(self, node: Any, negated: bool = False) -> ast.expr:
        """A condition, with negations carried down to the comparisons."""
        what = kind(node)
        nodes = children(node)
        if what in ("CONSTANT_TRUE", "CONSTANT_FALSE"):
            return call("truth", ast.Constant((what == "CONSTANT_TRUE") != negated))
        if what in _COMPARISONS:
            return self._comparison(_COMPARISONS[what], nodes, negated)
        if what == "LOGICAL_NOT":
            return self.condition(nodes[0], not negated)
        if what in ("LOGICAL_AND", "LOGICAL_OR"):
            both = (what == "LOGICAL_AND") != negated
            return self._joined(nodes, negated, both)
        if what == "LOGICAL_IMPLIES":
            first, second = self.condition(nodes[0], not negated), self.condition(nodes[1], negated)
            return binary(first, ast.BitAnd() if negated else ast.BitOr(), second)
        if what == "LOGICAL_XOR":
            return self._exclusive(nodes, negated)
        if what == "FUNCTION" and self._is_condition(node):
            return self._inlined(node, nodes).condition(self._body(node), negated)
        name = "equal" if negated else "unequal"
        return call(name, self.number(node), constant(0))

    def _comparison(self, name: str, nodes: list[Any], negated: bool) -> ast.expr:
        name = _OPPOSITE[name] if negated else name
        values = [self.number(node) for node in nodes]
        pairs = [call(name, a, b) for a, b in pairwise(values)]
        for pair in pairs:
            self._note(pair)
        result = pairs[0]
        for pair in pairs[1:]:
            result = binary(result, ast.BitOr() if negated else ast.BitAnd(), pair)
        return result

    def _note(self, comparison: ast.expr) -> None:
        """Remember where a comparison changes, so that no solver steps over a short truth."""
        text = ast.unparse(comparison)
        if text not in self.formulas.switches:
            self.formulas.switches.append(text)

    def _joined(self, nodes: list[Any], negated: bool, both: bool) -> ast.expr:
        if not nodes:
            return call("truth", ast.Constant(both))
        result = self.condition(nodes[0], negated)
        for node in nodes[1:]:
            operator = ast.BitAnd() if both else ast.BitOr()
            result = binary(result, operator, self.condition(node, negated))
        return result

    def _exclusive(self, nodes: list[Any], negated: bool) -> ast.expr:
        if not nodes:
            return call("truth", ast.Constant(negated))
        *rest, last = nodes
        if not rest:
            return self.condition(last, negated)
        one = binary(self._exclusive(rest, negated), ast.BitAnd(), self.condition(last, True))
        other = binary(self._exclusive(rest, not negated), ast.BitAnd(), self.condition(last))
        return binary(one, ast.BitOr(), other)


def _mentions_time(node: Any) -> bool:
    return kind(node) == "NAME_TIME" or any(_mentions_time(child) for child in children(node))


def identifiers(node: Any) -> set[str]:
    """All names in a formula: quantities, and functions that it calls."""
    if node is None:
        return set()
    found = {node.getName()} if kind(node) in ("NAME", "FUNCTION") else set()
    return found.union(*(identifiers(child) for child in children(node)))
