"""EPCIS XML, 1.2 and 2.0, read as the JSON that says the same.

Only expat of the standard library is used, without entities: a document type is refused, which
ends entity bombs and reading of other files at once. Depth and number of elements are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from galenic.connect.epcis.identity import MDA
from galenic.errors import DataError

DEEPEST = 50
MOST_ELEMENTS = 2_000_000
EPCIS_NAMESPACES = ("urn:epcglobal:epcis:xsd:", "urn:epcglobal:epcis-query:xsd:")
EVENTS = (
    "ObjectEvent", "AggregationEvent", "TransactionEvent", "TransformationEvent",
    "AssociationEvent",
)  # fmt: skip
WRAPPERS = ("extension", "baseExtension")
LISTS: dict[str, str] = {
    "epcList": "epc", "childEPCs": "epc", "inputEPCList": "epc", "outputEPCList": "epc",
    "correctiveEventIDs": "correctiveEventID",
}  # fmt: skip
QUANTITIES = ("quantityList", "childQuantityList", "inputQuantityList", "outputQuantityList")
TYPED = {
    "bizTransactionList": "bizTransaction", "sourceList": "source",
    "destinationList": "destination",
}  # fmt: skip
NUMBERS = (
    "value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue", "quantity",
)  # fmt: skip


@dataclass
class Element:
    """One element: local name, namespace, attributes, children, text."""

    name: str
    space: str
    prefix: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def child(self, name: str) -> Element | None:
        """The first child of the standard with this name."""
        return next((c for c in self.children if c.name == name and not c.foreign), None)

    @property
    def foreign(self) -> bool:
        """Whether its name is somebody's own: in a namespace that is not the standard's."""
        return bool(self.space) and not self.space.startswith(EPCIS_NAMESPACES)


def tree(data: bytes) -> Element:
    """The root element of a document, or a DataError."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.namespace_prefixes = True
    root = Element("", "", "", {})
    stack, count = [root], 0

    def refuse(*_: Any) -> None:
        raise DataError("a document type declaration", where="EPCIS XML", expected="none")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(stack) > DEEPEST or count > MOST_ELEMENTS:
            raise DataError(
                f"{count} elements, {len(stack)} deep", where="EPCIS XML",
                expected=f"at most {MOST_ELEMENTS} elements, {DEEPEST} deep",
            )  # fmt: skip
        space, local, prefix = _split(name)
        named = {key: value for key, value in attributes.items() if " " not in key}
        element = Element(local, space, prefix, named)
        element.children += [
            Element(name, space, prefix, {}, text=attributes[key])
            for key in attributes
            if key not in named
            for space, name, prefix in [_split(key)]
        ]  # an attribute with a namespace is an extension
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text += data

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise DataError(
            f"not XML: {expat.errors.messages.get(error.code, error)}",
            where=f"EPCIS XML, line {error.lineno}",
        ) from error
    return root.children[0]


def _split(name: str) -> tuple[str, str, str]:
    """Namespace, local name and prefix of what expat gives."""
    parts = name.split(" ")
    if len(parts) == 1:
        return "", parts[0], ""
    return parts[0], parts[1], parts[2] if len(parts) > 2 else ""


class Reader:
    """Turns elements into JSON; gathers the namespaces of extensions on the way."""

    def __init__(self) -> None:
        self.spaces: dict[str, str] = {}

    def events(self, root: Element) -> list[dict[str, Any]]:
        """Every event below ``root``, with its context."""
        found: list[dict[str, Any]] = []
        for child in root.children:
            if child.name in EVENTS and not child.foreign:
                self.spaces = {}
                said = self.event(child)
                if self.spaces:
                    said = {"@context": [dict(self.spaces)], **said}
                found.append(said)
            elif not child.foreign:
                found += self.events(child)
        return found

    def event(self, element: Element) -> dict[str, Any]:
        """One event."""
        said: dict[str, Any] = {"type": element.name}
        self._fill(element, said)
        return said

    def _fill(self, element: Element, said: dict[str, Any]) -> None:
        for child in element.children:
            if child.foreign:
                self._extend(said, child)
            elif child.name in WRAPPERS:
                self._fill(child, said)
            else:
                name, value = child.name, self._value(child)
                if value is not None:
                    said[name] = value

    def _value(self, element: Element) -> Any:
        name = element.name
        if name in LISTS:
            return [c.text.strip() for c in element.children if c.name == LISTS[name]]
        if name in QUANTITIES:
            return [self._quantity(c) for c in element.children if c.name == "quantityElement"]
        if name in TYPED:
            return [self._typed(c, TYPED[name]) for c in element.children]
        make = SPECIAL.get(name)
        if make is not None:
            return make(self, element)
        if element.children:
            raise DataError(
                f"{name!r} has elements in it", where="EPCIS XML", expected="a plain value"
            )
        text = element.text.strip()
        return text or None

    def _quantity(self, element: Element) -> dict[str, Any]:
        return {c.name: _plain(c.name, c.text.strip()) for c in element.children}

    def _typed(self, element: Element, key: str) -> dict[str, Any]:
        kind = element.attributes.get("type")
        return {**({"type": kind} if kind else {}), key: element.text.strip()}

    def _place(self, element: Element) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for child in element.children:
            if child.foreign:
                self._extend(said, child)
            elif child.name in WRAPPERS:
                said |= self._place(child)
            else:
                said[child.name] = child.text.strip()
        return said

    def _declaration(self, element: Element) -> dict[str, Any]:
        said: dict[str, Any] = {}
        self._fill(element, said)
        return said

    def _persistent(self, element: Element) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for child in element.children:
            said.setdefault(child.name, []).append(child.text.strip())
        return said

    def _sensors(self, element: Element) -> list[dict[str, Any]]:
        return [self._sensor(child) for child in element.children]

    def _sensor(self, element: Element) -> dict[str, Any]:
        said: dict[str, Any] = {"sensorReport": []}
        for child in element.children:
            if child.foreign:
                self._extend(said, child)
                continue
            facts = {name: _plain(name, text) for name, text in child.attributes.items()}
            for inner in child.children:
                self._extend(facts, inner)
            if child.name == "sensorReport":
                said["sensorReport"].append(facts)
            else:
                said[child.name] = facts
        return said

    def _ilmd(self, element: Element) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for child in element.children:
            if child.name in WRAPPERS and not child.foreign:
                said |= self._ilmd(child)
            else:
                self._extend(said, child)
        return said

    def _extend(self, said: dict[str, Any], element: Element) -> None:
        """Add an extension under ``prefix:name``; several of one name are a list."""
        name = self._name(element)
        value = self._free(element)
        if name in said:
            before = said[name]
            said[name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            said[name] = value

    def _free(self, element: Element) -> Any:
        if not element.children:
            return element.text.strip()
        inner: dict[str, Any] = {}
        for child in element.children:
            self._extend(inner, child)
        return inner

    def _name(self, element: Element) -> str:
        if not element.space:
            return element.name
        if element.space.rstrip(":") == MDA:
            return f"cbvmda:{element.name}"
        known = {space: prefix for prefix, space in self.spaces.items()}
        prefix = known.get(element.space)
        if prefix is None:
            wanted = element.prefix or "ns"
            taken = {*self.spaces, "cbvmda", "gs1", "epcis", "cbv"}
            prefix = wanted
            number = 2
            while prefix in taken:
                prefix, number = f"{wanted}{number}", number + 1
            self.spaces[prefix] = element.space
        return f"{prefix}:{element.name}"


SPECIAL: dict[str, Callable[[Reader, Element], Any]] = {
    "readPoint": Reader._place, "bizLocation": Reader._place,
    "errorDeclaration": Reader._declaration, "persistentDisposition": Reader._persistent,
    "sensorElementList": Reader._sensors, "ilmd": Reader._ilmd,
}  # fmt: skip


def _plain(name: str, text: str) -> Any:
    """A value as JSON has it, by its name."""
    if name in NUMBERS:
        try:
            number = float(text)
        except ValueError:
            return text
        return int(number) if number.is_integer() else number
    if name == "booleanValue":
        return {"true": True, "1": True, "false": False, "0": False}.get(text, text)
    return text
