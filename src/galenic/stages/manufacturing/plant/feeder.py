"""A loss-in-weight feeder with its own controller, as a feeder maker would deliver it."""

from __future__ import annotations

import math
from enum import IntEnum

from galenic.stages.manufacturing.plant.noise import Normals, Wander
from galenic.stages.manufacturing.plant.parameters import FeederParameters, Powder
from galenic.stages.manufacturing.plant.powder import Parcel, Tank, parcel_of


class Mode(IntEnum):
    """What the feeder's controller does."""

    GRAVIMETRIC = 0
    REFILL = 1
    SETTLE = 2


class Feeder:
    """Hopper, screw, balance and gravimetric controller.

    Parameters
    ----------
    parameters : FeederParameters
        The machine.
    powder : Powder
        What it is filled with; also what refills bring, until ``source`` is changed.
    setpoint : float [kg/s]
        Mass flow at which it starts in steady state.
    dt : float [s]
        Length of a step.
    normals : Normals
        Its own stream of random numbers.

    Attributes
    ----------
    source : Powder
        What the next refill brings.
    wear, bridging, vibration, lumpiness : float [1]
        Set by disturbances: factor on the feed factor by wear; share of the feed that a bridge
        holds back; factors on balance noise and on the unevenness of refills.
    """

    def __init__(
        self,
        parameters: FeederParameters,
        powder: Powder,
        setpoint: float,
        dt: float,
        normals: Normals,
    ) -> None:
        p = self.p = parameters
        self.source = powder
        self.tank = Tank(parcel_of(powder, p.start))
        self._reference_volume = powder.volume
        self.wear = 1.0
        self.bridging = 0.0
        self.vibration = 1.0
        self.lumpiness = 1.0
        self._dt = dt
        self._normals = normals
        self._fast = Wander(normals, p.fast, p.fast_tau, dt)
        self._slow = Wander(normals, p.slow, p.slow_tau, dt)
        self._lumps = Wander(normals, p.lumps, 2.0, dt)
        self._impact = 0.0
        self.flow = setpoint
        self.brought = p.start
        self.mode = Mode.GRAVIMETRIC
        self._settled_for = 0.0
        self.learned = self.feed_factor()
        self.speed = self._integral = setpoint / self.learned
        self._setpoint = setpoint
        self.weight = p.start
        self._filter_to(setpoint)

    def feed_factor(self) -> float:
        """Powder per revolution now [kg/rev], without the noise."""
        p = self.p
        mass, _, volume, *_ = self.tank.held
        if mass <= 0.0:
            return 0.0
        shape = p.ff_max - (p.ff_max - p.ff_min) * math.exp(-p.beta * mass)
        density = self._reference_volume * mass / volume
        return shape * density * self.wear * (1.0 - self.bridging) * (1.0 + self._impact)

    @property
    def is_volumetric(self) -> bool:
        """Whether the balance is blind: during a refill and while it settles."""
        return self.mode is not Mode.GRAVIMETRIC

    @property
    def shown_flow(self) -> float:
        """The flow that the feeder displays [kg/s]; while blind, speed times learned factor."""
        return self.learned * self.speed if self.is_volumetric else self._flow_filtered[1]

    def refill(self) -> None:
        """Start a refill now."""
        if self.mode is Mode.GRAVIMETRIC:
            self.mode = Mode.REFILL

    def step(self, setpoint: float, running: bool) -> Parcel:
        """One step with ``setpoint`` [kg/s]; the powder that fell into the blender."""
        dt = self._dt
        noise = 1.0 + self._fast.step() + self._slow.step()
        lump = 1.0 + self.lumpiness * self._lumps.step()
        command = self._control(setpoint) if running else self._rest()
        self.speed += dt / self.p.lag * (command - self.speed)
        self.flow = max(0.0, self.feed_factor() * noise * self.speed)
        inflow = self.p.refill_rate * max(0.1, lump) if self.mode is Mode.REFILL else 0.0
        target = self.p.impact * inflow / self.p.refill_rate
        self._impact += dt / self.p.impact_tau * (target - self._impact)
        brought = parcel_of(self.source, inflow * dt)
        self.brought += brought[0]
        fed = self.tank.exchange(brought, self.flow * dt)
        self._weigh()
        return fed

    def _weigh(self) -> None:
        loud = 4.0 if self.mode is Mode.REFILL else 1.0
        noise = self.p.balance * self.vibration * loud * self._normals.next()
        last, self.weight = self.weight, self.tank.held[0] + noise
        if self.mode is Mode.GRAVIMETRIC:
            self._filter((last - self.weight) / self._dt)

    def _filter(self, raw: float) -> None:
        a = self._dt / self.p.filter_tau
        for pair, value in (
            (self._flow_filtered, raw),
            (self._speed_filtered, self.speed),
            (self._setpoint_filtered, self._setpoint),
        ):
            pair[0] += a * (value - pair[0])
            pair[1] += a * (pair[0] - pair[1])

    def _filter_to(self, flow: float) -> None:
        self._flow_filtered = [flow, flow]
        self._speed_filtered = [self.speed, self.speed]
        self._setpoint_filtered = [self._setpoint, self._setpoint]

    def _rest(self) -> float:
        """Stand still, ready to start again where the learned factor says."""
        self._integral = self._setpoint / self.learned
        self._filter_to(self._setpoint)
        return 0.0

    def _control(self, setpoint: float) -> float:
        self._change_mode()
        if self.is_volumetric:
            self._setpoint = setpoint
            return min(setpoint / self.learned, self.p.speed_max)
        return self._gravimetric(setpoint)

    def _change_mode(self) -> None:
        p = self.p
        if self.mode is Mode.GRAVIMETRIC and self.weight <= p.low:
            self.mode = Mode.REFILL
        elif self.mode is Mode.REFILL and self.weight >= p.high:
            self.mode = Mode.SETTLE
            self._settled_for = 0.0
        elif self.mode is Mode.SETTLE:
            self._settled_for += self._dt
            if self._settled_for >= p.settle:
                self.mode = Mode.GRAVIMETRIC
                self._integral = self.speed
                self._filter_to(self.learned * self.speed)

    def _gravimetric(self, setpoint: float) -> float:
        p, dt = self.p, self._dt
        if setpoint != self._setpoint:
            # The screw follows a new set point at once; the controller only mends the rest.
            if self._setpoint > 0.0:
                self._integral *= setpoint / self._setpoint
            else:
                self._integral = setpoint / self.learned
            self._setpoint = setpoint
        error = (self._setpoint_filtered[1] - self._flow_filtered[1]) / self.learned
        if abs(error) < 0.5 * p.speed_max:
            self._integral += p.gain * dt / p.integral * error
            self._integral = min(max(self._integral, 0.0), p.speed_max)
        if self._speed_filtered[1] > 0.02 and self._flow_filtered[1] > 0.0:
            factor = self._flow_filtered[1] / self._speed_filtered[1]
            self.learned += dt / p.learning * (factor - self.learned)
        return min(max(self._integral + p.gain * error, 0.0), p.speed_max)
