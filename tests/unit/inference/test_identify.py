"""Identifiability on models whose answer is known by hand."""

import numpy as np
import pytest

from galenic.inference.fit import fit
from galenic.inference.identify import identify
from galenic.inference.problem import Free, FunctionProblem

RNG = np.random.default_rng(0)


def log_linear(exponents, sd=0.01, names=None, start=1.0, spread=None):
    """Readings ln y_i = sum_j E_ij ln theta_j: seen combinations are the row space of E."""
    e = np.asarray(exponents, dtype=float)
    names = names or [f"p{i}" for i in range(e.shape[1])]

    def function(values):
        return e @ np.log(values), e / values

    free = [Free(name, start=start, lower=0.0, log=True) for name in names]
    return FunctionProblem(function, free, np.zeros(len(e)), sd if spread is None else spread)


def test_only_the_product_of_density_and_depth_is_seen():
    """Tablet mass rho*A*h at varied gap: fill density and depth enter only as their product."""
    names = ["rho_bulk", "h_fill", "stiffness"]
    problem = log_linear([[1, 1, 0], [1, 1, 1], [2, 2, 0.5]], names=names)

    found = identify(problem, rng=RNG)

    assert found.structural_rank == 2
    assert {c.text for c in found.combinations} == {"rho_bulk*h_fill", "stiffness"}
    assert found.alone == ("stiffness",)
    assert not found.is_identifiable
    assert "rho_bulk*h_fill" in found.report()
    product = next(c for c in found.combinations if "*" in c.text)
    information = np.array([[6.0, 2.0], [2.0, 1.25]]) / 1e-4  # of (log product, log stiffness)
    assert product.sd == pytest.approx(np.linalg.inv(information)[0, 0] ** 0.5)


def test_ratio_and_powers_are_named():
    found = identify(log_linear([[1, -1, 0], [0, 2, 1]], names=["a", "b", "c"]), rng=RNG)

    assert found.structural_rank == 2
    texts = {c.text for c in found.combinations}
    assert texts <= {"a/b", "b*c^0.5", "b^2*c", "a*c^0.5", "a^2*c", "c*a^2"}


def test_parameter_without_effect_is_named():
    found = identify(log_linear([[1, 0], [2, 0]], names=["used", "idle"]), rng=RNG)

    assert found.unseen == ("idle",)
    assert found.alone == ("used",)
    assert "Without any effect" in found.report()


def test_identifiable_in_principle_but_not_with_these_data():
    """Michaelis-Menten far below saturation: only Vmax/Km is known in practice."""
    x = np.linspace(0.001, 0.02, 15)

    def rate(values):
        v, k = values
        return v * x / (k + x), np.stack([x / (k + x), -v * x / (k + x) ** 2], axis=1)

    clean = rate(np.array([2.0, 1.0]))[0]
    free = [Free("Vmax", start=2.0, lower=0.0), Free("Km", start=1.0, lower=0.0)]
    noisy = clean * (1 + 0.05 * np.random.default_rng(1).normal(size=15))
    problem = FunctionProblem(rate, free, noisy, 0.05 * clean)

    found = identify(problem, rng=RNG)

    assert found.structural_rank == 2
    assert found.practical_rank == 1
    assert [c.text for c in found.estimable] == ["Vmax/Km"]
    assert found.estimable[0].value == pytest.approx(2.0)
    assert found.alone == ()


def test_profiles_show_the_open_side():
    x = np.linspace(0.001, 0.02, 15)

    def rate(values):
        v, k = values
        return v * x / (k + x), np.stack([x / (k + x), -v * x / (k + x) ** 2], axis=1)

    free = [
        Free("Vmax", start=2.0, lower=1e-3, upper=1e6),
        Free("Km", start=1.0, lower=1e-3, upper=1e3),
    ]
    clean = rate(np.array([2.0, 1.0]))[0]
    problem = FunctionProblem(rate, free, clean, 0.02 * clean)

    found = identify(problem, rng=RNG, profiles=fit(problem))

    km = found.profiles[1]
    assert km.open_above and not km.open_below
    assert "open above" in found.report()


def test_sum_of_two_linear_parameters_is_named():
    design = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 1.0], [1.0, 1.0, 3.0]])
    free = [Free(n, start=v, log=False) for n, v in (("a", 1.0), ("b", 1.0), ("c", 1.0))]
    problem = FunctionProblem(lambda b: (design @ b, design), free, np.zeros(3), 0.01)

    found = identify(problem, rng=RNG)

    assert {c.text for c in found.combinations} == {"a + b", "c"}
    assert next(c for c in found.combinations if c.text == "a + b").value == pytest.approx(2.0)
