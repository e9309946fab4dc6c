"""Somebody means harm: nobody gets in who should not, and nothing makes the server fail.

A real server on loopback with a live tank. What is sent is made by schemathesis from the OpenAPI
document, and by hand where a schema cannot think of it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import secrets
import socket
from collections import Counter

import argon2
import httpx
import pytest
import pytest_asyncio
import uvicorn
import websockets

from galenic.app.api import create_app
from galenic.app.api.access import COOKIE
from galenic.app.index import entries
from galenic.app.permissions import Caller
from galenic.app.session import Session
from galenic.clock import SECOND
from galenic.connect.memory import MemoryConnector
from galenic.records import open_site
from galenic.records.grants import GRANTS, ROLES, Scope
from galenic.records.people import People
from galenic.twin.example import TankPlant, tank
from galenic.twin.level import Level
from galenic.twin.pace import PlantClock
from galenic.twin.project import ConnectionSpec, Project, Site, TwinSpec
from galenic.twin.runner import Runner
from galenic.twin.workers import InlineWorkers

pytestmark = pytest.mark.asyncio(loop_scope="module")

T0 = 1_800_000_000 * SECOND
SPEED = 2.0
WORD = "wide tall harbour"
SCRIPT = "<script>document.title='owned'</script>"
ENDS = {"/api/sign-out", "/api/sign-out-everywhere"}  # would end the attacker's own sign-in
WORK = {
    f"/api/services/{entry.stage}/{entry.name}"
    for entry in entries().values()
    if entry.effect == "compute"
}
OPEN = {"/api/health", "/api/sign-in", "/api/sign-out", "/api/password"}


class Target:
    """A running site: its address, and a sign-in of each role."""

    def __init__(self, address, app, people):
        self.address, self.app, self.people = address, app, people
        self.store = app.state.session.store
        self.tokens = {role: people.sign_in(role, WORD) for role in ROLES}

    def stop(self, job, role):
        self.app.state.session.cancel(job, Caller(role, (role,)))

    def http(self, role="", **options):
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return httpx.AsyncClient(base_url=self.address, headers=headers, timeout=30, **options)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    clock = PlantClock(SPEED, T0)
    store = open_site(folder / "site", name=f"attacked {SCRIPT}", clock=clock)
    spec = TwinSpec("tank-1", tank(), {}, Level.SHADOW)
    project = Project(Site("attacked", folder), (ConnectionSpec("plc", "memory"),), (spec,))
    plant = MemoryConnector(plant=TankPlant(T0), clock=clock, period=1.0, name="plc")
    runner = Runner(
        project, clock=clock, store=store, connectors={"plc": plant}, workers=InlineWorkers(),
        speed=SPEED,
    )  # fmt: skip
    people = People(store, hasher=argon2.PasswordHasher(1, 8, 1))
    for role in ROLES:
        people.add(role, WORD, [role], by="test")
    await runner.start()
    session = Session(store, runner, workers=1, clock=clock)
    session.warm()
    app = create_app(session, people)
    app.state.access.rate.tries = 10_000  # what is limited is tested elsewhere
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", ws="websockets-sansio", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield Target(f"http://127.0.0.1:{listening.getsockname()[1]}", app, people)
        runner.live.close()
        server.should_exit = True
        await task
    session.close()
    await runner.stop()
    store.close()


def made_cases(document):
    """Requests that schemathesis makes of the whole document, and who sends them.

    Right ones are sent by everybody, wrong bodies and what starts work in a process of its own by
    nobody and by one role in turn.
    """
    import schemathesis
    from schemathesis.generation import GenerationMode

    schema = schemathesis.openapi.from_dict(document)
    found, turn = [], itertools.cycle(ROLES)
    for one in schema.get_all_operations():
        operation = one.ok()
        right = drawn(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), 1)
        everybody = ("",) if operation.path in ENDS else ("", *ROLES)
        if operation.path in WORK:
            everybody = ("", next(turn))
        found += [(case, everybody) for case in right]
        if operation.body:
            wrong = drawn(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), 1)
            found += [(case, ("", next(turn))) for case in wrong]
    return found


def drawn(strategy, count):
    """So many examples, the same in every run."""
    from hypothesis import HealthCheck, Phase, given, settings

    found = []

    @given(strategy)
    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def take(case):
        found.append(case)

    take()
    return found


def attack(target, cases):
    """Send every case as every role and as nobody; what came back, and the defects."""
    import requests

    codes, defects = Counter(), []
    with requests.Session() as wire:
        for case, everybody in cases:
            for role in everybody:
                headers = {"Authorization": f"Bearer {target.tokens[role]}"} if role else {}
                answer = case.call(
                    base_url=target.address, session=wire, headers=headers, timeout=60
                )
                codes[role, answer.status_code] += 1
                if answer.status_code == 202:  # long work: begun is enough
                    target.stop(answer.json()["id"], role)
                wrong = fault(case, role, answer)
                if wrong:
                    defects.append((wrong, role, case.as_curl_command()[:300], answer.text[:300]))
    return codes, defects


def fault(case, role, answer):
    if answer.status_code >= 500:
        return "a failure"
    if answer.status_code >= 400:
        body = answer.json() if answer.content else {}
        (kind,) = answer.headers.get("content-type", [""])
        if kind != "application/problem+json" or body.get("status") != answer.status_code:
            return "no problem document"
    if not role and case.path not in OPEN and answer.status_code != 401:
        return "somebody without a sign-in"
    return ""


@pytest.mark.slow
async def test_every_endpoint_with_every_role_and_none(target):
    cases = await asyncio.to_thread(made_cases, target.app.openapi())
    codes, defects = await asyncio.to_thread(attack, target, cases)

    assert defects == []
    assert len(cases) > 150
    assert all(any(status < 300 for r, status in codes if r == role) for role in ROLES)
    services = target.app.state.session.services()
    for entry in target.store.ledger_read(kinds=["service"]):
        if entry.detail.get("outcome") in ("accepted", "done") and entry.subject in services:
            assert services[entry.subject].role in GRANTS[entry.who], entry
    assert target.store.verify().ok


async def said(target, method, path, role="", status=(401, 403, 404, 413, 422), **options):
    """Send something; the answer, which must be a refusal and no failure."""
    async with target.http(role) as http:
        answer = await http.request(method, path, **options)
        while answer.status_code == 202:  # a busy machine: the refusal comes with the job
            job = (await http.get(f"/api/jobs/{answer.json()['id']}")).json()
            assert job["state"] != "done", (path, job)
            if job["state"] == "failed":
                return answer
    assert answer.status_code in status, (path, answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    return answer


@pytest.mark.parametrize("kind", ["random", "expired", "ended", "revoked", "digest"])
async def test_a_token_that_was_forged_or_has_ended_opens_nothing(target, kind):
    people = target.people
    made, secret = people.tokens.make("viewer", "x", Scope(), 1, by="test")
    if kind == "ended":
        secret = people.sign_in("viewer", WORD)
        people.sign_out(secret)
    elif kind == "expired":
        secret = people.sign_in("viewer", WORD, lifetime=1)
    elif kind == "revoked":
        people.tokens.revoke(made.id, by="test", reason="test")
    elif kind == "digest":  # what the records keep of a token is not a token
        secret = next(key for key in target.store.list("sign-in"))
    else:
        secret = secrets.token_urlsafe(32)
    headers = {"Authorization": f"Bearer {secret}"}

    for path in ("/api/me", "/api/ledger", "/api/twins/tank-1", "/epcis/events"):
        await said(target, "GET", path, headers=headers, status=(401,))
    await said(target, "GET", "/api/me", headers={"Cookie": f"{COOKIE}={secret}"}, status=(401,))


@pytest.mark.parametrize(
    "path",
    [
        "/api/artefacts/..%2f..%2f..%2fetc%2fpasswd",
        "/api/jobs/..%2f..%2fsite.sqlite",
        "/api/models/..%2f..%2f..%2fetc%2fpasswd",
        "/api/twins/..%2f..%2fserver.json",
        "/epcis/capture/..%2f..%2fserver.json",
        "/api/requests/..%2f..%2fserver.json",
        "/api/signatures?type=artefact&id=../../../etc/passwd",
    ],
)
async def test_no_address_leaves_its_folder(target, path):
    answer = await said(target, "GET", path, "administrator", status=(404, 405, 422))

    assert "root:" not in answer.text


@pytest.mark.parametrize(
    "model", ["/etc/passwd", "/etc/passwd.py", "../../examples/own_model.py:Caffeine"]
)
async def test_no_argument_names_a_file_of_the_server(target, model):
    answer = await said(
        target, "POST", "/api/services/models/card", "engineer", json={"model": model}
    )
    given = {"model": {"path": "/etc/passwd"}}
    other = await said(target, "POST", "/api/services/models/import_sbml", "engineer", json=given)

    assert "root:" not in answer.text + other.text


@pytest.mark.parametrize(
    "tag", ["'; DROP TABLE ledger; --", "x' OR '1'='1", 'x" UNION SELECT body FROM ledger --', "%"]
)
async def test_sql_in_tags_and_names_is_a_name_that_nobody_has(target, tag):
    async with target.http("operator") as http:
        latest = await http.get("/api/latest", params={"tag": tag})
        query = {"tag": tag, "start": "2020-01-01T00:00:00Z"}
        history = await http.get("/api/history", params=query)
        entered = await http.post(
            "/api/services/twins/enter", json={"tag": tag, "value": 1.0, "unit": "1"}
        )
        listed = await http.get("/api/ledger/export", params={"subject": tag})

    assert latest.json() == {}
    assert (history.status_code, history.json()["tag"]) == (200, [])
    assert entered.status_code == 422
    assert listed.text == ""
    assert target.store.head().index > 0


LEVELS = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in itertools.pairwise("abcdefghij"))
BILLION = f"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "laugh laugh laugh">{LEVELS}]>
<x>&j;</x>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
<model id="m"><notes>&f;</notes></model></sbml>"""


@pytest.mark.parametrize("bomb", [BILLION, OUTSIDE], ids=["billion laughs", "outside entity"])
async def test_an_xml_bomb_is_refused_quickly(target, bomb):
    """Every service that takes a file gets it, and the capture of events gets it as XML."""
    content = base64.b64encode(bomb.encode()).decode()
    services = target.app.state.session.services()
    takes = [
        (entry, argument.name)
        for entry in services.values()
        for argument in entry.arguments
        if argument.kind.kind == "file" and argument.required
    ]
    names = {entry.full_name for entry, _ in takes}
    assert {"models.import_sbml", "supply.capture"} <= names

    async with asyncio.timeout(300), target.http("engineer") as http:
        for entry, name in takes:
            body = {name: {"name": "model.xml", "content": content}}
            answer = await http.post(f"/api/services/{entry.stage}/{entry.name}", json=body)
            while answer.status_code == 202 or answer.json().get("state") in ("queued", "running"):
                answer = await http.get(f"/api/jobs/{answer.json()['id']}")
            assert answer.status_code < 500, (entry.full_name, answer.text[:500])
            assert "root:" not in answer.text
            assert answer.text.count("laugh laugh laugh") < 10  # said back, not unfolded
        captured = await said(
            target, "POST", "/epcis/capture", "operator", content=bomb,
            headers={"Content-Type": "application/xml"},
        )  # fmt: skip
    assert "root:" not in captured.text


def socket_of(target, path="/api/live", **headers):
    address = target.address.replace("http", "ws") + path
    return websockets.connect(address, additional_headers=headers)


@pytest.mark.parametrize(
    "case", ["nobody", "forged", "foreign page", "no page", "ended", "pages of another site"]
)
async def test_a_websocket_opens_for_its_own_page_and_sign_in_alone(target, case):
    token = target.people.sign_in("viewer", WORD)
    headers, path = {"Cookie": f"{COOKIE}={token}", "Origin": target.address}, "/api/live"
    if case == "nobody":
        headers = {}
    elif case == "forged":
        headers["Cookie"] = f"{COOKIE}=forged"
    elif case == "foreign page":
        headers["Origin"] = "https://evil.example"
    elif case == "no page":
        del headers["Origin"]
    elif case == "ended":
        target.people.sign_out(token)
    else:
        path, headers["Origin"] = "/_nicegui_ws/socket.io/?transport=websocket", "https://e.example"
    with pytest.raises((websockets.ConnectionClosed, websockets.InvalidStatus)):
        async with socket_of(target, path, **headers) as wire:
            await wire.recv()


async def test_a_websocket_of_an_own_page_closes_when_the_sign_in_ends(target, monkeypatch):
    from galenic.app.api import live

    monkeypatch.setattr(live, "RECHECK", 0.0)
    token = target.people.sign_in("viewer", WORD)
    headers = {"Cookie": f"{COOKIE}={token}", "Origin": target.address}
    async with socket_of(target, **headers) as wire:
        assert json.loads(await wire.recv())["type"] == "hello"
        target.people.sign_out(token)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            async with asyncio.timeout(60):
                while True:
                    await wire.recv()
    assert closed.value.rcvd.code == live.NOT_SIGNED_IN


async def test_a_listener_of_other_twins_hears_nothing_of_this_one(target):
    target.people.add("other", WORD, ["viewer@line-*"], by="test")
    token = target.people.sign_in("other", WORD)
    heard = []
    async with socket_of(target, f"/api/live?rate=4&token={token}&since=0") as wire:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                while True:
                    heard.append(json.loads(await wire.recv()))

    assert heard[0]["type"] == "hello"
    assert "tank" not in json.dumps(heard).lower()


async def test_another_sites_page_changes_nothing_with_the_cookie_of_a_person(target):
    cookie = {"Cookie": f"{COOKIE}={target.tokens['engineer']}"}
    note = {"twin": "tank-1", "text": "from elsewhere"}
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"},
                    {"Origin": "null"}):  # fmt: skip
        await said(
            target, "POST", "/api/services/twins/note", json=note, headers=cookie | headers,
            status=(401,),
        )  # fmt: skip


async def test_deep_and_broken_bodies_are_refused(target):
    for content in (b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b'{"model": 1e999}', b"NaN"):
        await said(target, "POST", "/api/services/models/card", "engineer", content=content)
        await said(target, "POST", "/api/people", "administrator", content=content)


async def test_no_secret_of_all_this_is_in_the_records_or_the_log(target, caplog):
    """Last of the module: passwords and tokens searched for in every file of the site."""
    made, secret = target.people.tokens.make("viewer", "x", Scope(), 1, by="test")
    async with target.http() as http:
        for password in ("guessed by somebody", WORD):
            await http.post("/api/sign-in", json={"name": "viewer", "password": password})
        await http.get("/api/me", headers={"Authorization": f"Bearer {secret}"})
    target.store.sign()

    files = [path for path in target.store.folder.rglob("*") if path.is_file()]
    data = b"".join(path.read_bytes() for path in files)
    assert made.id.encode() in data
    for text in (WORD, "guessed by somebody", secret, *target.tokens.values()):
        assert text.encode() not in data
        assert text not in caplog.text
