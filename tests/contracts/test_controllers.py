"""All controllers of galenic pass the public list of checks."""

import pytest

from galenic.decision.check import check_controller, controller_checks
from galenic.decision.goal import Proposal
from galenic.decision.governor import ReferenceGovernor
from galenic.decision.mpc import MPC


def mpc(system, moves, tracked, **options):
    return MPC(
        system,
        dict.fromkeys(moves, 0.5),
        dict.fromkeys(tracked, 1.0),
        grid=(5.0,) * 20,
        control_horizon=10,
        **options,
    )


def governed(system, moves, tracked, **options):
    return ReferenceGovernor(mpc(system, moves, tracked, **options), {"shown": (-100.0, 100.0)})


CONTROLLERS = {"MPC": mpc, "governed MPC": governed}
CASES = [
    pytest.param(check, id=f"{name}-{title}")
    for name, factory in CONTROLLERS.items()
    for title, check in controller_checks(factory)
]


@pytest.mark.parametrize("check", CASES)
def test_controller(check):
    check()


class Stuck:
    """A controller that always answers the same."""

    def propose(self, belief, goal, limits):
        return Proposal({"heater": 0.5}, {"heater": [0.5]}, [5.0], {"shown": [0.5]}, reasons=("",))


def test_a_controller_that_does_nothing_is_found_out():
    with pytest.raises(AssertionError):
        check_controller(lambda system, moves, tracked, **options: Stuck())
