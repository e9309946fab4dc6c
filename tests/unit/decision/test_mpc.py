"""Predictive control against dense programs, Riccati equations and SLSQP."""

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from scipy.linalg import expm, solve_discrete_are
from scipy.optimize import minimize

from galenic.decision.check import Bath, Switching
from galenic.decision.goal import Goal, Proposal, on_grid
from galenic.decision.mpc import MPC, Soft
from galenic.decision.transcribe import Collocation, Grid, refuse_events
from galenic.errors import DataError, StructureError, UnknownName
from galenic.inference.estimator import Noise
from galenic.inference.kalman import EKF

TAU, STEP, COUNT = 20.0, 5.0, 24
A = np.array([[-1 / TAU, 0.0], [1 / TAU, -1 / TAU]])
B = np.array([1 / TAU, 0.0])
PRICE = 0.3


def discrete(step=STEP):
    """Exact one-step map of the bath for a held input."""
    both = expm(np.block([[A, B[:, None]], [np.zeros((1, 3))]]) * step)
    return both[:2, :2], both[:2, 2]


def dense(start, count=COUNT):
    """shown = free + forced u over ``count`` steps, from powers of the exact map."""
    f, g = discrete()
    free, forced = np.zeros(count), np.zeros((count, count))
    x, columns = np.array(start, dtype=float), np.zeros((2, count))
    for k in range(count):
        x, columns = f @ x, f @ columns
        columns[:, k] = g
        free[k], forced[k] = x[1], columns[1]
    return free, forced


def differences(count=COUNT):
    return np.eye(count) - np.eye(count, k=-1)


def least_squares(start, before, target, count=COUNT):
    """The plan that minimises errors and priced moves without limits, by normal equations."""
    free, forced = dense(start, count)
    d, first = differences(count), np.eye(count)[0] * before
    left = forced.T @ forced + PRICE * d.T @ d
    return np.linalg.solve(left, forced.T @ (target - free) + PRICE * d.T @ first)


@pytest.fixture(scope="module")
def system():
    return Bath().flatten()


@pytest.fixture(scope="module")
def mpc(system):
    return MPC(
        system, {"heater": PRICE}, {"shown": 1.0}, grid=(STEP,) * COUNT, degree=4, deadline=60.0
    )


def belief(system, wall=0.5, core=0.5):
    start = EKF(system, Noise()).start(None, 0)
    return replace(start, centre=np.array([wall, core]))


def ask(mpc, system, target=1.0, before=0.5, limits=None, schedule=(), **means):
    goal = Goal(0, {"shown": target}, {"heater": before}, schedule)
    return mpc.propose(belief(system, **means), goal, limits or {})


@pytest.mark.parametrize(("wall", "core", "target"), [(0.5, 0.5, 1.0), (0.9, 0.2, -0.4)])
def test_without_limits_the_plan_is_that_of_the_normal_equations(mpc, system, wall, core, target):
    proposal = ask(mpc, system, target, wall=wall, core=core)

    wanted = least_squares([wall, core], 0.5, target)
    assert proposal.status == "solved"
    assert proposal.plan["heater"] == pytest.approx(wanted, abs=2e-4)


def test_a_long_horizon_makes_the_first_move_of_the_riccati_equation(system):
    """Infinite-horizon LQR of (x, u) with the move as its input."""
    long = MPC(system, {"heater": PRICE}, {"shown": 1.0}, grid=(STEP,) * 80, degree=3,
               deadline=60.0)  # fmt: skip
    f, g = discrete()
    big = np.block([[f, g[:, None]], [np.zeros((1, 2)), np.ones((1, 1))]])
    push = np.append(g, 1.0)[:, None]
    # The cost counts what is shown after the move: y+ = c (big s + push move).
    c = np.array([[0.0, 1.0, 0.0]])
    q, r = big.T @ c.T @ c @ big, PRICE + (c @ push) ** 2
    cross = big.T @ c.T @ c @ push
    p = solve_discrete_are(big, push, q, r, s=cross)
    gain = np.linalg.solve(r + push.T @ p @ push, push.T @ p @ big + cross.T)
    wall, core, before, target = 0.8, 0.3, 0.5, 1.0

    move = ask(long, system, target, before, wall=wall, core=core).inputs["heater"] - before

    away = np.array([wall - target, core - target, before - target])
    assert move == pytest.approx(float(-(gain @ away)[0]), abs=2e-4)


def test_with_limits_and_rates_the_plan_is_that_of_slsqp(mpc, system):
    low, high, rate = 0.3, 1.05, 0.04
    free, forced = dense([0.5, 0.5])

    def cost(u):
        moves = np.diff(u, prepend=0.5)
        return float(np.sum((free + forced @ u - 1.0) ** 2) + PRICE * np.sum(moves**2))

    def room(u):
        moves = np.diff(u, prepend=0.5)
        return np.concatenate([rate * STEP - moves, rate * STEP + moves])

    best = minimize(
        cost, np.full(COUNT, 0.6), method="SLSQP", bounds=[(low, high)] * COUNT,
        constraints={"type": "ineq", "fun": room}, options={"maxiter": 500, "ftol": 1e-12},
    )  # fmt: skip

    proposal = ask(mpc, system, limits={"heater": (low, high, rate)})

    plan = np.array(proposal.plan["heater"])
    assert best.success
    assert cost(plan) <= best.fun * (1 + 1e-4)
    assert plan == pytest.approx(best.x, abs=3e-3)
    assert max(plan) <= high
    assert max(abs(np.diff(plan, prepend=0.5))) <= rate * STEP + 1e-6


def test_the_forecast_is_what_the_exact_bath_does_under_the_plan(mpc, system):
    proposal = ask(mpc, system, 1.4, wall=0.7, core=0.1)

    free, forced = dense([0.7, 0.1])
    expected = free + forced @ np.array(proposal.plan["heater"])
    assert proposal.forecast["shown"] == pytest.approx(expected, abs=1e-6)


def test_soft_limits_bend_where_they_must(system):
    """Started above its limit, the plan comes back and says by how much it is broken."""
    soft = MPC(system, {"heater": 0.01}, {"shown": 1.0}, soft={"core": Soft(upper=1.0)},
               grid=(STEP,) * 20, deadline=60.0)  # fmt: skip

    proposal = ask(soft, system, 1.2, limits={"heater": (0.0, 2.0, 0.05)}, wall=1.0, core=1.3)

    assert 0.1 < proposal.slack["core"] < 0.3
    assert proposal.forecast["core"][-1] < 1.02
    assert any("soft limit" in reason for reason in proposal.reasons)


def test_a_known_disturbance_is_met_before_it_comes(system):
    """The schedule of another input is in the plan: the heater moves before the load does."""
    two = WithDoor().flatten()
    mpc = MPC(two, {"heater": 0.01}, {"shown": 1.0}, grid=(STEP,) * 20, deadline=60.0)
    goal = Goal(0, {"shown": 0.5}, {"heater": 0.5, "door": 0.0}, [(40.0, {"door": 1.0})])
    start = EKF(two, Noise()).start(None, 0)

    plan = np.array(mpc.propose(start, goal, {}).plan["heater"])
    without = np.array(mpc.propose(start, replace(goal, schedule=()), {}).plan["heater"])

    assert without == pytest.approx(np.full(20, 0.5), abs=1e-3)
    assert plan[6] > without[6] + 0.02
    assert plan[-1] == pytest.approx(0.8, abs=0.1)


class WithDoor(Bath):
    """The bath with a door that cools it when it is open."""

    from galenic import Input

    door = Input(0.0, "1", "1 when open", role="disturbance", lower=0, upper=1)

    def equations(m):
        from galenic import der

        yield der(m.wall) == (m.heater + m.load - 0.3 * m.door - m.wall) / m.tau
        yield der(m.core) == (m.wall - m.core) / m.tau
        yield m.shown == m.core


def test_without_an_answer_the_old_plan_goes_on(mpc, system):
    goal = Goal(0, {"shown": 1.0}, {"heater": 0.5},
                previous={"plan": {"heater": [0.5, 0.55, 0.6]}})  # fmt: skip

    proposal = mpc.propose(belief(system, wall=float("nan")), goal, {})

    assert proposal.status == "fallback"
    assert proposal.plan["heater"] == [0.55, 0.6, 0.6]


def test_state_events_are_refused_by_name():
    with pytest.raises(StructureError, match="overheated"):
        refuse_events(Switching().flatten())

    refuse_events(Switching().flatten(), allowed=["overheated"])


def test_unknown_moves_and_missing_targets_are_named(system, mpc):
    with pytest.raises(UnknownName, match="heater"):
        MPC(system, {"heatr": 1.0}, {"shown": 1.0})
    with pytest.raises(DataError, match="shown"):
        mpc.propose(belief(system), Goal(0, {}, {"heater": 0.5}), {})


def test_collocation_has_the_order_of_radau():
    """Error of one step of x' = -x falls with h^(2 d) for d points (order 2 d - 1)."""
    system = Bath().flatten()
    errors = []
    for h in (10.0, 5.0):
        step = Collocation(system, 2).step
        w = ca.SX.sym("w", 4)
        residual, _, _ = step([1.0, 0.0], w, [0.0], [0.0, TAU], 0.0, h)
        solve = ca.rootfinder("s", "newton", {"x": w, "g": residual})
        wall = float(solve(x0=[1.0] * 4)["x"][2])
        errors.append(abs(wall - np.exp(-h / TAU)))
    assert errors[0] / errors[1] == pytest.approx(16.0, rel=0.3)


def test_a_grid_counts_and_ends():
    grid = Grid((5.0, 10.0, 20.0))

    assert grid.count == 3
    assert grid.ends.tolist() == [5.0, 15.0, 35.0]


def test_inputs_on_a_grid_are_time_averages():
    schedule = [(4.0, {"flag": 1.0}), (12.0, {"flag": 0.0}), (-3.0, {"flag": 0.5})]

    means = on_grid(schedule, "flag", 0.0, [5.0, 10.0, 20.0])

    assert means.tolist() == pytest.approx([(4 * 0.5 + 1) / 5, 1.0, 0.2])
    with pytest.raises(DataError, match="finite"):
        on_grid([(float("nan"), {"flag": 1.0})], "flag", 0.0, [5.0])


def test_a_proposal_becomes_plain_values():
    proposal = Proposal({"u": 0.001}, {"u": [0.001]}, [5.0], {}, {"u": "mm"})

    assert proposal.to_dict()["display"] == {"u": [pytest.approx(1.0), "mm"]}
