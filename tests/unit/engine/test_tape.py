"""The tape gives what the Function gives, and refuses what no kernel can run."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from numpy.testing import assert_allclose

from galenic.engine import Simulator, Tape
from galenic.errors import ModelError

from .systems import robertson, two_compartment


def test_a_tape_equals_its_function():
    x, p = ca.SX.sym("x", 3), ca.SX.sym("p", 2)
    first = ca.vertcat(
        ca.exp(-p[0] * x[0]) + ca.log(x[1]) ** 2,
        ca.if_else(x[2] > p[1], ca.erf(x[2]), ca.sqrt(x[1])),
        ca.fmin(x[0], p[1]) ** p[0] / (1 + ca.fabs(x[2])),
    )
    function = ca.Function("f", [x, p], [first, ca.jacobian(first, x)])
    rng = np.random.default_rng(7)
    points, parameters = rng.uniform(0.5, 2, (3, 50)), rng.uniform(0.5, 2, (2, 50))

    values, slopes = Tape(function).evaluate([points, parameters])

    for i in range(50):
        exact, jacobian = function(points[:, i], parameters[:, i])
        assert_allclose(values[:, i], np.array(exact).ravel(), rtol=1e-14)
        assert_allclose(slopes[:, i], np.array(jacobian).ravel("F"), rtol=1e-13, atol=1e-15)


def test_a_model_becomes_a_tape():
    compiled = Simulator(robertson()).compiled
    ode, _ = Tape(compiled.rhs).evaluate([0.0, np.array([0.9, 1e-4, 0.1]), [], [], []])

    assert_allclose(ode, np.array(compiled.rhs(0, [0.9, 1e-4, 0.1], [], [], [])[0]).ravel())
    assert Tape(Simulator(two_compartment()).compiled.jacobian).work > 0


def test_opaque_calls_are_refused_by_name():
    table = ca.interpolant("solubility", "linear", [[0.0, 1.0, 2.0]], [0.0, 1.0, 4.0])
    x = ca.MX.sym("x")

    with pytest.raises(ModelError, match="solubility"):
        Tape(table)
    with pytest.raises(ModelError, match="with_table"):
        Tape(ca.Function("with_table", [x], [table(x)]))
    s = ca.SX.sym("s")
    with pytest.raises(ModelError, match="OP_ERFINV"):
        Tape(ca.Function("bell", [s], [ca.erfinv(s)]))
