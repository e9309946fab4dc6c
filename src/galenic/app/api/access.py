"""Who is asking: sign-in by name and password, then a cookie, or a bearer token."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection
from starlette.responses import Response

from galenic.app.api.problems import Json, NotSignedIn, TooMany
from galenic.app.permissions import SITE, Caller, local_caller
from galenic.errors import NotPermitted, UnknownName
from galenic.records.people import WRONG
from galenic.records.tokens import PREFIX

COOKIE = "galenic-sign-in"
CALLER = "galenic.caller"  # key of the ASGI scope
TRIES, WINDOW = 30, 60.0  # sign-ins from one address within so many seconds
ADDRESSES = 10_000


class Rate:
    """At most so many tries per address and time."""

    def __init__(self, tries: int = TRIES, window: float = WINDOW) -> None:
        self.tries, self.window = tries, window
        self._made: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, origin: str) -> None:
        """Count a try; TooMany where there were too many."""
        now = time.monotonic()
        made = self._made.setdefault(origin, deque())
        self._made.move_to_end(origin)
        while made and now - made[0] > self.window:
            made.popleft()
        if len(made) >= self.tries:
            raise TooMany("too many sign-ins from this address", hint="wait a minute")
        made.append(now)
        while len(self._made) > ADDRESSES:
            self._made.popitem(last=False)


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
        self.rate = Rate()

    def caller(self, connection: HTTPConnection, via: str = "rest") -> Caller:
        """The caller of a request or WebSocket, or NotSignedIn."""
        token = bearer(connection)
        if not token:
            token = connection.cookies.get(COOKIE, "")
            refuse_foreign(connection)
        return self.of_token(token, via)

    def of_token(self, token: str, via: str = "rest") -> Caller:
        """The caller for whom a sign-in, an API token or the server's own token stands."""
        if token and secrets.compare_digest(
            token.encode("utf-8", "replace"), self.local_token.encode()
        ):
            return Caller(local_caller("cli").name, self.people.rules.command_line, "cli")
        try:
            if token.startswith(PREFIX):
                made = self.people.tokens.find(token)
                person = self.people.get(made.owner)
                if not person.active:
                    raise NotPermitted(f"the user {person.name!r} is no longer active")
                return Caller(person.name, person.roles, via, scope=made.scope, token=made.id)
            person, session = self.people.signed_in(token)
        except (NotPermitted, UnknownName) as error:
            raise NotSignedIn(error.found, hint="sign in at /api/sign-in") from error
        return Caller(person.name, person.roles, via, session=session.id)

    def sign_in(self, name: str, password: str, origin: str = "", reason: str = "") -> str:
        """A token for the right password; too many wrong ones must wait."""
        self.rate.count(origin)
        try:
            token: str = self.people.sign_in(name, password, origin=origin, reason=reason)
        except NotPermitted as error:
            if type(error) is NotPermitted:
                raise NotSignedIn(error.found, hint=error.hint) from error
            raise
        return token


def bearer(connection: HTTPConnection) -> str:
    """The token in the header of a request; empty where there is none."""
    header = connection.headers.get("authorization", "")
    return header[7:].strip() if header.lower().startswith("bearer ") else ""


def refuse_foreign(connection: HTTPConnection) -> None:
    """A cookie counts only for pages of this server; a browser's WebSocket names its page."""
    origin = connection.headers.get("origin", "")
    host = connection.headers.get("host")
    is_missing = not origin and connection.scope["type"] == "websocket"
    if (origin and origin.partition("://")[2] != host) or is_missing:
        raise NotSignedIn("a page of another site may not use this sign-in", where=origin)
    if connection.headers.get("sec-fetch-site", "") == "cross-site" and _changes(connection):
        raise NotSignedIn("a page of another site may not use this sign-in")


def _changes(connection: HTTPConnection) -> bool:
    return connection.scope.get("method", "GET") not in ("GET", "HEAD")


def origin_of(connection: HTTPConnection) -> str:
    """The address that a request came from."""
    return connection.client.host if connection.client else ""


class SignIn(BaseModel):
    """Name and password of a user; the reason is for break-glass accounts."""

    name: str = Field(max_length=200)
    password: str = Field(max_length=1000)
    reason: str = Field("", max_length=1000)


class NewPassword(BaseModel):
    """The own password, old and new."""

    name: str = Field(max_length=200)
    old: str = Field(max_length=1000)
    new: str = Field(max_length=1000)


def current(request: Request) -> Caller:
    """The caller of this request, as the guard found them."""
    known: Caller | None = request.scope.get(CALLER)
    if known is not None:
        return known
    access: Access = request.app.state.access
    return access.caller(request)


WHO = Depends(current)
ANY: Sequence[str | None] = ()


def reading(what: str, twins: Sequence[str | None] = SITE) -> Any:
    """The caller of a request that reads; refused without a grant for it.

    The twin in the address decides where there is one, else ``twins``: the whole site, or `ANY`
    for what shows each caller their own part.
    """

    def check(request: Request) -> Caller:
        who = current(request)
        named = request.path_params.get("id") if "/twins/" in request.url.path else None
        request.app.state.session.require(who, "viewer", what, [named] if named else twins)
        return who

    return Depends(check)


def person(request: Request) -> Caller:
    """The caller, who must be a person signed in: not a token, not the command line's own."""
    who = current(request)
    if not who.session:
        raise NotPermitted("only a person who has signed in may do this", hint="sign in")
    return who


PERSON = Depends(person)


def router(access: Access) -> APIRouter:
    """Sign-in, sign-out, password, and who I am."""
    routes = APIRouter(prefix="/api", tags=["access"])

    @routes.post("/sign-in")
    def sign_in(body: SignIn, request: Request) -> Json:
        """Sign in: gives a bearer token, and sets it as a cookie for pages."""
        _encodable(body.name, body.password, body.reason)
        token = access.sign_in(body.name, body.password, origin_of(request), body.reason)
        answer = Json({"token": token})
        set_cookie(answer, token, request)
        return answer

    @routes.post("/sign-out")
    def sign_out(request: Request) -> Json:
        """End this sign-in."""
        token = bearer(request) or request.cookies.get(COOKIE)
        if token:
            access.people.sign_out(token)
        answer = Json({"signed_out": True})
        answer.delete_cookie(COOKIE)
        return answer

    @routes.post("/sign-out-everywhere")
    def everywhere(who: Caller = PERSON) -> Json:
        """End every sign-in of the caller."""
        count = access.people.sign_out_everywhere(who.name, by=who.name, reason="own sign-ins")
        answer = Json({"ended": count})
        answer.delete_cookie(COOKIE)
        return answer

    @routes.post("/password")
    def password(body: NewPassword, request: Request) -> Json:
        """Change the own password; all sign-ins end."""
        _encodable(body.name, body.old, body.new)
        access.rate.count(origin_of(request))
        try:
            access.people.change_own_password(body.name, body.old, body.new, origin_of(request))
        except NotPermitted as error:
            if type(error) is NotPermitted:
                raise NotSignedIn(error.found) from error
            raise
        return Json({"changed": True})

    @routes.get("/me")
    def me(who: Caller = WHO) -> Json:
        """Name and roles of the caller."""
        return Json({"name": who.name, "roles": who.roles})

    @routes.get("/sessions")
    def sessions(who: Caller = WHO) -> Json:
        """Open sign-ins of the caller."""
        return Json([one.to_dict() for one in access.people.sessions.all(who.name)])

    return routes


def set_cookie(answer: Response, token: str, request: Request) -> None:
    """Set the sign-in as a cookie, which no script and no other site can use."""
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure)


def _encodable(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise NotSignedIn(WRONG) from error
