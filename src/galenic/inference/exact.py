"""Exact steps for models that are linear in their states: compartment kinetics, tanks, lags.

    dx/dt = A(u, p) x + r(u, p)

Between changes of the inputs one matrix exponential gives the state after any time, and another
block of the same exponential its derivatives by inputs and parameters: with M = [[A, r], [0, 0]],
S_j' = A S_j + (dA/dq_j) x + dr/dq_j is one more linear system. No step control, no error but
rounding.
"""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
from scipy.linalg import expm

from galenic.engine.discrete import Transition
from galenic.inference.belief import Array


def is_linear(system: Any) -> bool:
    """Whether the rates are linear in the states, without time and algebraic quantities."""
    if system.z.numel() or not system.x.numel():
        return False
    slope = ca.jacobian(system.ode, system.x)
    return not (ca.depends_on(slope, system.x) or ca.depends_on(system.ode, system.t))


def best_transition(system: Any, tolerance: float = 1e-5) -> Any:
    """An exact Transition where the model allows it, else the engine's at a tight tolerance."""
    return ExactTransition(system) if is_linear(system) else Transition(system, tolerance=tolerance)


class ExactTransition:
    """A Transition whose steps are matrix exponentials; see the module's text."""

    def __init__(self, system: Any) -> None:
        self._engine = Transition(system)
        self.system = s = self._engine.system
        theta = ca.vertcat(s.u, s.p)
        self._nu = s.u.numel()
        slope = ca.jacobian(s.ode, s.x)
        rest = ca.substitute(s.ode, s.x, ca.SX.zeros(s.x.numel()))
        both = ca.vertcat(ca.vec(slope), rest)
        self._moving = [j for j in range(theta.numel()) if ca.depends_on(both, theta[j])]
        self._small = self._function(slope, rest, [])
        self._large = self._function(slope, rest, [theta[j] for j in self._moving])
        self._last: tuple[Any, Array] = ((), np.empty((0, 0)))

    def _function(self, slope: Any, rest: Any, by: list[Any]) -> ca.Function:
        """(u, p) -> matrix of the linear system of x, its derivatives by ``by``, and 1."""
        n = slope.shape[0]
        size = n * (len(by) + 1) + 1
        block = ca.SX.zeros(size, size)
        block[:n, :n], block[:n, size - 1] = slope, rest
        for k, q in enumerate(by, start=1):
            rows = slice(n * k, n * (k + 1))
            block[rows, :n] = ca.reshape(ca.jacobian(ca.vec(slope), q), n, n)
            block[rows, rows] = slope
            block[rows, size - 1] = ca.jacobian(rest, q)
        arguments = [self.system.u, self.system.p]
        return ca.Function("exact", arguments, [ca.densify(block)])

    def step(self, x: Array, u: Array, p: Array, dt: float, t: float = 0.0) -> Array:
        """The state after ``dt`` seconds."""
        n = len(x)
        both = self._exponential(self._small, u, p, dt)
        return np.asarray(both[:n, :n] @ x + both[:n, n])

    def steps(self, x: Array, u: Array, p: Array, dt: float) -> Array:
        """States ``(n, nx)`` after ``dt`` seconds for parameters ``(n, np)``, under one input."""
        n, size = x.shape[1], x.shape[1] + 1
        table = np.array(self._small(np.repeat(u[:, None], len(p), axis=1), p.T))
        both = expm(table.reshape(size, len(p), size).transpose(1, 0, 2) * dt)
        return np.asarray(np.einsum("mij,mj->mi", both[:, :n, :n], x) + both[:, :n, n])

    def linear(
        self, x: Array, u: Array, p: Array, dt: float, t: float = 0.0
    ) -> tuple[Array, Array, Array, Array]:
        """The state after ``dt`` seconds and its derivatives by x, u and p."""
        n, q = len(x), len(self._moving)
        both = self._exponential(self._large, u, p, dt)
        moved = both[:, :n] @ x + both[:, -1]
        by_theta = np.zeros((n, len(u) + len(p)))
        by_theta[:, self._moving] = moved[n:-1].reshape(q, n).T
        return moved[:n], both[:n, :n], by_theta[:, : self._nu], by_theta[:, self._nu :]

    def _exponential(self, matrix: ca.Function, u: Array, p: Array, dt: float) -> Array:
        """The exponential of a step; steps of a forecast are equal, so the last one is kept."""
        key = (matrix is self._large, dt, bytes(np.asarray(u)), bytes(np.asarray(p)))
        if self._last[0] != key:
            self._last = (key, expm(np.array(matrix(u, p)) * dt))
        return self._last[1]

    def observe(self, x: Array, u: Array, p: Array, t: float = 0.0) -> Array:
        """The outputs."""
        return np.asarray(self._engine.observe(x, u, p, t))

    def observe_linear(
        self, x: Array, u: Array, p: Array, t: float = 0.0
    ) -> tuple[Array, Array, Array, Array]:
        """The outputs and their derivatives."""
        return self._engine.observe_linear(x, u, p, t)
