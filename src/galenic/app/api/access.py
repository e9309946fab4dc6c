"""Who is asking: sign-in by name and password, then a cookie or a bearer token."""

from __future__ import annotations

import secrets
import time
from collections import defaultdict, deque
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection

from galenic.app.api.problems import Json, NotSignedIn, TooMany
from galenic.app.session import Caller, local_caller
from galenic.errors import NotPermitted, UnknownName

COOKIE = "galenic-sign-in"
TRIES, WINDOW = 5, 60.0  # wrong passwords for one name within so many seconds


class Access:
    """Turns a request into a `Caller`.

    Parameters
    ----------
    people : People
        The users of the site.
    """

    def __init__(self, people: Any) -> None:
        self.people = people
        self.local_token = secrets.token_urlsafe(32)
        self._wrong: dict[str, deque[float]] = defaultdict(deque)

    def caller(self, connection: HTTPConnection, via: str = "rest") -> Caller:
        """The caller of a request or WebSocket, or NotSignedIn."""
        header = connection.headers.get("authorization", "")
        token = header[7:] if header.lower().startswith("bearer ") else ""
        if not token:
            token = connection.cookies.get(COOKIE, "")
            self._refuse_foreign(connection)
        return self.of_token(token, via)

    def of_token(self, token: str, via: str = "rest") -> Caller:
        """The caller who signed in with ``token``."""
        if token and secrets.compare_digest(token.encode(), self.local_token.encode()):
            local = local_caller("cli")
            return Caller(local.name, local.roles, "cli")
        try:
            person = self.people.who(token)
        except (NotPermitted, UnknownName) as error:
            raise NotSignedIn(error.found, hint="sign in at /api/sign-in") from error
        return Caller(person.name, person.roles, via)

    def _refuse_foreign(self, connection: HTTPConnection) -> None:
        """A cookie counts only for pages of this server."""
        origin = connection.headers.get("origin")
        if origin and origin.partition("://")[2] != connection.headers.get("host"):
            raise NotSignedIn("a page of another site may not use this sign-in", where=origin)

    def sign_in(self, name: str, password: str) -> str:
        """A token for the right password; too many wrong ones must wait."""
        wrong = self._wrong[name]
        now = time.monotonic()
        while wrong and now - wrong[0] > WINDOW:
            wrong.popleft()
        if len(wrong) >= TRIES:
            raise TooMany("too many wrong passwords for this name", hint="wait a minute")
        try:
            token: str = self.people.sign_in(name, password)
        except NotPermitted as error:
            wrong.append(now)
            raise NotSignedIn(error.found) from error
        wrong.clear()
        return token


class SignIn(BaseModel):
    """Name and password of a user."""

    name: str = Field(max_length=200)
    password: str = Field(max_length=1000)


def current(request: Request) -> Caller:
    """The caller of this request."""
    access: Access = request.app.state.access
    return access.caller(request)


WHO = Depends(current)


def router(access: Access) -> APIRouter:
    """Sign-in, sign-out, and who I am."""
    routes = APIRouter(prefix="/api", tags=["access"])

    @routes.post("/sign-in")
    def sign_in(body: SignIn, request: Request) -> Json:
        """Sign in: gives a bearer token, and sets it as a cookie for pages."""
        _encodable(body.name, body.password)
        answer = Json({"token": (token := access.sign_in(body.name, body.password))})
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure)
        return answer

    @routes.post("/sign-out")
    def sign_out(request: Request) -> Json:
        """End this sign-in."""
        header = request.headers.get("authorization", "")
        token = header[7:] if header.lower().startswith("bearer ") else request.cookies.get(COOKIE)
        if token:
            access.people.sign_out(token)
        answer = Json({"signed_out": True})
        answer.delete_cookie(COOKIE)
        return answer

    @routes.get("/me")
    def me(who: Caller = WHO) -> Json:
        """Name and roles of the caller."""
        return Json({"name": who.name, "roles": who.roles})

    return routes


def _encodable(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise NotSignedIn("the name or the password is wrong") from error
