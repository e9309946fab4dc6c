"""How a drug spreads, from water, lipids and binding: three methods that share their tables.

Poulin and Theil: J Pharm Sci 91:129-156, 2002, doi:10.1002/jps.10005. Berezhkovskiy: J Pharm Sci
93:1628-1640, 2004, doi:10.1002/jps.20073. Rodgers, Leahy and Rowland: J Pharm Sci 94:1259-1276,
2005, doi:10.1002/jps.20322 (moderate to strong bases); Rodgers and Rowland: J Pharm Sci
95:1238-1257, 2006, doi:10.1002/jps.20502 (acids, very weak bases, neutrals, zwitterions). The
tables of tissues are arguments; that of rat tissue published with the last is ``rat_tissues``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from operator import mul

from galenic.errors import DataError
from galenic.library.pbpk.partition import Compound
from galenic.library.pbpk.tables import rows

STRONG = 7.0
"""A base of at least this pKa binds to acidic phospholipids (2005); others to proteins (2006)."""


@dataclass(frozen=True)
class Lipids:
    """Volume shares of water, neutral lipid and phospholipid in a tissue or in plasma."""

    water: float
    neutral: float
    phospholipid: float


def poulin_theil(drug: Compound, tissue: Lipids, plasma: Lipids, *, fat: bool = False) -> float:
    """Partition of tissue to plasma, total concentrations.

    Parameters
    ----------
    fat : bool
        For adipose tissue: olive oil instead of octanol, ionised share at pH 7.4 counted out, and
        no binding in the tissue.
    """
    bound = drug.fup if fat else drug.fup / _unbound_in_tissue(drug)
    oil = _oil(drug) * drug.at(7.4).neutral if fat else 10.0**drug.log_p
    return _dissolved(oil, tissue) / _dissolved(oil, plasma) * bound


def berezhkovskiy(drug: Compound, tissue: Lipids, plasma: Lipids, *, fat: bool = False) -> float:
    """Partition of tissue to plasma, total concentrations, where binding belongs to the water.

    Parameters
    ----------
    fat : bool
        For adipose tissue: olive oil instead of octanol, ionised share at pH 7.4 counted out.
    """
    oil = _oil(drug) * drug.at(7.4).neutral if fat else 10.0**drug.log_p
    tissue = replace(tissue, water=tissue.water / _unbound_in_tissue(drug))
    plasma = replace(plasma, water=plasma.water / drug.fup)
    return _dissolved(oil, tissue) / _dissolved(oil, plasma)


def _dissolved(oil: float, place: Lipids) -> float:
    lipid = place.neutral + 0.3 * place.phospholipid
    return oil * lipid + place.water + 0.7 * place.phospholipid


def _unbound_in_tissue(drug: Compound) -> float:
    """Half as many binding sites as in plasma."""
    return 1.0 / (1.0 + 0.5 * (1.0 - drug.fup) / drug.fup)


def _oil(drug: Compound) -> float:
    """Vegetable oil to water, neutral form."""
    return float(10.0 ** (1.115 * drug.log_p - 1.35))


@dataclass(frozen=True)
class Spaces:
    """What a tissue is made of in the method of Rodgers and Rowland.

    Parameters
    ----------
    outside, inside : float
        Volume shares of water outside and inside of cells.
    neutral, phospholipid : float
        Volume shares of neutral lipids and of neutral phospholipids.
    acidic : float [mg/g]
        Acidic phospholipids.
    albumin, lipoprotein : float
        Relative to plasma.
    """

    outside: float
    inside: float
    neutral: float
    phospholipid: float
    acidic: float
    albumin: float = 0.0
    lipoprotein: float = 0.0


@dataclass(frozen=True)
class Blood:
    """Lipids of plasma, what blood cells are made of, and acidity; those of the rat papers.

    Parameters
    ----------
    neutral, phospholipid : float
        Volume shares in plasma.
    cells : Spaces
        Of blood cells; they have no outside.
    hematocrit : float
    pH, pH_cells, pH_tissue : float
        Of plasma, in blood cells, in the cells of tissues.
    """

    neutral: float = 0.0023
    phospholipid: float = 0.0013
    cells: Spaces = Spaces(0.0, 0.603, 0.0017, 0.0029, 0.5)
    hematocrit: float = 0.45
    pH: float = 7.4
    pH_cells: float = 7.22
    pH_tissue: float = 7.0


RAT_BLOOD = Blood()


def rodgers_rowland(
    drug: Compound,
    tissue: Spaces,
    *,
    Rb: float | None = None,
    blood: Blood = RAT_BLOOD,
    fat: bool = False,
) -> float:
    """Partition of tissue to plasma, total concentrations.

    A drug with a base of pKa 7 or more binds to acidic phospholipids, by its own affinity to those
    of blood cells; any other to albumin (ionised) or lipoprotein (never ionised), as in plasma. An
    affinity below zero, where lipids and water already hold more than was measured, counts as nil.

    Parameters
    ----------
    drug : Compound
    tissue : Spaces
    Rb : float, optional
        Concentration in blood to that in plasma; needed for moderate and strong bases.
    blood : Blood
    fat : bool
        For adipose tissue: vegetable oil instead of octanol.

    Raises
    ------
    DataError
        A moderate or strong base without ``Rb``.
    """
    strong = max(drug.bases, default=0.0) >= STRONG
    oil = _oil(drug) if fat else 10.0**drug.log_p
    plasma, inside = _charged(drug, blood.pH), _charged(drug, blood.pH_tissue)
    spread = tissue.outside + (1.0 + inside) / (1.0 + plasma) * tissue.inside
    spread += _in_lipid(oil, tissue) / (1.0 + plasma)
    if strong:
        bound = _affinity(drug, Rb, blood) * tissue.acidic * inside / (1.0 + plasma)
    else:
        lipid = _in_lipid(10.0**drug.log_p, blood) / (1.0 + plasma)
        held = max(1.0 / drug.fup - 1.0 - lipid, 0.0)
        bound = held * (tissue.albumin if drug.acids or drug.bases else tissue.lipoprotein)
    return float((spread + bound) * drug.fup)


def _in_lipid(oil: float, place: Spaces | Blood) -> float:
    return oil * place.neutral + (0.3 * oil + 0.7) * place.phospholipid


def _affinity(drug: Compound, Rb: float | None, blood: Blood) -> float:
    """To acidic phospholipids [g/mg], from what blood cells hold."""
    if Rb is None:
        raise DataError(
            f"a base of pKa {max(drug.bases):g} without its ratio of blood to plasma",
            where="rodgers_rowland",
            expected="Rb, from which the binding to acidic phospholipids is taken",
        )
    plasma, cells = _charged(drug, blood.pH), _charged(drug, blood.pH_cells)
    held = (blood.hematocrit - 1.0 + Rb) / (blood.hematocrit * drug.fup)
    held -= (1.0 + cells) / (1.0 + plasma) * blood.cells.inside
    held -= _in_lipid(10.0**drug.log_p, blood.cells) / (1.0 + plasma)
    return max(held, 0.0) * (1.0 + plasma) / (blood.cells.acidic * cells)


def _charged(drug: Compound, ph: float) -> float:
    """Charged molecules per neutral one, by stepwise constants.

    As in the papers, the form of a zwitterion with both charges is not counted on its own.
    """
    anions = accumulate((10.0 ** (ph - pka) for pka in sorted(drug.acids)), mul)
    cations = accumulate((10.0 ** (pka - ph) for pka in sorted(drug.bases, reverse=True)), mul)
    return float(sum(anions) + sum(cations))


@cache
def rat_tissues() -> Mapping[str, Spaces]:
    """Composition of rat tissue by organ, commonly taken for man too; ``rat_tissue.csv``."""
    shares: dict[str, dict[str, float]] = {}
    for row in rows("rat_tissue"):
        shares.setdefault(row["tissue"], {})[row["name"]] = float(row["value"])
    return {tissue: Spaces(**own) for tissue, own in shares.items()}


def everywhere(
    drug: Compound, tissues: Mapping[str, Spaces] | None = None, *, Rb: float | None = None
) -> dict[str, float]:
    """Partition by Rodgers and Rowland of each tissue, for ``whole_body(..., Kp=...)``.

    Parameters
    ----------
    drug : Compound
    tissues : mapping of organ to Spaces, optional
        Those of the rat when none are given. "adipose" counts as fat; "rest" is taken like muscle.
    Rb : float, optional
        Concentration in blood to that in plasma; needed for moderate and strong bases.
    """
    tissues = rat_tissues() if tissues is None else tissues
    found = {
        name: rodgers_rowland(drug, tissue, Rb=Rb, fat=name == "adipose")
        for name, tissue in tissues.items()
    }
    return {"rest": found["muscle"], **found} if "muscle" in found else found
