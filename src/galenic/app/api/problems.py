"""Errors as problem documents (RFC 9457), and JSON that always encodes."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from galenic.app.jobs import ServiceFailed, error_facts
from galenic.errors import (
    ConnectionLost,
    GalenicError,
    NotPermitted,
    StorageError,
)
from galenic.records.attempts import Locked
from galenic.twin.result import plain
from galenic.twin.run import Cancelled

log = logging.getLogger(__name__)

STATUS: tuple[tuple[type[GalenicError], int], ...] = (
    (NotPermitted, 403),
    (ConnectionLost, 503),
    (StorageError, 503),
    (Cancelled, 409),
)
UNUSABLE = 422


class NotSignedIn(NotPermitted):
    """Nobody, or somebody whose sign-in has ended."""


class NotFound(GalenicError):
    """The address names something that does not exist."""

    @classmethod
    def of(cls, error: GalenicError) -> NotFound:
        return cls(error.found, where=error.where, expected=error.expected, hint=error.hint)


class TooMany(GalenicError):
    """Asked too often; wait."""


class TooLarge(GalenicError):
    """More was sent than is taken."""


class Json(JSONResponse):
    """JSON in which numbers that are not finite are null and any text can be encoded."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(plain(content), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8", "replace")


def status_of(error: GalenicError) -> int:
    """The HTTP status of an error."""
    extra = {NotSignedIn: 401, NotFound: 404, TooMany: 429, Locked: 429, TooLarge: 413}
    if type(error) in extra:
        return extra[type(error)]
    return next((code for kind, code in STATUS if isinstance(error, kind)), UNUSABLE)


def problem(error: GalenicError, instance: str = "") -> Json:
    """The problem document of an error."""
    facts = error_facts(error)
    code = status_of(error)
    body: dict[str, Any] = {
        "type": f"urn:galenic:error:{facts['error']}",
        "title": (type(error).__doc__ or "").partition(".")[0].strip(),
        "status": code,
        "detail": facts.pop("found"),
    }
    body |= facts
    if instance:
        body["instance"] = instance
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "60"}}.get(code)
    return Json(body, code, headers, media_type="application/problem+json")


async def _galenic(request: Request, error: Exception) -> Json:
    assert isinstance(error, GalenicError)
    return problem(error, request.url.path)


async def _http(request: Request, error: Exception) -> Json:
    assert isinstance(error, HTTPException)
    body = {"type": "about:blank", "title": str(error.detail), "status": error.status_code}
    body |= {"detail": str(error.detail), "instance": request.url.path}
    return Json(body, error.status_code, error.headers, media_type="application/problem+json")


async def _invalid(request: Request, error: Exception) -> Json:
    assert isinstance(error, RequestValidationError)
    places = [".".join(str(part) for part in one["loc"]) for one in error.errors()]
    wrong = "; ".join(
        f"{place}: {one['msg']}" for place, one in zip(places, error.errors(), strict=True)
    )
    return problem(GalenicError(wrong, where=request.url.path), request.url.path)


async def _unexpected(request: Request, error: Exception) -> Json:
    log.error("defect while serving %s", request.url.path, exc_info=error)
    failed = ServiceFailed.of(request.url.path, error)
    body = {"type": "urn:galenic:error:defect", "title": "A defect of the server", "status": 500}
    return Json(body | {"detail": failed.found}, 500, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Answer every error with a problem document."""
    app.add_exception_handler(GalenicError, _galenic)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


def found(error: GalenicError) -> NotFound:
    """An unknown name in an address: 404 instead of 422."""
    return NotFound.of(error)
