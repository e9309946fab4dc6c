"""What a host application knows of one edge node; no input or output, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from galenic.connect.connector import BAD_TYPE_MISMATCH, TagInfo
from galenic.connect.mqtt.topic import Topic
from galenic.connect.mqtt.values import (
    BAD_NO_COMMUNICATION,
    DESCRIPTION,
    LAST,
    MILLISECOND,
    REFUSED,
    WRITABLE,
    DataType,
    data_type,
    properties_of,
    to_sample,
    unit_of,
    value_of,
)
from galenic.errors import DataError
from galenic.signals import Quality, Sample

BDSEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
BAD_NODE_ID_UNKNOWN = 0x80340000
MOST_ELEMENTS = 1024
TURN = 256
Naming = Callable[[str, str], TagInfo | None]
"""Tag and configured unit for a device (or none) and metric name; None where it is not wanted."""


@dataclass(frozen=True)
class Known:
    """A metric of a birth; an array has one tag per element."""

    device: str
    name: str
    kind: DataType
    tags: tuple[TagInfo, ...]
    alias: int | None = None


@dataclass
class Outcome:
    """What a message meant.

    ``refused`` are the node's reasons for writes that it did not perform, by tag; ``born`` tells
    of new tags; ``rebirth`` why the node must be asked to tell everything again.
    """

    samples: list[Sample] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    rebirth: str = ""
    born: bool = False
    missed: bool = False


class NodeSession:
    """Follows the births, deaths and data of one edge node (Sparkplug 3.0, chapters 5 and 6).

    Parameters
    ----------
    source : str
        ``group/node``.
    naming : callable
        Gives the tags; see `Naming`.
    reorder : float [s]
        How long a missing message is waited for before the node is asked for a rebirth.
    again : float [s]
        How long a rebirth is waited for before it is asked for again.
    """

    def __init__(
        self, source: str, naming: Naming, reorder: float = 2.0, again: float = 10.0
    ) -> None:
        self.source = source
        self.born = False
        self.devices: set[str] = set()
        self.known: dict[tuple[str, str], Known] = {}
        self._naming = naming
        self._reorder = reorder
        self._again = again
        self._aliases: dict[int, Known] = {}
        self._told: dict[str, tuple[set[str], set[int]]] = {}
        self._bdseq: int | None = None
        self._expected = 0
        self._waiting: dict[int, tuple[Topic, Any]] = {}
        self._missing_since: float | None = None
        self._asked: float | None = None
        self._unsure: set[str] = set()
        self._unsure_since = 0.0

    @property
    def tags(self) -> list[TagInfo]:
        """Every tag of the last births."""
        return [info for known in self.known.values() for info in known.tags]

    def receive(self, topic: Topic, payload: Any, received: int, now: float) -> Outcome:
        """Take a message.

        Parameters
        ----------
        topic, payload
            Where and what.
        received : int [ns]
            When it came, UTC.
        now : float [s]
            The same on a clock that never jumps.
        """
        out = Outcome()
        if topic.kind == "NBIRTH":
            self._node_birth(payload, received, now, out)
        elif topic.kind == "NDEATH":
            self._node_death(payload, received, out)
        elif topic.kind.endswith("CMD"):
            return out
        elif not self.born:
            self._ask(now, out, "messages before the birth of the node")
        elif not payload.HasField("seq"):
            out.warnings.append(f"{topic}: a message without seq is not read")
        else:
            self._in_order(topic, payload, received, now, out)
        return out

    def tick(self, received: int, now: float) -> Outcome:
        """What the passing of time means; call it a few times per ``reorder``."""
        out = Outcome()
        if self._missing_since is not None and now - self._missing_since > self._reorder:
            self._give_up(received, now, out)
        if self._unsure and now - self._unsure_since > self._reorder:
            for device in sorted(self._unsure):
                self._device_death(device, received, received, out)
            self._unsure.clear()
        return out

    def lose(self, time: int) -> Outcome:
        """The way to the node is lost: everything is stale as of ``time`` [ns]."""
        out = Outcome()
        self._stale(lambda known: True, time, time, out)
        self.born = False
        self._asked = None
        self._forget()
        return out

    def ask(self, now: float) -> bool:
        """Whether a rebirth should be asked for now; not while one is waited for."""
        if self._asked is not None and now - self._asked < self._again:
            return False
        self._asked = now
        return True

    # -- births and deaths ----------------------------------------------------------------------

    def _node_birth(self, payload: Any, received: int, now: float, out: Outcome) -> None:
        self._give_up(received, now, out, ask=False)
        numbers = [metric for metric in payload.metrics if metric.name == BDSEQ]
        self._bdseq = numbers[0].long_value if numbers else None
        if not numbers:
            out.warnings.append(
                f"{self.source}: a birth without bdSeq; its deaths are all believed"
            )
        self.born, out.born = True, True
        self._asked = None
        self._expected = (payload.seq + 1) % TURN
        self._unsure, self._unsure_since = set(self.devices), now
        self._metrics("", payload, received, out)

    def _node_death(self, payload: Any, received: int, out: Outcome) -> None:
        """The will of an earlier session says nothing of this one."""
        told = [metric.long_value for metric in payload.metrics if metric.name == BDSEQ]
        if not self.born or (self._bdseq is not None and told != [self._bdseq]):
            return
        self._stale(lambda known: True, received, received, out)
        self.born = False
        self._forget()

    def _device_death(self, device: str, time: int, received: int, out: Outcome) -> None:
        if device in self.devices:
            self._stale(lambda known: known.device == device, time, received, out)
            self.devices.discard(device)
            self._unsure.discard(device)

    def _forget(self) -> None:
        self.devices.clear()
        self._unsure.clear()
        self._waiting.clear()
        self._missing_since = None

    def _stale(
        self, which: Callable[[Known], bool], time: int, received: int, out: Outcome
    ) -> None:
        """Bad samples of what was alive; a value that may have changed is not repeated."""
        if not self.born:
            return
        for known in self.known.values():
            alive = not known.device or known.device in self.devices
            if alive and which(known):
                out.samples += [
                    Sample(
                        info.tag, None, info.unit, time, received, Quality.BAD,
                        BAD_NO_COMMUNICATION,
                    )
                    for info in known.tags
                ]  # fmt: skip

    def _metrics(self, device: str, payload: Any, received: int, out: Outcome) -> None:
        """Replace what is known of the node's own metrics, or of a device's."""
        self._told[device] = (
            {metric.name for metric in payload.metrics},
            {metric.alias for metric in payload.metrics if metric.HasField("alias")},
        )
        before = {key: known for key, known in self.known.items() if key[0] == device}
        now_known: dict[tuple[str, str], Known] = {}
        for metric in payload.metrics:
            if not metric.name or (not device and metric.name in (BDSEQ, REBIRTH)):
                continue
            known = self._describe(device, metric, out)
            if known is not None:
                now_known[device, metric.name] = known
        for key in before:
            self.known.pop(key)
        self.known.update(now_known)
        self._aliases = {
            k.alias: k
            for k in self.known.values()
            if k.alias is not None and self._is_certain(k.device)
        }
        kept = {info.tag for known in now_known.values() for info in known.tags}
        for known in before.values():
            out.samples += [
                Sample(i.tag, None, i.unit, received, received, Quality.BAD, BAD_NODE_ID_UNKNOWN)
                for i in known.tags
                if i.tag not in kept
            ]
        for metric in payload.metrics:
            known = now_known.get((device, metric.name))
            if known is not None:
                self._read(known, metric, payload, received, out)

    def _describe(self, device: str, metric: Any, out: Outcome) -> Known | None:
        kind = data_type(metric.datatype)
        path = "/".join(part for part in (self.source, device, metric.name) if part)
        wanted = self._naming(device, metric.name)
        if wanted is None:
            return None
        if not kind.type:
            out.warnings.append(f"{path} is a {kind.name}, which is no tag")
            return None
        try:
            properties = properties_of(metric)
        except DataError as error:
            out.warnings.append(f"{path}: a property {error.found}, expected {error.expected}")
            properties = {}
        told = properties.get(WRITABLE)
        description = properties.get(DESCRIPTION)
        info = TagInfo(
            wanted.tag,
            wanted.unit or unit_of(properties),
            told if isinstance(told, bool) else not kind.item,
            description if isinstance(description, str) else "",
            kind.type,
        )
        alias = metric.alias if metric.HasField("alias") else None
        if not kind.item:
            return Known(device, metric.name, kind, (info,), alias)
        try:
            elements = value_of(metric, kind) or ()
        except DataError as error:
            out.warnings.append(f"{path} {error.found}")
            return None
        assert isinstance(elements, tuple)
        if len(elements) > MOST_ELEMENTS:
            out.warnings.append(f"{path} has {len(elements)} elements, more than {MOST_ELEMENTS}")
            return None
        infos = tuple(
            replace(info, tag=f"{info.tag}[{i}]", writable=False) for i in range(len(elements))
        )
        return Known(device, metric.name, kind, infos, alias)

    # -- data -----------------------------------------------------------------------------------

    def _in_order(
        self, topic: Topic, payload: Any, received: int, now: float, out: Outcome
    ) -> None:
        ahead = (payload.seq - self._expected) % TURN
        if ahead == 0:
            self._apply(topic, payload, received, now, out)
            while self.born and self._expected in self._waiting:
                waiting = self._waiting.pop(self._expected)
                self._apply(*waiting, received, now, out)
            if not self._waiting:
                self._missing_since = None
        elif ahead < TURN // 2:
            self._waiting[payload.seq % TURN] = (topic, payload)
            if self._missing_since is None:
                self._missing_since = now
        elif topic.kind.endswith("DATA"):  # waited for in vain, and here at last
            for metric in payload.metrics:
                metric.is_historical = True
            self._data(topic.device, payload, received, now, out)

    def _give_up(self, received: int, now: float, out: Outcome, ask: bool = True) -> None:
        """Go on with what has come; what is missing is told, and asked for."""
        if self._missing_since is None:
            return
        out.missed = True
        self._missing_since = None
        order = sorted(self._waiting, key=lambda seq: (seq - self._expected) % TURN)
        waiting, self._waiting = self._waiting, {}
        for seq in order:
            self._expected = seq
            self._apply(*waiting[seq], received, now, out)
        if ask:
            self._ask(now, out, "messages are missing")

    def _apply(self, topic: Topic, payload: Any, received: int, now: float, out: Outcome) -> None:
        self._expected = (payload.seq + 1) % TURN
        if topic.kind == "DBIRTH":
            self.devices.add(topic.device)
            self._unsure.discard(topic.device)
            out.born = True
            self._metrics(topic.device, payload, received, out)
        elif topic.kind == "DDEATH":
            told = payload.timestamp if payload.timestamp <= LAST else 0
            self._device_death(topic.device, told * MILLISECOND or received, received, out)
        elif not self._is_certain(topic.device):
            self._ask(now, out, f"data before the birth of device {topic.device}")
        else:
            self._data(topic.device, payload, received, now, out)

    def _data(self, device: str, payload: Any, received: int, now: float, out: Outcome) -> None:
        for metric in payload.metrics:
            if metric.name:
                known = self.known.get((device, metric.name))
            else:
                known = self._aliases.get(metric.alias) if metric.HasField("alias") else None
            if known is not None:
                self._read(known, metric, payload, received, out)
            elif self._is_strange(device, metric):
                self._ask(now, out, f"a metric that no birth told of: {_call(metric)}")

    def _is_certain(self, device: str) -> bool:
        """Whether the births of this session told of ``device``; aliases of others are void."""
        return not device or (device in self.devices and device not in self._unsure)

    def _is_strange(self, device: str, metric: Any) -> bool:
        """Whether no birth told of the metric; one told of may not be wanted as a tag."""
        if metric.name:
            return metric.name not in self._told.get(device, (set(), set()))[0]
        return not any(metric.alias in aliases for _, aliases in self._told.values())

    def _read(self, known: Known, metric: Any, payload: Any, received: int, out: Outcome) -> None:
        """The samples of a metric; what cannot be read is bad, and said."""
        try:
            properties = properties_of(metric)
            refused = properties.get(REFUSED)
            if isinstance(refused, str):
                out.refused.update({info.tag: refused for info in known.tags})
                return
            value = value_of(metric, known.kind)
            values = value if isinstance(value, tuple) else (value,) * len(known.tags)
            missing = (None,) * (len(known.tags) - len(values))
            out.samples += [
                to_sample(metric, info, each, payload.timestamp, received, properties)
                for info, each in zip(known.tags, (*values, *missing), strict=False)
            ]
        except DataError as error:
            path = "/".join(part for part in (self.source, known.device, known.name) if part)
            out.warnings.append(f"{path} {error.found}, expected {error.expected}")
            out.samples += [
                Sample(
                    info.tag, None, info.unit, received, received, Quality.BAD, BAD_TYPE_MISMATCH,
                    historical=metric.is_historical,
                )
                for info in known.tags
            ]  # fmt: skip

    def _ask(self, now: float, out: Outcome, why: str) -> None:
        if self.ask(now):
            out.rebirth = why


def _call(metric: Any) -> str:
    return repr(metric.name) if metric.name else f"alias {metric.alias}"
