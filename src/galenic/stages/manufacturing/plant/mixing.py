"""Blender, chute, press hopper and feed frame: how powder is mixed and delayed on its way."""

from __future__ import annotations

from galenic.stages.manufacturing.plant.parameters import MixingParameters
from galenic.stages.manufacturing.plant.powder import NOTHING, Parcel, Plug, Tank, join, share

_TANKS = 5


class Blender:
    """Five equal tanks whose common hold-up follows flow and impeller speed, then a full chute.

    Outflow = flow_nominal (M/M_nominal)^order (n/n_nominal)^speed_order. The chute is in plug
    flow: what enters pushes out the same mass.
    """

    def __init__(self, parameters: MixingParameters, start: Parcel, dt: float) -> None:
        """``start`` is 1 kg of the blend that fills the line at time zero."""
        self.p = parameters
        self._dt = dt
        mass = parameters.blender_mass
        self.tanks = [Tank(share(start, mass / _TANKS)) for _ in range(_TANKS)]
        self.chute = Plug(share(start, parameters.chute))
        self.leaving = start
        self.outflow = parameters.flow

    @property
    def mass(self) -> float:
        """Powder in the tanks [kg]."""
        return sum(tank.held[0] for tank in self.tanks)

    def step(self, inflow: Parcel, speed: float) -> Parcel:
        """One step at impeller ``speed`` [rev/s]; the powder that left the chute."""
        p = self.p
        filled = self.mass / p.blender_mass
        turning = max(speed, 0.0) / p.blender_speed
        self.outflow = p.flow * filled**p.blender_order * turning**p.speed_order
        out = self.outflow * self._dt
        gain = (inflow[0] - out) / _TANKS
        moving = inflow
        passing = inflow[0]
        for tank in self.tanks:
            passing -= gain
            moving = tank.exchange(moving, max(passing, 0.0))
        self.chute.push(moving)
        leaving = self.chute.pull(moving[0])
        if leaving[0] > 0.0:
            self.leaving = leaving
        return leaving

    def held(self) -> Parcel:
        """Everything in blender and chute."""
        held = self.chute.total()
        for tank in self.tanks:
            held = join(held, tank.held)
        return held


class Hopper:
    """The press hopper: powder falls onto a mixed heap and sinks in plug flow."""

    def __init__(self, parameters: MixingParameters, start: Parcel) -> None:
        self._heap_mass = parameters.heap
        self.heap = Tank(share(start, parameters.heap))
        self.plug = Plug(share(start, parameters.hopper - parameters.heap))

    @property
    def level(self) -> float:
        """Powder in the hopper [kg]."""
        return self.heap.held[0] + self.plug.mass

    def step(self, inflow: Parcel, wanted: float) -> Parcel:
        """Take ``inflow``; give ``wanted`` [kg] at the bottom, or less when nearly empty."""
        sinking = max(0.0, self.heap.held[0] + inflow[0] - self._heap_mass)
        self.plug.push(self.heap.exchange(inflow, sinking))
        given = self.plug.pull(wanted)
        if given[0] < wanted:
            given = join(given, self.heap.exchange(NOTHING, wanted - given[0]))
        return given

    def held(self) -> Parcel:
        """Everything in the hopper."""
        return join(self.heap.held, self.plug.total())


class FeedFrame:
    """Two mixed chambers that stay full as long as the hopper gives powder."""

    def __init__(self, parameters: MixingParameters, start: Parcel) -> None:
        self.chambers = [Tank(share(start, parameters.frame / 2)) for _ in range(2)]

    @property
    def blend(self) -> Parcel:
        """What the dies are filled with now."""
        return self.chambers[1].held

    def step(self, inflow: Parcel) -> Parcel:
        """Take ``inflow``; what went into the dies, the same mass."""
        moving = inflow
        for chamber in self.chambers:
            moving = chamber.exchange(moving, inflow[0])
        return moving

    def held(self) -> Parcel:
        """Everything in the feed frame."""
        return join(self.chambers[0].held, self.chambers[1].held)
