"""The starting dose of warfarin by the International Warfarin Pharmacogenetics Consortium."""

from __future__ import annotations

from typing import Literal

from galenic.errors import UnknownName

SOURCE = (
    "Klein et al. (IWPC), N Engl J Med 360:753-764, 2009, doi:10.1056/NEJMoa0809329; "
    "coefficients from memory, not checked against the paper"
)
VKORC1 = {"GG": 0.0, "AG": -0.8677, "AA": -1.6974, "unknown": -0.4854}
CYP2C9 = {
    "*1/*1": 0.0, "*1/*2": -0.5211, "*1/*3": -0.9357, "*2/*2": -1.0616, "*2/*3": -1.9206,
    "*3/*3": -2.3312, "unknown": -0.2188,
}  # fmt: skip
RACE = {"white": 0.0, "asian": -0.1092, "black": -0.2760, "unknown": -0.1032}


def iwpc_weekly_dose(
    age: float,
    height: float,
    weight: float,
    vkorc1: Literal["GG", "AG", "AA", "unknown"],
    cyp2c9: str,
    race: Literal["white", "asian", "black", "unknown"] = "unknown",
    inducer: bool = False,
    amiodarone: bool = False,
) -> float:
    """Predicted maintenance dose [mg/week].

    Parameters
    ----------
    age : float [year]
        Counts in full decades.
    height : float [cm]
    weight : float [kg]
    vkorc1 : genotype of -1639, on the minus strand of the gene (rs9923231 C is G, T is A)
    cyp2c9 : diplotype of *1, *2 and *3, or ``unknown``
    race : as the study recorded it; ``unknown`` has a coefficient of its own
    inducer : bool
        Carbamazepine, phenytoin, rifampicin.
    amiodarone : bool

    Notes
    -----
    A regression on 4,043 patients with stable doses; for warfarin-naive adults it is a starting
    point and INR decides.

    Examples
    --------
    >>> round(iwpc_weekly_dose(60, 170, 70, "GG", "*1/*1", "white"), 1)
    41.1
    """
    for kind, given, known in (
        ("VKORC1 genotype", vkorc1, VKORC1), ("CYP2C9 diplotype", cyp2c9, CYP2C9),
        ("race in the study", race, RACE),
    ):  # fmt: skip
        if given not in known:
            raise UnknownName.among(kind, given, known, where="iwpc_weekly_dose")
    root = 5.6044 - 0.2614 * (age // 10) + 0.0087 * height + 0.0128 * weight
    root += VKORC1[vkorc1] + CYP2C9[cyp2c9] + RACE[race]
    root += 1.1816 * inducer - 0.5503 * amiodarone
    return float(max(root, 0.0) ** 2)
