"""Bindings: which tag of the plant is which quantity of the model, and how far to believe it.

A ``Binding`` is what a person declares. ``bind`` checks it against the flattened model and gives a
``Channel``, which turns samples into readings in SI units, or rejects them with a reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from galenic.clock import nanoseconds
from galenic.errors import DataError, UnitError, UnknownName
from galenic.inference.packing import packable
from galenic.signals import Quality, Sample
from galenic.twin.level import Level
from galenic.units import convert, from_si, to_si, unit

DIRECTIONS = ("in", "out", "both")
MANUAL = "manual"


@dataclass(frozen=True)
class Binding:
    """One tag of the physical thing and the quantity of the model that it stands for.

    Parameters
    ----------
    tag : str
        Address at the source.
    quantity : str
        Path in the model; empty for a tag that is only watched (interlocks, lots, heartbeat).
    unit : str
        Unit of the tag's values; samples that bring their own unit are converted.
    connection : str
        Name of the project's connection; "manual" for values that people enter.
    direction : str
        "in" (read), "out" (written) or "both".
    calibration : (float, float)
        Gain and offset: value = gain * raw + offset, offset in ``unit``.
    plausible : (float, float)
        Limits in ``unit`` outside which a value is rejected.
    sd : float
        Standard deviation of the measurement in ``unit``; with ``relative_sd`` (a fraction of the
        value) the variances add up. ``resolution`` is the width of a rounding step in ``unit``.
    stale_after, frozen_after : float [s], optional
        Age at which the tag counts as stale; time without any change at which it counts as frozen.
    lag : float [s]
        How long before its time stamp the value was true.
    inflate : float
        Factor on the standard deviation of samples of uncertain quality.
    priority : int
        Tags of higher priority are kept longer when a queue must be thinned.
    level : Level
        The highest level this binding may have.
    """

    tag: str
    quantity: str = ""
    unit: str = "1"
    connection: str = ""
    direction: str = "in"
    calibration: tuple[float, float] = (1.0, 0.0)
    plausible: tuple[float, float] = (-math.inf, math.inf)
    sd: float = 0.0
    relative_sd: float = 0.0
    resolution: float = 0.0
    stale_after: float | None = None
    frozen_after: float | None = None
    lag: float = 0.0
    inflate: float = 3.0
    priority: int = 0
    level: Level = Level.TWIN

    @property
    def readable(self) -> bool:
        return self.direction in ("in", "both")

    @property
    def writable(self) -> bool:
        return self.direction in ("out", "both")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; open limits are None."""
        record = asdict(self)
        low, high = self.plausible
        record["plausible"] = [None if math.isinf(v) else v for v in (low, high)]
        record["calibration"] = list(self.calibration)
        return record


@dataclass(frozen=True)
class Reading:
    """An accepted sample: what the fold takes in. Value and sd are SI; text stays text."""

    time: int
    tag: str
    quantity: str
    value: float | str
    sd: float
    key: str
    uncertain: bool = False


@dataclass(frozen=True)
class Rejected:
    """A sample that is kept and marked, and never reaches the belief."""

    tag: str
    time: int
    key: str
    reason: str
    kind: str = "unusable"


@packable
@dataclass(frozen=True)
class Bypass:
    """A sensor left out on purpose, by whom, why and until when [ns]."""

    tag: str
    start: int
    until: int
    who: str
    reason: str

    def covers(self, time: int) -> bool:
        return self.start <= time < self.until


@dataclass(frozen=True)
class Channel:
    """A binding that has been checked against its model.

    ``role`` is "observation", "input" (the sample sets an input of the model) or "watch".
    """

    binding: Binding
    role: str

    @property
    def tag(self) -> str:
        return self.binding.tag

    def value_si(self, value: float) -> float:
        """A value of the tag, in the tag's unit, as SI."""
        return float(to_si(value, unit(self.binding.unit)))

    def value_of(self, si: float) -> float:
        """An SI value in the tag's unit, as it is written to the plant."""
        gain, offset = self.binding.calibration
        return (float(from_si(si, unit(self.binding.unit))) - offset) / gain

    def calibrated(self, sample: Sample) -> float:
        """The sample's number in the binding's unit, calibrated."""
        gain, offset = self.binding.calibration
        number = float(sample.value)  # type: ignore[arg-type]
        if sample.unit and sample.unit != self.binding.unit:
            number = float(convert(number, sample.unit, self.binding.unit))
        return gain * number + offset

    def spread_si(self, value: float) -> float:
        """Standard deviation of a measured ``value`` (in the binding's unit), as SI."""
        spread = math.hypot(self.binding.sd, self.binding.relative_sd * value)
        return spread * unit(self.binding.unit).scale

    @property
    def resolution_si(self) -> float:
        return self.binding.resolution * unit(self.binding.unit).scale

    @property
    def weight(self) -> float:
        """Weight of an observation of uncertain quality: its sd is ``inflate`` times larger."""
        return float(min(1.0, self.binding.inflate**-2.0))

    def read(self, sample: Sample) -> Reading | Rejected:
        """The reading of a sample, or why there is none."""
        time = sample.source_time - nanoseconds(self.binding.lag)
        reason, kind = self._objection(sample)
        if reason:
            return Rejected(sample.tag, time, sample.key, reason, kind)
        uncertain = sample.quality == Quality.UNCERTAIN
        if isinstance(sample.value, str):
            return Reading(
                time, sample.tag, self.binding.quantity, sample.value, 0.0, sample.key, uncertain
            )
        try:
            value = self.calibrated(sample)
        except UnitError as error:
            return Rejected(sample.tag, time, sample.key, error.found, "wrong unit")
        low, high = self.binding.plausible
        if not low <= value <= high:
            reason = f"{value:.6g} {self.binding.unit} is outside {low:g} to {high:g}"
            return Rejected(sample.tag, time, sample.key, reason, "not plausible")
        return Reading(
            time,
            sample.tag,
            self.binding.quantity,
            self.value_si(value),
            self.spread_si(value),
            sample.key,
            uncertain,
        )

    def _objection(self, sample: Sample) -> tuple[str, str]:
        """What is wrong with a sample in itself, and the kind of it; empty where nothing is."""
        if sample.quality == Quality.BAD:
            return f"bad quality (status 0x{sample.status:08X})", "bad quality"
        if sample.value is None:
            return "no value", "no value"
        if isinstance(sample.value, str):
            if self.role == "watch":
                return "", ""
            return f"text {sample.value!r} for a number", "not a number"
        if not math.isfinite(float(sample.value)):
            return f"{sample.value!r} is not a number", "not a number"
        return "", ""


def bind(bindings: Iterable[Binding], system: Any) -> dict[str, Channel]:
    """The channels of ``bindings`` by tag, checked against ``system``.

    Raises
    ------
    UnknownName
        A quantity is not in the model; the hint carries close matches.
    UnitError
        The unit of a tag does not measure what its quantity is.
    DataError
        A declaration contradicts itself.
    """
    channels: dict[str, Channel] = {}
    for binding in bindings:
        if binding.tag in channels:
            raise DataError(f"two bindings of tag {binding.tag!r}", where=binding.tag)
        channels[binding.tag] = Channel(binding, _role(binding, system))
    return channels


def _role(binding: Binding, system: Any) -> str:
    where = f"binding {binding.tag}"
    here = unit(binding.unit)
    if binding.direction not in DIRECTIONS:
        raise UnknownName.among("direction", binding.direction, DIRECTIONS, where=where)
    if not binding.plausible[0] < binding.plausible[1]:
        raise DataError(f"plausible limits {binding.plausible} are empty", where=where)
    if not binding.quantity:
        return "watch"
    entry = entry_of(system, binding.quantity, where=where)
    if entry.unit.dimension != here.dimension:
        raise UnitError(
            f"{binding.tag} is in [{binding.unit}], {binding.quantity} in [{entry.unit.text}]",
            where=where,
            expected=f"a unit that converts to {entry.unit.text}",
        )
    if entry.kind == "parameter":
        raise DataError(
            f"{binding.quantity} is a parameter",
            where=where,
            hint="bind an input, a state or an output; estimate a parameter by Noise(drift=...)",
        )
    if entry.kind == "input":
        return "input"
    if binding.direction != "in":
        raise DataError(f"{binding.quantity} cannot be written", where=where, expected="an input")
    if binding.sd <= 0 and binding.relative_sd <= 0 and binding.resolution <= 0:
        raise DataError(
            "a measured quantity needs its noise",
            where=where,
            expected="sd, relative_sd or resolution above zero",
        )
    return "observation"


def entry_of(system: Any, path: str, *, where: str = "") -> Any:
    """The entry of ``path`` in a flattened model; UnknownName with close matches."""
    tables: Mapping[str, Any] = entries(system)
    if path not in tables:
        raise UnknownName.among("quantity", path, tables, where=where)
    return tables[path]


def entries(system: Any) -> dict[str, Any]:
    """All scalar quantities of a flattened model by path."""
    kinds = (system.states, system.algebraics, system.inputs, system.parameters, system.outputs)
    return {entry.path: entry for table in reversed(kinds) for entry in table}
