"""The model against its closed form, and the filter against plain small steps."""

import numpy as np
import pytest

from galenic.clock import SECOND
from galenic.engine import Simulator
from galenic.inference.evidence import Bundle, Observation
from galenic.library.tablet.press_record import ForceHeldPress
from galenic.stages.manufacturing.press_record.definition import press_record
from galenic.stages.manufacturing.press_record.filter import Move
from galenic.stages.manufacturing.press_record.pursuit import HORIZONS, ahead, begin, take
from galenic.stages.manufacturing.press_record.rows import STEADY

from .synthetic import NOISE, SET, STIFFNESS, force

RUNS = {"main_gap": 1e-3, "pre_gap": 1.5e-3, "speed": 120_000 / 3600}
STANDS = {**RUNS, "speed": 0.0}


@pytest.fixture
def filter_():
    definition = press_record()
    return definition.make_estimator(definition.system())


def test_the_loop_brings_the_force_to_its_set_point():
    """After many time constants the force is the set one, at the depth that Kawakita gives."""
    values = {"stiffness": "0.8 kN", "set_force": "5.5 kN", "speed": "120000 tablet/h"}

    end = Simulator(ForceHeldPress()).run(None, values=values, until="10 min").at("10 min")

    depth = 1.0 / (1 - 0.92 * 5.5 / (0.8 + 5.5))
    assert end["fill_depth"] == pytest.approx(depth, rel=1e-5)
    assert end["main_force"] == pytest.approx(5.5, rel=1e-5)
    assert force(depth, 1.0, 0.8) == pytest.approx(5.5)


def test_a_press_that_stands_moves_nothing_and_a_wide_gap_touches_nothing():
    run = Simulator(ForceHeldPress()).run(None, until="10 min")

    assert run.at("10 min")["fill_depth"] == pytest.approx(4.45)
    assert run.at("10 min")["pre_force"] == 0.0


@pytest.mark.parametrize("count", [1, 2, 7, 360])
def test_doubling_equals_one_step_after_the_other(count):
    rng = np.random.default_rng(count)
    slope = np.eye(3) + 0.01 * rng.standard_normal((3, 3))
    step = Move(slope, rng.standard_normal(3), np.diag([1.0, 2.0, 3.0]))

    w, cov = np.ones(3), np.eye(3)
    for _ in range(count):
        w, cov = slope @ w + step.shift, slope @ cov @ slope.T + step.noise

    long = step.times(count)
    assert long.slope @ np.ones(3) + long.shift == pytest.approx(w, rel=1e-9)
    assert long.slope @ long.slope.T + long.noise == pytest.approx(cov, rel=1e-9)


def test_a_long_prediction_equals_many_short_ones(filter_):
    short = long = filter_.predict(filter_.start(None, 0), 10 * SECOND, RUNS)
    for k in range(2, 91):
        short = filter_.predict(short, 10 * k * SECOND, RUNS)
    long = filter_.predict(long, 900 * SECOND, RUNS)

    assert long.centre == pytest.approx(short.centre, rel=1e-9)
    assert long.spread == pytest.approx(short.spread, rel=1e-6, abs=1e-15)


def forces(time):
    return Bundle(time, (Observation("main_force", 5400.0, 50.0, resolution=100.0, key="m"),))


def test_forces_of_a_standing_press_say_nothing(filter_):
    belief = filter_.predict(filter_.start(None, 0), 10 * SECOND, STANDS)

    after = filter_.correct(belief, forces(10 * SECOND))

    assert after.innovations == ()
    assert np.array_equal(after.centre, belief.centre)


def test_a_restart_opens_what_may_have_changed(filter_):
    known = filter_.predict(filter_.start(None, 0), SECOND, RUNS)
    for k in range(2, 60):
        known = filter_.correct(filter_.predict(known, k * SECOND, RUNS), forces(k * SECOND))
    stood = filter_.predict(filter_.predict(known, 60 * SECOND, RUNS), 60 * SECOND, STANDS)

    restarted = filter_.predict(stood, 61 * SECOND, RUNS)

    assert stood.sd("set_force") < 0.04 * stood.point("set_force")
    assert restarted.sd("set_force") > 0.06 * restarted.point("set_force")


def test_the_twin_finds_what_the_press_was_made_of(record):
    twin = begin(record)
    for samples in record[:480]:
        take(twin, samples)

    belief = twin.belief
    assert abs(belief.point("set_force") - 1000 * SET) < 4 * belief.sd("set_force") + 15
    # 480 steps of 0.4 % each take the stiffness some 9 % away from where it began.
    assert belief.point("stiffness") == pytest.approx(1000 * STIFFNESS, rel=0.25)
    assert belief.point("main_noise") == pytest.approx(1000 * NOISE, rel=0.35)


def test_forecasts_are_those_of_the_twin(record):
    twin = begin(record)
    for samples in record[:200]:
        take(twin, samples)

    mean, sd = ahead(twin, HORIZONS)
    made = twin.forecast(horizon=900.0, every=60.0)

    column = made.column("main_force")
    at = [1, 5, 15]
    assert mean[:, 0] == pytest.approx(made.mean[at, column] / 1000, rel=1e-9)
    noise = np.hypot(twin.belief.point("main_noise"), 100 / np.sqrt(12)) / 1000
    assert sd[:, 0] == pytest.approx(np.hypot(made.sd[at, column] / 1000, noise), rel=1e-6)


def test_intervals_hold_what_they_say(rows, foretold):
    """80 to 97 % of some 600 readings: neighbours share their forecast, so not as exact as 600."""
    for horizon, span in enumerate(HORIZONS):
        at = rows.target(span)
        use = (at >= 0) & (rows.kinds == STEADY) & np.isfinite(foretold.mean[:, horizon, 0])
        error = rows.columns["Press.MainForce"][at[use]] - foretold.mean[use, horizon, 0]
        inside = np.mean(np.abs(error) <= 1.645 * foretold.sd[use, horizon, 0])

        assert use.sum() > 500
        assert 0.80 < inside < 0.97
