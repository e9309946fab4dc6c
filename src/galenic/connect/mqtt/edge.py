"""The Sparkplug B edge node: publishes tags, stores while nobody listens, forwards afterwards."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Unpack

from galenic.clock import Clock, SystemClock
from galenic.connect.connector import (
    BAD_NOT_WRITABLE,
    BAD_WAITING_FOR_INITIAL_DATA,
    FAILED,
    TagInfo,
    Value,
    WriteResult,
    require_tags,
)
from galenic.connect.mqtt.line import Access, Broker, MqttLine, Will
from galenic.connect.mqtt.outbox import Outbox, Row
from galenic.connect.mqtt.payload import Metric, Payload, decode
from galenic.connect.mqtt.session import BDSEQ, REBIRTH, TURN
from galenic.connect.mqtt.topic import Topic, check_id, parse_state, state_topic
from galenic.connect.mqtt.values import (
    BOOLEAN,
    DESCRIPTION,
    MILLISECOND,
    REFUSED,
    TYPE_OF_TAG,
    UNIT,
    WRITABLE,
    data_type,
    set_properties,
    to_metric,
    value_of,
)
from galenic.connect.reconnect import Backoff, Supervisor
from galenic.errors import ConnectionLost, DataError, GalenicError
from galenic.signals import Quality, Sample

log = logging.getLogger(__name__)

WriteHandler = Callable[[str, Value, str, int], WriteResult | Awaitable[WriteResult]]
BDSEQ_TYPE = 8
ROWS = 1000  # per look into the outbox
METRICS = 250  # per message
PAUSE = 0.2


@dataclass(frozen=True)
class EdgeStatus:
    """How the node is doing.

    ``waiting`` samples are on disk and not sent yet, of at most ``capacity``; ``lost`` ones
    overflowed, ever. ``online`` is whether births were sent and data flow.
    """

    connected: bool
    online: bool
    reason: str
    waiting: int
    capacity: int
    lost: int
    resent: int
    sequence: int


@dataclass(frozen=True)
class _Place:
    """Where a tag is published: alias over the whole node, name within its device."""

    info: TagInfo
    device: str
    name: str
    alias: int

    @property
    def code(self) -> int:
        return TYPE_OF_TAG[self.info.type]

    @property
    def tag(self) -> str:
        return f"{self.device}/{self.name}" if self.device else self.name


class EdgeNode:
    """Publishes samples of a tag table as a Sparkplug B edge node.

    Parameters
    ----------
    broker : str
        Name or address of the MQTT broker.
    group, node : str
        Group id and edge node id.
    tags : sequence of TagInfo
        The node's own metrics.
    devices : mapping
        Metrics of devices by device id; their tags are ``device/tag`` in `publish` and writes.
    outbox : path
        File that keeps samples until they have been delivered.
    primary_host : str
        Host application for which samples are kept while it is offline; empty to publish always.
    on_write : callable, optional
        ``on_write(tag, value, unit, time) -> WriteResult``, or an awaitable of one, performs a
        command. Without it every command is refused.
    capacity : int
        Samples that the outbox may hold; then the oldest are lost and counted.
    resend : float [s]
        What was sent this long before an interruption was noticed is sent again, historical. Must
        be longer than the broker takes to notice that a host died: 1.5 times its keep-alive.
    **access
        ``port``, ``tls``, ``ca``, ``certificate``, ``key``, ``user``, ``password``,
        ``keepalive`` and ``timeout`` of `Broker`.

    Notes
    -----
    Data travel with QoS 0, as the specification demands, so what was on its way when a connection
    broke is lost in the network. This node therefore sends the last ``resend`` seconds again when
    a connection, its host's state or a rebirth request says that something was missed. The same
    sample has the same key, so that the host drops what it has.
    """

    def __init__(
        self,
        broker: str,
        group: str,
        node: str,
        tags: Sequence[TagInfo],
        *,
        outbox: str | Path,
        devices: Mapping[str, Sequence[TagInfo]] | None = None,
        primary_host: str = "",
        on_write: WriteHandler | None = None,
        capacity: int = 1_000_000,
        resend: float = 60.0,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        name: str = "",
        **access: Unpack[Access],
    ) -> None:
        self.name = name or f"{group}/{node}"
        if capacity < 1 or resend < 0:
            raise DataError(
                f"capacity {capacity!r} and resend {resend!r} s", where=f"edge node {self.name}",
                expected="capacity 1 or more, resend 0 or above",
            )  # fmt: skip
        self.group, self.node = check_id(group, "group id"), check_id(node, "node id")
        self.broker = Broker.of(broker, f"galenic-edge-{group}-{node}", **access)
        self.primary_host = check_id(primary_host, "host id") if primary_host else ""
        self.clock = clock or SystemClock()
        self.resent = 0
        self._path, self._capacity, self._resend = Path(outbox), capacity, resend
        self._on_write = on_write
        self._places = _places(tags, devices or {})
        self._aliases = {place.alias: place for place in self._places.values()}
        self._devices = dict.fromkeys(devices or {}, True)
        self._supervisor = Supervisor(self.name, self._dial, self.clock, backoff)
        self._outbox: Outbox | None = None
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._line: MqttLine | None = None
        self._wake = asyncio.Event()
        self._commands: asyncio.Queue[tuple[_Place | None, Any]] = asyncio.Queue()
        self._answers: list[tuple[_Place, str]] = []
        self._device_changes: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._lock = asyncio.Lock()
        self._born = False
        self._bdseq = self._seq = 0
        self._boundaries: dict[str, int] = {}
        self._host_online, self._host_time = not primary_host, -1
        self._drained = asyncio.Condition()

    async def open(self) -> None:
        """Connect; ConnectionLost if the broker is not there now, while attempts go on.

        Also then samples can be published: they wait in the outbox.
        """
        if self._outbox is None:
            self._outbox = Outbox(self._path, self._capacity, self.name)
            for row in self._outbox.newest():
                self._latest.setdefault(row.tag, (row.time, row.metric))
            self._tasks = [asyncio.create_task(self._pump()), asyncio.create_task(self._obey())]
        await self._supervisor.open()

    async def close(self) -> None:
        """Say that we go (NDEATH), disconnect, keep the rest for the next time."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._born and self._line is not None and self._supervisor.connected:
            await self._die(self._line)
        await self._supervisor.close()
        self._born = False
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None

    async def __aenter__(self) -> EdgeNode:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def publish(self, samples: Iterable[Sample]) -> None:
        """Keep ``samples`` on disk, then send them as soon as somebody listens.

        A sample that its tag cannot hold raises DataError, and none is taken.
        """
        given = list(samples)
        require_tags((sample.tag for sample in given), self._places, self.name)
        rows = []
        for sample in given:
            place = self._places[sample.tag]
            rows.append((place.device, sample.tag, sample.source_time, _message(sample, place)))
        box = self._box()
        async with self._lock:
            settled = time.monotonic() - self._resend
            await asyncio.to_thread(box.append, rows, settled)
            for sample, row in zip(given, rows, strict=True):
                held = self._latest.get(sample.tag)
                if not sample.historical and (held is None or sample.source_time >= held[0]):
                    self._latest[sample.tag] = (sample.source_time, row[3])
        self._wake.set()

    async def set_device(self, device: str, online: bool) -> None:
        """Tell that a device is there (DBIRTH) or gone (DDEATH)."""
        require_tags([device], self._devices, f"devices of {self.name}")
        if self._devices[device] != online:
            self._devices[device] = online
            self._device_changes.append(device)
            self._wake.set()

    async def drain(self) -> None:
        """Return when everything published so far has been sent."""
        async with self._drained:
            await self._drained.wait_for(
                lambda: self._outbox is None or (self._born and self._outbox.waiting == 0)
            )

    @property
    def status(self) -> EdgeStatus:
        """The node now."""
        box, state = self._outbox, self._supervisor
        reason = state.reason
        if state.connected and not self._host_online:
            reason = f"primary host {self.primary_host} is offline"
        return EdgeStatus(
            state.connected, state.connected and self._born, reason, box.waiting if box else 0,
            self._capacity, box.lost if box else 0, self.resent, self._bdseq,
        )  # fmt: skip

    # -- connection -----------------------------------------------------------------------------

    def _box(self) -> Outbox:
        if self._outbox is None:
            raise ConnectionLost(f"edge node {self.name!r} is not open", hint="call open() first")
        return self._outbox

    async def _dial(self) -> MqttLine:
        """Connect with a death of the next number as the will; births follow when wanted."""
        self._interrupt()
        box = self._box()
        self._bdseq = box.fact("next bdSeq") % TURN
        box.keep("next bdSeq", (self._bdseq + 1) % TURN)
        self._host_online = not self.primary_host
        will = Will(str(Topic(self.group, "NDEATH", self.node)), self._death())
        line = await MqttLine.dial(self.broker, self._receive, will=will)
        try:
            commands = [
                (str(Topic(self.group, "NCMD", self.node)), 1),
                (str(Topic(self.group, "DCMD", self.node, "+")), 1),
            ]
            state = [(state_topic(self.primary_host), 1)] if self.primary_host else []
            await line.subscribe(commands + state)
        except BaseException:
            await line.hang_up()
            raise
        self._line, self._seq = line, 0
        self._wake.set()
        return line

    def _interrupt(self) -> None:
        """What was sent lately may not have arrived: it waits again."""
        self._born = False
        if self._outbox is not None:
            self.resent += self._outbox.reopen(time.monotonic() - self._resend)

    def _death(self) -> bytes:
        now = self.clock.now() // MILLISECOND
        payload = Payload(timestamp=now)
        payload.metrics.add(name=BDSEQ, timestamp=now, datatype=BDSEQ_TYPE, long_value=self._bdseq)
        data: bytes = payload.SerializeToString()
        return data

    async def _die(self, line: MqttLine) -> None:
        try:
            await line.publish(str(Topic(self.group, "NDEATH", self.node)), self._death(), qos=1)
        except ConnectionLost as error:
            log.debug("edge node %s: death not told: %s", self.name, error.found)

    # -- messages in ----------------------------------------------------------------------------

    def _receive(self, text: str, data: bytes, retained: bool) -> None:
        if self.primary_host and text == state_topic(self.primary_host):
            self._hear_host(data)
            return
        topic = Topic.parse(text)
        if topic is None or retained:
            return
        try:
            payload = decode(data, text)
        except DataError as error:
            log.warning("edge node %s: %s: %s", self.name, error.found, text)
            return
        for metric in payload.metrics:
            if not topic.device and metric.name == REBIRTH:
                if metric.boolean_value:
                    self._interrupt()
                    self._wake.set()
                continue
            self._commands.put_nowait((self._find(topic.device, metric), metric))

    def _hear_host(self, data: bytes) -> None:
        """Follow the primary host's state; one older than the last known is ignored."""
        state = parse_state(data)
        if state is None or state[1] < self._host_time:
            return
        online, told = state
        restarted = online and told > self._host_time and self._born
        self._host_online, self._host_time = online, told
        if restarted or (self._born and not online):
            self._interrupt()
        self._wake.set()

    def _find(self, device: str, metric: Any) -> _Place | None:
        if metric.name:
            return self._places.get(f"{device}/{metric.name}" if device else metric.name)
        return self._aliases.get(metric.alias)

    async def _obey(self) -> None:
        """Perform commands one after the other, and answer each."""
        while True:
            place, metric = await self._commands.get()
            if place is None:
                name = metric.name or f"alias {metric.alias}"
                log.warning("edge node %s: a command for %s, which is no tag", self.name, name)
                continue
            try:
                reason = await self._perform(place, metric)
            except Exception as error:  # a handler of a stranger may raise anything
                log.warning(
                    "edge node %s: write of %s failed: %s", self.name, place.info.tag, error
                )
                reason = str(error).replace("\n", ";") or type(error).__name__
            if reason:
                self._answers.append((place, reason))
                self._wake.set()

    async def _perform(self, place: _Place, metric: Any) -> str:
        """Why the command was refused; empty when it was done and the value held is published."""
        info, now = place.info, self.clock.now()
        if self._on_write is None or not info.writable:
            return f"BadNotWritable 0x{BAD_NOT_WRITABLE:08X}"
        try:
            value = value_of(metric, data_type(place.code))
            if value is None or isinstance(value, tuple):
                raise DataError("no value", expected=f"a {info.type}")
            accepted = info.accept(value)
        except GalenicError as error:
            return str(error).replace("\n", ";")
        result = self._on_write(place.tag, accepted, info.unit, now)
        if inspect.isawaitable(result):
            result = await result
        if result.outcome == FAILED:
            return f"0x{result.status:08X} {result.detail}".strip()
        held = accepted if result.read_back is None else result.read_back
        await self.publish([Sample(place.tag, held, info.unit, now, now)])
        return ""

    # -- messages out ---------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Send whatever is due, in one place, so that the sequence numbers are in order."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while await self._step():
                    pass
            except ConnectionLost as error:
                log.debug("edge node %s: %s", self.name, error.found)
            except GalenicError as error:
                log.warning("edge node %s: %s", self.name, error)
                await asyncio.sleep(PAUSE)
                self._wake.set()

    async def _step(self) -> bool:
        """One thing that is due; False when nothing is, or nothing can be sent."""
        line, box = self._line, self._box()
        if line is None or line.is_lost:
            return False
        if not self._host_online:
            if self._seq:
                await self._leave(line)
            return False
        if not self._born:
            await self._give_birth(line)
            return True
        if self._device_changes:
            await self._change_device(line, self._device_changes.pop(0))
            return True
        if self._answers:
            await self._refuse(line, *self._answers.pop(0))
            return True
        silent = [device for device, online in self._devices.items() if not online]
        rows = await asyncio.to_thread(box.pending, self._boundaries[""], ROWS, silent)
        for device, run in groupby(rows, key=lambda row: row.device):
            await self._send_rows(line, device, list(run))
        async with self._drained:
            self._drained.notify_all()
        return bool(rows)

    async def _leave(self, line: MqttLine) -> None:
        """The primary host is gone: die, disconnect, and wait on a new connection."""
        self._seq = 0
        await self._die(line)
        line.drop(f"primary host {self.primary_host} is offline")

    async def _give_birth(self, line: MqttLine) -> None:
        """The node's birth and those of its devices: what is there now, and was told before."""
        self._born, self._seq = True, 0
        self._device_changes.clear()
        async with self._lock:
            now = self.clock.now()
            ms = now // MILLISECOND
            payload = Payload(timestamp=ms)
            payload.metrics.add(
                name=BDSEQ, timestamp=ms, datatype=BDSEQ_TYPE, long_value=self._bdseq
            )
            payload.metrics.add(name=REBIRTH, timestamp=ms, datatype=BOOLEAN, boolean_value=False)
            payload.metrics.extend(self._born_metrics("", now))
            self._boundaries[""] = self._box().last
        await self._publish(line, "NBIRTH", "", payload)
        for device, online in self._devices.items():
            if online:
                await self._device_birth(line, device)

    async def _device_birth(self, line: MqttLine, device: str) -> None:
        async with self._lock:
            now = self.clock.now()
            metrics = self._born_metrics(device, now)
            self._boundaries[device] = self._box().last
        payload = Payload(timestamp=now // MILLISECOND, metrics=metrics)
        await self._publish(line, "DBIRTH", device, payload)

    def _born_metrics(self, device: str, now: int) -> list[Any]:
        """Every metric of a device with its data type, properties and latest value."""
        metrics = []
        for tag, place in self._places.items():
            if place.device != device:
                continue
            held = self._latest.get(tag)
            if held is None:
                code = BAD_WAITING_FOR_INITIAL_DATA
                nothing = Sample(tag, None, "", now, now, Quality.BAD, code)
                metric = to_metric(nothing, place.code)
            else:
                metric = Metric.FromString(held[1])
                metric.ClearField("is_historical")
            metric.name, metric.alias, metric.datatype = place.name, place.alias, place.code
            set_properties(metric, _described(place.info))
            metrics.append(metric)
        return metrics

    async def _change_device(self, line: MqttLine, device: str) -> None:
        if self._devices[device]:
            await self._device_birth(line, device)
        else:
            payload = Payload(timestamp=self.clock.now() // MILLISECOND)
            await self._publish(line, "DDEATH", device, payload)

    async def _refuse(self, line: MqttLine, place: _Place, reason: str) -> None:
        """Answer a command that was not performed with the value held, and why."""
        held = self._latest.get(place.tag)
        metric = Metric.FromString(held[1]) if held else Metric(is_null=True)
        metric.alias = place.alias
        set_properties(metric, {REFUSED: reason})
        payload = Payload(timestamp=self.clock.now() // MILLISECOND, metrics=[metric])
        await self._publish(line, "DDATA" if place.device else "NDATA", place.device, payload)

    async def _send_rows(self, line: MqttLine, device: str, rows: list[Row]) -> None:
        """Send rows of one device, and mark them unless the way was interrupted meanwhile."""
        box = self._box()
        for first in range(0, len(rows), METRICS):
            part = rows[first : first + METRICS]
            known = [row for row in part if row.tag in self._places]
            if len(known) < len(part):
                strange = sorted({row.tag for row in part} - set(self._places))
                log.warning("edge node %s: no tags now, dropped: %s", self.name, ", ".join(strange))
            if not self._born or not self._devices.get(device, True):
                return
            if known:
                await self._send_metrics(line, device, known)
            if self._born:
                numbers = [row.id for row in part]
                await asyncio.to_thread(box.mark, numbers, time.monotonic())

    async def _send_metrics(self, line: MqttLine, device: str, rows: list[Row]) -> None:
        payload = Payload(timestamp=self.clock.now() // MILLISECOND)
        for row in rows:
            metric = payload.metrics.add()
            metric.ParseFromString(row.metric)
            metric.alias = self._places[row.tag].alias
            if row.id <= self._boundaries[device]:
                metric.is_historical = True
        await self._publish(line, "DDATA" if device else "NDATA", device, payload)

    async def _publish(self, line: MqttLine, kind: str, device: str, payload: Any) -> None:
        payload.seq = self._seq % TURN
        self._seq += 1
        topic = Topic(self.group, kind, self.node, device)
        await line.publish(str(topic), payload.SerializeToString())


def _places(tags: Sequence[TagInfo], devices: Mapping[str, Sequence[TagInfo]]) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    groups = [
        ("", tags),
        *((check_id(name, "device id"), infos) for name, infos in devices.items()),
    ]
    for device, infos in groups:
        for info in infos:
            tag = f"{device}/{info.tag}" if device else info.tag
            if tag in places or (not device and info.tag in (BDSEQ, REBIRTH)):
                raise DataError(f"tag {tag!r} is given twice or reserved", where="edge node")
            places[tag] = _Place(info, device, info.tag, len(places) + 1)
    return places


def _described(info: TagInfo) -> dict[str, Value]:
    properties: dict[str, Value] = {}
    if info.unit:
        properties[UNIT] = info.unit
    if info.description:
        properties[DESCRIPTION] = info.description
    properties[WRITABLE] = info.writable
    return properties


def _message(sample: Sample, place: _Place) -> bytes:
    """The metric of a sample, without its alias."""
    if sample.unit and place.info.unit and sample.unit != place.info.unit:
        raise DataError(
            f"a value in {sample.unit!r}", where=f"tag {sample.tag}", expected=place.info.unit
        )
    try:
        data: bytes = to_metric(sample, place.code).SerializeToString()
    except DataError as error:
        error.where = f"tag {sample.tag}"
        raise
    return data
