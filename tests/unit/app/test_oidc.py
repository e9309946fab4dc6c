"""Sign-in at a real, small OpenID provider that runs here on loopback; and what it may not do."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import socket
import threading
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Form, Header
from fastapi.responses import JSONResponse, RedirectResponse
from joserfc import jwt
from joserfc.jwk import RSAKey

from galenic.app.api import create_app
from galenic.app.api.access import COOKIE
from galenic.app.session import Session
from galenic.records import open_site
from galenic.records.people import People
from galenic.records.signatures import SIGNATURE
from galenic.signals import Record
from galenic.twin.security import OidcRules, Security

CLIENT, SECRET = "galenic", "between the two of us"
BACK = "http://test/api/oidc/back"


def encoded(part: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


class Idp:
    """An OpenID provider: discovery, authorisation with PKCE, tokens, keys. It can misbehave."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.other = RSAKey.generate_key(2048, {"kid": "one"})
        self.user = {"sub": "42", "preferred_username": "kim", "name": "Kim Lindqvist",
                     "groups": ["plant-operators", "choir"]}  # fmt: skip
        self.change: dict = {}  # of claims
        self.sign = self.rs256
        self.codes: dict[str, dict] = {}
        self.app = FastAPI()
        self._routes()

    def _routes(self) -> None:
        app = self.app

        @app.get("/.well-known/openid-configuration")
        def discovery():
            return {
                "issuer": self.address, "authorization_endpoint": f"{self.address}/authorize",
                "token_endpoint": f"{self.address}/token", "jwks_uri": f"{self.address}/keys",
            }  # fmt: skip

        @app.get("/keys")
        def keys():
            return {"keys": [self.key.as_dict(private=False)]}

        @app.get("/authorize")
        def authorize(
            client_id: str,
            redirect_uri: str,
            state: str,
            nonce: str,
            scope: str,
            code_challenge: str,
            code_challenge_method: str,
            prompt: str = "",
        ):
            assert (client_id, redirect_uri, code_challenge_method) == (CLIENT, BACK, "S256")
            assert "openid" in scope.split()
            code = f"code-{len(self.codes)}"
            self.codes[code] = {"nonce": nonce, "challenge": code_challenge, "prompt": prompt}
            return RedirectResponse(f"{redirect_uri}?code={code}&state={state}")

        @app.post("/token")
        def token(code: str = Form(), code_verifier: str = Form(), redirect_uri: str = Form(),
                  authorization: str = Header()):  # fmt: skip
            held = self.codes.pop(code, None)
            digest = hashlib.sha256(code_verifier.encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
            right = (authorization, redirect_uri) == (f"Basic {basic}", BACK)
            if held is None or held["challenge"] != challenge or not right:
                return JSONResponse({"error": "invalid_grant"}, 400)
            now = int(time.time())
            claims = {"iss": self.address, "aud": CLIENT, "iat": now, "exp": now + 300,
                      "nonce": held["nonce"], **self.user}  # fmt: skip
            if held["prompt"] == "login":
                claims["auth_time"] = now
            claims = {k: v for k, v in (claims | self.change).items() if v is not None}
            return {"id_token": self.sign(claims), "token_type": "Bearer", "access_token": "x"}

    def rs256(self, claims):
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)

    def foreign_key(self, claims):
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.other)

    def no_algorithm(self, claims):
        return ".".join((*map(encoded, ({"alg": "none"}, claims)), ""))

    def public_key_as_secret(self, claims):
        said = ".".join(map(encoded, ({"alg": "HS256", "kid": "one"}, claims)))
        made = hmac.digest(self.key.as_pem(private=False), said.encode(), "sha256")
        return f"{said}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"

    def changed_after_signing(self, claims):
        head, _, signature = self.rs256(claims).split(".")
        return ".".join((head, encoded(claims | {"sub": "1"}), signature))


@pytest.fixture(scope="module")
def idp():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        made = Idp(f"http://127.0.0.1:{listening.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(made.app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield made
        server.should_exit = True
        thread.join()


@pytest.fixture
def app(idp, tmp_path):
    idp.change, idp.sign = {}, idp.rs256
    idp.user = {**idp.user, "sub": "42", "groups": ["plant-operators", "choir"]}
    (tmp_path / "secret").write_text(SECRET + "\n")
    roles = {"plant-operators": ("operator@line-*",), "plant-quality": ("quality",)}
    rules = OidcRules(idp.address, CLIENT, secret_file=str(tmp_path / "secret"), roles=roles)
    store = open_site(tmp_path / "site", name="test")
    people = People(store)
    session = Session(store)
    yield create_app(session, people, Security(oidc=rules))
    session.close()
    store.close()


@contextlib.asynccontextmanager
async def browser(app):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield http


async def come_back(http, start="/api/oidc/start?next=/alarms"):
    """Through the provider and back, as a browser goes; the last answer."""
    begun = await http.get(start)
    assert begun.status_code == 303, begun.text
    async with httpx.AsyncClient() as outside:
        sent = await outside.get(begun.headers["location"])
    return sent.headers["location"]


async def test_a_person_signs_in_with_the_roles_of_their_groups(app, idp):
    async with browser(app) as http:
        answer = await http.get(await come_back(http))
        me = await http.get("/api/me")

    person = app.state.access.people.get("kim")
    assert answer.status_code == 200
    assert 'url=/alarms"' in answer.text
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert me.json() == {"name": "kim", "roles": ["operator@line-*"]}
    assert (person.full_name, person.subject) == ("Kim Lindqvist", f"{idp.address}|42")


async def test_changed_groups_are_changed_roles_at_the_next_sign_in(app, idp):
    async with browser(app) as http:
        await http.get(await come_back(http))
        idp.user["groups"] = ["plant-quality"]
        await http.get(await come_back(http))

        assert (await http.get("/api/me")).json()["roles"] == ["quality"]
    last = list(app.state.session.store.ledger_read(kinds=["person"]))[-1]
    assert (last.who, last.detail["roles"]) == ("OpenID Connect", ["quality"])


@pytest.mark.parametrize(
    ("change", "sign", "found"),
    [
        ({"iss": "https://other.example"}, "rs256", "refused.*iss"),
        ({"aud": "other"}, "rs256", "refused.*aud"),
        ({"aud": [CLIENT, "other"], "azp": "other"}, "rs256", "another client"),
        ({"aud": [CLIENT, "other"]}, "rs256", "another client"),
        ({"exp": 1}, "rs256", "refused.*expired"),
        ({"iat": 2**33}, "rs256", "refused"),
        ({"nonce": "replayed"}, "rs256", "refused.*nonce"),
        ({"nonce": None}, "rs256", "refused.*nonce"),
        ({"sub": None}, "rs256", "refused.*sub"),
        ({"groups": ["choir"]}, "rs256", "no group that has a role"),
        ({}, "foreign_key", "refused"),
        ({}, "no_algorithm", "refused"),
        ({}, "public_key_as_secret", "refused"),
        ({}, "changed_after_signing", "refused"),
    ],
)
async def test_a_token_that_is_not_right_in_every_way_opens_nothing(app, idp, change, sign, found):
    idp.change, idp.sign = change, getattr(idp, sign)
    async with browser(app) as http:
        answer = await http.get(await come_back(http))
        me = await http.get("/api/me")

    assert answer.status_code == 401
    assert re.search(found, answer.json()["detail"]), answer.json()["detail"]
    assert me.status_code == 401
    assert COOKIE not in answer.headers.get("set-cookie", "")
    assert app.state.access.people.all() == []


async def test_a_code_comes_back_once_and_in_the_browser_that_asked(app):
    async with browser(app) as mine, browser(app) as other:
        address = await come_back(mine)
        stolen = await other.get(address)
        late = await mine.get(address)
        again = await come_back(mine)
        first = await mine.get(again)
        second = await mine.get(again)
        made_up = await mine.get("/api/oidc/back?code=code-0&state=nothing")
        swapped = await mine.get(f"{await come_back(mine)}&iss=https://other.example")
        denied = await mine.get("/api/oidc/back?error=access_denied&state=x")

    refused = (stolen, late, second, made_up, swapped, denied)
    assert [one.status_code for one in refused] == [401] * 6
    assert first.status_code == 200


async def test_a_wrong_verifier_gets_no_token(app, monkeypatch):
    async with browser(app) as http:
        address = await come_back(http)
        provider = app.state.oidc
        state = parse_qs(urlsplit(address).query)["state"][0]
        object.__setattr__(provider._pending[state], "verifier", "x" * 64)
        answer = await http.get(address)

    assert answer.status_code == 401
    assert "provider refuses" in answer.json()["detail"]


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil.example"])
async def test_nobody_is_sent_on_to_another_site(app, next):
    async with browser(app) as http:
        answer = await http.get(
            await come_back(http, str(httpx.URL("/api/oidc/start", params={"next": next})))
        )

    assert 'url=/"' in answer.text


async def test_a_local_name_is_not_taken_over(app, idp):
    app.state.access.people.add("kim", "wide tall harbour", ["administrator"], by="test")
    async with browser(app) as http:
        answer = await http.get(await come_back(http))

    assert answer.status_code == 422
    assert "already a user" in answer.json()["detail"]


async def test_a_closed_person_stays_out(app):
    people = app.state.access.people
    async with browser(app) as http:
        await http.get(await come_back(http))
        people.change("kim", by="ada", reason="left", active=False)
        answer = await http.get(await come_back(http))

    assert (answer.status_code, "no longer active" in answer.text) == (401, True)


async def test_each_signature_needs_a_new_authentication_of_the_same_person(app, idp):
    idp.user["groups"] = ["plant-quality"]
    store = app.state.session.store
    with store.transaction() as tx:
        entry = tx.ledger(Record("level", 1, "line-1", {}, "oli", "ready"))
    body = {"type": "entry", "id": str(entry), "meaning": "review", "reason": "looked at it"}
    again = "/api/oidc/start?purpose=signature"
    async with browser(app) as http:
        await http.get(await come_back(http))
        early = await http.post("/api/signatures", json=body)
        idp.change = {"auth_time": 1}
        stale = await http.get(await come_back(http, again))
        idp.change = {"sub": "43"}
        stranger = await http.get(await come_back(http, again))
        idp.change = {}
        fresh = await http.get(await come_back(http, again))
        signed = await http.post("/api/signatures", json=body)
        second = await http.post("/api/signatures", json={**body, "meaning": "responsibility"})

    assert (early.status_code, "sign in anew" in early.text) == (403, True)
    assert (stale.status_code, stranger.status_code, fresh.status_code) == (401, 401, 200)
    assert signed.status_code == 200
    assert second.status_code == 403
    (made,) = store.ledger_read(kinds=[SIGNATURE])
    assert made.detail["method"] == "new authentication at the OpenID provider"


async def test_a_provider_that_is_away_is_said(app, idp):
    app.state.oidc.rules = OidcRules("http://127.0.0.1:1", CLIENT, roles={"a": ("viewer",)})
    async with browser(app) as http:
        answer = await http.get("/api/oidc/start")

    assert answer.status_code == 503
