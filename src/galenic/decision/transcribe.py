"""Direct collocation: a System on a time grid as equations of a nonlinear program.

Each step of the grid holds its inputs and is resolved by ``degree`` Radau points, so the method is
L-stable and its order at the grid points is ``2 degree - 1``. All unknowns are scaled by the
quantities' nominal values.

Reference: Biegler, Nonlinear Programming (SIAM 2010), chapter 10 (general knowledge).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np

from galenic.engine.collocation import Collocation as Interval
from galenic.engine.compile import compile_system
from galenic.errors import StructureError
from galenic.modeling.system import System


@dataclass(frozen=True)
class Grid:
    """Steps of a transcription.

    Parameters
    ----------
    lengths : tuple of float [s]
        Length of each step.
    degree : int
        Radau points per step.
    """

    lengths: tuple[float, ...]
    degree: int = 2

    @property
    def count(self) -> int:
        return len(self.lengths)

    @property
    def ends(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """End of each step [s]."""
        return np.cumsum(self.lengths)


def refuse_events(system: System, *, allowed: Sequence[str] = ()) -> None:
    """Refuse a system with events: a smooth program cannot hold them.

    Modes must come as inputs with a predicted schedule, or the named events must be ones that the
    caller places on grid nodes itself.
    """
    state_events = [rule.name for rule in system.events if rule.trigger is not None]
    timed = [rule.name for rule in system.events if rule.trigger is None]
    barred = [name for name in state_events + timed if name not in allowed]
    if barred:
        raise StructureError(
            f"{system.name} has events that a smooth program cannot hold: {', '.join(barred)}",
            where="transcription",
            expected="modes as inputs with a predicted schedule",
            hint="declare the mode as an Input and give its schedule; see docs/how-to/control.md",
        )


class Collocation:
    """One step of a System as algebraic equations, and its outputs.

    Parameters
    ----------
    system : System
    degree : int
        Radau points per step.
    outputs : sequence of str
        Paths whose values at the end of a step are wanted.
    """

    def __init__(self, system: System, degree: int = 2, outputs: Sequence[str] = ()) -> None:
        self.system = system
        self.degree = degree
        self.outputs = tuple(outputs)
        self.nx, self.nz = system.x.numel(), system.z.numel()
        self.x_scale = scales(system.states)
        self.z_scale = scales(system.algebraics)

    @cached_property
    def step(self) -> ca.Function:
        """``(x0, w, u, p, t0, h) -> (residual, x_end, y_end)`` with scaled unknowns.

        ``w`` stacks states and algebraics of every Radau point; ``residual`` has as many rows as
        ``w`` and is scaled like the states.
        """
        x0 = ca.SX.sym("x0", self.nx)
        w = ca.SX.sym("w", (self.nx + self.nz) * self.degree)
        u = ca.SX.sym("u", self.system.u.numel())
        p = ca.SX.sym("p", self.system.p.numel())
        t0, h = ca.SX.sym("t0"), ca.SX.sym("h")
        blocks = ca.reshape(w, self.nx + self.nz, self.degree)
        x = blocks[: self.nx, :] * ca.repmat(self.x_scale, 1, self.degree)
        z = blocks[self.nx :, :] * ca.repmat(self.z_scale, 1, self.degree)
        interval = Interval(compile_system(self.system), self.degree)
        defects, residuals, end = interval.defects(t0, h, x0 * self.x_scale, x, z, u, p)
        scaled = ca.vertcat(defects / ca.repmat(self.x_scale, 1, self.degree), residuals)
        y_end = self.observe(t0 + h, end, z[:, -1], u, p)
        return ca.Function(
            "step", [x0, w, u, p, t0, h], [ca.vec(scaled), end / self.x_scale, y_end]
        )

    @cached_property
    def observe(self) -> ca.Function:
        """``(t, x, z, u, p) -> y`` of the wanted outputs, SI."""
        system = self.system
        columns = {"state": system.x, "algebraic": system.z, "input": system.u,
                   "parameter": system.p, "output": system.y}  # fmt: skip
        rows = []
        for path in self.outputs:
            kind, index = system.index(path)
            rows.append(columns[kind][index])
        return ca.Function(
            "observe",
            [system.t, system.x, system.z, system.u, system.p],
            [ca.vertcat(*rows) if rows else ca.SX(0, 1)],
        )


def scales(entries: Sequence[Any]) -> ca.DM:
    """Nominal sizes of quantities as a column, 1 where none is known."""
    return ca.DM([entry.nominal if entry.nominal else 1.0 for entry in entries])
