"""Continuous blending and flow of powders: blender, hopper, feed frame."""

from __future__ import annotations

from galenic import Conserved, Input, Model, Parameter, Port, Size, State, Variable, der, maximum
from galenic.modeling.ports import Powder


class PowderHoldup(Model):
    """Powder in ``n`` ideally mixed tanks of equal mass in series; the total mass may change.

    The flow from tank to tank changes linearly from inlet to outlet, so that each tank keeps its
    share of the mass and the active is conserved exactly. Below ``M_least`` nothing mixes faster
    any more: a vessel that runs empty would have no time constant.
    """

    inlet = Port(Powder)
    outlet = Port(Powder)

    n = Size(3, "number of tanks in series")

    M_least = Parameter(
        0.02, "kg", "mass below which mixing gets no faster", lower=1e-6, source="definition"
    )

    M = State(0.4, "kg", "mass held", lower=1e-6)
    x = State(0.1, "1", "mass fraction of active in each tank", shape="n", lower=0, upper=1)

    def equations(m):
        yield der(m.M) == m.inlet.flow - m.outlet.flow
        upstream, held = m.inlet.x, maximum(m.M, m.M_least)
        for i in range(m.n):
            through = m.inlet.flow + (m.outlet.flow - m.inlet.flow) * (i / m.n)
            yield der(m.x[i]) == m.n * through / held * (upstream - m.x[i])
            upstream = m.x[i]
        yield m.outlet.x == upstream

    def conserved(m):
        share = m.M / m.n
        active = sum((share * m.x[i] for i in range(m.n)), start=0.0 * m.M)
        yield Conserved("mass", m.M, m.inlet.flow - m.outlet.flow)
        yield Conserved("active", active, m.inlet.flow * m.inlet.x - m.outlet.flow * m.outlet.x)


class ContinuousBlender(PowderHoldup):
    """Horizontal continuous blender: tanks in series whose mean time falls with impeller speed.

    ``outflow = M/tau``, ``tau = tau_ref (speed_ref/speed)^a``. Reference: reference texts on
    residence time in continuous blending; values are typical ones from general knowledge.
    """

    tau_ref = Parameter(
        60.0, "s", "mean residence time at the reference speed", lower=0, source="assumed"
    )
    speed_ref = Parameter(200.0, "rpm", "reference impeller speed", lower=0, source="assumed")
    a = Parameter(0.5, "1", "exponent of impeller speed", source="assumed")

    speed = Input(200.0, "rpm", "impeller speed", role="manipulated", lower=50, upper=400)

    tau = Variable("s", "mean residence time")

    def example_experiment(self):
        """Powder at the nominal rate, richer in active after ten minutes."""
        from galenic.engine import Experiment

        steady = Experiment().set("inlet.flow", "20 kg/h").set("inlet.x", 0.1)
        return steady.set("inlet.x", 0.11, at="10 min")

    def equations(m):
        yield from super().equations()
        yield m.tau == m.tau_ref * (m.speed_ref / m.speed) ** m.a
        yield m.outlet.flow == m.M / m.tau


class Hopper(PowderHoldup):
    """Press hopper near plug flow; what leaves is what the press takes."""

    n = Size(6, "number of tanks in series")
    M = State(2.0, "kg", "mass held", lower=1e-6)


class FeedFrame(Model):
    """Feed frame of a press: a full, stirred chamber of constant mass in ``n`` tanks."""

    inlet = Port(Powder)
    outlet = Port(Powder)

    n = Size(2, "number of tanks in series")
    M = Parameter(0.12, "kg", "mass held", lower=0, source="assumed")

    x = State(0.1, "1", "mass fraction of active in each tank", shape="n", lower=0, upper=1)

    def equations(m):
        yield m.inlet.flow == m.outlet.flow
        upstream = m.inlet.x
        for i in range(m.n):
            yield der(m.x[i]) == m.n * m.outlet.flow / m.M * (upstream - m.x[i])
            upstream = m.x[i]
        yield m.outlet.x == upstream
