"""Bounds over intervals contain every value, and tell where a function may jump."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galenic.engine.intervals import Bounds, Enclosure, Numbers
from galenic.engine.tape import Tape

FUNCTIONS = {
    "polynomial": lambda x, y: x**3 - 2 * x * y + y**2 - x**4 / 7,
    "quotient": lambda x, y: (x + 3 * y) / (x - y),
    "inverse power": lambda x, y: x**-2 + (1 + y**2) ** 0.3,
    "waves": lambda x, y: ca.sin(3 * x) * ca.cos(x * y) + ca.tan(y / 3),
    "growth": lambda x, y: ca.exp(-x) + ca.log(3 + x * x) + ca.sqrt(1 + ca.fabs(y)),
    "hyperbolic": lambda x, y: ca.tanh(x) + ca.cosh(y) - ca.sinh(x / 2) + ca.atan(y) + ca.erf(x),
    "corners": lambda x, y: ca.fmin(x, y) + ca.fmax(x, 1) * ca.fabs(y - 1) + ca.hypot(x, y),
    "angle": lambda x, y: ca.acos(ca.tanh(x)) + ca.asin(ca.tanh(y)) + ca.atan2(y, x),
    "steps": lambda x, y: ca.floor(x) - ca.ceil(2 * y) + ca.sign(x - y),
    "conditions": lambda x, y: ca.if_else(ca.logic_and(x > y, y <= 1), x * x, -y),
    "logic": lambda x, y: ca.logic_or(x > 1, ca.logic_not(y < x)) + (x == y) + 2 * (x != y),
    "rest": lambda x, y: ca.fmod(x, 1.5) + ca.remainder(y, 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(
    low=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    width=st.tuples(st.floats(0, 3), st.floats(0, 3)),
)
def test_bounds_hold_every_value(name, low, width):
    x, y = ca.SX.sym("x"), ca.SX.sym("y")
    tape = Tape(ca.Function("f", [x, y], [ca.densify(ca.SX(FUNCTIONS[name](x, y)))]))
    ends = [(np.float64(a), np.float64(a + w)) for a, w in zip(low, width, strict=True)]
    grid = np.meshgrid(*(np.linspace(a, b, 9) for a, b in ends))

    with np.errstate(all="ignore"):
        found = Enclosure(Numbers()).of(tape, [[Bounds(*end)] for end in ends])[0][0]
        values = tape.evaluate([part.reshape(1, -1) for part in grid])[0]

    values = values[np.isfinite(values)]
    slack = 1e-9 * (1 + np.abs(values))
    assert not (values < found.low - slack).any()
    assert not (values > found.high + slack).any()


def test_a_jump_is_told_and_a_smooth_stretch_is_not():
    x = ca.SX.sym("x")
    tape = Tape(ca.Function("f", [x], [ca.if_else(x > 1, 2.0, ca.sin(x))]))

    def jumps(low, high):
        enclosure = Enclosure(Numbers())
        enclosure.of(tape, [[Bounds(np.float64(low), np.float64(high))]])
        return bool(enclosure.may_jump())

    assert jumps(0.9, 1.1)
    assert not jumps(0.5, 0.9)
    assert not jumps(1.1, 2.0)
