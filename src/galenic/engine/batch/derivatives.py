"""By what the outputs of a population are differentiated, and how that is written into a kernel.

A parameter, the start value of a state, an input (a constant added to it over the whole run), or
``dose(path)``: the factor by which all amounts given to a state or through an input are multiplied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np
import numpy.typing as npt

from galenic.engine.batch.summaries import Frame
from galenic.engine.compile import Compiled
from galenic.engine.trajectory import Column
from galenic.errors import DataError
from galenic.units import unit

if TYPE_CHECKING:
    from galenic.engine.native import Problem

Array = npt.NDArray[np.float64]

_DOSE = re.compile(r"dose\((?P<path>.+)\)")
_SLOTS = {"parameter": "parameter", "state": "start", "input": "shift", "dose": "dose"}


@dataclass(frozen=True)
class By:
    """A quantity by which is differentiated; ``kind`` is parameter, state, input or dose."""

    kind: str
    index: int
    path: str
    unit: str
    nominal: float  # in the declared unit

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return f"dose({self.path})" if self.kind == "dose" else self.path

    @property
    def slot(self) -> tuple[str, str]:
        """Its element of theta."""
        return _SLOTS[self.kind], self.path


def chosen(compiled: Compiled, wrt: Sequence[Any]) -> tuple[By, ...]:
    """The checked list of what a user named."""
    found: list[By] = []
    for item in wrt:
        match = _DOSE.fullmatch(str(item))
        kinds = ("state", "input") if match else ("parameter", "state", "input")
        path = match["path"] if match else str(item)
        for scalar in compiled.system.expand(path):
            kind, index = compiled.find(scalar, *kinds)
            entry = compiled.tables[kind][index]
            size = abs(float(entry.nominal)) / entry.unit.scale
            size = size if np.isfinite(size) and size > 0 else 1.0
            by = By(kind, index, entry.path, entry.unit.difference.text, size)
            found.append(By("dose", index, entry.path, "1", 1.0) if match else by)
    if len(set(found)) < len(found):
        raise DataError("a quantity is named twice", where="wrt")
    return tuple(found)


def name(output: str, by: str) -> str:
    """The name of a derivative among the outputs of a run."""
    return f"d {output} / d {by}"


def with_derivatives(frame: Frame, wrt: Sequence[By]) -> Frame:
    """The axes of a run with the derivatives behind the outputs."""
    columns, nominal = list(frame.columns), list(frame.nominal)
    for by in wrt:
        for column, size in zip(frame.columns, frame.nominal, strict=True):
            own = column.unit.difference
            of = own if by.kind == "dose" else unit(f"({own.text})/({by.unit})")
            columns.append(Column(name(column.path, by.name), of, "derivative", "derivative"))
            nominal.append(size / by.nominal)
    return Frame(frame.times, tuple(columns), tuple(nominal), frame.individuals)


@dataclass(frozen=True, eq=False)
class Derivatives:
    """A kernel problem without and with its derivatives.

    Parameters
    ----------
    base : Problem
        The model, with an element of theta for each quantity.
    wrt : tuple of By
        The quantities.
    """

    base: Problem
    wrt: tuple[By, ...]

    @property
    def places(self) -> list[int]:
        """Their elements of theta."""
        return [self.base.layout[by.slot] for by in self.wrt]

    @cached_property
    def problem(self) -> Problem:
        """The problem with derivatives."""
        from galenic.engine.native import with_sensitivities

        return with_sensitivities(self.base, self.places)

    @cached_property
    def _slopes(self) -> ca.Function:
        by = ca.vertcat(*(self.base.theta[j] for j in self.places))
        return ca.Function("slopes", [self.base.theta], [ca.densify(ca.jacobian(self.base.x0, by))])

    def start(self, states: Array, theta: Array, given: npt.NDArray[np.bool_]) -> Array:
        """Start values (m, n) with their derivatives behind them, as kernels order them.

        ``given`` marks the states whose start value was given, not computed from parameters.
        """
        count, nx, columns = len(states), self.base.nx, len(self.wrt)
        slopes = np.array(self._slopes(theta.T)).reshape(nx, count, columns).transpose(1, 2, 0)
        slopes = np.where(given, 0.0, slopes)
        for column, by in enumerate(self.wrt):
            if by.kind == "state":
                slopes[:, :, by.index] = 0.0
                slopes[:, column, by.index] = 1.0
        silent = np.zeros((count, columns * self.base.nz))
        parts = [states[:, :nx], slopes.reshape(count, -1), states[:, nx:], silent]
        return np.ascontiguousarray(np.hstack(parts))
