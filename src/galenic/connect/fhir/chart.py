"""What a health record says about one person, in units of this house, with all doubts named."""

from __future__ import annotations

import calendar
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from galenic.clock import SECOND


@dataclass(frozen=True)
class Flag:
    """Something in a record that was not used, or was used with a doubt.

    Parameters
    ----------
    where : str
        Resource and element, as ``Observation/42 valueQuantity.code``.
    found, expected : str
    used : bool
        Whether the value was taken nevertheless.
    """

    where: str
    found: str
    expected: str = ""
    used: bool = False


@dataclass(frozen=True)
class Measurement:
    """One observed value.

    Parameters
    ----------
    name : str
        The quantity, as in ``codes.csv``; the code's own text where it is not listed there.
    value : float
        In ``unit``.
    unit : str
    time : int [ns]
        When it was true of the patient (UTC).
    code, text, resource : str
        The first code, the words beside it, the resource's id.
    censored : str
        ``<``, ``<=``, ``>`` or ``>=`` where only a bound was reported.
    known : bool
        Whether the code is one of ``codes.csv``.
    """

    name: str
    value: float
    unit: str
    time: int
    code: str
    text: str
    resource: str
    censored: str = ""
    known: bool = True


@dataclass(frozen=True)
class Medication:
    """A drug that was ordered, given, dispensed or told of.

    ``kind`` is the FHIR resource type. ``start`` and ``stop`` are times [ns] or None; ``amount``
    is in ``unit`` where one dose of known size was given. ``drug`` is the ingredient where the code
    is listed in ``drugs.csv``, else empty.
    """

    kind: str
    drug: str
    text: str
    code: str
    status: str
    start: int | None
    stop: int | None
    amount: float | None
    unit: str
    route: str
    resource: str

    @property
    def name(self) -> str:
        """The ingredient, or the words of the record."""
        return self.drug or self.text


@dataclass(frozen=True)
class Problem:
    """A condition or an allergy."""

    kind: str
    text: str
    code: str
    status: str
    onset: int | None
    resource: str


@dataclass(frozen=True)
class Chart:
    """One person's record.

    Parameters
    ----------
    patient : str
        Logical id; no name is kept.
    sex : str
        ``male``, ``female``, or empty where the record says other or nothing.
    born : date or None
    measurements, medications, problems : tuple
        In order of time, then resource id.
    flags : tuple of Flag
    counts : mapping of resource type to (used, present)
    """

    patient: str
    sex: str
    born: date | None
    measurements: tuple[Measurement, ...] = ()
    medications: tuple[Medication, ...] = ()
    problems: tuple[Problem, ...] = ()
    flags: tuple[Flag, ...] = ()
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def all_of(self, name: str) -> tuple[Measurement, ...]:
        """All measurements of a quantity, oldest first."""
        return tuple(m for m in self.measurements if m.name == name)

    def latest(self, name: str, at: int | None = None) -> Measurement | None:
        """The newest value of a quantity, at or before a time [ns] where one is given."""
        found = [m for m in self.all_of(name) if at is None or m.time <= at]
        return found[-1] if found else None

    def age(self, at: int) -> int | None:
        """Completed years at a time [ns]."""
        if self.born is None:
            return None
        day = datetime.fromtimestamp(at / SECOND, UTC).date()
        return day.year - self.born.year - ((day.month, day.day) < (self.born.month, self.born.day))

    def levels(self, drug: str) -> tuple[Measurement, ...]:
        """All levels of a drug, whatever their time to a dose."""
        return tuple(m for m in self.measurements if m.name.startswith(f"level {drug}"))

    def given(self, drug: str) -> tuple[Medication, ...]:
        """Recorded administrations of a drug, in order of time."""
        return tuple(
            m for m in self.medications if m.kind == "MedicationAdministration" and m.drug == drug
        )

    def active(self) -> tuple[Medication, ...]:
        """Drugs that are ordered or told of as taken now, each once."""
        found: dict[str, Medication] = {}
        for item in self.medications:
            if item.status == "active" and item.kind != "MedicationAdministration":
                found[item.name] = item
        return tuple(found.values())


def summary(resources: list[Mapping[str, Any]], used: Counter[str]) -> dict[str, tuple[int, int]]:
    """How many resources of each type were used, of how many present."""
    present = Counter(str(r.get("resourceType", "?")) for r in resources)
    return {kind: (used[kind], n) for kind, n in sorted(present.items())}


def day_of(text: str) -> date | None:
    """A FHIR date; None where only year or month are told."""
    parts = text.split("-")
    if len(parts) != 3:
        return None
    year, month, day = (int(part) for part in parts)
    return date(year, month, min(day, calendar.monthrange(year, month)[1]))
