"""Forecasts while a controller acts: against the same loop stepped by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from galenic.clock import SECOND
from galenic.decision.goal import Goal, Proposal
from galenic.inference.estimator import Schedule
from galenic.twin import foresight
from galenic.twin.example import A, B, tank
from galenic.twin.foresight import Feedback, Question

T0 = 1_800_000_000 * SECOND
AIM, GAIN, PLAN = 2.0, 0.8, 20.0


class Planner:
    """Holds one feed for a plan of 20 s; counts how often it is asked, and may give up."""

    def __init__(self, fails: bool = False) -> None:
        self.asked: list[Goal] = []
        self.limits: list[dict] = []
        self.forgot = 0
        self.fails = fails

    def forget(self) -> None:
        self.forgot += 1

    def propose(self, belief, goal, limits):
        self.asked.append(goal)
        self.limits.append(limits)
        feed = AIM + GAIN * (AIM - belief.mean("x1"))
        status = "fallback" if self.fails else "solved"
        return Proposal({"u0": feed}, {"u0": [feed, feed]}, [PLAN / 2, PLAN], {}, status=status)


@pytest.fixture
def estimator():
    definition = tank()
    return definition.make_estimator(definition.system({}))


def question(feed, feedback, until=100.0):
    rows = ((T0, {"u0": feed}),)
    return Question(
        T0 + round(until * SECOND), 10.0, Schedule(rows), ("x0", "x1"), ("tank", "forecast", T0),
        feedback,
    )  # fmt: skip


def feedback(feed, **options):
    plan = {"plan": {"u0": [feed, feed]}, "times": [PLAN / 2, PLAN]}
    limits = {"u0": (0.0, 10.0, 0.0)}
    return Feedback(T0, plan, {"y0": AIM}, {"u0": feed}, limits, **options)


def test_the_controller_answers_along_the_way(estimator):
    belief, planner = estimator.start(None, T0), Planner()

    found = foresight.forecast(estimator, belief, question(0.0, feedback(0.0)), planner)

    x, feed, states = np.array([belief.mean("x0"), belief.mean("x1")]), 0.0, []
    step = expm(np.block([[np.array(A), np.array(B)], [np.zeros((1, 3))]]) * 10.0)
    for k in range(11):
        if k > 0:  # asked halfway through each plan, that is every 10 s
            feed = AIM + GAIN * (AIM - x[1])
        states.append(x)
        x = (step @ [*x, feed])[:2]
    np.testing.assert_allclose(found.mean, states, rtol=1e-9, atol=1e-12)
    assert len(planner.asked) == 9
    assert planner.forgot == 1


def test_without_feedback_the_plan_just_holds(estimator):
    belief, planner = estimator.start(None, T0), Planner()
    asked = question(1.0, None)

    found = foresight.forecast(estimator, belief, asked, planner)

    held = estimator.forecast(belief, asked.until, 10.0, asked.schedule, ("x0", "x1"))
    np.testing.assert_array_equal(found.mean, held.mean)
    assert not planner.asked


def test_an_input_that_somebody_holds_is_not_moved(estimator):
    belief, planner = estimator.start(None, T0), Planner()

    found = foresight.forecast(
        estimator, belief, question(0.5, feedback(0.5, held={"u0": 0.5})), planner
    )

    held = estimator.forecast(belief, found.times[-1], 10.0, {"u0": 0.5}, ("x0", "x1"))
    np.testing.assert_allclose(found.mean, held.mean, rtol=1e-12)
    assert planner.limits[0]["u0"] == (0.5, 0.5, 0.0)


def test_a_controller_that_gives_up_leaves_the_last_plan(estimator):
    belief, planner = estimator.start(None, T0), Planner(fails=True)

    found = foresight.forecast(estimator, belief, question(1.0, feedback(1.0)), planner)

    held = estimator.forecast(belief, found.times[-1], 10.0, {"u0": 1.0}, ("x0", "x1"))
    np.testing.assert_allclose(found.mean, held.mean, rtol=1e-12)
    assert len(planner.asked) == 1


def test_known_changes_are_foretold_again_from_there(estimator):
    """A warning that depends on the belief is taken anew at each decision, not kept from now."""
    belief, planner, warned = estimator.start(None, T0), Planner(), []

    def forewarning(there, goal):
        warned.append(goal.time)
        return [(5.0, {"u0": 0.0})]

    foresight.forecast(
        estimator, belief, question(0.0, feedback(0.0, forewarning=forewarning)), planner
    )

    assert warned == [goal.time for goal in planner.asked]
