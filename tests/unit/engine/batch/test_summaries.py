"""Summaries gathered by blocks against NumPy on the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from galenic.engine.batch.measures import Measure
from galenic.engine.batch.quantiles import FLOOR, Quantiles, keys, middle
from galenic.engine.batch.summaries import Attainment, Frame, Histogram, Moments
from galenic.engine.trajectory import Column
from galenic.errors import DataError, UnitError, UnknownName
from galenic.units import unit

TIMES = (0.0, 3600.0, 7200.0, 14400.0)


def frame(individuals=500):
    columns = (Column("C", unit("mg/L")), Column("T", unit("degC")))
    return Frame(TIMES, columns, (1.0, 1.0), individuals)


def values(seed=3, individuals=500):
    rng = np.random.default_rng(seed)
    concentration = np.exp(1.5 * rng.standard_normal((individuals, 4)))
    temperature = 1e6 + rng.standard_normal((individuals, 4))  # a small spread on a large mean
    return np.stack([concentration, temperature], axis=2)


def gathered(summary, cube, cuts=(0, 7, 200, 201, 500)):
    part = None
    for first, last in pairwise(cuts):
        one = summary.part(cube[first:last], frame(len(cube)))
        part = one if part is None else summary.join(part, one)
    return summary.dataset(part, frame(len(cube)))


def test_moments_of_blocks_are_those_of_the_whole():
    cube = values()

    found = gathered(Moments(), cube)

    assert_array_equal(found["count"], np.full((4, 2), 500))
    assert_allclose(found["mean"], cube.mean(axis=0), rtol=1e-14)
    exact = cube.astype(np.longdouble).std(axis=0, ddof=1)
    assert_allclose(found["sd"], exact.astype(float), rtol=1e-9)  # 1e-16 * 1e6 of the mean
    assert_array_equal(found["minimum"], cube.min(axis=0))
    assert_array_equal(found["maximum"], cube.max(axis=0))
    assert found["unit"].values.tolist() == ["mg/L", "degC"]


def test_moments_leave_out_what_is_not_known():
    cube = values()
    cube[::3, 2] = np.nan
    cube[:, 3, 0] = np.nan

    found = gathered(Moments(), cube)

    assert_allclose(found["mean"][2], np.nanmean(cube[:, 2], axis=0), rtol=1e-14)
    assert_allclose(found["sd"][2], np.nanstd(cube[:, 2], axis=0, ddof=1), rtol=1e-8)
    assert np.isnan(found["mean"].values[3, 0])
    assert found["count"].values[3, 0] == 0


def test_the_moments_of_one_individual_have_no_spread():
    found = gathered(Moments(), values(individuals=1), (0, 1))

    assert np.isnan(found["sd"]).all()


def test_exact_quantiles_are_those_of_numpy():
    cube = values()
    wanted = (0.0, 0.05, 0.5, 0.951, 1.0)

    found = gathered(Quantiles(wanted), cube)

    assert_array_equal(found["value"], np.quantile(cube, wanted, axis=0))
    assert found.attrs["exact"]


@pytest.mark.parametrize("spread", [0.01, 1.5, 12.0])
def test_quantiles_from_bins_keep_their_error_bound(spread):
    rng = np.random.default_rng(5)
    cube = np.exp(spread * rng.standard_normal((500, 4, 2))) * rng.choice([-1, 1], (500, 4, 2))
    wanted = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    rank = 499 * np.array(wanted)
    below, above = (np.sort(cube, axis=0)[at(rank).astype(int)] for at in (np.floor, np.ceil))

    found = gathered(Quantiles(wanted, memory=0.0), cube)

    exact = np.quantile(cube, wanted, axis=0)
    bound = found.attrs["relative_error"] * np.maximum(np.abs(below), np.abs(above)) + FLOOR
    assert not found.attrs["exact"]
    assert (np.abs(found["value"].values - exact) <= bound).all()


def test_quantiles_from_bins_do_not_depend_on_the_blocks():
    cube = values()
    cube[5, :, 0] = 0.0
    cube[6, 1, 0] = np.nan
    summary = Quantiles((0.1, 0.5, 0.9), memory=0.0)

    one = gathered(summary, cube, (0, 500))
    order = gathered(summary, cube[::-1].copy(), (0, 3, 250, 500))

    assert_array_equal(one["value"], order["value"])


def test_a_bin_holds_its_values_and_grows_with_them():
    numbers = np.sort(
        np.concatenate([[0.0], *(s * np.geomspace(1e-12, 1e9, 997) for s in (-1, 1))])
    )

    found = keys(numbers, 1e-9)

    assert (np.diff(found) >= 0).all()
    back = middle(found, 1e-9)
    assert (np.abs(back - numbers) <= 2.0**-11 * np.abs(numbers) + 1e-9).all()


def test_a_histogram_counts_as_numpy_does():
    cube = values()
    edges = np.array([0.1, 0.5, 1.0, 2.0, 8.0])
    cube[0, 0, 0] = 8.0  # the last edge belongs to the last bin
    cube[1, 1, 0] = np.nan

    found = gathered(Histogram("C", [f"{e} mg/L" for e in edges]), cube)

    for time in range(4):
        column = cube[:, time, 0]
        assert_array_equal(found["count"][time], np.histogram(column, edges)[0])
        assert found["below"][time] == (column < 0.1).sum()
        assert found["above"][time] == (column > 8).sum()


def test_attainment_is_a_share_of_individuals():
    cube = values()
    cube[2] = np.nan
    inside = (cube[:, :, 0] > 0.5) & (cube[:, :, 0] < 3.0)

    found = gathered(Attainment("C", above="500 ug/L", below=3), cube)

    assert_allclose(found["share"], inside.sum(axis=0) / 499)
    assert_allclose(found["ever"], inside.any(axis=1).sum() / 499)
    assert_allclose(found["always"], inside.all(axis=1).sum() / 499)


def test_measures_are_those_of_the_curves():
    cube = values()
    hours = np.array(TIMES) / 3600

    def taken(measure):
        return gathered(measure, cube)["value"]

    assert_array_equal(taken(Measure.peak("C")), cube[:, :, 0].max(axis=1))
    assert_array_equal(taken(Measure.trough("C")), cube[:, :, 0].min(axis=1))
    assert_array_equal(taken(Measure.at("C", "2 h")), cube[:, 2, 0])
    assert_allclose(taken(Measure.area("C")), np.trapezoid(cube[:, :, 0], hours, axis=1))
    assert Measure.area("C").unit(frame()).text == "mg/L * h"
    late = np.trapezoid(cube[:, 1:3, 0], hours[1:3], axis=1)
    assert_allclose(taken(Measure.area("C", since="1 h", until="2 h")), late)
    assert_array_equal(taken(Measure.peak("C", until="1 h")), cube[:, :2, 0].max(axis=1))
    assert Measure.trough("C", since="1 h").name == "trough from 1 h of C"


def test_the_share_of_time_above_a_limit_follows_straight_lines():
    cube = np.zeros((3, 4, 2))
    cube[0, :, 0] = [0, 4, 4, 0]  # above 1 from 0.25 h to 3.5 h
    cube[1, :, 0] = 5
    measure = Measure.share_above("C", "1 mg/L")

    found = gathered(measure, cube, (0, 3))["value"]

    assert_allclose(found, [(3.5 - 0.25) / 4, 1.0, 0.0])


@pytest.mark.parametrize(
    ("summary", "error"),
    [
        (Histogram("C", [1.0]), DataError),
        (Histogram("C", [2.0, 1.0]), DataError),
        (Histogram("D", [1.0, 2.0]), UnknownName),
        (Histogram("C", ["1 kg", "2 kg"]), UnitError),
        (Attainment("C"), DataError),
        (Quantiles((0.5, 1.5)), DataError),
        (Measure.at("C", "3 h"), DataError),
        (Measure.peak("C", since="90 min"), DataError),
        (Measure.share_above("C", "1 h"), UnitError),
    ],
)
def test_a_wrong_summary_is_refused_before_the_run(summary, error):
    with pytest.raises(error):
        summary.check(frame())
