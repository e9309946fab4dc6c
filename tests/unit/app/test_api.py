"""REST: the same services, signed in, with problem documents and never a 500."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from urllib.parse import quote

import argon2
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galenic.app.api import create_app
from galenic.app.session import Session
from galenic.records import open_site
from galenic.records.people import People

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def app(demo, tmp_path_factory):
    store = open_site(tmp_path_factory.mktemp("api") / "site", name="test")
    people = People(store, hasher=argon2.PasswordHasher(1, 8, 1))
    people.add("ada", PASSWORD, ["engineer"], by="test")
    people.add("eve", PASSWORD, ["viewer"], by="test")
    session = Session(store, services=demo, workers=1)
    session.warm()
    yield create_app(session, people)
    session.close()
    store.close()


def client(app, token: str = "") -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


@pytest.fixture(scope="module")
def tokens(app):
    people = app.state.access.people
    return {name: people.sign_in(name, PASSWORD) for name in ("ada", "eve")}


@pytest.fixture
def patient(app, monkeypatch):
    """Calls are answered when they have ended, however busy the machine is."""
    session = app.state.session
    monkeypatch.setattr(session, "call", partial(session.call, wait=120.0))


@pytest.fixture
async def ada(app, tokens):
    async with client(app, tokens["ada"]) as http:
        yield http


@pytest.fixture
async def eve(app, tokens):
    async with client(app, tokens["eve"]) as http:
        yield http


async def test_health_needs_no_sign_in_and_everything_else_does(app):
    async with client(app) as http:
        assert (await http.get("/api/health")).json()["up"]
        for path in ("/api/services", "/api/jobs", "/api/ledger", "/api/models", "/api/me"):
            answer = await http.get(path)
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "application/problem+json"


async def test_sign_in_gives_a_cookie_that_works(app):
    async with client(app) as http:
        answer = await http.post("/api/sign-in", json={"name": "ada", "password": PASSWORD})
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert (await http.get("/api/me")).json() == {"name": "ada", "roles": ["engineer"]}

        foreign = await http.get("/api/me", headers={"Origin": "http://evil.example"})
        assert foreign.status_code == 401

        await http.post("/api/sign-out")
        assert (await http.get("/api/me")).status_code == 401


async def test_wrong_passwords_are_refused_and_soon_must_wait(app):
    async with client(app) as http:
        codes = [
            (await http.post("/api/sign-in", json={"name": "bob", "password": "x"})).status_code
            for _ in range(6)
        ]

    assert codes == [401] * 5 + [429]


async def test_a_short_call_is_answered_with_its_result(ada, patient):
    answer = await ada.post("/api/services/demo/add", json={"first": "1 kg"})

    assert answer.status_code == 200
    assert answer.json()["result"]["values"]["sum"] == {"value": pytest.approx(1001), "unit": "g"}


async def test_a_long_call_is_a_job_with_progress_and_result(ada, tmp_path):
    answer = await ada.post("/api/services/demo/steps", json={"folder": str(tmp_path)})
    assert answer.status_code == 202
    where = answer.headers["location"]

    for step in (1, 2, 3):
        while (job := (await ada.get(where)).json())["message"] != f"step {step}":
            assert job["state"] in ("queued", "running")
            await asyncio.sleep(0.01)
        assert (job["state"], job["progress"]) == ("running", step / 4)
        (tmp_path / str(step)).touch()
    while (job := (await ada.get(where)).json())["state"] == "running":
        await asyncio.sleep(0.01)

    assert job["state"] == "done"
    assert job["result"]["text"] == "worked"
    (made,) = job["result"]["artefacts"]
    content = await ada.get(f"/api/artefacts/{made['hash']}")
    assert content.content == b"made"


async def test_a_job_can_be_cancelled(ada):
    answer = await ada.post("/api/services/demo/work", json={"duration": "1 h"})

    job = (await ada.post(f"{answer.headers['location']}/cancel")).json()

    assert job["state"] == "cancelled"


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("demo/add", {"frist": 1}, 422, "there is no argument 'frist'"),
        ("demo/add", {"first": "1 h"}, 422, "1 h"),
        ("demo/add", [1], 422, "not an object"),
        ("demo/adds", {}, 404, "there is no service 'demo.adds'"),
        ("demo/change", {"to": 1}, 403, "the role viewer does not allow demo.change"),
        ("demo/size", {"data": {"path": "/etc/passwd"}}, 403, "names a path on the server"),
        ("demo/crash", {"how": "data"}, 422, "row 3 is empty"),
        ("models/simulate", {"model": "/etc/passwd.py"}, 422, "there is no model"),
    ],
)
async def test_errors_are_problem_documents(eve, patient, path, body, status, detail):
    answer = await eve.post(f"/api/services/{path}", json=body)

    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert detail in problem["detail"]
    assert problem["type"].startswith("urn:galenic:error:")


async def test_a_body_that_is_not_json_is_refused(ada):
    answer = await ada.post("/api/services/demo/add", content=b'{"first": 1')

    assert answer.status_code == 422


async def test_every_service_is_in_the_openapi_document(app, ada):
    document = (await ada.get("/openapi.json")).json()

    for entry in app.state.session.services().values():
        post = document["paths"][f"/api/services/{entry.stage}/{entry.name}"]["post"]
        schema = post["requestBody"]["content"]["application/json"]["schema"]
        assert set(schema["properties"]) == {a.name for a in entry.arguments}


async def test_a_form_has_one_field_per_argument(ada):
    form = (await ada.get("/api/services/demo/add")).json()

    assert form["fields"][0] == {
        "name": "first", "label": "first", "help": "What is there.", "required": True,
        "default": None, "widget": "number", "unit": "g", "min": 0, "max": None,
    }  # fmt: skip


async def test_the_ledger_is_paged_and_verified(ada):
    await ada.post("/api/services/demo/add", json={"first": 1})

    page = (await ada.get("/api/ledger", params={"limit": 1})).json()
    report = (await ada.post("/api/ledger/verify")).json()

    assert page["entries"][0]["kind"] == "service"
    assert page["entries"][0]["index"] == page["head"]["index"]
    assert report["ok"]
    assert (await ada.get("/api/ledger", params={"limit": 10**9})).status_code == 422


async def test_the_ledger_is_exported_in_full_or_by_filters(ada):
    lines = (await ada.get("/api/ledger/export")).text.splitlines()
    csv = await ada.get("/api/ledger/export", params={"form": "csv", "kind": "sign-in"})
    wrong = await ada.get("/api/ledger/export", params={"since": "yesterday"})

    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
    assert csv.headers["content-disposition"] == 'attachment; filename="ledger.csv"'
    assert csv.text.startswith("index,time UTC,kind,")
    assert all(",sign-in," in row for row in csv.text.splitlines()[1:])
    assert wrong.status_code == 422
    assert "since" in wrong.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["first", "second", "data", "model", "duration", "values", "name", "steps"])
bodies = st.dictionaries(names | st.text(max_size=5), json_values, max_size=3) | json_values


@given(
    path=st.sampled_from(
        ["services/demo/add", "services/demo/size", "services/models/catalogue", "sign-in",
         "services/demo/change", "jobs/x/cancel", "sign-out", "services/x/y", "ledger/verify"]
    ),
    body=bodies | st.binary(max_size=20),
)  # fmt: skip
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_body_makes_the_server_fail(app, tokens, path, body):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def post() -> httpx.Response:
        async with client(app, tokens["ada"]) as http:
            return await http.post(f"/api/{path}", content=content)

    answer = asyncio.run(post())

    assert answer.status_code < 500
    json.loads(answer.content)


@given(path=st.text(max_size=12), query=st.dictionaries(st.text(max_size=4), st.text(max_size=6)))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_address_makes_the_server_fail(app, tokens, path, query):
    async def get(place: str) -> httpx.Response:
        async with client(app, tokens["ada"]) as http:
            return await http.get(place, params=query)

    safe = quote(path.encode("utf-8", "ignore"), safe="")
    for prefix in ("/api/services/demo/", "/api/jobs/", "/api/artefacts/", "/api/models/"):
        assert asyncio.run(get(prefix + safe)).status_code < 500


async def test_the_documentation_page_needs_no_other_server(app):
    async with client(app) as http:
        page = (await http.get("/docs")).text

    assert "/openapi.json" in page
    assert "https://" not in page
