"""What other drugs and genes do to a patient's clearance: named factors with error and source.

An effect multiplies the typical clearance. Its coefficient of variation (CV) says how well it is
known and how much it differs between patients; it widens what is expected of one patient. Effects
are taken as independent, so factors multiply and variances of their logarithms add; two inhibitors
of one enzyme are not independent and are told as one effect. No fold change ships here: each comes
with its source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from galenic.errors import DataError, UnknownName
from galenic.library.patient.genes import Phenotype, clearance_factor
from galenic.modeling.expression import Expression
from galenic.modeling.variability import Covariates, Population

LOWEST, HIGHEST, WIDEST = 0.01, 100.0, 3.0  # of a factor and its CV: beyond is a slip of the pen
CL_RATIO, AUC_RATIO = "CL ratio", "AUC ratio"
MEASURES = (CL_RATIO, AUC_RATIO)
"""What a source reports: clearance, or area under the curve, with the cause over without it."""


@dataclass(frozen=True)
class ClearanceEffect:
    """One cause that changes clearance.

    Parameters
    ----------
    cause : str
        The other drug, phenotype or condition.
    factor : float [1]
        Clearance with the cause over clearance without it, the median of patients.
    cv : float [1]
        Coefficient of variation of the factor, which is log-normal.
    source : str
        Where factor and CV are from.
    """

    cause: str
    factor: float
    cv: float
    source: str

    def __post_init__(self) -> None:
        where = f"effect of {self.cause!r}"
        if not self.cause.strip():
            raise DataError("an effect has no cause", expected="a drug, phenotype or condition")
        if not LOWEST <= self.factor <= HIGHEST:
            raise DataError(
                f"a factor of {self.factor:g}", where=where,
                expected=f"{LOWEST:g} to {HIGHEST:g}, clearance with the cause over without",
            )  # fmt: skip
        if not 0.0 <= self.cv <= WIDEST:
            raise DataError(
                f"a CV of {self.cv:g}", where=where, expected=f"0 to {WIDEST:g}",
                hint="30 % is 0.3",
            )  # fmt: skip
        if not self.source.strip():
            raise DataError(
                "no source", where=where, expected="where the factor and its CV are from",
                hint="a fold change that nobody measured is a guess and is not used",
            )  # fmt: skip

    @property
    def variance(self) -> float:
        """Variance of the factor's logarithm, ln(1 + CV^2)."""
        return math.log1p(self.cv**2)


def reported(cause: str, measure: str, ratio: float, cv: float, source: str) -> ClearanceEffect:
    """The effect that a source reports as a ratio of clearances or of areas under the curve.

    Parameters
    ----------
    measure : str
        One of :data:`MEASURES`. Areas tell clearance where bioavailability is the same with and
        without the cause: after a dose into a vein, or where the gut takes no part.
    ratio, cv : float [1]
        The log-normal ratio and its CV; that of the inverse is the same.

    Examples
    --------
    >>> reported("an inhibitor", "AUC ratio", 2.0, 0.3, "a study").factor
    0.5
    """
    if measure not in MEASURES:
        raise UnknownName.among("measure", measure, MEASURES, where=f"effect of {cause!r}")
    if not (ratio > 0.0 and math.isfinite(ratio)):
        raise DataError(
            f"a ratio of {ratio:g}", where=f"effect of {cause!r}", expected="a positive number"
        )
    return ClearanceEffect(cause, 1.0 / ratio if measure == AUC_RATIO else ratio, cv, source)


def of_phenotype(found: Phenotype, share: float, cv: float, source: str) -> ClearanceEffect:
    """The effect of a scored gene: 1 - fm + fm AS / 2 against the diplotype of score 2.

    Parameters
    ----------
    found : Phenotype
        Of a gene with activity scores.
    share : float [1]
        fm, the share of clearance by the gene's enzyme at score 2.

    Examples
    --------
    >>> from galenic.library.patient.genes import phenotype
    >>> round(of_phenotype(phenotype("CYP2D6", "*1/*4"), 0.8, 0.2, "a study").factor, 12)
    0.6
    """
    if found.activity is None:
        raise DataError(
            f"{found.gene} {found.diplotype} has no activity score", where="of_phenotype",
            expected="a scored gene with known alleles",
            hint="give the ratio of clearances that a study of this phenotype reports",
        )  # fmt: skip
    cause = f"{found.gene} {found.diplotype}"
    return ClearanceEffect(cause, clearance_factor(share, found.activity), cv, source)


def combined(effects: Sequence[ClearanceEffect]) -> tuple[float, float]:
    """Factor and CV of effects that act together, as if independent.

    Examples
    --------
    >>> one = ClearanceEffect("a", 2.0, 0.0, "a study")
    >>> combined([one, ClearanceEffect("b", 0.25, 0.0, "a study")])
    (0.5, 0.0)
    """
    causes = [effect.cause.strip().lower() for effect in effects]
    for cause in causes:
        if causes.count(cause) > 1:
            raise DataError(
                f"{cause!r} is told {causes.count(cause)} times", where="effects on clearance",
                expected="each cause once",
            )  # fmt: skip
    factor = math.prod(effect.factor for effect in effects)
    return factor, math.sqrt(math.expm1(sum(effect.variance for effect in effects)))


def changed(
    population: Population, parameter: str, effects: Sequence[ClearanceEffect]
) -> Population:
    """The population of patients in whom effects act on a clearance.

    Parameters
    ----------
    parameter : str
        The clearance, or a rate constant in proportion to it; log-normal between subjects.
    effects : sequence of ClearanceEffect

    Returns
    -------
    Population
        Its typical value multiplied by the factors, its variance of logarithms raised by theirs;
        correlations as covariances stay, so the added variance is independent of all else.
    """
    terms = {term.parameter: term for term in population.between}
    if parameter not in terms or terms[parameter].kind != "log-normal":
        known = [name for name, term in terms.items() if term.kind == "log-normal"]
        raise UnknownName.among("log-normal parameter", parameter, known, where="clearance")
    factor, cv = combined(effects)
    related = population.relations.get(parameter)

    def relation(typical: Expression, covariates: Covariates) -> Expression:
        return factor * (typical if related is None else related(typical, covariates))

    old = terms[parameter].sd
    sd = math.sqrt(old**2 + math.log1p(cv**2))
    return replace(
        population,
        relations={**population.relations, parameter: relation},
        between=tuple(
            replace(term, sd=sd) if term.parameter == parameter else term
            for term in population.between
        ),
        correlations={
            pair: value * old / sd if parameter in pair else value
            for pair, value in population.correlations.items()
        },
    )
