"""An edge site and its replica at the centre, with a network that cuts in both directions."""

from __future__ import annotations

import copy
import random

import argon2
import httpx
import pytest

from galenic.app.api.build import create_app
from galenic.app.session import Session
from galenic.errors import ConnectionLost, DataError, GalenicError, StorageError
from galenic.records import open_site, replica
from galenic.records.people import People
from galenic.records.replica import Replica
from galenic.records.shelving import compact
from galenic.signals import Correction, Record, Sample, Tick
from galenic.twin import forwarding
from galenic.twin.forwarding import Forwarding, ForwardRule

SECOND = 10**9
FOREVER = 2**62
TAGS = [f"T{i}" for i in range(4)]


def work(store, turn, count=40):
    """An hour in the life of an edge site: rows, packs, entries, seals, artefacts, documents."""
    samples = [
        Sample(f"T{i % 4}", float(i), "kg", i * SECOND, i, source_key=f"k{i}")
        for i in range(turn * count, (turn + 1) * count)
    ]
    with store.transaction() as tx:
        taken = tx.take(samples[:-5], turn * count * SECOND)
        tx.journal(samples[-5:], turn * count * SECOND)
        tx.samples(samples[-5:])
        tx.applied("line", taken, 1)
        tx.journal([Tick(turn)], 1)
        tx.ledger(Record("level", turn, "line", {"n": turn}))
        tx.put("n", f"{turn % 3}", turn)
        if turn % 3 == 0:
            tx.artefact(b"%d" % turn * 99, "text/plain", {}, turn)
            tx.correct(Correction("k1", float(turn), "kg", turn, "ann", "typo"), "T1", SECOND)
    if turn % 4 == 3:
        store.seal((turn - 1) * count * SECOND, turn)
        store.seal_journal(FOREVER, 1, 60)
    if turn % 8 == 7:
        compact(store, FOREVER, turn, FOREVER)


def everything(store):
    return (
        store.site,
        list(map(repr, store.journal_rows())),
        [entry.hash for entry in store.ledger_read()],
        store.history(TAGS, 0, FOREVER, versions="all").to_pylist(),
        store.latest(),
        store.list("n"),
        [repr(signal) for _, signal in store.applied_read("line")],
        [head.number for head in store.signed_heads()],
        {digest: store.artefact(digest).data for digest in store.artefacts()},
        store.head(),
    )


def send(edge, target, limit=replica.LIMIT):
    """Bring a replica to the present head; how many parts it took."""
    count, is_last = 0, False
    while not is_last:
        mark = target.mark()
        for file in replica.missing(edge, mark):
            target.put_file(file["name"], file["sha256"], (edge.folder / file["name"]).read_bytes())
        part = replica.part(edge, mark, limit)
        target.take(part)
        is_last, count = part["is_last"], count + 1
    return count


@pytest.fixture
def edge(tmp_path):
    with open_site(tmp_path / "edge", name="edge") as store:
        yield store


@pytest.mark.parametrize("limit", [7, replica.LIMIT])
def test_a_replica_is_the_same_record_after_any_time_without_network(edge, tmp_path, limit):
    target, moments = Replica(tmp_path / "centre"), random.Random(limit)
    for turn in range(20):
        work(edge, turn)
        if moments.random() < 0.4 or turn == 19:
            send(edge, target, limit)
            edge.sign()
            send(edge, target, limit)
            with open_site(target.folder, readonly=True) as centre:
                assert everything(centre) == everything(edge)
                report = centre.verify(edge.head())
                assert report.ok, report.text


def test_between_parts_the_replica_is_a_beginning_of_the_record(edge, tmp_path):
    target = Replica(tmp_path / "centre")
    for turn in range(6):
        work(edge, turn)
    rows, entries = list(edge.journal_rows()), [entry.hash for entry in edge.ledger_read()]
    is_last = False
    while not is_last:
        mark = target.mark()
        for file in replica.missing(edge, mark):
            target.put_file(file["name"], file["sha256"], (edge.folder / file["name"]).read_bytes())
        part = replica.part(edge, mark, 5)
        target.take(part)
        target.take(part)  # a part that comes twice changes nothing
        is_last = part["is_last"]
        with open_site(target.folder, readonly=True) as centre:
            found = [entry.hash for entry in centre.ledger_read()]
            assert found == entries[: len(found)]
            held = list(centre.journal_rows()) if is_last else []
            assert held == rows[: len(held)]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("entries", lambda part: part["entries"][2].__setitem__(1, "{}")),
        ("entries", lambda part: part["entries"].pop(2)),
        ("entries", lambda part: part["entries"].reverse()),
        ("rows", lambda part: part["rows"][1].__setitem__(1, 77)),
        ("rows", lambda part: part["rows"].pop(0)),
        ("rows", lambda part: part["rows"].pop()),
        ("end", lambda part: part["end"].update(hash="0" * 64)),
        ("site", lambda part: part.update(site="another")),
        ("artefacts", lambda part: part["artefacts"][0].__setitem__(4, "AAAA")),
        ("heads", lambda part: part["state"]["heads"][0].__setitem__(1, "{}")),
        ("segments", lambda part: part.update(schema=1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_part_that_was_changed_is_refused_whole(edge, tmp_path, what, change):
    target = Replica(tmp_path / "centre")
    work(edge, 0)
    edge.sign()
    send(edge, target)
    for turn in (1, 2, 3):
        work(edge, turn)
    edge.sign()
    mark = target.mark()
    for file in replica.missing(edge, mark):
        with pytest.raises(DataError, match="changed on the way"):
            target.put_file(file["name"], file["sha256"], b"other")
        target.put_file(file["name"], file["sha256"], (edge.folder / file["name"]).read_bytes())
    part = replica.part(edge, mark)
    before = target.mark()
    changed = copy.deepcopy(part)
    change(changed)

    with pytest.raises((GalenicError, KeyError)):
        target.take(changed)

    assert target.mark() == before
    target.take(part)
    with open_site(target.folder, readonly=True) as centre:
        assert everything(centre) == everything(edge)


def test_a_site_that_was_restored_from_before_does_not_overwrite_its_replica(edge, tmp_path):
    from galenic.records.backup import back_up, restore

    target = Replica(tmp_path / "centre")
    work(edge, 0)
    back_up(edge, tmp_path / "copy", with_key=True)
    work(edge, 1)
    send(edge, target)
    restore(tmp_path / "copy", tmp_path / "again")
    with open_site(tmp_path / "again") as again:
        work(again, 5)

        with pytest.raises(StorageError, match="entries that this site has not"):
            replica.part(again, target.mark())


class Cut(httpx.AsyncBaseTransport):
    """A network that loses requests, and answers to requests that arrived."""

    def __init__(self, app, moments):
        self.inner = httpx.ASGITransport(app)
        self.moments = moments
        self.lost = {"request": 0, "answer": 0}

    async def handle_async_request(self, request):
        fate = self.moments.random()
        if fate < 0.25:
            self.lost["request"] += 1
            raise httpx.ConnectError("cut before it arrived")
        answer = await self.inner.handle_async_request(request)
        if fate < 0.5:
            await answer.aread()
            self.lost["answer"] += 1
            raise httpx.ReadError("cut before it was answered")
        return answer


class Centre:
    """A centre that can be stopped and started again."""

    def __init__(self, folder):
        self.folder = folder
        self.secret = ""
        self.start()

    def start(self):
        self.store = open_site(self.folder, name="centre")
        self.people = People(self.store, hasher=argon2.PasswordHasher(1, 8, 1))
        if not self.secret:
            from galenic.records.grants import Scope

            self.people.add("edge", None, ["service"], by="test")
            _, self.secret = self.people.tokens.make(
                "edge", "edge 1", Scope(access="act"), 9, by="test"
            )
        self.session = Session(self.store, workers=1)
        self.app = create_app(self.session, self.people)

    def stop(self):
        self.session.close()
        self.store.close()


async def test_with_cuts_and_restarts_of_both_ends_nothing_is_missing_or_double(tmp_path):
    moments = random.Random(5)
    centre = Centre(tmp_path / "centre")
    edge = open_site(tmp_path / "edge", name="edge")
    lost = {"request": 0, "answer": 0}
    turn = failed = 0
    for round_ in range(12):
        for _ in range(moments.randrange(1, 4)):
            work(edge, turn)
            turn += 1
        network = Cut(centre.app, moments)

        def client(network=network):
            headers = {"Authorization": f"Bearer {centre.secret}"}
            return httpx.AsyncClient(transport=network, base_url="http://centre", headers=headers)

        sender = Forwarding(ForwardRule("http://centre", tmp_path), lambda e=edge: e, client)
        try:
            await sender.send()
        except ConnectionLost:
            failed += 1
        sender.end()
        for way in lost:
            lost[way] += network.lost[way]
        if round_ % 3 == 1:
            centre.stop()
            centre.start()
        if round_ % 3 == 2:
            edge.close()
            edge = open_site(tmp_path / "edge")
    edge.sign()
    quiet = httpx.ASGITransport(centre.app)
    headers = {"Authorization": f"Bearer {centre.secret}"}
    sender = Forwarding(
        ForwardRule("http://centre", tmp_path),
        lambda: edge,
        lambda: httpx.AsyncClient(transport=quiet, base_url="http://centre", headers=headers),
    )
    await sender.send()

    assert failed > 5 and min(lost.values()) > 3
    assert (sender.behind, sender.entries) == (0, edge.head().index + 1)
    with open_site(tmp_path / "centre" / "replicas" / edge.site, readonly=True) as copied:
        assert everything(copied) == everything(edge)
        assert copied.verify(edge.head()).ok
    sender.end()
    edge.close()
    centre.stop()


async def test_only_a_service_may_send_and_nothing_makes_the_centre_fail(tmp_path):
    centre = Centre(tmp_path / "centre")
    centre.people.add("eve", "correct horse battery", ["viewer"], by="test")
    eve = centre.people.sign_in("eve", "correct horse battery")
    transport = httpx.ASGITransport(centre.app)
    good = "0" * 64
    async with httpx.AsyncClient(transport=transport, base_url="http://centre") as http:
        tries = [
            ("GET", "/api/replicas/s-1", {}),
            ("POST", "/api/replicas/s-1/parts", {"json": {}}),
            ("PUT", f"/api/replicas/s-1/files/segments/a.parquet?sha256={good}", {"content": b""}),
        ]
        for method, path, more in tries:
            for token, status in (("", 401), (eve, 403)):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                answer = await http.request(method, path, headers=headers, **more)
                assert answer.status_code == status
        headers = {"Authorization": f"Bearer {centre.secret}"}
        odd = [
            *tries[1:],
            ("POST", "/api/replicas/s-1/parts", {"json": {"site": "s-2"}}),
            ("POST", "/api/replicas/s-1/parts", {"json": {"site": "s-1", "schema": 3}}),
            ("POST", "/api/replicas/s-1/parts", {"json": [1]}),
            ("POST", "/api/replicas/s-1/parts", {"content": b"\xff"}),
            ("GET", "/api/replicas/..%2F..", {}),
            ("PUT", f"/api/replicas/s-1/files/segments/..%2Fx?sha256={good}", {"content": b"x"}),
            ("PUT", f"/api/replicas/s-1/files/heads/a.parquet?sha256={good}", {"content": b"x"}),
            ("PUT", f"/api/replicas/s-1/files/segments/a.parquet?sha256={good}&start=9", {}),
        ]
        for method, path, more in odd:
            answer = await http.request(method, path, headers=headers, **more)
            assert 400 <= answer.status_code < 500, (path, answer.text)
    centre.stop()


async def test_trouble_is_told_and_tried_again(tmp_path, monkeypatch):
    waits = []

    async def sleep(time):
        waits.append(time)
        if len(waits) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(forwarding.asyncio, "sleep", sleep)
    sender = Forwarding(ForwardRule("http://127.0.0.1:9", tmp_path / "none"), lambda: None)

    with pytest.raises(KeyboardInterrupt):
        await sender.run()

    assert waits == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    assert "no token can be read" in sender.to_dict()["problem"]
    sender.end()
