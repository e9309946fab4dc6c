"""How a drug spreads between tissue and plasma, predicted from its chemistry.

Schmitt: Toxicol In Vitro 22:457-467, 2008, doi:10.1016/j.tiv.2007.09.010, as generalised in httk
(Pearce et al., J Pharmacokinet Pharmacodyn 44:549-565, 2017, doi:10.1007/s10928-017-9548-7).
Further methods, from the share of water and lipids, are in ``composition``. The composition of
tissues is an argument: tables of it are published with these methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

CHARGED = 1e-3
"""Lipophilicity of a charged molecule relative to the neutral one; httk."""


@dataclass(frozen=True)
class Ionisation:
    """Shares of the forms of a molecule at one pH.

    Parameters
    ----------
    neutral, zwitterion, cation, anion : float
        No charge at all; charges that cancel; net positive; net negative. They add up to 1.
    """

    neutral: float
    zwitterion: float
    cation: float
    anion: float

    @property
    def lipophilic(self) -> float:
        """Octanol partition relative to that of the neutral form."""
        return self.neutral + self.zwitterion + CHARGED * (self.cation + self.anion)


@dataclass(frozen=True)
class Compound:
    """What of a drug decides where it goes.

    Parameters
    ----------
    log_p : float
        Octanol to water, neutral form.
    fup : float
        Unbound share in plasma.
    acids, bases : sequence of float
        pKa of groups that lose, and that take up, a proton.
    log_affinity : float, optional
        To phospholipid membranes; 1.294 + 0.304 log_p when not measured (Yun and Edginton,
        Xenobiotica 43:839-852, 2013, doi:10.3109/00498254.2013.770182).
    """

    log_p: float
    fup: float
    acids: Sequence[float] = ()
    bases: Sequence[float] = ()
    log_affinity: float | None = None

    @property
    def affinity(self) -> float:
        """Partition of membranes to water, neutral form."""
        told = self.log_affinity
        return float(10.0 ** (1.294 + 0.304 * self.log_p if told is None else told))

    def at(self, ph: float) -> Ionisation:
        """Forms at a pH; groups ionise independently (Henderson and Hasselbalch)."""
        groups = [(-1, 1.0 / (1.0 + 10.0 ** (pka - ph))) for pka in self.acids]
        groups += [(+1, 1.0 / (1.0 + 10.0 ** (ph - pka))) for pka in self.bases]
        shares = {"neutral": 0.0, "zwitterion": 0.0, "cation": 0.0, "anion": 0.0}
        for charged in product((False, True), repeat=len(groups)):
            share = math.prod(
                p if on else 1 - p for on, (_, p) in zip(charged, groups, strict=True)
            )
            net = sum(sign for on, (sign, _) in zip(charged, groups, strict=True) if on)
            form = "cation" if net > 0 else "anion" if net < 0 else "neutral"
            shares["zwitterion" if form == "neutral" and any(charged) else form] += share
        return Ionisation(**shares)


@dataclass(frozen=True)
class Composition:
    """What a tissue is made of; names as in the published tables.

    Parameters
    ----------
    Fcell, Fint : float
        Volume shares of cells and interstitium.
    FWc, FLc, FPc : float
        Volume shares of water, lipid and protein in cells.
    Fn_Lc, Fn_PLc, Fa_PLc : float
        Shares of neutral lipid, neutral and acidic phospholipid in the lipid.
    pH : float
        Inside cells.
    """

    Fcell: float
    Fint: float
    FWc: float
    FLc: float
    FPc: float
    Fn_Lc: float
    Fn_PLc: float
    Fa_PLc: float
    pH: float


@dataclass(frozen=True)
class Plasma:
    """Volume shares of plasma and of the fluid between cells; those of man as in Schmitt 2008.

    Parameters
    ----------
    protein, water : float
    interstitial_water : float
    interstitial_protein : float
        Relative to that of plasma.
    pH : float
    """

    protein: float = 0.06951
    water: float = 0.945
    interstitial_water: float = 0.935
    interstitial_protein: float = 0.37
    pH: float = 7.4


HUMAN_PLASMA = Plasma()


def schmitt(drug: Compound, tissue: Composition, plasma: Plasma = HUMAN_PLASMA) -> float:
    """Partition of tissue to plasma, total concentrations, without regression correction.

    Fint Kint + kappa Fcell Kcell, relative to unbound plasma, times fup: water, neutral lipid,
    membranes and protein of the cells, and protein of the interstitium.
    """
    outside, inside = drug.at(plasma.pH), drug.at(tissue.pH)
    octanol = 10.0**drug.log_p * inside.lipophilic
    affinity = drug.affinity
    acidic = affinity * (
        inside.neutral + inside.zwitterion + 20.0 * inside.cation + 0.05 * inside.anion
    )
    cells = (
        tissue.FWc
        + octanol * tissue.FLc * tissue.Fn_Lc
        + affinity * tissue.FLc * tissue.Fn_PLc
        + acidic * tissue.FLc * tissue.Fa_PLc
        + (0.163 + 0.0221 * affinity) * tissue.FPc
    )
    between = plasma.interstitial_water + plasma.interstitial_protein * (
        1.0 / drug.fup - plasma.water
    )
    trapping = outside.lipophilic / inside.lipophilic
    return float((tissue.Fint * between + trapping * tissue.Fcell * cells) * drug.fup)
