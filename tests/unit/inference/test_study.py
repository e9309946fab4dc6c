"""Global sensitivity and uncertainty against functions whose indices are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import lognorm, norm, sobol_indices

from galenic import Model, Output, Parameter, Population, Simulator, State, der, sin
from galenic.engine import Experiment
from galenic.engine.batch.measures import Measure
from galenic.errors import DataError, SolveError, UnitError, UnknownName
from galenic.inference.sobol import estimated
from galenic.inference.study import Factor, Study, Target
from galenic.modeling.variability import Between
from galenic.units import unit


class Ishigami(Model):
    """Ishigami and Homma (1990), doi 10.1109/ISUMA.1990.151285, with a = 7 and b = 0.1."""

    x1 = Parameter(0.0, "rad", "first")
    x2 = Parameter(0.0, "rad", "second")
    x3 = Parameter(0.0, "1", "third")
    clock = State(0.0, "1", "something that moves")
    y = Output("1", "the function")

    def equations(m):
        yield der(m.clock) * "1 s" == 1.0
        yield m.y == sin(m.x1) + 7 * sin(m.x2) ** 2 + 0.1 * m.x3**4 * sin(m.x1)


class Bolus(Model):
    """One compartment after a bolus."""

    CL = Parameter(5.0, "L/h", "clearance", lower=0)
    V = Parameter(50.0, "L", "volume", lower=0)
    A = State(100.0, "mg", "amount", lower=0)
    C = Output("mg/L", "concentration")

    def equations(m):
        yield der(m.A) == -m.CL / m.V * m.A
        yield m.C == m.A / m.V


PI = np.pi
CUBE = [Factor.uniform(name, -PI, PI) for name in ("x1", "x2", "x3")]


def variance_of_ishigami():
    """Partial variances (Sobol and Levitan 1999): V1, V2, V13, V."""
    a, b = 7.0, 0.1
    v1 = 0.5 * (1 + b * PI**4 / 5) ** 2
    v2 = a**2 / 8
    v13 = b**2 * PI**8 * (1 / 18 - 1 / 50)
    return v1, v2, v13, v1 + v2 + v13


@pytest.fixture(scope="module")
def ishigami():
    return Study(Ishigami(), CUBE, [Measure.at("y", 1.0)], times=[0.0, 1.0])


def test_sobol_indices_of_ishigami(ishigami):
    v1, v2, v13, v = variance_of_ishigami()
    first, total = np.array([v1, v2, 0]) / v, np.array([v1 + v13, v2, v13]) / v

    found = ishigami.sobol(n=2048)

    assert_allclose(found.first[0], first, atol=0.03)
    assert_allclose(found.total[0], total, atol=0.03)
    assert_allclose(found.variance[0], v, rtol=0.03)
    for interval, exact in ((found.first_interval, first), (found.total_interval, total)):
        assert (interval[0, 0] - 0.01 <= exact).all()
        assert (exact <= interval[1, 0] + 0.01).all()
        assert (interval[1] - interval[0] < 0.25).all()


def test_the_estimators_are_those_of_scipy():
    rng = np.random.default_rng(4)
    y = rng.standard_normal((5, 64, 2)) + 3.0
    targets = [Target("y", unit("1"))] * 2

    found = estimated(["a", "b", "c"], targets, y, 0, 10, 0.95)

    given = {"f_A": y[0].T, "f_B": y[1].T, "f_AB": np.moveaxis(y[2:], 1, 2)}
    theirs = sobol_indices(func=given, n=64)
    assert_allclose(found.first, theirs.first_order, rtol=1e-10)
    assert_allclose(found.total, theirs.total_order, rtol=1e-10)


def test_indices_over_time_are_those_of_a_bolus():
    """At the start only the volume counts; a factor that does nothing has no share."""
    study = Study(
        Bolus(),
        [Factor.log_normal("V", "50 L", 0.3), Factor.log_normal("CL", "5 L/h", 0.3)],
        ["C"],
        until="10 h",
        every="5 h",
    )

    found = study.sobol(n=256)

    assert [target.time for target in found.targets] == [0.0, 18000.0, 36000.0]
    assert_allclose(found.total[0], [1.0, 0.0], atol=0.03)  # 1/V is skew: noise of 256 points
    assert found.total[2, 1] > found.total[1, 1] > 0.01
    table = found.to_dataframe()
    assert list(table["factor"]) == ["V", "CL"] * 3
    assert found.plot().axes[0].get_xlabel() == "time [h]"


def test_what_does_not_vary_has_no_indices():
    study = Study(Bolus(), [Factor.uniform("CL", 1, 9)], ["A"], until="10 h", every="10 h")

    found = study.sobol(n=32)

    assert np.isnan(found.first[0]).all()
    assert_allclose(found.total[1], 1.0, atol=0.2)


def test_morris_effects_of_a_linear_function_are_its_slopes():
    """The area of a bolus is dose / CL: linear in the dose, by 100 mg / (5 L/h) here."""
    study = Study(
        Bolus(), [Factor.uniform("A", "50 mg", "150 mg"), Factor.uniform("V", "40 L", "60 L")],
        [Measure.at("C", 0.0)], times=[0.0, 3600.0], settings={"values": {"V": "50 L"}},
    )  # fmt: skip
    alone = Study(
        Bolus(),
        study.factors[:1],
        [Measure.at("A", 0.0), Measure.at("C", 0.0)],
        times=[0.0, 3600.0],
    )

    found = alone.morris(paths=10)

    assert_allclose(found.effects[:, 0, 0], 100.0, rtol=1e-9)  # mg from one end to the other
    assert_allclose(found.mean[1, 0], 2.0, rtol=1e-9)
    assert_allclose(found.spread, 0.0, atol=1e-9)
    both = study.morris(paths=200, levels=4)
    assert both.spread[0, 0] > 0.1  # C = A / V: the effect of A depends on V
    assert both.mean[0, 1] < 0 < both.mean[0, 0]


def test_morris_effects_of_ishigami_are_those_of_the_function(ishigami):
    """The same walks by NumPy; x3 acts through x1 alone, so its mean effect vanishes."""
    found = ishigami.morris(paths=400, levels=8)

    def mean_size(k):
        """The mean absolute effect over all starts of the grid."""
        grid = -PI + 2 * PI * (np.arange(8) + 0.5) / 8
        x = list(np.meshgrid(grid, grid, grid, indexing="ij"))
        moved = [axis.copy() for axis in x]
        moved[k] = np.where(x[k] < 0, x[k] + PI, x[k] - PI)

        def y(x1, x2, x3):
            return np.sin(x1) + 7 * np.sin(x2) ** 2 + 0.1 * x3**4 * np.sin(x1)

        return np.abs((y(*moved) - y(*x)) / 0.5).mean()

    exact = np.array([mean_size(k) for k in range(3)])
    noise = found.spread[0] / np.sqrt(400)
    assert (np.abs(found.size[0] - exact) < 4 * noise + 1e-9).all()
    assert abs(found.mean[0, 2]) < 4 * noise[2] + 1e-9


@pytest.mark.parametrize("design", ["sobol", "latin", "random"])
def test_uncertainty_has_the_moments_of_the_distribution(design):
    study = Study(Bolus(), [Factor.log_normal("V", "50 L", 0.3)], ["C"], times=[0.0, 60.0])

    found = study.uncertainty(1024, design)

    exact = lognorm(0.3, scale=100 / 50)  # 1/V is log-normal too
    close = {"sobol": 0.002, "latin": 0.002, "random": 4 * 0.3 / np.sqrt(1024)}[design]
    assert_allclose(found["C"][:, 0].mean(), exact.mean(), rtol=close)
    assert_allclose(found.quantiles((0.5,))[0, 0, 0], exact.median(), rtol=2 * close)


def test_quasi_monte_carlo_settles_faster_than_monte_carlo():
    study = Study(Bolus(), [Factor.log_normal("V", "50 L", 0.3)], ["C"], times=[0.0, 60.0])
    exact = lognorm(0.3, scale=2.0).mean()

    def error(design, seed):
        values = study.uncertainty(256, design, seed)["C"][:, 0]
        return abs(float(values.mean()) - exact)

    sobol, random = (
        np.mean([error(design, seed) for seed in range(5)]) for design in ("sobol", "random")
    )
    assert sobol < random / 3


def test_nested_uncertainty_parts_both_kinds():
    """log C0 = log dose - log V: the quantile q over V shifts with the unknown dose."""
    study = Study(
        Bolus(), [Factor.uniform("A", "80 mg", "120 mg")], [Measure.at("C", 0.0)],
        times=[0.0, 60.0],
    )  # fmt: skip

    found = study.nested([Factor.log_normal("V", "50 L", 0.3)], outer=64, inner=512)

    z = norm.ppf([0.05, 0.5, 0.95])
    low, middle, high = (amount / 50 * np.exp(0.3 * z) for amount in (82.0, 100.0, 118.0))
    interval = found.interval(0.9)[:, :, 0]
    assert_allclose(interval[0], low, rtol=0.03)
    assert_allclose(interval[1], middle, rtol=0.03)
    assert_allclose(interval[2], high, rtol=0.03)
    assert list(found.to_dataframe()["quantile"]) == [0.05, 0.5, 0.95]


def test_typical_values_of_a_population_may_be_unknown():
    """The typical volume is unknown by 20 %, individuals differ by 30 % around it."""
    population = Population(Bolus(), between=[Between("V", 0.3)])
    study = Study(
        population.system, [Factor.log_normal("V", "50 L", 0.2)], [Measure.at("C", 0.0)],
        times=[0.0, 60.0],
    )  # fmt: skip

    found = study.nested(population, outer=64, inner=256, quantiles=(0.5, 0.9))

    z = norm.ppf([0.5, 0.9])
    interval = found.interval(0.8)[:, :, 0]
    for row, share in zip(interval, (0.1, 0.5, 0.9), strict=True):
        assert_allclose(row, 2 * np.exp(0.3 * z + 0.2 * norm.ppf(share)), rtol=0.04)


def test_the_differences_of_a_population_are_factors():
    population = Population(Bolus(), between=[Between("V", 0.3), Between("CL", 0.5, "normal")])

    volume, clearance = Factor.of_population(population)

    entries = population.system.parameters
    shares = np.array([0.025, 0.5, 0.975])
    order = {entry.path: entry for entry in entries}
    assert_allclose(
        volume.values(shares, order["V"]), 0.05 * np.exp(0.3 * norm.ppf(shares)), rtol=1e-12
    )
    assert_allclose(
        clearance.values(shares, order["CL"]) * 3.6e6, 5 + 0.5 * norm.ppf(shares), rtol=1e-12
    )


def test_the_same_seed_gives_the_same_study(ishigami):
    assert_array_equal(ishigami.sobol(64).first, ishigami.sobol(64).first)
    assert (ishigami.sobol(64).first != ishigami.sobol(64, seed=1).first).any()


def test_an_individual_that_cannot_be_solved_is_named():
    study = Study(
        Bolus(), [Factor.uniform("V", "-1 mL", "1 mL"), Factor.uniform("CL", 1, 2)], ["C"],
        until="5 h", every="5 h",
    )  # fmt: skip

    with pytest.raises(SolveError) as caught:
        study.sobol(8)

    assert "V = " in caught.value.where


@pytest.mark.parametrize(
    ("factors", "error"),
    [
        ([Factor.uniform("W", 0, 1)], UnknownName),
        ([Factor.uniform("V", "1 kg", "2 kg")], UnitError),
        ([Factor.uniform("V", 2, 1)], DataError),
        ([Factor.log_normal("V", -1, 0.3)], DataError),
        ([Factor.normal("V", 1, "1 h")], UnitError),
        ([Factor.uniform("V", 1, 2), Factor.uniform("V", 1, 2)], DataError),
        ([], DataError),
    ],
)
def test_a_wrong_factor_is_refused_when_the_study_is_made(factors, error):
    with pytest.raises(error):
        Study(Bolus(), factors, ["C"], until=60)


def test_designs_that_cannot_be_are_refused(ishigami):
    with pytest.raises(DataError, match="100 points"):
        ishigami.sobol(100)
    with pytest.raises(DataError, match="levels"):
        ishigami.morris(levels=5)
    with pytest.raises(UnknownName, match="halton"):
        ishigami.uncertainty(8, "halton")


def test_an_experiment_belongs_to_the_study():
    study = Study(
        Simulator(Bolus()), [Factor.normal("CL", "5 L/h", "0.5 L/h")], [Measure.peak("A")],
        Experiment().dose("A", "50 mg", at="1 h"), until="2 h", every="1 h",
    )  # fmt: skip

    targets, values = study.evaluate(study.columns(np.array([[0.5]])))

    assert_allclose(values, [[100 * np.exp(-0.1) + 50]], rtol=1e-5)
    assert targets[0].unit.text == "mg"
