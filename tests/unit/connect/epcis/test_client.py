"""The client takes up a repository where it left it, and says what it could not use."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from tests.unit.connect.epcis.examples import LOGGER, PALLET, moved, reported

from galenic.connect.epcis import EpcisConnector
from galenic.connect.epcis.document import document_of, events_of
from galenic.connect.reconnect import Backoff
from galenic.connect.tally import Tally
from galenic.errors import ConnectionLost, DataError, UnknownName

TAG = "https://id.gs1.org/8004/4000001111/Temperature"


class Foreign(httpx.AsyncBaseTransport):
    """A repository that says what it is told to."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.asked: list[httpx.URL] = []
        self.status, self.frozen = 200, False

    def tell(self, *records: dict) -> None:
        events = [{**r, "recordTime": f"2026-03-02T00:00:{n:02d}Z"} for n, r in enumerate(records)]
        self.bodies = [json.dumps({"type": "EPCISQueryDocument", "epcisBody": {"queryResults": {
            "queryName": "q", "resultsBody": {"eventList": events}}}}).encode()]  # fmt: skip

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        if self.frozen:
            await asyncio.Event().wait()
        body = self.bodies[-1] if self.bodies else b"[]"
        return httpx.Response(self.status, content=body, request=request)


@pytest.fixture
async def foreign():
    return Foreign()


@pytest.fixture
async def connect(foreign):
    made = []

    async def connect(**options) -> EpcisConnector:
        connector = EpcisConnector(
            "http://test", transport=foreign, period=60.0, timeout=0.2,
            backoff=Backoff(first=0.01, cap=0.02), **options,
        )  # fmt: skip
        made.append(connector)
        await connector.open()
        return connector

    yield connect
    for connector in made:
        await connector.close()


async def test_without_tags_every_sensor_is_one(foreign, connect):
    foreign.tell(reported())
    connector = await connect()

    assert [info.tag for info in await connector.browse()] == [TAG]
    (sample,) = await connector.read([TAG])
    assert (sample.value, sample.unit) == (4.5, "degC")


async def test_it_goes_on_where_it_was_and_knows_what_it_had(foreign, connect):
    foreign.tell(reported())
    connector = await connect()
    foreign.tell(reported(), reported(6, value=5.0))

    assert await connector.look() == 1
    assert foreign.asked[-1].params["GE_recordTime"] == "2026-03-02T00:00:00.000000Z"
    assert await connector.look() == 0
    assert foreign.asked[-1].params["GE_recordTime"] == "2026-03-02T00:00:01.000000Z"


async def test_silence_is_a_loss_and_ends_by_itself(foreign, connect):
    connector = await connect()
    foreign.frozen = True
    with pytest.raises(ConnectionLost):
        await connector.look()
    async with asyncio.timeout(5):
        while connector.status.connected:
            await asyncio.sleep(0.01)
        foreign.frozen = False
        while not connector.status.connected:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("status", [401, 500])
async def test_a_refusal_of_the_repository_is_told(foreign, connect, status):
    foreign.status = status
    with pytest.raises(ConnectionLost, match=str(status)):
        await connect()


async def test_what_cannot_be_used_is_counted_once_and_kept(foreign, connect):
    foreign.tell(reported(), {**reported(), "bizStep": "nothing"}, reported(7, uom="XYZ"))
    connector = await connect()
    await connector.look()

    (letter,) = connector.tally.letters
    assert json.loads(letter.raw)["bizStep"] == "nothing"
    assert connector.tally.number("rejected") == 2
    assert any("XYZ" in warning for warning in connector.status.warnings)
    foreign.bodies.append(b"<a>")
    await connector.look()
    assert connector.tally.letters[-1].raw == b"<a>"
    assert Tally.from_dict(connector.tally.to_dict()).to_dict() == connector.tally.to_dict()


async def test_an_event_that_was_declared_wrong_is_warned_of(foreign, connect):
    tags = {"Pallet.Step": {"epc": PALLET, "what": "step"}}
    foreign.tell(moved("shipping", 2), moved("receiving", 3))
    connector = await connect(tags=tags)
    assert (await connector.read(["Pallet.Step"]))[0].value == "receiving"
    wrong = {
        **moved("receiving", 3),
        "errorDeclaration": {"declarationTime": "2026-03-02T00:00:00Z"},
    }
    foreign.tell(moved("shipping", 2), moved("receiving", 3), wrong)
    await connector.look()

    assert (await connector.read(["Pallet.Step"]))[0].value == "shipping"
    assert any("declared wrong" in warning for warning in connector.status.warnings)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"address": "ftp://x"}, DataError),
        ({"period": 0.0}, DataError),
        ({"since": "yesterday"}, DataError),
        ({"tags": {"a": 7}}, DataError),
        ({"tags": {"a": {}}}, DataError),
        ({"tags": {"a": {"device": LOGGER}}}, DataError),
        ({"tags": {"a": {"device": LOGGER, "type": "Heat"}}}, UnknownName),
        ({"tags": {"a": {"device": LOGGER, "type": "Mass", "field": "x"}}}, UnknownName),
        ({"tags": {"a": {"epc": PALLET, "what": "colour"}}}, UnknownName),
        ({"tags": {"a": {"epc": PALLET, "wat": "lot"}}}, UnknownName),
    ],
)
def test_wrong_options_are_named(options, error):
    with pytest.raises(error):
        EpcisConnector(**{"address": "http://test", **options})


def test_what_we_write_is_read_by_us():
    (event,), _ = events_of(json.dumps(reported()).encode())

    assert events_of(json.dumps(document_of([event], 0)).encode())[0] == [event]
