"""The line's controller: refills seen ahead, diversion from the belief, and how it moves."""

from dataclasses import replace

import numpy as np
import pytest

from galenic.decision.goal import Goal, Proposal
from galenic.inference.estimator import Noise
from galenic.inference.kalman import EKF
from galenic.stages.manufacturing.control import LineController, line_controller, refills_ahead
from galenic.stages.manufacturing.twin import tablet_line
from galenic.twin.definition import targets_si

KG_H = 1 / 3600


@pytest.fixture(scope="module")
def system():
    return tablet_line().system()


@pytest.fixture(scope="module")
def start(system):
    return EKF(system, Noise()).start(None, 0)


@pytest.fixture(scope="module")
def goal(system):
    inputs = {entry.path: float(entry.value) for entry in system.inputs}
    return Goal(0, targets_si(tablet_line().targets, system), inputs)


def with_means(belief, **means):
    centre = belief.centre.copy()
    for name, value in means.items():
        centre[belief.position(name)] = value
    return replace(belief, centre=centre)


def test_a_refill_is_due_when_the_mass_has_run_down(start, goal):
    """(0.8 - 0.4) kg at 2 kg/h are 720 s; 0.65 kg at (216 - 2) kg/h and 12 s of settling follow."""
    belief = with_means(start, **{"api.W": 0.8, "excipient.W": 7.0})

    ahead = [(time, values["api.refilling"]) for time, values in refills_ahead(belief, goal)
             if "api.refilling" in values]  # fmt: skip

    assert ahead[0] == (pytest.approx(720.0), 1.0)
    assert ahead[1] == (pytest.approx(720.0 + 0.65 / ((216 - 2) * KG_H) + 12.0), 0.0)


def test_a_refill_that_goes_on_ends_when_full(start, goal):
    """At 5 kg and 0.35 kg/s, 2.5 kg are missing: 7.25 s at 0.345 kg/s, and settling."""
    belief = with_means(start, **{"excipient.W": 5.0})
    going = replace(goal, inputs={**goal.inputs, "excipient.refilling": 1.0})

    ahead = [(time, values["excipient.refilling"]) for time, values in refills_ahead(belief, going)
             if "excipient.refilling" in values]  # fmt: skip

    assert ahead[0] == (pytest.approx(2.5 / 0.345 + 12.0), 0.0)
    assert ahead[1][1] == 1.0
    assert ahead[1][0] == pytest.approx(ahead[0][0] + 4.5 / (18 * KG_H))


class Idle:
    def propose(self, belief, goal, limits):
        return Proposal({}, {}, [], {})


@pytest.mark.parametrize(
    ("content", "sd", "divert"), [(0.1, 6e-4, 0.0), (0.094, 6e-4, 1.0), (0.1048, 6e-4, 0.0),
                                  (0.1056, 6e-4, 1.0)]
)  # fmt: skip
def test_tablets_are_diverted_when_they_are_likely_outside(start, goal, content, sd, divert):
    """Limits 95 to 105 % of 10 %; more likely outside than inside is diverted."""
    belief = with_means(start, **{"feed_frame.x[1]": content})
    spread = belief.spread.copy()
    at = belief.position("feed_frame.x[1]")
    spread[at, at] = sd**2

    proposal = LineController(Idle()).propose(replace(belief, spread=spread), goal, {})

    assert proposal.inputs["diverter.divert"] == divert
    assert bool(proposal.reasons) == bool(divert)


def test_taking_over_a_steady_line_is_no_bump(system, start, goal):
    """On target the first plan leaves every set point within half a percent."""
    proposal = line_controller(system, deadline=60.0).propose(settled(start, goal), goal, {})

    for path, value in proposal.inputs.items():
        if path != "diverter.divert":
            assert value == pytest.approx(goal.inputs[path], rel=5e-3), path


def test_the_excipient_follows_when_the_active_runs_short(system, start, goal):
    """30 % of the active is held back: more active is asked for, less excipient."""
    model = EKF(system, Noise(), augmented=("api.upset",))
    belief = with_means(model.start(None, 0), **{"api.upset": 0.7})

    proposal = line_controller(system, deadline=60.0).propose(belief, goal, limits())

    assert proposal.inputs["api.setpoint"] > 1.1 * goal.inputs["api.setpoint"]
    assert proposal.inputs["excipient.setpoint"] < goal.inputs["excipient.setpoint"]


def test_set_points_fall_before_the_feeder_overfeeds(system, start, goal):
    """While the active's feeder is refilled its set point goes down as its mass goes up."""
    refilling = replace(goal, inputs={**goal.inputs, "api.refilling": 1.0})
    belief = with_means(settled(start, goal), **{"api.W": 0.5})

    proposal = line_controller(system, deadline=60.0).propose(belief, refilling, limits())

    plan = np.array(proposal.plan["api.setpoint"])
    assert plan[:8].min() < 0.975 * goal.inputs["api.setpoint"]


def limits():
    return {"api.setpoint": (1.2 * KG_H, 3 * KG_H, 0.2 * KG_H),
            "excipient.setpoint": (12 * KG_H, 25 * KG_H, 1.5 * KG_H)}  # fmt: skip


def settled(belief, goal):
    """The feeders' own controllers in balance with the feed factors at this mass."""
    means = {}
    for feeder, (top, low, beta) in {
        "api": (0.6e-3, 0.4e-3, 1.5), "excipient": (6e-3, 4.5e-3, 0.4)
    }.items():  # fmt: skip
        ff = top - (top - low) * np.exp(-beta * belief.mean(f"{feeder}.W"))
        means |= {f"{feeder}.{name}": ff for name in ("ff_fast", "ff_seen", "ff_learned")}
        means |= {f"{feeder}.demand": 1 / ff, f"{feeder}.N": goal.inputs[f"{feeder}.setpoint"] / ff}
    return with_means(belief, **means)
