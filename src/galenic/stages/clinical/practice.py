"""What is usual for a drug: doses that can be prepared, targets, limits. All can be overridden.

Targets of vancomycin: Rybak et al., Am J Health Syst Pharm 77:835-864, 2020,
doi:10.1093/ajhp/zxaa036 (AUC24/MIC 400-600). The rest is from general knowledge, not of a
guideline, and is there to be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from galenic.decision.dosing import Limit, Target


@dataclass(frozen=True)
class Practice:
    """How a drug is given.

    Parameters
    ----------
    step, largest, daily : float [mg]
        Steps in which doses are prepared, largest single dose, largest amount per day.
    intervals, infusions : tuple of float [h]
    rate : float [mg/h]
        Fastest infusion.
    targets : mapping measure -> (low, high), per mg/L of MIC where ``by_mic`` names the measure
    limits : tuple of Limit
    course : float [h]
        After how long exposure is judged.
    highest : float [mg/L]
        Levels above it are not plausible.
    usual : mapping of covariate to float
        Covariates that need not be told, with what is then taken.
    clearance : str
        Parameter of the population that is the clearance, or in proportion to it.
    """

    step: float
    largest: float
    daily: float
    intervals: tuple[float, ...]
    infusions: tuple[float, ...]
    rate: float
    targets: dict[str, tuple[float, float]]
    by_mic: tuple[str, ...]
    limits: tuple[Limit, ...]
    course: float
    highest: float
    usual: Mapping[str, float] = field(default_factory=dict)
    clearance: str = "CL"

    def amounts(self, step: float, largest: float) -> list[str]:
        """The doses [mg] that can be prepared."""
        count = int(largest / step + 1e-9)
        return [f"{step * (k + 1):.10g} mg" for k in range(count)]

    def wanted(
        self, given: dict[str, tuple[float | None, float | None]], mic: float
    ) -> list[Target]:
        """Targets [declared units]: those given, or the usual ones where none is."""
        own = {k: pair for k, pair in given.items() if pair != (None, None)}
        if own:
            return [
                Target(name, low or 0.0, float("inf") if high is None else high)
                for name, (low, high) in own.items()
            ]
        return [
            Target(name, *(bound * (mic if name in self.by_mic else 1.0) for bound in pair))
            for name, pair in self.targets.items()
        ]


PRACTICE = {
    "vancomycin": Practice(
        step=250.0,
        largest=2000.0,
        daily=4500.0,
        intervals=(8.0, 12.0, 24.0),
        infusions=(1.0, 1.5, 2.0),
        rate=1000.0,
        targets={"AUC24": (400.0, 600.0)},
        by_mic=("AUC24",),
        limits=(Limit("AUC24", 700.0, 0.2),),
        course=48.0,
        highest=150.0,
        usual={"dialysis": 0.0},
    ),
    "gentamicin": Practice(
        step=40.0,
        largest=600.0,
        daily=600.0,
        intervals=(24.0, 36.0, 48.0),
        infusions=(0.5, 1.0),
        rate=1200.0,
        targets={"peak": (8.0, 20.0), "trough": (0.0, 1.0)},
        by_mic=("peak",),
        limits=(Limit("trough", 2.0, 0.1),),
        course=72.0,
        highest=60.0,
    ),
    "tobramycin": Practice(
        step=40.0,
        largest=800.0,
        daily=800.0,
        intervals=(24.0, 36.0, 48.0),
        infusions=(0.5, 1.0),
        rate=1600.0,
        targets={"peak": (8.0, 20.0), "trough": (0.0, 1.0)},
        by_mic=("peak",),
        limits=(Limit("trough", 2.0, 0.1),),
        course=72.0,
        highest=80.0,
        clearance="ke",
    ),
    "infliximab": Practice(
        step=100.0,
        largest=1500.0,
        daily=1500.0,
        intervals=(672.0, 1008.0, 1344.0),
        infusions=(2.0,),
        rate=750.0,
        targets={"trough": (5.0, 10.0)},
        by_mic=(),
        limits=(),
        course=4032.0,
        highest=1000.0,
        usual={"antibodies": 0.0},
    ),
}
