"""Steady states by pseudo-transient continuation.

Linearly implicit Euler steps grow as the residual falls (switched evolution relaxation, Kelley and
Keyes, SIAM J. Numer. Anal. 35, 1998, 508-523) until they are Newton steps. Compared with plain
Newton it goes to the steady state that the start leads to, and keeps linear invariants, so a
closed system, whose Jacobian is singular, has the answer that belongs to its content.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_matrix, diags, identity
from scipy.sparse.linalg import splu

from galenic.engine.compile import Compiled
from galenic.engine.initial import consistent
from galenic.engine.integrate import describe_failure
from galenic.engine.state import State
from galenic.errors import SolveError

Array = npt.NDArray[np.float64]

_LONGEST = 1e15  # s; a step of this length is a Newton step
_TOLERANCE = 1e-10


def steady_state(start: State, max_steps: int = 500) -> State:
    """The state with dx/dt = 0 that ``start`` leads to under its constant inputs.

    Discrete states keep their values; triggered and scheduled events are not taken.
    """
    start.compiled.system.require_no_delays("a steady state")
    problem = _Problem(start)
    w, residual = problem.start, problem.residual(problem.start)
    step_length = problem.first_length(residual)
    for _ in range(max_steps):
        change, sign = problem.step(w, residual, step_length)
        trial = w + change
        after = problem.residual(trial)
        if problem.is_astray(sign, residual, after):
            step_length *= 0.2
            if step_length < 1e-14:
                break
            continue
        moved = float(np.abs(change / (problem.scale + np.abs(trial))).max())
        gain = problem.size(residual) / max(problem.size(after), 1e-300)
        w, residual = trial, after
        if moved <= _TOLERANCE and step_length >= _LONGEST:
            return problem.state(w)
        step_length = min(step_length * min(max(gain, 3.0), 1e4), _LONGEST)
    raise problem.failure(w, residual)


class _Problem:
    """Residuals and steps of one continuation, in the unknowns w = (x, z)."""

    def __init__(self, start: State) -> None:
        self.base, self.compiled = start, start.compiled
        c: Compiled = start.compiled
        self.nx = c.nx
        self.scale = np.concatenate([c.nominal, c.nominal_z])
        z = consistent(c, start.time, start.x, start.z, start.u, start.p)
        self.start: Array = np.concatenate([start.x, z])
        mass = [0.0 if entry.role == "discrete" else 1.0 for entry in c.system.states]
        self.free = np.array(mass, dtype=bool)
        self.first_sign = 0.0
        self.is_state = np.concatenate([np.ones(c.nx), np.zeros(c.nz)])

    def _split(self, w: Array) -> tuple[float, Array, Array, Array, Array]:
        return self.base.time, w[: self.nx], w[self.nx :], self.base.u, self.base.p

    def residual(self, w: Array) -> Array:
        """(ode, alg); zero for discrete states."""
        ode, alg = self.compiled.rhs(*self._split(w))
        both = np.concatenate([np.array(ode).ravel(), np.array(alg).ravel()])
        both[: self.nx][~self.free] = 0.0
        return both

    def size(self, residual: Array) -> float:
        """Norm of the rates of the states, each by its nominal value."""
        return float(np.linalg.norm(residual[: self.nx] / self.scale[: self.nx])) + float(
            np.linalg.norm(residual[self.nx :])
        )

    def is_astray(self, sign: float, before: Array, after: Array) -> bool:
        """Whether a step left the way of the transient.

        Where a step is longer than 1/lambda of an unstable mode, implicit Euler goes backwards;
        then the determinant of its matrix has changed its sign.
        """
        if not np.isfinite(after).all():
            return True
        before_size, after_size = self.size(before), self.size(after)
        self.first_sign = self.first_sign or sign
        backwards = sign != self.first_sign and after_size > 0.5 * before_size
        return backwards or after_size > 20 * before_size + 1e-12

    def first_length(self, residual: Array) -> float:
        """A step that changes no state by more than a hundredth of its size."""
        w = np.abs(self.start[: self.nx])
        speed = np.abs(residual[: self.nx]) / (w + self.scale[: self.nx])
        return min(0.01 / max(float(speed.max(initial=0.0)), 1e-12), 1e6)

    def step(self, w: Array, residual: Array, length: float) -> tuple[Array, float]:
        """Solve (M / length - J) change = residual; nan if singular; and the sign of det."""
        jacobian = csc_matrix(self.compiled.jacobian(*self._split(w)).sparse())
        rows = np.concatenate([self.free.astype(float), np.ones(len(w) - self.nx)])
        matrix = diags(self.is_state / length) - diags(rows) @ jacobian
        matrix = matrix + 1e-300 * identity(len(w))
        try:
            factors = splu(csc_matrix(matrix))
        except RuntimeError:
            return np.full_like(w, np.nan), 0.0
        sign = np.prod(np.sign(factors.U.diagonal()))
        return factors.solve(residual), sign * _parity(factors.perm_r) * _parity(factors.perm_c)

    def state(self, w: Array) -> State:
        """The result as a State."""
        return replace(self.base, x=w[: self.nx].copy(), z=w[self.nx :].copy())

    def failure(self, w: Array, residual: Array) -> SolveError:
        """What moves fastest where the continuation gave up."""
        time, x, z, u, p = self._split(w)
        found = describe_failure(self.compiled, time, x, z, u, p, np.zeros(self.nx))
        return SolveError(
            f"no steady state of {self.compiled.system.name} was reached; {found.state} still "
            f"changes by {residual[self.compiled.find(found.state)[1]]:.3g} per second (SI units)",
            state=found.state,
            stiffness=found.stiffness,
            where=self.compiled.system.name,
            hint="a state that only accumulates has no steady state, nor has an oscillation",
        )


def _parity(permutation: npt.NDArray[np.int32]) -> float:
    """1 or -1, as the permutation is even or odd."""
    left, parity = permutation.tolist(), 1.0
    for i in range(len(left)):
        while left[i] != i:
            j = left[i]
            left[i], left[j] = left[j], j
            parity = -parity
    return parity
