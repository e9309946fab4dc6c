"""scikit-sundae: SUNDIALS' CVODE, with functions compiled by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.work import ATOL, Leg, Work, compiled, march


class Sundae:
    """BDF; exact Jacobian; banded where that helps, else dense."""

    name, tool = "scikit-sundae CVODE, numba", "scikit-sundae"

    def prepare(self, work: Work) -> Callable[[int, float], Any]:
        """One solver per tolerance; the parameters of the individual are its user data."""
        import numba
        from sksundae.cvode import CVODE

        code = compiled(work)
        inner, jacobian = code.slope, code.jacobian
        row, column = (np.array(part) for part in work.jacobian.sparsity().get_triplet())
        count_nz = len(row)

        @numba.njit
        def slope(t: float, x: Any, out: Any, user: Any) -> None:
            inner(t, x, user[0], out)

        @numba.njit
        def matrix(t: float, x: Any, slopes: Any, out: Any, user: Any) -> None:
            numbers = np.empty(count_nz)
            jacobian(t, x, user[0], numbers)
            for k in range(count_nz):
                out[row[k], column[k]] = numbers[k]

        theta = np.zeros(work.theta.shape[1])
        band = {} if work.band is None else {
            "linsolver": "band", "lband": work.band[0], "uband": work.band[1]
        }  # fmt: skip
        made: dict[float, Any] = {}

        def run(count: int, rtol: float) -> Any:
            if rtol not in made:
                made[rtol] = CVODE(
                    slope, userdata=(theta,), rtol=rtol, atol=ATOL * rtol, jacfn=matrix,
                    max_num_steps=100_000, **band,
                )  # fmt: skip
            solver = made[rtol]

            def leg(x: Any, part: Leg) -> Any:
                return solver.solve(np.array([part.begin, *part.nodes]), x).y[1:]

            values = []
            for i in range(count):
                theta[:] = work.theta[i]
                values.append(march(work, i, leg, code.outputs))
            return np.array(values)

        return run
