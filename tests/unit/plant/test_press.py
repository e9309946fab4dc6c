"""The press of the virtual plant: filling, force balance, hardness."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from galenic.stages.manufacturing.plant.parameters import API, EXCIPIENT, PressParameters
from galenic.stages.manufacturing.plant.powder import join, parcel_of
from galenic.stages.manufacturing.plant.press import Press, Settings

BLEND = join(parcel_of(API, 0.1), parcel_of(EXCIPIENT, 0.9))
P = PressParameters()
SETTINGS = Settings(P.turret_speed, 40 / 60, 9.4e-3, 3.8e-3, 5.0e-3)


@pytest.mark.parametrize("gap", [3.5e-3, 3.8e-3, 4.1e-3])
def test_force_is_that_of_the_pressure_at_the_gap_it_opens(gap):
    force = Press(P).force(250e-6, 1.0, gap, 100.0)

    density = 250e-6 / (P.true_density * P.area * (gap + force / P.stiffness))
    pressure = P.yield_pressure * math.log((1 - P.rearranged) / (1 - density)) ** P.exponent
    assert force == pytest.approx(pressure * P.area, rel=1e-5)


def test_one_percent_more_weight_makes_about_five_percent_more_force():
    light = Press(P).compress(BLEND, 250e-6, SETTINGS, 0.0)
    heavy = Press(P).compress(BLEND, 252.5e-6, SETTINGS, 0.0)

    assert heavy.main_force / light.main_force == pytest.approx(1.05, abs=0.01)


def test_a_faster_turret_fills_less_and_faster_paddles_fill_more():
    press = Press(P)
    usual = press.weight(BLEND, SETTINGS, 1.0)

    assert press.weight(BLEND, replace(SETTINGS, turret=1.3 * P.turret_speed), 1.0) < usual
    assert press.weight(BLEND, replace(SETTINGS, paddle=60 / 60), 1.0) > usual


def test_weight_is_proportional_to_fill_depth():
    press = Press(P)

    deeper = press.weight(BLEND, replace(SETTINGS, fill_depth=1.1 * SETTINGS.fill_depth), 1.0)

    assert deeper == pytest.approx(1.1 * press.weight(BLEND, SETTINGS, 1.0), rel=1e-12)


def test_hardness_is_the_breaking_force_of_a_flat_tablet():
    """Diametral test: strength = 2 F/(pi D t)."""
    made = Press(P).compress(BLEND, 250e-6, SETTINGS, 0.0)

    strength = 2 * made.hardness / (math.pi * P.diameter * made.thickness)
    assert strength == pytest.approx(made.strength, rel=1e-12)


def test_a_tablet_too_light_to_touch_the_punches_feels_no_force():
    assert Press(P).force(50e-6, 1.0, 3.8e-3, 5000.0) == 0.0
