"""Put the API together."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

import galenic
from galenic.app.api import (
    access,
    calls,
    docs,
    epcis,
    guard,
    live,
    people,
    problems,
    records,
    signing,
    twins,
)
from galenic.app.api.access import Access
from galenic.app.session import Session
from galenic.app.signing import Desk


def create_app(session: Session, users: Any, **options: Any) -> FastAPI:
    """The web application of a site.

    Parameters
    ----------
    session : Session
        Calls the services; its store and runner are the site's.
    users : People
        Who may sign in.
    **options
        For FastAPI, as ``lifespan``.

    Returns
    -------
    FastAPI
        With ``state.session`` and ``state.access`` for pages.
    """
    app = FastAPI(
        title="galenic",
        version=galenic.__version__,
        description="Digital twins over the whole life of a medicine.",
        default_response_class=problems.Json,
        docs_url=None,
        redoc_url=None,
        **options,
    )
    app.state.session = session
    app.state.access = Access(users)
    problems.install(app)
    app.add_middleware(guard.Guard)
    app.include_router(access.router(app.state.access))
    app.include_router(people.router(app.state.access))
    app.include_router(calls.router(session))
    app.include_router(docs.router())
    if session.store is not None:
        app.include_router(records.router(session.store))
        app.state.desk = Desk(session, users)
        app.include_router(signing.router(app.state.desk))
        app.include_router(epcis.router(session))
    if session.runner is not None:
        app.include_router(twins.router(session))
        app.include_router(live.router(session, app.state.access))

    @app.get("/api/health", tags=["server"])
    def health() -> problems.Json:
        """Whether the server answers."""
        return problems.Json({"up": True, "version": galenic.__version__})

    return app
