"""Kidney function and body size from what a chart holds: closed formulas with their sources.

Inputs and results are in the units of the formulas, named in each docstring; times are ages.
"""

from __future__ import annotations

import math
from typing import Literal

from galenic.errors import DataError

Sex = Literal["male", "female"]


def cockcroft_gault(age: float, weight: float, creatinine: float, sex: Sex) -> float:
    """Creatinine clearance by Cockcroft and Gault [mL/min].

    Parameters
    ----------
    age : float [year]
    weight : float [kg]
        Actual body weight, as in the original; what to take in obesity is for the user to choose.
    creatinine : float [mg/dL]
        In serum.
    sex : {"male", "female"}

    Notes
    -----
    Nephron 16:31-41, 1976, doi:10.1159/000180580.

    Examples
    --------
    >>> round(cockcroft_gault(56, 92.6928, 1.08142, "male"), 2)
    100.0
    """
    _positive(age=age, weight=weight, creatinine=creatinine)
    factor = 0.85 if _sex(sex) == "female" else 1.0
    return factor * (140.0 - age) * weight / (72.0 * creatinine)


def ckd_epi_2021(age: float, creatinine: float, sex: Sex) -> float:
    """Glomerular filtration rate, creatinine equation without race [mL/min/1.73 m^2].

    Parameters
    ----------
    age : float [year]
        18 and older.
    creatinine : float [mg/dL]
        In serum, traceable to IDMS.
    sex : {"male", "female"}

    Notes
    -----
    Inker et al., N Engl J Med 385:1737-1749, 2021, doi:10.1056/NEJMoa2102953.
    """
    _positive(age=age, creatinine=creatinine)
    if age < 18:
        raise DataError(
            f"an age of {age:g} years", where="ckd_epi_2021", expected="18 years or older",
            hint="bedside_schwartz is for children",
        )  # fmt: skip
    kappa, alpha, own = (0.7, -0.241, 1.012) if _sex(sex) == "female" else (0.9, -0.302, 1.0)
    ratio = creatinine / kappa
    rate: float = 142.0 * min(ratio, 1.0) ** alpha * max(ratio, 1.0) ** -1.2 * 0.9938**age * own
    return rate


def bedside_schwartz(height: float, creatinine: float) -> float:
    """Glomerular filtration rate of children from 1 to 17 years [mL/min/1.73 m^2].

    Parameters
    ----------
    height : float [cm]
    creatinine : float [mg/dL]

    Notes
    -----
    0.413 height / creatinine: Schwartz et al., J Am Soc Nephrol 20:629-637, 2009,
    doi:10.1681/ASN.2008030287 (from memory).
    """
    _positive(height=height, creatinine=creatinine)
    return 0.413 * height / creatinine


def body_surface(weight: float, height: float) -> float:
    """Body surface area by Mosteller [m^2]; weight [kg], height [cm].

    N Engl J Med 317:1098, 1987, doi:10.1056/NEJM198710223171717.

    Examples
    --------
    >>> round(body_surface(70, 175), 4)
    1.8447
    """
    _positive(weight=weight, height=height)
    return math.sqrt(weight * height / 3600.0)


def not_indexed(rate: float, surface: float) -> float:
    """A rate per 1.73 m^2 as that of this body of ``surface`` [m^2]; drugs are dosed by it."""
    return rate * surface / 1.73


def body_mass_index(weight: float, height: float) -> float:
    """Weight over height squared [kg/m^2]; weight [kg], height [cm]."""
    _positive(weight=weight, height=height)
    return weight / (height / 100.0) ** 2


def fat_free_mass(weight: float, height: float, sex: Sex) -> float:
    """Fat-free mass by Janmahasatian [kg]; weight [kg], height [cm].

    Clin Pharmacokinet 44:1051-1065, 2005, doi:10.2165/00003088-200544100-00004 (coefficients from
    memory).
    """
    bmi = body_mass_index(weight, height)
    offset, slope = (8780.0, 244.0) if _sex(sex) == "female" else (6680.0, 216.0)
    return 9270.0 * weight / (offset + slope * bmi)


def ideal_weight(height: float, sex: Sex) -> float:
    """Ideal body weight by Devine [kg]; height [cm], from 152 cm up.

    Drug Intell Clin Pharm 8:650-655, 1974 (from memory).
    """
    _positive(height=height)
    base = 45.5 if _sex(sex) == "female" else 50.0
    return base + 2.3 * max(height / 2.54 - 60.0, 0.0)


def maturation(age: float, half: float = 47.7, hill: float = 3.4) -> float:
    """Share of the adult's function at a postmenstrual age [week].

    The defaults are those of glomerular filtration: Rhodin et al., Pediatr Nephrol 24:67-76, 2009,
    doi:10.1007/s00467-008-0997-5 (from memory).

    Examples
    --------
    >>> maturation(47.7)
    0.5
    """
    _positive(age=age, half=half, hill=hill)
    share: float = age**hill / (half**hill + age**hill)
    return share


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise DataError(f"{name} is {value:g}", where="patient", expected="a positive number")


def _sex(sex: str) -> str:
    if sex not in {"male", "female"}:
        raise DataError(
            f"sex is {sex!r}", where="patient", expected="male or female",
            hint="the formula has no other coefficients; compute with both and show the range",
        )  # fmt: skip
    return sex
