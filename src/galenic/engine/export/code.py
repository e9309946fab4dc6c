"""A Tape as a C function."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import casadi as ca

from galenic.engine.tape import Instruction, Tape

_BINARY = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "lt": "(double)({0} < {1})",
    "le": "(double)({0} <= {1})",
    "eq": "(double)({0} == {1})",
    "ne": "(double)({0} != {1})",
    "and": "(double)({0} != 0.0 && {1} != 0.0)",
    "or": "(double)({0} != 0.0 || {1} != 0.0)",
    "select": "{0} != 0.0 ? {1} : 0.0",
    "min": "fmin({0}, {1})",
    "max": "fmax({0}, {1})",
}
_UNARY = {
    "copy": "{0}",
    "neg": "-{0}",
    "sq": "{0} * {0}",
    "twice": "2.0 * {0}",
    "inv": "1.0 / {0}",
    "abs": "fabs({0})",
    "not": "(double)({0} == 0.0)",
    "sign": "(double)(({0} > 0.0) - ({0} < 0.0))",
}
# Names that the C library shares with the tape.
_CALLS = frozenset(
    "pow fmod remainder copysign atan2 hypot sqrt exp log expm1 log1p sin cos tan asin acos atan"
    " sinh cosh tanh asinh acosh atanh erf floor ceil".split()
)


def function(head: str, made: ca.Function, arguments: Sequence[str], results: Sequence[str]) -> str:
    """The C function ``head { ... }`` that computes ``made``.

    ``arguments`` are C names in the order of the Function's inputs, ``*t`` for one that is passed
    by value; ``results`` are the names of the arrays that take its outputs.
    """
    tape = Tape(made)
    used = {step.place for step in tape.instructions if step.name == "input"}
    unused = [
        name.lstrip("*")
        for i, name in enumerate(arguments)
        if not any(place[0] == i for place in used)
    ]
    lines = [f"  (void){name};" for name in unused]
    lines += [f"  (void){name};" for k, name in enumerate(results) if not _size(tape, k)]
    return "\n".join([f"{head} {{", *lines, *_body(tape, arguments, results), "}"])


def _size(tape: Tape, k: int) -> int:
    rows, columns = tape.shapes[k]
    return rows * columns


def _body(tape: Tape, arguments: Sequence[str], results: Sequence[str]) -> list[str]:
    """One line per operation; inputs and constants stand where they are used."""
    where: dict[int, str] = {}
    lines = []
    for number, step in enumerate(tape.instructions):
        if step.name == "input":
            where[step.slot] = _argument(arguments[step.place[0]], step.place[1])
        elif step.name == "const":
            where[step.slot] = literal(step.value)
        elif step.name == "output":
            name, place = results[step.place[0]], step.place[1]
            lines.append(f"  {name}[{place}] = {where.get(step.slot, '0.0')};")
        else:
            lines.append(f"  const double r{number} = {_operation(step, where)};")
            where[step.slot] = f"r{number}"
    return lines


def _argument(name: str, place: int) -> str:
    return name[1:] if name.startswith("*") else f"{name}[{place}]"


def _operation(step: Instruction, where: dict[int, str]) -> str:
    values = [where[i] for i in step.arguments]
    if step.name in _CALLS:
        return f"{step.name}({', '.join(values)})"
    return (_BINARY | _UNARY)[step.name].format(*values)


def literal(value: float) -> str:
    """A double as C reads it back exactly.

    Examples
    --------
    >>> literal(0.1), literal(-2.0), literal(float("-inf"))
    ('0.1', '(-2.0)', '(-HUGE_VAL)')
    """
    if math.isnan(value):
        return "NAN"
    text = "HUGE_VAL" if math.isinf(value) else repr(abs(float(value)))
    return f"(-{text})" if math.copysign(1.0, value) < 0 else text


def string(text: str) -> str:
    """A C string literal of ``text`` in UTF-8."""
    parts = []
    for byte in text.encode():
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        parts.append(chr(byte) if plain else f"\\{byte:03o}")
    return '"' + "".join(parts) + '"'


def identifier(name: str) -> str:
    """A C identifier made of a model's name.

    One word could be a keyword, a function of C's library or one of our own files.

    Examples
    --------
    >>> identifier("StirredTank"), identifier("Exp")
    ('stirred_tank', 'exp_model')
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    plain = re.sub(r"\W+", "_", words, flags=re.ASCII).strip("_")
    if not plain or plain[0].isdigit():
        return f"model_{plain}"
    return plain if "_" in plain else f"{plain}_model"
