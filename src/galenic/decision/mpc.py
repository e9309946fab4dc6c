"""Nonlinear model-predictive control by direct collocation and an interior-point method.

Minimises tracking errors, moves and broken soft limits over a horizon, subject to the model:

    sum_k  sum_y q_y ((y_k - r)/s_y)^2 + sum_u r_u ((u_k - u_(k-1))/s_u)^2 + soft limits

Offset-free tracking comes from the belief: disturbances and drifting parameters that the estimator
follows enter the model here with their estimated values, so that a constant error is removed
(Pannocchia, Rawlings, AIChE J. 49 (2003) 426-437; general knowledge).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from galenic.decision.goal import Forewarning, Goal, Limits, Proposal, on_grid
from galenic.decision.transcribe import Collocation, Grid, refuse_events
from galenic.errors import DataError, UnknownName
from galenic.modeling.system import System
from galenic.units import from_si, value_in

_FEASIBLE = 1e-4


@dataclass(frozen=True)
class Soft:
    """A limit that may be broken at a price.

    Parameters
    ----------
    lower, upper : number or text, optional
        In the quantity's declared unit where a bare number.
    weight : float
        Price of breaking it by one nominal size, squared and linear.
    """

    lower: Any = None
    upper: Any = None
    weight: float = 1e3


class MPC:
    """Controller that plans moves of some inputs of a System.

    Parameters
    ----------
    system : System
        Without events, or with modes as inputs; see ``refuse_events``.
    moves : mapping input -> float
        Inputs to move, and the price of a move of one nominal size (move suppression).
    tracked : mapping quantity -> float
        Outputs with a target, and the price of an error of one nominal size.
    soft : mapping quantity -> Soft
    grid : sequence of float [s]
        Lengths of the steps; they may grow towards the end of the horizon.
    control_horizon : int, optional
        Steps with a free move; later ones hold. The whole horizon by default.
    degree : int
        Radau points per step.
    forewarning : callable (belief, goal) -> schedule, optional
        Known changes of inputs ahead, such as the next refill; added to the goal's own schedule.
    deadline : float [s]
        After this the best feasible iterate counts, or the shifted previous plan.

    Raises
    ------
    StructureError
        Where the system has events that a smooth program cannot hold.
    UnknownName
        For paths that the system does not have.
    """

    def __init__(
        self,
        system: System,
        moves: Mapping[str, float],
        tracked: Mapping[str, float],
        *,
        soft: Mapping[str, Soft] | None = None,
        grid: Sequence[float] = (10.0,) * 20,
        control_horizon: int | None = None,
        degree: int = 2,
        forewarning: Forewarning | None = None,
        deadline: float = 2.0,
    ) -> None:
        refuse_events(system)
        self.system = system
        self.moves = dict(moves)
        self.tracked = dict(tracked)
        self.soft = dict(soft or {})
        self.grid = Grid(tuple(float(length) for length in grid), degree)
        self.free = min(control_horizon or self.grid.count, self.grid.count)
        self.forewarning = forewarning
        self.deadline = deadline
        self.outputs = tuple(dict.fromkeys([*self.tracked, *self.soft]))
        self._input_rows = {entry.path: i for i, entry in enumerate(system.inputs)}
        for path in self.moves:
            if path not in self._input_rows:
                raise UnknownName.among("input", path, self._input_rows, where="MPC moves")
        self._entries = {path: _entry(system, path) for path in self.outputs}
        self._last: dict[str, Any] | None = None

    @cached_property
    def _nlp(self) -> _Program:
        return _Program(self)

    def propose(self, belief: Any, goal: Goal, limits: Limits) -> Proposal:
        """The next moves; falls back to the shifted previous plan when there is no answer in time.

        Parameters
        ----------
        belief : Belief
            States, and whatever parameters and disturbances the estimator follows.
        goal : Goal
        limits : mapping input -> (low, high, rate [1/s])
            SI; a rate of 0 or infinity does not limit.
        """
        begun = time.perf_counter()
        targets = self._targets(goal)
        x0, p = self._state(belief), self._parameters(belief)
        table = self._table(belief, goal)
        before = np.array([goal.inputs[path] for path in self.moves])
        solution = self._nlp.solve(x0, p, table, before, targets, limits, self._last)
        elapsed = time.perf_counter() - begun
        if solution is None:
            return self._fallback(goal, elapsed)
        self._last = solution
        return self._proposal(solution, targets, before, elapsed)

    def forget(self) -> None:
        """Drop the warm start."""
        self._last = None

    def _targets(self, goal: Goal) -> np.ndarray[Any, Any]:
        missing = [path for path in self.tracked if path not in goal.targets]
        if missing:
            raise DataError(
                f"no target for {', '.join(missing)}",
                where="MPC",
                expected="a target for each tracked quantity",
            )
        return np.array([goal.targets[path] for path in self.tracked])

    def _state(self, belief: Any) -> np.ndarray[Any, Any]:
        names = set(belief.names)
        return np.array(
            [belief.point(e.path) if e.path in names else e.value for e in self.system.states]
        )

    def _parameters(self, belief: Any) -> np.ndarray[Any, Any]:
        names = set(belief.names)
        return np.array(
            [belief.point(e.path) if e.path in names else e.value for e in self.system.parameters]
        )

    def _table(self, belief: Any, goal: Goal) -> np.ndarray[Any, Any]:
        """Every input over every step, as scheduled; rows of moves are replaced by the plan."""
        schedule = list(goal.schedule)
        if self.forewarning is not None:
            schedule += list(self.forewarning(belief, goal))
        names = set(belief.names)
        rows = []
        for entry in self.system.inputs:
            held = goal.inputs.get(entry.path, entry.value)
            if entry.path in names and entry.path not in self.moves:
                held = belief.point(entry.path)
            rows.append(on_grid(schedule, entry.path, held, self.grid.ends))
        return np.array(rows).reshape(len(self.system.inputs), self.grid.count)

    def _proposal(
        self, solution: dict[str, Any], targets: Any, before: Any, elapsed: float
    ) -> Proposal:
        plan = {path: solution["u"][i].tolist() for i, path in enumerate(self.moves)}
        forecast = {path: solution["y"][i].tolist() for i, path in enumerate(self.outputs)}
        slack = {
            path: float(worst)
            for path, worst in zip(self.soft, solution["slack"], strict=True)
            if worst > 1e-3
        }
        inputs = {path: values[0] for path, values in plan.items()}
        units = {e.path: e.unit.text for e in self.system.inputs if e.path in self.moves}
        units |= {path: entry.unit.text for path, entry in self._entries.items()}
        return Proposal(
            inputs, plan, self.grid.ends.tolist(), forecast, units, slack,
            self._reasons(inputs, before, forecast, targets, slack, units),
            solution["status"], elapsed,
        )  # fmt: skip

    def _reasons(
        self, inputs: Any, before: Any, forecast: Any, targets: Any, slack: Any, units: Any
    ) -> tuple[str, ...]:
        reasons = []
        for path, target in zip(self.tracked, targets, strict=True):
            shown = [float(from_si(v, units[path])) for v in (forecast[path][-1], target)]
            end = self.grid.ends[-1]
            reasons.append(
                f"{path} {shown[0]:.4g} {units[path]} in {end:.0f} s, target {shown[1]:.4g}"
            )
        for path, worst in slack.items():
            reasons.append(f"{path} is expected to leave its soft limit by {worst:.2g} of nominal")
        largest = max(
            self.moves, key=lambda q: abs(inputs[q] - before[list(self.moves).index(q)])
            / self._nlp.u_scale[list(self.moves).index(q)],
        )  # fmt: skip
        value = float(from_si(inputs[largest], units[largest]))
        reasons.append(f"largest move: {largest} to {value:.4g} {units[largest]}")
        return tuple(reasons)

    def _fallback(self, goal: Goal, elapsed: float) -> Proposal:
        """The previous plan one step on, or no move at all."""
        previous = goal.previous.get("plan", {}) if goal.previous else {}
        plan = {}
        for path in self.moves:
            old = list(previous.get(path, []))
            plan[path] = old[1:] + old[-1:] if old else [goal.inputs[path]] * self.grid.count
        units = {e.path: e.unit.text for e in self.system.inputs if e.path in self.moves}
        why = "no feasible plan before the deadline; the previous plan goes on"
        return Proposal(
            {path: values[0] for path, values in plan.items()}, plan, self.grid.ends.tolist(), {},
            units, {}, (why,), "fallback", elapsed,
        )  # fmt: skip


class _Program:
    """The nonlinear program of an MPC: built once, solved many times."""

    def __init__(self, mpc: MPC) -> None:
        self.mpc = mpc
        system, grid = mpc.system, mpc.grid
        self.collocation = Collocation(system, grid.degree, mpc.outputs)
        self.rows = [mpc._input_rows[path] for path in mpc.moves]
        self.u_scale = np.array([system.inputs[i].nominal or 1.0 for i in self.rows])
        self.y_scale = np.array([e.nominal or 1.0 for e in mpc._entries.values()])
        self._build()

    def _build(self) -> None:
        mpc, grid, colloc = self.mpc, self.mpc.grid, self.collocation
        system, n = mpc.system, grid.count
        nx, nw = colloc.nx, (colloc.nx + colloc.nz) * grid.degree
        n_moves, n_soft = len(mpc.moves), len(mpc.soft)
        moves = ca.MX.sym("u", n_moves, mpc.free)
        w = ca.MX.sym("w", nw, n)
        slack = ca.MX.sym("slack", n_soft, n)
        x0, p = ca.MX.sym("x0", nx), ca.MX.sym("p", system.p.numel())
        table = ca.MX.sym("table", system.u.numel(), n)
        before, target = ca.MX.sym("before", n_moves), ca.MX.sym("target", len(mpc.tracked))
        held = ca.repmat(moves[:, -1], 1, n - mpc.free)
        plan = ca.horzcat(moves, held) if n > mpc.free else moves
        u = self._replaced(table, plan)
        first = nw - colloc.nx - colloc.nz
        starts = ca.horzcat(x0, w[first : first + nx, : n - 1])
        lengths = ca.DM(grid.lengths).T
        t0 = ca.DM(grid.ends).T - lengths
        residual, _, y = colloc.step.map(n)(starts, w, u, ca.repmat(p, 1, n), t0, lengths)
        y = y / ca.repmat(ca.DM(self.y_scale), 1, n)
        change = ca.horzcat(plan[:, 0] - before, ca.diff(plan, 1, 1))
        self.nlp = {
            "x": ca.veccat(moves, w, slack),
            "p": ca.veccat(x0, p, table, before, target),
            "f": self._cost(y, change, slack, target),
            "g": ca.veccat(residual, change[:, : mpc.free], self._soft_rows(y, slack)),
        }
        self.sizes = (n_moves * mpc.free, nw * n, n_soft * n)
        self.n_equal = residual.numel()
        self.outputs = ca.Function("outputs", [self.nlp["x"], self.nlp["p"]], [y])
        options: dict[str, Any] = {
            "print_time": False,
            "expand": True,
            "ipopt.print_level": 0,
            "ipopt.sb": "yes",
            "ipopt.tol": 1e-5,
            "ipopt.acceptable_tol": 1e-3,
            "ipopt.acceptable_iter": 3,
            "ipopt.max_iter": 80,
            "ipopt.max_wall_time": mpc.deadline,
            "ipopt.mu_strategy": "adaptive",
            "ipopt.linear_solver": "mumps",
            # Quantities are scaled already; MUMPS's own scaling takes longer than it saves.
            "ipopt.mumps_permuting_scaling": 0,
            "ipopt.mumps_scaling": 0,
            "ipopt.constr_mult_init_max": 0.0,
            "error_on_fail": False,
        }
        self.solver = ca.nlpsol("mpc", "ipopt", self.nlp, options)

    def _replaced(self, table: Any, plan: Any) -> Any:
        rows = [table[i, :] for i in range(table.size1())]
        for i, row in enumerate(self.rows):
            rows[row] = plan[i, :] * self.u_scale[i]
        return ca.vertcat(*rows)

    def _cost(self, y: Any, change: Any, slack: Any, target: Any) -> Any:
        mpc = self.mpc
        cost = ca.MX(0)
        for i, weight in enumerate(mpc.tracked.values()):
            error = y[mpc.outputs.index(list(mpc.tracked)[i]), :] - target[i]
            cost += weight * ca.sumsqr(error)
        for i, weight in enumerate(mpc.moves.values()):
            cost += weight * ca.sumsqr(change[i, :])
        for i, soft in enumerate(mpc.soft.values()):
            cost += soft.weight * (ca.sumsqr(slack[i, :]) + 0.1 * ca.sum2(slack[i, :]))
        return cost

    def _soft_rows(self, y: Any, slack: Any) -> Any:
        rows = []
        for i, path in enumerate(self.mpc.soft):
            value = y[self.mpc.outputs.index(path), :]
            rows += [value + slack[i, :], value - slack[i, :]]
        return ca.vertcat(*rows) if rows else ca.MX(0, 1)

    def _bounds(self, limits: Limits) -> dict[str, Any]:
        mpc = self.mpc
        low, high, rate = self._move_limits(limits)
        _, n_w, n_s = self.sizes
        span = np.array(mpc.grid.lengths[: mpc.free])
        steps = (np.outer(span, rate)).ravel()
        soft_low, soft_high = [], []
        for path, soft in mpc.soft.items():
            entry = mpc._entries[path]
            scale = entry.nominal or 1.0
            lower = -np.inf if soft.lower is None else value_in(soft.lower, entry.unit) / scale
            upper = np.inf if soft.upper is None else value_in(soft.upper, entry.unit) / scale
            soft_low += [lower, -np.inf]
            soft_high += [np.inf, upper]
        n = mpc.grid.count
        return {
            "lbx": np.concatenate([np.tile(low, mpc.free), np.full(n_w, -np.inf), np.zeros(n_s)]),
            "ubx": np.concatenate([np.tile(high, mpc.free), np.full(n_w + n_s, np.inf)]),
            "lbg": np.concatenate([np.zeros(self.n_equal), -steps, np.tile(soft_low, n)]),
            "ubg": np.concatenate([np.zeros(self.n_equal), steps, np.tile(soft_high, n)]),
        }

    def _move_limits(self, limits: Limits) -> tuple[Any, Any, Any]:
        low, high, rate = [], [], []
        for i, path in enumerate(self.mpc.moves):
            entry = self.mpc.system.inputs[self.rows[i]]
            lower, upper, speed = limits.get(path, (entry.lower, entry.upper, np.inf))
            low.append(max(lower, entry.lower) / self.u_scale[i])
            high.append(min(upper, entry.upper) / self.u_scale[i])
            rate.append(speed / self.u_scale[i] if speed > 0 else np.inf)
        return np.array(low), np.array(high), np.array(rate)

    def solve(
        self, x0: Any, p: Any, table: Any, before: Any, targets: Any, limits: Limits, last: Any
    ) -> dict[str, Any] | None:
        """The plan, its outputs and slack; None where nothing feasible was found in time."""
        mpc = self.mpc
        x0 = x0 / np.asarray(self.collocation.x_scale).ravel()
        before = before / self.u_scale
        scale = [self.y_scale[mpc.outputs.index(path)] for path in mpc.tracked]
        given = np.concatenate([x0, p, table.ravel(order="F"), before, targets / scale])
        if np.isnan(given).any():
            return None
        bounds = self._bounds(limits)
        bounds["lbx"][: self.sizes[0]] = np.minimum(
            bounds["lbx"][: self.sizes[0]], bounds["ubx"][: self.sizes[0]]
        )
        start = {"x0": self._guess(x0, before, bounds)} if last is None else {"x0": last["x0"]}
        found = self.solver(p=given, **bounds, **start)
        stats = self.solver.stats()
        gap = np.asarray(found["g"]).ravel()
        worst = np.max(np.maximum(bounds["lbg"] - gap, gap - bounds["ubg"]), initial=0.0)
        if not np.isfinite(worst) or worst > _FEASIBLE:
            return None
        n_u, n_w, _ = self.sizes
        x = np.asarray(found["x"]).ravel()
        within = np.clip(x[:n_u], bounds["lbx"][:n_u], bounds["ubx"][:n_u])
        moves = within.reshape(mpc.free, len(mpc.moves)).T * self.u_scale[:, None]
        tail = np.repeat(moves[:, -1:], mpc.grid.count - mpc.free, axis=1)
        slack = x[n_u + n_w :].reshape(mpc.grid.count, len(mpc.soft))
        return {
            "u": np.hstack([moves, tail]),
            "y": np.asarray(self.outputs(found["x"], given)) * self.y_scale[:, None],
            "slack": slack.max(axis=0) if slack.size else np.zeros(len(mpc.soft)),
            "status": "solved" if stats["success"] else "limited",
            "iterations": stats["iter_count"],
            "x0": found["x"],
        }

    def _guess(self, x0: Any, before: Any, bounds: Any) -> Any:
        mpc, colloc = self.mpc, self.collocation
        z = np.array([e.value for e in mpc.system.algebraics]) / np.asarray(colloc.z_scale).ravel()
        point = np.concatenate([x0, np.nan_to_num(z)])
        w = np.tile(point, mpc.grid.degree * mpc.grid.count)
        moves = np.clip(np.tile(before, mpc.free), bounds["lbx"][: self.sizes[0]],
                        bounds["ubx"][: self.sizes[0]])  # fmt: skip
        return np.concatenate([moves, w, np.zeros(self.sizes[2])])


def _entry(system: System, path: str) -> Any:
    kind, index = system.index(path)
    groups: dict[str, Sequence[Any]] = {
        "state": system.states, "algebraic": system.algebraics, "input": system.inputs,
        "parameter": system.parameters, "output": system.outputs,
    }  # fmt: skip
    return groups[kind][index]
