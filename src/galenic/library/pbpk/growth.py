"""The body of a person of any age and sex, and how enzymes and kidneys mature.

Volumes, cardiac output and height of reference persons: ICRP Publication 89, 2002 (``growth.csv``).
Enzymes: Upreti and Wahlstrom, J Clin Pharmacol 56:266-283, 2016, doi:10.1002/jcph.585
(``ontogeny.csv``). Filtration: Rhodin et al., Pediatr Nephrol 24:67-76, 2009,
doi:10.1007/s00467-008-0997-5.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from galenic.errors import DataError, UnknownName
from galenic.library.patient.body import Sex, fat_free_mass, maturation
from galenic.library.pbpk.physiology import ORGANS, PORTAL, SYSTEMIC, Physiology, closed
from galenic.library.pbpk.tables import rows

WEEKS = 365.25 / 7.0
ADULT = 20.0
"""Age from which the reference person no longer changes [year]."""
FILTRATION = 121.2
"""Filtration of an adult of 70 kg [mL/min]; Rhodin 2009, from memory."""
LEANEST = 0.05
"""Least share of adipose tissue in body weight of an adult; assumed."""
WHERE = "person"


def person(
    age: float,
    sex: Sex,
    weight: float | None = None,
    height: float | None = None,
    *,
    gestation: float = 40.0,
) -> Physiology:
    """The body of a human; the reference person of this age and sex where not told more.

    Below 18 years all organs but the brain go with body weight. From 18 years on they go with
    fat-free mass by weight and height, and adipose tissue takes what is left, 5 % at least. Blood
    flow is shared as in adults by organ mass, so that a newborn's brain gets its large part.
    Cardiac output goes with weight to the power 3/4.

    Parameters
    ----------
    age : float [year]
    sex : {"male", "female"}
    weight : float [kg], optional
    height : float [cm], optional
        Used from 18 years on.
    gestation : float [week]
        At birth; for the maturation of filtration.

    Examples
    --------
    >>> child = person(5, "male")
    >>> child.weight, round(child.cardiac_output / 60, 2), round(child.volumes["liver"], 2)
    (19.0, 3.4, 0.57)
    """
    age = float(age)
    if not 0 <= age <= 120:
        raise DataError(f"an age of {age:g} years", where=WHERE, expected="0 to 120 years")
    if sex not in ("male", "female"):
        raise DataError(f"sex is {sex!r}", where=WHERE, expected="male or female")
    usual = _reference(sex, age)
    weight = usual["weight"] if weight is None else float(weight)
    if not weight > 0:
        raise DataError(f"a body weight of {weight} kg", where=WHERE, expected="above 0 kg")
    lean, fat = _scales(age, sex, weight, height, usual)
    volumes = {
        organ: usual[organ] * (1.0 if organ == "brain" else fat if organ == "adipose" else lean)
        for organ in ORGANS
        if organ != "rest"
    }
    blood = usual["blood"] * lean
    output = usual["cardiac output"] * 60.0 * (weight / usual["weight"]) ** 0.75
    rest = weight - sum(volumes.values()) - blood
    if min(rest, volumes["adipose"]) <= 0:
        raise DataError(
            f"{weight:g} kg leave no room for the organs of a person of {age:g} years",
            where=WHERE,
            hint="check weight, height and age",
        )
    flows = _flows(sex, {**volumes, "rest": rest}, weight, output)
    filtration = FILTRATION * 0.06 * (weight / 70.0) ** 0.75
    mature = maturation(age * WEEKS + gestation)
    return closed(
        Physiology(
            "human", weight, volumes, flows, output, filtration * mature, usual["hematocrit"], blood
        )
    )


def ontogeny(enzyme: str, age: float, place: str = "liver") -> float:
    """Amount of an enzyme per gram of organ, relative to adults.

    Parameters
    ----------
    enzyme : str
        As "CYP3A4".
    age : float [year]
        From birth at term.
    place : {"liver", "gut"}

    Examples
    --------
    >>> round(ontogeny("CYP3A4", 0.0), 2), round(ontogeny("CYP2D6", 0.1), 3)
    (0.11, 0.518)
    """
    known = _enzymes()
    if (enzyme, place) not in known:
        names = [name for name, where in known if where == place]
        raise UnknownName.among("enzyme", enzyme, names, where=f"ontogeny in the {place}")
    own = known[enzyme, place]
    age = min(age, own["cap"])
    grown = age ** own["hill"] / (own["half"] ** own["hill"] + age ** own["hill"])
    return float(own["birth"] + (own["largest"] - own["birth"]) * grown)


def _scales(
    age: float, sex: Sex, weight: float, height: float | None, usual: dict[str, float]
) -> tuple[float, float]:
    """Factors of lean organs and of adipose tissue."""
    brain = usual["brain"]  # keeps its size, so that the others take its part of a difference
    if age < 18:
        scale = (weight - brain) / (usual["weight"] - brain)
        return scale, scale
    tall = usual["height"] if height is None else float(height)
    lean = fat_free_mass(weight, tall, sex) / fat_free_mass(usual["weight"], usual["height"], sex)
    other = usual["weight"] - usual["adipose"]
    fat = max(weight - lean * other, LEANEST * weight)
    return (weight - fat - brain) / (other - brain), fat / usual["adipose"]


def _flows(sex: str, volumes: dict[str, float], weight: float, output: float) -> dict[str, float]:
    """Blood flows [L/h]: an organ's share in adults, by how much more of the body it is here."""
    adult, shares = _reference(sex, ADULT), _shares(sex)
    shares["rest"] = 1.0 - shares["liver"] - sum(shares[organ] for organ in SYSTEMIC)
    adult["rest"] = adult["weight"] - adult["blood"] - sum(adult[o] for o in ORGANS if o != "rest")
    shares["liver"] -= sum(shares[organ] for organ in PORTAL)  # arterial alone
    drawn = {
        organ: share * (volumes[organ] / weight) / (adult[organ] / adult["weight"])
        for organ, share in shares.items()
    }
    lung = drawn.pop("lung")
    scale = output / sum(drawn.values())
    flows = {organ: scale * flow for organ, flow in drawn.items()}
    flows["liver"] += sum(flows[organ] for organ in PORTAL)
    return {**flows, "lung": scale * lung}


def _reference(sex: str, age: float) -> dict[str, float]:
    return {name: float(course(min(age, ADULT))) for name, course in _courses(sex).items()}


@cache
def _courses(sex: str) -> dict[str, Any]:
    """Shape-preserving cubics through the ages of the table."""
    from scipy.interpolate import PchipInterpolator

    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows("growth"):
        if row["sex"] == sex and not row["quantity"].startswith("flow of "):
            ages, values = found.setdefault(row["quantity"], ([], []))
            ages.append(float(row["age"]))
            values.append(float(row["value"]))
    return {name: PchipInterpolator(*points) for name, points in found.items()}


def _shares(sex: str) -> dict[str, float]:
    """Shares of cardiac output of adults by organ."""
    return {
        row["quantity"].removeprefix("flow of "): float(row["value"])
        for row in rows("growth")
        if row["sex"] == sex and row["quantity"].startswith("flow of ")
    }


@cache
def _enzymes() -> dict[tuple[str, str], dict[str, float]]:
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows("ontogeny"):
        found.setdefault((row["enzyme"], row["place"]), {})[row["name"]] = float(row["value"])
    return found
