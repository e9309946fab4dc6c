"""Residuals, predictive checks, simulation and report on a model that is true."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.linalg import sqrtm

from galenic import Population
from galenic.inference.mixed import plots
from galenic.inference.mixed.fit import Fit, evaluate
from galenic.inference.mixed.layout import Column, Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.inference.mixed.report import html
from galenic.inference.mixed.residuals import residuals
from galenic.inference.mixed.simulate import (
    curves,
    data_set,
    population_records,
    replicates,
    with_values,
)
from galenic.inference.mixed.vpc import check
from galenic.library.pk.compartments import OneCompartment
from galenic.modeling.variability import Between, Covariate, Residual

TIMES = (0.5, 2, 6, 12, 24)


@cache
def truth(subjects: int = 60) -> Fit:
    """A fit whose data were simulated by its own model at its own values."""
    population = Population(
        OneCompartment(CL="3 L/h", V1="30 L"),
        (Covariate("weight", 70.0, "kg", 10.0),),
        {"CL": lambda typical, c: typical * (c.weight / "70 kg") ** 0.75},
        (Between("CL", 0.3), Between("V1", 0.2)),
        residuals=(Residual("C", 0.15, "0.02 mg/L"),),
    )
    rows = []
    for i in range(subjects):
        weight = 50 + 40 * i / subjects
        rows.append({"ID": i, "TIME": 0, "AMT": 100, "DV": ".", "EVID": 1, "WT": weight})
        for t in TIMES:
            rows.append({"ID": i, "TIME": t, "AMT": ".", "DV": 1, "EVID": 0, "WT": weight})
    layout = Layout(Route("A1"), "C", {"weight": Column("WT", "kg")}, limit=0.2)
    first = Problem(population, read(rows, layout))
    records = data_set(first, first.start(), seed=4)
    return evaluate(first.with_records(records))


def test_cwres_are_those_of_the_formula() -> None:
    fit = truth()
    course, found, i = fit.problem.course, fit.found, 3
    k = int((~course.censored[i] & course.mask[i]).sum())
    g, f = found.by[i, :k, :2], found.f[i, :k]
    variance = np.diag(0.02**2 + (0.15 * f) ** 2)
    spread = g @ fit.point.omega @ g.T + variance

    expected = np.linalg.solve(
        np.real(sqrtm(spread)), course.y[i, :k] - f + g @ fit.effects[i]
    )  # fmt: skip

    every = residuals(fit, 0)
    mine = np.array([id_ == course.people[i].id for id_ in every.id]) & ~every.censored
    assert every.cwres[mine] == pytest.approx(expected, rel=1e-8)
    assert every.iwres[mine] == pytest.approx(
        (course.y[i, :k] - f) / np.sqrt(np.diag(variance)), rel=1e-8
    )


def test_npde_are_standard_normal_where_the_model_is_true() -> None:
    problem = truth().problem
    whole = [(r.values, r) for r in problem.records.individuals]
    assert any(r.censored.any() for _, r in whole)
    y = replicates(problem, truth().vector, 1, seed=9).y[0]
    free = with_values(problem.with_records(_without_limits(problem)), y)

    tests = residuals(evaluate(problem.with_records(free)), 500, seed=2).tests()

    assert all(tests[name] > 1e-3 for name in tests if name.startswith("p of"))


def _without_limits(problem: Problem):
    from dataclasses import replace

    people = tuple(
        replace(
            one, limits=np.full(len(one.times), np.nan), censored=np.zeros(len(one.times), bool)
        )
        for one in problem.records.individuals
    )
    return replace(problem.records, individuals=people)


@pytest.mark.parametrize("corrected", [False, True])
def test_percentiles_lie_within_their_intervals(corrected: bool) -> None:
    fit = truth()

    panel = check(fit, corrected=corrected, simulations=200, seed=1)[0]

    assert panel.time / 3600 == pytest.approx(TIMES)
    assert panel.outside <= 0.2
    assert (panel.below_low <= panel.below).all() and (panel.below <= panel.below_high).all()
    assert np.isnan(panel.observed[0, -1])
    assert panel.below[-1] > 0.1


def test_a_wrong_model_is_seen() -> None:
    wrong = dict(truth().values) | {"CL": 6.0}
    fit = evaluate(truth().problem, start=wrong)

    assert check(fit, simulations=200)[0].outside > 0.4
    assert residuals(fit, 200).tests()["p of mean 0"] < 1e-6


def test_strata_by_covariate_and_unknown_ones() -> None:
    two = check(truth(), stratify="weight", simulations=60)

    assert [panel.title for panel in two] == ["C, weight below its median", "C, weight above"]


def test_simulations_repeat_by_seed_and_have_the_spread_of_the_population() -> None:
    fit = truth()

    one, same = (replicates(fit.problem, fit.vector, 40, seed=5) for _ in range(2))

    assert np.array_equal(one.y, same.y, equal_nan=True)
    assert one.effects.std(axis=(0, 1)) == pytest.approx([0.3, 0.2], rel=0.05)


def test_a_new_population_under_one_design() -> None:
    fit = truth()

    records = population_records(fit.problem, 0, 7, seed=3)

    problem = fit.problem.with_records(records)
    assert len(problem.course) == 7
    weights = [one.covariates[0, 0] for one in records.individuals]
    assert len(set(weights)) == 7 and 40 < np.mean(weights) < 100


def test_curves_go_through_individual_predictions() -> None:
    fit = truth()

    times, _, own = curves(fit, points=49)

    at = np.interp(12 * 3600.0, times[5], own[5])
    every = residuals(fit, 0)
    mine = [k for k, id_ in enumerate(every.id) if id_ == "5" and every.time[k] == 12 * 3600.0]
    assert at == pytest.approx(every.ipred[mine[0]], rel=2e-3)


def test_a_report_is_one_file_with_numbers_and_pictures() -> None:
    page = html(truth(), "Trial 7", simulations=60)

    assert page.count("<svg") >= 5 and "Trial 7" in page and "omega(CL)" in page
    assert "src=" not in page and "<script" not in page
    assert plots.predictive(check(truth(), simulations=60), log=True) is not None
