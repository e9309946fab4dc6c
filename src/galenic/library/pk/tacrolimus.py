"""Tacrolimus after kidney transplantation: plasma kinetics seen through binding in whole blood.

Structure and values: Storset et al., Br J Clin Pharmacol 78:509-523, 2014, doi:10.1111/bcp.12361
(citation from memory), in the reading of nlmixr2lib. Kinetics are those of unbound and loosely
bound drug in plasma; laboratories measure whole blood, so anaemia lowers the reading and not the
exposure. Not included: absorption on the first day, which is 2.68 times as large, with a variance
of log F of 0.2815; from the second day on the population holds.
"""

from __future__ import annotations

from functools import cache

from galenic import Experiment, Model, Output, Parameter, Part, Population
from galenic.library.pk.compartments import FirstOrderAbsorption, TwoCompartment
from galenic.modeling.variability import Between, Covariate, Residual

SOURCE = "Storset et al. 2014 in the reading of nlmixr2lib"
LAG = "0.41 h"
"""From swallowing to the start of absorption: give doses to the depot that much later."""

FAT_FREE_MASS = Covariate(
    "FFM", 60.0, "kg", 10.0, "fat-free mass (Janmahasatian)", lower=25.0, upper=100.0
)
EXPRESSER = Covariate(
    "CYP3A5_expresser", 0.0, "1", 0.0, "1 with a functional allele of CYP3A5, else 0",
    positive=False, lower=0.0, upper=1.0,
)  # fmt: skip
HEMATOCRIT = Covariate("hematocrit", 0.36, "1", 0.05, "share of cells", lower=0.15, upper=0.55)
PREDNISOLONE = Covariate(
    "prednisolone", 0.0, "mg/d", 0.0, "daily dose", positive=False, lower=0.0, upper=200.0
)


class Tacrolimus(Model):
    """Oral tacrolimus: two compartments of plasma, level in whole blood by saturable binding.

    Cwb = Cp (1 + Bmax hematocrit / (Kd + Cp)).
    """

    absorption = Part(FirstOrderAbsorption, ka="1.01 1/h")
    body = Part(TwoCompartment, CL="811 L/h", V1="6290 L", Q="1200 L/h", V2="32100 L")

    hematocrit = Parameter(0.36, "1", "share of cells in blood", lower=0, upper=1, source=SOURCE)
    Bmax = Parameter(418.0, "ug/L", "binding sites in cells", lower=0, source=SOURCE)
    Kd = Parameter(3.8, "ug/L", "plasma level of half saturation", lower=0, source=SOURCE)

    Cwb = Output("ug/L", "concentration in whole blood", lower=0)

    example_duration = "48 h"

    def connections(m):
        yield m.absorption.outlet >> m.body.inlet

    def equations(m):
        bound = m.Bmax * m.hematocrit / (m.Kd + m.body.C)
        yield m.Cwb == m.body.C * (1.0 + bound)

    def example_experiment(m):
        return Experiment().dose("absorption.depot", "5 mg")


@cache
def tacrolimus_storset_2014() -> Population:
    """Tacrolimus in kidney recipients from the second day on; apparent (oral) values.

    CL = 811 (FFM/60)^0.75 1.30^expresser, Q = 1200 (FFM/60)^0.75 L/h, V1 = 6290, V2 = 32100
    (FFM/60) L, F = (1 - 0.67 P / (35 + P)) 0.82^expresser with prednisolone P in mg/d; variances of
    log CL, V1, Q 0.14842, 0.25612, 0.33429, covariances of CL with V1 0.08385 and with Q 0.13809;
    error of a level in whole blood 14.9 %.
    """
    variances = {"body.CL": 0.14842, "body.V1": 0.25612, "body.Q": 0.33429}
    together = {("body.CL", "body.V1"): 0.08385, ("body.CL", "body.Q"): 0.13809}
    return Population(
        Tacrolimus(),
        (FAT_FREE_MASS, EXPRESSER, HEMATOCRIT, PREDNISOLONE),
        relations={
            "body.CL": lambda typical, c: (
                typical * (c.FFM / "60 kg") ** 0.75 * 1.30**c.CYP3A5_expresser
            ),
            "body.Q": lambda typical, c: typical * (c.FFM / "60 kg") ** 0.75,
            "body.V1": lambda typical, c: typical * (c.FFM / "60 kg"),
            "body.V2": lambda typical, c: typical * (c.FFM / "60 kg"),
            "absorption.F": lambda typical, c: (
                typical
                * (1 - 0.67 * c.prednisolone / (c.prednisolone + "35 mg/d"))
                * 0.82**c.CYP3A5_expresser
            ),
            "hematocrit": lambda typical, c: c.hematocrit,
        },
        between=tuple(Between(path, variance**0.5) for path, variance in variances.items()),
        correlations={
            (a, b): value / (variances[a] * variances[b]) ** 0.5
            for (a, b), value in together.items()
        },
        residuals=(Residual("Cwb", 0.149),),
    )
