"""Whatever the individuals, their order, blocks and workers: each keeps its own bits."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from galenic import Input, Model, Output, Parameter, State, der
from galenic.engine import Experiment, Simulator
from galenic.engine.batch import Attainment, Histogram, Moments, Quantiles
from galenic.engine.batch import run as front
from galenic.engine.batch.quantiles import FLOOR
from galenic.engine.batch.summaries import Frame
from galenic.engine.experiment import Dose
from galenic.engine.trajectory import Column
from galenic.units import unit


class Saturable(Model):
    """Absorption and elimination by a saturable enzyme; the eliminated amount is counted."""

    ka = Parameter(1.0, "1/h", "absorption", lower=0)
    vmax = Parameter(20.0, "mg/h", "largest rate of elimination", lower=0)
    km = Parameter(5.0, "mg", "amount at half of it", lower=0)
    drip = Input(0.0, "mg/h", "drug given into the body", role="dose", lower=0)
    depot = State(0.0, "mg", "not yet absorbed", lower=0)
    body = State(0.0, "mg", "in the body", lower=0)
    gone = State(0.0, "mg", "eliminated", lower=0)
    filled = Output("1", "saturation of the enzyme")

    def equations(m):
        rate = m.vmax * m.body / (m.km + m.body)
        yield der(m.depot) == -m.ka * m.depot
        yield der(m.body) == m.ka * m.depot + m.drip - rate
        yield der(m.gone) == rate
        yield m.filled == m.body / (m.km + m.body)


COUNT = 48


@cache
def simulator():
    return Simulator(Saturable())


@cache
def crowd():
    """Individuals of all kinds, each with one of three schedules, and their trajectories."""
    rng = np.random.default_rng(11)
    table = {
        "ka": np.exp(rng.standard_normal(COUNT)),
        "vmax": 20 * np.exp(rng.standard_normal(COUNT)),
        "km": 5 * np.exp(rng.standard_normal(COUNT)),
    }
    doses = [
        Experiment().dose("depot", "100 mg", every="6 h", count=3),
        Experiment().dose("body", "50 mg", at="1 h", duration="3 h"),
        Experiment().dose("depot", "20 mg").set("vmax", "5 mg/h", at="4 h"),
    ]
    experiments = [doses[i] for i in rng.integers(0, 3, COUNT)]
    return table, experiments, ask(table, experiments)


def ask(table, experiments, **settings):
    return simulator().run_many(
        experiments, table, until="24 h", every="3 h", method="rodas5p", **settings
    )


def part(rows):
    table, experiments, _ = crowd()
    return {path: column[rows] for path, column in table.items()}, [experiments[i] for i in rows]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=30), st.integers(1, 3))
def test_an_individual_does_not_know_its_neighbours(rows, workers):
    table, experiments = part(rows)

    found = ask(table, experiments, workers=workers)

    assert_array_equal(found.values, crowd()[2].values[rows])
    assert_array_equal(found.accepted, crowd()[2].accepted[rows])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, COUNT))
def test_the_size_of_blocks_changes_no_bits(size):
    table, experiments, whole = crowd()
    usual = front.rows_of_block
    front.rows_of_block = lambda *counts: size
    try:
        found = ask(table, experiments)
    finally:
        front.rows_of_block = usual

    assert_array_equal(found.values, whole.values)


ABSURD = st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 0.0, 1e300, -1e300, 1e-300])


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.integers(0, COUNT - 1), st.tuples(ABSURD, ABSURD), max_size=6))
def test_absurd_individuals_touch_nobody_else(absurd):
    table, experiments, whole = crowd()
    table = {path: column.copy() for path, column in table.items()}
    for i, (vmax, km) in absurd.items():
        table["vmax"][i], table["km"][i] = vmax, km
    others = np.setdiff1d(np.arange(COUNT), list(absurd))

    found = ask(table, experiments)

    assert_array_equal(found.values[others], whole.values[others])
    assert np.isfinite(found.values[found.is_good()]).all()
    assert np.isnan(found.values[~found.is_good()]).all()
    assert set(found.reasons) == set(np.flatnonzero(~found.is_good()))


HOURS = st.integers(0, 47).map(lambda half: 0.5 * half)  # equal times are likely
AMOUNT = st.sampled_from(["5 mg", "40 mg", "120 mg"])
ACTIONS = st.one_of(
    st.builds(
        lambda path, amount, at: lambda e: e.dose(path, amount, at=f"{at} h"),
        st.sampled_from(["depot", "body"]), AMOUNT, HOURS,
    ),
    st.builds(
        lambda path, amount, at, span: lambda e: e.dose(
            path, amount, at=f"{at} h", duration=f"{span} h", every=f"{span + 1} h", count=3
        ),
        st.sampled_from(["depot", "body", "drip"]), AMOUNT, HOURS, st.integers(1, 6),
    ),
    st.builds(
        lambda level, at: lambda e: e.set("drip", f"{level} mg/h", at=f"{at} h"),
        st.integers(0, 10), HOURS,
    ),
    st.builds(
        lambda level, at, span: lambda e: e.ramp(
            "drip", f"{level} mg/h", f"{at} h", f"{at + span} h"
        ),
        st.integers(0, 10), HOURS, st.integers(1, 6),
    ),
    st.builds(
        lambda value, at: lambda e: e.set("vmax", f"{value} mg/h", at=f"{at} h"),
        st.integers(0, 50), HOURS,
    ),
    st.builds(
        lambda value, at: lambda e: e.set("body", f"{value} mg", at=f"{at} h"),
        st.integers(0, 50), HOURS,
    ),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(ACTIONS, min_size=1, max_size=6), st.lists(ACTIONS, max_size=4))
def test_any_schedule_gives_what_cvodes_gives(first, second):
    experiments = []
    for actions in (first, second):
        experiment = Experiment()
        for action in actions:
            experiment = action(experiment)
        experiments.append(experiment)
    table = {"km": [5.0, 2.0], "drip": [0.0, 1.5]}

    def found(method):
        return simulator().run_many(
            experiments, table, until="24 h", every="30 min", method=method, rtol=1e-8,
            outputs=["depot", "body", "gone", "drip"],
        )  # fmt: skip

    lanes, single = found("rodas5p"), found("single")

    assert not lanes.method.any()
    assert_allclose(lanes.values, single.values, rtol=1e-5, atol=2e-5)


def test_what_was_given_is_there_or_gone():
    """Mass is conserved: depot, body and what was eliminated are the doses."""
    _, experiments, whole = crowd()
    doses = [[a for a in e.actions if isinstance(a, Dose)] for e in experiments]
    total = [sum(a.count * float(a.amount.removesuffix(" mg")) for a in one) for one in doses]

    held = sum(whole[path].values[:, -1] for path in ("depot", "body", "gone"))

    assert_allclose(held, total, rtol=1e-9)  # linear invariants: round-off, not the tolerance


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, COUNT - 1), min_size=2, max_size=40), st.booleans())
def test_gathered_summaries_are_those_of_the_cube(rows, sketch):
    table, experiments = part(rows)
    summaries = [
        Moments(),
        Quantiles((0.1, 0.5, 0.9), memory=0.0 if sketch else 1e9),
        Histogram("body", [0, 5, 20, 100]),
        Attainment("filled", above=0.5),
    ]

    lean = ask(table, experiments, keep=False, summaries=summaries)

    cube = crowd()[2].values[rows]
    moments = lean.summaries["moments"]
    assert_allclose(moments["mean"], cube.mean(axis=0), rtol=1e-12, atol=1e-12)
    assert_allclose(moments["sd"], cube.std(axis=0, ddof=1), rtol=1e-9, atol=1e-12)
    share = (cube[:, :, -1] > 0.5).mean(axis=0)
    assert_allclose(lean.summaries["filled above 0.5"]["share"], share)
    counts = lean.summaries["histogram of body"]
    whole = counts["count"].sum("bin") + counts["below"] + counts["above"]
    assert (whole == len(rows)).all()
    exact = np.quantile(cube, (0.1, 0.5, 0.9), axis=0)
    top = np.sort(cube, axis=0)[np.ceil(np.outer((0.1, 0.5, 0.9), len(rows) - 1)).astype(int)[:, 0]]
    bound = (2.0**-11 * np.abs(top) + FLOOR) if sketch else 1e-15 * np.abs(top)
    assert (np.abs(lean.summaries["quantiles"]["value"].values - exact) <= bound + 1e-300).all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=False, width=64), min_size=1, max_size=60),
    st.lists(st.integers(0, 59), max_size=4),
    st.floats(0, 1),
)
def test_quantiles_from_bins_hold_their_bound_for_any_numbers(numbers, cuts, probability):
    cube = np.array(numbers)[:, None, None]
    frame = Frame((0.0,), (Column("y", unit("1")),), (1.0,), len(numbers))
    summary = Quantiles((probability,), memory=0.0)
    edges = sorted({0, len(numbers), *(cut for cut in cuts if cut < len(numbers))})
    joined = None
    for first, last in pairwise(edges):
        one = summary.part(cube[first:last], frame)
        joined = one if joined is None else summary.join(joined, one)

    found = summary.dataset(joined, frame)["value"].values[0, 0, 0]

    known = np.sort(np.array(numbers)[np.isfinite(numbers)])
    if not len(known):
        assert np.isnan(found)
        return
    rank = (len(known) - 1) * probability
    low, high = known[int(np.floor(rank))], known[int(np.ceil(rank))]
    slack = [2.0**-11 * abs(edge) + FLOOR for edge in (low, high)]
    with np.errstate(over="ignore"):
        assert low - slack[0] <= found <= high + slack[1]
