"""A feeder that refills itself: the switching logic as modes and state events."""

from __future__ import annotations

from galenic import Input, Mode, Model, Parameter, Part, Port, State, When, der, where
from galenic.library.powder.feeder import LossInWeightFeeder
from galenic.modeling.ports import Powder


class SelfRefillingFeeder(Model):
    """Loss-in-weight feeder with its refill logic: gravimetric, refilling, settling.

    Below ``W_low`` a refill starts and the feeder turns volumetric; at ``W_high`` the inflow, which
    fades over the last percent, ends and the balance settles for ``settle`` before it is trusted.
    The modes change at exactly located events, so this model is for simulation; an estimator or a
    predictive controller takes ``LossInWeightFeeder``, where the mode is an input with a measured
    or predicted schedule.
    """

    outlet = Port(Powder)

    feeder = Part(
        LossInWeightFeeder, W_full=lambda m: m.W_high, N="4.2 rpm", demand="25.2 rev/kg",
        ff_fast="39.7 g/rev", ff_seen="39.7 g/rev", ff_learned="39.7 g/rev",
    )  # fmt: skip

    W_low = Parameter(1.0, "kg", "mass at which a refill starts", lower=0, source="assumed")
    W_high = Parameter(4.5, "kg", "mass at which it ends", lower=0, source="assumed")
    settle = Parameter(12.0, "s", "time until the balance is trusted again", source="assumed")

    setpoint = Input(10.0, "kg/h", "mass flow set point", role="manipulated", lower=0, upper=60)

    mode = Mode("gravimetric", "refilling", "settling", meaning="mode of the feeder")
    clock = State(0.0, "s", "time in the mode settling", lower=0)

    example_duration = "45 min"

    def equations(m):
        yield der(m.clock) == where(m.mode.is_("settling"), 1.0, 0.0)
        yield m.feeder.setpoint == m.setpoint
        yield m.feeder.refilling == where(m.mode.is_("gravimetric"), 0.0, 1.0)

    def connections(m):
        yield m.feeder.outlet >> m.outlet

    def events(m):
        yield When(m.feeder.W < m.W_low, {m.mode: "refilling"}, name="start")
        yield When(m.feeder.W > m.W_high, {m.mode: "settling", m.clock: 0}, name="full")
        yield When(m.clock > m.settle, {m.mode: "gravimetric", m.clock: 0}, name="settled")
