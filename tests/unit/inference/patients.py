"""Patients for tests: two compartments, one compartment, and a saturable one."""

from galenic import Input, Model, Output, Parameter, State, der


class TwoCompartments(Model):
    """Central and peripheral compartment with an infusion into the central one."""

    CL = Parameter(4.5, "L/h", "clearance", lower=0)
    V1 = Parameter(58.4, "L", "central volume", lower=0)
    V2 = Parameter(38.4, "L", "peripheral volume", lower=0)
    Q = Parameter(6.5, "L/h", "distribution clearance", lower=0)
    rate = Input(0.0, "mg/h", "infusion", role="dose")
    central = State(0.0, "mg", "amount in the central compartment")
    peripheral = State(0.0, "mg", "amount in the peripheral compartment")
    C = Output("mg/L", "plasma concentration")

    def equations(m):
        exchange = m.Q * (m.central / m.V1 - m.peripheral / m.V2)
        yield der(m.central) == m.rate - m.CL * m.central / m.V1 - exchange
        yield der(m.peripheral) == exchange
        yield m.C == m.central / m.V1


class OneCompartment(Model):
    """One compartment with bolus doses."""

    CL = Parameter(2.0, "L/h", "clearance", lower=0)
    V = Parameter(20.0, "L", "volume", lower=0)
    rate = Input(0.0, "mg/h", "infusion", role="dose")
    amount = State(0.0, "mg", "amount in the body")
    C = Output("mg/L", "plasma concentration")

    def equations(m):
        yield der(m.amount) == m.rate - m.CL * m.amount / m.V
        yield m.C == m.amount / m.V


class Saturable(Model):
    """Michaelis-Menten elimination."""

    Vmax = Parameter(20.0, "mg/h", "largest rate of elimination", lower=0)
    Km = Parameter(4.0, "mg/L", "concentration at half the largest rate", lower=0)
    V = Parameter(30.0, "L", "volume", lower=0)
    rate = Input(0.0, "mg/h", "infusion", role="dose")
    amount = State(0.0, "mg", "amount in the body")
    C = Output("mg/L", "plasma concentration")

    def equations(m):
        yield m.C == m.amount / m.V
        yield der(m.amount) == m.rate - m.Vmax * m.C / (m.Km + m.C)
