"""Performing writes: intended is durable first, then the device, then what became of it.

After a crash intentions without an outcome are compared with the device; nothing is repeated.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Any

from galenic.errors import GalenicError
from galenic.signals import Quality, Receipt, Record, Sample, Write

PATIENCE = 10.0


def intended(twin: str, write: Write) -> Record:
    """The ledger entry that must be durable before the write."""
    detail = {name: value for name, value in write.to_dict().items() if name != "kind"}
    return Record("intended", write.time, twin, detail, write.who, write.reason)


def outcome(twin: str, write: Write, receipt: Receipt) -> Record:
    """The ledger entry that closes an intention."""
    detail = {
        "key": write.key,
        "tag": write.tag,
        "value": write.value,
        "read_back": receipt.read_back,
        "detail": receipt.detail,
    }
    return Record(receipt.outcome, receipt.time, twin, detail, write.who, write.reason)


async def perform(connector: Any, write: Write, now: int) -> Receipt:
    """Write and read back; the state that was expected is compared first."""
    if now > write.expires:
        return _failed(write, now, "expired before it could be performed")
    try:
        objection = await asyncio.wait_for(_objection(connector, write), PATIENCE)
        if objection:
            return _failed(write, now, objection)
        receipt = await asyncio.wait_for(
            connector.write(write.tag, write.value, write.unit, write.key), PATIENCE
        )
    except TimeoutError:
        return Receipt(write.key, write.tag, "unknown", now, detail="no answer from the device")
    except GalenicError as error:
        return _failed(write, now, str(error).replace("\n", ";"))
    return checked(write, receipt)


def checked(write: Write, receipt: Receipt) -> Receipt:
    """A write is done only when the device holds the value."""
    held = receipt.read_back
    if receipt.outcome != "done" or held is None or same(held, write.value):
        return receipt
    detail = f"read back {held!r} instead of {write.value!r}"
    return Receipt(write.key, write.tag, "failed", receipt.time, held, detail)


async def _objection(connector: Any, write: Write) -> str:
    """Why the device is not in the state that the decision was made for."""
    if write.expected is None:
        return ""
    held = await _held(connector, write.tag)
    if held is None or same(held, write.expected):
        return ""
    return f"changed meanwhile: {held!r} instead of {write.expected!r}"


async def _held(connector: Any, tag: str) -> float | bool | str | None:
    samples: list[Sample] = await connector.read([tag])
    usable = samples and samples[0].quality != Quality.BAD
    return samples[0].value if usable else None


def same(held: Any, wanted: Any) -> bool:
    """Equal, or equal numbers to single precision (some devices hold no more)."""
    both = isinstance(held, int | float) and isinstance(wanted, int | float)
    if both and not isinstance(held, bool) and not isinstance(wanted, bool):
        return math.isclose(held, wanted, rel_tol=1e-5, abs_tol=1e-9)
    return bool(held == wanted)


def _failed(write: Write, now: int, detail: str) -> Receipt:
    return Receipt(write.key, write.tag, "failed", now, detail=detail)


async def reconcile(connector: Any, entries: Iterable[Any], now: int) -> list[Receipt]:
    """What became of intentions that a crash left open: read, compare, never repeat."""
    receipts = []
    for entry in entries:
        key, tag, value = (entry.detail[name] for name in ("key", "tag", "value"))
        try:
            held = await asyncio.wait_for(_held(connector, tag), PATIENCE)
        except (GalenicError, TimeoutError):
            held = None
        if held is None:
            found, detail = "unknown", "restarted; the device could not be read"
        elif same(held, value):
            found, detail = "done", "restarted; the device holds the value"
        else:
            found, detail = "failed", f"restarted; the device holds {held!r}"
        receipts.append(Receipt(key, tag, found, now, held, detail))
    return receipts
