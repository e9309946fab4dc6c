"""Forecasts asked by hand: made in a worker process, equal to those made beside the twin."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from galenic.clock import SECOND
from galenic.errors import SolveError, UnknownName
from galenic.signals import Action, Compute, Sample, Tick
from galenic.stages.clinical.twin import patient
from galenic.stages.manufacturing.twin import tablet_line
from galenic.twin import example, look
from galenic.twin.acting import arguments_of
from galenic.twin.computing import Comparison, Computing
from galenic.twin.example import TankPlant, tank, watched_tank
from galenic.twin.level import Level
from galenic.twin.run import Cancelled, Run
from galenic.twin.twin import Twin
from galenic.twin.workers import InlineWorkers, Outcome, ProcessWorkers

T0 = 1_800_000_000 * SECOND


@pytest.fixture(scope="module")
def computing():
    """One warm process for all tests."""
    made = Computing(ProcessWorkers())
    yield made
    made._forecasts.close()


def a_tank(definition=None, values=None) -> Twin:
    twin = Twin(definition or watched_tank(), "tank-1", values, start=T0, level=Level.SHADOW)
    for sample in TankPlant(T0).advance(T0 + 30 * SECOND):
        twin.accept(sample)
    twin.accept(Tick(T0 + 31 * SECOND))
    return twin


def a_line() -> Twin:
    twin = Twin(tablet_line(), "line-1", start=T0, level=Level.SHADOW)
    time = T0 + SECOND
    for tag, value in (("Press.MainForce", 7.4), ("Press.TurretSpeed", 66.0)):
        twin.accept(Sample(tag, value, twin.channels[tag].binding.unit, time, time))
    twin.accept(Tick(time + SECOND))
    return twin


def a_patient() -> Twin:
    twin = Twin(patient(), "bed-7", {"CLcr": 34 / 6e7, "weight": 62}, start=T0, level=Level.SHADOW)
    twin.accept(Action("dose", 1900, "mg", T0, T0, "dose", 3600.0))
    twin.accept(Tick(T0 + 7200 * SECOND))
    return twin


CASES = {
    "tank": (a_tank, {"Tank.Feed": 3.0}, 120.0, 5.0),
    "another tank": (lambda: a_tank(values={"x0": 4.0}), {"u0": 3.0}, 120.0, 5.0),
    "tablet line": (a_line, {"FeederAPI.Setpoint": "2.1 kg/h"}, 60.0, 15.0),
    "patient": (a_patient, {"dose": "100 mg/h"}, 12 * 3600.0, 1800.0),
}


def assert_same(made, expected) -> None:
    """Equal to the last bit, in every field."""
    for field in fields(expected):
        ours, theirs = getattr(made, field.name), getattr(expected, field.name)
        assert np.array_equal(ours, theirs), field.name


@pytest.mark.parametrize("case", CASES)
def test_a_what_if_of_a_worker_is_that_of_the_twin_bit_for_bit(computing, case):
    make, changes, horizon, every = CASES[case]
    twin = make()
    before = twin.belief.identity

    both = Comparison.of(twin, changes, horizon=horizon, every=every)
    made = computing.compare(both, Run())

    expected = look.what_if(twin, changes, horizon, every)
    assert_same(made.running, expected.running)
    assert_same(made.alternative, expected.alternative)
    assert made.to_dict() == expected.to_dict()
    assert not np.array_equal(made.running.mean, made.alternative.mean)
    assert twin.belief.identity == before


def test_a_definition_that_cannot_go_to_a_process_is_forecast_beside_the_fold(computing):
    """Such as one whose estimator is made by a function of a user's own file."""
    twin = a_tank(replace(watched_tank(), estimator=lambda *of: example.estimator(*of)))

    made = computing.ask(look.forecast_task(twin), Run())

    assert_same(made, look.forecast(twin))


def test_what_is_asked_wrongly_comes_back_as_the_error_that_it_is(computing):
    twin = a_tank()

    with pytest.raises(UnknownName, match="'y9'") as caught:
        computing.ask(look.forecast_task(twin, outputs=["y9"]), Run())
    with pytest.raises(UnknownName, match=r"Tank\.Fed"):
        Comparison.of(twin, {"Tank.Fed": 1.0})

    assert "y0" in caught.value.hint


def test_the_alternative_begins_after_half_of_the_work():
    told = []
    run = Run(report=lambda fraction, text: told.append((fraction, text)))

    Computing(InlineWorkers()).compare(Comparison.of(a_tank(), {"u0": 3.0}), run)

    assert told == [(0.0, "as it is"), (0.5, "with the changes")]


def test_a_forecast_that_a_worker_cannot_finish_says_so():
    class Slow:
        def run(self, compute, stopped=None):
            return Outcome(None, "no result within the deadline of 120 s")

    with pytest.raises(SolveError, match="within the deadline") as caught:
        Computing(Slow()).ask(look.forecast_task(a_tank()), Run())

    assert "shorter horizon" in caught.value.hint


def test_a_run_for_which_nobody_waits_is_ended_and_the_next_one_works():
    twin, workers = Twin(tank(), "tank-1", start=T0), ProcessWorkers()
    proposing = tank().controller.function

    def task(wait):
        arguments = {**arguments_of(twin), "options": {"wait": wait}}
        return Compute("t", proposing, arguments, T0, 600.0)

    try:
        workers.run(task(300.0))  # only its later runs are slow
        asked = iter([False])  # a worker is free and begins; then nobody waits
        with pytest.raises(Cancelled):
            workers.run(task(300.0), lambda: next(asked, True))
        process = workers._idle.queue[0]
        after = workers.run(task(0.0), lambda: False)
    finally:
        workers.close()

    assert process is None
    assert after.error == ""
