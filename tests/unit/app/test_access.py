"""Sign-in, people and tokens over REST; headers, limits, and who is kept out."""

from __future__ import annotations

import argon2
import httpx
import pytest

from galenic.app.api import create_app
from galenic.app.api.access import COOKIE
from galenic.app.session import Session
from galenic.records import open_site
from galenic.records.people import People
from galenic.records.tokens import PREFIX

WORD = "wide tall harbour"


@pytest.fixture(scope="module")
def app(demo, tmp_path_factory):
    store = open_site(tmp_path_factory.mktemp("access") / "site", name="test")
    people = People(store, hasher=argon2.PasswordHasher(1, 8, 1))
    for name, roles in (("ada", ["administrator"]), ("eve", ["viewer"]), ("oli", ["operator"])):
        people.add(name, WORD, roles, by="test")
    people.add("lou", WORD, ["viewer@line-1"], by="test")
    session = Session(store, services=demo)
    yield create_app(session, people)
    session.close()
    store.close()


@pytest.fixture
def people(app):
    return app.state.access.people


def client(app, token: str = "", **options) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, **options), base_url="http://test", headers=headers
    )


@pytest.fixture
async def ada(app, people):
    async with client(app, people.sign_in("ada", WORD)) as http:
        yield http


async def test_an_administrator_adds_a_person_who_must_choose_a_password(app, ada):
    made = await ada.post(
        "/api/people",
        json={
            "name": "kim",
            "roles": ["operator@line-*"],
            "reason": "joined",
            "full_name": "Kim L.",
        },
    )
    first = made.json()["password"]
    async with client(app) as http:
        refused = await http.post("/api/sign-in", json={"name": "kim", "password": first})
        changed = await http.post(
            "/api/password", json={"name": "kim", "old": first, "new": "steep narrow valley"}
        )
        accepted = await http.post(
            "/api/sign-in", json={"name": "kim", "password": "steep narrow valley"}
        )

    assert made.status_code == 200
    assert (refused.status_code, "changed first" in refused.text) == (403, True)
    assert (changed.status_code, accepted.status_code) == (200, 200)


async def test_nobody_else_sees_or_changes_people(app, people):
    async with client(app, people.sign_in("oli", WORD)) as http:
        answers = [
            await http.get("/api/people"),
            await http.post("/api/people", json={"name": "x", "roles": ["viewer"], "reason": "x"}),
            await http.post("/api/people/oli/change", json={"roles": ["quality"], "reason": "x"}),
            await http.get("/api/tokens?everybody=true"),
        ]  # fmt: skip

    assert [one.status_code for one in answers] == [403] * 4
    refusals = [e for e in app.state.session.store.ledger_read(kinds=["service"])
                if e.detail["outcome"] == "refused"]  # fmt: skip
    assert (refusals[-1].who, refusals[-1].subject) == ("oli", "rest.people")


async def test_an_administrator_does_not_change_their_own_roles(ada):
    answer = await ada.post("/api/people/ada/change", json={"roles": ["quality"], "reason": "x"})

    assert answer.status_code == 403
    assert "own roles" in answer.text


async def test_a_locked_name_waits_and_is_unlocked(app, ada, people):
    async with client(app) as http:
        for _ in range(5):
            await http.post("/api/sign-in", json={"name": "eve", "password": "wrong"})
        locked = await http.post("/api/sign-in", json={"name": "eve", "password": WORD})
        listed = {one["name"]: one["locked"] for one in (await ada.get("/api/people")).json()}
        await ada.post("/api/people/eve/unlock", json={"reason": "she called"})
        again = await http.post("/api/sign-in", json={"name": "eve", "password": WORD})

    assert (locked.status_code, locked.headers["retry-after"]) == (429, "60")
    assert listed["eve"] > 0
    assert again.status_code == 200


async def test_sign_ins_from_one_address_are_limited(app):
    app.state.access.rate._made.clear()
    async with client(app, client=("10.1.1.1", 1)) as http:
        codes = [
            (await http.post("/api/sign-in", json={"name": f"n{n}", "password": "x"})).status_code
            for n in range(31)
        ]
    async with client(app, client=("10.1.1.2", 1)) as http:
        other = await http.post("/api/sign-in", json={"name": "oli", "password": WORD})

    assert codes == [401] * 30 + [429]
    assert other.status_code == 200


async def test_a_token_reads_within_its_scope_and_ends(app, people):
    async with client(app, people.sign_in("oli", WORD)) as http:
        made = (await http.post(
            "/api/tokens", json={"label": "dash", "days": 7, "services": ["demo.*"]}
        )).json()  # fmt: skip
        async with client(app, made["secret"]) as program:
            answers = [
                await program.post("/api/services/demo/add", json={"first": 1}),
                await program.post("/api/services/demo/change", json={"to": 1}),
                await program.get("/api/ledger"),
                await program.post("/api/tokens", json={"label": "more", "days": 7}),
            ]
            listed = (await http.get("/api/tokens")).text
            await http.post(f"/api/tokens/{made['token']['id']}/revoke", json={"reason": "done"})
            after = await program.post("/api/services/demo/add", json={"first": 1})

    assert made["secret"].startswith(PREFIX)
    assert [one.status_code for one in answers] == [200, 403, 403, 403]
    assert made["secret"] not in listed
    assert after.status_code == 401
    call = [e for e in app.state.session.store.ledger_read(kinds=["service"])
            if e.subject == "demo.add"][-1]  # fmt: skip
    assert (call.who, call.detail["token"]) == ("oli", made["token"]["id"])


async def test_a_person_of_one_twin_sees_no_records_of_the_site(app, people):
    async with client(app, people.sign_in("lou", WORD)) as http:
        answers = [await http.get(path) for path in ("/api/ledger", "/api/models", "/api/jobs")]

    assert [one.status_code for one in answers] == [403, 200, 200]


async def test_signing_out_everywhere_ends_all_sign_ins(app, people):
    tokens = [people.sign_in("oli", WORD) for _ in range(2)]
    async with client(app, tokens[0]) as http:
        count = (await http.post("/api/sign-out-everywhere")).json()["ended"]

    assert count >= 2
    assert not any(people.sessions.is_open(token) for token in tokens)


@pytest.mark.parametrize("path", ["/api/health", "/api/me", "/docs", "/nothing"])
async def test_every_answer_has_the_headers_that_browsers_obey(app, path):
    async with client(app) as http:
        headers = (await http.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" in headers["content-security-policy"] or path != "/docs"


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(app):
    async with client(app) as http:
        answer = await http.post("/api/sign-in", json={"name": "oli", "password": WORD})
        cookie = answer.headers["set-cookie"].lower()
        foreign = await http.post(
            "/api/services/demo/add", json={"first": 1}, headers={"Sec-Fetch-Site": "cross-site"}
        )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="https://test"
    ) as https:
        secure = await https.post("/api/sign-in", json={"name": "oli", "password": WORD})

    assert "httponly" in cookie and "samesite=strict" in cookie
    assert COOKIE in cookie
    assert foreign.status_code == 401
    assert "secure" in secure.headers["set-cookie"].lower()
    assert "strict-transport-security" in secure.headers


async def chunks(size: int):
    for _ in range(size):
        yield b"x" * 1024 * 1024


async def test_a_body_that_is_too_large_is_refused_with_413(app, people):
    async with client(app, people.sign_in("oli", WORD)) as http:
        told = await http.post("/api/sign-in", content=b"x" * 1024 * 1025)
        unsaid = await http.post("/api/sign-in", content=chunks(2))
        call = await http.post("/api/services/demo/add", content=chunks(65))

    assert [one.status_code for one in (told, unsaid, call)] == [413] * 3
    assert call.json()["status"] == 413
