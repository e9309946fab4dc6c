"""On which states and inputs the rates, outputs and triggers of a System depend."""

from __future__ import annotations

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.modeling.system import System

Row = dict[int, str]


class Dependencies:
    """Structural dependencies on continuous states, inputs and time, in this order.

    Each row maps a place to FMI's kind: ``constant`` where the coefficient is a number, else
    ``dependent``. What goes through algebraic quantities is ``dependent`` on all that the
    coupled algebraic equations contain, which may be more than the solution needs.
    """

    def __init__(self, system: System, continuous: list[int]) -> None:
        self._rates = len(continuous)
        self._outputs = len(system.outputs)
        triggers = [rule.trigger for rule in system.events if rule.trigger is not None]
        rates = [system.ode[i] for i in continuous]
        unknowns = ca.vertcat(*rates, system.y, *triggers)
        states = [system.x[i] for i in continuous]
        knowns = ca.vertcat(*states, system.u, system.t)
        self._rows: list[Row] = [{} for _ in range(unknowns.numel())]
        jacobian = ca.jacobian(ca.densify(unknowns), knowns)
        for k, (row, column) in enumerate(zip(*jacobian.sparsity().get_triplet(), strict=True)):
            number = jacobian.nz[k].is_constant()
            self._rows[row][column] = "constant" if number else "dependent"
        if system.z.numel():
            self._add_coupled(unknowns, knowns, system)

    def rate(self, i: int) -> Row:
        """The i-th continuous rate."""
        return self._rows[i]

    def output(self, i: int) -> Row:
        """The i-th output."""
        return self._rows[self._rates + i]

    def level(self, i: int) -> Row:
        """The i-th trigger."""
        return self._rows[self._rates + self._outputs + i]

    def _add_coupled(self, unknowns: ca.SX, knowns: ca.SX, system: System) -> None:
        coupled = _joined(_pattern(system.alg, system.z))
        through = coupled @ _pattern(system.alg, knowns)
        reached = _pattern(unknowns, system.z) @ through
        for row, column in zip(*np.nonzero(reached), strict=True):
            self._rows[row][int(column)] = "dependent"


def _pattern(expression: ca.SX, symbols: ca.SX) -> npt.NDArray[np.bool_]:
    sparsity = ca.jacobian_sparsity(ca.densify(expression), symbols)
    pattern = np.zeros((expression.numel(), symbols.numel()), dtype=bool)
    pattern[tuple(np.array(part, dtype=int) for part in sparsity.get_triplet())] = True
    return pattern


def _joined(pattern: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which algebraic quantity may depend on which equation: those joined by any chain."""
    from scipy.sparse.csgraph import connected_components

    size = len(pattern)
    graph = np.block([[np.zeros_like(pattern), pattern], [pattern.T, np.zeros_like(pattern)]])
    _, label = connected_components(graph, directed=False)
    equations, quantities = label[:size], label[size:]
    return np.asarray(quantities[:, None] == equations[None, :])
