"""What the quantities of an SBML model are: constants, states, or given by rules."""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from galenic.modeling.model import _RESERVED, Model
from galenic.modeling.sbml.formula import children, kind
from galenic.modeling.sbml.refusal import refused
from galenic.modeling.sbml.sizes import Sizes, concentration

_TIME = " time"  # no identifier has a space


@dataclass
class Quantity:
    """One identifier with a value: a compartment, parameter, species or stoichiometry.

    ``how`` is constant (a Parameter), held (changes at events only), rate (a rate rule), flow (a
    species that reactions change), rule (an assignment rule) or implied (an algebraic rule).
    Species that count as concentrations have a ``base``: their amount; ``volume`` is the
    compartment. ``own`` is the value that the document gives: of the amount if ``own_amount``.
    """

    id: str
    name: str
    attribute: str
    unit: str
    how: str = "constant"
    own: float = math.nan
    own_amount: bool = False
    volume: Quantity | None = None
    base: str = ""
    base_unit: str = ""
    is_concentration: bool = False
    constant: bool = True

    @property
    def is_fixed(self) -> bool:
        """Whether the value never changes."""
        return self.how == "constant"

    @property
    def has_amount_state(self) -> bool:
        """Whether the state behind a concentration is an amount."""
        return self.is_concentration and self.how in ("flow", "held")


@dataclass
class Document:
    """The parts of an SBML model by identifier, with every quantity classified.

    Parameters
    ----------
    model : libsbml.Model
        Level 3.
    notes : list of str
        Takes what the reader should know.
    """

    model: Any
    notes: list[str]
    quantities: dict[str, Quantity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        model = self.model
        self.sizes = Sizes(model, self.notes)
        self.functions = {f.getId(): f for f in _all(model, "FunctionDefinition")}
        self.assignments, self.rates, self.algebraic = _rules(model)
        self.initial = {a.getSymbol(): a.getMath() for a in _all(model, "InitialAssignment")}
        self.reactions = _all(model, "Reaction")
        self.events = _all(model, "Event")
        self.by_events = {
            event.getEventAssignment(i).getVariable()
            for event in self.events
            for i in range(event.getNumEventAssignments())
        }
        self.flowing = self._flowing()
        self._attributes: set[str] = set()
        self._collect()
        self._classify()

    def attribute(self, name: str) -> str:
        """A Python name for an identifier, not yet used by another."""
        if name.startswith("_"):
            name = f"x{name}"
        while name in self._attributes or not _is_free(name):
            name += "_"
        self._attributes.add(name)
        return name

    def mentions(self, node: Any) -> set[str]:
        """Identifiers in a formula, and a mark where it contains time."""
        if node is None:
            return set()
        what = kind(node)
        found = {node.getName()} if what == "NAME" else set()
        if what == "NAME_TIME":
            found = {_TIME}
        if what == "FUNCTION" and node.getName() in self.functions:
            found |= self.mentions(self.functions[node.getName()].getBody())
        return found.union(*(self.mentions(child) for child in children(node)))

    def reaches(self, node: Any) -> set[str]:
        """Identifiers on which a formula depends, through rules and rates of reactions."""
        laws = {r.getId(): r.getKineticLaw().getMath() for r in self.reactions
                if r.getKineticLaw()}  # fmt: skip
        found: set[str] = set()
        waiting = self.mentions(node)
        while waiting:
            name = waiting.pop()
            found.add(name)
            behind = self.mentions(self.assignments.get(name)) | self.mentions(laws.get(name))
            quantity = self.quantities.get(name)
            if quantity is not None and quantity.volume is not None:
                behind.add(quantity.volume.id)
            waiting |= behind - found
        return found

    def varies(self, node: Any) -> bool:
        """Whether the value of a formula may change during a run."""
        fixed = {q.id for q in self.quantities.values() if q.is_fixed}
        known = self.quantities.keys() | {_TIME}
        return any(
            name not in fixed and name not in self.assignments
            for name in self.reaches(node) & known
        )

    def _flowing(self) -> set[str]:
        """Species that reactions change."""
        changed = set()
        for reaction in self.reactions:
            for reference in references(reaction):
                species = self.model.getSpecies(reference.getSpecies())
                if not (species.getBoundaryCondition() or species.getConstant()):
                    changed.add(species.getId())
        return changed

    def _collect(self) -> None:
        for one in _all(self.model, "Compartment"):
            value = one.getSize() if one.isSetSize() else math.nan
            self._add(one, self.sizes.compartment(one), value, one.getConstant())
        for one in _all(self.model, "Parameter"):
            value = one.getValue() if one.isSetValue() else math.nan
            self._add(one, self.sizes.text(one.getUnits()), value, one.getConstant())
        for one in _all(self.model, "Species"):
            self._add_species(one)
        for reaction in self.reactions:
            for one in references(reaction):
                if one.isSetId():
                    value = one.getStoichiometry() if one.isSetStoichiometry() else math.nan
                    self._add(one, "1", value, one.getConstant())

    def _add(self, one: Any, unit: str, value: float, constant: bool) -> Quantity:
        made = Quantity(
            one.getId(), one.getName(), self.attribute(one.getId()), unit,
            own=value, constant=constant,
        )  # fmt: skip
        self.quantities[one.getId()] = made
        return made

    def _add_species(self, one: Any) -> None:
        amount = self.sizes.amount(one)
        volume = self.quantities[one.getCompartment()]
        compartment = self.model.getCompartment(one.getCompartment())
        pointlike = compartment.getSpatialDimensionsAsDouble() == 0
        made = self._add(one, amount, math.nan, one.getConstant())
        made.volume = None if pointlike else volume
        made.is_concentration = not (one.getHasOnlySubstanceUnits() or pointlike)
        made.base_unit = amount
        if made.is_concentration:
            made.unit = concentration(amount, volume.unit)
            made.base = self.attribute(f"{made.attribute}_amount")
        if one.isSetInitialAmount():
            made.own, made.own_amount = one.getInitialAmount(), True
        elif one.isSetInitialConcentration():
            made.own, made.own_amount = one.getInitialConcentration(), False

    def _classify(self) -> None:
        for name, quantity in self.quantities.items():
            if name in self.assignments:
                quantity.how = "rule"
            elif name in self.rates:
                quantity.how = "rate"
            elif name in self.flowing:
                quantity.how = "flow"
            elif name in self.by_events:
                quantity.how = "held"
        for name in self._implied():
            self.quantities[name].how = "implied"
        for quantity in self.quantities.values():
            self._classify_untouched(quantity)
        for name, math_ in self.initial.items():
            quantity = self.quantities[name]
            if quantity.how == "constant" and self.varies(math_):
                quantity.how = "held"
        self._refuse_unclear()

    def _classify_untouched(self, quantity: Quantity) -> None:
        """A species that nothing changes keeps its amount while its compartment changes."""
        volume = quantity.volume
        if quantity.how != "constant" or not quantity.is_concentration or volume is None:
            return
        if not volume.is_fixed:
            if quantity.constant:
                raise refused(
                    f"the constant species {quantity.id} in a compartment that changes",
                    hint="SBML does not say whether amount or concentration is constant",
                )
            quantity.how = "held"

    def _implied(self) -> list[str]:
        """The quantities that algebraic rules determine."""
        if not self.algebraic:
            return []
        reached = set().union(*(self.reaches(node) for node in self.algebraic))
        free = [
            q.id
            for q in self.quantities.values()
            if q.id in reached and q.how == "constant" and not q.constant
        ]
        if len(free) != len(self.algebraic):
            raise refused(
                f"{len(self.algebraic)} algebraic rules over {len(free)} open quantities "
                f"({', '.join(free) or 'none'})",
                hint="as many quantities that nothing else determines are needed",
            )
        return free

    def _refuse_unclear(self) -> None:
        for quantity in self.quantities.values():
            volume = quantity.volume
            if quantity.how == "rate" and quantity.is_concentration and volume is not None:
                if volume.id in self.by_events:
                    raise refused(
                        f"the rate rule of the concentration {quantity.id} in a compartment "
                        "whose size jumps"
                    )


def references(reaction: Any) -> list[Any]:
    """The reactants and products of a reaction."""
    return [reaction.getReactant(i) for i in range(reaction.getNumReactants())] + [
        reaction.getProduct(i) for i in range(reaction.getNumProducts())
    ]


def _all(model: Any, what: str) -> list[Any]:
    found = getattr(model, f"getListOf{what if what.endswith('s') else what + 's'}")()
    return [found.get(i) for i in range(found.size())]


def _rules(model: Any) -> tuple[Mapping[str, Any], Mapping[str, Any], list[Any]]:
    rules = _all(model, "Rule")
    assignments = {r.getVariable(): r.getMath() for r in rules if r.isAssignment()}
    rates = {r.getVariable(): r.getMath() for r in rules if r.isRate()}
    return assignments, rates, [r.getMath() for r in rules if r.isAlgebraic()]


def _is_free(name: str) -> bool:
    taken: Iterable[str] = _RESERVED
    return not (keyword.iskeyword(name) or name in taken or hasattr(Model, name))
