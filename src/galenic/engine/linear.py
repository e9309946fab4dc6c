"""Linear models around a state: matrices with names, poles and time constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.engine.state import State
from galenic.errors import SolveError

if TYPE_CHECKING:
    from scipy.signal import StateSpace

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Linear:
    """dx/dt = A dx + B du, dy = C dx + D du around ``at``; all in SI.

    Attributes
    ----------
    A, B, C, D : arrays
        Derivatives with the algebraic quantities eliminated.
    states, inputs, outputs : tuple of str
        Paths of rows and columns.
    at : State
        The point of linearisation.
    """

    A: Array
    B: Array
    C: Array
    D: Array
    states: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    at: State

    @property
    def poles(self) -> npt.NDArray[np.complex128]:
        """Eigenvalues of A [1/s], slowest first."""
        values = np.linalg.eigvals(self.A).astype(complex)
        return values[np.argsort(np.abs(values))]

    @property
    def time_constants(self) -> Array:
        """-1 / real part of the poles [s], in their order; infinite for an integrator."""
        real = self.poles.real
        with np.errstate(divide="ignore"):
            return np.where(real == 0, np.inf, -1 / np.where(real == 0, 1.0, real))

    @property
    def is_stable(self) -> bool:
        """Whether all poles lie left of the imaginary axis."""
        return bool((self.poles.real < 0).all())

    @property
    def gain(self) -> Array:
        """Steady change of each output per change of each input [SI], rows outputs."""
        return np.asarray(self.D - self.C @ np.linalg.solve(self.A, self.B))

    def state_space(self) -> StateSpace:
        """The same as a scipy StateSpace."""
        from scipy.signal import StateSpace

        return StateSpace(self.A, self.B, self.C, self.D)


def linearise(
    at: State, inputs: Sequence[Any] | None = None, outputs: Sequence[Any] | None = None
) -> Linear:
    """The linear model around a state; by default with all inputs and outputs."""
    compiled, system = at.compiled, at.compiled.system
    system.require_no_delays("linearisation")
    given = [str(path) for path in inputs or [e.path for e in system.inputs]]
    wanted = [str(path) for path in outputs or [e.path for e in system.outputs + system.states]]
    columns = [compiled.find(path, "input")[1] for path in given]
    rows = ca.vertcat(system.y, system.x, system.z)
    offset = {"output": 0, "state": compiled.ny, "algebraic": compiled.ny + compiled.nx}
    places = []
    for path in wanted:
        kind, i = compiled.find(path, "output", "state", "algebraic")
        places.append(offset[kind] + i)
    equations = ca.vertcat(system.ode, system.alg)
    unknown = ca.vertcat(system.x, system.z)
    slopes = ca.Function(
        "slopes",
        compiled.args,
        [ca.jacobian(f, v) for f in (equations, rows) for v in (unknown, system.u)],
    )
    found = slopes(at.time, at.x, at.z, at.u, at.p)
    by_w, by_u, y_by_w, y_by_u = (np.array(part) for part in found)
    nx = compiled.nx
    inner = _eliminated(compiled, by_w[nx:, nx:], np.hstack([by_w[nx:, :nx], by_u[nx:]]))
    right = np.hstack([by_w[:nx, :nx], by_u[:nx]]) + by_w[:nx, nx:] @ inner
    down = np.hstack([y_by_w[:, :nx], y_by_u]) + y_by_w[:, nx:] @ inner
    return Linear(
        right[:, :nx],
        right[:, nx:][:, columns],
        down[places][:, :nx],
        down[places][:, nx:][:, columns],
        tuple(entry.path for entry in system.states),
        tuple(given),
        tuple(wanted),
        at,
    )


def _eliminated(compiled: Any, by_z: Array, others: Array) -> Array:
    """Dz by everything else, from the algebraic equations."""
    if not compiled.nz:
        return np.zeros((0, others.shape[1]))
    if np.linalg.matrix_rank(by_z) < len(by_z):
        raise SolveError(
            "the algebraic equations do not determine the algebraic quantities here",
            where=compiled.system.name,
            hint="linearise at another state",
        )
    return np.asarray(-np.linalg.solve(by_z, others))
