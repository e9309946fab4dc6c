"""Signatures, and requests that wait for them."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from galenic.app.api.access import COOKIE, PERSON, bearer, origin_of, reading
from galenic.app.api.calls import body_of
from galenic.app.api.people import Why
from galenic.app.api.problems import Json, found
from galenic.app.permissions import Caller
from galenic.app.session import as_arguments
from galenic.app.signing import Desk
from galenic.errors import DataError, UnknownName
from galenic.records.signatures import Proof
from galenic.twin.arguments import ArgumentError

TEXT = 1000
READ = reading("rest.signatures")
Kind = Literal["entry", "artefact", "definition", "request"]


class Signature(BaseModel):
    """What a signer gives. ``version`` is the one that was looked at."""

    meaning: str = Field(max_length=50)
    reason: str = Field(min_length=1, max_length=TEXT)
    version: str = Field("1", max_length=200)
    name: str = Field("", max_length=200)
    password: str = Field("", max_length=TEXT)


class OfRecord(Signature):
    """A signature of a record."""

    type: Kind
    id: str = Field(min_length=1, max_length=200)


def router(desk: Desk) -> APIRouter:
    """Endpoints of the desk."""
    routes = APIRouter(prefix="/api", tags=["signatures"])

    @routes.get("/signatures")
    def signatures(type: Kind, id: str, who: Caller = READ) -> Json:
        """A record as it would be signed now, with its signatures and whether they still hold."""
        try:
            return Json(desk.shown(type, id))
        except (UnknownName, DataError) as error:
            raise found(error) from error

    @routes.post("/signatures")
    def sign(body: OfRecord, request: Request, who: Caller = PERSON) -> Json:
        """Sign a record: with name and password at first, then with the password."""
        made = desk.sign(
            who, body.type, body.id, body.version, proof(body, request), origin_of(request)
        )
        return Json(made.to_dict())

    _requests(routes, desk)
    return routes


def _requests(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/requests")
    def requests(who: Caller = READ, state: str = "") -> Json:
        """Calls that wait for signatures, or have had them, newest first."""
        return Json(desk.requests(state))

    @routes.get("/requests/{id}")
    def one(id: str, who: Caller = READ) -> Json:
        """A request: what is wanted, what is signed, what lacks."""
        try:
            return Json(desk.request(id))
        except UnknownName as error:
            raise found(error) from error

    @routes.post("/requests")
    async def ask(request: Request, who: Caller = PERSON) -> Json:
        """Ask for a call that needs signatures, with the first of them.

        ``{"service": "twins.level", "arguments": {...}, "signature": {"meaning": "authorship",
        "reason": "...", "name": "...", "password": "..."}}``
        """
        body = as_arguments(await body_of(request))
        try:
            signature = Signature.model_validate(body.get("signature"))
        except ValueError as error:
            raise ArgumentError(
                "the signature lacks its parts", expected="meaning, reason, name, password"
            ) from error
        arguments = as_arguments(body.get("arguments", {}))
        made, job = await run_in_threadpool(
            desk.ask, who, str(body.get("service")), arguments, proof(signature, request),
            origin_of(request),
        )  # fmt: skip
        return _answer(made, job)

    @routes.post("/requests/{id}/sign")
    def sign(id: str, body: Signature, request: Request, who: Caller = PERSON) -> Json:
        """Give a request a signature that it lacks; with the last one it is performed."""
        try:
            desk.request(id)
        except UnknownName as error:
            raise found(error) from error
        _, job = desk.sign_request(who, id, body.version, proof(body, request), origin_of(request))
        return _answer(desk.request(id), job)

    @routes.post("/requests/{id}/close")
    def close(id: str, body: Why, who: Caller = PERSON) -> Json:
        """Take the own request back, or reject that of somebody else."""
        try:
            return Json(desk.close(who, id, body.reason))
        except UnknownName as error:
            raise found(error) from error


def _answer(request: dict[str, Any], job: Any) -> Json:
    """A request that waits (202), or was performed: with its job, or the job's error."""
    if job is None:
        return Json(request, 202, {"Location": f"/api/requests/{request['id']}"})
    if not job.live:
        job.outcome()
    return Json(request | {"performed": job.to_dict()})


def proof(body: Signature, request: Request) -> Proof:
    """What the signer gives, with their sign-in."""
    token = bearer(request) or request.cookies.get(COOKIE, "")
    return Proof(body.meaning, body.reason, token, body.password, body.name)
