"""The digital twin of a patient who gets a drug that is dosed by its level.

The patient is an individual of a published population: covariates are inputs, doses are actions,
levels are entered by hand or come from the laboratory's files, and the belief is the maximum a
posteriori estimate that keeps its evidence. There is nothing to write: the twin advises, and
people act.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from galenic.inference.estimator import Estimator, Noise
from galenic.inference.map import MAP
from galenic.library.patient.clearance import ClearanceEffect, changed
from galenic.library.pk.populations import population
from galenic.modeling.variability import Covariate
from galenic.stages.clinical.practice import PRACTICE
from galenic.twin.binding import MANUAL, Binding
from galenic.twin.definition import Estimation, TwinDefinition
from galenic.twin.fold import FoldRules
from galenic.twin.level import Level

DAY = 86_400.0
STAY = 30 * DAY  # how far back doses and levels may be told or amended

PLAUSIBLE = {
    "CLcr": ("Patient.CLcr", (1, 300)),
    "weight": ("Patient.Weight", (1, 400)),
    "dialysis": ("Patient.Dialysis", (0, 1)),
    "albumin": ("Patient.Albumin", (0.5, 8)),
    "antibodies": ("Patient.Antibodies", (0, 1)),
    "female": ("Patient.Female", (0, 1)),
}
"""Tag of each covariate, and the range of what can be, in the covariate's unit."""


def level_tag(drug: str) -> str:
    """The tag under which levels of a drug are entered.

    Examples
    --------
    >>> level_tag("vancomycin")
    'Level.Vancomycin'
    """
    return f"Level.{drug.capitalize()}"


def followed(drug: str, effects: Sequence[ClearanceEffect] = ()) -> TwinDefinition:
    """The definition of the twin of a patient on ``drug``, with what acts on clearance throughout.

    The error of a level is the population's, at the level that is expected; the binding only says
    that the laboratory reports steps of 0.1 mg/L.
    """
    subject = population(drug)
    if effects:
        subject = changed(subject, PRACTICE[drug].clearance, effects)
    levels = Binding(
        level_tag(drug), "C", "mg/L", MANUAL, plausible=(0, PRACTICE[drug].highest),
        resolution=0.1, level=Level.SHADOW,
    )  # fmt: skip
    shown = [term.parameter for term in subject.between][:2]
    return TwinDefinition(
        name="patient" if drug == "vancomycin" else f"patient-{drug}",
        version="1",
        model=subject,
        bindings=(levels, *(_told(covariate) for covariate in subject.covariates)),
        estimator=Estimation(estimator, MAP.settings(subject, subject.flatten())),
        services=("clinical.advise_dose", "clinical.forecast_levels"),
        shown=("C", *(f"individual.{path}" for path in shown), "AUC"),
        fold=FoldRules(lateness=STAY, checkpoint=0.0, future=60.0),
        tick=10.0,
        history=STAY,
        horizon=2 * DAY,
        every=1800.0,
    )


def _told(covariate: Covariate) -> Binding:
    """A covariate that is entered by hand."""
    tag, plausible = PLAUSIBLE[covariate.name]
    return Binding(
        tag, covariate.name, covariate.unit, MANUAL, plausible=plausible, level=Level.SHADOW
    )


def estimator(system: Any, noise: Noise, **settings: Any) -> Estimator:
    """MAP within a population; the noise is the population's, in the settings."""
    return MAP(system, **settings)


def patient() -> TwinDefinition:
    """The twin of a patient on vancomycin."""
    return followed("vancomycin")


def gentamicin_patient() -> TwinDefinition:
    """The twin of a patient on gentamicin."""
    return followed("gentamicin")


def tobramycin_patient() -> TwinDefinition:
    """The twin of a patient on tobramycin."""
    return followed("tobramycin")


def infliximab_patient() -> TwinDefinition:
    """The twin of a patient on infliximab."""
    return followed("infliximab")


DEFINITIONS = {
    "vancomycin": patient,
    "gentamicin": gentamicin_patient,
    "tobramycin": tobramycin_patient,
    "infliximab": infliximab_patient,
}
