"""What a connector is: the one seam between galenic and physical things.

A connector turns what a source says into `Sample` values with source time, received time, unit,
quality and the source's own status, and performs writes with read-back. It knows nothing of
models. `check.py` holds the list of checks that any connector, ours or a stranger's, must pass.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from galenic.connect.queue import QueueState
from galenic.errors import ConnectionLost, DataError, GalenicError, UnknownName
from galenic.signals import Receipt, Sample

Value = float | bool | str

DONE = "done"
FAILED = "failed"
UNKNOWN = "unknown"

# OPC UA status codes (OPC 10000-6, Annex A.2) that every connector uses for its outcomes.
GOOD = 0x00000000
UNCERTAIN = 0x40000000
BAD_TYPE_MISMATCH = 0x80740000
BAD_NOT_WRITABLE = 0x803B0000
BAD_OUT_OF_RANGE = 0x803C0000
BAD_NOT_CONNECTED = 0x808A0000
BAD_WAITING_FOR_INITIAL_DATA = 0x80320000

TYPES = ("float", "int", "bool", "str")


@dataclass(frozen=True)
class TagInfo:
    """One tag of a source.

    Parameters
    ----------
    tag : str
        Address of the value, as ``"Press.MainForce"``; the part before the first dot groups tags.
    unit : str
        Unit of the value as text; empty for bool and str.
    writable : bool
        Whether the source accepts writes in principle; it may still refuse one.
    description : str
        Meaning in words.
    type : str
        ``float``, ``int``, ``bool`` or ``str``.
    """

    tag: str
    unit: str = ""
    writable: bool = False
    description: str = ""
    type: str = "float"

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise DataError(f"tag {self.tag!r} has type {self.type!r}", expected=", ".join(TYPES))

    def accept(self, value: Value) -> Value:
        """``value`` as this tag's type; a value that does not fit raises DataError."""
        if self.type == "str" and isinstance(value, str):
            return value
        if self.type == "bool" and (isinstance(value, bool) or value in (0, 1)):
            return bool(value)
        if self.type in ("float", "int") and _is_number(value):
            if self.type == "float":
                return float(value)
            if float(value).is_integer():
                return int(value)
        raise DataError(
            f"{value!r} cannot be written",
            where=f"tag {self.tag}",
            expected=f"a finite {self.type}",
        )


def _is_number(value: Value) -> bool:
    if isinstance(value, (bool, str)):
        return False
    return math.isfinite(value)


@dataclass(frozen=True)
class Gap:
    """A span in which samples of ``tag`` may be missing [ns]; ``filled`` from history or not."""

    tag: str
    start: int
    stop: int
    reason: str
    filled: bool = False


@dataclass(frozen=True)
class ConnectorStatus:
    """How a connector is doing now, for pages and health.

    ``since`` is the time of the last change of ``connected`` [ns]; ``attempts`` counts the failed
    attempts since then; ``warnings`` are what the source revised or could not offer.
    """

    connected: bool
    since: int
    attempts: int = 0
    reason: str = ""
    queue: QueueState = field(default_factory=QueueState)
    gaps: tuple[Gap, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class WriteResult:
    """What a plant or a write handler did with a write: its status code and the value now held."""

    status: int = GOOD
    read_back: Value | None = None
    detail: str = ""

    @property
    def outcome(self) -> str:
        """``done`` where the status is not bad, else ``failed``."""
        return FAILED if self.status >> 30 >= 2 else DONE


@runtime_checkable
class Connector(Protocol):
    """A source of samples and a target of writes.

    ``open`` and ``close`` may be called more than once. ``open`` raises ConnectionLost when the
    source cannot be reached now; attempts then go on until ``close``, so a subscription made
    afterwards starts to give samples when the source appears. An unknown tag raises UnknownName
    (from ``subscribe`` at the latest at its first batch). A refused write is a Receipt with
    outcome ``failed``, one without an answer has outcome ``unknown``: neither raises.
    """

    name: str

    async def open(self) -> None:
        """Connect, and stay connected until ``close``."""

    async def close(self) -> None:
        """Disconnect; every subscription ends."""

    def subscribe(self, tags: Sequence[str]) -> AsyncIterator[list[Sample]]:
        """Batches of samples of ``tags``, each at least one sample, until ``close``."""

    async def read(self, tags: Sequence[str]) -> list[Sample]:
        """The latest sample of each of ``tags``, in their order."""

    async def write(self, tag: str, value: Value, unit: str = "", key: str = "") -> Receipt:
        """Set ``tag`` and read it back; ``key`` is that of the Write, for the Receipt."""

    async def browse(self) -> list[TagInfo]:
        """Every tag of the source."""

    @property
    def status(self) -> ConnectorStatus:
        """How the connection is now."""


class Plant(Protocol):
    """A simulated physical thing that lives in this process.

    Nothing in it waits or asks a clock: it is advanced from outside, so that the same object runs
    in real time behind a server and as fast as possible in a study.
    """

    def tags(self) -> list[TagInfo]:
        """Every tag with unit, access and type."""

    def advance(self, until: int) -> list[Sample]:
        """Run to ``until`` [ns]; the samples that became available up to then.

        Each carries its source time (when it was true) and its received time (when it became
        available, at most ``until``), ordered by received time. Not earlier than the last call.
        """

    def write(self, tag: str, value: Value, unit: str, time: int) -> WriteResult:
        """Apply a write at ``time`` [ns]; a refused one has a bad status and changes nothing."""


def clean_value(value: object) -> tuple[Value | None, bool]:
    """``value`` as a sample may carry it, and whether it can be used.

    A missing or non-finite number becomes None: NaN has no place in records, and nothing can be
    concluded from it. Anything that is no scalar is kept as its text and cannot be used.
    """
    if isinstance(value, (bool, str)):
        return value, True
    if isinstance(value, (int, float)):
        return (value, True) if math.isfinite(value) else (None, False)
    return (None if value is None else str(value)), False


def require_tags(names: Iterable[str], known: Iterable[str], source: str) -> None:
    """Raise UnknownName for the first of ``names`` that is not ``known`` to ``source``."""
    existing = set(known)
    for name in names:
        if name not in existing:
            raise UnknownName.among("tag", name, existing, where=source)


def prepare_write(info: TagInfo, value: Value, unit: str) -> Value:
    """``value`` converted from ``unit`` to the unit and type of the tag.

    Raises a GalenicError that says why the value cannot be written.
    """
    if unit and info.unit and unit != info.unit and _is_number(value):
        from galenic.units import convert

        value = float(convert(value, unit, info.unit))
    elif unit and not info.unit and info.type in ("float", "int"):
        raise DataError(f"a value in {unit!r} for a tag without a unit", where=f"tag {info.tag}")
    return info.accept(value)


def refusal(key: str, tag: str, time: int, error: GalenicError | str) -> Receipt:
    """The Receipt of a write that was not performed."""
    detail = error if isinstance(error, str) else str(error).replace("\n", ";")
    return Receipt(write=key, tag=tag, outcome=FAILED, time=time, detail=detail)


def not_open(name: str) -> ConnectionLost:
    """The error of an operation on a connector that is not open."""
    return ConnectionLost(f"connection {name!r} is not open", hint="call open() first")
