"""Small SBML documents, written by libSBML from formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import libsbml


def math(text: str) -> Any:
    """MathML of a formula in libSBML's notation."""
    node = libsbml.parseL3Formula(text)
    assert node is not None, libsbml.getLastParseL3Error()
    return node


class Build:
    """A Level 3 document under construction; ``write`` puts it into a folder."""

    def __init__(self, **units: str) -> None:
        self.document = libsbml.SBMLDocument(3, 2)
        self.model = self.document.createModel()
        self.model.setId("built")
        for kind, name in units.items():
            getattr(self.model, f"set{kind.capitalize()}Units")(name)

    def compartment(self, name: str, size: float | None = 1.0, **facts: Any) -> Build:
        one = self.model.createCompartment()
        self._facts(one, {"id": name, "constant": True, "spatialDimensions": 3} | facts)
        if size is not None:
            one.setSize(size)
        return self

    def species(self, name: str, compartment: str = "C", **facts: Any) -> Build:
        one = self.model.createSpecies()
        defaults = {"hasOnlySubstanceUnits": False, "boundaryCondition": False, "constant": False}
        self._facts(one, {"id": name, "compartment": compartment} | defaults | facts)
        return self

    def parameter(self, name: str, value: float | None = None, **facts: Any) -> Build:
        one = self.model.createParameter()
        self._facts(one, {"id": name, "constant": True} | facts)
        if value is not None:
            one.setValue(value)
        return self

    def function(self, name: str, body: str) -> Build:
        one = self.model.createFunctionDefinition()
        one.setId(name)
        one.setMath(math(body))
        return self

    def initial(self, name: str, formula: str) -> Build:
        one = self.model.createInitialAssignment()
        one.setSymbol(name)
        one.setMath(math(formula))
        return self

    def assign(self, name: str, formula: str) -> Build:
        one = self.model.createAssignmentRule()
        one.setVariable(name)
        one.setMath(math(formula))
        return self

    def rate(self, name: str, formula: str) -> Build:
        one = self.model.createRateRule()
        one.setVariable(name)
        one.setMath(math(formula))
        return self

    def algebraic(self, formula: str) -> Build:
        self.model.createAlgebraicRule().setMath(math(formula))
        return self

    def reaction(
        self,
        name: str,
        law: str | None,
        reactants: Mapping[str, float] | None = None,
        products: Mapping[str, float] | None = None,
        local: Mapping[str, float] | None = None,
        ids: Mapping[str, str] | None = None,
        modifiers: Sequence[str] = (),
    ) -> Build:
        one = self.model.createReaction()
        self._facts(one, {"id": name, "reversible": False})
        for create, table in ((one.createReactant, reactants), (one.createProduct, products)):
            for species, count in (table or {}).items():
                reference = create()
                variable = species in (ids or {})
                self._facts(reference, {"species": species, "constant": not variable})
                reference.setStoichiometry(count)
                if variable:
                    reference.setId(ids[species])
        for species in modifiers:
            one.createModifier().setSpecies(species)
        if law is not None:
            kinetic = one.createKineticLaw()
            kinetic.setMath(math(law))
            for parameter, value in (local or {}).items():
                made = kinetic.createLocalParameter()
                made.setId(parameter)
                made.setValue(value)
        return self

    def event(
        self,
        name: str,
        trigger: str,
        assign: Mapping[str, str],
        delay: str | None = None,
        priority: str | None = None,
        initial: bool = True,
        persistent: bool = True,
        at_trigger: bool = True,
    ) -> Build:
        one = self.model.createEvent()
        one.setId(name)
        one.setUseValuesFromTriggerTime(at_trigger)
        made = one.createTrigger()
        made.setMath(math(trigger))
        made.setInitialValue(initial)
        made.setPersistent(persistent)
        if delay is not None:
            one.createDelay().setMath(math(delay))
        if priority is not None:
            one.createPriority().setMath(math(priority))
        for variable, formula in assign.items():
            part = one.createEventAssignment()
            part.setVariable(variable)
            part.setMath(math(formula))
        return self

    def unit(self, name: str, *factors: tuple[str, float, int, float]) -> Build:
        """A unit definition of (kind, exponent, scale, multiplier)."""
        one = self.model.createUnitDefinition()
        one.setId(name)
        for kind, exponent, scale, multiplier in factors:
            made = one.createUnit()
            made.setKind(libsbml.UnitKind_forName(kind))
            made.setExponent(exponent)
            made.setScale(scale)
            made.setMultiplier(multiplier)
        return self

    def text(self) -> str:
        """The document."""
        written: str = libsbml.writeSBMLToString(self.document)
        return written

    def write(self, folder: Path, name: str = "built.xml") -> Path:
        """The document as a file."""
        path = folder / name
        path.write_text(self.text(), encoding="utf-8")
        return path

    @staticmethod
    def _facts(one: Any, facts: Mapping[str, Any]) -> None:
        for key, value in facts.items():
            code = getattr(one, f"set{key[0].upper()}{key[1:]}")(value)
            assert code == libsbml.LIBSBML_OPERATION_SUCCESS, (key, value, code)
