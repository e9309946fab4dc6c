"""The checks that any connector passes, ours or a stranger's.

A connector's author writes a `Rig`: the connector together with the means to make its source
speak, fall silent and come back. `check_connector` then runs every check that the rig allows.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeVar

from galenic.connect.connector import DONE, FAILED, UNKNOWN, Connector, Value
from galenic.errors import ConnectionLost, UnknownName
from galenic.signals import Sample

T = TypeVar("T")
Step = Callable[[], Awaitable[None]]
WriteCase = tuple[str, Value, str]


@dataclass
class Rig:
    """A closed connector and its source, ready for one check.

    Parameters
    ----------
    connector : Connector
        Not opened yet; the source is running.
    samples : sequence of Sample
        What `feed` makes the source give, of one float tag, times rising, at least five.
    feed : callable
        Let the source give ``samples``; called again it gives the same again.
    accepted, refused : tuple (tag, value, unit), optional
        A write that succeeds, and one that the source refuses.
    lose, mend : callable, optional
        Cut the connection, and let it be made again.
    freeze : callable, optional
        Let the connection fall silent without being closed; `mend` ends it.
    bounded : bool
        Whether a consumer that does not listen makes samples overflow the queue, whose size the
        factory is asked for; False for sources that wait.
    """

    connector: Connector
    samples: Sequence[Sample]
    feed: Step
    accepted: WriteCase | None = None
    refused: WriteCase | None = None
    lose: Step | None = None
    mend: Step | None = None
    freeze: Step | None = None
    bounded: bool = True

    @property
    def tag(self) -> str:
        """The tag of the samples."""
        return self.samples[0].tag


RigFactory = Callable[[int], AbstractAsyncContextManager[Rig]]
"""Makes a rig whose connector holds back at most the given number of samples."""


Check = Callable[[Rig], Awaitable[None]]
SMALL_QUEUE = 50


class CheckFailed(AssertionError):
    """A connector does not do what a connector must."""


class NotApplicable(Exception):
    """The rig has no means for this check."""


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check: ``passed``, ``failed`` or ``skipped``, and why."""

    name: str
    outcome: str
    detail: str = ""


async def check_connector(factory: RigFactory, limit: float = 20.0) -> list[CheckResult]:
    """Run every check against connectors made by ``factory``.

    Parameters
    ----------
    factory : callable
        ``factory(queue) -> async context manager of Rig``; called once per check.
    limit : float [s]
        Time that one check may take.
    """
    return [await run_check(check, factory, limit) for check in CHECKS]


async def run_check(check: Check, factory: RigFactory, limit: float = 20.0) -> CheckResult:
    """One check on a fresh rig; never raises."""
    name = check.__name__
    try:
        async with asyncio.timeout(limit), factory(SMALL_QUEUE) as rig:
            try:
                await check(rig)
            finally:
                await rig.connector.close()
    except NotApplicable as reason:
        return CheckResult(name, "skipped", str(reason))
    except TimeoutError:
        return CheckResult(name, "failed", f"did not end within {limit:g} s")
    except Exception as error:  # a stranger's connector may raise anything
        return CheckResult(name, "failed", f"{type(error).__name__}: {error}")
    return CheckResult(name, "passed")


async def opens_and_closes_more_than_once(rig: Rig) -> None:
    """`open` and `close` are idempotent, and a closed connector can be opened again."""
    await rig.connector.close()
    await rig.connector.open()
    await rig.connector.open()
    _require(rig.connector.status.connected, "not connected after open")
    await rig.connector.close()
    await rig.connector.close()
    _require(not rig.connector.status.connected, "connected after close")
    await rig.connector.open()
    _require(rig.connector.status.connected, "not connected after being opened again")


async def refuses_use_before_open(rig: Rig) -> None:
    """`read` and `subscribe` of a closed connector raise ConnectionLost."""
    for use in (rig.connector.read([rig.tag]), _first(rig.connector, rig.tag)):
        try:
            await use
        except ConnectionLost:
            continue
        raise CheckFailed("use before open did not raise ConnectionLost")


async def tells_its_tags(rig: Rig) -> None:
    """`browse` lists the tag of the samples with its unit, sorted and without repetition."""
    await rig.connector.open()
    infos = await rig.connector.browse()
    names = [info.tag for info in infos]
    _require(names == sorted(set(names)), f"tags not sorted or repeated: {names}")
    units = {info.tag: info.unit for info in infos}
    _require(units.get(rig.tag) == rig.samples[0].unit, f"{rig.tag} not in {units}")


async def gives_samples_as_they_were(rig: Rig) -> None:
    """Each sample arrives with its value, unit, quality, status and source time, in order."""
    await rig.connector.open()
    got = await _collect(rig)
    _require([_facts(s) for s in got] == [_facts(s) for s in rig.samples], f"{got}")
    _require(all(s.received_time > 0 for s in got), "no time of arrival")


async def gives_repeated_samples_equal_keys(rig: Rig) -> None:
    """The same sample given twice has one key, so that a duplicate is known as such."""
    await rig.connector.open()
    first = await _collect(rig)
    again = await _collect(rig)
    keys = [{s.source_time: s.key for s in samples} for samples in (first, again)]
    _require(keys[0] == keys[1], f"keys differ: {keys}")
    _require(len({s.key for s in first}) == len(first), "different samples share a key")


async def reads_the_latest(rig: Rig) -> None:
    """`read` gives the last sample of each asked tag, in the order asked."""
    await rig.connector.open()
    await _collect(rig)
    (sample,) = await rig.connector.read([rig.tag])
    _require(_facts(sample) == _facts(rig.samples[-1]), f"{sample}")


async def names_an_unknown_tag(rig: Rig) -> None:
    """An unknown tag raises UnknownName with the close match, in every operation."""
    await rig.connector.open()
    wrong = rig.tag + "x"
    for use in (
        _first(rig.connector, wrong),
        rig.connector.read([wrong]),
        rig.connector.write(wrong, 1.0),
    ):
        try:
            await use
        except UnknownName as error:
            _require(rig.tag in error.hint, f"no suggestion: {error}")
            continue
        raise CheckFailed("an unknown tag did not raise UnknownName")


async def reads_a_write_back(rig: Rig) -> None:
    """An accepted write is ``done`` with the value read back, and carries the key."""
    tag, value, unit = _needs(rig.accepted, "an accepted write")
    await rig.connector.open()
    receipt = await rig.connector.write(tag, value, unit, key="w-1")
    _require(receipt.outcome == DONE, f"{receipt}")
    _require((receipt.read_back, receipt.write, receipt.tag) == (value, "w-1", tag), f"{receipt}")
    (sample,) = await rig.connector.read([tag])
    _require(sample.value == value, f"{sample}")


async def reports_a_refused_write(rig: Rig) -> None:
    """A refused write is ``failed`` with a reason and does not raise."""
    tag, value, unit = _needs(rig.refused, "a refused write")
    await rig.connector.open()
    receipt = await rig.connector.write(tag, value, unit)
    _require(receipt.outcome == FAILED and bool(receipt.detail), f"{receipt}")


async def reports_a_value_that_does_not_fit(rig: Rig) -> None:
    """A text or NaN for a number is ``failed``; nothing is sent."""
    tag, _, unit = _needs(rig.accepted, "an accepted write")
    await rig.connector.open()
    for value in ("a text", float("nan")):
        receipt = await rig.connector.write(tag, value, unit)
        _require(receipt.outcome == FAILED and bool(receipt.detail), f"{receipt}")


async def comes_back_after_a_loss(rig: Rig) -> None:
    """A lost connection is visible, and its subscriptions go on by themselves."""
    lose, mend = _needs(rig.lose, "lose"), _needs(rig.mend, "mend")
    await rig.connector.open()
    batches = rig.connector.subscribe([rig.tag])
    await _collect(rig, batches)
    await lose()
    await _until(lambda: not rig.connector.status.connected)
    _require(bool(rig.connector.status.reason), "no reason for the loss")
    await mend()
    await _until(lambda: rig.connector.status.connected)
    await rig.feed()
    _require(bool(await anext(batches)), "no sample after the connection came back")


async def notices_silence(rig: Rig) -> None:
    """On a dead connection a write ends in time and is not ``done``; then it comes back."""
    freeze, mend = _needs(rig.freeze, "freeze"), _needs(rig.mend, "mend")
    tag, value, unit = _needs(rig.accepted, "an accepted write")
    await rig.connector.open()
    batches = rig.connector.subscribe([rig.tag])
    await _collect(rig, batches)
    await freeze()
    receipt = await rig.connector.write(tag, value, unit)
    _require(receipt.outcome in (FAILED, UNKNOWN), f"{receipt}")
    await _until(lambda: not rig.connector.status.connected)
    await mend()
    await _until(lambda: rig.connector.status.connected)
    await rig.feed()
    _require(bool(await anext(batches)), "no sample after the silence")


async def counts_what_overflows(rig: Rig) -> None:
    """A consumer that does not listen loses the oldest samples, and the loss is counted."""
    if not rig.bounded:
        raise NotApplicable("the source waits for its consumer")
    await rig.connector.open()
    batches = rig.connector.subscribe([rig.tag])
    await _collect(rig, batches)
    while not rig.connector.status.queue.lost:
        await rig.feed()
        await asyncio.sleep(0.02)
    state = rig.connector.status.queue
    _require(state.waiting <= state.capacity == SMALL_QUEUE, f"{state}")
    (*_, newest) = await anext(batches)
    _require(newest.source_time == rig.samples[-1].source_time, "the newest sample was lost")


async def ends_subscriptions_on_close(rig: Rig) -> None:
    """A consumer that waits for a sample is released by `close`."""
    await rig.connector.open()
    batches = rig.connector.subscribe([rig.tag])
    await _collect(rig, batches)
    waiting = asyncio.ensure_future(_drain(batches))
    await asyncio.sleep(0.05)
    await rig.connector.close()
    await waiting


CHECKS: tuple[Check, ...] = (
    opens_and_closes_more_than_once,
    refuses_use_before_open,
    tells_its_tags,
    gives_samples_as_they_were,
    gives_repeated_samples_equal_keys,
    reads_the_latest,
    names_an_unknown_tag,
    reads_a_write_back,
    reports_a_refused_write,
    reports_a_value_that_does_not_fit,
    comes_back_after_a_loss,
    notices_silence,
    counts_what_overflows,
    ends_subscriptions_on_close,
)


NEEDS: dict[Check, tuple[str, ...]] = {
    reads_a_write_back: ("accepted",),
    reports_a_refused_write: ("refused",),
    reports_a_value_that_does_not_fit: ("accepted",),
    comes_back_after_a_loss: ("lose", "mend"),
    notices_silence: ("freeze", "mend", "accepted"),
    counts_what_overflows: ("bounded",),
}
"""What of a rig a check needs; one that is not named needs nothing more."""


def applicable(rig: Rig) -> list[Check]:
    """The checks that a rig has the means for; the others say that they are not applicable."""
    return [check for check in CHECKS if all(getattr(rig, name) for name in NEEDS.get(check, ()))]


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise CheckFailed(otherwise)


def _needs(means: T | None, what: str) -> T:
    if means is None:
        raise NotApplicable(f"not offered by the rig: {what}")
    return means


def _facts(sample: Sample) -> tuple[object, ...]:
    """What must survive; source times to the microsecond, which is what OPC UA stacks carry."""
    rounded = dataclasses.replace(sample, source_time=sample.source_time // 1000)
    return (
        rounded.tag, rounded.value, rounded.unit, rounded.source_time,
        int(rounded.quality), rounded.status,
    )  # fmt: skip


async def _collect(rig: Rig, batches: AsyncIterator[list[Sample]] | None = None) -> list[Sample]:
    """The rig's samples as the connector gives them; others of the source are passed over."""
    own = batches is None
    if batches is None:
        batches = rig.connector.subscribe([rig.tag])
    times = {sample.source_time // 1000 for sample in rig.samples}
    found: dict[int, Sample] = {}
    listening = asyncio.ensure_future(_gather(batches, times, found))
    await asyncio.sleep(0.1)  # a live source must be listened to before it speaks
    await rig.feed()
    await listening
    if own and hasattr(batches, "aclose"):
        await batches.aclose()
    return list(found.values())


async def _gather(
    batches: AsyncIterator[list[Sample]], times: set[int], found: dict[int, Sample]
) -> None:
    while len(found) < len(times):
        for sample in await anext(batches):
            time = sample.source_time // 1000
            if time in times:
                found.setdefault(time, sample)


async def _drain(batches: AsyncIterator[list[Sample]]) -> None:
    async for _ in batches:
        pass


async def _first(connector: Connector, tag: str) -> list[Sample]:
    return await anext(connector.subscribe([tag]))


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)
