"""Reading of FHIR R4 bundles: what is used, what is refused, and that each doubt is named."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from galenic.connect.fhir.reading import read_chart
from galenic.connect.fhir.ucum import galenic_unit
from galenic.errors import DataError, UnitError

LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
WHEN = "2026-03-01T08:00:00+01:00"


def patient(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1980-06-15",
    } | changes  # fmt: skip


def observation(code: str = "29463-7", value: Any = 70, unit: str = "kg", **changes: Any) -> Any:
    return {
        "resourceType": "Observation", "id": "o", "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": "Patient/p"}, "effectiveDateTime": WHEN,
        "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": unit},
    } | changes  # fmt: skip


def administration(**changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration", "id": "a", "status": "completed",
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "11124"}]},
        "subject": {"reference": "Patient/p"},
        "effectivePeriod": {"start": WHEN, "end": "2026-03-01T09:00:00+01:00"},
        "dosage": {"dose": {"value": 1, "code": "g"}},
    } | changes  # fmt: skip


def bundle(*resources: Any, kind: str = "searchset") -> dict[str, Any]:
    entries = [{"resource": r} for r in resources]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def test_a_value_is_converted_to_the_unit_of_its_quantity():
    chart = read_chart(json.dumps(bundle(patient(), observation(value=154.0, unit="[lb_av]"))))

    found = chart.latest("weight")
    assert found is not None and found.value == pytest.approx(69.8532249)
    assert (found.unit, chart.age(found.time), chart.born) == ("kg", 45, date(1980, 6, 15))
    assert chart.flags == ()


def test_a_mass_where_an_amount_is_expected_is_refused():
    chart = read_chart(bundle(patient(), observation("2160-0", 88.4, "umol/L")))

    assert chart.measurements == ()
    assert "mg/dL" in chart.flags[0].found


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        (observation(unit="stone"), "valueQuantity.code"),
        (observation(value=7000), "valueQuantity.value"),
        (observation(value="heavy"), "valueQuantity.value"),
        (observation(valueQuantity={"value": 70, "unit": "kg"}), "valueQuantity.code"),
        (observation(status="entered-in-error"), "status"),
        (observation(subject={"reference": "Patient/other"}), "subject"),
        (observation(effectiveDateTime="2026-03-01"), "effectiveDateTime"),
        (observation(effectiveDateTime="2026-03-01T08:00:00"), "effectiveDateTime"),
    ],
)
def test_what_is_not_used_is_named_with_its_place(resource, place):
    chart = read_chart(bundle(patient(), resource))

    assert chart.measurements == ()
    assert [flag.where for flag in chart.flags] == [f"Observation/o {place}"]
    assert chart.counts["Observation"] == (0, 1)


def test_the_parts_of_an_observation_are_measurements_of_their_own():
    parts = observation("85354-9")
    del parts["valueQuantity"]
    parts["component"] = [
        observation("8480-6", 120, "mm[Hg]"), observation("8462-4", 80, "mm[Hg]")
    ]  # fmt: skip

    chart = read_chart(bundle(patient(), parts))

    assert {(m.code, m.value) for m in chart.measurements} == {("8480-6", 120.0), ("8462-4", 80.0)}


def test_an_administration_has_time_duration_and_dose():
    chart = read_chart(bundle(patient(), administration(), kind="transaction"))

    (dose,) = chart.given("vancomycin")
    assert (dose.amount, dose.unit) == (1.0, "g")
    assert dose.stop is not None and dose.start is not None
    assert dose.stop - dose.start == 3600 * 10**9


def test_a_drug_told_by_reference_is_found():
    entries = [
        {"fullUrl": "urn:uuid:m", "resource": {
            "resourceType": "Medication", "id": "m",
            "code": {"coding": [{"system": RXNORM, "code": "11124"}]}}},
        {"fullUrl": "urn:uuid:p", "resource": patient()},
        {"resource": administration(
            medicationCodeableConcept=None, medicationReference={"reference": "urn:uuid:m"},
            subject={"reference": "urn:uuid:p"})},
    ]  # fmt: skip

    chart = read_chart({"resourceType": "Bundle", "type": "collection", "entry": entries})

    assert [m.drug for m in chart.medications] == ["vancomycin"]


def test_a_negative_dose_is_flagged_and_has_no_amount():
    dose = {"dose": {"value": -5, "code": "mg"}}

    chart = read_chart(bundle(patient(), administration(dosage=dose)))

    assert chart.medications[0].amount is None
    assert chart.flags[0].expected == "zero or more"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ({"resourceType": "Patient"}, "it is a Patient"),
        (bundle(), "0 patients"),
        (bundle(patient(), patient(id="q")), r"2 patients \(p, q\)"),
        ({"resourceType": "Bundle", "entry": [{}]}, "without resource"),
    ],
)
def test_what_is_no_record_of_one_person_is_refused(source, message):
    with pytest.raises(DataError, match=message):
        read_chart(source)


@pytest.mark.parametrize(
    ("code", "unit"),
    [("g/dL", "g/dL"), ("/min", "1/min"), ("mmol/L", "mmol/L"), ("{score}", "1"),
     ("10*6/uL", "1000000/uL"), ("kg.m2", "kg*m^2"), ("m[iU]/mL", "mIU/mL")],
)  # fmt: skip
def test_units_of_records_are_those_of_this_house(code, unit):
    assert galenic_unit(code) == unit


def test_an_unknown_unit_is_refused_by_name():
    with pytest.raises(UnitError, match="'furlong' is not known"):
        galenic_unit("mg/furlong")
