"""Powder on its way: parcels in plug flow and mixed tanks, with tracers that never get lost.

A parcel is (mass, api, volume, hardening, bond, lot): the mass [kg], then extensive amounts:
API mass [kg], bulk volume [m3], and mass-weighted hardening, bond and lot [kg]. Amounts add when
powders mix, so every unit only moves amounts.
"""

from __future__ import annotations

from collections import deque

from galenic.stages.manufacturing.plant.parameters import Powder

Parcel = tuple[float, float, float, float, float, float]
NOTHING: Parcel = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def parcel_of(powder: Powder, mass: float) -> Parcel:
    """``mass`` [kg] of ``powder``."""
    return (
        mass,
        mass * powder.api,
        mass * powder.volume,
        mass * powder.hardening,
        mass * powder.bond,
        mass * powder.lot,
    )


def share(parcel: Parcel, part: float) -> Parcel:
    """The fraction ``part`` of ``parcel``."""
    m, a, v, h, b, lot = parcel
    return (m * part, a * part, v * part, h * part, b * part, lot * part)


def join(first: Parcel, second: Parcel) -> Parcel:
    """Both together."""
    m, a, v, h, b, lot = first
    n, c, w, i, d, k = second
    return (m + n, a + c, v + w, h + i, b + d, lot + k)


class Tank:
    """Ideally mixed powder."""

    __slots__ = ("held",)

    def __init__(self, held: Parcel) -> None:
        self.held = held

    def exchange(self, inflow: Parcel, out: float) -> Parcel:
        """Take ``out`` [kg] of what was in the tank, then add ``inflow``; what was taken."""
        m, a, v, h, b, lot = self.held
        f = min(out / m, 1.0) if m > 0.0 else 0.0
        g = 1.0 - f
        n, c, w, i, d, k = inflow
        self.held = (m * g + n, a * g + c, v * g + w, h * g + i, b * g + d, lot * g + k)
        return (m * f, a * f, v * f, h * f, b * f, lot * f)


class Plug:
    """First in, first out: dead time by tracking every parcel."""

    __slots__ = ("_parcels", "mass")

    def __init__(self, held: Parcel) -> None:
        self._parcels: deque[Parcel] = deque([held])
        self.mass = held[0]

    def push(self, parcel: Parcel) -> None:
        """Add ``parcel`` at the entry."""
        if parcel[0] > 0.0:
            self._parcels.append(parcel)
            self.mass += parcel[0]

    def pull(self, wanted: float) -> Parcel:
        """Take ``wanted`` [kg], or all there is, at the exit."""
        taken = NOTHING
        parcels = self._parcels
        while parcels:
            first = parcels[0]
            rest = wanted - taken[0]
            if first[0] > rest:
                part = rest / first[0]
                taken = join(taken, share(first, part))
                parcels[0] = share(first, 1.0 - part)
                break
            taken = join(taken, parcels.popleft())
        self.mass -= taken[0]
        return taken

    def total(self) -> Parcel:
        """All parcels together."""
        held = NOTHING
        for parcel in self._parcels:
            held = join(held, parcel)
        return held
