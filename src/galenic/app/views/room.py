"""The room: what every page needs - who is asking, the session, the live feed, the site."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request

from galenic.app.api.access import Access
from galenic.app.jobs import Job
from galenic.app.permissions import Caller, visible
from galenic.app.session import Session
from galenic.app.signing import Desk
from galenic.app.views.feed import Feed
from galenic.stages.supply.repository import HEAD, NEXT
from galenic.stages.twins.alarming import journal
from galenic.twin.alarm.performance import Told

Place = tuple[str, str, str]  # path, word, key
TELLING = 30.0  # seconds that a command to a twin may take before the page goes on


class Room:
    """One site's control room over the session and access of its web application."""

    here = "now"

    def __init__(self, app: FastAPI) -> None:
        self.session: Session = app.state.session
        self.access: Access = app.state.access
        self.desk: Desk | None = getattr(app.state, "desk", None)
        self.provider: str | None = app.state.oidc.rules.issuer if app.state.oidc else None
        self.feed = Feed(self.runner, self.store) if self.runner is not None else None

    @property
    def runner(self) -> Any:
        return self.session.runner

    @property
    def store(self) -> Any:
        return self.session.store

    @property
    def people(self) -> Any:
        return self.access.people

    @property
    def site(self) -> str:
        """The site's name."""
        return str(self.runner.project.site.name) if self.runner is not None else "galenic"

    @property
    def simulated(self) -> bool:
        """Whether the values come from a virtual plant."""
        return self.runner is not None and self.runner.project.plant is not None

    @property
    def fleets(self) -> list[str]:
        """The names of the fleets."""
        return list(self.runner.fleets.fleets) if self.runner is not None else []

    def places(self, places: Iterable[Place]) -> list[Place]:
        """Those places at which this site has something: fleets and goods are not everywhere."""
        empty = set() if self.fleets else {"/fleets"}
        if self.store is None or not self.store.get(HEAD, NEXT):
            empty.add("/goods")
        return [place for place in places if place[0] not in empty]

    def alarms(self, who: Caller) -> list[tuple[str, dict[str, Any]]]:
        """All alarms that are not normal, with their twin, of the twins that somebody may see."""
        if self.runner is None or self.feed is None:
            return []
        own = [
            (id, alarm)
            for id, message in self.feed.twins.items()
            if id in self.runner.twins
            for alarm in message["alarms"]
        ]
        rows = [*own, *self.runner.fleets.standing()]
        seen = set(visible(who, dict.fromkeys(id for id, _ in rows)))
        return [row for row in rows if row[0] in seen]

    def told(self, who: Caller) -> list[Told]:
        """Every transition of alarms on record, of the twins that somebody may see."""
        found = list(journal(self.store))
        seen = set(visible(who, dict.fromkeys(one.twin for one in found)))
        return [one for one in found if one.twin in seen]

    def now(self) -> int:
        """The plant's time [ns]."""
        return int((self.runner or self.session).clock.now())

    def twins(self, who: Caller | None = None) -> list[str]:
        """Ids of the twins that somebody may see; of all, when nobody is named."""
        ids = list(self.runner.twins) if self.runner is not None else []
        return ids if who is None else visible(who, ids)

    def caller(self, request: Request) -> Caller:
        """Who asks for a page; NotSignedIn when nobody does."""
        return self.access.caller(request, "page")

    async def ask(self, twin: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """A consistent look at a twin."""
        return await self.runner.ask(twin, function, *args, **options)

    async def call(
        self, service: str, arguments: Mapping[str, Any], who: Caller, wait: float = TELLING
    ) -> Job:
        """Call a service as any other surface does; errors are raised or stand in the job."""
        job: Job = await asyncio.to_thread(
            self.session.call, service, dict(arguments), who, wait=wait
        )
        return job
