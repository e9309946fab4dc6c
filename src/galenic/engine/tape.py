"""The instruction list of a CasADi Function: the seam between models and population kernels.

A Tape is what a back end compiles: elementary operations on numbered work slots, nothing opaque.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.errors import ModelError

Array = npt.NDArray[np.float64]


def _erf(values: Any) -> Any:
    from scipy.special import erf

    return erf(values)


_BINARY: dict[int, tuple[str, Any]] = {
    ca.OP_ADD: ("add", np.add),
    ca.OP_SUB: ("sub", np.subtract),
    ca.OP_MUL: ("mul", np.multiply),
    ca.OP_DIV: ("div", np.divide),
    ca.OP_POW: ("pow", np.power),
    ca.OP_CONSTPOW: ("pow", np.power),
    ca.OP_LT: ("lt", np.less),
    ca.OP_LE: ("le", np.less_equal),
    ca.OP_EQ: ("eq", np.equal),
    ca.OP_NE: ("ne", np.not_equal),
    ca.OP_AND: ("and", lambda a, b: (a != 0) & (b != 0)),
    ca.OP_OR: ("or", lambda a, b: (a != 0) | (b != 0)),
    ca.OP_FMIN: ("min", np.fmin),
    ca.OP_FMAX: ("max", np.fmax),
    ca.OP_FMOD: ("fmod", np.fmod),
    ca.OP_REMAINDER: ("remainder", lambda a, b: a - b * np.rint(a / b)),
    ca.OP_COPYSIGN: ("copysign", np.copysign),
    ca.OP_ATAN2: ("atan2", np.arctan2),
    ca.OP_HYPOT: ("hypot", np.hypot),
    ca.OP_IF_ELSE_ZERO: ("select", lambda a, b: np.where(a != 0, b, 0.0)),
}
_UNARY: dict[int, tuple[str, Any]] = {
    ca.OP_ASSIGN: ("copy", lambda a: a),
    ca.OP_NEG: ("neg", np.negative),
    ca.OP_SQ: ("sq", np.square),
    ca.OP_TWICE: ("twice", lambda a: 2 * a),
    ca.OP_INV: ("inv", np.reciprocal),
    ca.OP_SQRT: ("sqrt", np.sqrt),
    ca.OP_EXP: ("exp", np.exp),
    ca.OP_LOG: ("log", np.log),
    ca.OP_EXPM1: ("expm1", np.expm1),
    ca.OP_LOG1P: ("log1p", np.log1p),
    ca.OP_SIN: ("sin", np.sin),
    ca.OP_COS: ("cos", np.cos),
    ca.OP_TAN: ("tan", np.tan),
    ca.OP_ASIN: ("asin", np.arcsin),
    ca.OP_ACOS: ("acos", np.arccos),
    ca.OP_ATAN: ("atan", np.arctan),
    ca.OP_SINH: ("sinh", np.sinh),
    ca.OP_COSH: ("cosh", np.cosh),
    ca.OP_TANH: ("tanh", np.tanh),
    ca.OP_ASINH: ("asinh", np.arcsinh),
    ca.OP_ACOSH: ("acosh", np.arccosh),
    ca.OP_ATANH: ("atanh", np.arctanh),
    ca.OP_ERF: ("erf", _erf),
    ca.OP_FABS: ("abs", np.abs),
    ca.OP_SIGN: ("sign", np.sign),
    ca.OP_NOT: ("not", lambda a: a == 0),
    ca.OP_FLOOR: ("floor", np.floor),
    ca.OP_CEIL: ("ceil", np.ceil),
}


@dataclass(frozen=True)
class Instruction:
    """One operation: ``slot`` of the work vector is set from other slots.

    For ``input`` the arguments are (argument, element), for ``output`` the slot is written to
    (output, element) given in ``place``; ``const`` carries its ``value``.
    """

    name: str
    slot: int
    arguments: tuple[int, ...] = ()
    value: float = 0.0
    place: tuple[int, int] = (0, 0)


class Tape:
    """The instructions of a Function with dense outputs.

    Parameters
    ----------
    function : casadi.Function
        Made of SX. Calls to other functions, integrators or external code are refused by name.
    """

    def __init__(self, function: ca.Function) -> None:
        if not function.is_a("SXFunction"):
            raise ModelError(
                f"the function {function.name()} is a {function.class_name()}",
                expected="an SX function of elementary operations",
                hint="write tables, splines and learned terms out in elementary operations",
            )
        symbols = [ca.SX.sym(f"a{i}", *function.size_in(i)) for i in range(function.n_in())]
        dense = [ca.densify(out) for out in function.call(symbols, True, False)]
        self.function = ca.Function(function.name(), symbols, dense, {"cse": True})
        self.work = self.function.sz_w()
        self.shapes = [self.function.size_out(i) for i in range(self.function.n_out())]
        self.instructions = [self._read(k) for k in range(self.function.n_instructions())]

    def _read(self, k: int) -> Instruction:
        f = self.function
        code = f.instruction_id(k)
        into, out_of = f.instruction_output(k), f.instruction_input(k)
        if code == ca.OP_CONST:
            return Instruction("const", into[0], value=f.instruction_constant(k))
        if code == ca.OP_INPUT:
            return Instruction("input", into[0], place=(out_of[0], out_of[1]))
        if code == ca.OP_OUTPUT:
            return Instruction("output", out_of[0], place=(into[0], into[1]))
        if code in _BINARY:
            return Instruction(_BINARY[code][0], into[0], (out_of[0], out_of[1]))
        if code in _UNARY:
            return Instruction(_UNARY[code][0], into[0], (out_of[0],))
        raise ModelError(
            f"the function {f.name()} contains {_operation_name(code)}, which no kernel can run",
            hint="write it out in elementary operations",
        )

    def evaluate(self, arguments: Sequence[Any]) -> list[Array]:
        """Interpret the tape with numpy; elements may be arrays (one value per individual).

        Parameters
        ----------
        arguments : sequence of arrays
            Per argument of the function: its elements (column-major) along the first axis.

        Returns
        -------
        list of arrays
            Per output: elements along the first axis.
        """
        given = [np.asarray(a, dtype=float) for a in arguments]
        given = [a.reshape(1) if a.ndim == 0 else a for a in given]
        work: list[Any] = [0.0] * max(self.work, 1)
        results: list[list[Any]] = [[0.0] * (rows * columns) for rows, columns in self.shapes]
        for step in self.instructions:
            if step.name == "input":
                work[step.slot] = given[step.place[0]][step.place[1]]
            elif step.name == "const":
                work[step.slot] = step.value
            elif step.name == "output":
                results[step.place[0]][step.place[1]] = work[step.slot]
            else:
                value = _NUMPY[step.name](*(work[i] for i in step.arguments))
                # A truth is a number: numpy would add two of them to one.
                work[step.slot] = np.asarray(value, dtype=float)
        return [np.array(np.broadcast_arrays(*r), dtype=float) for r in results]


_NUMPY = dict(_BINARY.values()) | dict(_UNARY.values())


def _operation_name(code: int) -> str:
    names = [name for name in dir(ca) if name.startswith("OP_") and getattr(ca, name) == code]
    return names[0] if names else f"operation {code}"
