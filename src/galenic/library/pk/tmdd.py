"""Target-mediated drug disposition: a drug whose target removes it, as antibodies often are.

Full binding model: Mager and Jusko, J Pharmacokinet Pharmacodyn 28:507-532, 2001,
doi:10.1023/A:1014414520282. Quasi-steady-state and Michaelis-Menten limits: Gibiansky et al.,
J Pharmacokinet Pharmacodyn 35:573-591, 2008, doi:10.1007/s10928-008-9102-8. Amounts are molar.
Default values are those of a numeric check, not of a drug.
"""

from __future__ import annotations

from typing import Any

from galenic import Conserved, Experiment, Input, Model, Output, Parameter, Port, State, der
from galenic.modeling.functions import absolute, sqrt, where
from galenic.modeling.ports import Flow, PortType


class MolarDrug(PortType):
    """Drug on its way from one place of the body to another, in moles."""

    rate = Flow("nmol/h", "amount per time", lower=0)


class TargetMediated(Model):
    """Drug in plasma and periphery, with a target that binds it there.

    A kind of it says how much is free, and what binding removes.
    """

    inlet = Port(MolarDrug, "drug that comes from another part, as an absorption", rate=0.0)

    V = Parameter(3.0, "L", "central volume", lower=0, source="typical of an antibody")
    kel = Parameter(0.05, "1/h", "linear elimination", lower=0, source="numeric check")
    kpt = Parameter(0.0, "1/h", "rate to the periphery", lower=0, source="numeric check")
    ktp = Parameter(0.05, "1/h", "rate from the periphery", lower=0, source="numeric check")
    kint = Parameter(0.2, "1/h", "internalisation of the complex", lower=0, source="numeric check")

    dose = Input(0.0, "nmol/h", "drug given into the blood", role="dose", lower=0)

    At = State(0.0, "nmol", "amount in the periphery", lower=0, nominal=100)
    removed = State(0.0, "nmol", "drug eliminated or internalised", lower=0, nominal=100)

    C = Output("nmol/L", "free drug in plasma", lower=0)

    example_duration = "40 h"

    def entering(m) -> Any:
        """Drug given or absorbed, as concentration per time."""
        return (m.dose + m.inlet.rate) / m.V

    def to_periphery(m) -> Any:
        """Net flow of free drug to the periphery, as concentration per time."""
        return m.kpt * m.C - m.ktp * m.At / m.V


class FullBinding(TargetMediated):
    """Free drug, free target and complex, with binding and release as they happen."""

    kon = Parameter(1.0, "L/(nmol*h)", "binding", lower=0, source="numeric check")
    koff = Parameter(0.5, "1/h", "release", lower=0, source="numeric check")
    ksyn = Parameter(2.0, "nmol/(L*h)", "production of the target", lower=0, source="numeric check")
    kdeg = Parameter(0.2, "1/h", "degradation of the target", lower=0, source="numeric check")

    Cf = State(0.0, "nmol/L", "free drug", lower=0, nominal=10)
    R = State(lambda m: m.ksyn / m.kdeg, "nmol/L", "free target", lower=0, nominal=10)
    P = State(0.0, "nmol/L", "complex", lower=0, nominal=10)

    def equations(m):
        binding = m.kon * m.Cf * m.R - m.koff * m.P
        yield m.C == m.Cf
        yield der(m.Cf) == m.entering() - m.kel * m.Cf - m.to_periphery() - binding
        yield der(m.R) == m.ksyn - m.kdeg * m.R - binding
        yield der(m.P) == binding - m.kint * m.P
        yield der(m.At) == m.V * m.to_periphery()
        yield der(m.removed) == m.V * (m.kel * m.Cf + m.kint * m.P)

    def conserved(m):
        held = m.V * (m.Cf + m.P) + m.At + m.removed
        yield Conserved("drug", held, m.dose + m.inlet.rate)

    def example_experiment(m):
        return Experiment().dose("Cf", "100 nmol/L")


class QuasiSteadyState(TargetMediated):
    """Binding in balance with release and internalisation: Kss = (koff + kint) / kon."""

    Kss = Parameter(0.7, "nmol/L", "steady-state constant", lower=0, source="numeric check")
    ksyn = Parameter(2.0, "nmol/(L*h)", "production of the target", lower=0, source="numeric check")
    kdeg = Parameter(0.2, "1/h", "degradation of the target", lower=0, source="numeric check")

    Ctot = State(0.0, "nmol/L", "free and bound drug", lower=0, nominal=10)
    Rtot = State(lambda m: m.ksyn / m.kdeg, "nmol/L", "free and bound target", lower=0, nominal=10)

    def equations(m):
        over = m.Ctot - m.Rtot - m.Kss
        bound = m.Rtot * m.C / (m.Kss + m.C)
        root = sqrt(over * over + 4.0 * m.Kss * m.Ctot)
        # One root, written so that nothing cancels whichever of drug and target is in excess.
        scarce = 2.0 * m.Kss * m.Ctot / (root + absolute(over))
        yield m.C == where(over > 0.0 * m.Kss, (over + root) / 2.0, scarce)
        yield der(m.Ctot) == m.entering() - m.kel * m.C - m.to_periphery() - m.kint * bound
        yield der(m.Rtot) == m.ksyn - m.kdeg * m.Rtot - (m.kint - m.kdeg) * bound
        yield der(m.At) == m.V * m.to_periphery()
        yield der(m.removed) == m.V * (m.kel * m.C + m.kint * bound)

    def conserved(m):
        yield Conserved("drug", m.V * m.Ctot + m.At + m.removed, m.dose + m.inlet.rate)

    def example_experiment(m):
        return Experiment().dose("Ctot", "100 nmol/L")


class SaturableLoss(TargetMediated):
    """The limit of a constant, scarce target: elimination by Vmax C / (Km + C)."""

    Rtot = Parameter(10.0, "nmol/L", "free and bound target", lower=0, source="numeric check")
    Km = Parameter(0.7, "nmol/L", "concentration at half of it", lower=0, source="numeric check")

    Cf = State(0.0, "nmol/L", "drug", lower=0, nominal=10)

    def equations(m):
        loss = m.kel * m.Cf + m.kint * m.Rtot * m.Cf / (m.Km + m.Cf)
        yield m.C == m.Cf
        yield der(m.Cf) == m.entering() - loss - m.to_periphery()
        yield der(m.At) == m.V * m.to_periphery()
        yield der(m.removed) == m.V * loss

    def conserved(m):
        yield Conserved("drug", m.V * m.Cf + m.At + m.removed, m.dose + m.inlet.rate)

    def example_experiment(m):
        return Experiment().dose("Cf", "100 nmol/L")
