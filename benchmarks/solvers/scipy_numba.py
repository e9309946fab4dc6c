"""SciPy's LSODA and BDF with right-hand side and Jacobian compiled by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.work import ATOL, Leg, Work, compiled, march


class ScipyLsoda:
    """``scipy.integrate.odeint``, the LSODA with least overhead; banded where that helps."""

    name, tool = "scipy LSODA, numba", "scipy"

    def prepare(self, work: Work) -> Callable[[int, float], Any]:
        """Functions that give a new array, as odeint wants them."""
        from scipy.integrate import odeint

        code = compiled(work)
        slope, jacobian, how = _slope(work, code), *_jacobian(work, code)

        def run(count: int, rtol: float) -> Any:
            def leg(x: Any, part: Leg) -> Any:
                grid = np.array([part.begin, *part.nodes])
                return odeint(
                    slope, x, grid, args=(theta,), tfirst=True, rtol=rtol, atol=ATOL * rtol,
                    mxstep=100_000, Dfun=jacobian, **how,
                )[1:]  # fmt: skip

            found = []
            for i in range(count):
                theta = work.theta[i]
                found.append(march(work, i, leg, code.outputs))
            return np.array(found)

        return run


def _slope(work: Work, code: Any) -> Callable[..., Any]:
    import numba

    n, inner = work.n, code.slope

    @numba.njit
    def slope(t: float, x: Any, p: Any) -> Any:
        out = np.empty(n)
        inner(t, x, p, out)
        return out

    return slope  # type: ignore[no-any-return]


def _jacobian(work: Work, code: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The Jacobian as odeint wants it: whole, or the band with rows for fill."""
    import numba

    row, column = (np.array(part) for part in work.jacobian.sparsity().get_triplet())
    n, count, inner = work.n, len(row), code.jacobian
    if work.band is None:
        place, height, how = row, n, {}
    else:
        lower, upper = work.band
        place, height = row - column + upper, lower + upper + 1
        how = {"ml": lower, "mu": upper}

    @numba.njit
    def jacobian(t: float, x: Any, p: Any) -> Any:
        numbers = np.empty(count)
        inner(t, x, p, numbers)
        out = np.zeros((height, n))
        for k in range(count):
            out[place[k], column[k]] = numbers[k]
        return out

    return jacobian, how


class ScipyBdf:
    """``scipy.integrate.solve_ivp`` with BDF and the exact, sparse Jacobian."""

    name, tool = "scipy BDF, numba", "scipy"

    def prepare(self, work: Work) -> Callable[[int, float], Any]:
        """The Jacobian is dense for few states, sparse for many."""
        from scipy.integrate import solve_ivp
        from scipy.sparse import csc_matrix

        code = compiled(work)
        slope, dense = _slope(work, code), _dense(work, code)
        pattern = work.jacobian.sparsity()
        colind, row = np.array(pattern.colind()), np.array(pattern.row())

        def sparse(t: float, x: Any, p: Any) -> Any:
            numbers = np.empty(len(row))
            code.jacobian(t, x, p, numbers)
            return csc_matrix((numbers, row, colind), shape=(work.n, work.n))

        def run(count: int, rtol: float) -> Any:
            def leg(x: Any, part: Leg) -> Any:
                found = solve_ivp(
                    slope, (part.begin, part.end), x, "BDF", np.array(part.nodes), args=(theta,),
                    rtol=rtol, atol=ATOL * rtol, jac=dense if work.n < 40 else sparse,
                )  # fmt: skip
                return found.y.T

            values = []
            for i in range(count):
                theta = work.theta[i]
                values.append(march(work, i, leg, code.outputs))
            return np.array(values)

        return run


def _dense(work: Work, code: Any) -> Callable[..., Any]:
    import numba

    row, column = (np.array(part) for part in work.jacobian.sparsity().get_triplet())
    n, count, inner = work.n, len(row), code.jacobian

    @numba.njit
    def dense(t: float, x: Any, p: Any) -> Any:
        numbers = np.empty(count)
        inner(t, x, p, numbers)
        out = np.zeros((n, n))
        for k in range(count):
            out[row[k], column[k]] = numbers[k]
        return out

    return dense  # type: ignore[no-any-return]
