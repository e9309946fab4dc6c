"""The reference governor keeps limits where a jump of the target breaks them."""

import numpy as np
import pytest

from galenic.decision.check import LIMITS, Bath
from galenic.decision.goal import Goal
from galenic.decision.governor import ReferenceGovernor
from galenic.decision.mpc import MPC
from galenic.inference.estimator import Noise
from galenic.inference.kalman import EKF

CEILING = {"wall": (-1.0, 1.08)}


@pytest.fixture(scope="module")
def system():
    return Bath().flatten()


@pytest.fixture(scope="module")
def mpc(system):
    """Tracks fast; the wall, which nobody tracks, overshoots on the way."""
    return MPC(system, {"heater": 0.02}, {"shown": 1.0, "wall": 1e-9}, grid=(5.0,) * 20,
               deadline=60.0)  # fmt: skip


def ride(controller, system, steps=60):
    """The walls on the way from 0.5 to 1, under the controller; the model is the bath."""
    observer = EKF(system, Noise())
    belief = observer.start(None, 0)
    heater, plan, walls = 0.5, {"governed": {"shown": 0.5, "wall": 0.5}}, []
    for _ in range(steps):
        goal = Goal(belief.time, {"shown": 1.0, "wall": 1.0}, {"heater": heater}, previous=plan)
        proposal = controller.propose(belief, goal, LIMITS)
        heater, plan = proposal.inputs["heater"], proposal.to_dict()
        belief = observer.predict(belief, belief.time + 5 * 10**9, {"heater": heater})
        walls.append(belief.mean("wall"))
    return np.array(walls), belief.mean("core"), plan


def test_a_jump_breaks_a_limit_that_the_governor_keeps(mpc, system):
    jumped, core, _ = ride(mpc, system)
    governed, reached, plan = ride(ReferenceGovernor(mpc, CEILING, budget=60.0), system)

    assert jumped.max() > 1.12
    assert governed.max() < 1.085
    assert core == pytest.approx(1.0, abs=0.01)
    assert reached == pytest.approx(1.0, abs=0.01)
    assert plan["governed"]["shown"] == pytest.approx(1.0)


def test_it_says_how_far_it_lets_the_target(mpc, system):
    governor = ReferenceGovernor(mpc, CEILING, budget=60.0)
    belief = EKF(system, Noise()).start(None, 0)
    goal = Goal(0, {"shown": 1.0, "wall": 1.0}, {"heater": 0.5},
                previous={"governed": {"shown": 0.5, "wall": 0.5}})  # fmt: skip

    proposal = governor.propose(belief, goal, LIMITS)

    assert 0.5 <= proposal.governed["shown"] < 1.0
    assert "to keep the limits" in proposal.reasons[0]


def test_within_the_limits_it_changes_nothing(mpc, system):
    governor = ReferenceGovernor(mpc, {"wall": (-5.0, 5.0)}, budget=60.0)
    belief = EKF(system, Noise()).start(None, 0)
    goal = Goal(0, {"shown": 1.0, "wall": 1.0}, {"heater": 0.5},
                previous={"governed": {"shown": 0.5, "wall": 0.5}})  # fmt: skip

    assert governor.propose(belief, goal, LIMITS).governed["shown"] == 1.0
