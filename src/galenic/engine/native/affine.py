"""Which results of a tape are affine or quadratic in some arguments, found by walking it.

A derivative tells too little: that of ``x > 3`` or ``floor(x)`` is zero, and yet they are not
affine. The walk says yes only where sums, and products with what does not change, make the result.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

from galenic.engine.tape import Tape


class Form(IntEnum):
    """How a value depends on what changes; ordered, later ones include earlier ones."""

    CONSTANT = 0  # of neither the unknowns nor the time
    TIMED = 1  # of the time, not of the unknowns
    AFFINE = 2  # constant coefficients times unknowns, plus a TIMED value
    QUADRATIC = 3  # sums and products of two AFFINE values
    OTHER = 4


_SUMS = frozenset({"add", "sub", "neg", "copy", "twice"})


def forms(tape: Tape, unknowns: Collection[int], timed: Collection[int] = ()) -> list[list[Form]]:
    """The form of each element of each output of a tape.

    Parameters
    ----------
    tape : Tape
        Elementary operations.
    unknowns, timed : collections of int
        Arguments of the Function that are unknowns, and that change with time; others do not
        change.

    Examples
    --------
    >>> import casadi as ca
    >>> x, p = ca.SX.sym("x"), ca.SX.sym("p")
    >>> tape = Tape(ca.Function("f", [x, p], [p * x + 1, p * (x > 3)]))
    >>> [form.name for (form,) in forms(tape, {0})]
    ['AFFINE', 'OTHER']
    """
    work = [Form.CONSTANT] * max(tape.work, 1)
    results = [[Form.CONSTANT] * (rows * columns) for rows, columns in tape.shapes]
    for step in tape.instructions:
        if step.name == "input":
            place = step.place[0]
            changing = Form.TIMED if place in timed else Form.CONSTANT
            work[step.slot] = Form.AFFINE if place in unknowns else changing
        elif step.name == "const":
            work[step.slot] = Form.CONSTANT
        elif step.name == "output":
            results[step.place[0]][step.place[1]] = work[step.slot]
        else:
            work[step.slot] = _joined(step.name, [work[i] for i in step.arguments])
    return results


def _joined(name: str, given: list[Form]) -> Form:
    most = max(given)
    if name in _SUMS or most <= Form.TIMED:
        return most
    if most <= Form.QUADRATIC and _scales(name, given):
        return most
    if most == Form.AFFINE and name in ("mul", "sq"):
        return Form.QUADRATIC
    return Form.OTHER


def _scales(name: str, given: list[Form]) -> bool:
    """Whether an operation multiplies its one changing operand by what never changes."""
    if name == "mul":
        return min(given) == Form.CONSTANT
    return name in ("div", "select") and given[name == "div"] == Form.CONSTANT
