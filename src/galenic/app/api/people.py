"""People and tokens: who may do what is set here, by administrators, with a reason."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from galenic.app.api.access import Access, current
from galenic.app.api.problems import Json, found
from galenic.app.permissions import Caller
from galenic.errors import DataError, NotPermitted, UnknownName
from galenic.records.grants import Scope
from galenic.records.people import made_password

NAME, TEXT = 200, 1000


class NewPerson(BaseModel):
    """A new user. Without ``service`` a first password is made and answered once."""

    name: str = Field(max_length=NAME)
    roles: list[str] = Field(max_length=50)
    reason: str = Field(min_length=1, max_length=TEXT)
    full_name: str = Field("", max_length=NAME)
    break_glass: bool = False
    service: bool = False


class Change(BaseModel):
    """What of a user changes; what is left out stays."""

    reason: str = Field(min_length=1, max_length=TEXT)
    roles: list[str] | None = Field(None, max_length=50)
    full_name: str | None = Field(None, max_length=NAME)
    active: bool | None = None
    new_password: bool = False


class Why(BaseModel):
    """A reason."""

    reason: str = Field(min_length=1, max_length=TEXT)


class NewToken(BaseModel):
    """A new token. ``owner`` is the caller, or for administrators an account for programs."""

    label: str = Field(min_length=1, max_length=NAME)
    days: float = Field(gt=0, le=36500)
    access: str = "read"
    services: list[str] = Field(default_factory=list, max_length=200)
    twins: list[str] = Field(default_factory=list, max_length=200)
    owner: str = Field("", max_length=NAME)


def administrator(request: Request) -> Caller:
    """The caller, who must be an administrator."""
    who = current(request)
    request.app.state.session.require(who, "administrator", "rest.people", effect="act")
    return who


def router(access: Access) -> APIRouter:
    """Endpoints over people and tokens."""
    routes = APIRouter(prefix="/api", tags=["people"])
    _people(routes, access.people)
    _tokens(routes, access.people)
    return routes


def _people(routes: APIRouter, people: Any) -> None:
    @routes.get("/people")
    def everybody(request: Request) -> Json:
        """All users, with open sign-ins and locks."""
        administrator(request)
        locked = people.attempts.locked()
        shown = [
            {**one.to_dict(), "locked": locked.get(one.name, 0),
             "sessions": len(people.sessions.all(one.name))}
            for one in people.all()
        ]  # fmt: skip
        return Json(shown)

    @routes.post("/people")
    def add(body: NewPerson, request: Request) -> Json:
        """Make a user. The first password is shown in the answer, once, and must be changed."""
        who = administrator(request)
        password = None if body.service else made_password()
        made = people.add(
            body.name, password, body.roles, by=who.name, reason=body.reason,
            full_name=body.full_name, break_glass=body.break_glass, service=body.service,
            must_change=not body.service and not body.break_glass,
        )  # fmt: skip
        return Json({"person": made.to_dict(), "password": password})

    @routes.post("/people/{name}/change")
    def change(name: str, body: Change, request: Request) -> Json:
        """Change grants, printed name, activity or password; the person's sign-ins end."""
        who = administrator(request)
        known = _known(people, name)
        if known.name == who.name and (body.roles is not None or body.active is not None):
            raise NotPermitted(
                "nobody changes their own roles", hint="another administrator may do it"
            )
        if body.new_password and (known.service or known.subject):
            raise DataError(f"{name!r} has no password here")
        password = made_password() if body.new_password else None
        made = people.change(
            name, by=who.name, reason=body.reason, roles=body.roles, active=body.active,
            full_name=body.full_name, password=password, must_change=not known.break_glass,
        )  # fmt: skip
        return Json({"person": made.to_dict(), "password": password})

    @routes.post("/people/{name}/unlock")
    def unlock(name: str, body: Why, request: Request) -> Json:
        """Let a name that was locked after wrong passwords try again."""
        who = administrator(request)
        people.attempts.unlock(_known(people, name).name, who.name, body.reason)
        return Json({"unlocked": name})

    @routes.post("/people/{name}/sign-out")
    def sign_out(name: str, body: Why, request: Request) -> Json:
        """End all sign-ins of a person."""
        who = administrator(request)
        _known(people, name)
        count = people.sign_out_everywhere(name, by=who.name, reason=body.reason)
        return Json({"ended": count})


def _tokens(routes: APIRouter, people: Any) -> None:
    @routes.get("/tokens")
    def tokens(request: Request, everybody: bool = False) -> Json:
        """The caller's tokens, or for administrators all of them; never their secrets."""
        who = administrator(request) if everybody else current(request)
        found = people.tokens.all("" if everybody else who.name)
        return Json([{**one.to_dict(), "state": one.state(people.now)} for one in found])

    @routes.post("/tokens")
    def make(body: NewToken, request: Request) -> Json:
        """Make a token. Its secret is in the answer, once."""
        who = current(request)
        owner = _owner(request, people, who, body.owner or who.name)
        scope = Scope(tuple(body.services), tuple(body.twins), body.access)
        made, secret = people.tokens.make(owner, body.label, scope, body.days, by=who.name)
        return Json({"token": made.to_dict(), "secret": secret})

    @routes.post("/tokens/{id}/revoke")
    def revoke(id: str, body: Why, request: Request) -> Json:
        """End a token, an own one or as an administrator any."""
        who = current(request)
        try:
            token = people.tokens.get(id)
        except UnknownName as error:
            raise found(error) from error
        if token.owner != who.name or who.scope is not None:
            request.app.state.session.require(who, "administrator", "rest.people", effect="act")
        return Json(people.tokens.revoke(id, by=who.name, reason=body.reason).to_dict())


def _owner(request: Request, people: Any, who: Caller, owner: str) -> str:
    """Whose token it will be: the caller's own, or that of an account for programs."""
    if who.scope is not None:
        raise NotPermitted("a token makes no tokens", hint="sign in")
    person = _known(people, owner)
    if owner != who.name:
        administrator(request)
        if not person.service:
            raise NotPermitted(
                f"{owner!r} is a person", expected="an account for programs, or yourself"
            )
    return str(person.name)


def _known(people: Any, name: str) -> Any:
    try:
        return people.get(name)
    except UnknownName as error:
        raise found(error) from error
