"""Bootstrap, SIR, profiles, covariate search and expected information, on small studies."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from galenic import Model, Output, Parameter, Population, State, der
from galenic.errors import DataError
from galenic.inference.mixed.design import information, optimise
from galenic.inference.mixed.fit import Fit, fit
from galenic.inference.mixed.layout import Column, Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.inference.mixed.simulate import data_set
from galenic.inference.mixed.stepwise import Candidate, stepwise, with_effects
from galenic.inference.mixed.uncertainty import bootstrap, profile, sir
from galenic.library.pk.compartments import OneCompartment
from galenic.modeling.variability import Between, Covariate, Residual


class Level(Model):
    """A level that stays; with normal spread its population is a linear mixed model."""

    base = Parameter(10.0, "mg/L", "level")
    A = State(lambda m: m.base, "mg/L", "level")
    C = Output("mg/L", "level")

    def equations(m):
        yield der(m.A) == 0.0 * m.base / "1 h"
        yield m.C == m.A


N, T, OMEGA, SIGMA = 40, 4, 2.0, 0.5


@cache
def linear() -> Problem:
    population = Population(
        Level(), between=(Between("base", OMEGA, "normal"),), residuals=(Residual("C", 0, SIGMA),)
    )
    rows = [{"ID": i, "TIME": t, "DV": 1.0 + t} for i in range(N) for t in range(T)]
    first = Problem(population, read(rows, Layout()))
    return first.with_records(data_set(first, first.start(), seed=3))


@cache
def fitted() -> Fit:
    return fit(linear(), tolerance=1e-8)


def test_a_linear_mixed_model_is_estimated_as_by_its_closed_form() -> None:
    """Balanced one-way layout: maximum likelihood from the sums of squares."""
    y = linear().course.y
    within = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum() / (N * (T - 1))
    between = T * ((y.mean(axis=1) - y.mean()) ** 2).sum() / N

    found = fitted()

    assert found["base"] == pytest.approx(y.mean(), rel=1e-6)
    assert found["C.additive"] ** 2 == pytest.approx(within, rel=1e-5)
    assert found["omega(base)"] == pytest.approx((between - within) / T, rel=1e-5)
    cost = N * ((T - 1) * np.log(within) + np.log(between)) + N * T
    assert found.objective == pytest.approx(cost, abs=1e-5)
    assert found.errors()["base"] == pytest.approx(np.sqrt(between / (N * T)), rel=1e-4)


def test_expected_information_is_that_of_the_closed_form() -> None:
    total = SIGMA**2 + T * OMEGA**2

    found = information(linear())

    assert found.errors["base"] == pytest.approx(np.sqrt(total / (N * T)) / 10, rel=1e-6)
    a, b = T**2 / total**2, T / total**2
    c = (T - 1) / SIGMA**4 + 1 / total**2
    spread = np.linalg.inv(N / 2 * np.array([[a, b], [b, c]]))
    assert found.errors["omega(base)"] == pytest.approx(spread[0, 0] ** 0.5 / OMEGA**2, rel=1e-5)
    assert found.errors["C.additive"] == pytest.approx(
        spread[1, 1] ** 0.5 / (2 * SIGMA**2), rel=1e-5
    )


def test_bootstrap_sir_and_profile_agree_with_the_closed_form() -> None:
    found = fitted()
    error = found.errors()["base"]

    drawn = bootstrap(found, 60, seed=1)
    weighed = sir(found, 300, 150, seed=1)
    low, high = profile(found, "base")

    assert drawn.errors()["base"] == pytest.approx(error, rel=0.3)
    assert weighed.errors()["base"] == pytest.approx(error, rel=0.25)
    assert float(weighed.notes.split()[0]) > 100
    y = linear().course.y.mean(axis=1)
    # the likelihood of the mean with both variances estimated: N ln(between) rises by 3.84
    reach = np.sqrt((np.exp(3.8415 / N) - 1) * y.var())
    assert (low, high) == pytest.approx((y.mean() - reach, y.mean() + reach), abs=1e-3)
    assert np.array_equal(drawn.values[:5], bootstrap(found, 5, seed=1).values)


@cache
def covariates() -> Problem:
    people = (Covariate("weight", 70.0, "kg"), Covariate("noise", 0.0, "1", positive=False))
    base = Population(
        OneCompartment(CL="3 L/h", V1="30 L"),
        people,
        between=(Between("CL", 0.2), Between("V1", 0.15)),
        residuals=(Residual("C", 0.1),),
    )
    true = Candidate("CL", "weight", "70 kg")
    truth = with_effects(base, [true])
    rng = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for i in range(40):
        facts = {"ID": i, "WT": 45 + 1.5 * i, "X": round(float(rng.standard_normal()), 3)}
        rows.append(facts | {"TIME": 0, "AMT": 100, "DV": 0, "EVID": 1})
        rows += [facts | {"TIME": t, "AMT": 0, "DV": 1, "EVID": 0} for t in (1, 4, 10)]
    columns = {"weight": Column("WT", "kg"), "noise": Column("X")}
    problem = Problem(truth, read(rows, Layout(Route("A1"), "C", columns)))
    values = problem.start({"CL~weight": 0.9})
    return problem.with_records(data_set(problem, values, seed=2)).with_population(base)


def test_the_search_finds_the_covariate_that_acts() -> None:
    tried = [
        Candidate("CL", "weight", "70 kg"),
        Candidate("V1", "noise", 0.0, "exponential"),
        Candidate("CL", "noise", 0.0, "exponential"),
    ]

    found = stepwise(covariates(), tried, forward=0.01, backward=0.001)

    assert [one.coefficient for one in found.chosen] == ["CL~weight"]
    assert found.fit["CL~weight"] == pytest.approx(0.9, abs=0.35)
    assert found.trials[0].step == "forward" and len(found.trials) >= 6


def test_optimal_times_tell_more_than_even_ones() -> None:
    problem = covariates()
    hours = 3600.0 * np.arange(1, 25, 2)

    best = optimise(problem, hours, 3, subjects=40, starts=2)

    assert best.times[0] == 3600.0 and best.times[-1] > 8 * 3600.0
    assert best.information.criterion > information(problem).criterion
    with pytest.raises(DataError, match="30 of 12 times"):
        optimise(problem, hours, 30)
