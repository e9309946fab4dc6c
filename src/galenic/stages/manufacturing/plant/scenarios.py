"""Scenarios: which disturbances happen when. Named ones vary with the seed, files do not."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from galenic.errors import DataError, UnknownName
from galenic.stages.manufacturing.plant.disturbances import (
    Bridging,
    DensityDrift,
    Disturbance,
    FeederWear,
    Freeze,
    LotChange,
    LumpyRefill,
    Mirror,
    NirBias,
    NirOutage,
    Refill,
    RefillBand,
    Rerun,
    Skew,
    StuckTester,
    Vibration,
    disturbance,
)

MINUTE = 60.0
HOUR = 3600.0
_STREAM = 99


@dataclass(frozen=True)
class Scenario:
    """Named disturbances, in any order; their objects are used by one plant only."""

    name: str
    disturbances: tuple[Disturbance, ...] = ()
    meaning: str = ""


class Dice:
    """Jitter of times and sizes: the same for the same seed and scenario."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, _STREAM))))

    def about(self, value: float, spread: float = 0.25) -> float:
        """``value`` give or take the fraction ``spread``."""
        return value * (1.0 + spread * float(self._rng.uniform(-1.0, 1.0)))

    def sign(self) -> float:
        """1 or -1."""
        return 1.0 if self._rng.random() < 0.5 else -1.0


def _calm(dice: Dice) -> tuple[Disturbance, ...]:
    return ()


def _day(dice: Dice) -> tuple[Disturbance, ...]:
    bridges = [
        Bridging(
            at=dice.about(when * MINUTE, 0.1),
            duration=dice.about(60.0, 0.3),
            feeder=feeder,
            depth=dice.about(0.38),
        )
        for when, feeder in ((16, "API"), (47, "EXC"), (83, "API"), (140, "API"), (205, "EXC"))
    ]
    shakes = [
        Vibration(at=dice.about(when * MINUTE, 0.1), duration=dice.about(60.0), feeder=feeder)
        for when, feeder in ((34, "EXC"), (100, "API"), (190, "EXC"))
    ]
    sign = dice.sign()
    return (
        *bridges,
        *shakes,
        FeederWear(at=0.0, feeder="API", per_hour=dice.about(0.03)),
        LumpyRefill(at=0.0, feeder="API", factor=dice.about(1.5)),
        DensityDrift(at=5 * MINUTE, change=sign * dice.about(0.05), hardening=-sign * 0.06),
        DensityDrift(
            at=150 * MINUTE, change=-sign * dice.about(0.05), hardening=sign * 0.06, over=1.2 * HOUR
        ),
        LotChange(
            at=dice.about(75 * MINUTE, 0.15),
            density=dice.sign() * dice.about(0.04),
            hardening=dice.about(0.12),
            bond=-dice.about(0.08),
            moisture=dice.about(0.004),
        ),
        NirBias(
            at=dice.about(110 * MINUTE, 0.1),
            duration=dice.about(40 * MINUTE),
            bias=dice.sign() * dice.about(0.0022),
            over=3 * MINUTE,
        ),
        StuckTester(at=dice.about(165 * MINUTE, 0.05), duration=dice.about(20 * MINUTE)),
        NirOutage(at=dice.about(222 * MINUTE, 0.03), duration=dice.about(150.0)),
    )


def _refills(dice: Dice) -> tuple[Disturbance, ...]:
    return (
        RefillBand(at=0.0, feeder="API", low=dice.about(0.12, 0.1), high=dice.about(0.55, 0.1)),
        RefillBand(at=0.0, feeder="EXC", low=dice.about(0.8, 0.1), high=dice.about(4.0, 0.1)),
    )


def _lot_change(dice: Dice) -> tuple[Disturbance, ...]:
    return (LotChange(at=10 * MINUTE, moisture=0.005), Refill(at=10 * MINUTE + 1, feeder="EXC"))


def _nir_bias(dice: Dice) -> tuple[Disturbance, ...]:
    return (
        NirBias(at=10 * MINUTE, bias=dice.sign() * dice.about(0.004, 0.1)),
        NirBias(at=40 * MINUTE, bias=dice.sign() * 0.003, over=30 * MINUTE),
    )


def _stuck_tester(dice: Dice) -> tuple[Disturbance, ...]:
    return (
        StuckTester(at=10 * MINUTE, duration=40 * MINUTE),
        LotChange(at=12 * MINUTE),
        Refill(at=12 * MINUTE + 1, feeder="EXC"),
    )


def _frozen(dice: Dice) -> tuple[Disturbance, ...]:
    return (Freeze(at=10 * MINUTE, duration=20 * MINUTE),)


def _lying(dice: Dice) -> tuple[Disturbance, ...]:
    return (
        Mirror(at=10 * MINUTE, duration=15 * MINUTE, tags="NIR.Content", about=10.0, gain=1.5),
        Skew(at=30 * MINUTE, duration=15 * MINUTE, tags="Tester.Weight", factor=1.04),
        Skew(at=50 * MINUTE, duration=15 * MINUTE, tags="FeederAPI.Flow", factor=0.9),
        Rerun(at=70 * MINUTE, duration=20 * MINUTE, tags="*"),
    )


def _density_drift(dice: Dice) -> tuple[Disturbance, ...]:
    return (DensityDrift(at=5 * MINUTE, change=-0.08, hardening=0.12, over=50 * MINUTE),)


NAMED: dict[str, tuple[Callable[[Dice], tuple[Disturbance, ...]], str]] = {
    "calm": (_calm, "noise and ordinary refills only"),
    "day": (_day, "a bit of everything over four hours"),
    "refills": (_refills, "both feeders run low and are refilled every few minutes"),
    "lot-change": (_lot_change, "a new excipient lot after 10 min: lighter, harder, moister"),
    "nir-bias": (_nir_bias, "the NIR steps after 10 min and drifts after 40 min"),
    "stuck-tester": (_stuck_tester, "the tester sticks while a new lot arrives"),
    "frozen": (_frozen, "every tag stands still from minute 10 to 30"),
    "lying": (_lying, "one sensor after the other tells something plausible and wrong"),
    "density-drift": (
        _density_drift,
        "the excipient gets 8 % lighter and 12 % harder within 50 min",
    ),
}


def scenario(name: str, seed: int = 1) -> Scenario:
    """The named scenario as it plays with ``seed``."""
    if name not in NAMED:
        raise UnknownName.among("scenario", name, NAMED)
    make, meaning = NAMED[name]
    return Scenario(name, make(Dice(seed)), meaning)


def read_scenario(path: str | Path) -> Scenario:
    """A scenario from a TOML file: ``name`` and one ``[[disturbance]]`` table per event.

    Times may be texts with unit (``at = "20 min"``) or seconds.
    """
    place = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"the scenario cannot be read: {error}", where=place) from error
    events = []
    for number, table in enumerate(content.get("disturbance", []), 1):
        where = f"{place}, disturbance {number}"
        values = {key: _plain(key, value) for key, value in table.items() if key != "kind"}
        if "kind" not in table:
            raise DataError("a disturbance has no kind", where=where, expected='kind = "bridging"')
        events.append(disturbance(table["kind"], values, where=where))
    name = str(content.get("name", Path(path).stem))
    return Scenario(name, tuple(events), str(content.get("meaning", "")))


def _plain(key: str, value: Any) -> Any:
    if key in ("at", "duration", "over", "lag", "shift") and isinstance(value, str):
        from galenic.units import duration

        return duration(value)
    return value


def find_scenario(name: str, seed: int = 1) -> Scenario:
    """The scenario of a file when ``name`` ends in .toml, else the named one."""
    return read_scenario(name) if name.endswith(".toml") else scenario(name, seed)
