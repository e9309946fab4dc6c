"""numbalsoda: LSODA called from compiled code, individuals and doses looped there as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.work import ATOL, Work, compiled


class NumbaLsoda:
    """No Python between the evaluations; the Jacobian is LSODA's own, by differences."""

    name, tool = "numbalsoda", "numbalsoda"

    def prepare(self, work: Work) -> Callable[[int, float], Any]:
        """One compiled function solves many individuals."""
        import numba
        from numbalsoda import lsoda, lsoda_sig

        code = compiled(work)
        inner, outputs = code.slope, code.outputs
        n, n_theta, n_outputs = work.n, work.theta.shape[1], work.n_outputs

        @numba.cfunc(lsoda_sig)
        def slope(t: float, x: Any, out: Any, p: Any) -> None:
            inner(t, numba.carray(x, (n,)), numba.carray(p, (n_theta,)), numba.carray(out, (n,)))

        address = slope.address
        grid = np.concatenate([[leg.begin, *leg.nodes] for leg in work.legs])
        first = np.cumsum([0, *(len(leg.nodes) + 1 for leg in work.legs)])
        doses = np.zeros((len(work.legs), n))
        for k, leg in enumerate(work.legs):
            for index, amount in leg.doses:
                doses[k, index] += amount
        n_times = len(work.times)

        @numba.njit
        def all_of(theta: Any, starts: Any, rtol: float) -> Any:
            values = np.empty((len(theta), n_times, n_outputs))
            for i in range(len(theta)):
                x = starts[i].copy()
                row = 0
                for k in range(len(doses)):
                    x = x + doses[k]
                    outputs(x, theta[i], values[i, row])
                    states, _ = lsoda(
                        address, x, grid[first[k] : first[k + 1]], theta[i], rtol, ATOL * rtol,
                        100000,
                    )  # fmt: skip
                    for j in range(1, len(states)):
                        outputs(states[j], theta[i], values[i, row + j])
                    row += len(states) - 1
                    x = states[-1]
            return values

        def run(count: int, rtol: float) -> Any:
            return all_of(work.theta[:count], work.starts[:count], rtol)

        run.keeps = slope  # type: ignore[attr-defined]
        return run
