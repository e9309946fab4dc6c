"""Time of one step of predictive control of the tablet line, beside do-mpc on the same model.

36 states, 5 inputs to move, a horizon of 20 steps of 10 s, two Radau points per step, soft limits
on the hopper level. Contents and feed factors of the line are pushed about between runs, each plan
started from the one before. do-mpc gets the same equations, weights, limits and IPOPT with MUMPS;
its plan has a free move in every step, ours in the first ten. Promise: median below 100 ms.
"""

# ruff: noqa: E402
from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

for library in ("OMP", "OPENBLAS"):  # threads only cost time at this size
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import casadi as ca
import numpy as np

from galenic.decision.goal import Goal
from galenic.decision.mpc import MPC, _entry
from galenic.inference.estimator import Noise
from galenic.inference.kalman import EKF
from galenic.stages.manufacturing.control import MOVES, SOFT, TRACKED
from galenic.stages.manufacturing.twin import tablet_line
from galenic.twin.definition import targets_si

STEP, COUNT = 10.0, 20


def disturbed(system: Any, count: int) -> np.ndarray[Any, Any]:
    """States whose feed factors and contents are off by a few percent, a new way each time."""
    rng = np.random.default_rng(1)
    start = EKF(system, Noise()).start(None, 0).centre
    names = [entry.path for entry in system.states]
    loose = np.array([0.02 if ".x[" in n or ".ff" in n or n.endswith(".W") else 0.0 for n in names])
    return start * (1.0 + loose * rng.normal(size=(count, len(start))).cumsum(axis=0) / 3)


def ours(count: int) -> tuple[list[float], list[float]]:
    """Times [ms] and first moves of the active's feeder."""
    definition = tablet_line()
    system = definition.system()
    mpc = MPC(system, MOVES, TRACKED, soft=SOFT, grid=(STEP,) * COUNT, control_horizon=10,
              deadline=60.0)  # fmt: skip
    targets = targets_si(definition.targets, system)
    inputs = {entry.path: float(entry.value) for entry in system.inputs}
    belief = EKF(system, Noise()).start(None, 0)
    moves = []

    def step(x: np.ndarray[Any, Any]) -> None:
        proposal = mpc.propose(replace(belief, centre=x), Goal(0, targets, inputs), {})
        moves.append(proposal.inputs["api.setpoint"])

    return timed(step, disturbed(system, count)), moves


def theirs(count: int) -> tuple[list[float], list[float]]:
    """The same with do-mpc."""
    from do_mpc.controller import MPC as Peer
    from do_mpc.model import Model as PeerModel

    definition = tablet_line()
    system = definition.system()
    targets = targets_si(definition.targets, system)
    moved = [i for i, e in enumerate(system.inputs) if e.path in MOVES]
    model = PeerModel("continuous", "SX")
    x = ca.vertcat(*(model.set_variable("_x", f"x{i}") for i in range(system.x.numel())))
    u = ca.SX([e.value for e in system.inputs])
    for i in moved:
        u[i] = model.set_variable("_u", f"u{i}")
    p = ca.DM([e.value for e in system.parameters])
    rhs, y = ca.substitute([system.ode, system.y], [system.x, system.u, system.p], [x, u, p])
    scaled, level = _cost(system, x, y, targets)
    model.set_expression("cost", scaled)
    model.set_expression("level", level)
    for i in range(system.x.numel()):
        model.set_rhs(f"x{i}", rhs[i])
    model.setup()
    peer = Peer(model)
    peer.set_param(n_horizon=COUNT, t_step=STEP, collocation_deg=2, collocation_ni=1,
                   store_full_solution=False, open_loop=False)  # fmt: skip
    peer.settings.supress_ipopt_output()
    peer.set_param(nlpsol_opts={"ipopt.print_level": 0, "print_time": 0, "ipopt.sb": "yes",
                                "ipopt.tol": 1e-5, "ipopt.linear_solver": "mumps"})  # fmt: skip
    for i, entry in enumerate(system.states):
        peer.scaling["_x", f"x{i}"] = entry.nominal or 1.0
    for i in moved:
        nominal = system.inputs[i].nominal or 1.0
        peer.scaling["_u", f"u{i}"] = nominal
        peer.set_rterm(**{f"u{i}": MOVES[system.inputs[i].path] / nominal**2})
    cost, level_of = model.aux["cost"], model.aux["level"]
    peer.set_objective(mterm=cost, lterm=cost)
    peer.set_nl_cons("high", level_of - 0.65 / 0.4, ub=0.0, soft_constraint=True,
                     penalty_term_cons=10.0)  # fmt: skip
    peer.set_nl_cons("low", 0.2 / 0.4 - level_of, ub=0.0, soft_constraint=True,
                     penalty_term_cons=10.0)  # fmt: skip
    peer.setup()
    start = disturbed(system, count)
    peer.x0 = start[0].reshape(-1, 1)
    peer.u0 = np.array([[system.inputs[i].value] for i in moved])
    peer.set_initial_guess()
    moves = []

    def step(x: np.ndarray[Any, Any]) -> None:
        peer.u0 = np.array([[system.inputs[i].value] for i in moved])
        moves.append(float(peer.make_step(x.reshape(-1, 1))[0, 0]))

    return timed(step, start), moves


def _cost(system: Any, x: Any, y: Any, targets: dict[str, float]) -> tuple[Any, Any]:
    """The tracking cost of the line controller, and the scaled hopper level."""
    cost, level = ca.SX(0), ca.SX(0)
    for path, weight in TRACKED.items():
        kind, row = system.index(path)
        value = y[row] if kind == "output" else x[row]
        scale = _entry(system, path).nominal or 1.0
        cost += weight * ((value - targets[path]) / scale) ** 2
        level = value / scale if path == "hopper.M" else level
    return cost, level


def timed(step: Callable[[Any], None], states: np.ndarray[Any, Any]) -> list[float]:
    """Milliseconds of each step but the first, which compiles."""
    found = []
    for x in states:
        begin = time.perf_counter()
        step(x)
        found.append(1e3 * (time.perf_counter() - begin))
    return found[1:]


def main(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Figures for the table of all benchmarks."""
    count = 8 if quick else 40
    walls, moves = ours(count)
    figures: dict[str, dict[str, Any]] = {
        "MPC, 20 steps, median": {"value": round(float(np.median(walls)), 1), "unit": "ms",
                                  "limit": 100.0},
        "MPC, slowest": {"value": round(max(walls), 1), "unit": "ms"},
    }  # fmt: skip
    try:
        peer, peer_moves = theirs(count)
    except ImportError:
        return figures
    apart = np.abs(np.array(moves) / np.array(peer_moves) - 1.0)
    figures["do-mpc, the same, median"] = {"value": round(float(np.median(peer)), 1), "unit": "ms"}
    figures["first moves differ by at most"] = {
        "value": round(100 * float(apart.max()), 3), "unit": "%"
    }  # fmt: skip
    return figures


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
