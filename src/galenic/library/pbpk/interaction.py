"""How much one drug changes the exposure to another: the static formulas of the guidances.

FDA, In Vitro Drug Interaction Studies, January 2020 (R1, R2, R3 and the mechanistic static model
of its figure 7); ICH M12, 2024, keeps R1 and the static model. Levels are all in one unit, umol/L
or mg/L. Rates of degradation of CYP3A4 are from memory, not checked against a guidance's text.
"""

from __future__ import annotations

from dataclasses import dataclass

from galenic.errors import DataError

KDEG_LIVER = 0.0193
"""Degradation of CYP3A4 in the liver [1/h], half-life 36 h; from memory."""
KDEG_GUT = 0.0289
"""Degradation of CYP3A4 in the wall of the gut [1/h], half-life 24 h; from memory."""
LIMITS = {"R1": 1.02, "R1 gut": 11.0, "R2": 1.25, "R3": 0.8}
"""From where a study is asked for: R3 at or below, the others at or above."""
EQUIVALENCE = (0.8, 1.25)
"""Ratios of exposure within these are no interaction."""


@dataclass(frozen=True)
class Perpetrator:
    """What a drug does to an enzyme; None where it does not.

    Parameters
    ----------
    Ki : float, optional
        Reversible inhibition, unbound.
    kinact, KI : float, optional [1/h], [as the level]
        Largest rate of inactivation, and level at its half.
    Emax, EC50 : float, optional
        Largest induction (relative to usual synthesis), and level at its half.
    """

    Ki: float | None = None
    kinact: float | None = None
    KI: float | None = None
    Emax: float | None = None
    EC50: float | None = None

    def __post_init__(self) -> None:
        for a, b in (("kinact", "KI"), ("Emax", "EC50")):
            if (getattr(self, a) is None) != (getattr(self, b) is None):
                raise DataError(f"only one of {a} and {b}", where="perpetrator", expected="both")
        for name in ("Ki", "KI", "EC50"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise DataError(f"{name} is {value:g}", where="perpetrator", expected="above 0")

    def reversible(self, level: float) -> float:
        """Share of activity left by reversible inhibition, A = 1 / (1 + I / Ki)."""
        return 1.0 if self.Ki is None else 1.0 / (1.0 + level / self.Ki)

    def inactivated(self, level: float, kdeg: float) -> float:
        """Share of enzyme left by inactivation at steady state, B."""
        if self.kinact is None or self.KI is None:
            return 1.0
        return kdeg / (kdeg + self.kinact * level / (self.KI + level))

    def induced(self, level: float, scale: float = 1.0) -> float:
        """Enzyme relative to usual by induction at steady state, C = 1 + d Emax I / (EC50 + I)."""
        if self.Emax is None or self.EC50 is None:
            return 1.0
        return 1.0 + scale * self.Emax * level / (self.EC50 + level)

    def remaining(self, level: float, kdeg: float, scale: float = 1.0) -> float:
        """Activity relative to usual at a steady level: A B C.

        Parameters
        ----------
        level : float
            Unbound level at the enzyme.
        kdeg : float [1/h]
        scale : float
            Calibration of induction, d.
        """
        return self.reversible(level) * self.inactivated(level, kdeg) * self.induced(level, scale)


def basic(
    drug: Perpetrator,
    level: float,
    *,
    kdeg: float = KDEG_LIVER,
    gut: float | None = None,
    inactivation_margin: float = 50.0,
    induction_margin: float = 10.0,
) -> dict[str, float]:
    """R1, R2 and R3 of the basic models, of those that the drug's values allow.

    Parameters
    ----------
    drug : Perpetrator
    level : float
        Largest unbound level in plasma at steady state.
    kdeg : float [1/h]
    gut : float, optional
        Dose over 250 mL, for R1 of the gut.
    inactivation_margin, induction_margin : float
        Multiples of the level: 50 and 10 in FDA 2020.

    Examples
    --------
    >>> {k: round(v, 3) for k, v in basic(Perpetrator(Ki=0.6), 0.1648, gut=5.0).items()}
    {'R1': 1.275, 'R1 gut': 9.333}
    """
    found = {}
    if drug.Ki is not None:
        found["R1"] = 1.0 / drug.reversible(level)
        if gut is not None:
            found["R1 gut"] = 1.0 / drug.reversible(gut)
    if drug.kinact is not None:
        found["R2"] = 1.0 / drug.inactivated(inactivation_margin * level, kdeg)
    if drug.Emax is not None:
        found["R3"] = 1.0 / drug.induced(induction_margin * level)
    return found


def hepatic_inlet(
    level: float,
    unbound: float,
    *,
    dose: float = 0.0,
    ka: float = 0.0,
    Fa: float = 1.0,
    Fg: float = 1.0,
    flow: float = 97.0,
    Rb: float = 1.0,
) -> float:
    """Unbound level in the blood that enters the liver, at its largest.

    Parameters
    ----------
    level : float [mg/L]
        Largest total level in plasma.
    unbound : float
    dose : float [mg]
    ka : float [1/h]
    Fa, Fg : float
        Shares absorbed, and passing the wall of the gut.
    flow : float [L/h]
        Of the liver.
    Rb : float
    """
    return unbound * (level + dose * Fa * Fg * ka / (flow * Rb))


def enteric(dose: float, ka: float, Fa: float = 1.0, flow: float = 18.0) -> float:
    """Level in the wall of the gut [mg/L]: dose Fa ka over the flow of the villi [L/h]."""
    return dose * Fa * ka / flow


def exposure_ratio(fm: float, *, liver: float = 1.0, gut: float = 1.0, Fg: float = 1.0) -> float:
    """Exposure of an oral victim with the perpetrator over that without: AUCR.

    1 / (X_gut (1 - Fg) + Fg) / (X_liver fm + 1 - fm), with X the activity relative to usual.

    Parameters
    ----------
    fm : float
        Share of the victim's clearance by the enzyme.
    liver, gut : float
        ``Perpetrator.remaining`` in liver and gut.
    Fg : float
        Share of the victim that passes the wall of the gut without perpetrator.

    Examples
    --------
    >>> round(exposure_ratio(0.9, liver=0.0), 1)
    10.0
    """
    for name, value in (("fm", fm), ("Fg", Fg)):
        if not 0 <= value <= 1:
            raise DataError(f"{name} is {value:g}", where="exposure_ratio", expected="0 to 1")
    return 1.0 / (gut * (1.0 - Fg) + Fg) / (liver * fm + 1.0 - fm)
