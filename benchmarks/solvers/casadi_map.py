"""CasADi: the whole schedule of one individual as a Function, mapped over individuals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

from solvers.work import ATOL, Work


class CasadiMap:
    """CVODES with the exact sparse Jacobian, ``Function.map`` over the individuals."""

    name, tool = "casadi map, cvodes", "casadi"

    def prepare(self, work: Work) -> Callable[[int, float], Any]:
        """One mapped Function per tolerance and number of individuals."""
        made: dict[tuple[int, float], Any] = {}

        def run(count: int, rtol: float) -> Any:
            if (count, rtol) not in made:
                made[count, rtol] = _schedule(work, rtol).map(count)
            values = np.array(made[count, rtol](work.theta[:count].T, work.starts[:count].T))
            shape = work.n_outputs, count, len(work.times)
            return values.reshape(shape).transpose(1, 2, 0)

        return run


def _schedule(work: Work, rtol: float) -> ca.Function:
    x, p = ca.MX.sym("x", work.n), ca.MX.sym("p", work.theta.shape[1])
    outputs = ca.Function("y", [work.x, work.p], [work.y])
    dae = {"x": work.x, "p": work.p, "ode": work.ode}
    options = {"reltol": rtol, "abstol": ATOL * rtol, "max_num_steps": 100_000}
    state, rows = x, []
    solvers: dict[tuple[float, ...], Any] = {}
    for leg in work.legs:
        dose = np.zeros(work.n)
        for index, amount in leg.doses:
            dose[index] += amount
        state = state + dose
        if not rows:
            rows.append(outputs(state, p))
        span = tuple(np.array(leg.nodes) - leg.begin)
        if span not in solvers:
            solvers[span] = ca.integrator("leg", "cvodes", dae, 0, list(span), options)
        states = solvers[span](x0=state, p=p)["xf"]
        rows[-1] = rows[-1] if leg.begin == work.legs[0].begin else outputs(state, p)
        rows += [outputs(states[:, k], p) for k in range(len(leg.nodes))]
        state = states[:, -1]
    return ca.Function("schedule", [p, x], [ca.horzcat(*rows)])
