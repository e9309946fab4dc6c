"""Virtual cohorts: persons with correlated covariates, their bodies, and a table for run_many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from galenic.errors import DataError, UnknownName
from galenic.library.patient.covariates import Covariates
from galenic.library.pbpk.conditions import GRADES, cirrhosis, renal_impairment, unbound
from galenic.library.pbpk.growth import ontogeny, person
from galenic.library.pbpk.physiology import Physiology

KIDNEYS = {"mild": 75.0, "moderate": 45.0, "severe": 22.5}
"""Filtration in the middle of its stage [mL/min]; FDA, Impaired Renal Function, 2020."""
CONDITIONS = (
    "healthy",
    *(f"cirrhosis {grade}" for grade in GRADES),
    *(f"kidneys {stage}" for stage in KIDNEYS),
)
NEEDED = ("age", "weight")


@dataclass(frozen=True)
class Metabolism:
    """How a drug's clearance differs between persons.

    Parameters
    ----------
    clint : float [L/h]
        Intrinsic clearance of the whole liver of the usual adult, ``liver`` L of tissue.
    liver : float [L]
    enzyme : str
        Its maturation and loss in disease; none if empty.
    cv : float
        Variation of the enzyme between persons (log-normal), its median the usual amount.
    fu : float
        Unbound share in plasma.
    protein : {"albumin", "aag", ""}
        What binds the drug.
    """

    clint: float
    liver: float
    enzyme: str = ""
    cv: float = 0.0
    fu: float = 1.0
    protein: str = ""


@dataclass(frozen=True)
class Cohort:
    """Persons and their bodies.

    Parameters
    ----------
    persons : mapping of covariate to array
        Sex as text, condition as text, the rest numbers.
    bodies : sequence of Physiology
    """

    persons: Mapping[str, npt.NDArray[Any]]
    bodies: Sequence[Physiology]
    table: Mapping[str, npt.NDArray[np.float64]] = field(repr=False)
    """Columns of ``WholeBody`` for ``run_many``."""


def virtual_cohort(
    n: int,
    rng: np.random.Generator,
    covariates: Mapping[str, Covariates],
    *,
    female: float = 0.5,
    conditions: Mapping[str, float] | None = None,
    metabolism: Metabolism | None = None,
) -> Cohort:
    """Draw persons and give each a body.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator
    covariates : mapping of sex to Covariates
        For "male" and "female", or for "all": ``age`` [year], ``weight`` [kg] and, if known,
        ``height`` [cm], drawn together. Ethnic groups differ by the table that is given.
    female : float
        Share of women.
    conditions : mapping of condition to share, optional
        Of ``CONDITIONS``; all healthy if left out.
    metabolism : Metabolism, optional
        Adds columns ``liver.CLint`` and ``fu`` to the table.

    Raises
    ------
    DataError
        A share outside 0 to 1, shares that do not add up to 1, a missing covariate.
    UnknownName
        An unknown condition or sex.
    """
    if n < 1:
        raise DataError(f"{n} persons", where="virtual cohort", expected="at least 1")
    if not 0 <= female <= 1:
        raise DataError(f"a share of women of {female:g}", where="cohort", expected="0 to 1")
    women = rng.random(n) < female
    state = _states(n, rng, conditions or {"healthy": 1.0})
    drawn = _drawn(women, rng, covariates)
    sex = np.where(women, "female", "male")
    enzyme = np.exp(_log_sd(metabolism) * rng.standard_normal(n))
    bodies, rows = [], []
    for i in range(n):
        height = drawn["height"][i] if "height" in drawn else None
        body = person(drawn["age"][i], sex[i], drawn["weight"][i], height)
        body, row = _one(body, str(state[i]), float(drawn["age"][i]), float(enzyme[i]), metabolism)
        bodies.append(body)
        rows.append(columns(body) | row)
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Cohort({"sex": sex, "condition": state, **drawn}, bodies, table)


def columns(body: Physiology) -> dict[str, float]:
    """A body as a row of ``run_many``: values of ``WholeBody`` in declared units [L], [L/h]."""
    row = {}
    for name, value in body.values().items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        for key, text in inner:
            row[f"{name}.{key}".rstrip(".")] = float(str(text).split()[0])
    return row


def _one(
    body: Physiology, condition: str, age: float, amount: float, drug: Metabolism | None
) -> tuple[Physiology, dict[str, float]]:
    """The body in its condition, and what of the drug's values differs."""
    kind, _, stage = condition.partition(" ")
    factor = {"albumin": 1.0, "aag": 1.0}
    tissue, left = 1.0, 1.0
    if kind == "cirrhosis":
        ill = cirrhosis(body, stage)
        body, factor = ill.body, {"albumin": ill.albumin, "aag": ill.aag}
        tissue = ill.liver
        left = ill.enzymes.get(drug.enzyme, 1.0) if drug else 1.0
    elif kind == "kidneys":
        # The stage is that of an adult; a person already below it stays there.
        body = renal_impairment(body, min(KIDNEYS[stage] * 0.06, body.gfr))
    if drug is None:
        return body, {}
    mature = ontogeny(drug.enzyme, age) if drug.enzyme else 1.0
    scale = body.volumes["liver"] / drug.liver * tissue * left * mature * amount
    fu = unbound(drug.fu, factor[drug.protein]) if drug.protein else drug.fu
    return body, {"liver.CLint": drug.clint * scale, "fu": fu}


def _log_sd(drug: Metabolism | None) -> float:
    return float(np.sqrt(np.log1p(drug.cv**2))) if drug else 0.0


def _states(n: int, rng: np.random.Generator, shares: Mapping[str, float]) -> npt.NDArray[Any]:
    for name in shares:
        if name not in CONDITIONS:
            raise UnknownName.among("condition", name, CONDITIONS, where="virtual cohort")
    if min(shares.values()) < 0 or abs(sum(shares.values()) - 1.0) > 1e-9:
        raise DataError(
            f"shares that add up to {sum(shares.values()):g}", where="conditions", expected="1"
        )
    return rng.choice(list(shares), n, p=list(shares.values()))


def _drawn(
    women: npt.NDArray[np.bool_], rng: np.random.Generator, given: Mapping[str, Covariates]
) -> dict[str, npt.NDArray[np.float64]]:
    """Covariates of all, drawn sex by sex."""
    found: dict[str, npt.NDArray[np.float64]] = {}
    for sex, who in (("male", ~women), ("female", women)):
        if not who.any():
            continue
        source = given.get(sex, given.get("all"))
        if source is None:
            raise UnknownName.among("covariates of", sex, given, where="virtual cohort")
        sample = source.sample(int(who.sum()), rng)
        missing = [name for name in NEEDED if name not in sample]
        if missing:
            raise DataError(
                f"no {missing[0]}", where=f"covariates of {sex}", expected="age [year], weight [kg]"
            )
        for name, values in sample.items():
            found.setdefault(name, np.full(len(women), np.nan))[who] = values
    return found
