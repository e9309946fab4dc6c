"""Absorption in two steps, and warfarin: its kinetics and its effect on clotting.

Warfarin: model structure of the two-step absorption and of the turnover of prothrombin complex
activity as in the worked examples of nlmixr2 and posologyr on the data of O'Reilly and Aggeler,
Circulation 38:169-177, 1968, doi:10.1161/01.CIR.38.1.169. Values without other source were
estimated here on these data (docs/validation/population-estimation.md).
"""

from __future__ import annotations

from galenic import Conserved, Experiment, Model, Output, Parameter, Part, Port, State, der
from galenic.library.pk.compartments import Drug, OneCompartment
from galenic.modeling.ports import signal

FITTED = "estimated on the data of O'Reilly and Aggeler 1968"
EXAMPLE = "worked example of posologyr, multiple endpoints"


class TwoStepAbsorption(Model):
    """A depot that empties into the gut, from where the drug reaches the blood."""

    outlet = Port(Drug)

    ktr = Parameter(1.11, "1/h", "rate from the depot to the gut", lower=0, source=EXAMPLE)
    ka = Parameter(0.917, "1/h", "rate from the gut into the blood", lower=0, source=EXAMPLE)

    depot = State(0.0, "mg", "amount in the depot", lower=0, nominal=100)
    gut = State(0.0, "mg", "amount in the gut", lower=0, nominal=100)

    example_duration = "12 h"

    def equations(m):
        yield der(m.depot) == -m.ktr * m.depot
        yield der(m.gut) == m.ktr * m.depot - m.ka * m.gut
        yield m.outlet.rate == m.ka * m.gut

    def conserved(m):
        yield Conserved("drug at the site", m.depot + m.gut, -m.ka * m.gut)

    def example_experiment(m):
        return Experiment().dose("depot", "100 mg")


class TransitAbsorption(Model):
    """Two steps with one rate; C = D ktr^2 / (V (ktr - k)^2) [e^-kt - e^-ktr t (1 + (ktr - k) t)].

    The formula is that of the level in one compartment with elimination rate k.
    """

    outlet = Port(Drug)

    ktr = Parameter(1.161, "1/h", "rate of either step", lower=0, source=FITTED)

    depot = State(0.0, "mg", "amount in the depot", lower=0, nominal=100)
    gut = State(0.0, "mg", "amount in the gut", lower=0, nominal=100)

    example_duration = "12 h"

    def equations(m):
        yield der(m.depot) == -m.ktr * m.depot
        yield der(m.gut) == m.ktr * (m.depot - m.gut)
        yield m.outlet.rate == m.ktr * m.gut

    def conserved(m):
        yield Conserved("drug at the site", m.depot + m.gut, -m.ktr * m.gut)

    def example_experiment(m):
        return Experiment().dose("depot", "100 mg")


class Warfarin(Model):
    """Warfarin in blood after oral doses: two absorption steps, one compartment."""

    absorption = Part(TransitAbsorption)
    body = Part(OneCompartment, CL="0.135 L/h", V1="8.009 L")

    example_duration = "120 h"

    def connections(m):
        yield m.absorption.outlet >> m.body.inlet

    def example_experiment(m):
        return Experiment().dose("absorption.depot", "100 mg")


class ProthrombinComplex(Model):
    """Activity of the clotting factors that warfarin keeps from being made."""

    drug = Port(signal("mg/L"), "concentration in plasma", value=0.0)

    e0 = Parameter(96.5, "1", "activity without drug, in %", lower=0, source=EXAMPLE)
    kout = Parameter(0.055, "1/h", "loss of activity per activity", lower=0, source=EXAMPLE)
    emax = Parameter(
        0.968, "1", "largest share of production that is inhibited", lower=0, upper=1,
        source=EXAMPLE,
    )  # fmt: skip
    ec50 = Parameter(1.007, "mg/L", "concentration of half of it", lower=0, source=EXAMPLE)

    activity = State(lambda m: m.e0, "1", "activity in %", lower=0, nominal=100)
    pca = Output("1", "prothrombin complex activity, in %", lower=0)

    example_duration = "120 h"

    def equations(m):
        inhibited = m.emax * m.drug.value / (m.ec50 + m.drug.value)
        yield der(m.activity) == m.kout * (m.e0 * (1.0 - inhibited) - m.activity)
        yield m.pca == m.activity


class WarfarinEffect(Model):
    """Warfarin in blood and the clotting activity that it lowers."""

    absorption = Part(TwoStepAbsorption)
    body = Part(OneCompartment, CL="0.131 L/h", V1="7.92 L")
    clotting = Part(ProthrombinComplex)

    example_duration = "120 h"

    def connections(m):
        yield m.absorption.outlet >> m.body.inlet

    def equations(m):
        yield m.clotting.drug.value == m.body.C

    def example_experiment(m):
        return Experiment().dose("absorption.depot", "100 mg")
