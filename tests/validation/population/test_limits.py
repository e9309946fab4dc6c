"""Values below the limit of quantification against integrals of the likelihood by SciPy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from galenic import Population
from galenic.errors import DataError
from galenic.inference.mixed.fit import evaluate, fit
from galenic.inference.mixed.layout import Layout
from galenic.inference.mixed.marginal import Approximation
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.inference.mixed.simulate import data_set
from galenic.modeling.variability import Between, Residual

sys.path.insert(0, str(Path(__file__).parent))
from population_cases import Decay

LIMIT, SD, SPREAD = 1.5, 0.4, 0.3
DATA = [(0.0, 9.8), (1.0, 6.4), (3.0, 2.9), (4.0, 1.9), (6.0, None)]


LATE = [(0.0, 10.0), (4.0, 2.0), (5.0, 2.0)]


def limited(blq: str, subjects: int = 1, data: list[tuple[float, float | None]] = DATA) -> Problem:
    """One decay per subject with values down to the limit."""
    rows = [
        {"ID": i, "TIME": t, "DV": y or LIMIT, "CENS": int(y is None), "LLOQ": LIMIT}
        for i in range(subjects)
        for t, y in data
    ]
    population = Population(
        Decay(), between=(Between("ke", SPREAD),), residuals=(Residual("C", 0.0, f"{SD} mg/L"),)
    )
    return Problem(population, read(rows, Layout({}, "C")), blq=blq)


@pytest.mark.parametrize("blq", ["M1", "M2", "M3"])
def test_the_likelihood_is_the_integral(blq: str) -> None:
    def density(eta: float) -> float:
        value = norm.pdf(eta, 0, SPREAD)
        for t, y in DATA:
            f = 10 * np.exp(-0.5 * np.exp(eta) * t)
            if y is None:
                value *= norm.cdf((LIMIT - f) / SD) if blq == "M3" else 1.0
            else:
                value *= norm.pdf(y, f, SD)
                value /= norm.sf(LIMIT, f, SD) if blq == "M2" else 1.0
        return float(value)

    exact = -2 * np.log(quad(density, -2, 2, epsabs=0, epsrel=1e-10, points=[0.0])[0])

    found = evaluate(limited(blq), "agq", nodes=25)

    assert found.minus2ll == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("method", ["focei", "laplace"])
@pytest.mark.parametrize("blq", ["M2", "M3"])
def test_the_gradient_is_that_of_differences(blq: str, method: str) -> None:
    problem = limited(blq, 2)
    made = Approximation(problem.course, problem.errors, problem.packing, method)
    at = problem.start() + 0.05

    by = made(at, slopes=True).by

    steps = 1e-4 * np.eye(len(at))
    numeric = [(made(at + one).total - made(at - one).total) / 2e-4 for one in steps]
    assert by is not None
    assert by.sum(axis=0) == pytest.approx(np.array(numeric), rel=2e-4, abs=2e-4)


def test_what_lies_below_is_accounted_for() -> None:
    """Two values near the limit of each of 400 subjects: M3 is right, M2 nearer to it than M1.

    M2 takes random effects of those above the limit as those of all, so it is not unbiased.
    """
    truth = limited("M3", 400, LATE)
    records = data_set(truth, truth.start(), seed=3)
    found = {}
    for blq in ("M1", "M2", "M3"):
        one = fit(Problem(truth.population, records, blq=blq), "laplace")
        found[blq] = (one.vector[0] - np.log(0.5)) / one.errors()["ke"] * one["ke"]

    assert abs(found["M3"]) < 3
    assert found["M1"] < found["M2"] < -3


def test_fo_and_unknown_limits_are_refused() -> None:
    with pytest.raises(DataError, match="fo"):
        evaluate(limited("M3"), "fo")
    rows = [{"ID": 1, "TIME": 1, "DV": 6.0}]
    with pytest.raises(DataError, match="limit"):
        Problem(limited("M3").population, read(rows, Layout({}, "C")), blq="M2")
