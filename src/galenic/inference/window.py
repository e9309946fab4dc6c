"""The optimisation problem of a moving horizon: one window of a model by Radau collocation.

Nodes 0..N carry the vector w of the augmented model. Over interval k,

    x' = f(x, ...) from w_k + jump_k + s v1_k,   w_(k+1) = end + s v2_k,   s = sqrt(dt q / 2)

with unit-variance noises v before and after the interval: the same noise as in the filters, so that
a linear model without active bounds gives the Kalman filter's answer. Unused intervals at the front
have length 0. The problem is built once; every window is a set of numbers for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import casadi as ca
import numpy as np

from galenic.engine.collocation import Collocation
from galenic.engine.compile import compile_system
from galenic.inference.algebra import Array
from galenic.inference.augment import AugmentedModel


@dataclass(frozen=True, eq=False)
class Window:
    """The numbers of one window; row k belongs to node or interval k.

    Parameters
    ----------
    times, lengths : array ``(N,)`` [s]
        Start and length of the intervals.
    inputs, jumps : array ``(N, nu)`` and ``(N, n)``
        Inputs over an interval, jump of the vector at its start.
    node_inputs : array ``(N + 1, nu)``
        Inputs that hold when a node is measured.
    readings, weights : array ``(N + 1, n_measured)``
        Measured values and inverse variances; a weight of 0 means missing.
    """

    times: Array
    lengths: Array
    inputs: Array
    jumps: Array
    node_inputs: Array
    node_times: Array
    readings: Array
    weights: Array


@dataclass(frozen=True, eq=False)
class Solved:
    """Nodes of a solved window ``(N + 1, n)``, with the solver's account."""

    nodes: Array
    objective: float
    status: str
    iterations: int
    success: bool


class WindowProblem:
    """Builds and solves the window of ``intervals`` intervals.

    Parameters
    ----------
    measured : tuple of str
        Quantities that may be observed.
    robust : float or None
        Kink of the pseudo-Huber loss, in standard deviations of the sensor.
    soft : float or None
        Penalty per squared violation of a bound, relative to its squared scale; None keeps hard
        bounds.
    """

    def __init__(
        self,
        model: AugmentedModel,
        measured: tuple[str, ...],
        intervals: int,
        degree: int = 3,
        robust: float | None = None,
        soft: float | None = None,
    ) -> None:
        self.model, self.measured, self.intervals = model, measured, intervals
        self.robust, self.soft = robust, soft
        self.compiled = compile_system(model.system)
        self.collocation = Collocation(self.compiled, degree, "radau")
        self.shaken = np.flatnonzero(model.rates > 0)
        self._build()

    def _build(self) -> None:
        n, many = self.model.size, self.intervals
        c, nv = self.compiled, len(self.shaken)
        d = self.collocation.degree
        self._w = ca.MX.sym("w", n, many + 1)
        self._v = ca.MX.sym("v", 2 * nv, many)
        self._x = ca.MX.sym("X", c.nx, d * many)
        self._z = ca.MX.sym("Z", c.nz, d * many)
        self._zn = ca.MX.sym("Zn", c.nz, many + 1)
        given = {
            "prior": ca.MX.sym("prior", n),
            "root": ca.MX.sym("root", n, n),
            "times": ca.MX.sym("times", many),
            "lengths": ca.MX.sym("lengths", many),
            "inputs": ca.MX.sym("inputs", c.nu, many),
            "jumps": ca.MX.sym("jumps", n, many),
            "node_inputs": ca.MX.sym("node_inputs", c.nu, many + 1),
            "node_times": ca.MX.sym("node_times", many + 1),
            "readings": ca.MX.sym("readings", len(self.measured), many + 1),
            "weights": ca.MX.sym("weights", len(self.measured), many + 1),
        }
        constraints = [self._dynamics(given, k) for k in range(many)]
        cost, algebra = self._cost(given)
        variables = [self._w, self._v, self._x, self._z, self._zn]
        problem = {
            "x": ca.vertcat(*(ca.vec(part) for part in variables)),
            "p": ca.vertcat(*(ca.vec(part) for part in given.values())),
            "f": cost,
            "g": ca.vertcat(*constraints, *algebra),
        }
        options: dict[str, Any] = {
            "expand": True,
            "print_time": False,
            "calc_lam_p": False,  # the root of a length of 0 has no derivative, and none is needed
            "ipopt": {
                "print_level": 0,
                "sb": "yes",
                "tol": 1e-9,
                "max_iter": 200,
                "mu_strategy": "adaptive",
                "warm_start_init_point": "yes",
                "honor_original_bounds": "yes",
            },
        }
        self._solver = ca.nlpsol("window", "ipopt", problem, options)
        self._count = int(problem["g"].numel())

    def _arguments(self, w: Any, u: Any) -> tuple[Any, Any, Any, Any]:
        """Natural vector, states, inputs and parameters as expressions."""
        model = self.model
        natural = ca.vertcat(
            *(ca.exp(w[i]) if model.axes[i].is_log else w[i] for i in range(model.size))
        )
        p = [ca.MX(float(value)) for value in model.p0]
        for place, i in model.on_parameter:
            p[i] = natural[place]
        parts = [u[i] for i in range(len(model.u0))]
        for place, i in model.as_input:
            parts[i] = natural[place]
        for place, i in model.on_input:
            parts[i] = parts[i] + natural[place]
        x = natural[: len(model.state_names)]
        return natural, x, ca.vertcat(*parts) if parts else ca.MX(0, 1), _column(p)

    def _dynamics(self, given: dict[str, Any], k: int) -> Any:
        """Equations of interval ``k``: collocation, and the next node."""
        model, d = self.model, self.collocation.degree
        nx, nv = len(model.state_names), len(self.shaken)
        length = given["lengths"][k]
        shake = ca.sqrt(0.5 * length) * ca.DM(np.sqrt(model.rates[self.shaken]))
        spread = ca.DM(np.eye(model.size)[:, self.shaken])
        noise = [ca.mtimes(spread, shake * self._v[i * nv : (i + 1) * nv, k]) for i in (0, 1)]
        w = self._w[:, k] + given["jumps"][:, k] + noise[0]
        _, x, u, p = self._arguments(w, given["inputs"][:, k])
        block = slice(k * d, (k + 1) * d)
        defects, residuals, end = self.collocation.defects(
            given["times"][k], length, x, self._x[:, block], self._z[:, block], u, p
        )
        slow = w[nx:]
        if model.reverts:
            keep = ca.exp(-length / ca.DM(model.reversion))
            slow = ca.DM(model.rest) + keep * (slow - ca.DM(model.rest))
        after = ca.vertcat(end, slow) + noise[1]
        return ca.vertcat(ca.vec(defects), ca.vec(residuals), self._w[:, k + 1] - after)

    def _cost(self, given: dict[str, Any]) -> tuple[Any, list[Any]]:
        """Arrival cost, noise and misfit; and the algebraic equations at the nodes."""
        cost = ca.sumsqr(ca.mtimes(given["root"], self._w[:, 0] - given["prior"]))
        cost += ca.sumsqr(self._v)
        algebra = []
        for k in range(self.intervals + 1):
            natural, x, u, p = self._arguments(self._w[:, k], given["node_inputs"][:, k])
            t, z = given["node_times"][k], self._zn[:, k]
            y = self.compiled.outputs(t, x, z, u, p)
            if self.compiled.nz:
                algebra.append(self.compiled.rhs(t, x, z, u, p)[1])
            for i, name in enumerate(self.measured):
                gap = given["readings"][i, k] - self._expected(name, y, natural)
                cost += self._loss(given["weights"][i, k] * gap**2)
            if self.soft is not None:
                cost += self._violation(self._w[:, k])
        return cost, algebra

    def _expected(self, name: str, y: Any, natural: Any) -> Any:
        model = self.model
        if name not in model.output_names:
            return natural[model.positions[name]]
        i = model.output_names[name]
        return y[i] + sum(natural[place] for place, j in model.on_output if j == i)

    def _loss(self, square: Any) -> Any:
        if self.robust is None:
            return square
        kink = self.robust**2
        return 2.0 * kink * (ca.sqrt(1.0 + square / kink) - 1.0)

    def _violation(self, w: Any) -> Any:
        """Penalty of a node outside its bounds, in units of each quantity's nominal size."""
        total = 0.0
        sizes = [entry.nominal for entry in self.model.system.states]
        sizes += [1.0] * (self.model.size - len(sizes))
        for i, size in enumerate(sizes):
            for bound, side in ((self.model.lower[i], 1.0), (self.model.upper[i], -1.0)):
                if np.isfinite(bound):
                    total += ca.fmax(0.0, side * (bound - w[i]) / size) ** 2
        return (self.soft or 0.0) * total

    def solve(self, window: Window, prior: Array, root: Array, known: Any, guess: Array) -> Solved:
        """The best nodes.

        Parameters
        ----------
        prior, root : array
            Arrival: centre, and R with R' R = inverse covariance (zero rows where known).
        known : array of bool
            Quantities of the first node that are fixed at the prior.
        guess : array ``(N + 1, n)``
        """
        parts = [prior, root, window.times, window.lengths, window.inputs.T, window.jumps.T]
        parts += [window.node_inputs.T, window.node_times, window.readings.T, window.weights.T]
        numbers = np.concatenate([np.ravel(part, order="F") for part in parts])
        lower, upper = self._limits(prior, known)
        zero = np.zeros(self._count)
        found = self._solver(
            x0=self._first(window, guess), p=numbers, lbx=lower, ubx=upper, lbg=zero, ubg=zero
        )
        stats = self._solver.stats()
        size = self.model.size * (self.intervals + 1)
        nodes = np.array(found["x"]).ravel()[:size].reshape(self.intervals + 1, self.model.size)
        return Solved(
            nodes,
            float(found["f"]),
            str(stats["return_status"]),
            int(stats["iter_count"]),
            bool(stats["success"]),
        )

    def _limits(self, prior: Array, known: Any) -> tuple[Array, Array]:
        many, n = self.intervals + 1, self.model.size
        total = self._solver.size1_in("x0")
        lower, upper = np.full(total, -np.inf), np.full(total, np.inf)
        if self.soft is None:
            lower[: many * n] = np.tile(self.model.lower, many)
            upper[: many * n] = np.tile(self.model.upper, many)
        fixed = np.flatnonzero(known)
        lower[fixed] = upper[fixed] = prior[fixed]
        return lower, upper

    def _first(self, window: Window, guess: Array) -> Array:
        """Start of the solver: nodes as guessed, straight lines between them, no noise."""
        nx, d = self.compiled.nx, self.collocation.degree
        points = self.collocation.points[:, None]
        natural = np.array([self.model.natural(row)[:nx] for row in guess])
        lines = [a + points * (b - a) for a, b in pairwise(natural)]
        z = np.nan_to_num(self.compiled.defaults("algebraic"))
        parts = [
            guess.ravel(),
            np.zeros(2 * len(self.shaken) * self.intervals),
            np.concatenate([line.ravel() for line in lines]),
            np.tile(z, d * self.intervals),
            np.tile(z, self.intervals + 1),
        ]
        return np.concatenate(parts)


def _column(parts: list[Any]) -> Any:
    return ca.vertcat(*parts) if parts else ca.MX(0, 1)
