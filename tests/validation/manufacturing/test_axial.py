"""The axial blender against the closed-form moments of its residence time."""

from __future__ import annotations

import numpy as np
import pytest

from galenic import Experiment, Simulator
from galenic.library.powder.axial import AxialBlender
from galenic.library.powder.refill import SelfRefillingFeeder
from galenic.library.powder.residence import dispersion_variance


def test_mean_and_variance_of_the_residence_time():
    """Mean M/flow + dead time; variance of dispersion (closed-closed) plus that of the chain."""
    blender = AxialBlender()
    step = Experiment().set("inlet.x", 0.2)

    result = Simulator(blender).run(step, until=600, every=0.5, rtol=1e-8)

    t, rest = result.times, 1 - (result["outlet.x"].values - 0.1) / 0.1
    mean = np.trapezoid(rest, t)
    variance = 2 * np.trapezoid(t * rest, t) - mean**2
    tau = 0.33 / 20 * 3600
    assert mean == pytest.approx(tau + 5.0, rel=1e-5)
    assert variance == pytest.approx(tau**2 * dispersion_variance(5.0) + 5.0**2 / 20, rel=1e-3)


def test_a_held_screw_overfeeds_until_the_balance_is_trusted_again():
    """Peak flow over set point is at most the ratio of feed factors, F1's formula."""
    feeder = SelfRefillingFeeder()

    result = feeder.simulate("45 min", every="1 s")

    names = [event.name for event in result.events]
    assert names[:3] == ["start", "full", "settled"]
    started, full, settled = (event.time for event in result.events[:3])
    assert settled - full == pytest.approx(12.0, abs=1e-6)
    ff, W = result["feeder.ff"].values, result["feeder.W"].values
    before, after = np.searchsorted(result.times, [started, full])
    peak = result["feeder.flow"].values[before : after + 12].max() / 10.0
    assert W[after] == pytest.approx(4.5, abs=0.05)
    assert 1.1 < peak <= ff[after] / ff[before] * 1.005
