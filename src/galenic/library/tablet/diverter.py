"""The gate behind a press that sends tablets to product or to waste."""

from __future__ import annotations

from galenic import Conserved, Input, Model, Port, State, der
from galenic.modeling.ports import Powder


class Diverter(Model):
    """Diverter gate with totals of what went where."""

    inlet = Port(Powder)

    divert = Input(0.0, "1", "1 sends tablets to waste", role="manipulated", lower=0, upper=1)

    product = State(0.0, "kg", "accepted mass", lower=0, nominal=1)
    waste = State(0.0, "kg", "diverted mass", lower=0, nominal=1)

    def equations(m):
        yield der(m.product) == (1 - m.divert) * m.inlet.flow
        yield der(m.waste) == m.divert * m.inlet.flow

    def conserved(m):
        yield Conserved("mass", m.product + m.waste, m.inlet.flow)
