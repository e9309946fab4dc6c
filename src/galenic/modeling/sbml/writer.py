"""An SBML model as Python source in the language of models."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

from galenic.modeling.sbml.events import events_source
from galenic.modeling.sbml.formula import Formulas, binary, call, constant
from galenic.modeling.sbml.quantities import Document, Quantity, references
from galenic.modeling.sbml.refusal import refused

_GALENIC = (
    "At", "Model", "Output", "Parameter", "State", "Variable", "When", "cos", "exp", "log",
    "maximum", "minimum", "sin", "sqrt", "tanh", "where",
)  # fmt: skip
_FUNCTIONS = ("absolute", "acos", "as_unit", "asin", "atan", "cosh", "log10", "sinh", "tan")
_LANGUAGE = (
    "AVOGADRO", "above", "arcosh", "arsinh", "artanh", "at_least", "at_most", "below", "ceiling",
    "crossing", "delayed", "der", "equal", "factorial", "floor", "plain", "quotient",
    "remainder", "truth", "unequal",
)  # fmt: skip


def source_of(document: Document, title: str) -> str:
    """The Python file of a model."""
    return _Writer(document, title).text()


class _Writer:
    def __init__(self, document: Document, title: str) -> None:
        self.document = document
        self.title = title
        self.names = {
            q.id: _attribute(q.attribute)
            for q in document.quantities.values()
        }  # fmt: skip
        self.rate_names = {r.getId(): document.attribute(r.getId()) for r in document.reactions}
        self.names |= {name: _attribute(found) for name, found in self.rate_names.items()}
        moving = {q.id for q in document.quantities.values() if q.how != "constant"}
        moving |= {r.getId() for r in document.reactions}
        self.flow, self.jump = (
            Formulas(self.names, document.functions, self._rate_of, moving=moving) for _ in range(2)
        )
        self.starts: list[str] = []
        self.declared: list[str] = []
        self.equations: list[str] = []
        self.typical = self._typical_amounts()

    def text(self) -> str:
        """The whole file."""
        for quantity in self.document.quantities.values():
            if not self._is_unused(quantity):
                self._declare(quantity)
        for reaction in self.document.reactions:
            self._reaction(reaction)
        self._balances()
        for node in self.document.algebraic:
            value = self.flow.number(node, where="an algebraic rule")
            self.equations.append(f"yield {ast.unparse(value)} == 0")
        declared, events = events_source(self.document, self.jump, self.flow.switches)
        return self._assembled(self.declared + declared, events)

    def _assembled(self, declared: list[str], events: list[str]) -> str:
        name = class_name(self.document.model.getId() or self.title)
        unit = self.document.sizes.time
        head = [f"m, t = plain(self, {unit!r})"]
        body = [f'"""{_sentence(self.title)}"""', "", *declared]
        if self.equations:
            body += ["", "def equations(self):", *_indented([*head, *self.equations])]
        if events:
            body += ["", "def events(self):", *_indented([*head, *events])]
        text = "\n".join(
            [
                f'"""{_sentence(self.title)}',
                "",
                "Made from SBML: quantities are plain numbers in their units within formulas.",
                '"""',
                "",
                "IMPORTS",
                "",
                "",
                *self.starts,
                f"class {name}(Model):",
                *_indented(body),
                "",
            ]
        )
        return text.replace("IMPORTS", _imports(text), 1)

    def _is_unused(self, quantity: Quantity) -> bool:
        """A constant without a value that no formula needs is left out."""
        document = self.document
        if quantity.how != "constant" or quantity.own == quantity.own or (
            quantity.id in document.initial
        ):  # fmt: skip
            return False
        volumes = {
            q.volume.id
            for q in document.quantities.values()
            if q.volume is not None and (q.is_concentration or not q.own_amount)
        }
        return quantity.id not in volumes | self._mentioned()

    def _mentioned(self) -> set[str]:
        document = self.document
        nodes = [*document.assignments.values(), *document.rates.values(), *document.algebraic,
                 *document.initial.values()]  # fmt: skip
        nodes += [r.getKineticLaw().getMath() for r in document.reactions if r.getKineticLaw()]
        for event in document.events:
            nodes.append(event.getTrigger().getMath())
            nodes += [part.getMath() for part in (event.getDelay(), event.getPriority()) if part]
            nodes += [event.getEventAssignment(i).getMath()
                      for i in range(event.getNumEventAssignments())]  # fmt: skip
        found = {r.getId() for reaction in document.reactions for r in references(reaction)}
        return found.union(*(document.mentions(node) for node in nodes))

    # -- declarations --

    def _declare(self, q: Quantity) -> None:
        meaning = q.name if q.name and q.name != q.id else ""
        if q.how == "constant":
            self._declare_constant(q, meaning)
        elif q.how == "rule":
            self._declaration(q.attribute, "Output", [repr(q.unit), repr(meaning)])
            value = self.flow.number(self.document.assignments[q.id], where=f"the rule of {q.id}")
            self._equation(q.attribute, value)
        elif q.how == "implied":
            self._declaration(
                q.attribute, "Variable", [repr(q.unit), repr(meaning), f"guess={_guess(q)!r}"]
            )
        elif q.how == "rate":
            self._declare_state(q.attribute, q.unit, meaning, self._start(q, False), False)
            value = self.flow.number(self.document.rates[q.id], where=f"the rate rule of {q.id}")
            left = call("der", _attribute(q.attribute))
            self.equations.append(f"yield {ast.unparse(left)} == {ast.unparse(value)}")
        else:
            self._declare_changed(q, meaning)
        if q.is_concentration and not q.has_amount_state:
            self._declaration(
                q.base, "Output", [repr(q.base_unit), repr(f"amount of {q.name or q.id}")]
            )
            amount = binary(_attribute(q.attribute), ast.Mult(), self._volume(q))
            self._equation(q.base, amount)

    def _declare_constant(self, q: Quantity, meaning: str) -> None:
        start = self._start(q, False)
        self._declaration(q.attribute, "Parameter", [start, repr(q.unit), repr(meaning)])

    def _declare_changed(self, q: Quantity, meaning: str) -> None:
        """A state that reactions or events change: the amount, where there is one."""
        discrete = q.how == "held"
        if not q.has_amount_state:
            self._declare_state(q.attribute, q.unit, meaning, self._start(q, True), discrete)
            return
        about = f"amount of {q.name or q.id}"
        self._declare_state(q.base, q.base_unit, about, self._start(q, True), discrete)
        self._declaration(q.attribute, "Output", [repr(q.unit), repr(meaning)])
        self._equation(q.attribute, binary(_attribute(q.base), ast.Div(), self._volume(q)))

    def _declare_state(
        self, attribute: str, unit: str, meaning: str, start: str, discrete: bool
    ) -> None:
        if start == "nan":
            raise refused(f"{attribute}, which changes but has no start value,")
        options = [start, repr(unit), repr(meaning)]
        typical = self.typical.get(unit, 0.0)
        if start in ("0", "0.0") and typical > 0 and not discrete:
            options.append(f"nominal={typical!r}")
        options += ["discrete=True"] if discrete else []
        self._declaration(attribute, "State", options)

    def _declaration(self, attribute: str, kind: str, options: list[str]) -> None:
        given = [option for option in options if option != "''"]
        self.declared.append(f"{attribute} = {kind}({', '.join(given)})")

    def _equation(self, attribute: str, value: ast.expr) -> None:
        self.equations.append(f"yield m.{attribute} == {ast.unparse(value)}")

    # -- start values --

    def _start(self, q: Quantity, of_amount: bool) -> str:
        """The start value: a number, or the name of a function that gives it.

        ``of_amount`` asks for the amount of a species, whatever its symbol means.
        """
        as_amount = of_amount and q.volume is not None
        unit = q.base_unit if as_amount else q.unit
        if q.id in self.document.initial:
            node = self.document.initial[q.id]
            self._refuse_implied(q, node)
            value = self.jump.number(node, where=f"the initial assignment of {q.id}")
            if as_amount and q.is_concentration:
                value = binary(value, ast.Mult(), self._volume(q))
            return self._start_function(
                q.base if as_amount and q.base else q.attribute, value, unit
            )
        if q.volume is None or math.isnan(q.own) or q.own == 0:
            return ast.unparse(constant(q.own))
        wants_amount = as_amount or not q.is_concentration
        if wants_amount == q.own_amount:
            return ast.unparse(constant(q.own))
        operator = ast.Mult() if wants_amount else ast.Div()
        value = binary(constant(q.own), operator, self._volume(q))
        return self._start_function(q.base if as_amount and q.base else q.attribute, value, unit)

    def _start_function(self, attribute: str, value: ast.expr, unit: str) -> str:
        name = f"start_{attribute}"
        self.starts += [
            f"def {name}(self):",
            f"    m, t = plain(self, {self.document.sizes.time!r})",
            f"    return as_unit({ast.unparse(value)}, {unit!r})",
            "",
            "",
        ]
        return name

    def _refuse_implied(self, q: Quantity, node: Any) -> None:
        implied = {o.id for o in self.document.quantities.values() if o.how == "implied"}
        if implied & self.document.reaches(node):
            raise refused(
                f"the initial assignment of {q.id}, which needs a quantity that an algebraic "
                "rule determines,"
            )

    def _typical_amounts(self) -> dict[str, float]:
        """The largest start value of each unit, as the size of those that start at zero."""
        found: dict[str, float] = {}
        for q in self.document.quantities.values():
            if not math.isnan(q.own) and q.volume is not None:
                unit = q.base_unit if q.own_amount else q.unit
                found[unit] = max(found.get(unit, 0.0), abs(q.own))
                size = q.volume.own
                if not q.own_amount and not math.isnan(size):
                    amount = abs(q.own * size)
                    found[q.base_unit] = max(found.get(q.base_unit, 0.0), amount)
        return found

    # -- reactions --

    def _reaction(self, reaction: Any) -> None:
        name, law = reaction.getId(), reaction.getKineticLaw()
        if reaction.isSetFast() and reaction.getFast():
            raise refused(f"the fast reaction {name}")
        if law is None or law.getMath() is None:
            raise refused(f"the reaction {name}, which has no kinetic law,")
        local = {}
        for i in range(law.getNumLocalParameters()):
            one = law.getLocalParameter(i)
            attribute = self.document.attribute(f"{self.rate_names[name]}_{one.getId()}")
            value = one.getValue() if one.isSetValue() else math.nan
            unit = self.document.sizes.text(one.getUnits())
            about = f"{one.getName() or one.getId()} of {reaction.getName() or name}"
            options = [ast.unparse(constant(value)), repr(unit), repr(about)]
            self._declaration(attribute, "Parameter", options)
            local[one.getId()] = _attribute(attribute)
        value = self.flow.number(law.getMath(), local, f"the kinetic law of {name}")
        unit = self.document.sizes.rate(self.document.sizes.extent)
        about = reaction.getName() if reaction.getName() != name else "rate"
        self._declaration(self.rate_names[name], "Output", [repr(unit), repr(about)])
        self._equation(self.rate_names[name], value)

    def _balances(self) -> None:
        for q in self.document.quantities.values():
            if q.how == "flow":
                state = q.base if q.has_amount_state else q.attribute
                left = ast.unparse(call("der", _attribute(state)))
                self.equations.append(f"yield {left} == {ast.unparse(self._inflow(q))}")

    def _inflow(self, q: Quantity) -> ast.expr:
        total: ast.expr | None = None
        for reaction in self.document.reactions:
            rate = _attribute(self.rate_names[reaction.getId()])
            for sign, reference in _signed(reaction):
                if reference.getSpecies() != q.id:
                    continue
                term = self._times_stoichiometry(reference, rate, reaction.getId())
                if total is None:
                    total = term if sign > 0 else ast.UnaryOp(ast.USub(), term)
                else:
                    total = binary(total, ast.Add() if sign > 0 else ast.Sub(), term)
        assert total is not None
        factor = self._conversion(q)
        return total if factor is None else binary(factor, ast.Mult(), total)

    def _times_stoichiometry(self, reference: Any, rate: ast.expr, where: str) -> ast.expr:
        quantity = self.document.quantities.get(reference.getId())
        if quantity is not None and not self._is_unused(quantity):
            return binary(_attribute(quantity.attribute), ast.Mult(), rate)
        if not reference.isSetStoichiometry():
            raise refused(f"the unknown stoichiometry of {reference.getSpecies()}", where)
        value = reference.getStoichiometry()
        return rate if value == 1 else binary(constant(value), ast.Mult(), rate)

    def _conversion(self, q: Quantity) -> ast.expr | None:
        species = self.document.model.getSpecies(q.id)
        name = species.getConversionFactor() or self.document.model.getConversionFactor()
        return self.names[name] if name else None

    # -- what formulas refer to --

    def _volume(self, q: Quantity) -> ast.expr:
        assert q.volume is not None
        return _attribute(q.volume.attribute)

    def _rate_of(self, name: str) -> ast.expr:
        q = self.document.quantities.get(name)
        if q is not None and q.how in ("constant", "held") and not q.has_amount_state:
            return constant(0)
        if q is not None and q.how in ("rate", "flow"):
            if not q.has_amount_state:
                return call("der", _attribute(q.attribute))
            if q.volume is not None and q.volume.is_fixed:
                return binary(call("der", _attribute(q.base)), ast.Div(), self._volume(q))
        raise refused(f"the rate of {name}, which no equation gives by itself,")


def _guess(q: Quantity) -> float:
    """A first value for what an algebraic rule determines, in its unit."""
    value = 1.0 if math.isnan(q.own) else q.own
    if q.volume is None or q.own_amount != q.is_concentration or math.isnan(q.volume.own):
        return value
    return value / q.volume.own if q.own_amount else value * q.volume.own


def _signed(reaction: Any) -> list[tuple[int, Any]]:
    reactants = reaction.getNumReactants()
    return [(-1 if i < reactants else 1, one) for i, one in enumerate(references(reaction))]


def _attribute(name: str) -> ast.expr:
    return ast.Attribute(ast.Name("m"), name)


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def _sentence(text: str) -> str:
    plain = " ".join(text.split()).replace("\\", "/").replace('"', "'")
    return plain if plain.endswith(".") else f"{plain}."


def class_name(identifier: str) -> str:
    """``case00001`` as ``Case00001``, ``my_model`` as ``MyModel``."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", identifier) if word]
    joined = "".join(word[:1].upper() + word[1:] for word in words)
    return joined if joined[:1].isalpha() else f"Model{joined}"


def _imports(text: str) -> str:
    """Only what the file uses."""
    used = set(re.findall(r"\b[A-Za-z_]\w*\b", text.replace("IMPORTS", "")))
    lines = []
    for module, names in (
        ("math", ("inf", "nan")),
        ("galenic", _GALENIC),
        ("galenic.modeling.functions", _FUNCTIONS),
        ("galenic.modeling.sbml.language", _LANGUAGE),
    ):
        chosen = sorted(name for name in names if name in used)
        if chosen:
            lines.append(f"from {module} import {', '.join(chosen)}")
    return "\n".join(lines)
