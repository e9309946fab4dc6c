"""The Sparkplug B host application: metrics of edge nodes as tags, writes as commands."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Unpack

from galenic.clock import Clock, SystemClock
from galenic.connect.connector import (
    BAD_NOT_WRITABLE,
    BAD_WAITING_FOR_INITIAL_DATA,
    DONE,
    FAILED,
    UNKNOWN,
    ConnectorStatus,
    TagInfo,
    Value,
    not_open,
    prepare_write,
    refusal,
)
from galenic.connect.feeds import Feeds
from galenic.connect.mqtt.line import Access, Broker, MqttLine, Will
from galenic.connect.mqtt.payload import Payload, decode
from galenic.connect.mqtt.session import REBIRTH, Known, NodeSession, Outcome
from galenic.connect.mqtt.topic import (
    NAMESPACE,
    Topic,
    check_id,
    parse_state,
    state_payload,
    state_topic,
)
from galenic.connect.mqtt.values import BAD_NO_COMMUNICATION, BOOLEAN, MILLISECOND, set_value
from galenic.connect.reconnect import Backoff, Supervisor
from galenic.connect.tally import DeadLetter, Tally
from galenic.errors import ConnectionLost, DataError, GalenicError, UnknownName
from galenic.signals import Quality, Receipt, Sample

log = logging.getLogger(__name__)

MOST_WARNINGS = 50
REMEMBERED = 100_000
Answer = tuple[Sample | None, str]


class SparkplugHost:
    """Receives from the edge nodes of one group, and comes back by itself.

    Parameters
    ----------
    broker : str
        Name or address of the MQTT broker.
    group : str
        Group of the edge nodes.
    host_id : str
        Under which our state is published; nodes that have it as their primary host wait for it.
    nodes : sequence of str
        Edge nodes that are needed. They are asked for a birth on every connection, and until each
        has been born an unknown tag is waited for.
    root : str
        ``node`` or ``node/device``: only the metrics below it are tags, without this beginning.
    tags : mapping
        Metrics by tag, as ``node/device/name`` or ``node/name``, where other names are wanted.
    units : mapping
        Units by tag that the nodes do not tell or tell wrongly.
    reorder : float [s]
        How long a missing message is waited for before the node is asked for a rebirth.
    settle : float [s]
        How long after connecting births are waited for before a tag is said to be unknown.
    **access
        ``port``, ``tls``, ``ca``, ``certificate``, ``key``, ``user``, ``password``,
        ``keepalive`` and ``timeout`` of `Broker`.
    queue : int
        Samples that one subscription may hold back.

    Notes
    -----
    A tag is ``node/name`` or ``node/device/name``. On the death of a node or device, and when the
    broker is lost, its tags get a bad sample (BadNoCommunication) at that time. Values that a node
    kept while the way was broken come marked ``historical`` and never change the present value;
    those that had come before are dropped.
    """

    def __init__(
        self,
        broker: str,
        group: str,
        host_id: str = "galenic",
        *,
        nodes: Sequence[str] = (),
        root: str = "",
        tags: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
        reorder: float = 2.0,
        settle: float = 2.0,
        queue: int = 100_000,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        name: str = "sparkplug",
        **access: Unpack[Access],
    ) -> None:
        if not (reorder > 0 and settle >= 0):
            raise DataError(
                f"reorder {reorder!r} s and settle {settle!r} s", where=f"connection {name}",
                expected="reorder above 0, settle 0 or above",
            )  # fmt: skip
        self.name = name
        self.clock = clock or SystemClock()
        self.broker = Broker.of(broker, f"galenic-host-{check_id(host_id, 'host id')}", **access)
        self.group = check_id(group, "group id")
        self.host_id = host_id
        self.nodes = tuple(check_id(node, "node id") for node in nodes)
        self.repeated = 0
        self.tally = Tally()
        self._root = f"{root.strip('/')}/" if root else ""
        self._explicit = {address.strip("/"): tag for tag, address in (tags or {}).items()}
        self._units = dict(units or {})
        self._reorder, self._settle = reorder, settle
        self._supervisor = Supervisor(name, self._dial, self.clock, backoff)
        self._feeds = Feeds(name, queue)
        self._sessions: dict[str, NodeSession] = {}
        self._places: dict[str, tuple[NodeSession, Known]] = {}
        self._names: dict[str, str] = {}
        self._warnings: OrderedDict[str, None] = OrderedDict()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._answers: dict[str, list[asyncio.Queue[Answer]]] = {}
        self._changed = asyncio.Event()
        self._connected_at = 0.0
        self._state_time = 0
        self._orders: asyncio.Queue[tuple[str, bytes, int, bool]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect; ConnectionLost if the broker is not there now, while attempts go on."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._watch())]
        await self._supervisor.open()

    async def close(self) -> None:
        """Tell that we go, end every subscription and the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._supervisor.connected:
            try:
                line = await self._line()
                gone = state_payload(False, self._state_time)
                await line.publish(state_topic(self.host_id), gone, qos=1, retain=True)
            except ConnectionLost as error:
                log.debug("connection %s: state not told: %s", self.name, error.found)
        await self._supervisor.close()
        self._lose_all("closed")
        self._feeds.close()
        self._changed.set()

    def subscribe(self, tags: Sequence[str]) -> AsyncIterator[list[Sample]]:
        """Batches of samples, one per message; the latest known of each tag comes first."""
        if not self._supervisor.is_open:
            raise not_open(self.name)
        return self._batches(list(dict.fromkeys(tags)))

    async def read(self, tags: Sequence[str]) -> list[Sample]:
        """The latest sample of each tag; bad with BadWaitingForInitialData before one."""
        await self._line()
        await self._find(tags, self._settle)
        return [self._feeds.latest.get(tag) or self._nothing_yet(tag) for tag in tags]

    async def browse(self) -> list[TagInfo]:
        """Every scalar metric of every node born so far, by name."""
        await self._line()
        while not self._settled():
            if not await self._change(self._settle_left()):
                break
        return [self._info(tag) for tag in sorted({*self._places, *self._explicit.values()})]

    async def write(self, tag: str, value: Value, unit: str = "", key: str = "") -> Receipt:
        """Send a command, and wait for the value in the node's data; see `Receipt.outcome`.

        ``done``: the value came back. ``failed``: not sent, refused, or another value came back
        and stayed. ``unknown``: nothing came back. A node that reports only changes is asked for
        a rebirth before that is said.
        """
        try:
            line = await self._line()
            await self._find([tag], self._settle)
        except ConnectionLost as error:
            return self._receipt(key, tag, FAILED, None, f"not sent: {error.found}")
        place = self._places.get(tag)
        if place is None or not self._is_alive(*place):
            return self._receipt(key, tag, FAILED, None, "not sent: its node or device is offline")
        session, known = place
        info = self._info(tag)
        if not info.writable:
            return self._receipt(key, tag, FAILED, None, f"BadNotWritable 0x{BAD_NOT_WRITABLE:08X}")
        try:
            accepted = prepare_write(info, value, unit)
            message = self._command(known, accepted)
        except GalenicError as error:
            return refusal(key, tag, self.clock.now(), error)
        return await self._perform(line, session, known, tag, key, accepted, message)

    @property
    def status(self) -> ConnectorStatus:
        """The connection now: attempts, reason, queues, gaps; warnings name nodes offline."""
        state = self._supervisor
        offline = [
            f"node {self.group}/{node} is offline"
            for node in dict.fromkeys((*self.nodes, *self._nodes_seen()))
            if not self._is_born(node)
        ]
        warnings = [*offline, *self._warnings]
        if not self.broker.tls:
            warnings.append("the connection is not encrypted")
        return ConnectorStatus(
            state.connected, state.since, state.attempts, state.reason,
            self._feeds.queue, self._feeds.gaps, tuple(warnings),
        )  # fmt: skip

    # -- connection -----------------------------------------------------------------------------

    async def _line(self, wait: float = 0.0) -> MqttLine:
        line = await self._supervisor.line(wait)
        assert isinstance(line, MqttLine)
        return line

    async def _dial(self) -> MqttLine:
        """Connect in the order of the specification: will, subscriptions, our state."""
        self._lose_all("connection lost")
        self._state_time = max(self.clock.now() // MILLISECOND, self._state_time + 1)
        topic = state_topic(self.host_id)
        will = Will(topic, state_payload(False, self._state_time), qos=1, retain=True)
        line = await MqttLine.dial(self.broker, self._receive, will=will)
        try:
            while not self._orders.empty():
                self._orders.get_nowait()
            await line.subscribe([(f"{NAMESPACE}/{self.group}/#", 0), (topic, 1)])
            self._tell_state()
            for node in dict.fromkeys((*self.nodes, *self._nodes_seen())):
                if not self._is_born(node):
                    self._ask(node, "")
        except BaseException:
            await line.hang_up()
            raise
        self._connected_at = time.monotonic()
        return line

    def _tell_state(self) -> None:
        online = state_payload(True, self._state_time)
        self._orders.put_nowait((state_topic(self.host_id), online, 1, True))

    async def _send(self) -> None:
        """Send what was ordered, one after the other."""
        while True:
            order = await self._orders.get()
            try:
                line = await self._line(wait=self.broker.timeout)
                await line.publish(*order)
            except ConnectionLost as error:
                log.debug("connection %s: %s", self.name, error.found)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._reorder / 5)
            if not self._supervisor.connected:
                self._lose_all("connection lost")
                continue
            for session in list(self._sessions.values()):
                self._take(session, session.tick(self.clock.now(), time.monotonic()))

    def _lose_all(self, reason: str) -> None:
        now = self.clock.now()
        for session in self._sessions.values():
            if session.born:
                self._mark(session, reason, now)
                self._take(session, session.lose(now))

    def _mark(self, session: NodeSession, reason: str, now: int) -> None:
        """Open a gap for every tag of the node that somebody listens to."""
        own = {info.tag for info in session.tags}
        for tag in self._feeds.subscribed:
            if tag in own:
                self._feeds.miss(tag, now, reason)

    def _ask(self, node: str, why: str) -> None:
        """Order a rebirth request (Node Control/Rebirth, true)."""
        if why:
            log.info("connection %s: node %s is asked for a rebirth: %s", self.name, node, why)
        payload = Payload(timestamp=self.clock.now() // MILLISECOND)
        payload.metrics.add(
            name=REBIRTH, timestamp=payload.timestamp, datatype=BOOLEAN, boolean_value=True
        )
        topic = Topic(self.group, "NCMD", node)
        self._orders.put_nowait((str(topic), payload.SerializeToString(), 0, False))

    # -- messages -------------------------------------------------------------------------------

    def _receive(self, text: str, data: bytes, retained: bool) -> None:
        if text == state_topic(self.host_id):
            state = parse_state(data)
            if state is not None and not (state[0] or retained) and self._supervisor.is_open:
                self._tell_state()  # the will of an earlier connection, or a stranger's word
            return
        topic = Topic.parse(text)
        if topic is None or retained or topic.kind.endswith("CMD"):
            return
        try:
            payload = decode(data, text)
        except DataError as error:
            self._warn(f"{error.found}: {text}")
            now = self.clock.now()
            self.tally.dead(DeadLetter.of(self.name, now, error.found, data, text))
            return
        session = self._sessions.get(topic.node)
        if session is None:
            session = NodeSession(
                topic.source, lambda device, name: self._naming(topic.node, device, name),
                self._reorder,
            )  # fmt: skip
            self._sessions[topic.node] = session
        if topic.kind == "NDEATH" and session.born:
            before = self.clock.now()
            outcome = session.receive(topic, payload, before, time.monotonic())
            if not session.born:
                self._mark(session, "node died", before)
        else:
            outcome = session.receive(topic, payload, self.clock.now(), time.monotonic())
        self._take(session, outcome)

    def _take(self, session: NodeSession, outcome: Outcome) -> None:
        for text in outcome.warnings:
            self._warn(text)
        if outcome.missed:
            self._mark(session, "messages are missing", self.clock.now())
        if outcome.born:
            self._learn(session)
        if outcome.rebirth:
            self._ask(session.source.partition("/")[2], outcome.rebirth)
        samples = [sample for sample in outcome.samples if self._is_new(sample)]
        self._feeds.deliver(samples)
        if self._answers:
            for sample in samples:
                for queue in self._answers.get(sample.tag, ()) if not sample.historical else ():
                    queue.put_nowait((sample, ""))
            for tag, reason in outcome.refused.items():
                for queue in self._answers.get(tag, ()):
                    queue.put_nowait((None, reason))

    def _is_new(self, sample: Sample) -> bool:
        """Whether a historical sample has not come before; others are remembered."""
        key = f"{sample.tag}\0{sample.key}"
        if sample.historical and key in self._seen:
            self.repeated += 1
            self._feeds.overlap(sample)
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True

    def _learn(self, session: NodeSession) -> None:
        """Keep where each tag lives; two metrics of one name are told, and the first wins."""
        self._places = {t: place for t, place in self._places.items() if place[0] is not session}
        for known in session.known.values():
            for info in known.tags:
                if info.tag in self._places:
                    self._warn(f"two metrics have the name {info.tag}: set tags to tell them apart")
                    continue
                self._places[info.tag] = (session, known)
        self._changed.set()

    def _naming(self, node: str, device: str, name: str) -> TagInfo | None:
        address = "/".join(part for part in (node, device, name) if part)
        tag = self._explicit.get(address)
        if tag is None:
            if not address.startswith(self._root):
                return None
            tag = address[len(self._root) :]
        return TagInfo(tag, self._units.get(tag, ""))

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            log.warning("connection %s: %s", self.name, text)
            self._warnings[text] = None
            if len(self._warnings) > MOST_WARNINGS:
                self._warnings.popitem(last=False)

    # -- tags -----------------------------------------------------------------------------------

    def _nodes_seen(self) -> list[str]:
        return list(self._sessions)

    def _is_born(self, node: str) -> bool:
        session = self._sessions.get(node)
        return session is not None and session.born

    @staticmethod
    def _is_alive(session: NodeSession, known: Known) -> bool:
        return session.born and (not known.device or known.device in session.devices)

    def _info(self, tag: str) -> TagInfo:
        place = self._places.get(tag)
        if place is None:
            return TagInfo(tag, self._units.get(tag, ""))
        return next(info for info in place[1].tags if info.tag == tag)

    def _settle_left(self) -> float:
        return self._connected_at + self._settle - time.monotonic()

    def _settled(self) -> bool:
        """Whether a tag that is not known now does not exist."""
        if not self._supervisor.connected:
            return False
        if self.nodes:
            return all(self._is_born(node) for node in self.nodes)
        return self._settle_left() <= 0

    async def _find(self, tags: Sequence[str], wait: float) -> None:
        """Return when ``tags`` are known; UnknownName where they cannot be.

        ConnectionLost after ``wait`` [s] for tags that a node not yet born may have.
        """
        until = time.monotonic() + wait
        while True:
            known = {*self._places, *self._explicit.values()}
            missing = [tag for tag in tags if tag not in known]
            if not missing:
                return
            if not self._supervisor.is_open:
                raise not_open(self.name)
            if self._settled():
                raise UnknownName.among("tag", missing[0], known, where=f"group {self.group}")
            left = until - time.monotonic()
            if left <= 0 and (self.nodes or not self._supervisor.connected):
                raise ConnectionLost(
                    f"tag {missing[0]!r} is not known yet", where=f"group {self.group}",
                    hint="; ".join(self.status.warnings[:3]),
                )  # fmt: skip
            await self._change(max(0.01, min(left, 0.25) if left > 0 else 0.05))

    async def _change(self, wait: float) -> bool:
        """Wait for new tags, at most ``wait`` [s]."""
        self._changed.clear()
        try:
            async with asyncio.timeout(max(wait, 0.0)):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _batches(self, tags: list[str]) -> AsyncIterator[list[Sample]]:
        try:
            await self._find(tags, math.inf)
        except ConnectionLost:
            if not self._supervisor.is_open:
                return
            raise
        async for batch in self._feeds.batches(self._feeds.add(tags)):
            yield batch

    def _nothing_yet(self, tag: str) -> Sample:
        now = self.clock.now()
        code = BAD_WAITING_FOR_INITIAL_DATA
        return Sample(tag, None, self._info(tag).unit, now, now, Quality.BAD, code)

    # -- writes ---------------------------------------------------------------------------------

    def _command(self, known: Known, value: Value) -> bytes:
        """The command; a node that gave an alias gets it instead of the name.

        It carries the data type, which the specification advises against: the JavaScript stack of
        Eclipse Tahu cannot read a value without it.
        """
        now = self.clock.now() // MILLISECOND
        payload = Payload(timestamp=now)
        metric = payload.metrics.add(timestamp=now)
        if known.alias is None:
            metric.name = known.name
        else:
            metric.alias = known.alias
        metric.datatype = known.kind.code
        set_value(metric, value, known.kind)
        data: bytes = payload.SerializeToString()
        return data

    async def _perform(
        self, line: MqttLine, session: NodeSession, known: Known, tag: str, key: str,
        value: Value, message: bytes,
    ) -> Receipt:  # fmt: skip
        node = session.source.partition("/")[2]
        topic = Topic(self.group, "DCMD" if known.device else "NCMD", node, known.device)
        answers: asyncio.Queue[Answer] = asyncio.Queue()
        self._answers.setdefault(tag, []).append(answers)
        try:
            await line.publish(str(topic), message)
            found = await self._answer(answers, value, known.kind.name == "Float")
            if found is None:
                self._ask(node, "read a write back")
                found = await self._answer(answers, value, known.kind.name == "Float")
        except ConnectionLost as error:
            return self._receipt(key, tag, UNKNOWN, None, error.found)
        finally:
            self._answers[tag].remove(answers)
            if not self._answers[tag]:
                del self._answers[tag]
        if found is None:
            limit = 2 * self.broker.timeout
            return self._receipt(key, tag, UNKNOWN, None, f"write: no answer within {limit:g} s")
        outcome, held, detail = found
        return self._receipt(key, tag, outcome, held, detail)

    async def _answer(
        self, answers: asyncio.Queue[Answer], asked: Value, single: bool
    ) -> tuple[str, Value | None, str] | None:
        """Outcome, value held and detail; None where nothing came within the time limit."""
        last: tuple[str, Value | None, str] | None = None
        try:
            async with asyncio.timeout(self.broker.timeout):
                while True:
                    sample, reason = await answers.get()
                    if sample is None:
                        return FAILED, None, reason
                    if sample.status == BAD_NO_COMMUNICATION:
                        return UNKNOWN, None, "the node went offline before it answered"
                    if _same(sample.value, asked, single):
                        return DONE, sample.value, ""
                    wrong = f"read back {sample.value!r} instead of {asked!r}"
                    last = FAILED, sample.value, wrong
        except TimeoutError:
            return last

    def _receipt(
        self, key: str, tag: str, outcome: str, held: Value | None, detail: str
    ) -> Receipt:
        return Receipt(key, tag, outcome, self.clock.now(), held, detail)


def _same(held: Value | None, asked: Value, single: bool) -> bool:
    """Whether a value read back is the one written; a Float keeps seven digits."""
    if isinstance(held, (bool, str)) or isinstance(asked, (bool, str)) or held is None:
        return held == asked
    return math.isclose(held, asked, rel_tol=1e-6 if single else 0.0)
