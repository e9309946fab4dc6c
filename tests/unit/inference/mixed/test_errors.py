"""What observations add to the objective, against derivatives in forty digits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp

from galenic.inference.mixed.errors import ErrorModel
from galenic.modeling.effects import Residual
from galenic.units import unit

RESIDUALS = [
    Residual("C", additive="0.5 mg/L"),
    Residual("C", 0.2),
    Residual("C", 0.2, "0.5 mg/L"),
    Residual("C", 0.2, "0.5 mg/L", combine="sd"),
    Residual("C", 0.3, "0.2 mg/L", power=1.5),
    Residual("C", 0.3, "0.2 mg/L", combine="sd", power=0.7),
    Residual("C", 0.2, combine="log"),
]
PLACES = [(1.3, 1.1), (0.4, 0.9), (5.0, 3.5), (2.0, 9.0)]


def variance(residual: Residual, f: Any, s: tuple[Any, ...]) -> Any:
    """The definition in the docstring of Residual."""
    sd = [mpmath.exp(one) for one in s]
    if residual.combine == "log":
        return sd[0] ** 2
    parts = [sd.pop(0)] if residual.additive else []
    parts += [sd[0] * f**residual.power] if residual.proportional else []
    return sum(parts) ** 2 if residual.combine == "sd" else sum(p**2 for p in parts)


def cost(residual: Residual, y: float, f: Any, at: Any, s: tuple[Any, ...], below: bool) -> Any:
    """Minus twice the log likelihood without ln 2 pi."""
    log = residual.combine == "log"
    gap = mpmath.log(y) - mpmath.log(f) if log else y - f
    v = variance(residual, at, s)
    if below:
        return -2 * mpmath.log(mpmath.ncdf(gap / mpmath.sqrt(v)))
    return gap**2 / v + mpmath.log(v) + (2 * mpmath.log(y) if log else 0)


def kept(residual: Residual, y: float, f: Any, at: Any, s: tuple[Any, ...], below: bool) -> Any:
    """Minus twice the log density of what was kept because it lies above half of it."""
    v = mpmath.sqrt(variance(residual, at, s))
    log = residual.combine == "log"
    limit = mpmath.mpf(y) / 2
    gap = mpmath.log(f / limit) if log else f - limit
    return cost(residual, y, f, at, s, False) + 2 * mpmath.log(mpmath.ncdf(gap / v))


@pytest.mark.parametrize("frozen", [False, True], ids=["interaction", "frozen"])
@pytest.mark.parametrize("residual", RESIDUALS, ids=str)
def test_terms_of_what_lies_above_its_limit_are_exact(residual: Residual, frozen: bool) -> None:
    """The weight is that of the variance of a truncated normal, and its slopes are its own."""
    model = ErrorModel(residual, unit("mg/L"))
    s = np.log(list(model.start.values())) + 0.1

    for y, f in PLACES:
        at = 1.1 * f if frozen else None

        def terms(f: float, s: Any, y: float = y, at: float | None = at) -> list[Any]:
            given = None if at is None else np.array([at])
            rows, floor = np.array([y]), np.array([y / 2])
            return [np.ravel(p) for p in model.terms(rows, np.array([f]), given, s, False, floor)]

        found = terms(f, s)
        with mp.workdps(40):
            expected = _derived(residual, y, f, at, tuple(map(mpmath.mpf, s)), False, kept)

        for name, one in zip(expected, found[:5], strict=False):  # weights follow below
            assert one == pytest.approx(expected[name], rel=1e-9, abs=1e-11), (name, y, f)
        assert found[5] > 0
        h = 1e-5 * f
        slope = (terms(f + h, s)[5] - terms(f - h, s)[5]) / (2 * h)
        assert found[6] == pytest.approx(slope, rel=1e-5, abs=1e-7)
        for k, one in enumerate(found[7]):
            move = 1e-5 * np.eye(len(s))[k]
            slope = (terms(f, s + move)[5] - terms(f, s - move)[5]) / 2e-5
            assert one == pytest.approx(slope[0], rel=1e-5, abs=1e-7)


def weight(residual: Residual, y: float, f: Any, at: Any, s: tuple[Any, ...], below: bool) -> Any:
    """The share of the observation in the expected curvature."""
    if below:
        return mpmath.diff(lambda x: cost(residual, y, x, at, s, True), f, 2) / 2
    v = variance(residual, at, s)
    slope = 1 / f if residual.combine == "log" else 1
    by_f = mpmath.diff(lambda x: variance(residual, x, s), at)
    return slope**2 / v + (0 if at is not f else (by_f / v) ** 2 / 2)


@pytest.mark.parametrize("frozen", [False, True], ids=["interaction", "frozen"])
@pytest.mark.parametrize("below", [False, True], ids=["seen", "below"])
@pytest.mark.parametrize("residual", RESIDUALS, ids=str)
def test_terms_are_exact(residual: Residual, below: bool, frozen: bool) -> None:
    model = ErrorModel(residual, unit("mg/L"))
    s = np.log(list(model.start.values())) + 0.1

    for y, f in PLACES:
        at = 1.1 * f if frozen else None
        given = None if at is None else np.array([at])
        found = [np.ravel(p) for p in model.terms(np.array([y]), np.array([f]), given, s, below)]

        with mp.workdps(40):
            expected = _derived(residual, y, f, at, tuple(map(mpmath.mpf, s)), below)

        for name, one, other in zip(expected, found, expected.values(), strict=True):
            assert one == pytest.approx(other, rel=1e-9, abs=1e-11), (name, y, f)


def _derived(
    residual: Residual,
    y: float,
    f: float,
    at: float | None,
    s: tuple[Any, ...],
    below: bool,
    cost: Any = cost,
) -> dict[str, list[float]]:
    def of(function: Any, x: Any, *sigmas: Any) -> Any:
        return function(residual, y, x, x if at is None else mpmath.mpf(at), sigmas, below)

    def slopes(function: Any, orders: tuple[int, ...]) -> Any:
        return mpmath.diff(lambda x, *t: of(function, x, *t), (mpmath.mpf(f), *s), orders)

    none = (0,) * len(s)
    each = [tuple(int(k == j) for k in range(len(s))) for j in range(len(s))]
    made = {
        "cost": [of(cost, mpmath.mpf(f), *s)],
        "by_f": [slopes(cost, (1, *none))],
        "by_ff": [slopes(cost, (2, *none))],
        "by_s": [slopes(cost, (0, *one)) for one in each],
        "by_fs": [slopes(cost, (1, *one)) for one in each],
        "weight": [of(weight, mpmath.mpf(f), *s)],
        "weight_f": [slopes(weight, (1, *none))],
        "weight_s": [slopes(weight, (0, *one)) for one in each],
    }
    return {name: [float(one) for one in values] for name, values in made.items()}


@pytest.mark.parametrize("z", [-2000.0, -60.0, -49.0, -8.0, 0.0, 6.0])
def test_a_limit_far_below_the_prediction_keeps_its_slopes(z: float) -> None:
    model = ErrorModel(Residual("C", additive="1 mg/L"), unit("mg/L"))
    f = 1.0 - z
    found = model.terms(np.array([1.0]), np.array([f]), None, np.zeros(1), True)

    with mp.workdps(60):
        point = mpmath.mpf(1) - mpmath.mpf(f)
        ratio = mpmath.npdf(point) / mpmath.ncdf(point)
        slope, bend = 2 * ratio, 2 * ratio * (point + ratio)

    assert float(found[1][0]) == pytest.approx(float(slope), rel=1e-12)
    assert float(found[2][0]) == pytest.approx(float(bend), rel=1e-9)
