"""Alfentanil and vancomycin in the whole body; parameters in ``library/data/pbpk``.

Of each, one number is fitted to two of its observed profiles, named in the table; all other
profiles are predicted. How well is on the validation page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from galenic.library.pbpk.absorption import absorption_rate
from galenic.library.pbpk.cohort import Metabolism
from galenic.library.pbpk.composition import everywhere, rat_tissues
from galenic.library.pbpk.partition import Compound
from galenic.library.pbpk.physiology import Physiology, physiology
from galenic.library.pbpk.tables import facts
from galenic.library.pbpk.whole_body import BARRIERS, WholeBody, whole_body


def alfentanil(body: Physiology, **values: Any) -> WholeBody:
    """Alfentanil: cleared by CYP3A4 of liver and gut, partition by Rodgers and Rowland.

    Parameters
    ----------
    body : Physiology
    values : any
        Changes, as in ``whole_body``; ``liver={"CLint": ...}`` for another activity of the enzyme.
    """
    own = facts("alfentanil")
    drug = Compound(own["log P"], own["unbound in plasma"], bases=(own["pKa of the base"],))
    speed = absorption_rate(own["permeability of the jejunum"] * 1e4)
    given: dict[str, Any] = {
        "fu": drug.fup,
        "Rb": own["blood to plasma"],
        "liver": {"CLint": f"{own['intrinsic clearance of the liver']!r} L/h"},
        "kidney": {"filtered": own["filtered share"]},
        "intestine": {"ka": f"{speed!r} 1/h", "Fg": own["passes the wall of the gut"]},
    }
    return whole_body(body, Kp=everywhere(drug), **(given | values))


def metabolism(drug: str, cv: float = 0.0) -> Metabolism:
    """How clearance and binding of a drug of this file differ between persons.

    Parameters
    ----------
    drug : {"alfentanil", "vancomycin"}
    cv : float
        Variation of the enzyme between persons.
    """
    own, usual = facts(drug), physiology("human")
    if drug == "vancomycin":
        return Metabolism(0.0, usual.volumes["liver"], fu=own["unbound in plasma"],
                          protein="albumin")  # fmt: skip
    return Metabolism(
        own["intrinsic clearance of the liver"], usual.volumes["liver"], "CYP3A4", cv,
        own["unbound in plasma"], "aag",
    )  # fmt: skip


def own_columns(drug: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a cohort that only this drug has: its exchange with cells goes with volume."""
    if drug != "vancomycin":
        return {}
    rate = facts(drug)["exchange with cells"]
    return {f"{organ}.PS": rate * table[f"{organ}.V"] for organ in BARRIERS}


def vancomycin(body: Physiology, **values: Any) -> WholeBody:
    """Vancomycin: filtered, spread in water and with albumin, slow to enter cells.

    It is large and charged: of Rodgers and Rowland's terms only those of water and albumin are
    taken, and in gut, kidney, liver and lung, which have no barrier here, only those outside of
    cells.

    Parameters
    ----------
    body : Physiology
    values : any
        Changes, as in ``whole_body``.
    """
    own = facts("vancomycin")
    fup, spread = own["unbound in plasma"], {}
    organs: dict[str, dict[str, Any]] = {}
    tissues = {**rat_tissues(), "rest": rat_tissues()["muscle"]}
    for organ, tissue in tissues.items():
        outside = fup * tissue.outside + (1.0 - fup) * tissue.albumin
        spread[organ] = outside
        if organ in BARRIERS:
            spread[organ] += fup * tissue.inside
            organs[organ] = {"outside": tissue.outside, "K_outside": outside / tissue.outside}
    given: dict[str, Any] = {
        "fu": fup,
        "Rb": own["blood to plasma"],
        "kidney": {"filtered": own["filtered share"]},
        **organs,
    }
    exchange = {o: f"{own['exchange with cells'] * body.volumes[o]!r} L/h" for o in BARRIERS}
    return whole_body(body, Kp=spread, barriers=exchange, **(given | values))


DRUGS = {"alfentanil": alfentanil, "vancomycin": vancomycin}
