"""Abbreviated code of $PK, $DES and $ERROR as lines of Python.

Each line of code becomes one assignment; a conditional one chooses between the new and the former
value. Calculations are on plain numbers, as NONMEM does them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from galenic.inference.nonmem.refusal import refused
from galenic.inference.nonmem.stream import Line, Record

FUNCTIONS = {
    "EXP": "exp", "LOG": "log", "SQRT": "sqrt", "ABS": "absolute", "LOG10": "log10", "SIN": "sin",
    "COS": "cos", "TAN": "tan", "MIN": "minimum", "MAX": "maximum", "DEXP": "exp", "DLOG": "log",
    "DSQRT": "sqrt", "DABS": "absolute",
}  # fmt: skip
VECTORS = ("THETA", "ETA", "EPS", "ERR", "A", "DADT")
_OPERATORS = {
    "EQ": "==", "NE": "!=", "GT": ">", "LT": "<", "GE": ">=", "LE": "<=", "AND": " and ",
    "OR": " or ", "NOT": " not ",
}  # fmt: skip
_COMPARE = {
    ast.Eq: "equal", ast.NotEq: "unequal", ast.Gt: "above", ast.Lt: "below", ast.GtE: "at_least",
    ast.LtE: "at_most",
}  # fmt: skip
_NUMBER = re.compile(r"(?<![A-Za-z_0-9])(\d+\.?\d*|\.\d+)[dD]([+-]?\d+)")


@dataclass(frozen=True)
class Statement:
    """``name = value``, the value as an expression of Python."""

    name: str
    value: str
    line: int
    uses: frozenset[str]


@dataclass
class Code:
    """The assignments of one block, and what is known of its names."""

    block: str
    statements: list[Statement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """What is assigned."""
        return {one.name for one in self.statements}

    @property
    def uses(self) -> set[str]:
        """What is asked for from outside of the block."""
        seen: set[str] = set()
        wanted: set[str] = set()
        for one in self.statements:
            wanted |= {name for name in one.uses if name not in seen}
            seen.add(one.name)
        return wanted

    def line_of(self, name: str) -> int:
        """The line where a name is used first."""
        return next((one.line for one in self.statements if name in one.uses), 0)

    def kept(self, wanted: set[str]) -> Code:
        """The code on which the wanted names depend."""
        need, kept = set(wanted), list[Statement]()
        for one in reversed(self.statements):
            if one.name in need:
                need = (need - {one.name}) | one.uses
                kept.append(one)
        lines = {f"line {one.line}:" for one in kept}
        notes = [note for note in self.notes if note[: note.index(":") + 1] in lines]
        return Code(self.block, kept[::-1], notes)

    def without_errors(self) -> Code:
        """The code with every EPS at 0, simplified: what is predicted."""
        found = []
        for one in self.statements:
            tree = _Folded().visit(ast.parse(one.value, mode="eval").body)
            names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & one.uses
            found.append(Statement(one.name, ast.unparse(tree), one.line, frozenset(names)))
        return Code(self.block, found, self.notes)

    def python(self) -> list[str]:
        """The assignments as lines of Python."""
        return [f"{one.name} = {one.value}" for one in self.statements]


def read(record: Record) -> Code:
    """The code of a record."""
    return _Reader(record).code


class _Reader:
    def __init__(self, record: Record) -> None:
        self.code = Code(record.name)
        self.branches: list[list[str]] = []
        self.open: dict[str, int] = {}
        for line in _continued(record.lines):
            if line.text:
                self._line(line)
        if self.branches:
            raise refused(f"an IF without ENDIF in ${record.name}", record.lines[-1].number)
        self.code.notes += [
            f"line {number}: {name} is 0 where no condition holds, as NM-TRAN has it"
            for name, number in self.open.items()
        ]

    def _line(self, line: Line) -> None:
        text = line.text.upper()
        if re.fullmatch(r"END\s*IF", text):
            self._need_branch(line)
            self.branches.pop()
        elif text == "ELSE":
            self._need_branch(line)
            self.branches[-1] = [*_negated(self.branches[-1]), "True"]
        elif found := re.fullmatch(r"ELSE\s*IF\s*\((.*)\)\s*THEN", text):
            self._need_branch(line)
            self.branches[-1] = [*_negated(self.branches[-1]), self._held(found[1], line)]
        elif found := re.fullmatch(r"IF\s*\((.*)\)\s*THEN", text):
            self.branches.append([self._held(found[1], line)])
        elif text.startswith("IF") and re.match(r"IF\s*\(", text):
            condition, rest = _bracket(text[text.index("(") :], line)
            self.branches.append([self._held(condition, line)])
            self._assign(rest, line)
            self.branches.pop()
        else:
            self._assign(text, line)

    def _held(self, text: str, line: Line) -> str:
        """A condition under a name, so that what it asks may change within its branch."""
        value, uses = translated(text, line.number)
        name = f"if_{line.number}"
        self.code.statements.append(Statement(name, value, line.number, frozenset(uses)))
        return name

    def _need_branch(self, line: Line) -> None:
        if not self.branches:
            raise refused(f"{line.text!r} without IF", line.number, "IF (...) THEN")

    def _assign(self, text: str, line: Line) -> None:
        match = re.fullmatch(r"([A-Z]\w*(?:\s*\(\s*\d+\s*\))?)\s*=(?!=)\s*(.+)", text)
        if not match:
            raise refused(
                f"{line.text!r} in ${self.code.block}", line.number,
                "NAME = expression, IF (...) NAME = expression, IF (...) THEN, ELSE, ENDIF",
            )  # fmt: skip
        name = re.sub(r"[\s()]", "", match[1])
        own = re.fullmatch(r"(THETA|ETA|EPS|ERR|A|DADT)\d+|F", name)
        if bool(own) != ("(" in match[1]) or (own and not name.startswith("DADT")):
            raise refused(
                f"an assignment to {match[1]}", line.number, "DADT(n) or a name of its own"
            )
        value, uses = translated(match[2], line.number)
        conditions = [one for branch in self.branches for one in branch if one != "True"]
        if conditions:
            before = name
            if name not in self.code.names:
                before = "0.0"
                self.open[name] = line.number
            else:
                uses |= {name}
            both = " & ".join(conditions)
            uses |= {one.lstrip("~") for one in conditions}
            value = f"where({both}, {value}, {before})"
        if all(one.startswith("~") for one in conditions):
            self.open.pop(name, None)
        self.code.statements.append(Statement(name, value, line.number, frozenset(uses)))


class _Folded(ast.NodeTransformer):
    """EPS at 0, and sums and products with 0 and 1 done."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(0.0) if re.fullmatch(r"EPS\d+", node.id) else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.args = [self.visit(one) for one in node.args]
        assert isinstance(node.func, ast.Name)
        return ast.Constant(1.0) if node.func.id == "exp" and _is(node.args[0], 0.0) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left: ast.expr = self.visit(node.left)
        right: ast.expr = self.visit(node.right)
        match node.op:
            case ast.Mult() if _is(left, 0.0) or _is(right, 0.0):
                return ast.Constant(0.0)
            case ast.Mult() if _is(left, 1.0):
                return right
            case ast.Mult() | ast.Div() if _is(right, 1.0):
                return left
            case ast.Div() if _is(left, 0.0):
                return ast.Constant(0.0)
            case ast.Add() if _is(left, 0.0):
                return right
            case ast.Add() | ast.Sub() if _is(right, 0.0):
                return left
        return ast.BinOp(left, node.op, right)


def _is(node: ast.expr, value: float) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def _negated(branch: list[str]) -> list[str]:
    """The branches before do not hold."""
    return [one if one.startswith("~") else f"~{one}" for one in branch if one != "True"]


def _continued(lines: Sequence[Line]) -> list[Line]:
    """Lines that end in & joined with the next."""
    found: list[Line] = []
    for line in lines:
        if found and found[-1].text.endswith("&"):
            last = found.pop()
            found.append(Line(last.number, f"{last.text[:-1]} {line.text}", last.comment))
        else:
            found.append(line)
    return found


def _bracket(text: str, line: Line) -> tuple[str, str]:
    """What is inside of the first bracket, and what follows it."""
    depth = 0
    for i, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return text[1:i], text[i + 1 :].strip()
    raise refused(f"an open bracket in {line.text!r}", line.number)


def translated(text: str, line: int) -> tuple[str, set[str]]:
    """An expression of Fortran as one of Python, and the names it uses."""
    plain = _NUMBER.sub(r"\1E\2", text.upper())
    plain = re.sub(r"\.(EQ|NE|GT|LT|GE|LE|AND|OR|NOT)\.", lambda m: _OPERATORS[m[1]], plain)
    plain = plain.replace("/=", "!=")
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
    except SyntaxError:
        raise refused(f"{text.strip()!r} is not understood", line, "an expression") from None
    uses: set[str] = set()
    return ast.unparse(_converted(tree, line, uses)), uses


def _converted(node: ast.expr, line: int, uses: set[str]) -> ast.expr:
    """The node with NONMEM's names replaced; all else is refused."""

    def again(one: ast.expr) -> ast.expr:
        return _converted(one, line, uses)

    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return ast.Constant(float(value))
        case ast.Name(id=name):
            uses.add(name)
            return ast.Name(name)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return ast.UnaryOp(node.op, again(operand))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ast.UnaryOp(ast.Invert(), again(operand))
        case ast.BinOp(ast.Constant(value=int() as a), ast.Div(), ast.Constant(value=int() as b)):
            raise refused(f"{a}/{b}, which Fortran may round", line, f"{a}.0/{b}.0")
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            return ast.BinOp(again(left), node.op, again(right))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return ast.BinOp(again(left), node.op, again(right))
        case ast.BoolOp(op=op, values=values):
            joined = again(values[0])
            for one in values[1:]:
                sign = ast.BitAnd() if isinstance(op, ast.And) else ast.BitOr()
                joined = ast.BinOp(joined, sign, again(one))
            return joined
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return ast.Call(ast.Name(_COMPARE[type(op)]), [again(left), again(right)], [])
        case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=int() as place)]) if (
            name in VECTORS
        ):
            uses.add(f"{'EPS' if name == 'ERR' else name}{place}")
            return ast.Name(f"{'EPS' if name == 'ERR' else name}{place}")
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in FUNCTIONS:
            if len(arguments) != (2 if name in ("MIN", "MAX") else 1):
                raise refused(f"{name} of {len(arguments)} arguments", line)
            return ast.Call(ast.Name(FUNCTIONS[name]), [again(one) for one in arguments], [])
        case ast.Call(func=ast.Name(id=name)):
            raise refused(f"the function {name}", line, ", ".join((*FUNCTIONS, *VECTORS)))
    raise refused(f"{ast.unparse(node)!r}", line, "numbers, names, + - * / **, comparisons")
