"""Pages onto the web application: addresses, sign-in, errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from nicegui import core, ui

from galenic.app.api.problems import NotSignedIn
from galenic.app.permissions import Caller
from galenic.app.views import frame
from galenic.app.views.room import Room
from galenic.errors import GalenicError

log = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds that a page may take to be made, as on a busy machine
DEFECT = {
    "found": "This page could not be made; that is a defect of ours.",
    "hint": "load it again; the server's log has the details for a report",
}


class Kept(StaticFiles):
    """Files that a browser keeps for good: their address changes with their content."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """The file, to be kept."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def mount(app: FastAPI) -> None:
    """Add the control room to a web application made by ``galenic.app.api.create_app``.

    To be called once all other routes are there. One web application per process can have pages.
    """
    room = Room(app)
    static = GZipMiddleware(Kept(directory=frame.STATIC), minimum_size=500)
    app.mount("/control-room", static, name="control-room")
    _pages(room)
    if room.feed is not None:
        core.app.on_startup(room.feed.start)
        core.app.on_shutdown(room.feed.stop)
    ui.run_with(
        app,
        title=room.site,
        dark=None,
        tailwind=False,
        language="en-GB",
        show_welcome_message=False,
        reconnect_timeout=30.0,
    )


def _pages(room: Room) -> None:
    from galenic.app.views import (  # all of them: the first page must not wait for imports
        alarm_figures,
        alarm_history,
        alarms,
        control_tab,  # noqa: F401
        data,
        estimates_tab,  # noqa: F401
        fits,
        fleets,
        goods,
        model_tab,  # noqa: F401
        models,
        overview,
        patient_tab,  # noqa: F401
        records,
        results,
        services,
        settings,
        sign_in,
        signatures,
        twin,
        what_if,  # noqa: F401
    )

    @ui.page("/sign-in")
    def sign_in_page() -> None:
        sign_in.sign_in_page(room)

    def place(path: str, title: str, build: Callable[..., Any], site: bool = False) -> None:
        """A page behind the sign-in; ``build`` gets the page and the parts of its address.

        ``site`` pages show records of the whole site, and the page of a twin that twin.
        """

        async def show(request: Request) -> Any:
            who = _signed_in(room, request)
            if not isinstance(who, Caller):
                return who
            with frame.frame(room, who, title, path) as page:
                try:
                    named = request.path_params.get("id") if path == "/twin/{id}" else None
                    twins = [named] if site or named else ()
                    room.session.require(who, "viewer", f"rest.page.{title.lower()}", twins)
                    made = build(page, **request.path_params, **_query(request, build))
                    if made is not None:
                        await made
                except GalenicError as error:
                    frame.failed(error.to_dict())
                except Exception:
                    log.exception("page %s", request.url.path)
                    frame.failed(DEFECT)
            return None

        show.__name__ = f"show_{title.lower().replace(' ', '_')}"
        ui.page(path, response_timeout=PATIENCE)(show)

    place("/", "Overview", overview.overview_page)
    place("/twin/{id}", "Twin", twin.twin_page)
    place("/services", "Services", services.services_page)
    place("/services/{stage}/{name}", "Service", services.service_page)
    place("/jobs/{id}", "Result", results.job_page)
    place("/fits", "Fits", fits.fits_page)
    place("/fits/compare", "Comparison of fits", fits.compare_page)
    place("/fits/{id}", "Fit", fits.fit_page)
    place("/models", "Models", models.models_page)
    place("/models/{name}", "Model", models.model_page)
    place("/fleets", "Fleets", fleets.fleets_page, site=True)
    place("/goods", "Goods", goods.goods_page, site=True)
    place("/alarms", "Alarms", alarms.alarms_page)
    place("/alarms/history", "Alarms history", alarm_history.history_page)
    place("/alarms/performance", "Alarms performance", alarm_figures.figures_page)
    place("/requests", "Requests", signatures.requests_page, site=True)
    place("/records", "Records", records.records_page, site=True)
    place("/data", "Data", data.data_page, site=True)
    place("/settings", "Settings", settings.settings_page)


def _query(request: Request, build: Callable[..., Any]) -> dict[str, str]:
    """Those query parameters that a page asks for by name."""
    names = build.__code__.co_varnames[: build.__code__.co_argcount]
    return {key: value for key, value in request.query_params.items() if key in names[1:]}


def _signed_in(room: Room, request: Request) -> Caller | RedirectResponse:
    try:
        return room.caller(request)
    except NotSignedIn:
        there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(there)}", 303)
