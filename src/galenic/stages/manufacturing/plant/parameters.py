"""What the virtual line is made of. All values SI (kg, m, s, Pa, N), speeds in rev/s.

The numbers are chosen for a plausible line of 20 kg/h, 10 % w/w API, 250 mg tablets of 8 mm;
they describe no real plant. They differ on purpose from those of the twin's library, as do the
equations: the twin has to live with a plant that it does not know exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from galenic.errors import UnknownName

HOUR = 3600.0
LABEL_CONTENT = 0.10
LABEL_WEIGHT = 250e-6


@dataclass(frozen=True)
class Powder:
    """A raw material.

    Parameters
    ----------
    name : str
        Lot.
    api : float [1]
        Mass fraction of the active ingredient.
    volume : float [m3/kg]
        Bulk specific volume; volumes of a mixture add.
    hardening : float [1]
        Resistance to compression relative to the reference excipient.
    bond : float [1]
        Strength of its bonds relative to the reference excipient.
    lot : float [1]
        1 for any lot that came in by a lot change, else 0: the tracer of genealogy.
    """

    name: str
    api: float
    volume: float
    hardening: float = 1.0
    bond: float = 1.0
    lot: float = 0.0


API = Powder("API-0117", 1.0, 1 / 380.0, hardening=1.25, bond=0.55)
EXCIPIENT = Powder("EXC-2041", 0.0, 1 / 505.0)


@dataclass(frozen=True)
class FeederParameters:
    """A loss-in-weight feeder.

    Parameters
    ----------
    ff_max, ff_min : float [kg/rev]
        Feed factor of a full and of an empty hopper.
    beta : float [1/kg]
        How fast the feed factor rises with hopper mass.
    low, high, start : float [kg]
        Mass at which a refill starts and ends, and at time zero.
    refill_rate : float [kg/s]
        Inflow during a refill.
    settle : float [s]
        Time after a refill before the balance is trusted again.
    impact, impact_tau : float [1], float [s]
        Gain of the feed factor by falling powder, and how long it lasts.
    lag : float [s]
        Time constant of the screw drive.
    speed_max : float [rev/s]
        Fastest screw speed.
    filter_tau : float [s]
        Time constant of each of the two filters on the flow.
    gain, integral : float [1], float [s]
        Gravimetric PI controller: relative gain and integral time.
    learning : float [s]
        Time constant with which the controller learns its feed factor.
    fast, fast_tau, slow, slow_tau : float [1], float [s], float [1], float [s]
        Two correlated noises on the feed factor: standard deviation and memory.
    balance : float [kg]
        Standard deviation of one weight reading.
    lumps : float [1]
        Unevenness of the refill inflow.
    """

    ff_max: float
    ff_min: float
    beta: float
    low: float
    high: float
    start: float
    refill_rate: float
    settle: float = 12.0
    impact: float = 0.03
    impact_tau: float = 12.0
    lag: float = 0.8
    speed_max: float = 3.0
    filter_tau: float = 6.0
    gain: float = 0.35
    integral: float = 14.0
    learning: float = 25.0
    fast: float = 0.02
    fast_tau: float = 3.0
    slow: float = 0.01
    slow_tau: float = 240.0
    balance: float = 1e-4
    lumps: float = 0.5


@dataclass(frozen=True)
class MixingParameters:
    """Blender, hopper and feed frame.

    Parameters
    ----------
    blender_mass : float [kg]
        Hold-up at nominal flow and impeller speed.
    blender_speed : float [rev/s]
        Nominal impeller speed.
    blender_order, speed_order : float [1]
        Outflow grows with hold-up and impeller speed to these powers.
    chute : float [kg]
        Powder in plug flow between blender and hopper; the NIR probe looks at its end.
    heap : float [kg]
        Mixed zone where powder falls into the press hopper.
    hopper : float [kg]
        Hopper level at time zero and set point of the local level loop.
    frame : float [kg]
        Powder in the feed frame, which is always full while the hopper has powder.
    flow : float [kg/s]
        Nominal throughput.
    """

    blender_mass: float = 0.33
    blender_speed: float = 250 / 60
    blender_order: float = 2.0
    speed_order: float = 1.3
    chute: float = 0.05
    heap: float = 0.08
    hopper: float = 0.40
    frame: float = 0.11
    flow: float = 20.0 / HOUR


@dataclass(frozen=True)
class PressParameters:
    """The rotary press.

    Parameters
    ----------
    stations : int
        Punch pairs.
    diameter : float [m]
        Die and tablet diameter, flat faces.
    true_density : float [kg/m3]
        Of the solid.
    filling, paddle : float [1], float [rev/s]
        Gain of filling by the paddles: 1 + filling (1 - exp(-speed/paddle)).
    turret_loss : float [1]
        Relative loss of filling at nominal turret speed.
    head : float [1]
        Relative gain of filling per relative change of hopper level.
    rearranged : float [1]
        Relative density after rearrangement, where resistance begins.
    yield_pressure, exponent : float [Pa], float [1]
        P = yield_pressure hardening ln((1 - rearranged)/(1 - D))^exponent.
    stiffness : float [N/m]
        Of punches and frame.
    warming, warming_tau : float [m], float [s]
        The true gap closes by this as the press warms up.
    recovery : float [1]
        Relative elastic recovery of thickness after ejection.
    strength, porosity_slope : float [Pa], float [1]
        Tensile strength = strength bond exp(-porosity_slope porosity).
    friction : float [1]
        Ejection force per main force.
    weight_rsd : float [1]
        Between single tablets at nominal turret speed.
    force_noise : float [1]
        Noise of the force channel, relative.
    turret_speed : float [rev/s]
        Nominal.
    """

    stations: int = 20
    diameter: float = 8e-3
    true_density: float = 1470.0
    filling: float = 0.14
    paddle: float = 22 / 60
    turret_loss: float = 0.06
    head: float = 0.015
    rearranged: float = 0.46
    yield_pressure: float = 95e6
    exponent: float = 1.12
    stiffness: float = 140e6
    warming: float = 12e-6
    warming_tau: float = 2400.0
    recovery: float = 0.035
    strength: float = 11.5e6
    porosity_slope: float = 8.4
    friction: float = 0.038
    weight_rsd: float = 0.009
    force_noise: float = 0.004
    turret_speed: float = 80_000 / HOUR / 20

    @property
    def area(self) -> float:
        """Cross-section of the die [m2]."""
        return math.pi / 4 * self.diameter**2


@dataclass(frozen=True)
class AnalyserParameters:
    """NIR probe, tester, load cells.

    Parameters
    ----------
    nir_every, nir_delay : float [s]
        Time between spectra and until a result arrives.
    nir_noise, nir_drift, nir_drift_tau : float [1], float [1], float [s]
        White noise and slow drift of the result, as mass fraction.
    tester_every, tester_delay : float [s]
        Time between samples of 10 tablets and until results arrive.
    hardness_every : int
        Hardness is measured on every so-many-th sample.
    weight_noise, thickness_noise, hardness_rsd : float [kg], float [m], float [1]
        Of the mean of a sample, on top of its sampling error.
    blender_noise, hopper_noise : float [kg]
        Load cells.
    """

    nir_every: float = 2.0
    nir_delay: float = 8.0
    nir_noise: float = 0.0012
    nir_drift: float = 0.0006
    nir_drift_tau: float = 2400.0
    tester_every: float = 60.0
    tester_delay: float = 20.0
    hardness_every: int = 5
    sample_size: int = 10
    weight_noise: float = 0.15e-6
    thickness_noise: float = 4e-6
    hardness_rsd: float = 0.05
    blender_noise: float = 0.002
    hopper_noise: float = 0.003


@dataclass(frozen=True)
class LineParameters:
    """The whole line; ``LineParameters()`` is the plant that everybody meets."""

    api: FeederParameters = field(
        default_factory=lambda: FeederParameters(
            ff_max=0.56e-3, ff_min=0.38e-3, beta=1.7, low=0.40, high=1.05, start=0.80,
            refill_rate=0.065, fast=0.022, balance=1.0e-4,
        )
    )  # fmt: skip
    excipient: FeederParameters = field(
        default_factory=lambda: FeederParameters(
            ff_max=5.7e-3, ff_min=4.3e-3, beta=0.38, low=3.0, high=7.5, start=5.0,
            refill_rate=0.36, fast=0.013, slow=0.008, balance=6e-4,
        )
    )  # fmt: skip
    mixing: MixingParameters = field(default_factory=MixingParameters)
    press: PressParameters = field(default_factory=PressParameters)
    analysers: AnalyserParameters = field(default_factory=AnalyserParameters)
    api_powder: Powder = API
    excipient_powder: Powder = EXCIPIENT

    def quiet(self) -> LineParameters:
        """The same line without any noise, for checks against formulas."""
        still = {"fast": 0.0, "slow": 0.0, "balance": 0.0, "lumps": 0.0}
        return replace(
            self,
            api=replace(self.api, **still),
            excipient=replace(self.excipient, **still),
            press=replace(self.press, weight_rsd=0.0, force_noise=0.0, warming=0.0),
            analysers=replace(
                self.analysers, nir_noise=0.0, nir_drift=0.0, weight_noise=0.0,
                thickness_noise=0.0, hardness_rsd=0.0, blender_noise=0.0, hopper_noise=0.0,
            ),
        )  # fmt: skip

    def with_values(self, **values: float) -> LineParameters:
        """A copy with other values, named as ``press__stiffness=1.2e8``."""
        line = self
        for name, value in values.items():
            part, _, quantity = name.partition("__")
            inside: Any = getattr(line, part, None)
            if not quantity or not hasattr(inside, quantity):
                raise UnknownName.among("plant parameter", name, self.names())
            changed: Any = replace(inside, **{quantity: value})
            line = replace(line, **{part: changed})
        return line

    def names(self) -> list[str]:
        """Every name that `with_values` takes."""
        parts = ("api", "excipient", "mixing", "press", "analysers")
        return [f"{part}__{name}" for part in parts for name in vars(getattr(self, part))]
