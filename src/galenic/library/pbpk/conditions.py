"""Bodies that differ by pregnancy, by failing kidneys or by cirrhosis of the liver.

Pregnancy: Kapraun et al., PLoS ONE 14:e0215906, 2019, doi:10.1371/journal.pone.0215906, as in httk
(``pregnancy.csv``). Cirrhosis: Edginton and Willmann, Clin Pharmacokinet 47:743-752, 2008,
doi:10.2165/00003088-200847110-00005, from memory (``cirrhosis.csv``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import exp

from galenic.errors import DataError, UnknownName
from galenic.library.pbpk.physiology import Physiology
from galenic.library.pbpk.tables import rows

GRADES = ("A", "B", "C")
TERM = 41.0


def pregnant(body: Physiology, week: float) -> Physiology:
    """The body of a woman at a week of pregnancy, as she was before it.

    Weight, adipose tissue, blood, hematocrit, cardiac output, filtration and the flows of kidney,
    gut, liver and adipose tissue change by the course of the mean woman; placenta, fetus and
    what else grows are in the rest organ. Enzymes and binding are not changed.

    Parameters
    ----------
    body : Physiology
        Before pregnancy.
    week : float [week]
        0 to 41, from the last period.
    """
    if not 0 <= week <= TERM:
        raise DataError(f"week {week:g}", where="pregnancy", expected="0 to 41 weeks")
    output = _course("cardiac output", week)
    start = _course("cardiac output", 0.0)
    growth = _course("weight gain", week)
    flows = {
        "kidney": _course("kidney flow", week) / _course("kidney flow", 0.0),
        **{
            organ: output / start * _course(f"{organ} flow", week) / _course(f"{organ} flow", 0.0)
            for organ in ("gut", "liver", "adipose")
        },
    }
    hematocrit = _course("hematocrit", week) / _course("hematocrit", 0.0)
    plasma = body.blood * (1.0 - body.hematocrit) * _plasma(week) / _plasma(0.0)
    hematocrit *= body.hematocrit
    return body.with_changes(
        volumes={"adipose": _course("adipose", week) / _course("adipose", 0.0)},
        flows=flows,
        weight=body.weight + growth,
        blood=plasma / (1.0 - hematocrit),
        hematocrit=hematocrit,
        cardiac_output=body.cardiac_output * output / start,
        gfr=body.gfr * _course("GFR", week) / _course("GFR", 0.0),
    )


def renal_impairment(body: Physiology, gfr: float) -> Physiology:
    """The body with another filtration [L/h]; blood flow of the kidney goes with it.

    That kidneys filter the same share of their blood is an assumption. What uraemia does to
    enzymes and binding is not in it.
    """
    if not gfr > 0:
        raise DataError(
            f"a filtration of {gfr:g} L/h", where="renal impairment", expected="above 0"
        )
    return body.with_changes(flows={"kidney": gfr / body.gfr}, gfr=gfr)


@dataclass(frozen=True)
class Cirrhosis:
    """A body with cirrhosis, and what else differs from health.

    Parameters
    ----------
    body : Physiology
    liver : float
        Functional tissue, relative.
    enzymes : mapping of enzyme to float
        Amount per functional tissue, relative.
    albumin, aag : float
        Binding proteins, relative.
    """

    body: Physiology
    liver: float
    enzymes: Mapping[str, float]
    albumin: float
    aag: float

    def clearance(self, enzyme: str) -> float:
        """Intrinsic clearance of the whole liver by an enzyme, relative to health."""
        return self.liver * self.enzymes.get(enzyme, 1.0)


def cirrhosis(body: Physiology, grade: str) -> Cirrhosis:
    """The body with cirrhosis of Child-Pugh grade "A", "B" or "C".

    What the portal vein no longer brings to the liver bypasses it. Organs that are not named keep
    their flow; cardiac output takes the difference.

    Parameters
    ----------
    body : Physiology
        In health.
    grade : {"A", "B", "C"}
    """
    if grade not in GRADES:
        raise UnknownName.among("Child-Pugh grade", grade, GRADES, where="cirrhosis")
    own = _cirrhosis()[grade]
    brought = own["portal flow"] * body.portal + own["arterial flow"] * body.hepatic_artery
    more = (own["arterial flow"] - 1.0) * body.hepatic_artery
    more += (own["renal flow"] - 1.0) * body.flows["kidney"]
    ill = body.with_changes(
        cardiac_output=body.cardiac_output + more,
        flows={"liver": brought / body.flows["liver"], "kidney": own["renal flow"]},
        gfr=body.gfr * own["GFR"],
        hematocrit=body.hematocrit * own["hematocrit"],
        shunt=1.0 - own["portal flow"],
    )
    enzymes = {name: value for name, value in own.items() if name.startswith("CYP")}
    return Cirrhosis(ill, own["functional liver"], enzymes, own["albumin"], own["AAG"])


def unbound(fup: float, protein: float) -> float:
    """Unbound share in plasma when the binding protein is ``protein`` times the usual.

    1 / (1 + P (1 - fu) / fu): McNamara and Alcorn, AAPS PharmSci 4:E4, 2002,
    doi:10.1208/ps040104 (from memory).

    Examples
    --------
    >>> unbound(0.1, 1.0), round(unbound(0.1, 0.5), 4)
    (0.1, 0.1818)
    """
    return 1.0 / (1.0 + protein * (1.0 - fup) / fup)


def _plasma(week: float) -> float:
    """Volume of plasma [L]; Kapraun 2019, modified logistic."""
    return 2.4958 + 1.2406 / (1.0 + exp(-0.31338 * (week - 17.813)))


def _course(quantity: str, week: float) -> float:
    """A polynomial of the table."""
    return sum(value * week**power for power, value in _pregnancy()[quantity].items())


@cache
def _pregnancy() -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for row in rows("pregnancy"):
        found.setdefault(row["quantity"], {})[int(row["power"])] = float(row["value"])
    return found


@cache
def _cirrhosis() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for row in rows("cirrhosis"):
        found.setdefault(row["grade"], {})[row["quantity"]] = float(row["value"])
    return found
