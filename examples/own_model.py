"""A model of one's own: everything galenic gives it comes from these lines.

galenic check examples/own_model.py
galenic simulate examples/own_model.py --set CL="6 L/h" --for "24 h" --plot caffeine.png
galenic --models examples/own_model.py models caffeine --latex
"""

from galenic import Model, Output, Parameter, State, der


class Caffeine(Model):
    """Caffeine after a cup of coffee: first-order absorption, one compartment."""

    ka = Parameter(4.0, "1/h", "rate constant of absorption", lower=0)
    CL = Parameter(5.6, "L/h", "clearance", lower=0)
    V = Parameter(42.0, "L", "volume of distribution", lower=0)
    gut = State(95.0, "mg", "caffeine in the gut", lower=0)
    body = State(0.0, "mg", "caffeine in the body", lower=0)
    C = Output("mg/L", "concentration in plasma")

    def equations(m):
        yield der(m.gut) == -m.ka * m.gut
        yield der(m.body) == m.ka * m.gut - m.CL / m.V * m.body
        yield m.C == m.body / m.V
