"""Subscribers get every event of their query, signed, once they answer; nothing is left out."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket

import argon2
import httpx
import pytest
import uvicorn
import websockets
from tests.unit.connect.epcis.examples import DEPOT, commissioned, document, moved, packed
from tests.unit.supply.test_repository import Clock

from galenic.app.api import create_app, epcis_push
from galenic.app.api.epcis_push import Push
from galenic.app.session import Session
from galenic.clock import SECOND, SystemClock
from galenic.connect.epcis.document import events_of
from galenic.errors import DataError, UnknownName
from galenic.records import open_site
from galenic.records.people import People
from galenic.stages.supply.repository import Repository
from galenic.stages.supply.standing import Subscriptions

DEST = "https://client.example.com/queryCallback"


class Receiver:
    """A webhook that remembers what it got, and refuses for a while."""

    def __init__(self) -> None:
        self.got: list[httpx.Request] = []
        self.status = 204

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.status == 204:
            self.got.append(request)
        return httpx.Response(self.status)

    def steps(self) -> list[list[str]]:
        return [[e.bizStep for e in events_of(r.content)[0]] for r in self.got]


@pytest.fixture
def store(tmp_path):
    store = open_site(tmp_path / "site", name="test")
    yield store
    store.close()


@pytest.fixture
def repository(store):
    made = Repository(store, Clock())
    made.keep_query("moves", {"EQ_bizStep": ["shipping", "receiving"]}, "Ann")
    return made


@pytest.fixture
def receiver():
    return Receiver()


def sent(repository, receiver, push: Push | None = None) -> Push:
    """Everything that is due has been sent or refused."""
    push = push or Push(repository)

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(receiver)) as http:
            await push.once(http)
            await push.settled()

    asyncio.run(asyncio.wait_for(run(), 30))
    return push


def test_a_stream_sends_what_is_captured_from_then_on(repository, receiver):
    repository.capture(document(commissioned(1), moved("shipping", 1)), "Ann")
    subscriptions = Subscriptions(repository)
    said = {"dest": DEST, "stream": True, "signatureToken": "s3cret"}
    made = subscriptions.add("moves", said, "Ann")
    sent(repository, receiver)
    assert receiver.got == []

    repository.capture(document(packed(1), moved("shipping", 2), moved("receiving", 3, DEPOT)), "A")
    sent(repository, receiver)
    sent(repository, receiver)

    assert receiver.steps() == [["shipping", "receiving"]]
    request = receiver.got[0]
    results = json.loads(request.content)["epcisBody"]["queryResults"]
    assert (results["queryName"], results["subscriptionID"]) == ("moves", made.id)
    digest = hmac.new(b"s3cret", request.content, hashlib.sha256).digest()
    assert request.headers["GS1-Signature"] == base64.b64encode(digest).decode()
    told = subscriptions.get(made.id, "moves").to_dict()
    assert told["lastNotifiedAt"]
    assert "s3cret" not in json.dumps(told)
    assert "s3cret" not in str(list(repository.store.ledger_read()))


def test_what_could_not_be_sent_is_sent_again_also_after_a_restart(repository, receiver, store):
    made = Subscriptions(repository).add("moves", {"dest": DEST, "stream": True}, "Ann")
    receiver.status = 503
    repository.capture(document(moved("shipping", 2)), "Ann")
    push = sent(repository, receiver)
    assert "503" in Subscriptions(repository).get(made.id, "moves").to_dict()["lastError"]
    receiver.status = 204
    sent(repository, receiver, push)
    assert receiver.got == []  # it waits before the next try
    repository.capture(document(moved("receiving", 3, DEPOT)), "Ann")

    sent(Repository(store, Clock()), receiver)

    assert receiver.steps() == [["shipping", "receiving"]]
    assert "lastError" not in Subscriptions(repository).get(made.id, "moves").to_dict()
    problems = [e for e in store.ledger_read(kinds=["epcis"]) if "problem" in e.detail]
    assert len(problems) == 1  # the first time only


def test_a_schedule_sends_at_its_times_and_an_empty_message_where_asked(repository, receiver):
    subscriptions, clock = Subscriptions(repository), repository.clock
    said = {"dest": DEST, "schedule": {"hour": "1", "minute": "5"}, "reportIfEmpty": True}
    subscriptions.add("moves", said, "Ann")
    subscriptions.add("moves", {k: v for k, v in said.items() if k != "reportIfEmpty"}, "Ann")
    repository.capture(document(moved("shipping", 2)), "Ann")
    sent(repository, receiver)
    assert receiver.got == []

    for _ in range(2):
        clock.time += 24 * 3600 * SECOND
        sent(repository, receiver)

    assert sorted(receiver.steps()) == [[], ["shipping"], ["shipping"]]


def test_events_from_before_are_sent_where_asked_and_in_parts(repository, receiver, monkeypatch):
    monkeypatch.setattr("galenic.stages.supply.standing.AT_ONCE", 2)
    repository.capture(document(*(moved("shipping", n) for n in range(5))), "Ann")
    said = {"dest": DEST, "stream": True, "initialRecordTime": "2026-01-01T00:00:00Z"}
    Subscriptions(repository).add("moves", said, "Ann")
    sent(repository, receiver)

    assert [len(one) for one in receiver.steps()] == [2, 2, 1]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"stream": True}, "dest"), ({"dest": DEST}, "neither stream nor schedule"),
        ({"dest": DEST, "stream": True, "schedule": {"hour": "1"}}, "both"),
        ({"dest": "http://example.com/", "stream": True}, "https"),
        ({"dest": "https://a:b@example.com/", "stream": True}, "password"),
        ({"dest": "file:///etc/passwd", "stream": True}, "https"),
        ({"dest": DEST, "stream": "yes"}, "true nor false"),
        ({"dest": DEST, "schedule": {"hour": "25"}}, "0 to 23"),
        ({"dest": DEST, "schedule": "daily"}, "object"),
        ({"dest": DEST, "stream": True, "initialRecordTime": "yesterday"}, "yesterday"),
        ({"dest": DEST, "stream": True, "secret": "x"}, "secret"),
    ],
)  # fmt: skip
def test_a_wrong_subscription_is_refused(repository, said, words):
    with pytest.raises((DataError, UnknownName), match=words):
        Subscriptions(repository).add("moves", said, "Ann")
    assert Subscriptions(repository).all() == []


def test_a_query_that_only_a_person_can_ask_takes_no_subscriber(repository):
    repository.keep_query("last", {"orderBy": ["eventTime"], "eventCountLimit": ["1"]}, "Ann")

    with pytest.raises(DataError, match="not subscribed to"):
        Subscriptions(repository).add("last", {"dest": DEST, "stream": True}, "Ann")


def test_a_query_with_a_subscriber_stays(repository):
    made = Subscriptions(repository).add("moves", {"dest": DEST, "stream": True}, "Ann")
    with pytest.raises(DataError, match="subscriptions"):
        repository.forget_query("moves", "Ann")
    Subscriptions(repository).remove(made.id, "moves", "Ann")
    repository.forget_query("moves", "Ann")


PASSWORD = "correct horse"


@pytest.fixture
def app(store, repository):
    people = People(store, hasher=argon2.PasswordHasher(1, 8, 1))
    people.add("ada", PASSWORD, ["operator"], by="test")
    people.add("kim", PASSWORD, ["engineer"], by="test")
    session = Session(store, clock=SystemClock())
    yield create_app(session, people)
    session.close()


async def test_subscriptions_over_rest_need_an_engineer(app):
    people = app.state.access.people
    tokens = {name: people.sign_in(name, PASSWORD) for name in ("ada", "kim")}
    place, said = "/epcis/queries/moves/subscriptions", {"dest": DEST, "stream": True}
    transport = httpx.ASGITransport(app)

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        ada, kim = ({"Authorization": f"Bearer {tokens[name]}"} for name in ("ada", "kim"))
        assert (await http.post(place, json=said, headers=ada)).status_code == 403
        assert (await http.post(place, json={"dest": DEST}, headers=kim)).status_code == 422
        missing = place.replace("moves", "none")
        assert (await http.post(missing, json=said, headers=kim)).status_code == 404
        made = await http.post(place, json={**said, "signatureToken": "s3cret"}, headers=kim)
        assert made.status_code == 201
        assert "s3cret" not in made.text
        one = made.headers["Location"]
        assert (await http.get(one, headers=ada)).json() == made.json()
        assert (await http.get(place, headers=ada)).json() == [made.json()]
        assert (await http.delete(one, headers=ada)).status_code == 403
        assert (await http.delete(one, headers=kim)).status_code == 204
        assert (await http.get(one, headers=kim)).status_code == 404


async def test_a_websocket_gets_what_is_captured(app, repository, monkeypatch):
    monkeypatch.setattr(epcis_push, "EVERY", 0.02)
    token = app.state.access.people.sign_in("ada", PASSWORD)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", ws="websockets-sansio", lifespan="off")
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext
        task = asyncio.create_task(server.serve(sockets=[listening]))
        address = f"ws://127.0.0.1:{listening.getsockname()[1]}/epcis/queries/moves/events"
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.01)
            headers = {"Authorization": f"Bearer {token}"}
            async with websockets.connect(
                f"{address}?stream=true", additional_headers=headers
            ) as s:
                await asyncio.to_thread(
                    repository.capture, document(commissioned(1), moved("shipping", 2)), "Ann"
                )
                events, _ = events_of((await s.recv()).encode())
                assert [e.bizStep for e in events] == ["shipping"]
            for query, more, code in (
                ("", headers, 4400), ("?second=99", headers, 4400), ("?stream=true", {}, 4401),
            ):  # fmt: skip
                async with websockets.connect(address + query, additional_headers=more) as s:
                    with pytest.raises(websockets.ConnectionClosed) as closed:
                        await s.recv()
                assert closed.value.rcvd.code == code
            server.should_exit = True
            await task
