"""A small model of glucose, insulin and meals that a glucose sensor can keep in step.

Equations: the identifiable virtual patient of Kanderian, Weinzimer, Voskanyan and Steil, J Diabetes
Sci Technol 3:1047-1057, 2009, doi:10.1177/193229680900300508 (a minimal model with the kinetics of
insulin under the skin and of meals), with the delay between blood and sensor. Production of glucose
is said by the glucose at which basal insulin holds a person.
"""

from __future__ import annotations

from galenic import Experiment, Input, Model, Output, Parameter, State, der

SOURCE = "order of magnitude of the cited paper's persons, from memory; to be estimated"


class IdentifiablePerson(Model):
    """Glucose of a person with type 1 diabetes as far as a sensor tells it.

    Boluses are doses [IU] into ``depot``, meals doses [g] of carbohydrate into ``stomach``.
    """

    insulin = Input(1.0, "IU/h", "insulin infused under the skin", role="dose", lower=0)
    flux = Input(
        0.0, "mg/dL/min", "glucose that comes or goes untold: meals, exercise, stress",
        role="disturbance",
    )  # fmt: skip

    BW = Parameter(75.0, "kg", "body weight", lower=0, source=SOURCE)
    basal = Parameter(1.0, "IU/h", "basal insulin", lower=0, source=SOURCE)
    Gb = Parameter(130.0, "mg/dL", "glucose at which basal insulin holds", lower=0, source=SOURCE)
    SI = Parameter(7e-4, "mL/uIU/min", "insulin sensitivity", lower=0, source=SOURCE)
    GEZI = Parameter(0.003, "1/min", "effect of glucose itself", lower=0, source=SOURCE)
    CI = Parameter(28.0, "mL/min/kg", "clearance of insulin", lower=0, source=SOURCE)
    p2 = Parameter(0.0106, "1/min", "rate of insulin's action", lower=0, source=SOURCE)
    tau_1 = Parameter(60.0, "min", "insulin under the skin", lower=0, source=SOURCE)
    tau_2 = Parameter(50.0, "min", "insulin from there to plasma", lower=0, source=SOURCE)
    VG = Parameter(3.4, "dL/kg", "volume of glucose, as a share of what is eaten", lower=0,
                   source=SOURCE)  # fmt: skip
    tau_m = Parameter(45.0, "min", "time of a meal's largest appearance", lower=0, source=SOURCE)
    tau_s = Parameter(10.0, "min", "delay of the sensor", lower=0, source=SOURCE)

    depot = State(lambda m: m.basal * m.tau_1, "IU", "insulin under the skin", lower=0)
    I = State(lambda m: m.basal / (m.CI * m.BW), "uIU/mL", "insulin in plasma, as it acts",  # noqa: E741
              lower=0)  # fmt: skip
    X = State(lambda m: m.SI * m.basal / (m.CI * m.BW), "1/min", "action of insulin", lower=0)
    G = State(lambda m: m.Gb, "mg/dL", "glucose in plasma", lower=0)
    Gs = State(lambda m: m.Gb, "mg/dL", "glucose at the sensor", lower=0)
    stomach = State(0.0, "g", "carbohydrate in the stomach", lower=0, nominal=10)
    gut = State(0.0, "g", "carbohydrate in the intestine", lower=0, nominal=10)

    onboard = Output("IU", "insulin beyond basal that has not yet reached plasma")
    shown = Output("mg/dL", "glucose as the sensor shows it")

    example_duration = "6 h"

    def equations(m):
        cleared = m.CI * m.BW
        produced = m.Gb * (m.GEZI + m.SI * m.basal / cleared)
        yield der(m.depot) == m.insulin - m.depot / m.tau_1
        yield der(m.I) == (m.depot / m.tau_1 / cleared - m.I) / m.tau_2
        yield der(m.X) == m.p2 * (m.SI * m.I - m.X)
        appears = m.gut / m.tau_m / (m.VG * m.BW)
        yield der(m.G) == produced + appears + m.flux - (m.GEZI + m.X) * m.G
        yield der(m.Gs) == (m.G - m.Gs) / m.tau_s
        yield der(m.stomach) == -m.stomach / m.tau_m
        yield der(m.gut) == (m.stomach - m.gut) / m.tau_m
        yield m.onboard == m.depot - m.basal * m.tau_1
        yield m.shown == m.Gs

    def example_experiment(m):
        meal = Experiment().dose("stomach", "50 g", at="60 min")
        return meal.dose("depot", "4 IU", at="60 min")
