"""The modelDescription.xml of an FMI 3.0 unit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

import casadi as ca
import numpy as np

from galenic.engine.export.depend import Dependencies
from galenic.modeling.system import Entry, System
from galenic.unit_table import BASES
from galenic.units import Unit, from_si, unit

STRUCTURED = re.compile(
    r"(?:[A-Za-z_]\w*(?:\[\d+(?:,\d+)*\])?\.)*[A-Za-z_]\w*(?:\[\d+(?:,\d+)*\])?", re.ASCII
)
TOLERANCE = 1e-6
POINTS = 200
_SECOND = unit("s")


@dataclass(frozen=True)
class Variable:
    """One row of ModelVariables: where it stands, what it is, and its XML attributes."""

    name: str
    reference: int
    unit: Unit | None
    facts: Mapping[str, str]


class References:
    """Value references: time, states, rates, algebraics, inputs, parameters, outputs, triggers."""

    def __init__(self, system: System) -> None:
        self.triggers = [rule for rule in system.events if rule.trigger is not None]
        self.calculated = calculated(system)
        self.states = 1
        self.rates = self.states + len(system.states)
        self.algebraics = self.rates + len(system.states)
        self.inputs = self.algebraics + len(system.algebraics)
        self.parameters = self.inputs + len(system.inputs)
        self.outputs = self.parameters + len(system.parameters)
        self.levels = self.outputs + len(system.outputs)
        self.continuous = [i for i, e in enumerate(system.states) if e.role != "discrete"]


def calculated(system: System) -> list[bool]:
    """Per state: whether its start value follows from parameters."""
    return [bool(ca.depends_on(system.x0[i], system.p)) for i in range(len(system.states))]


def description(system: System, name: str, token: str, until: float | None) -> bytes:
    """The whole document.

    Parameters
    ----------
    system : System
        What the unit holds.
    name : str
        The model identifier: the name of its binary.
    token : str
        The instantiation token.
    until : float or None [s]
        End of the default experiment.
    """
    references = References(system)
    variables = list(_variables(system, references))
    flat = not all(STRUCTURED.fullmatch(v.name.removeprefix("der(").rstrip(")")) for v in variables)
    root = Xml.Element(
        "fmiModelDescription",
        fmiVersion="3.0",
        modelName=system.name,
        instantiationToken=token,
        description=system.parts.title or system.name,
        generationTool="galenic",
        variableNamingConvention="flat" if flat else "structured",
    )
    can = {
        "modelIdentifier": name,
        "canGetAndSetFMUState": "true",
        "canSerializeFMUState": "true",
        "providesDirectionalDerivatives": "true",
    }
    Xml.SubElement(root, "ModelExchange", can, needsCompletedIntegratorStep="true")
    Xml.SubElement(root, "CoSimulation", can, canHandleVariableCommunicationStepSize="true")
    _units(Xml.SubElement(root, "UnitDefinitions"), (v.unit for v in variables))
    categories = Xml.SubElement(root, "LogCategories")
    Xml.SubElement(categories, "Category", name="logStatusError", description="why a call failed")
    experiment = {"startTime": "0", "tolerance": repr(TOLERANCE)}
    if until is not None:
        experiment |= {"stopTime": repr(until), "stepSize": repr(until / POINTS)}
    Xml.SubElement(root, "DefaultExperiment", experiment)
    rows = Xml.SubElement(root, "ModelVariables")
    for variable in variables:
        named = {"name": variable.name, "valueReference": str(variable.reference)}
        declared = {"unit": variable.unit.text} if variable.unit else {}
        Xml.SubElement(rows, "Float64", {**named, **variable.facts, **declared})
    _structure(Xml.SubElement(root, "ModelStructure"), system, references, variables)
    Xml.indent(root)
    return bytes(Xml.tostring(root, "utf-8", xml_declaration=True))


def _variables(system: System, references: References) -> Iterable[Variable]:
    """All variables; of a path that occurs twice only the first, as everywhere else."""
    seen: set[str] = set()
    for variable in _all_variables(system, references):
        if variable.name not in seen:
            seen.add(variable.name)
            yield variable


def _all_variables(system: System, references: References) -> Iterable[Variable]:
    free = _unused("time", system)
    facts = {"causality": "independent", "variability": "continuous", "description": "time"}
    yield Variable(free, 0, _SECOND, facts)
    for i, entry in enumerate(system.states):
        changes = "discrete" if entry.role == "discrete" else "continuous"
        facts = {"causality": "local", "variability": changes}
        if references.calculated[i]:
            facts |= {"initial": "calculated", **_about(entry)}
        else:
            facts |= {"initial": "exact", **_about(entry), **_start(entry)}
        yield Variable(entry.path, references.states + i, entry.unit, facts)
    for i, entry in enumerate(system.algebraics):
        facts = {"causality": "local", "variability": "continuous", "initial": "approx"}
        facts |= {**_about(entry), **_start(entry)}
        yield Variable(entry.path, references.algebraics + i, entry.unit, facts)
    for i, entry in enumerate(system.inputs):
        facts = {"causality": "input", "variability": "continuous"}
        facts |= {**_about(entry), **_start(entry)}
        yield Variable(entry.path, references.inputs + i, entry.unit, facts)
    for i, entry in enumerate(system.parameters):
        facts = {"causality": "parameter", "variability": "tunable"}
        facts |= {**_about(entry), **_start(entry)}
        yield Variable(entry.path, references.parameters + i, entry.unit, facts)
    for i, entry in enumerate(system.outputs):
        facts = {"causality": "output", "variability": "continuous", **_about(entry)}
        yield Variable(entry.path, references.outputs + i, entry.unit, facts)
    yield from _derived(system, references)


def _derived(system: System, references: References) -> Iterable[Variable]:
    """Rates of states, and levels of triggers."""
    local = {"causality": "local", "variability": "continuous"}
    for i in references.continuous:
        entry = system.states[i]
        per_second = entry.unit.difference / _SECOND
        facts = local | {"derivative": str(references.states + i)}
        yield Variable(f"der({entry.path})", references.rates + i, per_second, facts)
    for i, rule in enumerate(references.triggers):
        facts = local | {"description": f"fires {rule.name} where it crosses zero upward"}
        yield Variable(_unused(f"trigger_{i + 1}", system), references.levels + i, None, facts)


def _unused(name: str, system: System) -> str:
    taken = {entry.path for entry in system.entries()}
    while name in taken:
        name += "_"
    return name


def _about(entry: Entry) -> dict[str, str]:
    """Meaning, bounds and nominal value in the declared unit."""
    facts = {"description": entry.meaning} if entry.meaning else {}
    for key, value in (("min", entry.lower), ("max", entry.upper)):
        if np.isfinite(value):
            facts[key] = _number(float(from_si(value, entry.unit)))
    nominal = abs(entry.nominal) / entry.unit.scale
    return facts | ({"nominal": _number(nominal)} if 0 < nominal < np.inf else {})


def _start(entry: Entry) -> dict[str, str]:
    value = 0.0 if np.isnan(entry.value) else entry.value
    return {"start": _number(float(from_si(value, entry.unit)))}


def _number(value: float) -> str:
    return repr(float(value))


def _units(parent: Xml.Element, units: Iterable[Unit | None]) -> None:
    """Definitions; counts of things (tablets, cells, IU) have no place in FMI's base units."""
    for text, one in sorted({u.text: u for u in units if u is not None}.items()):
        element = Xml.SubElement(parent, "Unit", name=text)
        exponents = {base: e for base, e in zip(BASES, one.dimension, strict=True) if e}
        if exponents.keys() <= {"kg", "m", "s", "K", "mol", "A"} and all(
            e == int(e) for e in exponents.values()
        ):
            facts = {base: str(int(e)) for base, e in exponents.items()}
            facts |= {"factor": _number(one.scale)} if one.scale != 1.0 else {}
            facts |= {"offset": _number(one.offset)} if one.offset else {}
            Xml.SubElement(element, "BaseUnit", facts)


def _structure(
    parent: Xml.Element, system: System, references: References, variables: list[Variable]
) -> None:
    """Outputs, rates, unknowns at the start, and event indicators, with what they depend on."""
    known = {v.reference for v in variables}
    depends = Dependencies(system, references.continuous)
    numbers = [
        *(references.states + i for i in references.continuous),
        *(references.inputs + i for i in range(len(system.inputs))),
        0,
    ]
    outputs = [(references.outputs + i, i) for i in range(len(system.outputs))]
    outputs = [(reference, i) for reference, i in outputs if reference in known]
    for reference, i in outputs:
        _unknown(parent, "Output", reference, numbers, depends.output(i))
    for k, i in enumerate(references.continuous):
        reference = references.rates + i
        _unknown(parent, "ContinuousStateDerivative", reference, numbers, depends.rate(k))
    for reference, _ in outputs:
        Xml.SubElement(parent, "InitialUnknown", valueReference=str(reference))
    for i in references.continuous:
        if references.calculated[i]:
            reference = references.states + i
            Xml.SubElement(parent, "InitialUnknown", valueReference=str(reference))
        reference = references.rates + i
        Xml.SubElement(parent, "InitialUnknown", valueReference=str(reference))
    for i in range(len(references.triggers)):
        reference = references.levels + i
        _unknown(parent, "EventIndicator", reference, numbers, depends.level(i))


def _unknown(
    parent: Xml.Element, kind: str, reference: int, numbers: list[int], row: dict[int, str]
) -> None:
    places = sorted(row)
    Xml.SubElement(
        parent,
        kind,
        valueReference=str(reference),
        dependencies=" ".join(str(numbers[k]) for k in places),
        dependenciesKind=" ".join(row[k] for k in places),
    )
