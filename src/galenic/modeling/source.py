"""Equations as their author wrote them, as text and as LaTeX."""

from __future__ import annotations

import ast
import linecache
import re
from dataclasses import dataclass
from functools import cache

from galenic.modeling.expression import Equation, Place
from galenic.modeling.system import EquationInfo

GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega"
).split()


@dataclass(frozen=True)
class Written:
    """One equation: plain text, and LaTeX."""

    text: str = ""
    latex: str = ""


def info(equation: Equation) -> EquationInfo:
    """What is shown of an equation."""
    found = written(equation.place)
    part = equation.owner.path_of("").rstrip(".")
    where = f"{part}: {equation.place}" if part else str(equation.place)
    return EquationInfo(found.latex, found.text or equation.place.source, where)


def written(place: Place) -> Written:
    """The equation at a place of an author's file."""
    return _written(place.file, place.line)


@cache
def _statements(file: str) -> dict[int, tuple[ast.stmt, dict[str, ast.expr]]]:
    """The statement on each line, with the local names assigned in its function."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return {}
    found: dict[int, tuple[ast.stmt, dict[str, ast.expr]]] = {}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        local = _assigned(function)
        for node in ast.walk(function):
            if isinstance(node, (ast.Expr, ast.Assign, ast.Return)):
                for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                    found[line] = node, local
    return found


def _assigned(function: ast.FunctionDef) -> dict[str, ast.expr]:
    """Local names that one plain statement of the function's body defines."""
    return {
        node.targets[0].id: node.value
        for node in function.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


@cache
def _written(file: str, line: int) -> Written:
    if line not in _statements(file):
        return Written()
    statement, local = _statements(file)[line]
    shown: ast.expr | None = None
    for inner in ast.walk(statement):
        if isinstance(inner, ast.Compare) and isinstance(inner.ops[0], ast.Eq):
            if inner.lineno <= line <= (inner.end_lineno or line):
                shown = inner
                break
    if shown is None:
        shown = getattr(statement, "value", None)
        while isinstance(shown, (ast.Yield, ast.YieldFrom)):
            shown = shown.value
    if shown is None:
        return Written()
    names = _used(shown, local)
    text = "".join(f", {name} = {_plain(local[name])}" for name in names)
    latex = "".join(rf", \quad {symbol(name)} = {latex_of(local[name])}" for name in names)
    return Written(_plain(shown) + text, latex_of(shown) + latex)


def _used(node: ast.expr, local: dict[str, ast.expr]) -> list[str]:
    """Local names on which ``node`` rests, in order of appearance."""
    names: list[str] = []
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and inner.id in local and inner.id not in names:
            names.append(inner.id)
            rest = {k: v for k, v in local.items() if k not in names}
            names += [n for n in _used(local[inner.id], rest) if n not in names]
    return names


def _plain(node: ast.AST) -> str:
    """Source text without the model's own name in front of its quantities."""
    return re.sub(r"\b(m|self)\.", "", ast.unparse(node))


def symbol(name: str) -> str:
    """A name as LaTeX: ``k_in`` with a subscript, Greek letters by name, words upright."""
    head, _, rest = name.partition("_")
    if head in GREEK:
        head = rf"\{head}"
    elif match := re.fullmatch(r"([A-Za-z])(\d+)", head):
        head = f"{match[1]}_{{{match[2]}}}" if not rest else f"{match[1]}{match[2]}"
    elif len(head) > 1:
        head = rf"\mathrm{{{head}}}"
    if not rest:
        return head
    return rf"{head}_{{\mathrm{{{rest.replace('_', ',')}}}}}"


_COMPARE = {ast.Eq: "=", ast.Lt: "<", ast.Gt: ">", ast.LtE: r"\le", ast.GtE: r"\ge"}
_KNOWN = {"exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan"}


def latex_of(node: ast.AST) -> str:
    """LaTeX of a Python expression."""
    return _latex(node, 0)


def _latex(node: ast.AST, binding: int) -> str:
    """LaTeX of ``node``, in brackets where the context binds stronger."""
    if isinstance(node, ast.BinOp):
        return _operation(node, binding)
    if isinstance(node, ast.Compare):
        sides = [_latex(node.left, 1)]
        for operation, side in zip(node.ops, node.comparators, strict=True):
            sides += [_COMPARE.get(type(operation), r"\circ"), _latex(side, 1)]
        return " ".join(sides)
    if isinstance(node, ast.UnaryOp):
        text = ("-" if isinstance(node.op, ast.USub) else "") + _latex(node.operand, 2)
        return _bracketed(text) if binding > 1 else text
    if isinstance(node, ast.Call):
        return _call(node)
    if isinstance(node, ast.Attribute):
        return _path(node)
    if isinstance(node, ast.Subscript):
        return rf"{{{_latex(node.value, 9)}}}_{{{_latex(node.slice, 0)}}}"
    if isinstance(node, ast.Name):
        return symbol(node.id)
    if isinstance(node, ast.Constant):
        return _constant(node.value)
    if isinstance(node, (ast.Tuple, ast.List)):
        return ", ".join(_latex(item, 0) for item in node.elts)
    return rf"\mathtt{{{_escaped(ast.unparse(node))}}}"


def _operation(node: ast.BinOp, binding: int) -> str:
    left, right = node.left, node.right
    if isinstance(node.op, ast.Div):
        return rf"\frac{{{_latex(left, 0)}}}{{{_latex(right, 0)}}}"
    if isinstance(node.op, ast.Pow):
        return rf"{{{_latex(left, 9)}}}^{{{_latex(right, 0)}}}"
    if isinstance(node.op, (ast.Add, ast.Sub)):
        sign = "+" if isinstance(node.op, ast.Add) else "-"
        text = f"{_latex(left, 1)} {sign} {_latex(right, 1 if sign == '+' else 2)}"
        return _bracketed(text) if binding > 1 else text
    if isinstance(node.op, ast.Mult):
        text = rf"{_latex(left, 2)} \, {_latex(right, 2)}"
        return _bracketed(text) if binding > 2 else text
    if isinstance(node.op, ast.RShift):
        return rf"{_latex(left, 9)} \rightarrow {_latex(right, 9)}"
    return rf"\mathtt{{{_escaped(ast.unparse(node))}}}"


def _call(node: ast.Call) -> str:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    arguments = [_latex(argument, 0) for argument in node.args]
    if name == "der" and len(arguments) == 1:
        return rf"\frac{{d {_latex(node.args[0], 9)}}}{{d t}}"
    if name == "sqrt":
        return rf"\sqrt{{{arguments[0]}}}"
    if name == "exp":
        return rf"e^{{{arguments[0]}}}"
    if name in {"where", "if_else"} and len(arguments) == 3:
        condition, a, b = arguments
        return rf"\begin{{cases}} {a} & {condition} \\ {b} & \text{{otherwise}} \end{{cases}}"
    if name in {"minimum", "maximum"}:
        return rf"\{name[:3]}\left({', '.join(arguments)}\right)"
    if name in {"total", "sum"}:
        return rf"\sum {arguments[0]}"
    head = rf"\{name}" if name in _KNOWN else rf"\operatorname{{{_escaped(name)}}}"
    return rf"{head}\left({', '.join(arguments)}\right)"


def _path(node: ast.Attribute) -> str:
    names = [node.attr]
    value: ast.AST = node.value
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    if isinstance(value, ast.Subscript):
        return rf"{{{_latex(node.value, 9)}}}.{symbol(node.attr)}"
    if isinstance(value, ast.Name) and value.id not in {"m", "self"}:
        names.append(value.id)
    quantity, *owners = names
    if not owners:
        return symbol(quantity)
    place = ",".join(_escaped(owner) for owner in reversed(owners))
    return rf"{{{symbol(quantity)}}}^{{\mathrm{{{place}}}}}"


def _constant(value: object) -> str:
    if isinstance(value, float) and value != 0 and not 1e-3 <= abs(value) < 1e4:
        mantissa, _, exponent = f"{value:e}".partition("e")
        return rf"{float(mantissa):g} \cdot 10^{{{int(exponent)}}}"
    return rf"\text{{{_escaped(value)}}}" if isinstance(value, str) else str(value)


def _bracketed(text: str) -> str:
    return rf"\left({text}\right)"


def _escaped(text: str) -> str:
    return re.sub(r"([_%&#$])", r"\\\1", text)
