"""The digital twin of a patient who gets a drug that is dosed by its level.

The patient is an individual of a published population: covariates are inputs, doses are actions,
levels are entered by hand or come from the laboratory's files, and the belief is the maximum a
posteriori estimate that keeps its evidence. There is nothing to write: the twin advises, and
people act.
"""

from __future__ import annotations

from typing import Any

from galenic.inference.estimator import Estimator, Noise
from galenic.inference.map import MAP
from galenic.library.pk.populations import gentamicin_xuan_2003, vancomycin_goti_2018
from galenic.modeling.variability import Population
from galenic.twin.binding import MANUAL, Binding
from galenic.twin.definition import Estimation, TwinDefinition
from galenic.twin.fold import FoldRules
from galenic.twin.level import Level

DAY = 86_400.0
STAY = 30 * DAY  # how far back doses and levels may be told or amended

COVARIATES = (
    Binding("Patient.CLcr", "CLcr", "mL/min", MANUAL, plausible=(1, 300), level=Level.SHADOW),
    Binding("Patient.Weight", "weight", "kg", MANUAL, plausible=(1, 400), level=Level.SHADOW),
    Binding("Patient.Dialysis", "dialysis", "1", MANUAL, plausible=(0, 1), level=Level.SHADOW),
)


def level_tag(drug: str) -> str:
    """The tag under which levels of a drug are entered.

    Examples
    --------
    >>> level_tag("vancomycin")
    'Level.Vancomycin'
    """
    return f"Level.{drug.capitalize()}"


def followed(drug: str, population: Population, highest: float) -> TwinDefinition:
    """The definition of the twin of a patient on ``drug``; levels above ``highest`` [mg/L] are
    rejected as not plausible.

    The error of a level is the population's, at the level that is expected; the binding only says
    that the laboratory reports steps of 0.1 mg/L.
    """
    names = [covariate.name for covariate in population.covariates]
    levels = Binding(
        level_tag(drug), "C", "mg/L", MANUAL, plausible=(0, highest), resolution=0.1,
        level=Level.SHADOW,
    )  # fmt: skip
    return TwinDefinition(
        name="patient" if drug == "vancomycin" else f"patient-{drug}",
        version="1",
        model=population,
        bindings=(levels, *(b for b in COVARIATES if b.quantity in names)),
        estimator=Estimation(estimator, MAP.settings(population, population.flatten())),
        services=("clinical.advise_dose", "clinical.forecast_levels"),
        shown=("C", "individual.CL", "individual.V1", "AUC"),
        fold=FoldRules(lateness=STAY, checkpoint=0.0, future=60.0),
        tick=10.0,
        history=STAY,
        horizon=2 * DAY,
        every=1800.0,
    )


def estimator(system: Any, noise: Noise, **settings: Any) -> Estimator:
    """MAP within a population; the noise is the population's, in the settings."""
    return MAP(system, **settings)


def patient() -> TwinDefinition:
    """The twin of a patient on vancomycin."""
    return followed("vancomycin", vancomycin_goti_2018(), 150.0)


def gentamicin_patient() -> TwinDefinition:
    """The twin of a patient on gentamicin."""
    return followed("gentamicin", gentamicin_xuan_2003(), 60.0)


DEFINITIONS = {"vancomycin": patient, "gentamicin": gentamicin_patient}
