"""What travels through the house: events in, effects out.

Event = Sample | Action | Correction | Tick | Computed | Command | Receipt.
Effect = Write | Alert | Compute | Record.

All are immutable values with ``to_dict``; ``signal_from_dict`` reads one back. Times are int64
nanoseconds UTC. Nothing here knows models, connectors or stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from typing import Any, ClassVar

from galenic.errors import DataError


class Quality(IntEnum):
    """Severity of a sample's quality; the source's full status code is kept beside it."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2

    @classmethod
    def of_status(cls, code: int) -> Quality:
        """The severity in the top two bits of an OPC UA status code (OPC 10000-4, 7.39)."""
        return cls(min(code >> 30, 2))


SIGNALS: dict[str, type[Signal]] = {}


@dataclass(frozen=True)
class Signal:
    """Base of all events and effects; ``kind`` is the name used on the wire."""

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if cls.kind:
            SIGNALS[cls.kind] = cls

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values with ``kind``."""
        return {"kind": self.kind, **asdict(self)}


def signal_from_dict(record: Mapping[str, Any]) -> Signal:
    """The signal that ``to_dict`` wrote."""
    cls = SIGNALS.get(str(record.get("kind")))
    if cls is None:
        raise DataError(f"unknown signal kind {record.get('kind')!r}", expected=", ".join(SIGNALS))
    names = {f.name for f in fields(cls)}
    return cls(**{key: value for key, value in record.items() if key in names})


@dataclass(frozen=True)
class Event(Signal):
    """Something that happened; the twin folds events into its belief."""


@dataclass(frozen=True)
class Effect(Signal):
    """Something the runner must do."""


@dataclass(frozen=True)
class Sample(Event):
    """A measured value of one tag.

    ``source_time`` is when it was true, ``received_time`` when we got it [ns]. ``status`` is the
    source's own quality code. ``source_key`` identifies the sample at its source (epoch and
    sequence where the source has them, else tag, time, value and status): a repeated key is a
    duplicate.
    """

    kind: ClassVar[str] = "sample"
    tag: str
    value: float | bool | str | None
    unit: str
    source_time: int
    received_time: int
    quality: int = Quality.GOOD
    status: int = 0
    source_key: str = ""
    historical: bool = False

    @property
    def key(self) -> str:
        """The source's key, or one made of what the sample says."""
        return self.source_key or f"{self.tag}|{self.source_time}|{self.value!r}|{self.status}"


def quick_sample(
    tag: str,
    value: float | bool | str | None,
    unit: str,
    source_time: int,
    received_time: int,
    quality: int = Quality.GOOD,
    status: int = 0,
    source_key: str = "",
    historical: bool = False,
) -> Sample:
    """The Sample of these fields, made in a third of the time: for what is read in thousands."""
    made = object.__new__(Sample)
    fields = {
        "tag": tag,
        "value": value,
        "unit": unit,
        "source_time": source_time,
        "received_time": received_time,
        "quality": quality,
        "status": status,
        "source_key": source_key,
        "historical": historical,
    }
    object.__setattr__(made, "__dict__", fields)
    return made


@dataclass(frozen=True)
class Action(Event):
    """Something done to the physical thing: a dose, a lot change, a setpoint that took effect.

    ``target`` names the input of the model; ``value`` is in ``unit``. ``amends`` is the key of an
    earlier action that this one replaces; a value of None withdraws it.
    """

    kind: ClassVar[str] = "action"
    target: str
    value: float | str | None
    unit: str
    source_time: int
    received_time: int
    what: str = "set"
    duration: float = 0.0
    source_key: str = ""
    amends: str = ""
    who: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        return self.source_key or f"{self.target}|{self.source_time}|{self.what}|{self.value!r}"


@dataclass(frozen=True)
class Correction(Event):
    """A new version of an earlier sample (``amends`` is its key); None withdraws it."""

    kind: ClassVar[str] = "correction"
    amends: str
    value: float | bool | str | None
    unit: str
    received_time: int
    who: str
    reason: str


@dataclass(frozen=True)
class Tick(Event):
    """The clock has reached ``time``: deadlines, health and controllers may act."""

    kind: ClassVar[str] = "tick"
    time: int


@dataclass(frozen=True)
class Computed(Event):
    """The recorded outcome of a Compute effect: its result, or why there is none."""

    kind: ClassVar[str] = "computed"
    task: str
    time: int
    result: Any = None
    error: str = ""
    elapsed: float = 0.0


@dataclass(frozen=True)
class Command(Event):
    """A person or service asks the twin to change: level, bypass, setpoint, target, model."""

    kind: ClassVar[str] = "command"
    name: str
    time: int
    who: str
    reason: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True)
class Receipt(Event):
    """What became of a Write: ``done``, ``failed`` or ``unknown``, with the value read back."""

    kind: ClassVar[str] = "receipt"
    write: str
    tag: str
    outcome: str
    time: int
    read_back: float | bool | str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Write(Effect):
    """Set ``tag`` to ``value``. Performed only after its intention is durable in the ledger."""

    kind: ClassVar[str] = "write"
    key: str
    tag: str
    value: float | bool | str
    unit: str
    time: int
    expires: int
    reason: str = ""
    who: str = ""
    expected: float | bool | str | None = None


@dataclass(frozen=True)
class Alert(Effect):
    """Tell people: ``severity`` is critical, high, medium, low or journal.

    ``state`` and ``was`` are the states of the alarm after and before; ``who`` and ``reason`` say
    who changed it, if a person did. A ``silent`` one is recorded and not annunciated. A
    ``withdrawn`` one takes back what was told: by data that came late it never was.
    """

    kind: ClassVar[str] = "alert"
    key: str
    severity: str
    text: str
    time: int
    subject: str = ""
    active: bool = True
    detail: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    was: str = ""
    who: str = ""
    reason: str = ""
    silent: bool = False
    withdrawn: bool = False


@dataclass(frozen=True)
class Compute(Effect):
    """Run ``function`` (``package.module:name``) in a worker; the outcome returns as Computed."""

    kind: ClassVar[str] = "compute"
    task: str
    function: str
    arguments: Mapping[str, Any]
    time: int
    deadline: float


@dataclass(frozen=True)
class Record(Effect):
    """Write an entry to the ledger: ``what`` is its type, ``detail`` its facts."""

    kind: ClassVar[str] = "record"
    what: str
    time: int
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    who: str = ""
    reason: str = ""
