"""What the ids of a PEtab problem mean in its SBML model: settings, start values, results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from galenic.engine.simulate import Simulator
from galenic.engine.trajectory import Trajectory
from galenic.inference.petab.refusal import refused
from galenic.modeling.sbml import Imported, import_text
from galenic.modeling.sbml.document import read, text_of
from galenic.modeling.sbml.quantities import Document, Quantity
from galenic.units import unit


@dataclass(frozen=True)
class Entities:
    """The model of a problem, addressed by the ids of its SBML file; plain numbers throughout."""

    imported: Imported
    quantities: Mapping[str, Quantity]
    time_unit: str

    @classmethod
    def of(cls, path: Path) -> Entities:
        """The entities of the model in an SBML file."""
        text = text_of(path)
        document = Document(read(text, path.name)[0].getModel(), [])
        return cls(import_text(text, path.name), document.quantities, document.sizes.time)

    @cached_property
    def simulator(self) -> Simulator:
        """The compiled model."""
        return Simulator(self.imported.model())

    @cached_property
    def defaults(self) -> dict[str, float]:
        """The constants of the model in their units, by path."""
        entries = self.simulator.system.parameters
        return {e.path: float(e.value) / e.unit.scale for e in entries}

    @cached_property
    def computed(self) -> frozenset[str]:
        """Paths that are not settings: constants with a formula are among them."""
        entries = self.simulator.system.entries()
        return frozenset(e.path for e in entries) - self.defaults.keys()

    def require_settable(self, name: str, where: str) -> None:
        """An id that can be given a value for a run: a free constant, or a species."""
        q = self.quantities.get(name)
        if q is None:
            raise refused(f"{name!r} is nothing in the model", where,
                          "a parameter, species or compartment")  # fmt: skip
        computed = q.how in ("rule", "implied") or (
            q.how == "constant" and q.attribute in self.computed
        )  # fmt: skip
        if computed or (q.how != "constant" and not self._start_path(q)):
            raise refused(f"{name!r}, which a rule or an initial assignment of the model "
                          "determines,", where, "a constant or a species")  # fmt: skip

    def require_constant(self, name: str, where: str) -> None:
        """An id of the parameter table that is in the model has to be one of its constants."""
        self.require_settable(name, where)
        if self.quantities[name].how != "constant":
            raise refused(f"{name!r}, which changes over time in the model,", where, "a constant",
                          "set its start value in the condition table")  # fmt: skip

    def _start_path(self, q: Quantity) -> str:
        """The state whose start value an id sets; empty if its compartment moves too."""
        if not q.has_amount_state:
            return q.attribute
        assert q.volume is not None
        return q.base if q.volume.attribute in self.defaults else ""

    def run(self, given: Mapping[str, float], times: list[float], rtol: float) -> Trajectory:
        """Simulate with ``given`` values by id up to the times, in the model's unit of time."""
        values = {}
        for name, value in given.items():
            q = self.quantities[name]
            if q.how != "constant":
                size = 1.0
                if q.has_amount_state and q.volume is not None:
                    size = given.get(q.volume.id, self.defaults[q.volume.attribute])
                values[self._start_path(q)] = value * size
            elif q.attribute in self.defaults:
                values[q.attribute] = value
        second = unit(self.time_unit).scale
        return self.simulator.run(values=values, times=[t * second for t in times], rtol=rtol)

    def result(self, name: str, given: Mapping[str, float], run: Trajectory) -> Any:
        """What an id was in a run: a number, or an array over the times of the run."""
        attribute = self.quantities[name].attribute
        if attribute in run:
            return run[attribute].values
        return given[name] if name in given else self.defaults[attribute]
