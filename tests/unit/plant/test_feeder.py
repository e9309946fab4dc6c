"""The feeder of the virtual plant against formulas, without noise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from galenic.stages.manufacturing.plant.feeder import Feeder, Mode
from galenic.stages.manufacturing.plant.noise import Normals
from galenic.stages.manufacturing.plant.parameters import API, LineParameters

DT = 0.2


def quiet_feeder(setpoint: float = 20 / 3600, **values: float) -> Feeder:
    parameters = replace(LineParameters().quiet().api, **values)
    return Feeder(parameters, API, setpoint, DT, Normals(1, 1))


def test_holding_the_speed_over_a_refill_overfeeds_by_the_ratio_of_the_feed_factors():
    """Check F1 of the reference: ff 0.030 to 0.040 kg/rev, beta 0.8 1/kg, 0.5 kg to 5 kg."""
    feeder = quiet_feeder(
        ff_max=0.040, ff_min=0.030, beta=0.8, low=0.5, high=5.0, start=0.5, impact=0.0,
        refill_rate=1.0,
    )  # fmt: skip
    setpoint = 20 / 3600
    before = feeder.feed_factor()
    peak = 0.0

    for _ in range(200):
        feeder.step(setpoint, True)
        if feeder.tank.held[0] <= 5.0:
            peak = max(peak, feeder.flow)

    assert before == pytest.approx(0.0332967995, abs=5e-11)
    assert peak / setpoint - 1.0 == pytest.approx(0.19582, abs=2e-4)


def test_a_new_set_point_during_a_refill_scales_the_held_speed():
    feeder = quiet_feeder(setpoint=2 / 3600)
    feeder.refill()
    for _ in range(20):
        feeder.step(2 / 3600, True)
    held = feeder.speed

    for _ in range(20):
        feeder.step(1.8 / 3600, True)

    assert feeder.is_volumetric
    assert feeder.speed == pytest.approx(0.9 * held, rel=0.01)


def test_the_gravimetric_controller_holds_the_set_point():
    feeder = quiet_feeder(setpoint=2 / 3600)

    for _ in range(1200):
        feeder.step(2 / 3600, True)

    # A PI controller lags behind a ramp: the feed factor falls with the weight.
    assert feeder.mode is Mode.GRAVIMETRIC
    assert feeder.flow == pytest.approx(2 / 3600, rel=0.006)
    assert feeder.learned == pytest.approx(feeder.feed_factor(), rel=0.02)


def test_a_refill_is_followed_by_settling_and_then_by_the_balance():
    feeder = quiet_feeder(setpoint=2 / 3600, start=0.401)
    seen = []

    for _ in range(400):
        feeder.step(2 / 3600, True)
        if not seen or seen[-1] is not feeder.mode:
            seen.append(feeder.mode)

    assert seen == [Mode.GRAVIMETRIC, Mode.REFILL, Mode.SETTLE, Mode.GRAVIMETRIC]


def test_a_stopped_feeder_gives_nothing_and_starts_where_it_was():
    feeder = quiet_feeder(setpoint=2 / 3600)
    for _ in range(100):
        feeder.step(2 / 3600, True)
    for _ in range(100):
        feeder.step(2 / 3600, False)
    stopped = feeder.flow

    for _ in range(50):
        feeder.step(2 / 3600, True)

    assert stopped < 1e-9
    assert feeder.flow == pytest.approx(2 / 3600, rel=0.02)
