"""Genealogy: which lots are in the tablets that leave the line now, and what to divert.

Material is followed by mass, not by time, so that a stopped line moves nothing. Each feeding point
has a residence distribution up to the outlet: ``tanks`` ideally mixed tanks in series that hold
``holdup`` in total, behind a plug of ``dead`` mass. The share of a lot in the outlet is the
difference of the distribution at its end and its start (convolution with a rectangle). Engisch and
Muzzio 2016, J. Pharm. Innov. 11:64-81, doi:10.1007/s12247-015-9238-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from galenic.errors import DataError
from galenic.inference.packing import packable


@dataclass(frozen=True)
class Residence:
    """Residence distribution over the mass that has passed [kg].

    Parameters
    ----------
    holdup : float [kg]
        Mass in the mixed part.
    tanks : float [1]
        Number of equal tanks in series (real numbers allowed: gamma distribution).
    dead : float [kg]
        Mass in plug flow.

    Examples
    --------
    One tank: 63.2 % of the outlet is new material after one hold-up has passed.

    >>> round(Residence(2.0).passed(2.0), 3)
    0.632
    """

    holdup: float
    tanks: float = 1.0
    dead: float = 0.0

    def __post_init__(self) -> None:
        if not (self.holdup > 0 and self.tanks > 0 and self.dead >= 0):
            raise DataError(
                f"{self} is not a residence distribution",
                expected="holdup and tanks above zero, dead not below zero",
            )

    def passed(self, mass: float) -> float:
        """Share of the outlet that was fed since ``mass`` ago [1]."""
        from scipy.special import gammainc

        moved = max(0.0, mass - self.dead)
        return float(gammainc(self.tanks, self.tanks * moved / self.holdup))

    def mass_at(self, share: float) -> float:
        """The mass that must pass until ``share`` of the outlet is newer [kg]."""
        from scipy.special import gammaincinv

        return float(self.dead + self.holdup / self.tanks * gammaincinv(self.tanks, share))


@dataclass(frozen=True)
class GenealogyRules:
    """How material is tracked in a twin.

    Parameters
    ----------
    points : mapping of str to Residence
        Feeding points: the tag of the lot (a text tag, as "Line.Lot") or the target of lot Actions.
    throughput : tuple of str
        Quantities whose sum is the mass flow through the line (inputs, or names of the belief).
    running : str, optional
        Tag that is 0 or false while the line stands: nothing moves then, whatever the set points.
    """

    points: Mapping[str, Residence]
    throughput: tuple[str, ...]
    running: str = ""

    def watches(self, tag: str) -> bool:
        """Whether what this tag says changes where material is."""
        return tag in self.points or tag == self.running


@packable
@dataclass(frozen=True)
class Mark:
    """At ``mass`` [kg, counted from the start] the feeding point changed to ``lot``."""

    point: str
    mass: float
    time: int
    lot: str


@packable
@dataclass(frozen=True)
class Track:
    """Mass that has passed so far and the lot changes on the way; immutable, part of the fold."""

    mass: float = 0.0
    marks: tuple[Mark, ...] = ()
    standing: bool = False

    def moved(self, mass: float) -> Track:
        """After more mass has passed; none does while the line stands."""
        return self if self.standing else replace(self, mass=self.mass + max(0.0, mass))

    def changed(self, point: str, time: int, lot: str) -> Track:
        """After a lot change at a feeding point; the same lot again changes nothing."""
        last = [mark for mark in self.marks if mark.point == point][-1:]
        if last and last[0].lot == lot:
            return self
        return replace(self, marks=(*self.marks, Mark(point, self.mass, time, lot)))

    def forgotten(self, points: Mapping[str, Residence], share: float = 1e-6) -> Track:
        """Without lots of which less than ``share`` is left in the outlet."""
        kept = []
        for i, mark in enumerate(self.marks):
            residence = points[mark.point]
            end = next((m.mass for m in self.marks[i + 1 :] if m.point == mark.point), None)
            if end is None or 1.0 - residence.passed(self.mass - end) > share:
                kept.append(mark)
        return replace(self, marks=tuple(kept))

    def lots(self, point: str, residence: Residence, ahead: float = 0.0) -> dict[str, float]:
        """Share of each lot of ``point`` in the outlet, once ``ahead`` [kg] more has passed.

        What was fed before the first known lot is named "unknown".
        """
        outlet = self.mass + ahead
        marks = [mark for mark in self.marks if mark.point == point]
        newer = [residence.passed(outlet - mark.mass) for mark in marks]
        shares: dict[str, float] = {"unknown": 1.0 - (newer[0] if newer else 0.0)}
        for i, mark in enumerate(marks):
            share = newer[i] - (newer[i + 1] if i + 1 < len(marks) else 0.0)
            shares[mark.lot] = shares.get(mark.lot, 0.0) + share
        return {lot: share for lot, share in shares.items() if share > 1e-9}


@dataclass(frozen=True)
class Diversion:
    """The outlet is to be diverted between two masses [kg, counted from the start]."""

    start: float
    stop: float

    @property
    def mass(self) -> float:
        """Mass lost [kg]."""
        return self.stop - self.start


def divert(
    residence: Residence, start: float, stop: float, limit: float = 0.01
) -> Diversion | None:
    """The stretch of the outlet with more than ``limit`` of what was fed between two masses.

    Parameters
    ----------
    residence : Residence
        From the place of the disturbance to the diverter.
    start, stop : float [kg]
        Mass counter at which the disturbance began and ended.
    limit : float [1]
        Accepted share, 1 % by default (the usual bound for an unaccepted lot).

    Returns
    -------
    Diversion or None
        None when the share never exceeds the limit.

    Examples
    --------
    An endless disturbance of one tank of 2 kg shows above 1 % after 0.02 kg.

    >>> round(divert(Residence(2.0), 0.0, 1000.0).start, 3)
    0.02
    """
    from scipy.optimize import brentq, minimize_scalar

    def share(mass: float) -> float:
        return residence.passed(mass - start) - residence.passed(mass - stop) - limit

    last = stop + residence.mass_at(1.0 - 1e-9)
    first = start + residence.dead
    peak = minimize_scalar(lambda m: -share(m), bounds=(first, last), method="bounded").x
    peak = max(peak, stop + residence.dead, key=share)
    if share(peak) <= 0:
        return None
    return Diversion(float(brentq(share, first, peak)), float(brentq(share, peak, last)))
