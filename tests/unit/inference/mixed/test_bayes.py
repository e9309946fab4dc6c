"""The no-U-turn sampler on known densities, and the posterior of a linear mixed model."""

from __future__ import annotations

import numpy as np
import pytest

from galenic import Model, Output, Parameter, Population, State, der
from galenic.inference.mixed.bayes import Density, Priors, White, bayes
from galenic.inference.mixed.fit import evaluate, fit
from galenic.inference.mixed.layout import Layout, Route
from galenic.inference.mixed.nuts import effective, sample, split_r
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.inference.mixed.simulate import data_set
from galenic.library.pk.compartments import OneCompartment
from galenic.modeling.effects import Occasion
from galenic.modeling.variability import Between, Residual


def test_a_normal_density_with_unequal_scales() -> None:
    sd = np.array([0.1, 1.0, 30.0])

    def density(x):
        return -0.5 * np.sum((x / sd) ** 2, axis=1), -x / sd**2

    chain = sample(density, np.ones((1, 3)), [np.random.default_rng(1)], 1500, 600)[0]

    assert chain.diverged == 0 and 0.7 < chain.accepted < 0.95
    count = effective(chain.draws[None])
    assert (count > 400).all()
    assert np.abs(chain.draws.mean(axis=0) / sd) == pytest.approx(0, abs=4 / np.sqrt(count.min()))
    assert chain.draws.std(axis=0) / sd == pytest.approx(1, abs=0.12)


def test_chains_that_disagree_are_seen() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((2, 400, 1))

    assert split_r(one)[0] < 1.02
    assert split_r(one + np.array([0.0, 2.0])[:, None, None])[0] > 1.3


@pytest.mark.parametrize("centred", [True, False])
def test_the_gradient_is_that_of_differences(centred: bool) -> None:
    """Correlated effects and effects by occasion included."""
    population = Population(
        OneCompartment(CL="3 L/h", V1="30 L"),
        between=(Between("CL", 0.3), Between("V1", 0.2)),
        correlations={("CL", "V1"): 0.4},
        residuals=(Residual("C", 0.1, "0.1 mg/L"),),
        occasions=(Occasion("CL", 0.1),),
    )
    rows = []
    for i in range(3):
        rows.append({"ID": i, "TIME": 0, "AMT": 100, "DV": 0, "EVID": 1, "OCC": 1})
        rows += [
            {"ID": i, "TIME": t, "AMT": 0, "DV": 2.0, "EVID": 0, "OCC": 1 + (t > 5)} for t in (2, 9)
        ]
    problem = Problem(population, read(rows, Layout(Route("A1"), "C")))
    density = Density(problem, Priors(), centred)
    rng = np.random.default_rng(2)
    effects = 0.1 * rng.standard_normal((3, problem.joined.n_effects))
    place = density.place(problem.start(), effects)

    vector, again = density.taken(place)
    moved = place + 0.1 * rng.standard_normal(len(place))
    white = White(density, evaluate(problem))
    point = rng.standard_normal(len(place))

    assert vector == pytest.approx(problem.start(), abs=1e-12)
    assert again == pytest.approx(effects, abs=1e-12)
    for function, at in ((density, moved), (white, point)):
        steps = 1e-6 * np.eye(len(at))
        numeric = (function(at + steps)[0] - function(at - steps)[0]) / 2e-6
        assert function(at[None])[1][0] == pytest.approx(numeric, rel=1e-5, abs=1e-5)


class Level(Model):
    """A level that stays."""

    base = Parameter(10.0, "mg/L", "level")
    A = State(lambda m: m.base, "mg/L", "level")
    C = Output("mg/L", "level")

    def equations(m):
        yield der(m.A) == 0.0 * m.base / "1 h"
        yield m.C == m.A


@pytest.mark.slow
def test_the_posterior_of_a_linear_mixed_model() -> None:
    """With vague priors: centre at the mean, spread that of Student's t of the means."""
    population = Population(
        Level(), between=(Between("base", 1.0, "normal"),), residuals=(Residual("C", 0, 0.5),)
    )
    rows = [{"ID": i, "TIME": t, "DV": 1.0} for i in range(12) for t in range(3)]
    first = Problem(population, read(rows, Layout()))
    problem = first.with_records(data_set(first, first.start(), seed=5))
    means = problem.course.y.mean(axis=1)

    drawn = bayes(
        problem, fit(problem), Priors(fixed_sd=50.0, spread=10.0), 300, 200, chains=1, seed=3
    )

    error = np.sqrt(means.var(ddof=1) / 12 * 11 / 9)
    column = drawn.values[0, :, 0]
    assert drawn.diverged <= 2
    assert column.mean() == pytest.approx(means.mean(), abs=0.4 * error)
    assert column.std() == pytest.approx(error, rel=0.3)
    low, high = drawn.interval("base")
    assert low < means.mean() < high
    assert drawn.effects.shape == (1, 300, 12, 1)
