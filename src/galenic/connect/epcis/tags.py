"""Which sensors, things and places of an EPCIS repository are which tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from galenic.clock import to_iso
from galenic.connect.connector import TagInfo
from galenic.connect.epcis.keys import canonical
from galenic.connect.epcis.sensors import FIELDS, Reading
from galenic.connect.epcis.state import State, Thing, lot_and_expiry
from galenic.connect.epcis.vocabulary import MEASUREMENT
from galenic.errors import DataError, UnknownName
from galenic.signals import Sample
from galenic.units import convert

T = TypeVar("T")


@dataclass(frozen=True)
class SensorTag:
    """What a device reports of one kind.

    Parameters
    ----------
    device : str
        Id of the device; else of the read point or object, as in `Reading`.
    type : str
        Measurement type, as ``Temperature``.
    field : str
        Field of the report: ``value``, ``meanValue``, ``maxValue``, ``exception``, ...
    about : str
        Component or substance, where several are reported.
    unit : str
        Converted to; as reported where empty.
    """

    device: str
    type: str
    field: str = "value"
    about: str = ""
    unit: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if self.field not in FIELDS:
            raise UnknownName.among("field of a sensor report", self.field, FIELDS)
        MEASUREMENT.word(self.type)
        object.__setattr__(self, "device", canonical(self.device))

    def info(self, tag: str) -> TagInfo:
        """As a tag."""
        kind = {"stringValue": "str", "exception": "str", "uriValue": "str", "booleanValue": "bool"}
        return TagInfo(tag, self.unit, False, self.description, kind.get(self.field, "float"))

    def takes(self, reading: Reading) -> bool:
        """Whether a reading is this tag's."""
        same = (reading.device, reading.type, reading.field)
        if same != (self.device, self.type, self.field):
            return False
        return not self.about or f"/{self.about}" in reading.tag[len(reading.device) :]

    def convert(self, tag: str, sample: Sample) -> Sample:
        """The sample under this tag, in its unit; UnitError where that cannot be."""
        value = sample.value
        if not self.unit or isinstance(value, bool | str) or value is None:
            return replace(sample, tag=tag)
        return replace(
            sample, tag=tag, value=float(convert(value, sample.unit, self.unit)), unit=self.unit
        )


def _ended(state: State, thing: Thing) -> str:
    return f"{to_iso(thing.ended)} {thing.how}" if thing.ended is not None else ""


WHAT: dict[str, Any] = {
    "location": lambda state, thing: state.location(thing.epc),
    "read_point": lambda state, thing: thing.read_point,
    "disposition": lambda state, thing: thing.disposition,
    "step": lambda state, thing: thing.step,
    "parent": lambda state, thing: thing.parent,
    "conditions": lambda state, thing: " ".join(sorted(thing.conditions)),
    "lot": lambda state, thing: lot_and_expiry(state, thing.epc)[0],
    "expiry": lambda state, thing: thing.expiry,
    "ended": _ended,
}


@dataclass(frozen=True)
class GoodsTag:
    """The state of one thing (``epc``, ``what``), or how many are at a place (``at``, ``of``)."""

    epc: str = ""
    what: str = "location"
    at: str = ""
    of: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if bool(self.epc) == bool(self.at):
            raise DataError("needs epc, or at", expected="one of both")
        if self.what not in WHAT:
            raise UnknownName.among("state of a thing", self.what, WHAT)

    @property
    def unit(self) -> str:
        return "item" if self.at else ""

    def info(self, tag: str) -> TagInfo:
        """As a tag."""
        return TagInfo(tag, self.unit, False, self.description, "int" if self.at else "str")

    def value(self, state: State) -> int | str | None:
        """As the goods are now; None for a thing that nobody has seen."""
        if self.at:
            return len(state.at(self.at, self.of))
        thing = state.things.get(canonical(self.epc))
        return None if thing is None else str(WHAT[self.what](state, thing))


def tags_of(
    tables: Mapping[str, Any], where: str
) -> tuple[dict[str, SensorTag], dict[str, GoodsTag]]:
    """Sensors and goods by tag, from plain values as of TOML; mistyped names are refused."""
    sensors: dict[str, SensorTag] = {}
    things: dict[str, GoodsTag] = {}
    for tag, given in tables.items():
        place = f"{where}, tag {tag}"
        if isinstance(given, SensorTag):
            sensors[tag] = given
        elif isinstance(given, GoodsTag):
            things[tag] = given
        elif not isinstance(given, Mapping):
            raise DataError(f"{given!r}", where=place, expected="a table")
        elif "device" in given:
            sensors[tag] = _of(SensorTag, given, place)
        else:
            things[tag] = _of(GoodsTag, given, place)
    return sensors, things


def _of(cls: type[T], given: Mapping[str, Any], where: str) -> T:
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise UnknownName.among("setting", name, known, where=where)
    try:
        return cls(**given)
    except TypeError as error:
        raise DataError(str(error).partition(") ")[2], where=where) from error
    except (DataError, UnknownName) as error:
        error.where = where
        raise
