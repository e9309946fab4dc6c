"""Around every request: limits on bodies, headers that browsers obey, and whose socket it is."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from galenic.app.api.access import CALLER, Access, refuse_foreign
from galenic.app.api.problems import NotSignedIn, TooLarge, problem
from galenic.errors import GalenicError

LARGEST = 64 * 1024 * 1024  # bytes of the body of a call of a service
SMALL = 1024 * 1024  # bytes of every other body
CALLS = ("/api/services/", "/api/requests", "/api/replicas/", "/epcis/", "/_nicegui")
CLOSED = ("/api/", "/epcis/")
OPEN = ("/api/health", "/api/sign-in", "/api/sign-out", "/api/password")
SOCKETS = "/_nicegui_ws"

PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""NiceGUI writes inline scripts and compiles templates; nothing comes from elsewhere."""
DATA = "default-src 'none'; frame-ancestors 'none'"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
FOR_EVER = (b"strict-transport-security", b"max-age=31536000")


class Guard:
    """ASGI middleware: without a sign-in nothing of a request is even read, but at open addresses.

    Parameters
    ----------
    app : ASGI application
    access : Access
        Who is asking.
    largest : int
        Bytes of the largest body of a call of a service.
    """

    def __init__(self, app: ASGIApp, access: Access, largest: int = LARGEST) -> None:
        self.app = app
        self.access = access
        self.largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        try:
            if scope["path"].startswith(SOCKETS):
                _refuse_foreign_page(scope)
        except GalenicError as error:
            await _refused(scope, receive, send, error)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        await self._http(scope, receive, send)

    def _knock(self, scope: Scope) -> None:
        """Note who is asking; NotSignedIn where nobody may ask without a sign-in."""
        path = scope["path"]
        is_open = path in OPEN or path.startswith("/api/oidc/") or scope["method"] == "OPTIONS"
        if path.startswith(CLOSED) and not is_open:
            scope[CALLER] = self.access.caller(HTTPConnection(scope))

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self.largest if scope["path"].startswith(CALLS) else min(SMALL, self.largest)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_extra(scope, message)]}
            await send(message)

        try:
            await run_in_threadpool(self._knock, scope)
        except GalenicError as error:
            await problem(error, scope["path"])(scope, receive, answer)
            return
        if _length(scope) > limit:
            await problem(_too_large(limit), scope["path"])(scope, receive, answer)
            return
        counted = 0

        async def limited() -> Message:
            nonlocal counted
            message = await receive()
            counted += len(message.get("body", b""))
            if counted > limit:  # as an error of HTTP, because FastAPI makes 400 of all others
                raise HTTPException(413, str(_too_large(limit)))
            return message

        await self.app(scope, limited, answer)


def _too_large(limit: int) -> TooLarge:
    return TooLarge("the body is too large", expected=f"at most {limit} bytes")


def _length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _refuse_foreign_page(scope: Scope) -> None:
    """The socket of a page is opened by a page of this server, not by one of another site."""
    connection = HTTPConnection(scope)
    if connection.headers.get("origin"):
        refuse_foreign(connection)


async def _refused(scope: Scope, receive: Receive, send: Send, error: GalenicError) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4403, "reason": error.found[:100]})
        return
    refusal = NotSignedIn(error.found, where=error.where)
    await problem(refusal, scope["path"])(scope, receive, send)


def _extra(scope: Scope, message: Any) -> list[tuple[bytes, bytes]]:
    """Headers that an answer gets, where it has not said otherwise itself."""
    own = {name.lower() for name, _ in message["headers"]}
    media = next((v for name, v in message["headers"] if name.lower() == b"content-type"), b"")
    policy = PAGES if media.startswith(b"text/html") else DATA
    extra = [*HEADERS, (b"content-security-policy", policy.encode())]
    if scope["path"].startswith("/api/"):
        extra.append((b"cache-control", b"no-store"))
    if scope.get("scheme") == "https":
        extra.append(FOR_EVER)
    return [pair for pair in extra if pair[0] not in own]
