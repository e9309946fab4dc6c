"""The EPCIS connector: follows a repository, gives sensor reports and the state of goods."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from galenic.clock import Clock, to_iso
from galenic.connect.connector import TagInfo
from galenic.connect.epcis.document import events_of
from galenic.connect.epcis.event import Event, nanoseconds_of
from galenic.connect.epcis.goods import Goods
from galenic.connect.epcis.identity import identity, record_name
from galenic.connect.epcis.sensors import Reading, readings
from galenic.connect.epcis.tags import GoodsTag, SensorTag, tags_of
from galenic.connect.fed import Polled
from galenic.connect.reconnect import Backoff
from galenic.connect.tally import DeadLetter
from galenic.errors import ConnectionLost, DataError, GalenicError
from galenic.identity import content_hash
from galenic.signals import Sample

REMEMBERED = 100_000
PAGE = 100
VERSION = {"GS1-EPCIS-Version": "2.0.0", "Accept": "application/json, application/ld+json"}
Page = tuple[bytes, str]


class EpcisLine:
    """One life of the connection to a repository."""

    def __init__(self, client: httpx.AsyncClient, timeout: float) -> None:
        self._client, self._timeout = client, timeout
        self._gone = asyncio.Event()
        self._reason = ""

    async def page(self, address: str, parameters: Mapping[str, str] | None = None) -> Page:
        """A page of events and the address of the next one, if there is one."""
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._client.get(address, params=parameters)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            self.drop(f"the repository answers {code}: {error.response.text[:200]}")
            raise ConnectionLost(self._reason, where=address) from error
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            self.drop(f"no answer: {error or type(error).__name__}")
            raise ConnectionLost(self._reason, where=address) from error
        following = answer.links.get("next", {}).get("url", "")
        return answer.content, str(answer.url.join(following)) if following else ""

    def drop(self, reason: str) -> None:
        """End this life."""
        if not self._gone.is_set():
            self._reason = reason
            self._gone.set()

    async def lost(self) -> str:
        """Return the reason when the connection has died."""
        await self._gone.wait()
        return self._reason

    async def hang_up(self) -> None:
        """Free the sockets."""
        self.drop("closed")
        await self._client.aclose()


class EpcisConnector(Polled[EpcisLine]):
    """A foreign (or our own) EPCIS 2.0 repository, polled; comes back by itself.

    Parameters
    ----------
    address : str
        Of the repository, as ``https://epcis.example.com/v2``; ``/events`` is below it.
    tags : mapping
        By tag: a table that names a sensor (``device``, ``type``, ``field``), a thing (``epc``,
        ``what``) or a place whose things are counted (``at``, ``of``); see `tags_of`. Without it,
        every sensor that reports is a tag of its own name.
    since : str
        Events recorded before this time are not asked for; all by default, which the state of
        goods needs.
    period : float [s]
        Time between two looks.
    token : str
        Bearer token; empty for none.
    headers : mapping
        Further headers, as of an API key.
    timeout : float [s]
        Limit of one request.
    per_page : int
        Events asked for at once.
    queue : int
        Samples that one subscription may hold back; the repository is not asked for more while
        half of them wait, so none is lost here.

    Notes
    -----
    Position is kept by the time of record: after a loss it goes on where it was. An event that
    comes twice is known by its identity. One that was declared wrong counts no longer in the
    state of goods; samples that it gave stay, and a warning names it.
    """

    def __init__(
        self,
        address: str,
        tags: Mapping[str, Any] | None = None,
        *,
        since: str = "",
        period: float = 5.0,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        per_page: int = PAGE,
        queue: int = 100_000,
        transport: httpx.AsyncBaseTransport | None = None,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        name: str = "epcis",
    ) -> None:
        where = f"connection {name}"
        if not address.startswith(("http://", "https://")):
            raise DataError(f"address {address!r}", where=where, expected="https://...")
        if not (period > 0 and timeout > 0 and 1 <= per_page <= 1000):
            raise DataError(
                f"period {period!r} s, timeout {timeout!r} s, per_page {per_page!r}", where=where,
                expected="above 0; per_page 1 to 1000",
            )  # fmt: skip
        self.address = address.rstrip("/")
        self.sensors, self.things = tags_of(tags or {}, where)
        self.goods = Goods()
        super().__init__(
            name, {tag: one.info(tag) for tag, one in (self.sensors | self.things).items()},
            period=period, queue=queue, backoff=backoff, clock=clock,
        )  # fmt: skip
        self._discover = not tags
        self._since = to_iso(nanoseconds_of(since)) if since else ""
        self._per_page = per_page
        self._settings: dict[str, Any] = {
            "timeout": timeout, "transport": transport,
            "headers": {**VERSION, **(headers or {}),
                        **({"Authorization": f"Bearer {token}"} if token else {})},
        }  # fmt: skip
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._last: dict[str, Any] = {}
        self._newest: tuple[int, str] = (0, "")
        self._withdrawn: OrderedDict[str, str] = OrderedDict()

    async def look(self, wait: float = 0.0) -> int:
        """Ask for what is new now, and deliver it; the number of new events."""
        line, number = await self._line(wait), 0
        data, following = await line.page(f"{self.address}/events", self._question())
        while True:
            number += self._take(data)
            if not following:
                return number
            await self._room()
            data, following = await line.page(following)

    def _question(self) -> dict[str, str]:
        asked = {"orderBy": "recordTime", "orderDirection": "ASC", "perPage": str(self._per_page)}
        return asked | ({"GE_recordTime": self._since} if self._since else {})

    async def _dial(self) -> EpcisLine:
        """Connect, and take one look: what the repository has decides which tags there are."""
        line = EpcisLine(httpx.AsyncClient(**self._settings), self._settings["timeout"])
        try:
            data, _ = await line.page(f"{self.address}/events", self._question())
        except BaseException:
            await line.hang_up()
            raise
        self._take(data)
        return line

    def _take(self, data: bytes) -> int:
        """Take a page of events in; what is unusable is counted and kept."""
        now = self.clock.now()
        try:
            events, wrong = events_of(data)
        except GalenicError as error:
            self._refuse(data, error, now)
            return 0
        for one in wrong:
            self._refuse(one.raw, one.error, now)
        samples: list[Sample] = []
        new = [event for event in events if self._is_new(record_name(event))]
        for event in new:
            samples += self._samples(event, now)
            if event.recordTime is not None:
                self._since = max(self._since, to_iso(nanoseconds_of(event.recordTime)))
        samples += self._states(now, counted=True) if new else []
        self._feeds.deliver(samples)
        return len(new)

    def _refuse(self, raw: bytes, error: GalenicError, now: int) -> None:
        """Keep what cannot be used, once however often the repository tells it."""
        if self._is_new(content_hash(raw)):
            self.tally.dead(DeadLetter.of(self.name, now, str(error), raw, error.where))

    def _is_new(self, name: str) -> bool:
        if name in self._seen:
            return False
        self._seen[name] = None
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True

    def _samples(self, event: Event, now: int) -> Iterator[Sample]:
        name = identity(event)
        if self._discover or self.things:
            self.goods.add([event])
        if event.errorDeclaration is not None:
            reason = event.errorDeclaration.reason or "an error"
            self._withdrawn[name] = f"event {name} was declared wrong ({reason})"
            while len(self._withdrawn) > PAGE:
                self._withdrawn.popitem(last=False)
            return
        self._newest = max(self._newest, (event.time, name))
        for reading in readings(event, now):
            sample = self._named(reading, now)
            if sample is not None:
                yield sample
        if not self.goods.is_unsettled:
            yield from self._states(now)

    def _named(self, reading: Reading, now: int) -> Sample | None:
        """The sample under the tag that it is wanted as, or nothing; refusals are counted."""
        found = [(tag, want) for tag, want in self.sensors.items() if want.takes(reading)]
        if not found and not self._discover:
            return None
        tag, want = found[0] if found else (reading.tag, None)
        if reading.sample is None:
            self.tally.note(tag, "rejected", reason=reading.reason, time=now)
            return None
        if want is None:
            kind = {bool: "bool", str: "str"}.get(type(reading.sample.value), "float")
            self._infos.setdefault(tag, TagInfo(tag, reading.sample.unit, type=kind))
            return reading.sample
        try:
            sample = want.convert(tag, reading.sample)
        except GalenicError as error:
            self.tally.note(tag, "rejected", reason=error.found, time=now)
            return None
        if sample.unit != reading.sample.unit:
            words = f"from {reading.sample.unit} to {sample.unit}"
            self.tally.note(tag, "converted", reason=words, time=now)
        return sample

    def _states(self, now: int, counted: bool = False) -> Iterator[Sample]:
        """The state of goods where it has changed, as of the newest event."""
        time, event = self._newest
        for tag, want in self.things.items():
            if want.at and not counted:  # a count looks at every thing: once a page
                continue
            value = want.value(self.goods.state)
            if tag in self._last and self._last[tag] == value:
                continue
            self._last[tag] = value
            yield Sample(tag, value, want.unit, time, now, source_key=f"{tag}|{event}")

    def _warnings(self) -> list[str]:
        """Refused reports, unreadable events and withdrawn ones."""
        found = [
            f"{tag or 'event'}: {words} ({reason.count} times)"
            for tag, words, reason in self.tally.reasons("rejected")
        ]
        found += self._withdrawn.values()
        if self.address.startswith("http://"):
            found.append("the connection is not encrypted")
        return found


__all__ = ["EpcisConnector", "GoodsTag", "SensorTag"]
