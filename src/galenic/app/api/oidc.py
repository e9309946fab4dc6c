"""The way to the OpenID provider of a site, and back."""

from __future__ import annotations

from html import escape
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from galenic.app.api.access import COOKIE, Access, bearer, current, origin_of, set_cookie
from galenic.app.api.problems import NotSignedIn
from galenic.app.oidc import SIGNATURE, WAIT, Provider
from galenic.errors import GalenicError, NotPermitted

STATE = "galenic-oidc"
Text = Annotated[str, Query(max_length=4000)]
ON = '<!doctype html><meta http-equiv="refresh" content="0;url={next}"><a href="{next}">Go on</a>'


def router(provider: Provider, access: Access) -> APIRouter:
    """Endpoints for browsers."""
    routes = APIRouter(prefix="/api/oidc", tags=["access"])

    @routes.get("/start")
    def start(
        request: Request, next: Text = "/", purpose: Literal["sign-in", "signature"] = "sign-in"
    ) -> Response:
        """To the provider: sign in, or authenticate anew before a signature."""
        access.rate.count(origin_of(request))
        token = ""
        if purpose == SIGNATURE:
            current(request)
            token = bearer(request) or request.cookies.get(COOKIE, "")
        address, state = provider.start(str(request.url_for("back")), next, purpose, token)
        answer = RedirectResponse(address, 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            STATE, state, max_age=int(WAIT), httponly=True, samesite="lax", secure=secure
        )
        return answer

    @routes.get("/back")
    def back(
        request: Request, code: Text = "", state: Text = "", error: Text = "", iss: Text = ""
    ) -> Response:
        """From the provider: signed in, and on to where the person wanted."""
        access.rate.count(origin_of(request))
        try:
            if error or not code:
                raise NotPermitted(f"the provider has refused: {error[:100] or 'no code'}")
            held = request.cookies.get(STATE, "")
            made = provider.back(code, state, held, iss, origin_of(request))
        except GalenicError as failed:
            return _failed(request, failed)
        # a page of our own goes on: after a redirect from elsewhere no strict cookie is sent
        answer = HTMLResponse(ON.format(next=escape(made.next, quote=True)))
        if made.token:
            set_cookie(answer, made.token, request)
        answer.delete_cookie(STATE)
        return answer

    return routes


def _failed(request: Request, error: GalenicError) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"/sign-in?{urlencode({'problem': error.found})}", 303)
    if type(error) is NotPermitted:
        raise NotSignedIn(error.found, expected=error.expected, hint=error.hint) from error
    raise error
