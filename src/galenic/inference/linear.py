"""A linear model with exact steps: the reference that estimators are checked on.

``LinearTransition`` offers the same methods as the engine's Transition but moves by the matrix
exponential, so nothing but the estimator itself can be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt
from scipy.linalg import expm

from galenic.inference.belief import Array
from galenic.modeling.system import Entry, System
from galenic.units import unit


def linear_system(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    c: npt.ArrayLike,
    start: Sequence[float] | None = None,
    lower: float = -np.inf,
) -> System:
    """dx/dt = A x + B u, y = C x with states x0.., inputs u0.., outputs y0.., all without unit."""
    a, b, c = (np.atleast_2d(np.asarray(m, dtype=float)) for m in (a, b, c))
    nx, nu, ny = len(a), b.shape[1], len(c)
    x, u = ca.SX.sym("x", nx), ca.SX.sym("u", nu)
    start = [0.0] * nx if start is None else list(start)

    def entries(kind: str, letter: str, n: int, **facts: Any) -> tuple[Entry, ...]:
        return tuple(Entry(f"{letter}{i}", kind, unit("1"), **facts) for i in range(n))

    states = tuple(
        Entry(f"x{i}", "state", unit("1"), lower=lower, value=start[i]) for i in range(nx)
    )
    return System(
        name="linear",
        t=ca.SX.sym("t"),
        x=x,
        z=ca.SX(0, 1),
        u=u,
        p=ca.SX(0, 1),
        ode=ca.mtimes(ca.DM(a), x) + ca.mtimes(ca.DM(b), u),
        alg=ca.SX(0, 1),
        y=ca.mtimes(ca.DM(c), x),
        x0=ca.SX(ca.DM(start)),
        states=states,
        algebraics=(),
        inputs=entries("input", "u", nu, value=0.0),
        parameters=(),
        outputs=entries("output", "y", ny),
    )


class LinearTransition:
    """Exact steps of dx/dt = A x + B u, y = C x."""

    def __init__(
        self,
        a: npt.ArrayLike,
        b: npt.ArrayLike,
        c: npt.ArrayLike,
        start: Sequence[float] | None = None,
        lower: float = -np.inf,
    ) -> None:
        self.a, self.b, self.c = (np.atleast_2d(np.asarray(m, dtype=float)) for m in (a, b, c))
        self.system = linear_system(a, b, c, start, lower)
        self._steps: dict[float, tuple[Array, Array]] = {}

    def matrices(self, dt: float) -> tuple[Array, Array]:
        """Step matrices of a length, from one exponential of [[A, B], [0, 0]] dt."""
        if dt not in self._steps:
            nx, nu = self.b.shape
            block = np.zeros((nx + nu, nx + nu))
            block[:nx, :nx], block[:nx, nx:] = self.a * dt, self.b * dt
            both = expm(block)
            self._steps[dt] = (both[:nx, :nx], both[:nx, nx:])
        return self._steps[dt]

    def step(self, x: Array, u: Array, p: Array, dt: float, t: float = 0.0) -> Array:
        f, g = self.matrices(dt)
        return np.asarray(f @ x + g @ u)

    def linear(
        self, x: Array, u: Array, p: Array, dt: float, t: float = 0.0
    ) -> tuple[Array, Array, Array, Array]:
        f, g = self.matrices(dt)
        return f @ x + g @ u, f, g, np.empty((len(x), 0))

    def observe(self, x: Array, u: Array, p: Array, t: float = 0.0) -> Array:
        return np.asarray(self.c @ x)

    def observe_linear(
        self, x: Array, u: Array, p: Array, t: float = 0.0
    ) -> tuple[Array, Array, Array, Array]:
        empty = np.zeros((len(self.c), self.b.shape[1]))
        return self.c @ x, self.c, empty, np.empty((len(self.c), 0))
