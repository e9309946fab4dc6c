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
    epcis_push,
    guard,
    live,
    people,
    problems,
    records,
    replicas,
    signing,
    twins,
)
from galenic.app.api import oidc as oidc_routes
from galenic.app.api.access import Access
from galenic.app.oidc import Provider
from galenic.app.session import Session
from galenic.app.signing import Desk
from galenic.twin.security import Security


def create_app(
    session: Session, users: Any, security: Security | None = None, **options: Any
) -> FastAPI:
    """The web application of a site.

    Parameters
    ----------
    session : Session
        Calls the services; its store and runner are the site's.
    users : People
        Who may sign in.
    security : Security, optional
        Provider of sign-ins and limits; those of the runner's project if left out.
    **options
        For FastAPI, as ``lifespan``.

    Returns
    -------
    FastAPI
        With ``state.session`` and ``state.access`` for pages.
    """
    if security is None:
        runner = session.runner
        security = runner.project.security if runner is not None else Security()
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
    limit = round(security.server.body_limit * 2**20)
    app.add_middleware(guard.Guard, access=app.state.access, largest=limit)
    app.include_router(access.router(app.state.access))
    app.include_router(people.router(app.state.access))
    app.state.oidc = Provider(security.oidc, users) if security.oidc is not None else None
    if app.state.oidc is not None:
        app.include_router(oidc_routes.router(app.state.oidc, app.state.access))
    app.include_router(calls.router(session))
    app.include_router(docs.router())
    if session.store is not None:
        app.include_router(records.router(session.store))
        app.state.desk = Desk(session, users)
        app.include_router(signing.router(app.state.desk))
        app.include_router(epcis.router(session))
        app.include_router(epcis_push.router(session, app.state.access))
        app.include_router(replicas.router(session))
    if session.runner is not None:
        app.include_router(twins.router(session))
        app.include_router(live.router(session, app.state.access))

    @app.get("/api/health", tags=["server"])
    def health() -> problems.Json:
        """Whether the server answers."""
        return problems.Json({"up": True, "version": galenic.__version__})

    return app
