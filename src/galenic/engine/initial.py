"""Algebraic quantities that satisfy their equations: Newton with line search."""

from __future__ import annotations

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.engine.compile import Compiled
from galenic.errors import SolveError

Array = npt.NDArray[np.float64]


def consistent(
    compiled: Compiled,
    time: float,
    x: Array,
    z: Array,
    u: Array,
    p: Array,
    tolerance: float = 1e-10,
    max_steps: int = 60,
) -> Array:
    """The z near the guess for which 0 = alg(t, x, z, u, p).

    The size of a Newton step is measured in nominal values. Steps are halved until the step that
    the same Jacobian would take next is shorter (affine invariant test of Deuflhard 2004).
    """
    if compiled.nz == 0:
        return z
    z = np.array(z, dtype=float)
    nominal = compiled.nominal_z
    for _ in range(max_steps):
        residual, jacobian = compiled.algebraic(time, x, z, u, p)
        step = _solve(jacobian, residual)
        length = np.linalg.norm(step / nominal) if step is not None else np.inf
        if step is None or not np.isfinite(length):
            raise _failure(compiled, time, np.array(residual).ravel(), jacobian)
        scale = np.linalg.norm(z / nominal) + 1.0
        if length <= tolerance * scale:
            return z + step
        z = _damped(compiled, time, (x, u, p), z, step, jacobian, float(length))
    raise _failure(compiled, time, np.array(residual).ravel(), jacobian)


def _damped(
    compiled: Compiled,
    time: float,
    fixed: tuple[Array, Array, Array],
    z: Array,
    step: Array,
    jacobian: ca.DM,
    length: float,
) -> Array:
    x, u, p = fixed
    share = 1.0
    while share > 1e-4:
        trial = z + share * step
        residual = compiled.algebraic(time, x, trial, u, p)[0]
        next_step = _solve(jacobian, residual)
        if next_step is not None:
            next_length = np.linalg.norm(next_step / compiled.nominal_z)
            if next_length <= (1 - 0.25 * share) * length:
                return trial
        share *= 0.5
    return z + share * step


def _solve(jacobian: ca.DM, residual: ca.DM) -> Array | None:
    from scipy.sparse.linalg import splu

    if jacobian.shape[0] <= 60:
        try:
            step = np.linalg.solve(np.array(jacobian), -np.array(residual).ravel())
        except np.linalg.LinAlgError:
            return None
    else:
        try:
            step = splu(jacobian.sparse().tocsc()).solve(-np.array(residual).ravel())
        except RuntimeError:
            return None
    return np.asarray(step, dtype=float) if np.isfinite(step).all() else None


def _failure(compiled: Compiled, time: float, residual: Array, jacobian: ca.DM) -> SolveError:
    size = np.where(np.isfinite(residual), np.abs(residual), np.inf)
    worst = int(np.argmax(size))
    rows = np.abs(np.nan_to_num(np.array(jacobian)))
    variable = compiled.system.algebraics[int(np.argmax(rows[worst]))].path
    rank = np.linalg.matrix_rank(rows) if len(rows) <= 500 else len(rows)
    singular = rank < len(rows)
    hint = (
        f"only {rank} of {len(rows)} algebraic equations are independent here"
        if singular
        else f"give {variable} a start value near its solution, or check its equation"
    )
    return SolveError(
        f"no consistent algebraic values at t = {time:.6g} s: equation {worst + 1} of "
        f"{len(residual)} keeps a residual of {residual[worst]:.3g}; it acts mostly on {variable}",
        time=time,
        state=variable,
        where=compiled.system.name,
        hint=hint,
    )
