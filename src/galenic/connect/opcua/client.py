"""The OPC UA connector: samples with their source's times and status, writes with read-back."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asyncua import ua

from galenic.clock import Clock, SystemClock
from galenic.connect.connector import (
    BAD_NOT_WRITABLE,
    DONE,
    FAILED,
    UNKNOWN,
    ConnectorStatus,
    Gap,
    TagInfo,
    Value,
    not_open,
    prepare_write,
    refusal,
)
from galenic.connect.opcua.address import TagNode
from galenic.connect.opcua.line import OpcUaLine, Settings
from galenic.connect.opcua.security import POLICIES, Security, check_endpoint
from galenic.connect.opcua.values import has_overflowed, status_name, to_sample, to_variant
from galenic.connect.queue import QueueState, SampleQueue
from galenic.connect.reconnect import Backoff, Supervisor
from galenic.errors import ConnectionLost, DataError, GalenicError, UnknownName
from galenic.signals import Quality, Receipt, Sample

log = logging.getLogger(__name__)

READ_BACKS = 5
READ_BACK_PAUSE = 0.1
BAD_NODE_ID_UNKNOWN = 0x80340000
MOST_GAPS = 1000
FASTEST_SOURCE = 0.005  # s between changes that the server's queue must bear at sampling 0


@dataclass(eq=False)
class _Feed:
    """One subscription of a user, over all the lines it lives through."""

    tags: list[str]
    queue: SampleQueue
    last: dict[str, int] = field(default_factory=dict)
    subscription: int | None = None
    receive: Callable[[list[Sample]], object] = list.clear


def _same(held: Value | None, asked: Value) -> bool:
    """Whether a value read back is the one written; a Float node keeps seven digits."""
    if isinstance(held, (bool, str)) or isinstance(asked, (bool, str)) or held is None:
        return held == asked
    return math.isclose(held, asked, rel_tol=1e-6, abs_tol=1e-12)


class OpcUaConnector:
    """A client of one OPC UA server that comes back by itself.

    Parameters
    ----------
    endpoint : str
        ``opc.tcp://host:port/path``.
    security : str
        ``Basic256Sha256`` (default), ``Aes128Sha256RsaOaep``, ``Aes256Sha256RsaPss``, or the
        explicit ``None`` for clear text.
    certificate, key : path, optional
        Our application certificate and its private key; see `create_certificate`.
    trusted : sequence of path
        Server certificates that are accepted.
    user, password : str
        Sign-in; empty for anonymous.
    nodes, units : mapping, optional
        Addresses and units by tag, where browsing is not wanted or does not tell.
    root : str
        Browse path below Objects of the folder that holds the tags.
    publishing, sampling : float [s]
        Asked intervals; what the server revised is in ``status.warnings``. A server that samples
        skips changes that come faster; sampling 0 asks for every change.
    queue_size : int, optional
        Values the server holds per tag between two publications; default and least: twice the
        ratio of publishing to sampling, and 10.
    timeout : float [s]
        Limit of one request.
    alive : float [s]
        A silent server is probed this often; it is taken as lost after about twice as long.
    queue : int
        Samples that one subscription may hold back here.

    Notes
    -----
    After a lost connection the values since the last sample of each tag are read from the
    server's history where it has one, and delivered first, marked ``historical``. Otherwise the
    span is listed in ``status.gaps``. Source times have the microsecond resolution of the stack.
    """

    def __init__(
        self,
        endpoint: str,
        security: str = POLICIES[0],
        *,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        trusted: Sequence[str | Path] = (),
        user: str = "",
        password: str = "",
        nodes: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
        root: str = "",
        publishing: float = 0.2,
        sampling: float = 0.1,
        queue_size: int | None = None,
        timeout: float = 4.0,
        alive: float = 2.0,
        queue: int = 100_000,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        name: str = "opcua",
    ) -> None:
        if not (publishing > 0 and sampling >= 0):
            raise DataError(
                f"publishing {publishing!r} s and sampling {sampling!r} s",
                where=f"connection {name}",
                expected="publishing above 0, sampling 0 (every change) or above",
            )
        least = max(10, 2 * math.ceil(publishing / max(sampling, FASTEST_SOURCE)))
        self.name = name
        self.clock = clock or SystemClock()
        self.capacity = queue
        self.settings = Settings(
            endpoint=check_endpoint(endpoint),
            security=Security(
                security,
                Path(certificate) if certificate else None,
                Path(key) if key else None,
                tuple(Path(path) for path in trusted),
            ),
            user=user,
            password=password,
            nodes=dict(nodes or {}),
            units=dict(units or {}),
            root=root,
            publishing=publishing,
            sampling=sampling,
            queue_size=max(queue_size or least, least),
            timeout=timeout,
            alive=alive,
        )
        self._supervisor = Supervisor(name, self._dial, self.clock, backoff)
        self._feeds: list[_Feed] = []
        self._gaps: deque[Gap] = deque(maxlen=MOST_GAPS)
        self._closed_queues = QueueState()
        self._warnings: tuple[str, ...] = ()

    async def open(self) -> None:
        """Connect; ConnectionLost if the server is not there now, while attempts go on."""
        await self._supervisor.open()

    async def close(self) -> None:
        """End every subscription and the session."""
        await self._supervisor.close()
        for feed in self._feeds:
            feed.queue.close()

    def subscribe(self, tags: Sequence[str]) -> AsyncIterator[list[Sample]]:
        """Batches of samples, one per publication; the present value of each tag comes first."""
        if not self._supervisor.is_open:
            raise not_open(self.name)
        return self._batches(list(dict.fromkeys(tags)))

    async def read(self, tags: Sequence[str]) -> list[Sample]:
        """The present sample of each tag."""
        line = await self._line()
        nodes = await line.find(tags)
        values = await line.read(nodes)
        now = self.clock.now()
        return [to_sample(n.info, value, now) for n, value in zip(nodes, values, strict=True)]

    async def browse(self) -> list[TagInfo]:
        """Every scalar variable of the server as a tag, by name."""
        return [node.info for node in await (await self._line()).all()]

    async def write(self, tag: str, value: Value, unit: str = "", key: str = "") -> Receipt:
        """Write, and read back until the value is there; see `Receipt.outcome`.

        ``done``: accepted and read back. ``failed``: refused, not sent, or something else was
        read back. ``unknown``: no answer in time, so that it may or may not have happened.
        """
        try:
            line = await self._line()
            (node,) = await line.find([tag])
        except ConnectionLost as error:
            return self._receipt(key, tag, FAILED, None, f"not sent: {error.found}")
        try:
            accepted = prepare_write(node.info, value, unit)
            variant = to_variant(accepted, node.variant)
        except GalenicError as error:
            return refusal(key, tag, self.clock.now(), error)
        if not node.info.writable:
            return self._receipt(key, tag, FAILED, None, status_name(BAD_NOT_WRITABLE))
        try:
            code = await line.write(node, variant)
            if Quality.of_status(code) is Quality.BAD:
                return self._receipt(key, tag, FAILED, None, status_name(code))
            held = await self._read_back(line, node, accepted)
        except ConnectionLost as error:
            return self._receipt(key, tag, UNKNOWN, None, error.found)
        detail = status_name(code) if code else ""
        if not _same(held, accepted):
            wrong = f"read back {held!r} instead of {accepted!r}"
            return self._receipt(key, tag, FAILED, held, wrong)
        return self._receipt(key, tag, DONE, held, detail)

    @property
    def status(self) -> ConnectorStatus:
        """The connection now: attempts, reason, queues, gaps and what the server revised."""
        state = self._supervisor
        queues = sum((feed.queue.state for feed in self._feeds), self._closed_queues)
        return ConnectorStatus(
            state.connected,
            state.since,
            state.attempts,
            state.reason,
            queues,
            tuple(self._gaps),
            self._warnings,
        )

    async def _line(self, wait: float = 0.0) -> OpcUaLine:
        line = await self._supervisor.line(wait)
        assert isinstance(line, OpcUaLine)
        return line

    async def _dial(self) -> OpcUaLine:
        line = await OpcUaLine.dial(self.settings)
        try:
            for feed in self._feeds:
                await self._attach(feed, line)
        except BaseException:
            await line.hang_up()
            raise
        self._take_warnings(line)
        return line

    async def _batches(self, tags: list[str]) -> AsyncIterator[list[Sample]]:
        feed = _Feed(tags, SampleQueue(self.name, self.capacity))
        try:
            if not await self._start(feed):
                return
            async for batch in feed.queue.batches():
                yield batch
        finally:
            if feed in self._feeds:
                self._feeds.remove(feed)
                self._closed_queues += QueueState(lost=feed.queue.lost)
            await self._detach(feed)

    async def _start(self, feed: _Feed) -> bool:
        """Attach ``feed`` as soon as there is a connection; False if closed before."""
        while self._supervisor.is_open:
            try:
                line = await self._line(wait=self.settings.timeout)
                await self._attach(feed, line)
            except ConnectionLost:
                await asyncio.sleep(READ_BACK_PAUSE)
                continue
            self._feeds.append(feed)
            self._take_warnings(line)
            return True
        return False

    async def _attach(self, feed: _Feed, line: OpcUaLine) -> None:
        """Monitor the tags of ``feed`` on ``line``; after a loss first fill or mark the gap."""
        nodes = await self._nodes(feed, line)
        before = dict(feed.last)
        waiting: list[Sample] = []
        feed.receive = waiting.extend
        feed.subscription, refused = await line.monitor(
            nodes,
            lambda items: self._receive(feed, items),
            lambda reason: self._lose(feed, reason),
        )
        if before:
            await self._fill(feed, line, nodes, before)
        feed.queue.put(self._without_value(tag, code) for tag, code in refused.items())
        feed.receive = feed.queue.put
        feed.queue.put(waiting)

    async def _nodes(self, feed: _Feed, line: OpcUaLine) -> list[TagNode]:
        """The nodes of a feed; on a reconnection, tags that are gone give a bad sample."""
        if not feed.last:
            return await line.find(feed.tags)
        nodes = []
        for tag in feed.tags:
            try:
                nodes += await line.find([tag])
            except UnknownName:
                log.warning("connection %s: tag %s is gone", self.name, tag)
                feed.queue.put([self._without_value(tag, BAD_NODE_ID_UNKNOWN)])
        return nodes

    def _without_value(self, tag: str, code: int) -> Sample:
        now = self.clock.now()
        return Sample(tag, None, "", now, now, Quality.BAD, code)

    async def _detach(self, feed: _Feed) -> None:
        """Stop the server from publishing to a feed that nobody listens to any more."""
        if feed.subscription is None or not self._supervisor.connected:
            return
        try:
            await (await self._line()).forget(feed.subscription)
        except ConnectionLost as error:
            log.debug("connection %s: subscription not deleted: %s", self.name, error.found)

    async def _fill(
        self, feed: _Feed, line: OpcUaLine, nodes: list[TagNode], before: dict[str, int]
    ) -> None:
        """Deliver what was missed from history, or mark the span as a gap."""
        present = await line.read(nodes)
        now = self.clock.now()
        for node, value in zip(nodes, present, strict=True):
            tag = node.info.tag
            last = before.get(tag)
            newest = to_sample(node.info, value, now).source_time
            if last is None or newest <= last:
                continue
            missed = await self._history(line, node, last, newest) if node.history else []
            feed.queue.put(missed)
            filled = bool(missed)
            self._gaps.append(Gap(tag, last, newest, "connection lost", filled))

    async def _history(
        self, line: OpcUaLine, node: TagNode, last: int, newest: int
    ) -> list[Sample]:
        try:
            values = await line.history(node, last, newest)
        except ConnectionLost as error:
            log.info("connection %s: no history of %s: %s", self.name, node.info.tag, error.found)
            return []
        now = self.clock.now()
        samples = [to_sample(node.info, value, now, historical=True) for value in values]
        return [sample for sample in samples if sample.source_time > last]

    async def _read_back(self, line: OpcUaLine, node: TagNode, expected: Value) -> Value | None:
        held: Value | None = None
        for attempt in range(READ_BACKS):
            if attempt:
                await asyncio.sleep(READ_BACK_PAUSE)
            (data,) = await line.read([node])
            held = to_sample(node.info, data, 0).value
            if _same(held, expected):
                break
        return held

    def _receive(self, feed: _Feed, items: list[tuple[TagNode, ua.DataValue]]) -> None:
        now = self.clock.now()
        samples = [to_sample(node.info, value, now) for node, value in items]
        for sample in samples:
            before = feed.last.get(sample.tag, sample.source_time)
            if has_overflowed(sample.status):
                self._gaps.append(
                    Gap(sample.tag, before, sample.source_time, "queue of the server overflowed")
                )
            feed.last[sample.tag] = max(before, sample.source_time)
        feed.receive(samples)

    def _lose(self, feed: _Feed, reason: str) -> None:
        now = self.clock.now()
        self._gaps.extend(Gap(tag, feed.last.get(tag, now), now, reason) for tag in feed.tags)

    def _take_warnings(self, line: OpcUaLine) -> None:
        for text in line.warnings:
            if text not in self._warnings:
                log.warning("connection %s: %s", self.name, text)
        self._warnings = tuple(line.warnings)

    def _receipt(
        self, key: str, tag: str, outcome: str, held: Value | None, detail: str
    ) -> Receipt:
        return Receipt(key, tag, outcome, self.clock.now(), held, detail)
