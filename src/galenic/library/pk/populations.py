"""Published populations: how patients differ in the kinetics of a drug, and from what it is told.

Random effects are log-normal. Ranges of covariates are those within which advice is given here;
they are chosen from general knowledge of the studies, not copied from them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from galenic import Population
from galenic.errors import UnknownName
from galenic.library.pk.compartments import (
    OralOneCompartment,
    TwoCompartment,
    TwoCompartmentConstants,
    TwoCompartmentRates,
)
from galenic.library.pk.stages import Warfarin, WarfarinEffect
from galenic.modeling.variability import Between, Covariate, Residual

GOTI = "Goti et al., Ther Drug Monit 40(2):212-221, 2018, doi:10.1097/FTD.0000000000000490"
XUAN = "Xuan et al., Int J Antimicrob Agents, 2003, doi:10.1016/j.ijantimicag.2003.07.010"
TOBRAMYCIN = "two-compartment teaching model of the posologyr documentation, no publication"
FASANMADE = (
    "Fasanmade et al., Eur J Clin Pharmacol 65:1211-1228, 2009, doi:10.1007/s00228-009-0718-4"
)

CLCR = Covariate(
    "CLcr", 62.0, "mL/min", 35.0, "creatinine clearance (Cockcroft-Gault)", lower=10.0, upper=150.0
)
WEIGHT = Covariate("weight", 79.0, "kg", 20.0, "body weight", lower=35.0, upper=180.0)
DIALYSIS = Covariate(
    "dialysis", 0.0, "1", 0.0, "1 on haemodialysis, else 0", positive=False, lower=0.0, upper=1.0
)
ALBUMIN = Covariate("albumin", 4.1, "g/dL", 0.5, "albumin in serum", lower=2.0, upper=6.0)
ANTIBODIES = Covariate(
    "antibodies", 0.0, "1", 0.0, "1 with antibodies to the drug, else 0", positive=False,
    lower=0.0, upper=1.0,
)  # fmt: skip
FEMALE = Covariate(
    "female", 0.0, "1", 0.0, "1 for a woman, 0 for a man", positive=False, lower=0.0, upper=1.0
)


@cache
def vancomycin_goti_2018() -> Population:
    """Vancomycin in hospitalised adults with and without haemodialysis.

    Two compartments; CL = 4.5 (CLcr/120)^0.8 0.7^dialysis, V1 = 58.4 (weight/70) 0.5^dialysis,
    Q = 6.5, V2 = 38.4 (L, h); variances of log CL, V1, V2 0.147, 0.510, 0.282; sd of a level
    3.4 mg/L + 22.7 % of it. Source: Goti et al. 2018, doi:10.1097/FTD.0000000000000490, in the
    reading of posologyr.
    """
    return Population(
        TwoCompartment(CL="4.5 L/h", V1="58.4 L", Q="6.5 L/h", V2="38.4 L"),
        (CLCR, WEIGHT, DIALYSIS),
        relations={
            "CL": lambda typical, c: typical * (c.CLcr / "120 mL/min") ** 0.8 * 0.7**c.dialysis,
            "V1": lambda typical, c: typical * (c.weight / "70 kg") * 0.5**c.dialysis,
        },
        between=(Between("CL", 0.147**0.5), Between("V1", 0.510**0.5), Between("V2", 0.282**0.5)),
        residuals=(Residual("C", 0.227, "3.4 mg/L", "sd"),),
    )


@cache
def gentamicin_xuan_2003() -> Population:
    """Gentamicin in adults on once-daily treatment.

    Two compartments; CL = 0.047 CLcr (L/h per mL/min), V1 = 0.28 weight (L, kg), k12 = 0.092 /h,
    k21 = 0.071 /h; variances of log CL, V1, k12, k21 0.084, 0.003, 0.398, 0.342; sd of a level
    0.23 mg/L + 23.7 % of it. Source: Xuan et al. 2003, doi:10.1016/j.ijantimicag.2003.07.010, in
    the reading of posologyr.
    """
    return Population(
        TwoCompartmentRates(CL="4.7 L/h", V1="19.6 L", k12="0.092 1/h", k21="0.071 1/h"),
        (CLCR, WEIGHT),
        relations={
            "CL": lambda typical, c: typical * (c.CLcr / "100 mL/min"),
            "V1": lambda typical, c: typical * (c.weight / "70 kg"),
        },
        between=(
            Between("CL", 0.084**0.5),
            Between("V1", 0.003**0.5),
            Between("k12", 0.398**0.5),
            Between("k21", 0.342**0.5),
        ),
        residuals=(Residual("C", 0.237, "0.23 mg/L", "sd"),),
    )


@cache
def tobramycin() -> Population:
    """Tobramycin, a two-compartment teaching model.

    ke = 0.21 (CLcr/67.8)^0.89 (weight/66.4)^-1.09 /h, V1 = 19.8 (weight/66.4)^0.80 L,
    k12 = 0.041, k21 = 0.12 /h; variances of log ke, V1 0.08075, 0.01203; error of a level 19.8 %.
    Source: documentation of posologyr.
    """
    return Population(
        TwoCompartmentConstants(ke="0.21 1/h", V1="19.8 L", k12="0.041 1/h", k21="0.12 1/h"),
        (CLCR, WEIGHT),
        relations={
            "ke": lambda typical, c: (
                typical * (c.CLcr / "67.8 mL/min") ** 0.89 * (c.weight / "66.4 kg") ** -1.09
            ),
            "V1": lambda typical, c: typical * (c.weight / "66.4 kg") ** 0.80,
        },
        between=(Between("ke", 0.08075**0.5), Between("V1", 0.01203**0.5)),
        residuals=(Residual("C", 0.198),),
    )


@cache
def infliximab_fasanmade_2009() -> Population:
    """Infliximab in adults with ulcerative colitis.

    Two compartments; CL = 0.407 (albumin/4.1)^-1.54 (1 + 0.471 antibodies) (1 - 0.236 female) L/d,
    V1 = 3.29 (weight/77)^0.538 (1 - 0.137 female) L, V2 = 4.13 L, Q = 7.14 L/d; variances of log
    CL, V1 0.131, 0.048; error of a level 40.3 % and 0.0413 mg/L, variances added. Source: Fasanmade
    et al. 2009, doi:10.1007/s00228-009-0718-4, in the reading of nlmixr2lib.
    """
    return Population(
        TwoCompartment(CL="0.407 L/d", V1="3.29 L", Q="7.14 L/d", V2="4.13 L"),
        (WEIGHT, ALBUMIN, ANTIBODIES, FEMALE),
        relations={
            "CL": lambda typical, c: (
                typical
                * (c.albumin / "4.1 g/dL") ** -1.54
                * (1 + 0.471 * c.antibodies)
                * (1 - 0.236 * c.female)
            ),
            "V1": lambda typical, c: (
                typical * (c.weight / "77 kg") ** 0.538 * (1 - 0.137 * c.female)
            ),
        },
        between=(Between("CL", 0.131**0.5), Between("V1", 0.048**0.5)),
        residuals=(Residual("C", 0.403, "0.0413 mg/L"),),
    )


@cache
def theophylline() -> Population:
    """Theophylline after one oral dose in adults, one compartment.

    Estimated here by FOCEI on the twelve subjects distributed with NONMEM (Boeckmann, Sheiner and
    Beal 1994): ka 1.590 /h, CL 2.752 L/h, V 31.81 L; variances .402, .0691, .0192; error .694 mg/L.
    """
    model = OralOneCompartment(
        absorption={"ka": "1.590 1/h"}, body={"CL": "2.752 L/h", "V1": "31.81 L"}
    )
    return Population(
        model,
        between=(
            Between("absorption.ka", 0.402**0.5),
            Between("body.CL", 0.0691**0.5),
            Between("body.V1", 0.0192**0.5),
        ),
        residuals=(Residual("body.C", 0.0, "0.694 mg/L"),),
    )


@cache
def warfarin() -> Population:
    """Warfarin after one oral dose, absorption in two steps, one compartment.

    Estimated here by FOCEI on 32 subjects (O'Reilly 1963, 1968): ktr 1.161 /h,
    CL .1350 (weight/70)^.75 L/h, V 8.009 (weight/70) L; variances .328, .0689, .0176; error
    .466 mg/L and 10.13 %, variances added.
    """
    return Population(
        Warfarin(),
        (WEIGHT,),
        relations={
            "body.CL": lambda typical, c: typical * (c.weight / "70 kg") ** 0.75,
            "body.V1": lambda typical, c: typical * (c.weight / "70 kg"),
        },
        between=(
            Between("absorption.ktr", 0.328**0.5),
            Between("body.CL", 0.0689**0.5),
            Between("body.V1", 0.0176**0.5),
        ),
        residuals=(Residual("body.C", 0.1013, "0.466 mg/L"),),
    )


@cache
def warfarin_effect() -> Population:
    """Warfarin in blood and prothrombin complex activity, two endpoints.

    Start values for an estimation, not a published population: typical values of the worked example
    of posologyr; its effects are taken as sd of half their size, because as they stand they seem
    to be sd where variances are expected.
    """
    names = ("absorption.ktr", "absorption.ka", "body.CL", "body.V1")
    between = [Between(name, 0.3) for name in names]
    between += [Between("clotting.emax", 0.5, "logit")]
    between += [Between(f"clotting.{name}", 0.3) for name in ("ec50", "kout", "e0")]
    return Population(
        WarfarinEffect(),
        between=tuple(between),
        residuals=(
            Residual("body.C", 0.15, "0.144 mg/L"),
            Residual("clotting.pca", 0.0, 3.91),
        ),
    )


POPULATIONS: dict[str, tuple[Callable[[], Population], str]] = {
    "vancomycin": (vancomycin_goti_2018, GOTI),
    "gentamicin": (gentamicin_xuan_2003, XUAN),
    "tobramycin": (tobramycin, TOBRAMYCIN),
    "infliximab": (infliximab_fasanmade_2009, FASANMADE),
}


def population(drug: str) -> Population:
    """The population of a drug."""
    return _row(drug)[0]()


def source(drug: str) -> str:
    """Where the population of a drug was published."""
    return str(_row(drug)[1])


def _row(drug: str) -> Any:
    if drug not in POPULATIONS:
        raise UnknownName.among("drug", drug, POPULATIONS)
    return POPULATIONS[drug]
