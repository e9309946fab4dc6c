"""Where a model is at one time: enough to go on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.engine.compile import Compiled
from galenic.units import from_si

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class State:
    """Time [s] and the vectors x, z, u, p (SI) of a compiled system.

    ``given`` holds the inputs without what an experiment did to them: a run that goes on from here
    starts from these, so pass it the experiment again.

    ``state["tank.c"]`` gives a quantity in its declared unit, outputs included;
    ``state.si("tank.c")`` gives it in SI.
    """

    compiled: Compiled
    time: float
    x: Array
    z: Array
    u: Array
    p: Array
    given: Array

    def si(self, path: Any) -> float:
        """The value of a quantity in SI."""
        kind, i = self.compiled.find(path)
        if kind == "output":
            return float(self.compiled.outputs(self.time, self.x, self.z, self.u, self.p)[i])
        vector = {"state": self.x, "algebraic": self.z, "input": self.u, "parameter": self.p}
        return float(vector[kind][i])

    def __getitem__(self, path: Any) -> float:
        return float(from_si(self.si(path), self.compiled.entry(path).unit))

    def to_dict(self) -> dict[str, float]:
        """All states, algebraic quantities, inputs and outputs in declared units."""
        y = np.array(self.compiled.outputs(self.time, self.x, self.z, self.u, self.p)).ravel()
        vectors = {"output": y, "input": self.u, "algebraic": self.z, "state": self.x}
        return {
            entry.path: float(from_si(value, entry.unit))
            for kind, vector in vectors.items()
            for entry, value in zip(self.compiled.tables[kind], vector, strict=True)
        }
