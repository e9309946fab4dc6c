"""Events of all five types are read, checked, written and identified as the standard says."""

from __future__ import annotations

import json

import pytest
from tests.unit.connect.epcis.examples import (
    ALL_KINDS,
    CONTEXT,
    at,
    commissioned,
    document,
    moved,
    packed,
    reported,
)

from galenic.connect.epcis.document import document_of, events_of
from galenic.connect.epcis.event import event_of, nanoseconds_of
from galenic.connect.epcis.identity import event_hash, identity, prehash
from galenic.connect.epcis.keys import canonical, check_digit, class_of, lot_of
from galenic.connect.epcis.uom import CODES, UNITS, code_of, comparable, converted, unit_of
from galenic.errors import DataError, GalenicError, UnknownName
from galenic.units import unit

# Of ALL_KINDS, by epcis-event-hash-generator 1.9.3 (the reference implementation of the CBV 2.0
# algorithm, MIT licence, from PyPI), run by us on the same document.
REFERENCE = [
    "469e3b355f01f5d0713c9d9acb11756b4ce1e827d26b1a99a3c3da4152332d38",
    "ebf2c5c245e016a918aab6e536ef363aae3866e985ef40e57be435a57031a89d",
    "32ff74e049d2a4a18e0714e88a257257c618545ccbd9585d76e3a49547562c15",
    "58f9dbeaddf7da76bf9f932354f0f2b4a2caa778fd752a1d5685d73a7afab7eb",
]

XML = """<?xml version="1.0" encoding="UTF-8"?>
<epcis:EPCISDocument xmlns:epcis="urn:epcglobal:epcis:xsd:{version}"
    xmlns:example="https://ns.example.com/epcis/" xmlns:cbvmda="urn:epcglobal:cbv:mda"
    schemaVersion="{version}.0" creationDate="2026-03-01T10:00:00Z">
<EPCISBody><EventList>{events}</EventList></EPCISBody></epcis:EPCISDocument>"""

XML_OBJECT = """
<ObjectEvent>
  <eventTime>2020-03-04T10:00:30.123Z</eventTime>
  <eventTimeZoneOffset>+01:00</eventTimeZoneOffset>
  <epcList/>
  <action>ADD</action>
  <bizStep>urn:epcglobal:cbv:bizstep:commissioning</bizStep>
  <bizLocation><id>urn:epc:id:sgln:4012345.00011.987</id></bizLocation>
  <extension>
    <quantityList>
      <quantityElement><epcClass>urn:epc:idpat:sgtin:4012345.066666.*</epcClass>
        <quantity>10</quantity></quantityElement>
      <quantityElement><epcClass>urn:epc:class:lgtin:4012345.012345.998877</epcClass>
        <quantity>200.50</quantity><uom>KGM</uom></quantityElement>
    </quantityList>
    <ilmd><example:x><example:y>z</example:y></example:x>
      <example:lot>0012.50</example:lot></ilmd>
    <extension>
      <sensorElementList>
        <sensorElement>
          <sensorMetadata time="2020-03-04T10:00:30Z" deviceID="urn:epc:id:giai:4000001.111"
              example:m="q"/>
          <sensorReport type="gs1:AbsoluteHumidity" value="12.10" uom="A93"/>
          <sensorReport type="https://gs1.org/voc/Pressure" exception="ALARM_CONDITION"/>
        </sensorElement>
      </sensorElementList>
      <persistentDisposition>
        <set>completeness_verified</set><unset>completeness_inferred</unset>
      </persistentDisposition>
    </extension>
  </extension>
</ObjectEvent>"""


def read(*records: dict) -> list:
    events, wrong = events_of(document(*records))
    assert not wrong
    return events


# Check digits: V15 of the reference file on supply, from samples of gs1/EPCIS.
@pytest.mark.parametrize(
    ("body", "digit"),
    [
        ("7061414112345", 1), ("0401234598765", 2), ("0401234512345", 6), ("1061414107346", 4),
        ("10614141234567890", 8), ("629104150021", 3),
    ],
)  # fmt: skip
def test_check_digits_are_those_of_gs1(body, digit):
    assert check_digit(body) == digit


# Pairs as epcis-event-hash-generator 1.9.3 converts them; the patterns by the same rule.
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("urn:epc:id:sscc:0614141.1234567890", "00/106141412345678908"),
        ("urn:epc:id:sgtin:0614141.011111.987", "01/00614141111114/21/987"),
        ("urn:epc:id:sgln:4012345.00011.987", "414/4012345000115/254/987"),
        ("urn:epc:id:sgln:4012345.00011.0", "414/4012345000115"),
        ("urn:epc:id:gdti:4012345.11111.123", "253/4012345111118123"),
        ("urn:epc:id:pgln:0614141.00000", "417/0614141000005"),
        ("urn:epc:id:giai:4000001.111", "8004/4000001111"),
        ("urn:epc:class:lgtin:4012345.012345.998877", "01/04012345123456/10/998877"),
        ("urn:epc:idpat:sgtin:4012345.066666.*", "01/04012345666663"),
        ("https://example.com/x/01/04012345999990/10/A/21/XY?17=240101", "01/04012345999990/21/XY"),
        ("https://id.gs1.org/01/04012345999990/10/A", "01/04012345999990/10/A"),
    ],
)
def test_one_thing_has_one_canonical_name(given, expected):
    assert canonical(given) == f"https://id.gs1.org/{expected}"
    assert canonical(canonical(given)) == canonical(given)


@pytest.mark.parametrize(
    "other",
    [
        "urn:uuid:1", "geo:51.1,7.0", "https://example.com/01/04012345999991",
        "urn:epc:id:sgtin:1.2.3", "urn:epc:id:sscc:4012345.x", "urn:epcglobal:cbv:bt:1:7",
    ],
)  # fmt: skip
def test_what_is_no_key_of_gs1_keeps_its_name(other):
    assert canonical(other) == other
    assert class_of(other) == lot_of(other) == ""


def test_the_identity_is_that_of_the_reference_implementation():
    events = read(*ALL_KINDS)

    assert [event_hash(e) for e in events[:4]] == [
        f"ni:///sha-256;{digest}?ver=CBV2.0" for digest in REFERENCE
    ]
    assert identity(events[1]) == "urn:uuid:11111111-1111-1111-1111-111111111111"


def test_a_source_goes_before_a_destination_and_a_curie_is_written_out():
    parties = {
        "sourceList": [{"type": "location", "source": "urn:epc:id:sgln:4012345.00011.0"}],
        "destinationList": [
            {"type": "owning_party", "destination": "urn:epc:id:pgln:4012345.00000"}
        ],
    }
    (event,) = read({**commissioned(1), **parties, "example:flag": True, "example:unit": "gs1:CEL"})

    assert prehash(event).endswith(
        "sourceListtype=https://ref.gs1.org/cbv/SDT-location"
        "source=https://id.gs1.org/414/4012345000115"
        "destinationListtype=https://ref.gs1.org/cbv/SDT-owning_party"
        "destination=https://id.gs1.org/417/4012345000009"
        "ilmd{urn:epcglobal:cbv:mda}itemExpirationDate=2028-02-29"
        "{urn:epcglobal:cbv:mda}lotNumber=L7"
        "{https://ns.example.com/epcis/}flag=true"
        "{https://ns.example.com/epcis/}unit=https://gs1.org/voc/CEL"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"bizStep": "https://ref.gs1.org/cbv/BizStep-commissioning"},
        {"eventTime": "2026-03-01T09:00:00+01:00"},
        {"epcList": ["https://id.gs1.org/01/04012345111224/21/1"]},
        {"recordTime": "2026-03-02T00:00:00Z"},
        {"errorDeclaration": {"declarationTime": "2026-03-02T00:00:00Z"}},
    ],
)
def test_the_same_said_otherwise_has_the_same_identity(other):
    (one,) = read(commissioned(1))
    (two,) = read({**commissioned(1), **other})

    assert event_hash(one) == event_hash(two)


@pytest.mark.parametrize(
    "other",
    [
        {"eventTime": "2026-03-01T08:00:00.001Z"}, {"eventTimeZoneOffset": "+01:00"},
        {"disposition": "inactive"}, {"example:more": 1}, {"ilmd": {"cbvmda:lotNumber": "L8"}},
    ],
)  # fmt: skip
def test_something_else_has_another_identity(other):
    (one,) = read(commissioned(1))
    (two,) = read({**commissioned(1), **other})

    assert event_hash(one) != event_hash(two)


@pytest.mark.parametrize("version", ["1", "2"])
def test_xml_says_the_same_as_json(version):
    record = {
        **ALL_KINDS[1], "eventTime": "2020-03-04T11:00:30.123+01:00", "epcList": [],
        "sensorElementList": [
            {
                "sensorMetadata": {
                    "time": "2020-03-04T11:00:30+01:00", "deviceID": "urn:epc:id:giai:4000001.111",
                    "example:m": "q",
                },
                "sensorReport": [
                    {"type": "AbsoluteHumidity", "value": 12.1, "uom": "A93"},
                    {"type": "Pressure", "exception": "ALARM_CONDITION"},
                ],
            }
        ],
    }  # fmt: skip
    events, wrong = events_of(XML.format(version=version, events=XML_OBJECT).encode())

    assert not wrong
    assert prehash(events[0]) == prehash(read(record)[0])


@pytest.mark.parametrize(
    "bomb",
    [
        '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY a "1"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        "<a>" * 100 + "</a>" * 100,
        "<a>&undefined;</a>",
        "<a><b></a>",
    ],
)
def test_bombs_and_broken_xml_are_refused(bomb):
    with pytest.raises(DataError):
        events_of(bomb.encode())


@pytest.mark.parametrize(
    "broken", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"type": "EPCISDocument"}', b"7",
               b'{"type": "EPCISDocument", "schemaVersion": "3.0"}', b"NaN",
               json.dumps({"type": "EPCISDocument", "epcisBody": {"eventList": 7}}).encode()],
)  # fmt: skip
def test_what_is_no_document_is_refused(broken):
    with pytest.raises(DataError):
        events_of(broken)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bizStep": "shiping"}, "shiping"),
        ({"action": "MOVE"}, "action"),
        ({"eventTime": "2026-03-01 08:00"}, "eventTime"),
        ({"eventTime": "2026-03-01T08:00:00"}, "eventTime"),
        ({"eventTimeZoneOffset": "UTC"}, "eventTimeZoneOffset"),
        ({"epcList": ["no uri"]}, "epcList.0"),
        ({"epclist": []}, "epclist"),
        ({"action": "OBSERVE"}, "ilmd"),
        ({"epcList": None}, "epcList"),
        ({"readPoint": {"id": 7}}, "readPoint.id"),
        ({"sensorElementList": [{"sensorReport": []}]}, "sensorReport"),
        ({"sensorElementList": [{"sensorReport": [{"type": "Heat"}]}]}, "Heat"),
        ({"sensorElementList": [{"sensorReport": [{"type": "Mass", "value": "1"}]}]}, "value"),
        ({"quantityList": [{"quantity": 1}]}, "epcClass"),
        ({"persistentDisposition": {"set": []}}, "set"),
    ],
)
def test_a_wrong_field_is_named(change, words):
    record = {k: v for k, v in {**commissioned(1), **change}.items() if v is not None}

    with pytest.raises(DataError) as caught:
        event_of(record)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({**packed(1), "parentID": None}, "parentID"),
        ({**packed(), "childEPCs": []}, "children"),
        ({"type": "TransformationEvent", **at(0), "inputEPCList": ["urn:a:b"]}, "outputs"),
        ({"type": "TransactionEvent", **at(0), "action": "ADD", "epcList": []}, "bizTransaction"),
        ({"type": "AssociationEvent", **at(0), "action": "DELETE"}, "parentID"),
        ({"type": "QuantityEvent", **at(0)}, "QuantityEvent"),
        ("an event", "str"),
    ],
)
def test_each_type_demands_what_it_is_about(record, words):
    if isinstance(record, dict):
        record = {k: v for k, v in record.items() if v is not None}

    with pytest.raises(GalenicError) as caught:
        event_of(record)

    assert words in str(caught.value)


def test_good_events_beside_wrong_ones_are_read_and_the_wrong_ones_kept():
    wrong_one = {**commissioned(2), "bizStep": "nothing"}
    events, wrong = events_of(document(commissioned(1), wrong_one, moved("shipping", 3)))

    assert [e.bizStep for e in events] == ["commissioning", "shipping"]
    assert (wrong[0].number, json.loads(wrong[0].raw)["bizStep"]) == (2, "nothing")


def test_a_document_reads_back_with_the_namespaces_that_its_events_need():
    events = read(*ALL_KINDS, reported())

    for query in ("", "SimpleEventQuery"):
        said = json.dumps(document_of(events, 10**18, query=query)).encode()
        again, wrong = events_of(said)
        assert not wrong
        assert [identity(e) for e in again] == [identity(e) for e in events]
        assert [event_hash(e) for e in again] == [event_hash(e) for e in events]


def test_one_prefix_for_two_namespaces_stays_with_its_event():
    other = [CONTEXT[0], {"example": "https://other.example.org/"}]
    one = event_of({**commissioned(1), "@context": CONTEXT, "example:a": 1})
    two = event_of({**commissioned(1), "@context": other, "example:a": 1})

    said = json.dumps(document_of([one, two], 0)).encode()

    assert event_hash(one) != event_hash(two)
    assert [event_hash(e) for e in events_of(said)[0]] == [event_hash(one), event_hash(two)]


def test_times_keep_all_their_digits():
    assert nanoseconds_of("2026-03-01T00:00:00.123456789+01:00") % 10**9 == 123_456_789


def test_unit_codes_are_units_of_ours_and_unknown_ones_are_named():
    for code in UNITS:
        unit(unit_of(code))
    for name in CODES:
        assert unit(unit_of(code_of(name))).dimension == unit(name).dimension
    assert converted(100.0, "CEL", "FAH") == pytest.approx(212.0)
    assert converted(1.0, "KMQ", "A93") == pytest.approx(1000.0)
    assert converted(1013.25, "HPA", "ATM") == pytest.approx(1.0)
    assert not comparable("CEL", "P1")
    with pytest.raises(UnknownName, match="CLE"):
        unit_of("CLE")
