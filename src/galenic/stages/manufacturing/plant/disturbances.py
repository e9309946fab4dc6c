"""What can go wrong on the line: one small class per kind, with the name it has in scenario files.

Two families. Things that happen to the plant (`Disturbance`) touch the physics or an instrument.
Things that happen to what is reported (`Fault`) alter the samples on their way out; the plant and
its local loops stay well, only the outside is told something else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, ClassVar

from galenic.clock import nanoseconds
from galenic.errors import DataError, UnknownName
from galenic.signals import Sample

if TYPE_CHECKING:
    from galenic.stages.manufacturing.plant.line import TabletLine

KINDS: dict[str, type[Disturbance]] = {}


@dataclass
class Disturbance:
    """Something that starts at ``at`` and, unless it stays, ends after ``duration`` [s]."""

    kind: ClassVar[str] = ""

    at: float
    duration: float = float("inf")

    def __init_subclass__(cls) -> None:
        if cls.__dict__.get("kind"):
            KINDS[cls.kind] = cls

    def begin(self, line: TabletLine) -> None:
        """Act on the plant when it starts."""

    def during(self, line: TabletLine, elapsed: float) -> None:
        """Act once per second while it lasts."""

    def end(self, line: TabletLine) -> None:
        """Put right what ends with it."""


def disturbance(kind: str, values: dict[str, Any], *, where: str = "") -> Disturbance:
    """The disturbance of ``kind`` with ``values``; unknown kinds and names say what exists."""
    cls = KINDS.get(kind)
    if cls is None:
        raise UnknownName.among("disturbance", kind, KINDS, where=where)
    known = {f.name for f in fields(cls) if f.init}
    for name in values:
        if name not in known:
            raise UnknownName.among(f"setting of {kind}", name, known, where=where)
    if "at" not in values:
        raise DataError(f"{kind} has no start", where=where, expected='at = "20 min"')
    made = cls(**values)
    feeder = getattr(made, "feeder", "API")
    if feeder not in ("API", "EXC"):
        raise UnknownName.among("feeder", str(feeder), ("API", "EXC"), where=where)
    return made


@dataclass
class DensityDrift(Disturbance):
    """The bulk density of arriving excipient changes by ``change`` over ``over`` [s], to stay.

    ``hardening`` changes with it: denser powder resists compression differently.
    """

    kind = "density-drift"
    change: float = -0.04
    hardening: float = 0.0
    over: float = 3600.0

    def begin(self, line: TabletLine) -> None:
        self._density = line.arriving_density
        self._hardening = line.arriving_hardening

    def during(self, line: TabletLine, elapsed: float) -> None:
        done = min(elapsed / self.over, 1.0)
        line.arriving_density = self._density * (1.0 + self.change * done)
        line.arriving_hardening = self._hardening * (1.0 + self.hardening * done)
        line.restock()


@dataclass
class LotChange(Disturbance):
    """Refills bring a new lot of excipient: relative changes against the reference lot."""

    kind = "lot-change"
    lot: str = "EXC-2042"
    density: float = -0.05
    hardening: float = 0.10
    bond: float = -0.10
    moisture: float = 0.0

    def begin(self, line: TabletLine) -> None:
        old = line.parameters.excipient_powder
        # Water softens the particles and, up to a few percent, strengthens the bonds.
        line.arriving_lot = replace(
            old,
            name=self.lot,
            volume=old.volume / (1.0 + self.density),
            hardening=old.hardening * (1.0 + self.hardening) * (1.0 - 4.0 * self.moisture),
            bond=old.bond * (1.0 + self.bond) * (1.0 + 3.0 * self.moisture),
            lot=1.0,
        )
        line.restock()


@dataclass
class FeederWear(Disturbance):
    """The feed factor of a feeder falls by the fraction ``per_hour`` per hour."""

    kind = "feeder-wear"
    feeder: str = "API"
    per_hour: float = 0.03

    def begin(self, line: TabletLine) -> None:
        self._start = line.feeders[self.feeder].wear

    def during(self, line: TabletLine, elapsed: float) -> None:
        line.feeders[self.feeder].wear = self._start * (1.0 - self.per_hour * elapsed / 3600.0)


@dataclass
class Bridging(Disturbance):
    """Powder arches above the screw: a share ``depth`` of the feed is missing until it breaks.

    The arch grows over ``onset`` and crumbles over ``release`` [s], the last part of its duration.
    """

    kind = "bridging"
    duration: float = 60.0
    feeder: str = "API"
    depth: float = 0.35
    onset: float = 15.0
    release: float = 8.0

    def during(self, line: TabletLine, elapsed: float) -> None:
        grown = min(elapsed / self.onset, 1.0) if self.onset > 0.0 else 1.0
        left = self.duration - elapsed
        crumbled = min(left / self.release, 1.0) if self.release > 0.0 else 1.0
        line.feeders[self.feeder].bridging = self.depth * min(grown, crumbled)

    def end(self, line: TabletLine) -> None:
        line.feeders[self.feeder].bridging = 0.0


@dataclass
class Vibration(Disturbance):
    """A neighbour shakes the balance: its noise is ``factor`` times as large."""

    kind = "vibration"
    duration: float = 60.0
    feeder: str = "EXC"
    factor: float = 15.0

    def begin(self, line: TabletLine) -> None:
        line.feeders[self.feeder].vibration = self.factor

    def end(self, line: TabletLine) -> None:
        line.feeders[self.feeder].vibration = 1.0


@dataclass
class LumpyRefill(Disturbance):
    """Refills come in lumps: ``factor`` times as uneven."""

    kind = "lumpy-refill"
    feeder: str = "EXC"
    factor: float = 2.5

    def begin(self, line: TabletLine) -> None:
        line.feeders[self.feeder].lumpiness = self.factor

    def end(self, line: TabletLine) -> None:
        line.feeders[self.feeder].lumpiness = 1.0


@dataclass
class Refill(Disturbance):
    """A refill is started now, whatever the weight."""

    kind = "refill"
    feeder: str = "API"

    def begin(self, line: TabletLine) -> None:
        line.feeders[self.feeder].refill()


@dataclass
class RefillBand(Disturbance):
    """A feeder is run between other weights: refills start at ``low`` and end at ``high`` [kg]."""

    kind = "refill-band"
    feeder: str = "API"
    low: float = 0.25
    high: float = 0.5

    def begin(self, line: TabletLine) -> None:
        feeder = line.feeders[self.feeder]
        self._usual = feeder.p
        feeder.p = replace(feeder.p, low=self.low, high=self.high)

    def end(self, line: TabletLine) -> None:
        line.feeders[self.feeder].p = self._usual


@dataclass
class NirBias(Disturbance):
    """The NIR reads ``bias`` [mass fraction] too much; reached over ``over`` [s]."""

    kind = "nir-bias"
    bias: float = 0.003
    over: float = 0.0

    def begin(self, line: TabletLine) -> None:
        self._given = 0.0

    def during(self, line: TabletLine, elapsed: float) -> None:
        wanted = self.bias * (min(elapsed / self.over, 1.0) if self.over > 0.0 else 1.0)
        line.nir.bias += wanted - self._given
        self._given = wanted

    def end(self, line: TabletLine) -> None:
        line.nir.bias -= self._given


@dataclass
class NirOutage(Disturbance):
    """The NIR gives no results: they arrive as bad."""

    kind = "nir-outage"
    duration: float = 180.0

    def begin(self, line: TabletLine) -> None:
        line.nir.is_out = True

    def end(self, line: TabletLine) -> None:
        line.nir.is_out = False


@dataclass
class StuckTester(Disturbance):
    """The tester sends its last results again and again, freshly stamped."""

    kind = "stuck-tester"

    def begin(self, line: TabletLine) -> None:
        line.tester.is_stuck = True

    def end(self, line: TabletLine) -> None:
        line.tester.is_stuck = False


@dataclass
class Fault(Disturbance):
    """Alters the samples whose tag matches ``tags`` (with * and ?)."""

    tags: str = "*"

    def begin(self, line: TabletLine) -> None:
        line.faults.append(self)

    def end(self, line: TabletLine) -> None:
        line.faults.remove(self)

    def alter(self, sample: Sample) -> Sample | None:
        """The sample as it is told; None when it is not told at all."""
        return sample

    def concerns(self, tag: str) -> bool:
        """Whether ``tag`` is one of those altered."""
        return fnmatch(tag, self.tags)


@dataclass
class Freeze(Fault):
    """Tags stop changing: the last value comes again with new time stamps."""

    kind = "freeze"
    _last: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def alter(self, sample: Sample) -> Sample:
        return replace(sample, value=self._last.setdefault(sample.tag, sample.value))


@dataclass
class Mirror(Fault):
    """A liar: deviations from ``about`` are reported with the opposite sign, ``gain`` as large.

    Feedback on such a sensor drives the plant away from the target.
    """

    kind = "mirror"
    about: float = 10.0
    gain: float = 1.0

    def alter(self, sample: Sample) -> Sample:
        if not isinstance(sample.value, float):
            return sample
        return replace(sample, value=self.about - self.gain * (sample.value - self.about))


@dataclass
class Skew(Fault):
    """A liar: the value is multiplied by ``factor`` and raised by ``offset``."""

    kind = "skew"
    factor: float = 1.0
    offset: float = 0.0

    def alter(self, sample: Sample) -> Sample:
        if not isinstance(sample.value, float):
            return sample
        return replace(sample, value=sample.value * self.factor + self.offset)


@dataclass
class Rerun(Fault):
    """A liar: what was true ``lag`` [s] ago is told again, noise and all, as if it were now."""

    kind = "rerun"
    lag: float = 300.0
    _kept: dict[str, deque[Sample]] = field(default_factory=dict, init=False, repr=False)

    def alter(self, sample: Sample) -> Sample:
        kept = self._kept.setdefault(sample.tag, deque())
        kept.append(sample)
        while len(kept) > 1 and kept[1].source_time <= sample.source_time - nanoseconds(self.lag):
            kept.popleft()
        return replace(sample, value=kept[0].value)


@dataclass
class CommunicationLoss(Fault):
    """Nothing comes out and no write gets in; with ``buffered`` the samples come afterwards."""

    kind = "communication-loss"
    duration: float = 60.0
    buffered: bool = False
    _held: list[Sample] = field(default_factory=list, init=False, repr=False)

    def begin(self, line: TabletLine) -> None:
        super().begin(line)
        line.is_cut_off = True

    def alter(self, sample: Sample) -> None:
        if self.buffered:
            self._held.append(sample)

    def end(self, line: TabletLine) -> None:
        super().end(line)
        line.is_cut_off = False
        line.deliver_late(self._held)
        self._held = []


@dataclass
class ClockShift(Fault):
    """The time stamps jump by ``shift`` [s]: back when negative, into the future when positive."""

    kind = "clock-shift"
    shift: float = -3600.0

    def alter(self, sample: Sample) -> Sample:
        return replace(sample, source_time=sample.source_time + nanoseconds(self.shift))
