"""Compartment kinetics: one, two and three compartments, absorption, saturable elimination.

Equations: Gabrielsson and Weiner, Pharmacokinetic and Pharmacodynamic Data Analysis, 5th edition,
2016, chapter 2; any text on pharmacokinetics. Default values are typical ones of a small molecule,
not of a drug. A bolus is a dose into the state ``A1``; an infusion is a dose with a duration
through the input ``dose``; oral doses go into ``absorption.depot``.
"""

from __future__ import annotations

from typing import Any

from galenic import Conserved, Experiment, Input, Model, Output, Parameter, Part, Port, State, der
from galenic.modeling.ports import Flow, PortType


class Drug(PortType):
    """Drug on its way from one place of the body to another."""

    rate = Flow("mg/h", "amount per time", lower=0)


class Disposition(Model):
    """Drug in a central compartment: what all compartment models have in common.

    A kind of it says by ``elimination`` and ``exchange`` where the drug goes.
    """

    inlet = Port(Drug, "drug that comes from another part, as an absorption", rate=0.0)

    V1 = Parameter(20.0, "L", "central volume", lower=0, source="typical value")

    dose = Input(0.0, "mg/h", "drug given into the blood", role="dose", lower=0)

    A1 = State(0.0, "mg", "amount in the central compartment", lower=0, nominal=100)
    AUC = State(0.0, "mg*h/L", "area under the concentration since the start", lower=0, nominal=100)

    C = Output("mg/L", "concentration in plasma", lower=0)

    example_duration = "24 h"

    def elimination(m) -> Any:
        """Drug that leaves the body [mg/h]."""
        return m.CL * m.C

    def exchange(m) -> list[tuple[Any, Any]]:
        """Amount in each peripheral compartment and the net flow into it [mg/h]."""
        return []

    def equations(m):
        yield m.C == m.A1 / m.V1
        entering, away = m.dose + m.inlet.rate - m.elimination(), m.exchange()
        yield der(m.A1) == sum((-flow for _, flow in away), entering)
        for amount, flow in away:
            yield der(amount) == flow
        yield der(m.AUC) == m.C

    def conserved(m):
        held = sum((amount for amount, _ in m.exchange()), m.A1)
        yield Conserved("drug", held, m.dose + m.inlet.rate - m.elimination())

    def example_experiment(m):
        return infusion("500 mg", "1 h")


class OneCompartment(Disposition):
    """One compartment with linear elimination."""

    CL = Parameter(2.8, "L/h", "clearance", lower=0, source="typical value")
    V1 = Parameter(32.0, "L", "volume of distribution", lower=0, source="typical value")


class TwoCompartment(Disposition):
    """Central and peripheral compartment with linear elimination from the central one."""

    CL = Parameter(5.0, "L/h", "clearance", lower=0, source="typical value")
    Q = Parameter(10.0, "L/h", "clearance between compartments", lower=0, source="typical value")
    V2 = Parameter(50.0, "L", "peripheral volume", lower=0, source="typical value")

    A2 = State(0.0, "mg", "amount in the peripheral compartment", lower=0, nominal=100)

    def exchange(m):
        return [(m.A2, m.Q * (m.C - m.A2 / m.V2))]


class TwoCompartmentRates(Disposition):
    """Two compartments whose exchange is given by rate constants instead of volumes.

    As TwoCompartment with Q = k12 V1 and V2 = k12 V1 / k21; the random effects of some published
    populations belong to k12 and k21.
    """

    CL = Parameter(4.7, "L/h", "clearance", lower=0, source="typical value")
    k12 = Parameter(0.09, "1/h", "rate to the peripheral compartment", lower=0, source="typical")
    k21 = Parameter(0.07, "1/h", "rate from the peripheral compartment", lower=0, source="typical")

    A2 = State(0.0, "mg", "amount in the peripheral compartment", lower=0, nominal=100)

    def exchange(m):
        return [(m.A2, m.k12 * m.A1 - m.k21 * m.A2)]

    def example_experiment(m):
        return infusion("180 mg", "0.5 h")


class TwoCompartmentConstants(Disposition):
    """Two compartments by rate constants throughout, elimination included: CL = ke V1."""

    ke = Parameter(0.2, "1/h", "rate of elimination", lower=0, source="typical value")
    k12 = Parameter(0.04, "1/h", "rate to the peripheral compartment", lower=0, source="typical")
    k21 = Parameter(0.12, "1/h", "rate from the peripheral compartment", lower=0, source="typical")

    A2 = State(0.0, "mg", "amount in the peripheral compartment", lower=0, nominal=100)

    def elimination(m):
        return m.ke * m.A1

    def exchange(m):
        return [(m.A2, m.k12 * m.A1 - m.k21 * m.A2)]

    def example_experiment(m):
        return infusion("500 mg", "0.5 h")


class ThreeCompartment(Disposition):
    """Central, fast and slow peripheral compartment, elimination from the central one."""

    CL = Parameter(1.5, "L/h", "clearance", lower=0, source="typical value")
    V1 = Parameter(10.0, "L", "central volume", lower=0, source="typical value")
    Q2 = Parameter(3.0, "L/h", "clearance to the fast compartment", lower=0, source="typical")
    V2 = Parameter(40.0, "L", "volume of the fast compartment", lower=0, source="typical value")
    Q3 = Parameter(0.9, "L/h", "clearance to the slow compartment", lower=0, source="typical")
    V3 = Parameter(100.0, "L", "volume of the slow compartment", lower=0, source="typical value")

    A2 = State(0.0, "mg", "amount in the fast compartment", lower=0, nominal=100)
    A3 = State(0.0, "mg", "amount in the slow compartment", lower=0, nominal=100)

    example_duration = "72 h"

    def exchange(m):
        fast = m.Q2 * (m.C - m.A2 / m.V2)
        slow = m.Q3 * (m.C - m.A3 / m.V3)
        return [(m.A2, fast), (m.A3, slow)]

    def example_experiment(m):
        return infusion("100 mg", "1 h")


class MichaelisMenten(Disposition):
    """One compartment with saturable elimination: rate Vmax C / (Km + C).

    Reference: Lundquist and Wolthers, Acta Pharmacol Toxicol 14:265-289, 1958,
    doi:10.1111/j.1600-0773.1958.tb01164.x.
    """

    Vmax = Parameter(20.0, "mg/h", "largest rate of elimination", lower=0, source="typical value")
    Km = Parameter(4.0, "mg/L", "concentration at half of it", lower=0, source="typical value")
    V1 = Parameter(30.0, "L", "volume of distribution", lower=0, source="typical value")

    example_duration = "30 h"

    def elimination(m):
        return m.Vmax * m.C / (m.Km + m.C)

    def example_experiment(m):
        return infusion("300 mg", "1 h")


class FirstOrderAbsorption(Model):
    """Absorption from a depot, such as the gut, at a rate in proportion to what is there."""

    outlet = Port(Drug)

    ka = Parameter(1.5, "1/h", "absorption rate constant", lower=0, source="typical value")
    F = Parameter(
        1.0, "1", "share of the dose that reaches the blood", lower=0, upper=1, source="complete"
    )

    depot = State(0.0, "mg", "amount not yet absorbed", lower=0, nominal=100)

    example_duration = "12 h"

    def equations(m):
        yield der(m.depot) == -m.ka * m.depot
        yield m.outlet.rate == m.F * m.ka * m.depot

    def conserved(m):
        yield Conserved("drug at the site", m.depot, -m.ka * m.depot)

    def example_experiment(m):
        return Experiment().dose("depot", "100 mg")


class OralOneCompartment(Model):
    """One compartment that is fed by a depot."""

    absorption = Part(FirstOrderAbsorption)
    body = Part(OneCompartment)

    example_duration = "24 h"

    def connections(m):
        yield m.absorption.outlet >> m.body.inlet

    def example_experiment(m):
        return Experiment().dose("absorption.depot", "320 mg")


class OralTwoCompartment(Model):
    """Two compartments that are fed by a depot."""

    absorption = Part(FirstOrderAbsorption)
    body = Part(TwoCompartment)

    example_duration = "24 h"

    def connections(m):
        yield m.absorption.outlet >> m.body.inlet

    def example_experiment(m):
        return Experiment().dose("absorption.depot", "320 mg")


def infusion(amount: str, duration: str, at: str = "0 h", path: str = "dose") -> Experiment:
    """One infusion through the input ``path``.

    Examples
    --------
    >>> infusion("500 mg", "1 h").actions[0].duration
    3600.0
    """
    return Experiment().dose(path, amount, at=at, duration=duration)
