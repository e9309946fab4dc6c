"""Midazolam in the whole body, the usual probe of CYP3A4; parameters in ``midazolam.csv``.

Nothing is fitted here to observed levels. What the tissues take up is the caller's to predict, as
by ``composition.everywhere``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galenic.library.pbpk.absorption import absorption_rate, gut_availability
from galenic.library.pbpk.partition import Compound
from galenic.library.pbpk.physiology import Physiology
from galenic.library.pbpk.tables import facts
from galenic.library.pbpk.whole_body import WholeBody, whole_body

MINUTES = 60.0


def compound() -> Compound:
    """What decides where it goes."""
    own = facts("midazolam")
    return Compound(own["log P"], own["unbound in plasma"], bases=(own["pKa of the base"],))


def liver_clearance(body: Physiology) -> float:
    """Intrinsic clearance of the whole liver by CYP3A4 and UGT1A4 [L/h], far below saturation."""
    own, total = facts("midazolam"), 0.0
    for enzyme in ("CYP3A4", "UGT1A4"):
        rate = own[f"{enzyme} turnover"] * own[f"{enzyme} in liver"]
        total += rate / own[f"{enzyme} Michaelis constant"]
    return total * body.volumes["liver"] * MINUTES


def gut_share() -> float:
    """Share of what is absorbed that passes the wall of the gut."""
    own = facts("midazolam")
    clearance = own["CYP3A4 turnover"] * own["CYP3A4 in the gut wall"] * MINUTES
    clearance /= own["CYP3A4 Michaelis constant"]
    return gut_availability(clearance, own["clearance by permeability"])


def midazolam(body: Physiology, Kp: Mapping[str, float], **values: Any) -> WholeBody:
    """The drug in a body.

    Parameters
    ----------
    body : Physiology
    Kp : mapping of organ to float
        Partition of tissue to plasma.
    values : any
        Changes, as in ``whole_body``.
    """
    return whole_body(body, Kp=Kp, **(drug_values(body) | values))


def drug_values(body: Physiology) -> dict[str, Any]:
    """What of the drug ``whole_body`` or ``body_values`` needs, for one body."""
    own = facts("midazolam")
    saturation = own["CYP3A4 Michaelis constant"] * 1e-6 * own["molar mass"] * 1e3
    liver = {"CLint": f"{liver_clearance(body)!r} L/h", "Km": f"{saturation!r} mg/L"}
    speed = absorption_rate(own["permeability of the jejunum"] * 1e4)
    return {
        "fu": own["unbound in plasma"],
        "Rb": own["blood to plasma"],
        "liver": liver,
        "kidney": {"filtered": own["filtered share"]},
        "intestine": {"ka": f"{speed!r} 1/h", "Fg": gut_share()},
    }
