"""Loss-in-weight feeder: a screw whose feed factor depends on the mass above it."""

from __future__ import annotations

from galenic import Conserved, Input, Model, Parameter, Port, State, Variable, der, exp, smooth_step
from galenic.modeling.ports import Powder


class LossInWeightFeeder(Model):
    """Screw feeder on a balance, with its own flow controller.

    The screw delivers ``ff(W) N``. In gravimetric mode a PI controller compares the flow, filtered
    twice, with the set point; a new set point scales the screw speed at once, so only ``demand``,
    the speed per set flow, is controlled. The feed factor that the controller sees is learned
    slowly. While ``refilling`` is 1 the balance is blind and the screw turns at set point over
    learned feed factor, so the feed factor that rises with the refilled mass overfeeds.
    ``refilling`` is an input: a plant reports it and a forecast schedules it. It covers the
    settling after the refill, when nothing flows in any more: the inflow ends at ``W_full``.

    Reference: Rogers, Hashemi, Ierapetritou, Processes 1(2):67-127 (2013), doi 10.3390/pr1020067
    (review of feeder models). Values are typical ones from general knowledge, not of a machine.
    """

    outlet = Port(Powder)

    ff_max = Parameter(0.040, "kg/rev", "feed factor of a full hopper", lower=0, source="assumed")
    ff_min = Parameter(0.030, "kg/rev", "feed factor of an empty hopper", lower=0, source="assumed")
    beta = Parameter(0.8, "1/kg", "how fast the feed factor saturates", lower=0, source="assumed")
    wear = Parameter(
        1.0, "1", "feed factor relative to the new screw", lower=0.2, upper=2, source="definition"
    )
    upset = Parameter(
        1.0, "1", "feed relative to free flow: bridges, lumps", lower=0.1, upper=3,
        source="definition",
    )  # fmt: skip
    x_feed = Parameter(
        0.0, "1", "mass fraction of active in the fed powder", lower=0, upper=1, source="recipe"
    )
    tau_screw = Parameter(2.0, "s", "time constant of the screw drive", lower=0, source="assumed")
    tau_filter = Parameter(6.0, "s", "time constant of each flow filter", lower=0, source="assumed")
    gain = Parameter(0.35, "1", "relative gain of the controller", lower=0, source="assumed")
    integral = Parameter(14.0, "s", "integral time of the controller", lower=0, source="assumed")
    tau_learn = Parameter(
        25.0, "s", "time constant of the learned feed factor", lower=0, source="assumed"
    )
    W_full = Parameter(5.0, "kg", "mass at which a refill stops", lower=0, source="assumed")
    fade = Parameter(
        0.005, "1", "share of the full mass over which the inflow ends", lower=1e-4,
        source="definition",
    )  # fmt: skip
    refill_rate = Parameter(0.10, "kg/s", "mass flow of a refill", lower=0, source="assumed")

    setpoint = Input(2.0, "kg/h", "mass flow set point", role="manipulated", lower=0, upper=60)
    refilling = Input(
        0.0, "1", "1 while a refill blinds the balance", role="disturbance", lower=0, upper=1
    )

    W = State(4.0, "kg", "mass in the hopper", lower=0)
    N = State(0.9, "rpm", "screw speed", lower=0)
    demand = State(26.0, "rev/kg", "screw turns per set mass", lower=0.1)
    ff_fast = State(0.038, "kg/rev", "feed factor, filtered once", lower=1e-5)
    ff_seen = State(0.038, "kg/rev", "feed factor, filtered twice", lower=1e-5)
    ff_learned = State(0.038, "kg/rev", "feed factor that the controller believes", lower=1e-5)

    ff = Variable("kg/rev", "feed factor now")
    flow = Variable("kg/h", "mass flow delivered")
    inflow = Variable("kg/h", "mass flow of the refill")
    flow_shown = Variable("kg/h", "flow on the display: while blind, speed times learned factor")
    speed_set = Variable("rpm", "screw speed that the controller wants")

    def equations(m):
        blind = m.refilling
        yield m.ff == feed_factor(m.W, m.ff_max, m.ff_min, m.beta) * m.wear * m.upset
        yield m.flow == m.ff * m.N
        yield m.inflow == blind * m.refill_rate * smooth_step((m.W_full - m.W) / m.W_full, m.fade)
        yield der(m.W) == m.inflow - m.flow
        error = (1 - m.ff_seen * m.demand) / m.ff_learned
        held = 1 / m.ff_learned
        yield m.speed_set == m.setpoint * (blind * held + (1 - blind) * (m.demand + m.gain * error))
        yield der(m.N) == (m.speed_set - m.N) / m.tau_screw
        yield der(m.demand) == (
            (1 - blind) * m.gain / m.integral * error + blind * (held - m.demand) / m.tau_screw
        )
        # While blind the filters hold what the display shows: speed times learned factor.
        for state, seen in ((m.ff_fast, m.ff), (m.ff_seen, m.ff_fast)):
            yield der(state) == (
                (1 - blind) * (seen - state) / m.tau_filter
                + blind * (m.ff_learned - state) / m.tau_screw
            )
        yield der(m.ff_learned) == (1 - blind) * (m.ff_seen - m.ff_learned) / m.tau_learn
        yield m.flow_shown == m.ff_seen * m.N
        yield m.outlet.flow == m.flow
        yield m.outlet.x == m.x_feed

    def conserved(m):
        yield Conserved("mass", m.W, m.inflow - m.outlet.flow)


def feed_factor(W, ff_max, ff_min, beta):
    """Mass per revolution at hopper mass ``W``: ``ff_max - (ff_max - ff_min) exp(-beta W)``.

    Works on numbers in consistent units and on model expressions.

    Examples
    --------
    >>> round(float(feed_factor(2.0, 0.040, 0.030, 0.8)), 10)
    0.0379810348
    """
    return ff_max - (ff_max - ff_min) * exp(-beta * W)
