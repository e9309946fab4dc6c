"""Reading of FHIR R4 bundles (transaction, searchset, collection, document) into a chart.

Codes and units are checked; whatever is not understood is flagged with its place, never guessed
and never dropped in silence. Source: HL7 FHIR R4 (4.0.1), resource definitions.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeGuard

from galenic.clock import SECOND, read_stamp
from galenic.connect.fhir.chart import (
    Chart,
    Flag,
    Measurement,
    Medication,
    Problem,
    day_of,
    summary,
)
from galenic.connect.fhir.ucum import galenic_unit
from galenic.errors import DataError, UnitError
from galenic.units import from_si, unit, value_in

Resource = Mapping[str, Any]
UCUM = "http://unitsofmeasure.org"
VOID = {"entered-in-error", "cancelled", "not-done"}
CONTEXT = {
    "Patient", "Organization", "Practitioner", "PractitionerRole", "Location", "Medication",
    "Device", "Encounter", "DiagnosticReport", "Specimen",
}  # fmt: skip
MEDICATION = {
    "MedicationRequest": ("authoredOn",),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod"),
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod", "dateAsserted"),
    "MedicationDispense": ("whenHandedOver", "whenPrepared"),
}


@dataclass(frozen=True)
class Code:
    """A row of ``codes.csv``: what a code measures, its unit, and the range of the possible."""

    name: str
    unit: str
    lowest: float
    highest: float


@cache
def codes() -> Mapping[tuple[str, str], Code]:
    """Measurements by coding system and code."""
    return {
        (row["system"], row["code"]): Code(
            row["name"], row["unit"], float(row["lowest"]), float(row["highest"])
        )
        for row in _rows("codes.csv")
    }


@cache
def drugs() -> Mapping[tuple[str, str], str]:
    """Ingredients by coding system and code."""
    return {(row["system"], row["code"]): row["drug"] for row in _rows("drugs.csv")}


def _rows(name: str) -> list[dict[str, str]]:
    with (files("galenic.connect.fhir") / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_chart(source: Path | str | bytes | Mapping[str, Any]) -> Chart:
    """The chart of the one person that a bundle is about.

    Parameters
    ----------
    source : path, JSON text or bytes, or the parsed bundle

    Raises
    ------
    DataError
        Where it is no FHIR R4 bundle, or not of exactly one patient.
    """
    bundle, where = _parsed(source)
    reader = _Reader(_resources(bundle, where), where)
    return reader.chart()


def _parsed(source: Path | str | bytes | Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    if isinstance(source, Mapping):
        return source, "bundle"
    where = source.name if isinstance(source, Path) else "bundle"
    data = source.read_bytes() if isinstance(source, Path) else source
    try:
        bundle = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"it is not JSON: {error}", where=where, expected="a FHIR bundle") from None
    if not isinstance(bundle, dict):
        raise DataError("it is not an object", where=where, expected="a FHIR bundle")
    return bundle, where


def _resources(bundle: Mapping[str, Any], where: str) -> dict[str, Resource]:
    """Resources by full URL, or by type and id where none is told."""
    kind = bundle.get("resourceType")
    if kind != "Bundle":
        raise DataError(
            f"it is a {kind or 'document without resourceType'}", where=where,
            expected="a resource of type Bundle",
        )  # fmt: skip
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise DataError("its entry is not a list", where=where, expected="a list of entries")
    found: dict[str, Resource] = {}
    for i, entry in enumerate(entries):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or "resourceType" not in resource:
            raise DataError(
                "an entry without resource", where=f"{where}, entry[{i}]",
                expected="an object with resourceType",
            )  # fmt: skip
        key = entry.get("fullUrl") or f"{resource['resourceType']}/{resource.get('id', i)}"
        found[f"{key}#{i}" if key in found else key] = resource
    return found


@dataclass
class _Reader:
    """One pass over the resources of a bundle."""

    resources: Mapping[str, Resource]
    where: str
    flags: list[Flag] = field(default_factory=list)
    used: Counter[str] = field(default_factory=Counter)

    def chart(self) -> Chart:
        patient = self._patient()
        measured: list[Measurement] = []
        taken: list[Medication] = []
        problems: list[Problem] = []
        for resource in self.resources.values():
            kind = resource["resourceType"]
            if kind in CONTEXT or not self._is_about(resource, patient):
                continue
            before = len(measured) + len(taken) + len(problems)
            if kind == "Observation":
                measured += self._observation(resource)
            elif kind in MEDICATION:
                taken += self._medication(resource)
            elif kind in {"Condition", "AllergyIntolerance"}:
                problems += self._problem(resource)
            self.used[kind] += len(measured) + len(taken) + len(problems) > before
        self.used["Patient"] = 1
        sex = patient.get("gender", "")
        if sex not in {"male", "female"}:
            self._flag(patient, "gender", str(sex or "nothing"), "male or female")
        return Chart(
            str(patient.get("id", "")),
            sex if sex in {"male", "female"} else "",
            self._born(patient),
            tuple(sorted(measured, key=lambda m: (m.time, m.resource, m.name))),
            tuple(sorted(taken, key=lambda m: (m.start or 0, m.resource))),
            tuple(sorted(problems, key=lambda p: (p.onset or 0, p.resource))),
            tuple(self.flags),
            summary(list(self.resources.values()), self.used),
        )

    def _patient(self) -> Resource:
        found = [r for r in self.resources.values() if r["resourceType"] == "Patient"]
        if len(found) != 1:
            ids = ", ".join(str(p.get("id", "?")) for p in found[:5])
            raise DataError(
                f"the bundle has {len(found)} patients" + (f" ({ids})" if ids else ""),
                where=self.where,
                expected="one patient",
                hint="export one bundle per person",
            )
        return found[0]

    def _born(self, patient: Resource) -> Any:
        text = str(patient.get("birthDate", ""))
        try:
            born = day_of(text)
        except ValueError:
            born = None
        if born is None:
            self._flag(patient, "birthDate", text or "nothing", "a full date, YYYY-MM-DD")
        return born

    def _is_about(self, resource: Resource, patient: Resource) -> bool:
        """Whether the subject is the patient; another subject is flagged, none is taken."""
        subject = resource.get("subject") or resource.get("patient") or {}
        reference = subject.get("reference", "") if isinstance(subject, dict) else ""
        if not reference:
            return True
        if self.resources.get(reference) is patient:
            return True
        if reference.split("/_history")[0].endswith(f"Patient/{patient.get('id')}"):
            return True
        self._flag(resource, "subject", reference, f"Patient/{patient.get('id')}")
        return False

    def _observation(self, resource: Resource) -> Iterator[Measurement]:
        if self._void(resource):
            return
        time = self._time(resource, ("effectiveDateTime", "effectiveInstant", "effectivePeriod"))
        if time is None:
            return
        parts = [("", resource)]
        parts += [
            (f"component[{i}].", part) for i, part in enumerate(resource.get("component", []))
        ]
        for place, part in parts:
            found = self._quantity(resource, place, part, time)
            if found is not None:
                yield found

    def _quantity(
        self, resource: Resource, place: str, part: Resource, time: int
    ) -> Measurement | None:
        quantity = part.get("valueQuantity")
        if not isinstance(quantity, dict):
            if "dataAbsentReason" in part:
                self._flag(resource, f"{place}dataAbsentReason", "no value", "a value")
            return None
        value = quantity.get("value")
        if not _is_number(value):
            self._flag(resource, f"{place}valueQuantity.value", repr(value), "a number")
            return None
        row, code, text = self._coded(part.get("code", {}))
        stated = quantity.get("code") if quantity.get("system") == UCUM else None
        if stated is None:
            told = quantity.get("unit", "nothing")
            self._flag(resource, f"{place}valueQuantity.code", str(told), "a UCUM code")
            return None
        try:
            its = galenic_unit(str(stated))
            wanted = row.unit if row else its
            value = float(from_si(value_in(float(value), unit(its)), unit(wanted)))
            if unit(wanted).dimension != unit(its).dimension:
                raise UnitError(f"[{its}] where [{wanted}] is expected")
        except UnitError as error:
            self._flag(resource, f"{place}valueQuantity.code", error.found, error.expected)
            return None
        if row and not row.lowest <= value <= row.highest:
            self._flag(
                resource, f"{place}valueQuantity.value", f"{value:.6g} {wanted}",
                f"{row.name} from {row.lowest:g} to {row.highest:g} {wanted}",
            )  # fmt: skip
            return None
        return Measurement(
            row.name if row else text, value, wanted, time, code, text,
            str(resource.get("id", "")), str(quantity.get("comparator", "")), row is not None,
        )  # fmt: skip

    def _coded(self, concept: Resource) -> tuple[Code | None, str, str]:
        """The row that one of the codings has, the first code, and the words."""
        codings = [c for c in concept.get("coding", []) if isinstance(c, dict)]
        row = next(
            (
                found
                for c in codings
                if (found := codes().get((str(c.get("system")), str(c.get("code")))))
            ),
            None,
        )
        return row, *_words(concept, codings)

    def _medication(self, resource: Resource) -> Iterator[Medication]:
        if self._void(resource):
            return
        kind = resource["resourceType"]
        concept = self._concept(resource)
        if concept is None:
            return
        codings = [c for c in concept.get("coding", []) if isinstance(c, dict)]
        known = {drugs().get((str(c.get("system")), str(c.get("code")))) for c in codings} - {None}
        code, text = _words(concept, codings)
        drug = known.pop() if len(known) == 1 else ""
        if known:
            self._flag(resource, "medication", text, "codings of one ingredient", used=True)
        start = self._time(resource, MEDICATION[kind], quiet=kind != "MedicationAdministration")
        if start is None and kind == "MedicationAdministration":
            return
        period = resource.get("effectivePeriod") or {}
        stop = _nanoseconds(period["end"]) if "end" in period else None
        amount, its = self._dose(resource) if kind == "MedicationAdministration" else (None, "")
        dosage = resource.get("dosage")
        route = dosage.get("route", {}) if isinstance(dosage, dict) else {}
        yield Medication(
            kind, drug or "", text, code, str(resource.get("status", "")), start, stop, amount, its,
            str(route.get("text", "")), str(resource.get("id", "")),
        )  # fmt: skip

    def _dose(self, resource: Resource) -> tuple[float | None, str]:
        """The amount of one administration; flagged where it is not told."""
        quantity = (resource.get("dosage") or {}).get("dose") or {}
        value, code = quantity.get("value"), quantity.get("code")
        if not _is_number(value) or not code:
            self._flag(resource, "dosage.dose", str(quantity or "nothing"), "a value, a UCUM code")
            return None, ""
        if value < 0:
            self._flag(resource, "dosage.dose.value", f"{value:g}", "zero or more")
            return None, ""
        try:
            return float(value), galenic_unit(str(code))
        except UnitError as error:
            self._flag(resource, "dosage.dose.code", error.found, error.expected)
            return None, ""

    def _concept(self, resource: Resource) -> Resource | None:
        """The drug, told in place, contained or by reference."""
        concept = resource.get("medicationCodeableConcept")
        if isinstance(concept, dict):
            return concept
        reference = (resource.get("medicationReference") or {}).get("reference", "")
        if reference.startswith("#"):
            for inner in resource.get("contained", []):
                if f"#{inner.get('id')}" == reference:
                    return dict(inner.get("code", {}))
        for key, other in self.resources.items():
            short = f"{other['resourceType']}/{other.get('id')}"
            if other["resourceType"] == "Medication" and reference in (key, short):
                return dict(other.get("code", {}))
        self._flag(resource, "medicationReference", reference or "nothing", "a drug in the bundle")
        return None

    def _problem(self, resource: Resource) -> Iterator[Problem]:
        verified = _status(resource.get("verificationStatus"))
        if verified in {"entered-in-error", "refuted"}:
            self._flag(resource, "verificationStatus", verified, "a confirmed statement")
            return
        concept = resource.get("code", {})
        code, text = _words(concept, concept.get("coding", []))
        onset = self._time(resource, ("onsetDateTime", "recordedDate"), quiet=True)
        status = _status(resource.get("clinicalStatus"))
        yield Problem(
            resource["resourceType"], text, code, status, onset, str(resource.get("id", ""))
        )

    def _void(self, resource: Resource) -> bool:
        status = str(resource.get("status", ""))
        if status in VOID:
            self._flag(resource, "status", status, "a statement that holds")
        return status in VOID

    def _time(self, resource: Resource, names: Sequence[str], quiet: bool = False) -> int | None:
        """The first time told under one of ``names``; a day without a time is flagged."""
        for name in names:
            told = resource.get(name)
            text = told.get("start") if isinstance(told, dict) else told
            if not text:
                continue
            try:
                return _nanoseconds(str(text))
            except ValueError:
                self._flag(resource, name, str(text), "date and time with offset")
                return None
        if not quiet:
            self._flag(resource, names[0], "nothing", "date and time with offset")
        return None

    def _flag(
        self, resource: Resource, place: str, found: str, expected: str, *, used: bool = False
    ) -> None:
        where = f"{resource['resourceType']}/{resource.get('id', '?')} {place}"
        self.flags.append(Flag(where, found, expected, used))


def _is_number(value: Any) -> TypeGuard[float]:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and math.isfinite(value)


def _words(concept: Resource, codings: Sequence[Resource]) -> tuple[str, str]:
    first = codings[0] if codings else {}
    text = concept.get("text") or first.get("display") or first.get("code") or "without code"
    return str(first.get("code", "")), str(text)


def _status(concept: Any) -> str:
    codings = concept.get("coding", []) if isinstance(concept, dict) else []
    return str(codings[0].get("code", "")) if codings else ""


def _nanoseconds(text: str) -> int:
    """An instant with offset; a ValueError where the time of day or the offset is missing."""
    time = read_stamp(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no time of day with offset")
    return int(time.timestamp() * 1_000_000) * (SECOND // 1_000_000)
