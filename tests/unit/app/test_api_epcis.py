"""EPCIS over REST: capture and query with roles; our own client follows our own server."""

from __future__ import annotations

import asyncio

import argon2
import httpx
import pytest
from tests.unit.connect.epcis.examples import (
    DEPOT,
    ITEM,
    PALLET,
    commissioned,
    document,
    moved,
    packed,
    reported,
)
from tests.unit.connect.epcis.test_events import XML, XML_OBJECT

from galenic.app.api import create_app
from galenic.app.session import Session
from galenic.connect.epcis import EpcisConnector
from galenic.connect.epcis.keys import canonical
from galenic.records import open_site
from galenic.records.people import People

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    store = open_site(tmp_path_factory.mktemp("epcis") / "site", name="test")
    people = People(store, hasher=argon2.PasswordHasher(1, 8, 1))
    people.add("ada", PASSWORD, ["operator"], by="test")
    people.add("eve", PASSWORD, ["viewer"], by="test")
    people.add("kim", PASSWORD, ["engineer"], by="test")
    session = Session(store)
    yield create_app(session, people)
    session.close()
    store.close()


@pytest.fixture(scope="module")
def tokens(app):
    people = app.state.access.people
    return {name: people.sign_in(name, PASSWORD) for name in ("ada", "eve", "kim")}


def client(app, token: str = "") -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test", headers=headers
    )


async def test_capture_and_query_as_the_standard_has_them(app, tokens):
    async with client(app, tokens["ada"]) as http:
        made = await http.post("/epcis/capture", content=document(commissioned(1, 2), packed(1, 2)))
        assert made.status_code == 202, made.text
        state = (await http.get(made.headers["Location"])).json()
        assert (state["success"], len(state["events"])) == (True, 2)

        one = await http.post("/epcis/events", json=moved("shipping", 4, eventID="urn:uuid:42"))
        assert one.status_code == 201
        assert (await http.get(one.headers["Location"])).json()["bizStep"] == "shipping"
        hashed = (await http.get(f"/epcis/events/{state['events'][0]}")).json()
        assert hashed["bizStep"] == "commissioning"

        page = await http.get("/epcis/events", params={"perPage": 2})
        answer = page.json()
        assert answer["type"] == "EPCISQueryDocument"
        assert page.headers["GS1-EPCIS-Version"] == "2.0.0"
        following = await http.get(page.links["next"]["url"])
        both = [
            event["type"]
            for part in (answer, following.json())
            for event in part["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
        ]
        assert both == ["ObjectEvent", "AggregationEvent", "ObjectEvent"]
        assert "Link" not in following.headers

        steps = (await http.get("/epcis/bizSteps")).json()["member"]
        assert steps == ["commissioning", "packing", "shipping"]
        packs = (await http.get(f"/epcis/epcs/{ITEM.format(1)}/events")).json()
        found = packs["epcisBody"]["queryResults"]["resultsBody"]["eventList"]
        assert [event["bizStep"] for event in found] == ["commissioning", "packing"]
        assert (await http.options("/epcis/capture")).headers["GS1-EPCIS-Capture-Limit"]


async def test_xml_is_captured_and_bombs_are_not(app, tokens):
    async with client(app, tokens["ada"]) as http:
        content = XML.format(version="1", events=XML_OBJECT)
        assert (await http.post("/epcis/capture", content=content)).status_code == 202
        bomb = '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'
        assert (await http.post("/epcis/capture", content=bomb)).status_code == 422


async def test_a_wrong_event_refuses_the_document_unless_the_rest_is_wanted(app, tokens):
    data = document(commissioned(7), {**packed(7), "bizStep": "paking"})
    async with client(app, tokens["ada"]) as http:
        refused = await http.post("/epcis/capture", content=data)
        assert refused.status_code == 422
        assert "paking" in refused.json()["detail"]
        header = {"GS1-Capture-Error-Behaviour": "proceed"}
        made = (await http.post("/epcis/capture", content=data, headers=header)).json()
        assert (made["success"], len(made["events"]), len(made["errors"])) == (False, 1, 1)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/epcis/events?EQ_bizStp=x", 422), ("GET", "/epcis/events?perPage=0", 422),
        ("GET", "/epcis/events?perPage=x", 422), ("GET", "/epcis/events?nextPageToken=x", 422),
        ("GET", "/epcis/events?GE_eventTime=x", 422), ("GET", "/epcis/events/urn:uuid:9", 404),
        ("GET", "/epcis/capture/9", 404), ("GET", "/epcis/queries/none", 404),
        ("GET", "/epcis/queries/none/events", 404), ("DELETE", "/epcis/queries/none", 404),
        ("POST", "/epcis/capture", 422), ("POST", "/epcis/events", 422),
        ("POST", "/epcis/queries", 422), ("GET", "/epcis/bizSteps/nothing/events", 422),
    ],
)  # fmt: skip
async def test_a_wrong_question_is_never_a_fault_of_the_server(app, tokens, method, path, code):
    token = tokens["kim"] if "queries" in path else tokens["ada"]
    async with client(app, token) as http:
        assert (await http.request(method, path)).status_code == code


async def test_roles_decide_who_captures_and_who_looks(app, tokens):
    async with client(app) as http:
        assert (await http.get("/epcis/events")).status_code == 401
        assert (await http.post("/epcis/capture", content=document())).status_code == 401
    async with client(app, tokens["eve"]) as http:
        assert (await http.get("/epcis/events")).status_code == 200
        refused = await http.post("/epcis/capture", content=document(commissioned(9)))
        assert refused.status_code == 403
        asked = {"name": "mine", "query": {}}
        assert (await http.post("/epcis/queries", json=asked)).status_code == 403


async def test_goods_and_sources_belong_to_the_whole_site(app):
    app.state.access.people.add("una", PASSWORD, ["viewer@line-1"], by="test")
    async with client(app, app.state.access.people.sign_in("una", PASSWORD)) as http:
        assert (await http.get("/epcis/events")).status_code == 403
        for path in ("supply/events", "data/quality", "data/dead_letters"):
            assert (await http.post(f"/api/services/{path}", json={})).status_code == 403


async def test_named_queries(app, tokens):
    async with client(app, tokens["kim"]) as http:
        asked = {"name": "shipped", "query": {"EQ_bizStep": ["shipping"], "eventCountLimit": 1}}
        assert (await http.post("/epcis/queries", json=asked)).status_code == 201
        answer = (await http.get("/epcis/queries/shipped/events")).json()
        results = answer["epcisBody"]["queryResults"]
        assert results["queryName"] == "shipped"
        assert [e["bizStep"] for e in results["resultsBody"]["eventList"]] == ["shipping"]
        assert (await http.delete("/epcis/queries/shipped")).status_code == 204


async def test_our_client_follows_our_server_and_knows_the_state_of_goods(app, tokens):
    tags = {
        "Truck.T": {"device": "urn:epc:id:giai:4000001.111", "type": "Temperature", "unit": "K"},
        "Pallet.Location": {"epc": PALLET, "what": "location"},
        "Depot.Packs": {"at": DEPOT, "of": "https://id.gs1.org/01/04012345111224"},
    }
    connector = EpcisConnector(
        "http://test/epcis", tags, period=0.02, token=tokens["eve"], per_page=2,
        transport=httpx.ASGITransport(app),
    )  # fmt: skip
    await connector.open()
    batches = connector.subscribe(list(tags))
    latest: dict[str, object] = {}

    async def until(tag: str, value: object) -> None:
        while latest.get(tag) != value:  # one batch may bring several
            latest.update((s.tag, s.value) for s in await anext(batches))

    told = (commissioned(1, 2), packed(1, 2), moved("receiving", 30, DEPOT), reported(31))
    async with client(app, tokens["ada"]) as http, asyncio.timeout(20):
        await http.post("/epcis/capture", content=document(*told))
        await until("Depot.Packs", 2)
        await until("Truck.T", pytest.approx(277.65))
        assert latest["Pallet.Location"] == canonical(DEPOT)
        await http.post("/epcis/capture", content=document(packed(1, minute=32, action="DELETE"),
            moved("shipping", 33, thing=ITEM.format(1))))  # fmt: skip
        await until("Depot.Packs", 1)
    await batches.aclose()
    await connector.close()
    assert connector.tally.tags["Truck.T"].numbers["converted"] == 1
