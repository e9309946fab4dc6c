"""The curved part of a right-hand side, and the two ways of making the stages of a step."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from galenic.engine.native import Events, Problem, compile_kernel, looped, sides
from galenic.engine.native.equations import Equations
from galenic.engine.native.graph import Graph

from .problems import column, problem, target_mediated, two_compartments, whole_body


def _mixed(n: int) -> Problem:
    """A chain with time, products, a minimum, linear rows and algebraic rows of both kinds."""
    t, x, z, p = (ca.SX.sym(s, k) for s, k in (("t", 1), ("x", n), ("z", 2), ("p", 3)))
    feed = p[2] * (1 + 0.5 * ca.sin(2 * t))
    rate = p[0] * x[0] * x[1] / (1 + x[1])
    ode = [feed - rate, 0.3 * z[0] - p[1] * x[1] - 0.5 * rate + ca.fmin(x[0], 0.2)]
    ode += [p[0] * (x[i - 1] - x[i]) + 0.1 * z[1] for i in range(2, n)]
    alg = [z[0] - x[0] - 2 * x[1], z[1] ** 3 + z[1] - x[0] * z[0]]
    base = problem("mixed", n, 3, lambda x, p, t: [x[0]] * n)
    return Problem(
        **(vars(base) | {"t": t, "x": x, "z": z, "theta": p, "ode": ca.vertcat(*ode)})
        | {"alg": ca.vertcat(*alg), "z0": (0.0, 0.0), "x0": ca.SX.ones(n), "y": ca.vertcat(x, z)}
        | {"nominal": np.ones(n + 2), "states": tuple(f"x{i}" for i in range(n + 2))}
    )


EXAMPLES = {
    "oral": (two_compartments(1).problem, 0),
    "physiological": (whole_body(1).problem, 1),
    "binding": (target_mediated(1).problem, 1),
    "column": (column(1, cells=4).problem, 8),
    "mixed": (_mixed(5), 3),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_not_curved_is_linear(name: str) -> None:
    """Terms are as few as the rows share, and without them f has no second difference."""
    made, terms = EXAMPLES[name]
    curved = Equations(made, Graph()).curved
    f = ca.densify(ca.vertcat(made.ode, made.alg))
    rest = ca.SX(f)
    for (row, term), share in curved.shares.items():
        rest[row] -= share * curved.terms[term]
    unknowns = ca.vertcat(made.t, made.x, made.z)
    function = ca.Function("rest", [unknowns, made.theta], [rest])
    rng = np.random.default_rng(3)
    a, b = rng.uniform(0.5, 2.0, (2, unknowns.numel()))
    theta = rng.uniform(0.5, 2.0, made.n_theta)

    values = [np.array(function(at, theta)) for at in (a, b, a + b, 0 * a)]

    scale = np.abs(values[2]).max()
    assert len(curved) == terms
    assert np.abs(values[0] + values[1] - values[2] - values[3]).max() <= 1e-12 * scale


def test_quadratic_terms_are_known_from_their_second_derivatives() -> None:
    """Products and squares with steady coefficients are; a minimum, a power and sin(t) x y not."""
    t, x, p = ca.SX.sym("t"), ca.SX.sym("x", 3), ca.SX.sym("p", 2)
    ode = ca.vertcat(
        p[0] * x[0] * x[1] / p[1] + (x[2] - 2 * x[0]) ** 2 + x[1],
        ca.fmin(x[0], x[1]) + ca.floor(x[2]),
        ca.sin(t) * x[0] * x[1] + x[2] ** 3,
    )
    base = problem("bends", 3, 2, lambda x, p, t: [x[0]] * 3)
    made = Problem(**(vars(base) | {"t": t, "x": x, "theta": p, "ode": ode, "y": x}))
    equations = Equations(made, Graph())
    terms = ca.Function("terms", [t, x, p], [equations.curved.terms])
    slopes = ca.Function("slopes", [t, x, p], [ca.jacobian(equations.curved.terms, x)])
    theta, at, away = [0.7, 1.9], np.array([1.0, 2.0, 3.0]), np.array([0.3, -0.5, 0.2])

    found = equations._bends.evaluate([[0.0], away, theta])[0]

    wanted = np.array(terms(0, at + away, theta) - terms(0, at, theta)).ravel()
    wanted -= np.array(slopes(0, at, theta) @ away).ravel()
    rows = {row for row, m in equations.curved.shares if m in equations.quadratic}
    assert rows == {0}
    assert np.allclose(found[equations.quadratic], wanted[equations.quadratic], rtol=1e-13)


@pytest.mark.parametrize("n", [5, 14])
@pytest.mark.parametrize("method", ["rodas5p", "rodas4"])
def test_both_ways_of_the_stages_are_the_same_method(
    monkeypatch: pytest.MonkeyPatch, n: int, method: str
) -> None:
    """Evaluating f, or its curved terms alone: equal steps, equal values up to rounding."""
    made = _mixed(n)
    theta = np.random.default_rng(4).uniform(0.5, 2.0, (9, 3))
    times = np.linspace(0.0, 4.0, 9)
    found = []
    for split in (False, True):
        for module in (sides, looped):
            monkeypatch.setattr(module, "is_split", lambda *_, split=split: split)
        kernel = compile_kernel(made, method, disk=False)
        found.append(kernel.run(theta, times, Events.none(9), rtol=1e-6, atol=1e-9))

    whole, parted = found
    assert (whole.status == 1).all()
    assert (whole.accepted == parted.accepted).all()
    assert np.abs(whole.values - parted.values).max() < 1e-11
    assert np.isfinite(whole.values).all()
