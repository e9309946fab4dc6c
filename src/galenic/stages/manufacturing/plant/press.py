"""The rotary press: die filling, two compressions, and what the tablets are like."""

from __future__ import annotations

import math
from dataclasses import dataclass

from galenic.stages.manufacturing.plant.parameters import LABEL_CONTENT, PressParameters
from galenic.stages.manufacturing.plant.powder import Parcel

_DENSEST = 0.995


@dataclass
class Settings:
    """What the press is set to: speeds [rev/s], depths and gaps [m]."""

    turret: float
    paddle: float
    fill_depth: float
    main_gap: float
    pre_gap: float


@dataclass(frozen=True)
class Tablets:
    """The tablets of this moment: means of weight [kg], force [N], thickness [m], hardness [N]."""

    weight: float
    content: float
    main_force: float
    pre_force: float
    ejection_force: float
    thickness: float
    hardness: float
    strength: float
    rsd: float


class Press:
    """Tablets from blend and settings.

    Weight = bulk density x filling x die volume; filling rises with paddle speed and powder head
    and falls with turret speed. Pressure = P0 k (ln((1 - D0)/(1 - D)))^m with relative density D
    at the smallest punch distance, which is gap + force/stiffness: a Heckel type law with a power,
    solved by Newton from the last force.
    """

    def __init__(self, parameters: PressParameters) -> None:
        self.p = parameters
        self._main = self._pre = 1000.0

    def filling(self, settings: Settings, head: float) -> float:
        """Apparent over bulk density in the die [1]; ``head`` is hopper level over nominal."""
        p = self.p
        speed = settings.turret / p.turret_speed
        gain = 1.0 + p.filling * (1.0 - math.exp(-settings.paddle / p.paddle))
        loss = 1.0 - p.turret_loss * speed * math.sqrt(speed)
        return gain * loss * (1.0 + p.head * (min(head, 2.0) - 1.0))

    def weight(self, blend: Parcel, settings: Settings, head: float) -> float:
        """Mean tablet weight [kg]."""
        density = blend[0] / blend[2]
        return density * self.filling(settings, head) * self.p.area * settings.fill_depth

    def force(self, weight: float, hardening: float, gap: float, guess: float) -> float:
        """Compression force [N] of ``weight`` [kg] at ``gap`` [m]."""
        p = self.p
        solid = weight / (p.true_density * p.area)
        scale = p.area * p.yield_pressure * hardening
        force = guess
        for _ in range(25):
            density = min(solid / (gap + force / p.stiffness), _DENSEST)
            if density <= p.rearranged:
                return 0.0
            x = math.log((1.0 - p.rearranged) / (1.0 - density))
            law = scale * math.pow(x, p.exponent)
            slope = scale * p.exponent * math.pow(x, p.exponent - 1.0) / (1.0 - density)
            slope *= density * density / (solid * p.stiffness)
            step = (law - force) / (1.0 + slope)
            force = max(force + step, 0.0)
            if abs(step) < 1e-6 * scale:
                return force
        return force

    def compress(self, blend: Parcel, weight: float, settings: Settings, warm: float) -> Tablets:
        """The tablets of ``weight`` [kg]; ``warm`` [m] is how far the warm press closes the gap."""
        p = self.p
        mass, api, _, hardening, bond, _ = blend
        k = hardening / mass
        gap = settings.main_gap - warm
        self._main = self.force(weight, k, gap, self._main)
        self._pre = self.force(weight, k, settings.pre_gap - warm, self._pre)
        thickness = (gap + self._main / p.stiffness) * (1.0 + p.recovery)
        porosity = 1.0 - min(weight / (p.true_density * p.area * thickness), _DENSEST)
        speed = settings.turret / p.turret_speed
        content = api / mass
        dilution = 1.0 - 1.5 * (content - LABEL_CONTENT)
        strength = p.strength * (bond / mass) * dilution * math.exp(-p.porosity_slope * porosity)
        strength *= 1.0 - 0.06 * (speed - 1.0)
        return Tablets(
            weight=weight,
            content=content,
            main_force=self._main,
            pre_force=self._pre,
            ejection_force=p.friction * self._main * (1.0 + 0.1 * (speed - 1.0)),
            thickness=thickness,
            hardness=math.pi / 2 * p.diameter * thickness * strength,
            strength=strength,
            rsd=p.weight_rsd * (0.8 + 0.2 * speed**2),
        )
