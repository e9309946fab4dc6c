"""Models shared by the tests of the language."""

from __future__ import annotations

from galenic import Conserved, Model, Parameter, Part, Parts, Port, Size, State, der
from galenic.modeling.ports import Liquid, Mixer, Splitter


class StirredTank(Model):
    """Ideally mixed tank in which A decays by first order."""

    inlet = Port(Liquid)
    outlet = Port(Liquid)
    V = Parameter(10.0, "L", "liquid volume", lower=0)
    k = Parameter(0.2, "1/min", "rate constant", lower=0, spread=0.05, source="assumed")
    c = State(0.0, "mol/L", "concentration of A", lower=0)

    def equations(m):
        dilution = m.inlet.flow / m.V
        yield der(m.c) == dilution * (m.inlet.c - m.c) - m.k * m.c
        yield m.outlet.flow == m.inlet.flow
        yield m.outlet.c == m.c

    def conserved(m):
        gain = m.inlet.flow * m.inlet.c - m.outlet.flow * m.outlet.c
        yield Conserved("A", amount=m.V * m.c, inflow=gain - m.k * m.c * m.V)


class TwoTanks(Model):
    """Two tanks in line."""

    inlet = Port(Liquid)
    first = Part(StirredTank, V="5 L")
    second = Part(StirredTank, V="20 L")

    def connections(m):
        yield m.inlet >> m.first.inlet
        yield m.first.outlet >> m.second.inlet


class Recycle(Model):
    """Two tanks, of whose product a share returns to the feed."""

    feed = Port(Liquid)
    product = Port(Liquid)
    junction = Part(Mixer(Liquid))
    first = Part(StirredTank, V="5 L")
    second = Part(StirredTank, V="20 L")
    branch = Part(Splitter(Liquid), share1=0.3)

    def connections(m):
        yield m.feed >> m.junction.inlet1
        yield m.junction.outlet >> m.first.inlet
        yield m.first.outlet >> m.second.inlet
        yield m.second.outlet >> m.branch.inlet
        yield m.branch.outlet1 >> m.junction.inlet2
        yield m.branch.outlet2 >> m.product

    def conserved(m):
        total = m.first.V * m.first.c + m.second.V * m.second.c
        made = -m.first.k * m.first.V * m.first.c - m.second.k * m.second.V * m.second.c
        gain = m.feed.flow * m.feed.c - m.product.flow * m.product.c
        yield Conserved("A", amount=total, inflow=gain + made)


class Line(Model):
    """Many tanks in line."""

    n = Size(3, "number of tanks")
    tanks = Parts(StirredTank, n)

    def connections(m):
        for left, right in zip(m.tanks, m.tanks[1:], strict=False):
            yield left.outlet >> right.inlet
