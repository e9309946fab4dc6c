"""Forecasts of individuals: calibrated where the truth is known, better than the population."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from galenic.errors import DataError
from galenic.inference.mixed.layout import Layout, Route
from galenic.inference.mixed.prequential import cross_validate, prequential, quality
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.library.pk.populations import theophylline

THEOPHYLLINE = Layout(Route("absorption.depot"), "body.C")


@pytest.fixture(scope="module")
def problem(shared_data: Path) -> Problem:
    records = read(shared_data / "poppk-classics" / "theo_sd.csv", THEOPHYLLINE)
    return Problem(theophylline(), records)


def simulated(problem: Problem, rng: np.random.Generator) -> Problem:
    """The subjects of a problem with observations drawn from its population."""
    course, point = problem.course, problem.packing.point(problem.start())
    root = np.linalg.cholesky(np.asarray(point.omega, float))
    effects = rng.standard_normal((len(course), len(root))) @ root.T
    f = course.predict(point.fixed, effects, slopes=False).f
    drawn = problem.errors.draw(course, f, point.sigma, rng)
    people = tuple(
        one.with_values(drawn[i, : len(one.times)])
        for i, one in enumerate(problem.records.individuals)
    )
    return problem.with_records(replace(problem.records, individuals=people))


@pytest.mark.slow
def test_intervals_hold_what_they_say_where_the_truth_is_known(problem):
    rng = np.random.default_rng(7)
    people = problem.records.individuals * 4
    many = problem.with_records(
        replace(problem.records, individuals=tuple(
            replace(one, id=f"{one.id}-{i}") for i, one in enumerate(people)))
    )  # fmt: skip

    found = prequential(simulated(many, rng), rng)

    inside = (found.observed >= found.lower) & (found.observed <= found.upper)
    cold = (found.observed >= found.population_lower) & (found.observed <= found.population_upper)
    # 48 subjects; forecasts of one subject depend on each other, so a subject is the unit
    ids = np.array(found.id)
    for hits in (inside, cold):
        means = np.array([hits[ids == name].mean() for name in dict.fromkeys(found.id)])
        error = means.std(ddof=1) / np.sqrt(len(means))
        assert abs(means.mean() - 0.9) < 3 * error + 0.01  # 0.01: normal modes of few data
    early, late = found.where(found.known == 1), found.where(found.known >= 8)
    assert np.median(late.upper - late.lower) < np.median(early.upper - early.lower)


@pytest.mark.slow
def test_own_levels_forecast_better_than_the_population(problem):
    crossed = cross_validate(problem, np.random.default_rng(1), folds=3)

    later = crossed.forecasts.where(crossed.forecasts.known >= 2)
    assert len(crossed.forecasts) == 120
    assert later.individual.rmse < 0.8 * later.without.rmse
    assert later.individual.within_30 > later.without.within_30
    assert later.individual.coverage > 75
    assert len({fit.objective for fit in crossed.fits}) == 3


def test_quality_of_known_numbers():
    y, f = np.array([10.0, 10.0, 0.0]), np.array([12.0, 8.0, 1.0])

    found = quality(y, f, f - 3, f + 1)

    assert found.n == 2
    assert found.bias == pytest.approx(100 * (4 / 22 - 4 / 18) / 2)
    assert (found.within_20, found.within_30) == (100, 100)
    assert found.coverage == 50


def test_more_folds_than_subjects_are_refused(problem):
    with pytest.raises(DataError, match="13 folds of 12"):
        cross_validate(problem, np.random.default_rng(0), folds=13)
