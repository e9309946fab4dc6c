"""Rows, rivals, scores and detectors on records whose truth is known."""

import numpy as np
import pytest

from galenic.stages.manufacturing.press_record import events, identifiability
from galenic.stages.manufacturing.press_record.events import ALL, FORCES, Drifted, Frozen
from galenic.stages.manufacturing.press_record.rivals import (
    Length,
    Persistence,
    RollingMean,
    fit_ridge,
    rolled,
    tune_sd,
)
from galenic.stages.manufacturing.press_record.rows import CHANGED, CLASSES, RESTARTED, STEADY
from galenic.stages.manufacturing.press_record.scores import measured, shared_out

from .conftest import read
from .synthetic import press, write


def test_rows_know_stretches_and_classes(rows):
    assert len(rows) == 948
    assert rows.running.sum() == 900
    assert len(np.unique(rows.stretch)) == 5
    assert list(rows.kinds[:6]) == [""] * 5 + [RESTARTED]
    assert set(rows.kinds[545:557]) == {RESTARTED}
    assert rows.since[545:548].tolist() == [0.0, 10.0, 20.0]


def test_targets_never_reach_over_a_stop(rows):
    at = rows.target(300.0)

    assert (at[475:505] == -1).all()
    assert at[474] == 504
    assert (at[~rows.running] == -1).all()


def test_a_fill_change_is_seen_where_it_begins(tmp_path):
    lines = press([(60, True)], noise=0.0)
    moved = [line.split(";") for line in lines]
    for cells in moved[40:]:
        cells[7] = "4.80"
    for cells in moved[:40]:
        cells[7] = "4.70"
    rows = read_rows(write(tmp_path / "a.csv", [";".join(cells) for cells in moved]))

    assert rows.changes.tolist() == [40]
    assert set(rows.kinds[40:47]) == {CHANGED}
    assert rows.kinds[47] == STEADY


def read_rows(path):
    from galenic.stages.manufacturing.press_record.rows import Rows

    return Rows.of(read(path))


def test_rolling_mean_and_persistence_by_hand(rows):
    force = rows.columns["Press.MainForce"]

    mean = rolled(rows, "main_force", Length(3))
    anew = rolled(rows, "main_force", Length(3, anew=True))

    assert mean[7] == pytest.approx(force[5:8].mean())
    assert mean[545] == pytest.approx((force[503] + force[504] + force[545]) / 3)
    assert np.array_equal(Persistence().means(rows, 0, 0), force)
    assert anew[545] == force[545]
    assert anew[547] == mean[547]


def test_ridge_finds_a_linear_law():
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(400), rng.standard_normal((400, 3)), np.full(400, 7.0)])

    weights = fit_ridge(x, x @ [2.0, 1.0, -1.0, 0.5, 0.0], 1e-6)

    assert x @ weights == pytest.approx(x @ [2.0, 1.0, -1.0, 0.5, 0.0], abs=1e-6)


LONG = RollingMean(
    {(kind, f, h): Length(90, anew=True) for kind in CLASSES for f in range(2) for h in range(3)}
)


def test_persistence_of_white_noise_is_worse_by_root_two(rows):
    sds = tune_sd(Persistence(), rows), tune_sd(LONG, rows)

    ratio = sds[0][STEADY, 0, 1] / sds[1][STEADY, 0, 1]
    assert ratio == pytest.approx(np.sqrt(2), rel=0.08)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_rounded_readings_of_a_right_forecast_are_covered_as_stated(level):
    """Whatever the place of the mean on the display's grid; binomial error 0.002."""
    rng = np.random.default_rng(2)
    mean = rng.uniform(5.0, 5.1, 40_000)
    truth = np.round((mean + 0.04 * rng.standard_normal(len(mean))) * 10) / 10
    sd = np.full(len(mean), np.hypot(0.04, 0.1 / np.sqrt(12)))

    assert np.mean(shared_out(truth, mean, sd, level)) == pytest.approx(level, abs=0.006)


def test_a_forecast_that_is_too_sure_is_found_out():
    rng = np.random.default_rng(3)
    truth = np.round(5 + 0.1 * rng.standard_normal(5000), 1)

    readings, mae, rmse, _, _, inside90, _, calibrated90 = measured(
        truth, np.full(5000, 5.0), np.full(5000, 0.04)
    )

    assert readings == 5000
    assert rmse > mae > 0.07
    assert inside90 < 0.6
    assert calibrated90 < 0.6


def test_thirteen_repeats_of_two_forces_make_a_stop_and_three_of_four_readings():
    """The share of repeats while running to that power is below one row in 1,000 h."""
    for tags, wanted in ((FORCES, 13), (ALL, 3)):
        state, seen = Frozen(events.REPEATS[tags]).seen((1.0,)), 0
        while not state.stands:
            state, seen = state.seen((1.0,)), seen + 1

        assert seen == wanted
        assert events.REPEATS[tags] ** wanted < events.FALSE_ALARM
        assert not state.seen((2.0,)).stands


def test_stops_are_found_from_forces_alone(rows):
    stops, restarts = events.score_stops(rows, ALL, 60.0)

    assert (stops.events, stops.found, stops.right) == (1, 1, stops.alarms)
    assert stops.delay == 20.0
    assert (restarts.events, restarts.found, restarts.delay) == (1, 1, 0.0)


def test_a_lean_of_innovations_raises_an_alarm_and_noise_seldom():
    rng = np.random.default_rng(4)
    quiet = events.fill_alarms(rng.standard_normal(2000), level=5.0, slack=0.75)
    moved = events.fill_alarms(np.r_[np.zeros(50), np.full(10, 2.5)], level=5.0, slack=0.75)

    assert len(quiet) < 10
    assert moved.tolist()[0] in range(51, 54)
    assert not Drifted().seen(float("nan")).alarm


def test_density_and_area_are_seen_only_in_combinations():
    gap = np.linspace(0.9, 1.1, 12)
    fill = np.full(12, 4.45)
    settings = identifiability.Settings(np.full(12, 5.5), fill, gap)

    found = identifiability.identify(
        identifiability.problem(settings), tolerance=0.1, rng=np.random.default_rng(0)
    )

    assert found.structural_rank == 3
    assert not {"rho_fill", "rho_bulk", "area", "b"} & set(found.alone)
    for c in found.estimable:
        powers = c.exponents
        assert powers.get("rho_fill", 0.0) == pytest.approx(-powers.get("rho_bulk", 0.0), abs=0.02)
        assert powers.get("area", 0.0) == pytest.approx(-powers.get("b", 0.0), abs=0.02)


def test_the_service_scores_a_file(tmp_path):
    from galenic.stages.manufacturing.services import score_record

    # enough of each class for the rivals, and a second batch
    first = press([(3, False), (170, True), (30, False), (110, True)], batch="1")
    second = press([(30, False), (120, True)], seed=5, batch="2", start=len(first))
    path = write(tmp_path / "record.csv", first, second)

    result = score_record(data=path, tuned_on="1")

    forecasts, found, told = result.tables
    assert set(forecasts["batch"]) == {"1", "2"}
    assert set(forecasts["method"]) == {
        "twin",
        "persistence",
        "rolling mean",
        "ridge",
        "ridge by class",
    }
    assert "stop" in found["what"]
    assert len(told) > 0
    assert result.plots[0].y[1].lower is not None
