"""What is done over time, as a value."""

from __future__ import annotations

import json

import pytest
from numpy.testing import assert_allclose

from galenic.engine import Experiment, Simulator
from galenic.errors import ModelError, UnknownName

from .systems import driven, two_compartment


def test_an_experiment_does_not_change():
    base = Experiment()
    longer = base.set("u", 1.0)

    assert base.actions == ()
    assert len(longer.actions) == 1
    assert len(longer.then(longer).actions) == 2


def test_it_survives_json():
    experiment = (
        Experiment()
        .set("V1", "21 L", at="1 h")
        .ramp("infusion", "2 mg/h", start="1 h", stop="2 h")
        .dose("depot", "100 mg", every="12 h", count=3)
    )
    again = Experiment.from_dict(json.loads(json.dumps(experiment.to_dict())))

    assert again == experiment
    simulator = Simulator(two_compartment())
    assert_allclose(
        simulator.run(again, until="30 h")["C"], simulator.run(experiment, until="30 h")["C"]
    )


def test_a_schedule_steps():
    result = Simulator(driven()).run(
        Experiment().schedule("u", [(0, 1.0), ("3 s", 2.0), (5, 0.0)]), times=[0, 2, 3, 4, 5, 6]
    )

    assert_allclose(result["u"], [1, 1, 2, 2, 0, 0])


def test_a_parameter_can_change_in_the_middle():
    """x' = -k x: two halves with two rates."""
    import numpy as np

    result = Simulator(driven()).run(
        Experiment().set("k", 2.0, at=1), values={"x": 1.0}, times=[0, 1, 2], rtol=1e-9
    )

    assert_allclose(result["x"], [1, np.exp(-0.5), np.exp(-2.5)], rtol=1e-7)


def test_a_later_set_wins_and_a_ramp_starts_from_what_is():
    experiment = Experiment().set("u", 1.0).set("u", 2.0).ramp("u", 4.0, 2, 4).set("u", 0.0, at=3)
    result = Simulator(driven()).run(experiment, times=[0, 1, 2, 2.5, 3, 5])

    assert_allclose(result["u"], [2, 2, 2, 2.5, 0, 0])


def test_senseless_actions_are_refused():
    with pytest.raises(ModelError, match="ramp"):
        Experiment().ramp("u", 1.0, 5, 5)
    with pytest.raises(ModelError, match="without an interval"):
        Experiment().dose("depot", "1 mg", count=2)
    with pytest.raises(ModelError, match="negative"):
        Experiment().dose("depot", "1 mg", duration=-1)
    with pytest.raises(UnknownName, match="input"):
        Simulator(driven()).run(Experiment().ramp("x", 1.0, 0, 1), until=2)
