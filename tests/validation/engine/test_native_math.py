"""Vector mathematics against mpmath with 120 bits, in units in the last place.

Limits are those of docs/validation/native.md: exp and log stay below 0.9, pow below 1, all others
below 2; circular and hyperbolic functions, expm1 and log1p are our own as well.
"""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from mpmath import mp, mpf

from galenic.engine.native import compile_kernel

from ...unit.engine.native.problems import problem

POINTS = 1500
UNARY = {
    "exp": (ca.exp, mp.exp, (-50, 50), 0.9),
    "exp near its ends": (ca.exp, mp.exp, (-745, 709.7), 0.9),
    "log": (ca.log, mp.log, "wide", 0.9),
    "log near one": (ca.log, mp.log, (0.9, 1.1), 0.9),
    "sqrt": (ca.sqrt, mp.sqrt, "wide", 0.501),
    "sin": (ca.sin, mp.sin, (-1e4, 1e4), 2),
    "cos": (ca.cos, mp.cos, (-1e4, 1e4), 2),
    "tan": (ca.tan, mp.tan, (-1.5, 1.5), 2),
    "asin": (ca.asin, mp.asin, (-1, 1), 2),
    "acos": (ca.acos, mp.acos, (-1, 1), 2),
    "atan": (ca.atan, mp.atan, (-5, 5), 2),
    "sinh": (ca.sinh, mp.sinh, (-3, 3), 2),
    "cosh": (ca.cosh, mp.cosh, (-3, 3), 2),
    "tanh": (ca.tanh, mp.tanh, (-3, 3), 2),
    "asinh": (ca.asinh, mp.asinh, (-5, 5), 2),
    "acosh": (ca.acosh, mp.acosh, (1.01, 5), 2),
    "atanh": (ca.atanh, mp.atanh, (-0.9, 0.9), 2),
    "erf": (ca.erf, mp.erf, (-3, 3), 2),
    "expm1": (ca.expm1, mp.expm1, (-1, 1), 2),
    "log1p": (ca.log1p, mp.log1p, (-0.9, 1), 2),
}
BINARY = {
    "pow": ca.power, "atan2": ca.atan2, "hypot": ca.hypot, "fmod": ca.fmod,
    "copysign": ca.copysign, "min": ca.fmin, "max": ca.fmax,
}  # fmt: skip


@pytest.fixture(scope="module")
def functions():
    """(name, points) -> values; all are outputs of one kernel, its parameters the arguments."""
    functions = list(dict.fromkeys(f for f, *_ in UNARY.values()))
    two = list(BINARY.values())
    places = {name: functions.index(rule[0]) for name, rule in UNARY.items()}
    places |= {name: len(functions) + i for i, name in enumerate(BINARY)}
    kernel = compile_kernel(
        problem(
            "functions",
            1,
            2,
            lambda x, p, t: [-x[0]],
            lambda x, p, t: [f(p[0]) for f in functions] + [f(p[0], p[1]) for f in two],
        ),
        disk=False,
    )

    def evaluate(name, a, b=None):
        columns = np.column_stack([a, np.ones(len(a)) if b is None else b])
        return kernel.run(columns, [1.0]).values[:, 0, places[name]]

    return evaluate


def ulps(found, exact):
    rounded = np.array([float(e) for e in exact])
    gaps = [abs(mpf(float(v)) - e) for v, e in zip(found, exact, strict=True)]
    return max(
        float(g / mpf(float(np.spacing(abs(r))))) for g, r in zip(gaps, rounded, strict=True)
    )


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_argument(functions, name):
    _, exact, interval, limit = UNARY[name]
    rng = np.random.default_rng(11)
    if interval == "wide":
        points = 10 ** rng.uniform(-300, 300, POINTS)
    else:
        points = rng.uniform(*interval, POINTS)

    with mp.workprec(120):
        assert ulps(functions(name, points), [exact(mpf(float(v))) for v in points]) < limit


@pytest.mark.parametrize(("size", "exponent"), [(3, 3), (300, 1), (2, 100), (0.001, 1e4)], ids=str)
def test_powers(functions, size, exponent):
    rng = np.random.default_rng(12)
    a, b = 10 ** rng.uniform(-size, size, POINTS), rng.uniform(-exponent, exponent, POINTS)

    with mp.workprec(160):
        exact = [mp.power(mpf(float(x)), mpf(float(y))) for x, y in zip(a, b, strict=True)]
        assert ulps(functions("pow", a, b), exact) < 1


def test_special_values_are_those_of_numpy(functions):
    values = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -3.0, np.inf, -np.inf, np.nan, 1e308, 5e-324]
    a, b = (v.ravel() for v in np.meshgrid(values, values))
    excluded = (a == -1) & np.isinf(b) | (a == -np.inf)  # C says 1, inf and 0; here nan

    with np.errstate(all="ignore"):
        for name in ("exp", "log"):
            np.testing.assert_array_max_ulp(
                np.nan_to_num(functions(name, a)), np.nan_to_num(getattr(np, name)(a)), 1
            )
        found, expected = functions("pow", a, b)[~excluded], np.power(a, b)[~excluded]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    known = ~np.isnan(expected)
    np.testing.assert_array_max_ulp(found[known], expected[known], 1)


@pytest.mark.parametrize("name", ["sin", "cos", "sinh", "cosh", "tanh", "expm1", "log1p"])
def test_special_values_of_our_own_functions(functions, name):
    """Zeros keep their sign, infinities and nan are those of C, the ends of the range are right."""
    edges = [0.0, 5e-324, 1e-310, 1e-17, 30.0, 45.0, 700.0, 709.9, 710.2, 2.0**49, 2.0**51, 1e300]
    values = np.array([*edges, *(-np.array(edges)), np.inf, -np.inf, np.nan, -1.0])

    found = functions(name, values)

    with np.errstate(all="ignore"):
        expected = getattr(np, name)(values)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(expected[known]))
    np.testing.assert_array_max_ulp(found[known], expected[known], 3)


def test_functions_of_two_arguments(functions):
    rng = np.random.default_rng(13)
    a, b = rng.normal(0, 3, POINTS), rng.normal(0, 2, POINTS)

    assert ulps(functions("atan2", a, b), [mpf(float(v)) for v in np.arctan2(a, b)]) <= 1
    assert ulps(functions("hypot", a, b), [mpf(float(v)) for v in np.hypot(a, b)]) <= 1
    for name, exact in (
        ("fmod", np.fmod), ("copysign", np.copysign), ("min", np.fmin), ("max", np.fmax),
    ):  # fmt: skip
        np.testing.assert_array_equal(functions(name, a, b), exact(a, b))
    nan = np.full(POINTS, np.nan)
    np.testing.assert_array_equal(functions("min", a, nan), a)
    np.testing.assert_array_equal(functions("max", nan, b), b)
