"""Predictions under the event rules of data sets, against closed forms written out here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from galenic import Population
from galenic.errors import DataError
from galenic.inference.mixed.layout import Column, Layout, Route
from galenic.inference.mixed.problem import Problem
from galenic.inference.mixed.records import read
from galenic.library.pk.compartments import (
    MichaelisMenten,
    OneCompartment,
    OralOneCompartment,
    TwoCompartment,
)
from galenic.modeling.effects import Coefficient, Occasion
from galenic.modeling.variability import Between, Covariate, Residual

CL, V = 2.0, 20.0
K = CL / V
WEIGHT = Covariate("weight", 70.0, "kg")


def population(**facts: Any) -> Population:
    between = (Between("CL", 0.3), Between("V1", 0.2))
    rest = {"between": between, "residuals": (Residual("C", 0.1),)}
    return Population(OneCompartment(CL="2 L/h", V1="20 L"), **(rest | facts))


def predicted(
    header: str, rows: list[str], population: Population, layout: Layout, effects: Any = None
) -> Any:
    names = header.split(",")
    table = [dict(zip(names, row.split(","), strict=True)) for row in rows]
    problem = Problem(population, read(table, layout))
    course = problem.course
    given = np.zeros((len(course), problem.joined.n_effects))
    if effects is not None:
        given[:] = effects
    return problem, course.predict(problem.joined.inner(), given), given


def bolus(t: Any, dose: float = 100.0, k: float = K) -> Any:
    return np.where(np.asarray(t) >= 0, dose / V * np.exp(-k * np.asarray(t, float)), 0.0)


def test_a_level_before_a_dose_at_one_time_is_before_it() -> None:
    rows = ["1,0,100,.,1", "1,12,.,1,0", "1,12,100,.,1", "1,12,.,1,0"]

    _, made, _ = predicted("ID,TIME,AMT,DV,EVID", rows, population(), Layout(Route("A1"), "C"))

    trough = float(bolus(12.0))
    assert made.f[0] == pytest.approx([trough, trough + 5.0], rel=1e-6)


def test_infusions_at_steady_state() -> None:
    header = "ID,TIME,AMT,DV,EVID,RATE,SS,II"
    rows = ["1,0,100,.,1,50,1,12", "1,2,.,1,0,.,.,.", "1,8,.,1,0,.,.,."]

    _, made, _ = predicted(header, rows, population(), Layout(Route("A1"), "C"))

    end = 50 / CL * (1 - np.exp(-2 * K)) / (1 - np.exp(-12 * K))
    assert made.f[0] == pytest.approx([end, end * np.exp(-6 * K)], rel=1e-6)


@pytest.mark.parametrize(("carry", "change"), [("nocb", 4.0), ("locf", 8.0)])
def test_covariates_are_carried_either_way(carry: str, change: float) -> None:
    """Weight 70 at 0 and 4 h, 140 at 8 h: NONMEM takes 140 from 4 h on."""
    people = population(
        covariates=(WEIGHT,), relations={"CL": lambda typical, c: typical * c.weight / "70 kg"}
    )
    layout = Layout(Route("A1"), "C", {"weight": Column("WT", "kg")}, carry=carry)
    rows = ["1,0,100,.,1,70", "1,4,.,1,0,70", "1,8,.,1,0,140", "1,12,.,1,0,140"]

    _, made, _ = predicted("ID,TIME,AMT,DV,EVID,WT", rows, people, layout)

    times = np.array([4.0, 8.0, 12.0])
    gone = K * np.minimum(times, change) + 2 * K * np.maximum(times - change, 0.0)
    assert made.f[0] == pytest.approx(5.0 * np.exp(-gone), rel=1e-6)


def test_occasions_have_effects_of_their_own() -> None:
    people = population(occasions=(Occasion("CL", 0.2),))
    rows = ["1,0,100,.,1,1", "1,10,.,1,0,1", "1,20,.,1,0,2"]

    problem, made, _ = predicted(
        "ID,TIME,AMT,DV,EVID,OCC", rows, people, Layout(Route("A1"), "C"), [0.1, 0.0, 0.2, -0.3]
    )

    first, second = K * np.exp(0.3), K * np.exp(-0.2)
    expected = 5.0 * np.exp(-np.array([10 * first, 10 * first + 10 * second]))
    assert problem.names[-2:] == ["omega_occasion(CL)", "C.proportional"]
    assert made.f[0] == pytest.approx(expected, rel=1e-6)
    slopes = [-10 * first * expected[1], -10 * second * expected[1]]
    assert made.by[0, 1, 2:4] == pytest.approx(slopes, rel=1e-5)


def test_lag_and_bioavailability_move_doses() -> None:
    model = OralOneCompartment(
        absorption={"ka": "1 1/h", "F": 0.8}, body={"CL": "2 L/h", "V1": "20 L"}
    )
    people = Population(
        model,
        between=(Between("absorption.F", 0.5, "logit"), Between("lag", 0.3)),
        coefficients=(Coefficient("lag", 0.5, "h", lower=0.0),),
        residuals=(Residual("body.C", 0.1),),
    )
    route = Route("absorption.depot", bioavailability="absorption.F", lag="lag")
    rows = ["1,0,100,.,1", "1,3,.,1,0", "1,5,.,1,0"]

    _, made, _ = predicted("ID,TIME,AMT,DV,EVID", rows, people, Layout(route, "body.C"))

    def level(t: Any, lag: float = 0.5) -> Any:
        s = np.asarray(t) - lag
        return 80 * 0.8 / 20 / (1 - K) * (np.exp(-K * s) - np.exp(-s))

    times = np.array([3.0, 5.0])
    assert made.f[0] == pytest.approx(level(times), rel=1e-6)
    by_lag = (level(times, 0.5 * np.exp(1e-5)) - level(times, 0.5 * np.exp(-1e-5))) / 2e-5
    assert made.by[0, :, 1] == pytest.approx(by_lag, rel=1e-4)
    assert made.by[0, :, 0] == pytest.approx(2 * 0.2 * level(times), rel=1e-4)


def test_values_below_a_limit_count_by_their_probability() -> None:
    from scipy.stats import norm

    rows = ["1,0,100,.,1,0", "1,5,.,2,0,0", "1,30,.,.5,0,1"]
    layout = Layout(Route("A1"), "C", columns={"blq": "CENS"})
    table = [
        dict(zip("ID,TIME,AMT,DV,EVID,CENS".split(","), r.split(","), strict=True)) for r in rows
    ]

    problem = Problem(population(residuals=(Residual("C", 0.0, "0.3 mg/L"),)), read(table, layout))
    none = np.zeros((1, 2))
    made = problem.course.predict(problem.joined.inner(), none)
    terms = problem.errors.terms(problem.course, made.f, np.log([0.3]))

    first, last = bolus([5.0, 30.0])
    expected = [((2 - first) / 0.3) ** 2 + np.log(0.09), -2 * norm.logcdf((0.5 - last) / 0.3)]
    assert terms.cost[0] == pytest.approx(expected, rel=1e-6)
    assert Problem(problem.population, problem.records, blq="M1").count == 1
    assert Problem(problem.population, problem.records, blq="M5").course.y[0, 1] == 0.25


STEADY = "ID,TIME,AMT,DV,EVID,RATE,SS,II,ADDL"
TWO = TwoCompartment(CL="2 L/h", V1="20 L", Q="1 L/h", V2="40 L")


def levels(rows: list[str], model: Any = TWO) -> Any:
    people = Population(model, between=(Between("CL", 0.3),), residuals=(Residual("C", 0.1),))
    made = predicted(STEADY, rows, people, Layout(Route("A1"), "C"), [0.3])[1]
    return made.f[0], made.by[0]


def test_a_steady_state_on_top_is_the_sum_of_the_two() -> None:
    """One compartment by hand: what was there decays on, infusions at steady state come on top."""
    rows = [
        "1,0,100,.,1,.,.,.,.", "1,5,.,1,0,.,.,.,.", "1,6,.,1,0,.,.,.,.",
        "1,6,60,.,1,30,2,8,.", "1,6,.,1,0,.,.,.,.", "1,7,.,1,0,.,.,.,.", "1,13,.,1,0,.,.,.,.",
    ]  # fmt: skip

    _, made, _ = predicted(STEADY, rows, population(), Layout(Route("A1"), "C"))

    end = 30 / CL * (1 - np.exp(-2 * K)) / (1 - np.exp(-8 * K))
    trough = end * np.exp(-6 * K)
    rising = trough * np.exp(-K) + 30 / CL * (1 - np.exp(-K))
    expected = bolus([5.0, 6.0, 6.0, 7.0, 13.0])
    expected += [0.0, 0.0, trough, rising, end * np.exp(-5 * K)]
    assert made.f[0] == pytest.approx(expected, rel=1e-6)


def test_a_steady_state_on_top_is_a_very_long_dosing_on_top() -> None:
    """Two compartments, infusions that overlap, ADDL across, twice on top; slopes too."""
    before = ["1,0,100,.,1,20,.,6,3", "1,11,.,1,0,.,.,.,."]
    after = ["1,14,.,1,0,.,.,.,.", "1,15,.,1,0,.,.,.,.", "1,19,.,1,0,.,.,.,.", "1,40,.,1,0,.,.,.,."]
    rows = [*before, "1,13,50,.,1,5,2,8,.", *after[:1], "1,15,30,.,1,.,2,12,1", *after[1:]]

    value, slope = levels(rows)

    alone = [
        levels([*before, *after]),
        levels(["1,-7987,50,.,1,5,.,8,1000", "1,11,.,1,0,.,.,.,.", *after]),
        levels(["1,-11985,30,.,1,.,.,12,1001", "1,11,.,1,0,.,.,.,.", *after]),
    ]
    seen = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    total = sum(s * v for s, (v, _) in zip(seen, alone, strict=True))
    assert value == pytest.approx(total, rel=1e-6)
    by = sum(s * d[:, 0] for s, (_, d) in zip(seen, alone, strict=True))
    assert slope[:, 0] == pytest.approx(by, rel=1e-6)


@pytest.mark.parametrize("steady", ["1", "2"])
def test_a_steady_state_in_the_row_of_a_reset_is_one_in_an_empty_body(steady: str) -> None:
    rows = ["1,0,900,.,1,.,.,.,.", f"1,6,60,.,4,.,{steady},8,.", "1,7,.,1,0,.,.,.,."]

    _, made, _ = predicted(STEADY, rows, population(), Layout(Route("A1"), "C"))

    assert made.f[0] == pytest.approx([3 * np.exp(-K) / (1 - np.exp(-8 * K))], rel=1e-6)


def test_a_steady_state_on_top_is_refused_where_courses_do_not_add_up() -> None:
    rows = ["1,0,100,.,1,.,.,.,.", "1,6,60,.,1,.,2,8,.", "1,7,.,1,0,.,.,.,."]
    curved = Population(
        MichaelisMenten(), between=(Between("Vmax", 0.3),), residuals=(Residual("C", 0.1),)
    )
    heavy = population(
        covariates=(WEIGHT,), relations={"CL": lambda typical, c: typical * c.weight / "70 kg"}
    )
    delayed = population(
        coefficients=(Coefficient("lag", 0.5, "h", lower=0.0),),
        between=(Between("CL", 0.3), Between("lag", 0.3)),
    )
    plain, weighed = (
        Layout(Route("A1"), "C"),
        Layout(Route("A1"), "C", {"weight": Column("WT", "kg")}),
    )

    with pytest.raises(DataError, match="not linear"):
        predicted(STEADY, rows, curved, plain)
    with pytest.raises(DataError, match="change of covariates"):
        changed = [f"{row},{kg}" for row, kg in zip(rows, (70, 80, 80), strict=True)]
        predicted(STEADY + ",WT", changed, heavy, weighed)
    with pytest.raises(DataError, match="parameters move"):
        predicted(STEADY, rows, delayed, Layout(Route("A1", lag="lag"), "C"))


def test_a_steady_state_that_too_many_doses_make_is_refused() -> None:
    rows = ["1,0,60,.,1,.,1,.25,.", "1,1,.,1,0,.,.,.,."]

    with pytest.raises(DataError, match="400 doses do not reach"):
        predicted(STEADY, rows, population(), Layout(Route("A1"), "C"))
