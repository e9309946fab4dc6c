"""Plain MQTT topics as tags: numbers, words or JSON, without a standard of their meaning."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Unpack

from galenic.clock import Clock, read_stamp
from galenic.connect.connector import (
    BAD_TYPE_MISMATCH,
    DONE,
    FAILED,
    UNKNOWN,
    TagInfo,
    Value,
    clean_value,
)
from galenic.connect.fed import Fed
from galenic.connect.mqtt.line import Access, Broker, MqttLine
from galenic.connect.reconnect import Backoff
from galenic.connect.tally import DeadLetter
from galenic.errors import ConnectionLost, DataError, UnknownName
from galenic.signals import Quality, Receipt, Sample

log = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS_OF_TIME = {"unix": 1_000_000_000, "unix_ms": 1_000_000, "unix_us": 1000, "unix_ns": 1}
FORMATS = ("iso", *UNITS_OF_TIME)
ARRIVAL = "arrival"
LARGEST = 1 << 64  # integers of 64 bits, with or without sign; int64 ns of time are half of it
LAST_USABLE = 0x40900000  # OPC UA UncertainLastUsableValue
QUALITIES = {"good": Quality.GOOD, "uncertain": Quality.UNCERTAIN, "bad": Quality.BAD}
TRUE, FALSE = ("true", "on", "1"), ("false", "off", "0")


@dataclass(frozen=True)
class TopicTag:
    """What a topic means.

    Parameters
    ----------
    topic : str
        Topic name, without wildcards.
    unit : str
        Unit of the value.
    type : str
        ``float``, ``int``, ``bool`` or ``str``.
    value : str
        Where the value is in a JSON message, as ``reading.temperature`` or ``channels.0``; empty
        where the message is the value itself.
    time : str
        Where the source time is; ``arrival`` takes the time of arrival for it; empty: the time of
        arrival, and the quality is at most uncertain.
    format : str
        Of the time: ``iso`` (with offset), ``unix``, ``unix_ms``, ``unix_us`` or ``unix_ns``.
    quality : str
        Where the quality is (``good``, ``uncertain``, ``bad``); empty where there is none.
    write : str
        Topic that takes writes, as a plain value; empty where there is none.
    description : str
        Meaning in words.
    """

    topic: str
    unit: str = ""
    type: str = "float"
    value: str = ""
    time: str = ""
    format: str = "iso"
    quality: str = ""
    write: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        for topic in (self.topic, self.write):
            if (not topic and topic is self.topic) or any(sign in topic for sign in "+#\0"):
                raise DataError(f"{topic!r} is no topic", expected="a topic without + and #")
        if self.format not in FORMATS:
            raise UnknownName.among("format of time", self.format, FORMATS, where=self.topic)

    @classmethod
    def of(cls, source: TopicTag | str | Mapping[str, Any], where: str) -> TopicTag:
        """From a topic alone, or from plain values as of TOML; mistyped names are refused."""
        if isinstance(source, TopicTag):
            return source
        if isinstance(source, str):
            return cls(source)
        known = [f.name for f in fields(cls)]
        for name in source:
            if name not in known:
                raise UnknownName.among("setting", name, known, where=where)
        if "topic" not in source:
            raise DataError("the topic is not named", where=where, hint='add topic = "..."')
        return cls(**source)

    def info(self, tag: str) -> TagInfo:
        """As a tag."""
        return TagInfo(tag, self.unit, bool(self.write), self.description, self.type)

    def read(self, tag: str, payload: bytes, received: int, retained: bool) -> Sample:
        """The sample in a message; DataError says what cannot be read.

        A retained message without a time of its own is uncertain: nobody knows how old it is.
        """
        content: Any = None
        if self.value or self.quality or self.time not in ("", ARRIVAL):
            content = _json(payload)
        found = _at(content, self.value) if self.value else _plain(payload, self.type)
        value, usable = clean_value(_typed(found, self.type))
        quality = Quality.GOOD if usable else Quality.BAD
        status = 0
        if self.quality:
            word = str(_at(content, self.quality)).lower()
            if word not in QUALITIES:
                raise DataError(f"quality {word!r}", expected=", ".join(QUALITIES))
            status = QUALITIES[word] << 30
            quality = max(quality, QUALITIES[word])
        time = received
        if self.time not in ("", ARRIVAL):
            time = _time(_at(content, self.time), self.format)
        elif retained:
            quality, status = max(quality, Quality.UNCERTAIN), status or LAST_USABLE
        elif not self.time:
            quality = max(quality, Quality.UNCERTAIN)
        return Sample(tag, value, self.unit, time, received, quality, status)


class MqttConnector(Fed[MqttLine]):
    """Topics of an MQTT broker as tags; comes back by itself.

    Parameters
    ----------
    broker : str
        Name or address of the MQTT broker.
    tags : mapping
        By tag: a topic, or a table with the fields of `TopicTag`.
    qos : int
        Asked of the broker for every topic: 0 or 1.
    session : int [s]
        How long the broker keeps messages of QoS 1 for us after a loss; 0 for not at all. Needs a
        ``client`` identifier that stays the same.
    client : str
        Client identifier; made up when empty.
    **access
        ``port``, ``tls``, ``ca``, ``certificate``, ``key``, ``user``, ``password``,
        ``keepalive`` and ``timeout`` of `Broker`.
    queue : int
        Samples that one subscription may hold back.
    """

    def __init__(
        self,
        broker: str,
        tags: Mapping[str, Any],
        *,
        qos: int = 1,
        session: int = 0,
        client: str = "",
        queue: int = 100_000,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        name: str = "mqtt",
        **access: Unpack[Access],
    ) -> None:
        where = f"connection {name}"
        if qos not in (0, 1) or session < 0 or (session and not (client and qos)):
            raise DataError(
                f"qos {qos!r} with session {session!r} and client {client!r}", where=where,
                expected="qos 0 or 1; a session needs qos 1 and a client identifier",
            )  # fmt: skip
        self.topics = {tag: TopicTag.of(what, f"{where}, tag {tag}") for tag, what in tags.items()}
        self.qos, self.session = qos, session
        self.broker = Broker.of(broker, client or f"galenic-{uuid.uuid4().hex[:12]}", **access)
        self.rejected: dict[str, str] = {}
        infos = {tag: topic.info(tag) for tag, topic in self.topics.items()}
        super().__init__(name, infos, queue=queue, backoff=backoff, clock=clock)
        self._by_topic: dict[str, list[str]] = {}
        for tag, topic in self.topics.items():
            self._by_topic.setdefault(topic.topic, []).append(tag)
        self._answers: dict[str, list[asyncio.Queue[Sample]]] = {}
        self._ever = False

    async def write(self, tag: str, value: Value, unit: str = "", key: str = "") -> Receipt:
        """Publish to the tag's write topic, and wait for the value in its own.

        ``done``: the value came back. ``failed``: not sent, refused by the broker, or another
        value came back and stayed. ``unknown``: nothing came back.
        """
        ready = await self._ready_to_write(tag, value, unit, key)
        if isinstance(ready, Receipt):
            return ready
        line, accepted = ready
        answers: asyncio.Queue[Sample] = asyncio.Queue()
        self._answers.setdefault(tag, []).append(answers)
        try:
            await line.publish(self.topics[tag].write, _text(accepted), qos=1)
            outcome, held, detail = await self._answer(answers, accepted)
        except ConnectionLost as error:
            return self._receipt(key, tag, UNKNOWN, None, error.found)
        finally:
            self._answers[tag].remove(answers)
        return self._receipt(key, tag, outcome, held, detail)

    def _warnings(self) -> list[str]:
        """The messages that could not be read."""
        warnings = [f"{topic}: {reason}" for topic, reason in self.rejected.items()]
        if not self.broker.tls:
            warnings.append("the connection is not encrypted")
        return warnings

    async def _dial(self) -> MqttLine:
        line = await MqttLine.dial(self.broker, self._receive, session=self.session)
        try:
            await line.subscribe([(topic, self.qos) for topic in self._by_topic])
        except BaseException:
            await line.hang_up()
            raise
        if self._ever and not line.resumed:
            now = self.clock.now()
            for tag in self._feeds.subscribed:
                self._feeds.miss(tag, now, "connection lost")
        self._ever = True
        return line

    def _receive(self, topic: str, payload: bytes, retained: bool) -> None:
        now = self.clock.now()
        samples = []
        for tag in self._by_topic.get(topic, ()):
            info = self._infos[tag]
            try:
                sample = self.topics[tag].read(tag, payload, now, retained)
            except DataError as error:
                self._reject(topic, tag, f"{error.found}, expected {error.expected}", payload)
                sample = Sample(
                    tag, None, info.unit, now, now, Quality.BAD, BAD_TYPE_MISMATCH
                )  # fmt: skip
            samples.append(sample)
            for queue in self._answers.get(tag, ()) if not retained else ():
                queue.put_nowait(sample)
        self._feeds.deliver(samples)

    def _reject(self, topic: str, tag: str, reason: str, payload: bytes) -> None:
        now = self.clock.now()
        self.tally.dead(DeadLetter.of(self.name, now, reason, payload, f"{topic} for {tag}"))
        if topic not in self.rejected:
            log.warning("connection %s: %s: %s", self.name, topic, reason)
        self.rejected[topic] = reason

    async def _answer(
        self, answers: asyncio.Queue[Sample], asked: Value
    ) -> tuple[str, Value | None, str]:
        limit = self.broker.timeout
        last = UNKNOWN, None, f"write: no answer within {limit:g} s"
        found: tuple[str, Value | None, str] = last
        try:
            async with asyncio.timeout(limit):
                while True:
                    held = (await answers.get()).value
                    if held == asked:
                        return DONE, held, ""
                    found = FAILED, held, f"read back {held!r} instead of {asked!r}"
        except TimeoutError:
            return found


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{_short(payload)} is not JSON", expected="JSON") from error


def _plain(payload: bytes, kind: str) -> Any:
    """A message that is the value itself."""
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{_short(payload)} is no text", expected="text in UTF-8") from error
    if kind == "str":
        return text
    word = text.strip()
    if kind == "bool":
        if word.lower() in (*TRUE, *FALSE):
            return word.lower() in TRUE
        raise DataError(f"{_short(payload)}", expected=" or ".join((*TRUE, *FALSE)))
    try:
        return _typed(int(word) if kind == "int" else float(word), kind)
    except ValueError as error:
        raise DataError(_short(payload), expected=f"a number ({kind})") from error


def _at(content: Any, path: str) -> Any:
    """What is at a dotted path."""
    for part in path.split("."):
        if isinstance(content, Mapping) and part in content:
            content = content[part]
        elif isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        else:
            raise DataError(f"there is no {part!r}", expected=f"a value at {path}")
    return content


def _typed(value: Any, kind: str) -> Any:
    """``value`` as a tag of ``kind`` holds it; null is no value."""
    if value is None:
        return None
    wrong = DataError(f"{value!r}"[:80], expected=f"a value of type {kind}")
    if kind == "str":
        if isinstance(value, str):
            return value
    elif kind == "bool":
        if isinstance(value, bool) or value in (0, 1):
            return bool(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if kind == "float":
            try:
                return float(value)
            except OverflowError:
                raise wrong from None
        whole = isinstance(value, int) or value.is_integer()
        if whole and -LARGEST <= value < LARGEST:
            return int(value)
    raise wrong


def _time(value: Any, form: str) -> int:
    """Nanoseconds of a time in a message; integers are exact."""
    wrong = DataError(f"time {value!r}"[:80], expected=f"a time as {form}")
    if form == "iso":
        try:
            stamp = read_stamp(value)
        except (ValueError, TypeError):
            raise wrong from None
        if stamp.tzinfo is None:
            raise DataError(f"time {value!r} without offset", expected="Z or as +01:00")
        time = (stamp - EPOCH) // timedelta(microseconds=1) * 1000
        if not abs(time) < LARGEST / 2:
            raise wrong
        return time
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong
    if not abs(value) * UNITS_OF_TIME[form] < LARGEST / 2:
        raise wrong
    if isinstance(value, int):
        return value * UNITS_OF_TIME[form]
    whole = math.floor(value)
    return whole * UNITS_OF_TIME[form] + round((value - whole) * UNITS_OF_TIME[form])


def _text(value: Value) -> bytes:
    """A value as a plain message."""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return (value if isinstance(value, str) else repr(value)).encode()


def _short(payload: bytes) -> str:
    return repr(payload[:40].decode(errors="replace"))
