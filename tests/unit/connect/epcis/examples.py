"""Events for tests, of our own making, with every kind of field that the standard has."""

from __future__ import annotations

import json

CONTEXT = [
    "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
    {"example": "https://ns.example.com/epcis/"},
]
ITEM = "urn:epc:id:sgtin:4012345.011122.{}"
PALLET = "urn:epc:id:sscc:4012345.0000000333"
PLANT = "urn:epc:id:sgln:4012345.00001.0"
DEPOT = "urn:epc:id:sgln:4012345.00002.0"
LOGGER = "urn:epc:id:giai:4000001.111"


def at(minute: int) -> dict[str, str]:
    return {
        "eventTime": f"2026-03-01T08:{minute:02d}:00.000Z",
        "eventTimeZoneOffset": "+00:00",
    }


def commissioned(*serials: int, minute: int = 0, place: str = PLANT) -> dict:
    return {
        "@context": CONTEXT, "type": "ObjectEvent", **at(minute), "action": "ADD",
        "epcList": [ITEM.format(n) for n in serials], "bizStep": "commissioning",
        "disposition": "active", "readPoint": {"id": place}, "bizLocation": {"id": place},
        "ilmd": {"cbvmda:lotNumber": "L7", "cbvmda:itemExpirationDate": "2028-02-29"},
    }  # fmt: skip


def packed(*serials: int, minute: int = 1, action: str = "ADD") -> dict:
    return {
        "type": "AggregationEvent", **at(minute), "parentID": PALLET, "action": action,
        "childEPCs": [ITEM.format(n) for n in serials],
        "bizStep": "packing" if action == "ADD" else "unpacking",
    }  # fmt: skip


def moved(step: str, minute: int, place: str = "", thing: str = PALLET, **more) -> dict:
    where = {"bizLocation": {"id": place}} if place else {}
    return {
        "type": "ObjectEvent", **at(minute), "action": "OBSERVE", "epcList": [thing],
        "bizStep": step, **where, **more,
    }  # fmt: skip


def reported(minute: int = 5, **report) -> dict:
    said = {"type": "Temperature", "value": 4.5, "uom": "CEL"} | report
    return {
        "type": "ObjectEvent", **at(minute), "action": "OBSERVE", "epcList": [PALLET],
        "bizStep": "sensor_reporting",
        "sensorElementList": [
            {"sensorMetadata": {"deviceID": LOGGER, "time": at(minute)["eventTime"]},
             "sensorReport": [{k: v for k, v in said.items() if v is not None}]}
        ],
    }  # fmt: skip


def document(*events: dict) -> bytes:
    said = {
        "@context": CONTEXT, "type": "EPCISDocument", "schemaVersion": "2.0",
        "creationDate": "2026-03-01T10:00:00Z", "epcisBody": {"eventList": list(events)},
    }  # fmt: skip
    return json.dumps(said).encode()


ALL_KINDS = [
    {
        "type": "ObjectEvent", "eventTime": "2020-03-04T11:00:30+01:00",
        "eventTimeZoneOffset": "+01:00", "recordTime": "2020-03-04T11:00:31+01:00",
        "epcList": [
            "urn:epc:id:sgtin:0614141.011111.987", "urn:epc:id:sscc:4012345.0000000333",
            "https://example.com/01/04012345999990/10/LOT1/21/XY?17=240101",
        ],
        "action": "OBSERVE", "bizStep": "departing", "disposition": "in_transit",
        "readPoint": {"id": "urn:epc:id:sgln:4012345.00011.0", "example:myField1": "AB-12"},
        "bizTransactionList": [
            {"type": "po", "bizTransaction": "urn:epc:id:gdti:4012345.11111.123"},
            {"type": "desadv", "bizTransaction": "urn:epcglobal:cbv:bt:4012345000009:7"},
        ],
        "sourceList": [{"type": "owning_party", "source": "urn:epc:id:pgln:4012345.00000"}],
        "example:userExt": "CD-34", "example:nest": {"example:b": 2, "example:a": ["3", 1.50]},
    },
    {
        "type": "ObjectEvent", "eventTime": "2020-03-04T11:00:30.12345+01:00",
        "eventTimeZoneOffset": "+01:00",
        "eventID": "urn:uuid:11111111-1111-1111-1111-111111111111",
        "errorDeclaration": {
            "declarationTime": "2020-11-04T11:00:30.000+01:00", "reason": "incorrect_data",
            "correctiveEventIDs": ["urn:uuid:404d95fc-9457-4a51-bd6a-0bba133845a8"],
        },
        "quantityList": [
            {"epcClass": "urn:epc:class:lgtin:4012345.012345.998877", "quantity": 200.50,
             "uom": "KGM"},
            {"epcClass": "urn:epc:idpat:sgtin:4012345.066666.*", "quantity": 10},
        ],
        "action": "ADD", "bizStep": "urn:epcglobal:cbv:bizstep:commissioning",
        "persistentDisposition": {
            "set": ["completeness_verified"], "unset": ["completeness_inferred"],
        },
        "bizLocation": {"id": "urn:epc:id:sgln:4012345.00011.987"},
        "ilmd": {"example:x": {"example:y": "z"}, "example:lot": "0012.50"},
        "sensorElementList": [
            {
                "sensorMetadata": {
                    "time": "2020-03-04T11:00:30+01:00", "deviceID": LOGGER, "example:m": "q",
                },
                "sensorReport": [
                    {"type": "Temperature", "value": 26.0, "uom": "CEL", "example:r": 1},
                    {"type": "AbsoluteHumidity", "value": 12.1, "uom": "A93"},
                    {"type": "Pressure", "exception": "ALARM_CONDITION"},
                ],
            },
            {"sensorReport": [
                {"type": "Illuminance", "stringValue": "a b", "component": "x", "sDev": 0.10},
            ]},
        ],
    },
    {
        "type": "AggregationEvent", "eventTime": "2013-06-08T14:58:56.591Z",
        "eventTimeZoneOffset": "+02:00", "parentID": "urn:epc:id:sscc:0614141.1234567890",
        "childEPCs": [
            "urn:epc:id:sgtin:0614141.107346.2017", "urn:epc:id:sgtin:0614141.107346.2018",
        ],
        "childQuantityList": [
            {"epcClass": "urn:epc:idpat:sgtin:4012345.098765.*", "quantity": 10},
        ],
        "action": "ADD", "bizStep": "packing",
    },
    {
        "type": "TransformationEvent", "eventTime": "2013-10-31T14:58:56.591Z",
        "eventTimeZoneOffset": "+02:00",
        "inputEPCList": [
            "urn:epc:id:sgtin:4012345.011122.25", "urn:epc:id:sgtin:4000001.065432.99886655",
        ],
        "inputQuantityList": [
            {"epcClass": "urn:epc:class:lgtin:4012345.011111.4444", "quantity": 10, "uom": "KGM"},
        ],
        "outputEPCList": ["urn:epc:id:sgtin:4012345.077889.25"],
        "outputQuantityList": [
            {"epcClass": "urn:epc:class:lgtin:4012345.011111.5555", "quantity": 0.0010},
        ],
        "transformationID": "urn:epc:id:gdti:4012345.11111.5", "bizStep": "commissioning",
        "disposition": "in_progress", "readPoint": {"id": "geo:51.1,7.0"},
    },
    {
        "type": "TransactionEvent", **at(0), "action": "ADD", "parentID": PALLET,
        "bizTransactionList": [{"type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:1:7"}],
        "epcList": ["urn:epc:id:sgtin:4012345.011122.25"],
    },
    {
        "type": "AssociationEvent", **at(0), "action": "ADD", "parentID": PALLET,
        "childEPCs": [LOGGER],
    },
]  # fmt: skip
