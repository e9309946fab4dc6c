"""Effects of a drug: direct, delayed, indirect, on maturing cells and on tumours.

Each model has a signal inlet ``drug``, its concentration at the place from which the effect is
reckoned; in a larger model connect it by ``yield m.effect.drug.value == m.body.C``. Default values
are typical ones for trying a model out, not those of a drug.
"""

from __future__ import annotations

from typing import Any

from galenic import Experiment, Model, Output, Parameter, Port, State, der
from galenic.modeling.functions import maximum
from galenic.modeling.ports import signal

TYPICAL = "typical value"
MEMORY = "from memory, not checked"


class SigmoidEmax(Model):
    """Effect in proportion to the occupied share: E = E0 + Emax C^gamma / (EC50^gamma + C^gamma).

    Reference: Hill equation; Holford and Sheiner, Clin Pharmacokinet 6:429-453, 1981,
    doi:10.2165/00003088-198106060-00002.
    """

    drug = Port(signal("mg/L"), "concentration at the site of effect", value=1.0)

    E0 = Parameter(0.0, "1", "effect without drug", source=TYPICAL)
    Emax = Parameter(1.0, "1", "largest change by the drug", source=TYPICAL)
    EC50 = Parameter(1.0, "mg/L", "concentration of half of it", lower=0, source=TYPICAL)
    gamma = Parameter(1.0, "1", "steepness", lower=0, source=TYPICAL)

    E = Output("1", "effect")

    example_duration = "1 h"

    def equations(m):
        yield m.E == m.E0 + m.Emax * occupied(m.drug.value, m.EC50, m.gamma)


class EffectCompartment(Model):
    """The place of the effect follows the plasma with a delay: Ce' = ke0 (C - Ce).

    Reference: Sheiner et al., Clin Pharmacol Ther 25:358-371, 1979, doi:10.1002/cpt1979253358.
    """

    drug = Port(signal("mg/L"), "concentration in plasma", value=1.0)
    site = Port(signal("mg/L"), "concentration at the site of effect")

    ke0 = Parameter(0.5, "1/h", "rate of equilibration", lower=0, source=TYPICAL)

    Ce = State(0.0, "mg/L", "concentration at the site of effect", lower=0)

    example_duration = "12 h"

    def equations(m):
        yield der(m.Ce) == m.ke0 * (m.drug.value - m.Ce)
        yield m.site.value == m.Ce


class IndirectResponse(Model):
    """A response that is built and lost all the time; the drug changes one of the two.

    Reference: Dayneka, Garg and Jusko, J Pharmacokinet Biopharm 21:457-478, 1993,
    doi:10.1007/BF01061691. A kind of it says what the drug changes.
    """

    drug = Port(signal("mg/L"), "concentration at the site of effect", value=0.0)

    kin = Parameter(10.0, "1/h", "production without drug", lower=0, source=TYPICAL)
    kout = Parameter(0.1, "1/h", "loss without drug, per amount", lower=0, source=TYPICAL)
    Emax = Parameter(0.9, "1", "largest relative change by the drug", lower=0, source=TYPICAL)
    EC50 = Parameter(1.0, "mg/L", "concentration of half of it", lower=0, source=TYPICAL)
    gamma = Parameter(1.0, "1", "steepness", lower=0, source=TYPICAL)

    R = State(lambda m: m.kin / m.kout, "1", "response", lower=0, nominal=100)

    example_duration = "48 h"

    def effect(m) -> Any:
        """Relative change by the drug, 0 without it."""
        return m.Emax * occupied(m.drug.value, m.EC50, m.gamma)

    def production(m) -> Any:
        return m.kin

    def loss(m) -> Any:
        return m.kout * m.R

    def equations(m):
        yield der(m.R) == m.production() - m.loss()


class InhibitedProduction(IndirectResponse):
    """Indirect response I: the drug inhibits production."""

    def production(m):
        return m.kin * (1.0 - m.effect())


class InhibitedLoss(IndirectResponse):
    """Indirect response II: the drug inhibits loss."""

    def loss(m):
        return m.kout * (1.0 - m.effect()) * m.R


class StimulatedProduction(IndirectResponse):
    """Indirect response III: the drug stimulates production."""

    def production(m):
        return m.kin * (1.0 + m.effect())


class StimulatedLoss(IndirectResponse):
    """Indirect response IV: the drug stimulates loss."""

    def loss(m):
        return m.kout * (1.0 + m.effect()) * m.R


class Myelosuppression(Model):
    """Blood cells that mature through three stages, with feedback, killed where they proliferate.

    Reference: Friberg et al., J Clin Oncol 20:4713-4721, 2002, doi:10.1200/JCO.2002.02.140. Its
    default values are of the size of those for neutrophils there, from memory: not for use.
    """

    drug = Port(signal("mg/L"), "concentration in plasma", value=0.0)

    Circ0 = Parameter(5.05, "1", "cells in blood without drug, 1e9/L", lower=0, source=MEMORY)
    MTT = Parameter(88.7, "h", "mean time from the first stage into blood", lower=0, source=MEMORY)
    gamma = Parameter(0.161, "1", "strength of the feedback", lower=0, source=MEMORY)
    slope = Parameter(8.58, "L/mg", "killed share per concentration", lower=0, source=MEMORY)

    Prol = State(lambda m: m.Circ0, "1", "proliferating cells", lower=0, nominal=5)
    T1 = State(lambda m: m.Circ0, "1", "maturing cells, first stage", lower=0, nominal=5)
    T2 = State(lambda m: m.Circ0, "1", "maturing cells, second stage", lower=0, nominal=5)
    T3 = State(lambda m: m.Circ0, "1", "maturing cells, third stage", lower=0, nominal=5)
    Circ = State(lambda m: m.Circ0, "1", "cells in blood, 1e9/L", lower=0, nominal=5)

    example_duration = "500 h"

    def equations(m):
        k = 4.0 / m.MTT
        growth = (1.0 - m.slope * m.drug.value) * (m.Circ0 / m.Circ) ** m.gamma
        yield der(m.Prol) == k * m.Prol * (growth - 1.0)
        yield der(m.T1) == k * (m.Prol - m.T1)
        yield der(m.T2) == k * (m.T1 - m.T2)
        yield der(m.T3) == k * (m.T2 - m.T3)
        yield der(m.Circ) == k * (m.T3 - m.Circ)

    def example_experiment(m):
        return Experiment().set("Prol", 2.0)


class TumourGrowth(Model):
    """Tumour that grows first by a share, then by an amount per day; struck cells die in stages.

    Reference: Simeoni et al., Cancer Res 64:1094-1101, 2004, doi:10.1158/0008-5472.CAN-03-2524;
    psi = 20 makes the change of regime sharp, as there.
    """

    drug = Port(signal("mg/L"), "concentration in plasma", value=0.0)

    w0 = Parameter(0.05, "g", "mass at the start", lower=0, source=TYPICAL)
    lambda0 = Parameter(0.3, "1/d", "rate of exponential growth", lower=0, source=TYPICAL)
    lambda1 = Parameter(0.8, "g/d", "rate of linear growth", lower=0, source=TYPICAL)
    psi = Parameter(20.0, "1", "sharpness of the change", lower=0, source="Simeoni 2004")
    k1 = Parameter(0.6, "1/d", "rate from stage to stage of dying", lower=0, source=TYPICAL)
    k2 = Parameter(0.01, "L/(mg*d)", "potency of the drug", lower=0, source=TYPICAL)

    x1 = State(lambda m: m.w0, "g", "growing cells", lower=0, nominal=1)
    x2 = State(0.0, "g", "struck cells, first stage", lower=0, nominal=1)
    x3 = State(0.0, "g", "struck cells, second stage", lower=0, nominal=1)
    x4 = State(0.0, "g", "struck cells, third stage", lower=0, nominal=1)

    w = Output("g", "mass of the tumour", lower=0)

    example_duration = "20 d"

    def equations(m):
        struck = m.k2 * m.drug.value * m.x1
        yield m.w == m.x1 + m.x2 + m.x3 + m.x4
        slowed = (1.0 + (m.lambda0 / m.lambda1 * m.w) ** m.psi) ** (1.0 / m.psi)
        yield der(m.x1) == m.lambda0 * m.x1 / slowed - struck
        yield der(m.x2) == struck - m.k1 * m.x2
        yield der(m.x3) == m.k1 * (m.x2 - m.x3)
        yield der(m.x4) == m.k1 * (m.x3 - m.x4)


def occupied(c: Any, ec50: Any, gamma: Any) -> Any:
    """Hill's share C^gamma / (EC50^gamma + C^gamma); no share of a negative concentration."""
    ratio = (maximum(c, 0.0 * ec50) / ec50) ** gamma
    return ratio / (1.0 + ratio)
