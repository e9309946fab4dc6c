"""The starting dose of warfarin with genotypes, by two published regressions on stable doses."""

from __future__ import annotations

import math
from typing import Literal

from galenic.errors import DataError, UnknownName

SOURCE = (
    "Klein et al. (IWPC), N Engl J Med 360:753-764, 2009, doi:10.1056/NEJMoa0809329; "
    "coefficients from memory, not checked against the paper"
)
GAGE = (
    "Gage et al., Clin Pharmacol Ther 84:326-331, 2008, doi:10.1038/clpt.2008.10; effects agree "
    "with the percentages of its abstract, the intercept and further digits are from memory"
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


def gage_daily_dose(
    age: float,
    surface: float,
    vkorc1: str,
    cyp2c9: str,
    target: float = 2.5,
    amiodarone: bool = False,
    smoker: bool = False,
    african_american: bool = False,
    thrombosis: bool = False,
) -> float:
    """Predicted maintenance dose [mg/d] by Gage et al.

    Parameters
    ----------
    age : float [year]
    surface : float [m^2]
        Body surface area.
    vkorc1 : genotype of -1639: GG, AG or AA
    cyp2c9 : diplotype of *1, *2 and *3
    target : float
        INR that is wanted.
    amiodarone, smoker, african_american : bool
    thrombosis : bool
        Whether deep vein thrombosis or pulmonary embolism is the reason.

    Notes
    -----
    A regression of the log dose of 1,015 patients, which explains 53 % of its variance. Source and
    what was checked of it: ``GAGE``.

    Examples
    --------
    >>> round(7 * gage_daily_dose(60, 1.82, "GG", "*1/*1"), 1)
    43.2
    """
    if vkorc1 not in ("GG", "AG", "AA"):
        raise UnknownName.among("VKORC1 genotype", vkorc1, ("GG", "AG", "AA"))
    if cyp2c9 not in CYP2C9 or cyp2c9 == "unknown":
        known = [pair for pair in CYP2C9 if pair != "unknown"]
        raise UnknownName.among("CYP2C9 diplotype", cyp2c9, known, where="gage_daily_dose")
    if not (age > 0 and surface > 0 and target > 0):
        raise DataError(
            f"age {age:g}, surface {surface:g}, INR {target:g}", where="gage_daily_dose",
            expected="positive numbers",
        )  # fmt: skip
    log = 0.9751 - 0.3238 * vkorc1.count("A") + 0.4317 * surface - 0.00745 * age
    log += 0.2029 * target - 0.2066 * cyp2c9.count("*2") - 0.4008 * cyp2c9.count("*3")
    log += 0.0922 * smoker - 0.2538 * amiodarone - 0.0901 * african_american + 0.0664 * thrombosis
    return math.exp(log)
