"""A model as a one-step map for estimators and controllers.

The step is the ESDIRK method 3(2) of Kvaerno (BIT 44, 2004, 489-502): four stages, the first one
explicit, L-stable, stiffly accurate, with an embedded solution of order two. Each implicit stage is
solved by Newton's method for states and algebraic quantities together. Linearisations are the
exact derivatives of the numerical step with its substeps held fixed (implicit function theorem on
the stages, not finite differences).
"""

from __future__ import annotations

import math
from functools import cached_property
from threading import RLock
from typing import Any, NamedTuple

import casadi as ca
import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from galenic.engine.buffered import Buffered
from galenic.engine.collocation import Collocation
from galenic.engine.compile import Compiled, compile_system
from galenic.engine.initial import consistent
from galenic.engine.integrate import describe_failure
from galenic.errors import SolveError

Array = npt.NDArray[np.float64]

_GAMMA = 0.4358665215084589994160194  # root of 6 g^3 - 18 g^2 + 9 g - 1, L-stable
_C2 = 2 * _GAMMA
_A42 = 1 / (6 * _C2 * (1 - _C2))
_A32 = (0.5 - _GAMMA) / _C2
_A43 = 0.5 - _GAMMA - _A42 * _C2
_NODES = (0.0, _C2, 1.0, 1.0)
_ROWS: tuple[tuple[float, ...], ...] = (
    (),
    (_GAMMA,),
    (1 - _A32 - _GAMMA, _A32),
    (1 - _A42 - _A43 - _GAMMA, _A42, _A43),
)
_NEWTON = 20
_CLOSE = 1e-9  # of a stage, relative to nominal and value

Factors = tuple[Array, Array]


class Functions(NamedTuple):
    """The CasADi Functions of a model, for use inside an NLP; arguments (t, x, z, u, p) in SI."""

    rhs: ca.Function
    outputs: ca.Function
    start: ca.Function


class Stage(NamedTuple):
    """States and algebraic quantities at one stage."""

    x: Array
    z: Array


class Transition:
    """A one-step map x -> x_next of a model, with exact derivatives.

    Triggered and scheduled events are not part of the map: an estimator applies them as actions.

    Parameters
    ----------
    system : System or Model
        What is stepped.
    dt : float [s], optional
        Step used where a call gives none.
    tolerance : float
        Error per substep of the embedded second-order solution, relative to
        ``|x| + 0.01 nominal``; the third-order solution that is used is some ten times better.
        Decides the number of substeps unless ``substeps`` is given.
    substeps : int, optional
        A fixed number of equal substeps, for a fixed cost (halved only where Newton fails).
    """

    def __init__(
        self,
        system: Any,
        dt: float | None = None,
        tolerance: float = 1e-3,
        substeps: int | None = None,
    ) -> None:
        self.compiled: Compiled = compile_system(system)
        self.system = self.compiled.system
        self.system.require_no_delays("a step map of states, as estimators use it")
        self.dt = dt
        self.tolerance = tolerance
        self.substeps = substeps
        self.functions = Functions(self.compiled.rhs, self.compiled.outputs, self.compiled.start)
        c = self.compiled
        self._n, self._m = c.nx, c.nz
        self._theta = c.nu + c.np
        self._scale = np.concatenate([c.nominal, c.nominal_z])
        self._floor = 0.01 * c.nominal
        self._row_scales: dict[float, Array] = {}
        self._guess = np.nan_to_num(c.defaults("algebraic"))
        self._inputs = [np.zeros(size) for size in (1, c.nx, c.nz, c.nu, c.np)]
        self._lock = RLock()

    def step(self, x: Any, u: Any, p: Any, dt: float | None = None, t: float = 0.0) -> Array:
        """The state after ``dt`` seconds under constant inputs; SI vectors."""
        with self._lock, np.errstate(all="ignore"):
            return self._walk(x, u, p, self._length(dt), t, None)[0]

    def linear(
        self, x: Any, u: Any, p: Any, dt: float | None = None, t: float = 0.0
    ) -> tuple[Array, Array, Array, Array]:
        """The state after ``dt`` seconds and its derivatives A (by x), B (by u), P (by p)."""
        n, nu = self._n, self.compiled.nu
        with self._lock, np.errstate(all="ignore"):
            seed = np.zeros((n, n + self._theta), order="F")
            seed[:, :n] = np.eye(n)
            after, s = self._walk(x, u, p, self._length(dt), t, seed)
        return after, s[:, :n], s[:, n : n + nu], s[:, n + nu :]

    def observe(self, x: Any, u: Any, p: Any, t: float = 0.0) -> Array:
        """The outputs; algebraic quantities are solved for."""
        with self._lock:
            self._settle(x, u, p, t)
            return self._outputs()[0].copy()

    def observe_linear(
        self, x: Any, u: Any, p: Any, t: float = 0.0
    ) -> tuple[Array, Array, Array, Array]:
        """The outputs and their derivatives C (by x), D (by u), Dp (by p)."""
        n, nu = self._n, self.compiled.nu
        with self._lock:
            self._settle(x, u, p, t)
            y, by_state, by_theta = (np.array(part) for part in self._output_slopes())
            total = np.hstack([by_state[:, :n], by_theta])
            if self._m:
                total += by_state[:, n:] @ self._algebraic_slopes(*self._slopes())
        return y, total[:, :n], total[:, n : n + nu], total[:, n + nu :]

    def algebraic(self, x: Any, u: Any, p: Any, t: float = 0.0) -> Array:
        """The algebraic quantities that belong to a state."""
        with self._lock:
            return self._settle(x, u, p, t)

    def _settle(self, x: Any, u: Any, p: Any, t: float) -> Array:
        """Make all arguments current, and give z."""
        self._hold(u, p)
        z = self._algebraic(t, _vector(x))
        self._go(t, _vector(x), z)
        return z

    def collocation(self, degree: int = 3, kind: str = "radau") -> Collocation:
        """Defect equations of one interval, for MPC and moving-horizon estimation."""
        return Collocation(self.compiled, degree, kind)

    @cached_property
    def _values(self) -> Buffered:
        """(ode, alg)."""
        return self._buffered([self._both], (0,))

    @cached_property
    def _newton(self) -> Buffered:
        """(ode, alg), and their derivative by (x, z)."""
        return self._buffered([self._both, ca.jacobian(self._both, self._unknown)], (0,))

    @cached_property
    def _slopes(self) -> Buffered:
        """The derivatives of (ode, alg) by (x, z) and by (u, p)."""
        both = self._both
        return self._buffered(
            [ca.jacobian(both, self._unknown), ca.jacobian(both, self._given)], ()
        )

    @cached_property
    def _outputs(self) -> Buffered:
        return self._buffered([self.system.y], (0,))

    @cached_property
    def _output_slopes(self) -> Buffered:
        y = self.system.y
        return self._buffered([y, ca.jacobian(y, self._unknown), ca.jacobian(y, self._given)], (0,))

    @property
    def _both(self) -> ca.SX:
        return ca.vertcat(self.system.ode, self.system.alg)

    @property
    def _unknown(self) -> ca.SX:
        return ca.vertcat(self.system.x, self.system.z)

    @property
    def _given(self) -> ca.SX:
        return ca.vertcat(self.system.u, self.system.p)

    def _buffered(self, outputs: list[ca.SX], flat: tuple[int, ...]) -> Buffered:
        """A Function of the shared arguments (t, x, z, u, p)."""
        return Buffered(ca.Function("f", self.compiled.args, outputs), self._inputs, flat)

    def _hold(self, u: Any, p: Any) -> None:
        """Inputs and parameters for all evaluations that follow."""
        self._inputs[3][:] = _vector(u)
        self._inputs[4][:] = _vector(p)

    def _go(self, t: float, x: Array, z: Array) -> None:
        """Time and unknowns for the evaluations that follow."""
        self._inputs[0][0] = t
        self._inputs[1][:] = x
        self._inputs[2][:] = z

    def _length(self, dt: float | None) -> float:
        length = self.dt if dt is None else dt
        if length is None or not length > 0:
            raise SolveError(
                f"a step of {length} s",
                where=self.system.name,
                expected="a positive dt, in the call or in Transition(dt=...)",
            )
        return float(length)

    def _walk(
        self, x: Any, u: Any, p: Any, length: float, t: float, seed: Array | None
    ) -> tuple[Array, Array]:
        """All substeps; the seed (derivative of x by x0, u, p) is carried along if given."""
        x = _vector(x)
        self._hold(u, p)
        slopes = np.zeros((0, 0)) if seed is None else seed
        if not self._n:
            return x.copy(), slopes
        z = self._algebraic(t, x)
        done, h = 0.0, length / (self.substeps or 1)
        while done < length * (1 - 1e-12):
            stages, error = self._attempt(t + done, x, z, h)
            if stages is None or (self.substeps is None and not error <= 1.0):
                shrink = 0.85 * error ** (-1 / 3) if 1.0 < error < 600.0 else 0.1
                h = (length - done) / np.ceil((length - done) / (h * shrink))
                if h < 1e-7 * length:
                    raise self._failure(t + done, x, z)
                continue
            if seed is not None:
                slopes = self._carry(slopes, t + done, h, stages)
            x, z, done = stages[-1].x, stages[-1].z, done + h
            left = length - done
            if self.substeps is None and left > 1e-12 * length:
                wish = h * min(4.0, 0.85 * max(error, 1e-6) ** (-1 / 3))
                h = left / np.ceil(left / wish * (1 - 1e-9))
        return x, slopes

    def _attempt(self, t: float, x: Array, z: Array, h: float) -> tuple[list[Stage] | None, float]:
        """The four stages of a substep and the error norm (at most 1 is accepted)."""
        self._go(t, x, z)
        both, jacobian = self._newton()
        slope = both[: self._n].copy()
        factors = self._factors(jacobian, h * _GAMMA)
        if factors is None or not np.isfinite(slope).all():
            return None, np.inf
        stages, slopes = [Stage(x, z)], [slope]
        for row, node in zip(_ROWS[1:], _NODES[1:], strict=True):
            base = x + (h * row[0]) * slopes[0]
            for a, k in zip(row[1:], slopes[1:], strict=True):
                base += (h * a) * k
            last = stages[-1]
            guess = np.concatenate([base + (h * _GAMMA) * slopes[-1], last.z])
            w = self._stage(t + node * h, base, guess, h * _GAMMA, factors)
            if w is None:
                return None, np.inf
            stages.append(Stage(w[: self._n], w[self._n :]))
            slopes.append((stages[-1].x - base) / (h * _GAMMA))
        size = self.tolerance * (np.abs(stages[3].x) + self._floor)
        gap = (stages[3].x - stages[2].x) / size
        return stages, math.sqrt(gap @ gap / self._n)

    def _factors(self, jacobian: Array, h: float) -> Factors | None:
        """LU factors of [[1 - h f_x, -h f_z], [g_x, g_z]]."""
        n = self._n
        matrix = jacobian * self._rows(h)
        matrix.ravel("K")[: n * (n + self._m + 1) : n + self._m + 1] += 1.0
        lu, pivots, info = lapack.dgetrf(matrix, overwrite_a=1)
        return (lu, pivots) if info == 0 else None

    def _rows(self, h: float) -> Array:
        """-h on the rows of states, 1 on those of algebraic equations."""
        if h not in self._row_scales:
            column = np.ones((self._n + self._m, 1), order="F")
            column[: self._n] = -h
            self._row_scales = {h: column}
        return self._row_scales[h]

    def _stage(
        self,
        t: float,
        base: Array,
        w: Array,
        h: float,
        factors: Factors,
    ) -> Array | None:
        """Newton for X = base + h f(X, Z), 0 = g(X, Z); the factors are renewed when it is slow."""
        n, previous, rate = self._n, math.inf, 1.0
        residual = np.empty(n + self._m)
        for k in range(_NEWTON):
            self._go(t, w[:n], w[n:])
            both = self._values()[0]
            np.multiply(both[:n], h, out=residual[:n])
            residual[:n] += base
            residual[:n] -= w[:n]
            np.negative(both[n:], out=residual[n:])
            change = lapack.dgetrs(*factors, residual)[0]
            w = w + change
            size = float(np.abs(change / (self._scale + np.abs(w))).max())
            if not size < 1e8:
                return None
            rate = size / previous if k else rate
            if size <= 1e-13 or (rate < 1 and size * rate / (1 - rate) <= _CLOSE):
                return w
            if k and rate > 0.2:
                self._go(t, w[:n], w[n:])
                renewed = self._factors(self._newton()[1], h)
                if renewed is None:
                    return None
                factors = renewed
            previous = size
        return None

    def _carry(self, slopes: Array, t: float, h: float, stages: list[Stage]) -> Array:
        """The derivative of the substep, applied to ``slopes``."""
        n, reach = self._n, h * _GAMMA
        rates: list[Array] = []
        after = slopes
        for i, stage in enumerate(stages):
            self._go(t + _NODES[i] * h, stage.x, stage.z)
            by_w, by_theta = self._slopes()
            if i == 0:
                rates.append(self._first_rate(slopes, by_w, by_theta))
                continue
            base = slopes + (h * _ROWS[i][0]) * rates[0]
            for a, rate in zip(_ROWS[i][1:], rates[1:], strict=True):
                base += (h * a) * rate
            right = np.zeros((n + self._m, base.shape[1]), order="F")
            right[:n] = base
            right[:n, n:] += reach * by_theta[:n]
            right[n:, n:] -= by_theta[n:]
            factors = self._factors(by_w, reach)
            if factors is None:
                raise self._failure(t, stages[0].x, stages[0].z)
            after = lapack.dgetrs(*factors, right, overwrite_b=1)[0][:n]
            if i < 3:
                rates.append((after - base) / reach)
        return after

    def _first_rate(self, slopes: Array, by_w: Array, by_theta: Array) -> Array:
        """Derivative of the slope at the start of the substep."""
        n = self._n
        rate: Array = by_w[:n, :n] @ slopes
        rate[:, n:] += by_theta[:n]
        if self._m:
            total = self._algebraic_slopes(by_w, by_theta)
            inner = total[:, :n] @ slopes
            inner[:, n:] += total[:, n:]
            rate += by_w[:n, n:] @ inner
        return rate

    def _algebraic_slopes(self, by_w: Array, by_theta: Array) -> Array:
        """dz/d(x, u, p) from the implicit function theorem."""
        n = self._n
        right = np.hstack([by_w[n:, :n], by_theta[n:]])
        return np.asarray(-np.linalg.solve(by_w[n:, n:], right))

    def _algebraic(self, t: float, x: Array) -> Array:
        """Z by Newton from the declared guess, damped if plain Newton does not converge."""
        guess = self._guess
        if not self._m:
            return guess
        n, z = self._n, np.asarray(guess)
        for _ in range(_NEWTON):
            self._go(t, x, z)
            both, jacobian = self._newton()
            _, _, change, info = lapack.dgesv(jacobian[n:, n:], -both[n:])
            if info != 0 or not np.isfinite(change).all():
                break
            z = np.asarray(z + change)
            if np.abs(change / (self.compiled.nominal_z + np.abs(z))).max() <= 1e-10:
                return z
        return consistent(self.compiled, t, x, guess, self._inputs[3], self._inputs[4])

    def _failure(self, t: float, x: Array, z: Array) -> SolveError:
        u, p = self._inputs[3], self._inputs[4]
        return describe_failure(self.compiled, t, x, z, u, p, np.zeros(self._n))


def _vector(values: Any) -> Array:
    return np.asarray(values, dtype=float).ravel()
